"""Typing rules: whether values of one type may go where another type is taken.

Owns the comparison of types when a flow is built. Invariant: what is ``YES`` here is accepted by `checker` in
a run, what is ``NO`` there can't be meant; what can't be known is ``MAYBE``, and left to the run. Knows
nothing of values, nodes and edges.
"""

from __future__ import annotations

import collections.abc
import typing
from collections.abc import Iterable
from enum import Enum
from typing import Any, Literal, get_args, get_origin

from .kinds import class_of, is_protocol, members
from .type_checks import PROMOTED, checker


class Match(Enum):
    """Whether values of one type are taken where another is."""

    YES = "all of them"
    MAYBE = "some of them, or it can't be known"
    NO = "none of them"


def match(given: Any, taken: Any) -> Match:
    """Say whether values of the type ``given`` are accepted where the type ``taken`` is."""
    all_taken = members(taken)
    if Any in all_taken:
        return Match.YES
    all_given = members(given)
    if Any in all_given:
        return Match.MAYBE
    return _every(_some(_one(member, target) for target in all_taken) for member in all_given)


def _every(found: Iterable[Match]) -> Match:
    """Sum up the members of what is given."""
    kinds = set(found)
    if kinds <= {Match.YES}:
        return Match.YES
    return Match.NO if kinds == {Match.NO} else Match.MAYBE


def _some(found: Iterable[Match]) -> Match:
    """Sum up the members of what is taken."""
    kinds = set(found)
    return next((one for one in (Match.YES, Match.MAYBE) if one in kinds), Match.NO)


def _parts(found: Iterable[Match]) -> Match:
    """Sum up what is inside one container: one wrong part is enough."""
    kinds = set(found)
    return next((one for one in (Match.NO, Match.MAYBE) if one in kinds), Match.YES)


def _one(given: Any, taken: Any) -> Match:
    if given == taken:
        return Match.YES
    if get_origin(given) is Literal:
        return _every(Match.YES if _accepts(taken, value) else Match.NO for value in get_args(given))
    if get_origin(taken) is Literal:
        return Match.MAYBE if any(_accepts(given, value) for value in get_args(taken)) else Match.NO
    given_class, taken_class = class_of(given), class_of(taken)
    if is_subclass(given_class, taken_class):
        if taken_class is collections.abc.Hashable:
            return Match.MAYBE  # a subclass may have no hash
        return _arguments(given, taken)
    if is_protocol(taken_class) or is_protocol(given_class):
        return Match.MAYBE  # members that instances have are not seen on the class
    return Match.MAYBE if _may_be(given_class, taken_class) else Match.NO


def _accepts(kind: Any, value: Any) -> bool:
    check = checker(kind)
    return check is None or check(value)


def is_subclass(given: Any, taken: Any) -> bool:
    """Say whether all values of one class are values of the other, as typing sees it."""
    try:
        return issubclass(given, taken) or issubclass(given, PROMOTED.get(taken, ()))
    except TypeError:  # a protocol with data members can't be asked; its values can
        return False


def _may_be(given: Any, taken: Any) -> bool:
    """Say whether a value of the one class may be of the other one, which is narrower."""
    return is_subclass(taken, given) and taken not in PROMOTED.get(given, ())


def _arguments(given: Any, taken: Any) -> Match:
    """Compare what is between the brackets, where the one class is known to fit the other."""
    if typing.is_typeddict(get_origin(taken) or taken):
        return Match.MAYBE
    wanted = get_args(taken)
    if not wanted:
        return Match.YES
    if class_of(given) is tuple and get_args(given):
        return _tuples(get_args(given), wanted if class_of(taken) is tuple else (wanted[0], Ellipsis))
    if class_of(taken) is collections.abc.Callable:
        return Match.YES  # what it takes and gives can't be seen on a value
    if class_of(taken) is tuple and wanted[-1] is Ellipsis:
        wanted = wanted[:1]
    has = arguments_as(given, class_of(taken))
    if has is None or len(has) != len(wanted):
        return Match.YES if all(Any in members(one) for one in wanted) else Match.MAYBE
    return _parts(match(one, other) for one, other in zip(has, wanted, strict=True))


def _tuples(has: tuple[Any, ...], wanted: tuple[Any, ...]) -> Match:
    if wanted[-1] is Ellipsis:
        return _parts(match(one, wanted[0]) for one in has if one is not Ellipsis)
    if has[-1] is Ellipsis:
        return _parts([Match.MAYBE, *(match(has[0], one) for one in wanted)])
    if len(has) != len(wanted):
        return Match.NO
    return _parts(match(one, other) for one, other in zip(has, wanted, strict=True))


def arguments_as(given: Any, base: Any) -> tuple[Any, ...] | None:
    """Give the arguments of a type seen as one of its bases; ``None`` where they are unknown."""
    origin, has = get_origin(given) or given, get_args(given)
    if origin is base:
        return has or None
    if origin is str or origin is bytes:
        return (str,) if origin is str else (int,)
    for declared in getattr(origin, "__orig_bases__", ()):
        if is_subclass(get_origin(declared) or declared, base):
            return arguments_as(_filled(declared, origin, has), base)
    if (
        len(has) == 2
        and is_subclass(base, collections.abc.Iterable)
        and not is_subclass(base, collections.abc.Mapping)
    ):
        return has[:1]  # a mapping is an iterable of its keys
    return has or None


def _filled(declared: Any, origin: Any, has: tuple[Any, ...]) -> Any:
    """Put the arguments of a generic class into one of its declared bases."""
    free = getattr(declared, "__parameters__", ())
    if not free:
        return declared
    known = dict(zip(getattr(origin, "__parameters__", ()) or free, has, strict=False))
    return declared[tuple(known.get(name, Any) for name in free)]
