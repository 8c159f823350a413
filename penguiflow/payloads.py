"""Payloads: how what nodes give is written down and read back.

Owns the way from a value to a record and back. Invariant: what is read back equals what was written, in
value and in type, or writing it was refused; nothing is ever pickled, and no class is looked up by a name
that comes out of a store: the declared type says what a payload is (pydantic models, dataclasses and whatever
else pydantic knows). What is declared as anything may be ``None``, a bool, a number, a text or bytes, and
lists and dicts (with texts as keys) of all but bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, Union

from pydantic import ConfigDict, PydanticUserError, TypeAdapter
from pydantic_core import PydanticSerializationError, ValidationError

from .checks import given
from .errors import JournalError
from .graph import Site
from .sealed import Blobs

Migrate = Callable[[str, Any], Any]
"""Is given a place and the JSON of a payload that does not fit its type any more; gives JSON that does."""

BYTES, TYPED, PLAIN = "b", "t", "j"
"""Marks of what is written as an object: so many raw bytes; so many bytes of typed JSON; JSON as it is."""

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
            try:
                text = self._adapter.dump_json([value], by_alias=True, round_trip=True, warnings="error")
            except (PydanticSerializationError, UnicodeError, ValueError, TypeError) as exc:
                problem = f" ({exc})"
            else:
                blobs.append(text)
                return {
                    f"{TYPED} {kind.__qualname__}" if kind in self._kinds and self._alike else TYPED: len(
                        text
                    )
                }
        if is_plain(value):
            return {PLAIN: value}
        declare = "declare the type in the annotation (a pydantic model, a dataclass, list[Passage], …), or "
        raise JournalError(
            f"{self._where} gave a {kind.__qualname__}, which a journal could not read back{problem}: "
            f"{declare if self._kinds else ''}give bytes, text, numbers, lists and dicts of these"
        )

    def decode(self, kept: Any) -> Any:
        """Give the payload back that was encoded, of what `lift` gives.

        Raises:
            JournalError: it does not fit the declared type any more.
        """
        if type(kept) is not tuple or kept[0] == BYTES:
            return self._fitting(kept if type(kept) is not tuple else kept[1])
        mark, _, name = kept[0].partition(" ")
        content = kept[1]
        if self._adapter is None:
            if mark == PLAIN:
                return content
            return self._migrated(json.loads(content)[0], "it has no declared type now")
        try:
            adapter = self._alike.get(name, self._adapter)
            return adapter.validate_json(content if mark == TYPED else json.dumps([content]))[0]
        except ValidationError as exc:
            return self._migrated(json.loads(content)[0] if mark == TYPED else content, str(exc))

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
    return (mark, content if mark == PLAIN else blobs.take(content))


def lifted(said: Any, blobs: list[bytes]) -> Any:
    """Give what `lift` would give of what was just encoded, with its own blobs."""
    if type(said) is not dict:
        return said
    ((mark, content),) = said.items()
    return (mark, content if mark == PLAIN else blobs[0])


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
