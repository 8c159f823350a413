"""Complaints: in what a value differs from a type.

Owns the words for a value that a `type_checks.checker` refuses: the place inside it, what is needed there and
what was given. Invariant: it says nothing of a value that is accepted, and never decides what is. pydantic is
asked only what is wrong with a dictionary given for one of its models.
"""

from __future__ import annotations

import dataclasses
import reprlib
import typing
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError

from .kinds import class_of, members, type_name
from .type_checks import checker, is_generic_class

Part = tuple[str, Any, Any]
"""What lies inside a value: its place, the type it should have, and itself."""

MISSING = object()
MOST = 1000
"""So many parts of a value are looked at for one that is wrong."""


def complaint(kind: Any, value: Any) -> str:
    """Say where a value differs from a type; empty where it does not, or where the type alone says it."""
    return _inside(kind, value, "", set())


def given_name(kind: Any, value: Any) -> str:
    """Name what was given where another type is needed: its type; for literals its value, too."""
    if isinstance(value, type):
        return f"type[{type_name(value)}]"
    if any(get_origin(member) is Literal for member in members(kind)):
        return f"{type(value).__name__} {reprlib.repr(value)}"
    return type(value).__name__


def _inside(kind: Any, value: Any, where: str, trail: set[int]) -> str:
    """Follow the first wrong part of a value to where it can't be told any closer."""
    if value is MISSING:
        return f"{where}: {type_name(kind)} is needed, it is missing"
    check = checker(kind)
    if id(value) in trail or check is None or check(value):
        return ""
    trail = trail | {id(value)}
    for member in members(kind):
        fields = _model_fields(member, value, where)
        if fields:
            return fields
        for step, part_kind, part in islice(_parts(member, value), MOST):
            text = _inside(part_kind, part, f"{where}.{step}" if where else step, trail)
            if text:
                return text
    return f"{where}: {type_name(kind)} is needed, not {given_name(kind, value)}" if where else ""


def _parts(member: Any, value: Any) -> Iterator[Part]:
    """Give what is inside a value that has the shape of a type."""
    shape, arguments = class_of(member), get_args(member)
    if isinstance(value, Mapping) and (typing.is_typeddict(get_origin(member) or member) or _is_plain(shape)):
        yield from _fields(get_origin(member) or member, value)
    elif not isinstance(shape, type) or not arguments or not _is(value, shape) or is_generic_class(shape):
        return
    elif shape is tuple and arguments[-1] is not Ellipsis:
        for index, (kind, part) in enumerate(zip(arguments, value, strict=False)):
            yield str(index), kind, part
    elif isinstance(value, Mapping):
        for key, part in value.items() if len(arguments) == 2 else ():
            yield f"{key} (key)", arguments[0], key
            yield str(key), arguments[1], part
    elif isinstance(value, Collection):
        for index, part in enumerate(value):
            yield str(index), arguments[0], part


def _is(value: Any, shape: type) -> bool:
    try:
        return isinstance(value, shape)
    except TypeError:
        return False


def _is_plain(shape: Any) -> bool:
    return dataclasses.is_dataclass(shape) and not is_pydantic_dataclass(shape)


def _fields(shape: Any, value: Mapping[Any, Any]) -> Iterator[Part]:
    """Give the fields that a ``TypedDict`` or a dataclass has, as a dictionary gives them."""
    try:
        hints = typing.get_type_hints(shape)
    except Exception:  # annotations are the user's code: names that only its module knows, and worse
        return
    if dataclasses.is_dataclass(shape):
        fields = [one for one in dataclasses.fields(shape) if one.init]
        nothing = dataclasses.MISSING
        needed = {one.name for one in fields if one.default is nothing and one.default_factory is nothing}
        hints = {one.name: hints.get(one.name, Any) for one in fields}
    else:
        needed = set(shape.__required_keys__)
    for name, kind in hints.items():
        if name in value or name in needed:
            yield name, kind, value.get(name, MISSING)


def _model_fields(member: Any, value: Any, where: str) -> str:
    """Say what is wrong with the fields of a dictionary given for a model of pydantic's."""
    shape = class_of(member)
    is_model = isinstance(shape, type) and (issubclass(shape, BaseModel) or is_pydantic_dataclass(shape))
    if not is_model or not isinstance(value, Mapping):
        return ""
    try:
        TypeAdapter(shape).validate_python(dict(value), strict=not is_pydantic_dataclass(shape))
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
        return "; ".join(_detail(one, where) for one in found[:5])
    except Exception:  # validators are the user's code, and models may not be complete yet
        return ""
    return ""


def _detail(error: Any, where: str) -> str:
    place = ".".join([*([where] if where else []), *map(str, error["loc"])])
    given = "" if error["type"] == "missing" else f", not {type(error['input']).__name__}"
    return f"{place}: {error['msg']}{given}" if place else f"{error['msg']}{given}"


def is_pydantic_dataclass(kind: Any) -> bool:
    """Say whether a class is a dataclass of pydantic's.

    Like `pydantic.dataclasses.is_pydantic_dataclass`, whose module is not imported otherwise, and is large.
    """
    return dataclasses.is_dataclass(kind) and "__is_pydantic_dataclass__" in vars(kind)
