"""Kinds: reading type annotations.

Owns how an annotation is reduced to what can be told by looking at a value. Invariant: what `members` gives
holds no union, alias, ``NewType``, type variable or ``Annotated`` at its top. Knows nothing of values, nodes
or edges.

Lenient where Python's types can't be told apart at run time: protocols that are not runtime-checkable,
unbound type variables and whatever is no type at all are taken as `typing.Any`.
"""

from __future__ import annotations

import inspect
import types
import typing
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

UNIONS = (Union, types.UnionType)
WRAPPERS = (Annotated, typing.Final, typing.ClassVar, typing.Required, typing.NotRequired)


def simplify(kind: Any) -> Any:
    """Strip what says nothing about values: ``Annotated``, aliases, ``NewType``, type variables."""
    while True:
        origin = get_origin(kind)
        if origin in WRAPPERS:
            kind = get_args(kind)[0]
        elif _is_alias(kind) or _is_alias(origin):
            kind = (kind if _is_alias(kind) else origin).__value__
        elif isinstance(kind, typing.NewType):
            kind = kind.__supertype__
        elif isinstance(kind, TypeVar):
            kind = Union[kind.__constraints__ or (kind.__bound__ or Any,)]  # noqa: UP007
        else:
            return _plain(kind)


def _is_alias(kind: Any) -> bool:
    return type(kind).__name__ == "TypeAliasType"  # `type X = …`, which Python 3.11 does not have


def _plain(kind: Any) -> Any:
    """Take what can't be told by looking at a value as ``Any``."""
    if kind is None:
        return type(None)
    if kind is typing.LiteralString:
        return str
    if kind is inspect.Parameter.empty or kind is object:
        return Any
    origin = get_origin(kind)
    if origin in UNIONS or origin is Literal or typing.is_typeddict(kind) or is_never(kind):
        return kind
    shape = origin or kind
    if not isinstance(shape, type) or (
        is_protocol(shape) and not getattr(shape, "_is_runtime_protocol", False)
    ):
        return Any
    return kind


def is_never(kind: Any) -> bool:
    """Say whether there are no values of a type."""
    return kind is typing.Never or kind is typing.NoReturn


def is_protocol(kind: Any) -> bool:
    """Say whether a class is a protocol itself (not only the implementation of one)."""
    return bool(getattr(kind, "_is_protocol", False))


def members(kind: Any) -> tuple[Any, ...]:
    """Give the members of a union, simplified and flat; of any other type the type itself."""
    kind = simplify(kind)
    if is_never(kind):
        return ()
    if get_origin(kind) not in UNIONS:
        return (kind,)
    flat: list[Any] = []
    for part in get_args(kind):
        flat += [member for member in members(part) if member not in flat]
    return tuple(flat)


def class_of(kind: Any) -> Any:
    """Give the class whose instances a simplified type describes (of a ``TypedDict``: ``dict``)."""
    shape = get_origin(kind) or kind
    return dict if typing.is_typeddict(shape) else shape


def type_name(kind: Any) -> str:
    """Write a type as its author would."""
    if kind is inspect.Parameter.empty or kind is Any:
        return "Any"
    if kind is None or kind is type(None):
        return "None"
    if kind is Ellipsis:
        return "..."
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in UNIONS:
        return " | ".join(type_name(one) for one in arguments)
    if origin is Annotated:
        return type_name(arguments[0])
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, arguments))}]"
    if isinstance(kind, list):  # the parameters of a Callable
        return f"[{', '.join(map(type_name, kind))}]"
    if origin is not None and arguments:
        return f"{type_name(origin)}[{', '.join(map(type_name, arguments))}]"
    name = getattr(kind, "__name__", None) or getattr(kind, "_name", None)
    return str(name or kind).removeprefix("typing.")
