"""In what a value differs from a type: the place inside it, what is needed there, what was given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NotRequired, Protocol, TypedDict, Union

import pytest
from pydantic import BaseModel, field_validator
from pydantic.dataclasses import dataclass as pydantic_dataclass

from penguiflow.complaints import complaint, given_name


class Shape(TypedDict):
    """A dictionary of a certain shape."""

    a: int
    b: NotRequired[str]


class Model(BaseModel):
    """A model with two fields."""

    name: str
    amount: int = 1


class Broken(BaseModel):
    """A model whose validator is wrong."""

    name: str

    @field_validator("name")
    @classmethod
    def fails(cls, value: str) -> str:
        """Raise what pydantic lets through."""
        raise LookupError(value)


@dataclass
class Passage:
    """A plain dataclass."""

    text: str
    tags: list[str]
    rank: int = 0


@pydantic_dataclass
class Checked:
    """A dataclass of pydantic's."""

    text: str


class Speaks(Protocol):
    """A protocol that values can't be asked about."""

    def speak(self) -> str:
        """Say something."""


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        (Shape, {"a": "x"}, "a: int is needed, not str"),
        (Shape, {}, "a: int is needed, it is missing"),
        (Shape, {"a": 1, "b": 2}, "b: str is needed, not int"),
        (dict[str, Shape], {"k": {"a": "x"}}, "k.a: int is needed, not str"),
        (dict[str, int], {1: 1}, "1 (key): str is needed, not int"),
        (Mapping[str, list[int]], {"a": [1, "x"]}, "a.1: int is needed, not str"),
        (list[Passage], [Passage("", []), 3], "1: Passage is needed, not int"),
        (list[Passage], [{"text": 1, "tags": []}], "0.text: str is needed, not int"),
        (Passage, {"text": "x"}, "tags: list[str] is needed, it is missing"),
        (Passage, {"text": "x", "tags": [1]}, "tags.0: str is needed, not int"),
        (list[Model], [{"name": "x"}], "0: Model is needed, not dict"),
        (list[Model], [{"name": 1}], "0.name: Input should be a valid string, not int"),
        (Model, {"amount": 1}, "name: Field required"),
        (Checked, {"text": 1}, "text: Input should be a valid string, not int"),
        (list[Model] | None, ["x"], "0: Model is needed, not str"),
        (Union[list[int], dict[str, int]], ["x"], "0: int is needed, not str"),  # noqa: UP007
        (tuple[int, str], (1, 2), "1: str is needed, not int"),
        (tuple[int, ...], (1, "x"), "1: int is needed, not str"),
        (Sequence[Literal["a"]], ["b"], "0: Literal['a'] is needed, not str 'b'"),
        (list[type[int]], [str], "0: type[int] is needed, not type[str]"),
    ],
)
def test_the_place_is_named(kind: Any, value: Any, said: str) -> None:
    """The first wrong place is named, whatever it lies in."""
    assert complaint(kind, value) == said


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (int, "x"),
        (list[int], "x"),
        (tuple[int, str], (1,)),
        (Broken, {"name": "x"}),
        (Model, {"name": "x"}),
        (list[int], [1]),
        (Speaks, 3),
        (list[Speaks], [3]),
        (Any, object()),
    ],
)
def test_where_the_type_says_it_all(kind: Any, value: Any) -> None:
    """Nothing is added where there is no place inside, and nothing is said of what is accepted."""
    assert complaint(kind, value) == ""


def test_a_value_that_holds_itself() -> None:
    """Looking inside ends, also where the value has no end."""
    loop: list[Any] = []
    loop.append(loop)
    assert complaint(list[list[list[int]]], loop) == ""


@pytest.mark.parametrize(
    ("kind", "value", "name"),
    [
        (int, "x", "str"),
        (int, None, "NoneType"),
        (type[int], str, "type[str]"),
        (Literal["a"], "b", "str 'b'"),
    ],
)
def test_what_was_given_is_named(kind: Any, value: Any, name: str) -> None:
    """By its type, where that does not tell by its value."""
    assert given_name(kind, value) == name
