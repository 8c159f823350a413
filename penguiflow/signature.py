"""Signatures: what a node takes and gives, told by its function.

Owns the forms that a node can have. Invariant: a `Signature` that exists can be carried out; what can't be is
a `GraphError` with the remedy. Knows nothing of policies and edges.
"""

from __future__ import annotations

import collections.abc
import inspect
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, get_args, get_origin

from .errors import GraphError
from .hints import EMPTY, Hints, outermost
from .items import Chunk, ContextMarker, Gathered, Message, Spread, StreamMarker
from .kinds import UNIONS, simplify, type_name


class Takes(Enum):
    """What one step takes."""

    ITEM = "item"
    MESSAGE = "message"
    CHUNK = "chunk"
    STREAM = "stream"
    GATHERED = "gathered"
    JOIN = "join"
    NOTHING = "nothing"


class Gives(Enum):
    """What the form of a function gives."""

    VALUE = "value"
    STREAM = "stream"


@dataclass(slots=True)
class Slot:
    """One parameter of a join: ``type`` is what the envelope holds, ``optional``: ``None`` will do."""

    name: str
    takes: Takes
    type: Any
    optional: bool


@dataclass(slots=True)
class Signature:
    """What a function takes and gives.

    Args:
        takes: what one step takes.
        gives: a value (``return``) or a stream (``yield``).
        is_async: whether a call has to be awaited or iterated.
        parameter: the name of the parameter that takes the item; ``None`` for joins and sources.
        type: the type of the payload, inside ``Message[T]``, ``Stream[T]`` and the like.
        result: the type of what is returned (with ``None`` and ``Spread[T]``), or of each that is yielded.
        spreads: every result is a `Spread`.
        may_spread: a result can be a `Spread`.
        opens: it says so, or its code does: gathers behind it are matched as if it did.
        slots: the parameters of a join, in order.
        context: the name of the parameter that takes the context.
    """

    takes: Takes
    gives: Gives
    is_async: bool
    parameter: str | None = None
    type: Any = Any
    result: Any = Any
    spreads: bool = False
    may_spread: bool = False
    opens: bool = False
    slots: tuple[Slot, ...] = ()
    context: str | None = None

    @property
    def expected(self) -> str:
        """What it takes, as its author would write it."""
        return envelope_name(self.takes, self.type)


ENVELOPES: tuple[tuple[type, Takes], ...] = (
    (Message, Takes.MESSAGE),
    (Chunk, Takes.CHUNK),
    (StreamMarker, Takes.STREAM),
    (Gathered, Takes.GATHERED),
)
STREAMS = (
    collections.abc.AsyncIterator,
    collections.abc.AsyncGenerator,
    collections.abc.AsyncIterable,
    types.AsyncGeneratorType,
)
ITERATORS = (*STREAMS, collections.abc.Iterator, collections.abc.Generator, types.GeneratorType)
AWAITABLES = (collections.abc.Awaitable, collections.abc.Coroutine, types.CoroutineType)


def envelope_name(takes: Takes, kind: Any) -> str:
    """Name what is taken: ``Stream[str]``, or only ``str``."""
    word = {
        Takes.MESSAGE: "Message",
        Takes.CHUNK: "Chunk",
        Takes.STREAM: "Stream",
        Takes.GATHERED: "Gathered",
    }
    return f"{word[takes]}[{type_name(kind)}]" if takes in word else type_name(kind)


def read_signature(fn: Callable[..., Any], who: str, *, is_source: bool = False) -> Signature:
    """Read what a function takes and gives; ``who`` names it in errors."""
    hints = Hints(fn, who)
    gives, is_async = _form(fn, who)
    context, slots = _parameters(hints, who)
    result = _result(hints, who, gives, is_async)
    spread = [_is_spread(one) for one in _members(result)]
    common: dict[str, Any] = {
        "gives": gives,
        "is_async": is_async,
        "result": result,
        "spreads": gives is Gives.VALUE and bool(spread) and all(spread),
        "may_spread": gives is Gives.VALUE and (any(spread) or simplify(result) is Any),
        "opens": gives is Gives.VALUE
        and (any(spread) or (simplify(result) is Any and _names_spread(hints.function))),
        "context": context,
    }
    if is_source:
        if slots:
            raise GraphError(
                f"{who}: a source takes nothing, but it has the parameter {slots[0].name!r}; use @node"
            )
        return Signature(takes=Takes.NOTHING, **common)
    if not slots:
        raise GraphError(f"{who} takes nothing; give it a parameter, or write @source if items begin here")
    if len(slots) > 1:
        return Signature(takes=Takes.JOIN, slots=_joined(slots, who, is_async), **common)
    only = slots[0]
    if not is_async and only.takes is Takes.STREAM:
        raise GraphError(f"{who}: a plain def can't wait for Stream[…]; write: async def")
    kind = typing.Optional[only.type] if only.optional else only.type  # noqa: UP045
    return Signature(takes=only.takes, parameter=only.name, type=kind, **common)


def _form(fn: Callable[..., Any], who: str) -> tuple[Gives, bool]:
    function = outermost(fn)
    if inspect.isasyncgenfunction(function):
        return Gives.STREAM, True
    if inspect.isgeneratorfunction(function):
        raise GraphError(f"{who}: a plain def that yields would block the loop; write: async def … yield")
    return Gives.VALUE, inspect.iscoroutinefunction(function)


def _parameters(hints: Hints, who: str) -> tuple[str | None, list[Slot]]:
    """Tell the context from the parameters that take items."""
    context: str | None = None
    slots: list[Slot] = []
    for name, parameter in hints.parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if _is_context(hints, name):
            _check_context(parameter, context, who)
            context = name
        elif parameter.default is not EMPTY:
            continue
        elif parameter.kind is parameter.KEYWORD_ONLY and not hints.is_partial:
            raise GraphError(
                f"{who}: {name!r} can only be given by name; give it a default, or move it before the *"
            )
        else:
            slots.append(_slot(name, hints.parameter(name), who))
    rest = [p.name for p in hints.parameters.values() if p.kind is p.VAR_POSITIONAL]
    if not slots and context is None:
        slots = [_slot(name, hints.parameter(name), who) for name in rest]
    _check_named(hints, [slot.name for slot in slots], context, who)
    return context, slots


def _check_named(hints: Hints, slots: list[str], context: str | None, who: str) -> None:
    """Refuse ``/`` behind what has to be given by name."""
    named = (slots if len(slots) > 1 else []) + ([context] if context is not None else [])
    if any(hints.parameters[name].kind is inspect.Parameter.POSITIONAL_ONLY for name in named):
        raise GraphError(f"{who}: {', '.join(named)} must be given by name; take the / out of its signature")


def _is_context(hints: Hints, name: str) -> bool:
    parameter = hints.parameters[name]
    written = parameter.annotation
    if written is EMPTY:
        return name == "ctx" and parameter.default is EMPTY
    if parameter.default is not EMPTY and isinstance(written, str) and "Context" not in written:
        return False
    try:
        kind = hints.parameter(name)
    except GraphError:
        if parameter.default is not EMPTY:
            return False
        if name == "ctx" and isinstance(written, str) and written.strip("'\"").split(".")[-1] == "Context":
            return True  # imported for type checkers only
        raise
    return any(isinstance(one, type) and issubclass(one, ContextMarker) for one in _members(kind))


def _check_context(parameter: inspect.Parameter, before: str | None, who: str) -> None:
    if before is not None:
        raise GraphError(f"{who}: {before!r} and {parameter.name!r} are both the context; keep one")


def _slot(name: str, annotation: Any, who: str) -> Slot:
    """Read one parameter: the envelope, what is inside, and whether it may be ``None``."""
    if annotation is EMPTY:
        return Slot(name, Takes.ITEM, Any, False)
    kinds = _members(annotation)
    rest = [one for one in kinds if one is not type(None)]
    found = [(takes, one) for one in rest for base, takes in ENVELOPES if _is(one, base)]
    if not found:
        optional = len(rest) < len(kinds) and bool(rest)
        return Slot(name, Takes.ITEM, _without_none(annotation) if optional else annotation, optional)
    if len(rest) > 1:
        names = type_name(annotation)
        raise GraphError(f"{who}: {name!r} takes {names}; take one of them, or only the payload")
    takes, kind = found[0]
    inside = get_args(kind)
    return Slot(name, takes, inside[0] if inside else Any, len(rest) < len(kinds))


def _without_none(annotation: Any) -> Any:
    rest = tuple(one for one in _members(annotation) if one is not type(None))
    return typing.Union[rest]  # noqa: UP007


def _members(annotation: Any) -> list[Any]:
    """Give the members of a union as they are written, but for aliases."""
    if annotation is EMPTY:
        return []
    origin = get_origin(annotation)
    if origin in UNIONS:
        return [one for part in get_args(annotation) for one in _members(part)]
    if origin is typing.Annotated:
        return _members(get_args(annotation)[0])
    if type(annotation).__name__ == "TypeAliasType":
        return _members(annotation.__value__)
    return [type(None) if annotation is None else annotation]


def _is(kind: Any, base: type) -> bool:
    shape = get_origin(kind) or kind
    return isinstance(shape, type) and issubclass(shape, base)


def _is_spread(kind: Any) -> bool:
    return _is(kind, Spread)


def _names_spread(function: Any) -> bool:
    """Say whether the code of a function that does not say what it gives names ``Spread``."""
    code = getattr(function, "__code__", None)
    known = getattr(function, "__globals__", {})
    names = (*code.co_names, *code.co_freevars) if code is not None else ()
    return any(name == "Spread" or known.get(name) is Spread for name in names)


def _joined(slots: list[Slot], who: str, is_async: bool) -> tuple[Slot, ...]:
    for slot in slots:
        if slot.takes is Takes.STREAM and not is_async:
            raise GraphError(f"{who}: a plain def can't wait for Stream[…]; write: async def")
        if slot.takes is Takes.GATHERED:
            raise GraphError(f"{who}: {slot.name!r} can't be Gathered in a join; gather in a node before it")
    return tuple(slots)


def _result(hints: Hints, who: str, gives: Gives, is_async: bool) -> Any:
    """Read the type of what is returned, or of each that is yielded."""
    annotation = hints.result()
    if annotation is EMPTY:
        return Any
    kinds = [get_origin(one) or one for one in _members(annotation)]
    if gives is Gives.VALUE:
        _check_value(annotation, kinds, who, is_async)
        return annotation
    if len(kinds) == 1 and kinds[0] in STREAMS:
        inside = get_args(_members(annotation)[0])
        return inside[0] if inside else Any
    if simplify(annotation) is Any:
        return Any
    raise GraphError(
        f"{who} yields, but says that it gives {type_name(annotation)}; write: -> AsyncIterator[…]"
    )


def _check_value(annotation: Any, kinds: list[Any], who: str, is_async: bool) -> None:
    if any(one in ITERATORS for one in kinds):
        form = "an async def" if is_async else "a def"
        raise GraphError(
            f"{who} is {form} that returns {type_name(annotation)}, which nobody would iterate; write "
            "async def "
            "with yield for a stream, or return a list or a Spread"
        )
    if any(one in AWAITABLES for one in kinds):
        raise GraphError(f"{who} returns {type_name(annotation)}, which nobody would await; write: async def")
    if any(_is_envelope(one) for one in kinds):
        raise GraphError(
            f"{who} returns {type_name(annotation)}; return the payload only, the runtime makes its envelope"
        )


def _is_envelope(kind: Any) -> bool:
    return any(_is(kind, base) for base, takes in ENVELOPES if takes is not Takes.GATHERED)
