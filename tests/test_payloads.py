"""Payloads come back equal, or are refused when they are written; nothing is pickled."""

from __future__ import annotations

import datetime
import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, PrivateAttr, SecretStr, computed_field

from penguiflow import JournalError
from penguiflow.payloads import ANYTHING, Payloads, lift, lifted
from penguiflow.sealed import seal, unseal


@dataclass
class Passage:
    text: str
    raw: bytes = b""


class Answer(BaseModel):
    text: str
    passages: list[Passage] = []

    @computed_field  # type: ignore[prop-decorator]
    @property
    def length(self) -> int:
        return len(self.text)


class Point(TypedDict):
    x: int
    y: int


class Colour(enum.Enum):
    RED = "red"


class Unknown:
    pass


def back(payloads: Payloads, value: Any) -> Any:
    """Write a payload into a record, and read it."""
    blobs: list[bytes] = []
    said = payloads.encode(value, blobs)
    body, rest = unseal(seal({"payload": said}, blobs), "it")
    return payloads.decode(lift(body["payload"], rest))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (str, "text"),
        (bytes, b"\xff\x00"),
        (bool, True),
        (float, float("inf")),
        (Passage, Passage("a", b"\xff")),
        (Answer, Answer(text="b", passages=[Passage("c")])),
        (list[Passage], [Passage("d"), Passage("e", b"\x80")]),
        (tuple[int, str], (1, "f")),
        (set[int], {1, 2}),
        (dict[int, Answer], {1: Answer(text="g")}),
        (datetime.datetime, datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)),
        (Colour, Colour.RED),
        (Point, {"x": 1, "y": 2}),
        (Any, {"a": [1, None, {"b": 1.5}]}),
        (object, [1, "two"]),
    ],
    ids=str,
)
def test_what_is_declared_comes_back(kind: Any, value: Any) -> None:
    """Equal, and of the same type."""
    given_back = back(Payloads([kind], "node a"), value)
    assert given_back == value
    assert type(given_back) is type(value)


def test_any_of_several_kinds_comes_back() -> None:
    """A union is told apart by what it is, not by its order."""
    payloads = Payloads([Passage, Answer, int], "node a")
    for value in (Passage("a"), Answer(text="b"), 3):
        assert back(payloads, value) == value


@dataclass
class Left:
    value: int


@dataclass
class Right:
    value: int


def test_what_looks_like_another_kind_comes_back_as_what_it_was() -> None:
    """The JSON of one declared class may fit another one: their names are kept, too."""
    payloads = Payloads([Left, Right, int], "node a")
    for value in (Left(1), Right(1)):
        assert type(back(payloads, value)) is type(value)
    assert back(payloads, Right(1)) == Right(1)


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(json | st.binary())
def test_json_and_bytes_come_back_undeclared(value: Any) -> None:
    """What is declared as anything may be JSON, or bytes."""
    assert back(ANYTHING, value) == value


@pytest.mark.parametrize("value", [(1, 2), {1: "a"}, {"a": b"b"}, Passage("a"), {1}, Unknown()], ids=repr)
def test_what_would_not_come_back_is_refused(value: Any) -> None:
    """A tuple would be a list, a key of 1 a key of "1": the error says what to do."""
    with pytest.raises(
        JournalError, match=r"node a gave a \w+, which a journal could not read back.*declare"
    ):
        Payloads([Any], "node a").encode(value, [])


class LongAnswer(Answer):
    more: str = ""


class Secret(BaseModel):
    key: SecretStr


@dataclass
class Noted(Passage):
    note: str = ""


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Answer, LongAnswer(text="a", more="lost")),
        (list[Answer], [LongAnswer(text="a", more="lost")]),
        (Passage, Noted("a", note="lost")),
        (Secret, Secret(key=SecretStr("hidden"))),
        (dict[tuple[int, int], str], {(1, 2): "a"}),
        (list, [1, (2, 3)]),
        (dict, {1: "a"}),
        (Sequence[int], (1, 2)),
    ],
    ids=repr,
)
def test_what_would_come_back_as_something_else_is_refused_when_it_is_written(kind: Any, value: Any) -> None:
    """A model of a subclass would lose fields, a secret would be stars: that is said in time."""
    blobs: list[bytes] = []
    with pytest.raises(JournalError, match=r"(?s)node a gave a \w+, which a journal could not read back \("):
        Payloads([kind], "node a").encode(value, blobs)
    assert not blobs


@pytest.mark.parametrize(
    ("kinds", "value"),
    [
        ((Answer | LongAnswer,), LongAnswer(text="a", more="kept")),
        ((list[float],), [float("nan"), 1.0]),
        ((Iterable[int],), [1, 2]),
        ((str, int), {"by hand": 1}),
        ((Answer, str), {"text": "not an Answer"}),
    ],
    ids=repr,
)
def test_what_fits_no_declared_type_comes_back_as_it_was(kinds: tuple[Any, ...], value: Any) -> None:
    """As JSON; what is emitted by hand is in no annotation."""
    given_back = back(Payloads(kinds, "node a"), value)
    assert repr(given_back) == repr(value)


class Private(BaseModel):
    text: str
    _seen: int = PrivateAttr(default=0)


def test_private_attributes_are_no_part_of_a_payload() -> None:
    """They are not written, and what is read back has its defaults."""
    value = Private(text="a")
    value._seen = 7
    assert back(Payloads([Private], "node a"), value).text == "a"


def test_a_class_that_pydantic_does_not_know_is_refused() -> None:
    """Declaring it is not enough."""
    with pytest.raises(JournalError, match="gave a Unknown"):
        Payloads([Unknown], "node a").encode(Unknown(), [])


def test_an_older_payload_is_migrated_or_named() -> None:
    """What does not fit the type of today is handed to ``migrate`` as JSON."""
    blobs: list[bytes] = []
    said = Payloads([Point], "node a").encode({"x": 1, "y": 2}, blobs)
    kept = lifted(said, blobs)
    with pytest.raises(
        JournalError, match=r"(?s)node a gave was kept for another type.*give open\(migrate=…\)"
    ):
        Payloads([Answer], "node a").decode(kept)
    asked: list[Any] = []

    def migrate(node: str, old: Any) -> Any:
        asked.append((node, old))
        return {"text": str(old["x"])}

    assert Payloads([Answer], "node a", migrate).decode(kept) == Answer(text="1")
    assert asked == [("a", {"x": 1, "y": 2})]
    assert Payloads([Answer], "node a", lambda _node, old: {"text": old}).decode("leaf") == Answer(
        text="leaf"
    )
    with pytest.raises(JournalError, match=r"(?s)open\(migrate=…\): what it gave for node a does not fit"):
        Payloads([Answer], "node a", lambda _node, _old: {}).decode(kept)
