"""Types are compared as typing does, and values as types are."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    Never,
    NewType,
    Optional,
    Protocol,
    TypedDict,
    TypeVar,
    Union,
    runtime_checkable,
)

import pytest
from pydantic import BaseModel

from penguiflow.items import Gathered
from penguiflow.kinds import type_name
from penguiflow.type_checks import checker
from penguiflow.typing_rules import Match, match

T = TypeVar("T")
Bound = TypeVar("Bound", bound=int)
Either = TypeVar("Either", int, str)
UserId = NewType("UserId", int)


class Animal: ...


class Dog(Animal): ...


class Words(list[str]): ...


class Pairs(dict[str, T], Generic[T]): ...


class Box(Generic[T]): ...


class Model(BaseModel):
    name: str
    size: int = 0


class Point(TypedDict):
    x: int


class Named(Protocol):
    name: str


@runtime_checkable
class Sized(Protocol):
    def __len__(self) -> int: ...


YES, MAYBE, NO = Match.YES, Match.MAYBE, Match.NO


@pytest.mark.parametrize(
    ("given", "taken", "expected"),
    [
        (int, int, YES),
        (int, str, NO),
        (bool, int, YES),
        (int, bool, MAYBE),
        (int, float, YES),
        (bool, float, YES),
        (float, complex, YES),
        (float, int, NO),
        (Dog, Animal, YES),
        (Animal, Dog, MAYBE),
        (Any, int, MAYBE),
        (int, Any, YES),
        (int, object, YES),
        (object, int, MAYBE),
        (None, str, NO),
        (None, Optional[str], YES),  # noqa: UP045
        (int | str, int, MAYBE),
        (int, int | str, YES),
        (int | str, bytes | list, NO),
        (Union[int, str], str | int | None, YES),  # noqa: UP007
        (list[int], list[int], YES),
        (list[int], list, YES),
        (list, list[int], MAYBE),
        (list, list[Any], YES),
        (list[int], list[str], NO),
        (list[int], Sequence[int], YES),
        (list[int], Sequence[str], NO),
        (list[bool], list[int], YES),
        (list[Animal], list[Dog], MAYBE),
        (list[list[int]], list[list[str]], NO),
        (Words, list[str], YES),
        (Words, Sequence[int], NO),
        (Pairs[int], dict[str, int], YES),
        (Pairs[int], Mapping[str, str], NO),
        (dict[str, int], Mapping[str, int], YES),
        (dict[str, int], dict[str, str], NO),
        (dict[str, int], Iterable[str], YES),
        (str, Sequence[str], YES),
        (str, Sequence[int], NO),
        (bytes, Sequence[int], YES),
        (tuple[int, str], tuple[int, str], YES),
        (tuple[int, str], tuple[int, ...], NO),
        (tuple[int, int], tuple[int, ...], YES),
        (tuple[int, ...], tuple[int, int], MAYBE),
        (tuple[int, int], tuple[int], NO),
        (tuple[int, int], Sequence[int], YES),
        (tuple, tuple[int, int], MAYBE),
        (Literal["a"], str, YES),
        (Literal["a"], Literal["a", "b"], YES),
        (Literal["a", "c"], Literal["a", "b"], MAYBE),
        (Literal["c"], Literal["a", "b"], NO),
        (str, Literal["a"], MAYBE),
        (int, Literal["a"], NO),
        (UserId, int, YES),
        (int, UserId, YES),
        (UserId, str, NO),
        (Annotated[int, "note"], int, YES),
        (T, int, MAYBE),
        (int, T, YES),
        (Bound, str, NO),
        (Either, int | str, YES),
        (Never, int, YES),
        (Model, BaseModel, YES),
        (Model, dict, NO),
        (Point, dict, YES),
        (Point, Mapping, YES),
        (Point, Point, YES),
        (dict, Point, MAYBE),
        (Dog, Named, YES),
        (list[int], Sized, YES),
        (int, Sized, MAYBE),
        (Box[int], Box, YES),
        (Box[int], Box[str], NO),
        (Box, Box[str], MAYBE),
        (type[Dog], type[Animal], YES),
        (type[int], type[str], NO),
        (Callable[[int], int], Callable, YES),
        (int, Callable, NO),
        (int, Hashable, MAYBE),
        (Gathered[int], list[int], YES),
        (deque[int], Sequence[int], YES),
    ],
)
def test_match(given: Any, taken: Any, expected: Match) -> None:
    """Only what is certain is yes or no."""
    assert match(given, taken) is expected


KINDS: tuple[Any, ...] = (
    int,
    bool,
    float,
    str,
    bytes,
    None,
    Any,
    Animal,
    Dog,
    Model,
    Point,
    int | str,
    float | None,
    Literal["a", 1],
    list,
    list[int],
    list[str],
    list[int | None],
    Words,
    Sequence[str],
    Iterable[int],
    dict[str, int],
    Mapping[str, Any],
    Pairs[int],
    tuple[int, str],
    tuple[int, ...],
    set[int],
    Sized,
    Hashable,
)
VALUES: tuple[Any, ...] = (
    0,
    1,
    True,
    1.5,
    "",
    "a",
    b"a",
    None,
    Animal(),
    Dog(),
    Model(name="x"),
    {"x": 1},
    {"x": "1"},
    {1: 1},
    Pairs({"a": 1}),
    [],
    [1],
    ["a"],
    [None],
    Words(["a"]),
    (1, "a"),
    (1, 2),
    (),
    {1},
)


def accepts(kind: Any, value: Any) -> bool:
    check = checker(kind)
    return check is None or check(value)


def test_types_and_values_agree() -> None:
    """What is certain when a flow is built is so in a run: a value of a type goes wherever that type goes."""
    wrong = [
        (given, taken, value)
        for given, taken, value in itertools.product(KINDS, KINDS, VALUES)
        if accepts(given, value) and match(given, taken) is YES and not accepts(taken, value)
    ]
    assert wrong == []


def test_no_means_no() -> None:
    """What is refused when a flow is built is refused in a run, but for what is a number or empty in both."""
    blurred = (0, 1, True, [], (), "")
    wrong = [
        (given, taken, value)
        for given, taken, value in itertools.product(KINDS, KINDS, VALUES)
        if not any(value is one or (value == one and type(value) is type(one)) for one in blurred)
        and accepts(given, value)
        and match(given, taken) is NO
        and accepts(taken, value)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (int, [1, True], [1.5, "1", None]),
        (float, [1, 1.5], ["1"]),
        (int | None, [None, 1], ["a"]),
        (list[int], [[], [1]], [["a"], [1, "a"], (1,)]),
        (list[list[int]], [[[1]]], [[["a"]]]),
        (dict[str, int], [{}, {"a": 1}], [{1: 1}, {"a": "a"}, []]),
        (tuple[int, str], [(1, "a")], [(1,), ("a", 1), [1, "a"]]),
        (tuple[int, ...], [(), (1, 2)], [("a",)]),
        (Literal["a", 1], ["a", 1], ["b", True, 1.0]),
        (Point, [{"x": 1}, {"x": 1, "y": 2}], [{}, {"x": "a"}, 1]),
        (type[Animal], [Dog], [int, Dog()]),
        (Sized, ["", []], [1]),
        (UserId, [1], ["a"]),
        (Callable[[int], int], [len], [1]),
        (Words, [Words()], [[]]),
        (Box[int], [Box()], [1]),
        (set[str] | list[int], [{"a"}, [1]], [{1}, ["a"]]),
    ],
)
def test_checks_of_values(kind: Any, good: list[Any], bad: list[Any]) -> None:
    """A check looks into containers, and tells what typing tells apart."""
    assert [accepts(kind, value) for value in good] == [True] * len(good)
    assert [accepts(kind, value) for value in bad] == [False] * len(bad)


@pytest.mark.parametrize("kind", [Any, object, T, Named, int | Any])
def test_what_takes_anything_is_not_checked(kind: Any) -> None:
    """Where every value is accepted there is nothing to call."""
    assert checker(kind) is None


def test_iterators_are_not_used_up() -> None:
    """A check never takes anything out of an iterator."""
    numbers = iter([1, 2])
    assert accepts(Iterable[str], numbers)
    assert list(numbers) == [1, 2]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (int, "int"),
        (None, "None"),
        (Any, "Any"),
        (list[int | None], "list[int | None]"),
        (Optional[str], "str | None"),  # noqa: UP045
        (Literal["a", 1], "Literal['a', 1]"),
        (tuple[int, ...], "tuple[int, ...]"),
        (Callable[[int], str], "Callable[[int], str]"),
        (Annotated[int, "note"], "int"),
        (UserId, "UserId"),
        (Box[Dog], "Box[Dog]"),
        (T, "T"),
    ],
)
def test_types_are_written_as_authors_do(kind: Any, expected: str) -> None:
    """Error texts and drawings show types as they are written."""
    assert type_name(kind) == expected
