"""Payloads: how what nodes give is written down and read back.

Owns the way from a value to a record and back. Invariant: what is read back equals what was written, in
value and in type, or writing it was refused; nothing is ever pickled, and no class is looked up by a name
that comes out of a store: the declared type says what a payload is (pydantic models, dataclasses and whatever
else pydantic knows). An instance of a subclass of it would lose what it has more, and is refused. What is
declared as anything may be ``None``, a bool, a number, a text or bytes, and lists and dicts (with texts as
keys) of all but bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from functools import cached_property
from typing import Any, Union

from pydantic import BaseModel, ConfigDict, PydanticUserError, TypeAdapter
from pydantic_core import PydanticSerializationError, ValidationError

from .checks import given
from .errors import JournalError
from .graph import Site
from .sealed import Blobs

Migrate = Callable[[str, Any], Any]
"""Is given a place and the JSON of a payload that does not fit its type any more; gives JSON that does."""

BYTES, TYPED, PLAIN, OTHER = "b", "t", "j", "o"
"""Marks of what is written as an object: so many raw bytes; so many bytes of typed JSON; JSON as it is, where
nothing is declared; JSON as it is of what is of no declared type."""

_LEAVES = frozenset({str, int, float, bool, type(None)})
_RAW = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants")


class Unreadable(JournalError):
    """What is kept does not fit the types of today: the run is left as it is, until it can be read."""


class Payloads:
    """How payloads of one place are written and read.

    Args:
        kinds: the types that are declared; any of them may come.
        where: names the place in errors: ``"node a"``.
        migrate: makes what was written for an older type fit; see `penguiflow.Flow.open`.
    """

    def __init__(self, kinds: Iterable[Any], where: str, migrate: Migrate | None = None) -> None:
        self._kinds = tuple(kinds)
        self._where = where
        self._migrate = migrate

    @cached_property
    def _adapter(self) -> TypeAdapter[list[Any]] | None:
        return adapter_of(self._kinds)  # late: it takes a tenth of a millisecond, and text needs none

    @cached_property
    def _alike(self) -> dict[str, TypeAdapter[list[Any]]]:
        """Where several classes are declared: each by its name, for the JSON of one may fit another."""
        classes = [kind for kind in self._kinds if isinstance(kind, type) and kind not in _LEAVES]
        adapters = {kind.__qualname__: adapter_of((kind,)) for kind in classes} if len(classes) > 1 else {}
        return {name: adapter for name, adapter in adapters.items() if adapter is not None}

    def encode(self, value: Any, blobs: list[bytes]) -> Any:
        """Give what stands for a payload in the JSON of a record; adds to its blobs.

        Raises:
            JournalError: it could not be read back.
        """
        kind = type(value)
        if kind in _LEAVES:
            return value
        if kind is bytes:
            blobs.append(value)
            return {BYTES: len(value)}
        problem = ""
        if self._adapter is not None:
            mark = f"{TYPED} {kind.__qualname__}" if kind in self._kinds and self._alike else TYPED
            try:
                text = self._adapter.dump_json([value], by_alias=True, round_trip=True, warnings="error")
                problem = _change(value, self._read(mark, text))
            except (PydanticSerializationError, UnicodeError, ValueError, TypeError) as exc:
                problem = str(exc)
            if not problem:
                blobs.append(text)
                return {mark: len(text)}
        if is_plain(value):
            return {PLAIN if self._adapter is None else OTHER: value}
        declare = "declare the type in the annotation (a pydantic model, a dataclass, list[Passage], …), or "
        raise JournalError(
            f"{self._where} gave a {kind.__qualname__}, which a journal could not read back"
            f"{f' ({problem})' if problem else ''}: "
            f"{declare if self._kinds else ''}give bytes, text, numbers, lists and dicts of these"
        )

    def decode(self, kept: Any) -> Any:
        """Give the payload back that was encoded, of what `lift` gives.

        Raises:
            JournalError: it does not fit the declared type any more.
        """
        if type(kept) is not tuple or kept[0] == BYTES:
            return self._fitting(kept if type(kept) is not tuple else kept[1])
        mark, content = kept
        is_json = mark in (PLAIN, OTHER)
        if is_json and (mark == OTHER or self._adapter is None):
            return content
        if self._adapter is None:
            return self._migrated(json.loads(content)[0], "it has no declared type now")
        try:
            return self._read(mark, json.dumps([content]) if is_json else content)
        except ValidationError as exc:
            return self._migrated(content if is_json else json.loads(content)[0], str(exc))

    def _read(self, mark: str, text: str | bytes) -> Any:
        """Give what typed JSON stands for."""
        adapter = self._alike.get(mark.partition(" ")[2], self._adapter)
        assert adapter is not None
        return adapter.validate_json(text)[0]

    def _fitting(self, leaf: Any) -> Any:
        """Give a leaf back, if it is of a declared type."""
        if type(leaf) in self._kinds or self._adapter is None:
            return leaf
        try:
            self._adapter.validate_python([leaf])
        except ValidationError as exc:
            return self._migrated(leaf, str(exc))
        return leaf

    def _migrated(self, old: Any, problem: str) -> Any:
        if self._migrate is None:
            raise Unreadable(
                f"what {self._where} gave was kept for another type than it declares now, and does not fit: "
                f"{problem}; give open(migrate=…), which is handed the old JSON and gives the new one"
            )
        text = f"open(migrate=…): what it gave for {self._where} does not fit"
        try:
            given = self._migrate(self._where.partition(" ")[2], old)
            return given if self._adapter is None else self._adapter.validate_json(json.dumps([given]))[0]
        except ValidationError as exc:
            raise Unreadable(f"{text}: {exc}") from exc
        except Exception as exc:
            raise Unreadable(f"{text}: it raised {exc!r}") from exc


def kinds_of(site: Site) -> tuple[Any, ...]:
    """Give the types of what a node gives; where it does not say, of what its successors take.

    What it emits beside is of these as well; where that leaves the flow, nothing says of which type it is.
    """
    kinds = tuple(given(site.signature)) if site.node is not None else (Any,)
    taken = tuple(edge.type for edge in site.outs)
    if any(kind is Any for kind in kinds) and taken:
        return taken
    if site.signature.context is None:
        return kinds
    return (*kinds, *taken, *(_LEAVES if site.is_exit else ()))


def where_of(site: Site) -> str:
    """Name what gives payloads, for errors."""
    return f"node {site.key}" if site.node is not None else "the input"


def lift(said: Any, blobs: Blobs) -> Any:
    """Take a payload out of a record, still encoded: a leaf, or a mark and what it marks."""
    if type(said) is not dict:
        return said
    ((mark, content),) = said.items()
    return (mark, content if mark in (PLAIN, OTHER) else blobs.take(content))


def lifted(said: Any, blobs: list[bytes]) -> Any:
    """Give what `lift` would give of what was just encoded, with its own blobs."""
    if type(said) is not dict:
        return said
    ((mark, content),) = said.items()
    return (mark, content if mark in (PLAIN, OTHER) else blobs[0])


def adapter_of(kinds: tuple[Any, ...]) -> TypeAdapter[list[Any]] | None:
    """Give what reads and writes a list of one of some types; ``None`` where it may be anything.

    A list, because a configuration of ours would be refused for a model as it is, and raw bytes in a
    dataclass need one. (A model has its own: it says ``ser_json_bytes="base64"`` and
    ``val_json_bytes="base64"`` itself, where its bytes are no text.)
    """
    if not kinds or any(kind is Any or kind is object for kind in kinds):
        return None
    try:
        return TypeAdapter(list[Union[kinds]], config=_RAW)  # type: ignore[valid-type]  # noqa: UP007
    except PydanticUserError:
        return None  # a class that pydantic does not know: its instances are refused when one comes


def _change(value: Any, back: Any) -> str:
    """Say what is wrong with what would be read back; nothing where it is what was written."""
    if type(back) is not type(value):
        return f"it would come back as a {type(back).__qualname__}"
    return "" if _is_same(value, back) else "not all of it would come back as it is"


def _is_same(value: Any, back: Any) -> bool:
    """Say whether two values are equal; where ``==`` says no, whether their parts are.

    Not a number is not equal to itself, and what a model keeps in private attributes is no part of it.
    """
    todo = [(value, back)]
    while todo:
        one, other = todo.pop()
        if type(one) is not type(other):
            return False
        if one is other or one == other or (one != one and other != other):
            continue
        ours, theirs = _parts(one), _parts(other)
        if not ours or len(ours) != len(theirs):
            return False
        todo += zip(ours, theirs, strict=True)
    return True


def _parts(value: Any) -> list[Any]:
    """Give what a value is made of, as far as that is known."""
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    if isinstance(value, BaseModel):
        names = type(value).model_fields
        return [*(getattr(value, name) for name in names), value.model_extra]
    if is_dataclass(value):
        return [getattr(value, field.name) for field in fields(value)]
    return []


def is_plain(value: Any) -> bool:
    """Say whether a value is JSON all through, and comes back as it is."""
    todo = [value]
    while todo:
        one = todo.pop()
        kind = type(one)
        if kind is list:
            todo += one
        elif kind is dict:
            if not all(type(key) is str for key in one):
                return False
            todo += one.values()
        elif kind not in _LEAVES:
            return False
    return True


ANYTHING = Payloads((), "ctx.state")
"""For what has no declared type: headers, metadata, state."""
