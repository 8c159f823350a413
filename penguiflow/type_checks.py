"""Type checks: whether a value is of a type.

Owns the checks of values in a run. Invariant: `checker` agrees with `typing_rules.match`; it looks into
containers, never into iterators, which it would use up. Knows nothing of nodes and edges.
"""

from __future__ import annotations

import collections.abc
import typing
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, get_args, get_origin

from .kinds import class_of, members

Check = Callable[[Any], bool]

PROMOTED: dict[Any, tuple[type, ...]] = {float: (int,), complex: (int, float)}
"""What typing takes for granted though no class says it."""


def checker(kind: Any) -> Check | None:
    """Give a function that says whether a value is of a type; ``None`` where every value is."""
    kinds = members(kind)
    if Any in kinds:
        return None
    classes: list[type] = []
    checks: list[Check] = []
    for member in kinds:
        check = _inside(member)
        if check is None:
            classes += [class_of(member), *PROMOTED.get(class_of(member), ())]
        else:
            checks.append(check)
    if not checks:
        return _instance(tuple(classes))
    if classes:
        checks.insert(0, _instance(tuple(classes)))
    if len(checks) == 1:
        return checks[0]
    return lambda value: any(check(value) for check in checks)


def _instance(classes: tuple[type, ...]) -> Check:
    wanted: Any = classes[0] if len(classes) == 1 else classes
    return lambda value: isinstance(value, wanted)


def _inside(member: Any) -> Check | None:
    """Give a check that is more than an ``isinstance``, where a type needs one."""
    origin, arguments = get_origin(member), get_args(member)
    if origin is Literal:
        return _literal(arguments)
    if typing.is_typeddict(member) or typing.is_typeddict(origin):
        return _typed_dict(origin or member)
    if origin is None or not arguments:
        return None
    if origin is type:
        return _subclass(arguments[0])
    if origin is tuple:
        return _tuple(arguments)
    return _container(origin, arguments)


def _literal(values: tuple[Any, ...]) -> Check:
    return lambda value: any(type(value) is type(one) and value == one for one in values)


def _subclass(base: Any) -> Check | None:
    bases = members(base)
    if Any in bases:
        return None
    classes = tuple(class_of(one) for one in bases)
    return lambda value: isinstance(value, type) and issubclass(value, classes)


def _typed_dict(shape: Any) -> Check:
    needed: frozenset[str] = shape.__required_keys__
    try:
        hints = typing.get_type_hints(shape)
    except NameError:  # its module alone knows its names: the keys have to do
        hints = {}
    known = [(key, check) for key, kind in hints.items() if (check := checker(kind)) is not None]

    def is_shaped(value: Any) -> bool:
        return (
            isinstance(value, dict)
            and needed <= value.keys()
            and all(check(value[key]) for key, check in known if key in value)
        )

    return is_shaped


def _tuple(arguments: tuple[Any, ...]) -> Check | None:
    if arguments[-1] is Ellipsis:
        return _container(tuple, arguments[:1])
    checks = [checker(one) for one in arguments]

    def is_shaped(value: Any) -> bool:
        return (
            isinstance(value, tuple)
            and len(value) == len(checks)
            and all(check is None or check(one) for one, check in zip(value, checks, strict=True))
        )

    return is_shaped


def _container(origin: Any, arguments: tuple[Any, ...]) -> Check | None:
    """Look at all keys and values, or elements, of builtin and abstract containers."""
    if not issubclass(origin, collections.abc.Iterable) or is_generic_class(origin):
        return None
    checks = [checker(one) for one in arguments]
    if not any(checks):
        return None
    if issubclass(origin, Mapping) and len(checks) == 2:
        return lambda value: isinstance(value, origin) and _pairs(value, checks)
    if len(checks) != 1 or not (issubclass(origin, Collection) or origin is collections.abc.Iterable):
        return None
    return lambda value: isinstance(value, origin) and _elements(value, checks[0])


def is_generic_class(origin: Any) -> bool:
    """Say whether a generic class is the user's own: what its arguments mean for its values is not known."""
    return bool(getattr(origin, "__parameters__", False))


def _pairs(value: Mapping[Any, Any], checks: list[Check | None]) -> bool:
    key_check, value_check = checks
    return (key_check is None or all(map(key_check, value))) and (
        value_check is None or all(map(value_check, value.values()))
    )


def _elements(value: Any, check: Check | None) -> bool:
    return check is None or not isinstance(value, Collection) or all(map(check, value))
