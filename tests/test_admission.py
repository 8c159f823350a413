"""What does not fit through the door is refused, naming the entry and the field that is wrong."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

import pytest
from pydantic import BaseModel, Field

from penguiflow import Chunk, Flow, Message, RunRejected, Stream, node, source
from penguiflow.admission import check_payload


class Question(BaseModel):
    """What a user asks."""

    text: str
    limit: int = 3


@dataclass
class Order:
    """What a user buys."""

    name: str
    amount: int


class Shape(TypedDict):
    """A dictionary of a certain shape."""

    name: str


@node
async def counts(x: int) -> int:
    return x


@node
async def reads(text: str) -> str:
    return text


@node
async def asks(question: Question) -> str:
    return question.text


@node
async def buys(order: Order) -> str:
    return order.name


@node
async def shaped(shape: Shape) -> str:
    return shape["name"]


@node
async def lists(numbers: list[int]) -> int:
    return sum(numbers)


@node
async def anything(x):  # type: ignore[no-untyped-def]
    return x


@node
async def wrapped(message: Message[int]) -> int:
    return message.payload


@node
async def collects(stream: Stream[int]) -> int:
    return sum([x async for x in stream])


@node
async def chunks(chunk: Chunk[int]) -> int:
    return chunk.payload


@node
async def guards(lock: threading.Event) -> bool:
    return lock.is_set()


def refusal(flow: Flow, payload: Any, to: str | None = None, *, is_stream: bool = False) -> str | None:
    """Say why a flow does not take a payload, or nothing where it does."""
    try:
        check_payload(flow.plan, payload, to, is_stream=is_stream)
    except RunRejected as exc:
        return str(exc)
    return None


@pytest.mark.parametrize(
    ("entry", "payload"),
    [
        (counts, 3),
        (reads, ""),
        (asks, Question(text="why?")),
        (buys, Order("pen", 2)),
        (shaped, {"name": "x"}),
        (lists, []),
        (lists, [1, 2]),
        (anything, object()),
        (anything, None),
        (wrapped, 3),
        (guards, threading.Event()),
    ],
)
def test_what_fits_goes_in(entry: Any, payload: Any) -> None:
    """Also what is empty, and what pydantic has no word for; nothing is converted or given back."""
    assert refusal(Flow("door", entry), payload) is None


@pytest.mark.parametrize(
    ("entry", "payload", "texts"),
    [
        (counts, "3", ["counts takes int, not str"]),
        (reads, b"x", ["reads takes str, not bytes"]),
        (asks, {"text": "why?"}, ["asks takes Question, not dict"]),
        (lists, [1, "2"], ["lists takes list[int], not list", "(1: "]),
        (shaped, {"nam": "x"}, ["shaped takes Shape, not dict (name: str is needed, it is missing)"]),
        (wrapped, "x", ["wrapped takes Message[int], not str"]),
        (counts, None, ["counts takes int, not NoneType"]),
    ],
)
def test_what_does_not_fit_is_named(entry: Any, payload: Any, texts: list[str]) -> None:
    """The text names flow, entry, expected and given type, and the field where there is one."""
    said = refusal(Flow("door", entry), payload)
    assert said is not None
    assert said.startswith("flow door does not accept this payload: ")
    assert [text for text in texts if text not in said] == []


def test_the_door_takes_what_edges_take() -> None:
    """What an annotation demands beyond the type is the node's business, at the door as behind it."""

    @node
    async def few(amount: Annotated[int, Field(gt=0)]) -> int:
        return amount

    flow = Flow("door", few)
    assert [refusal(flow, amount) for amount in (1, 0)] == [None, None]
    said = refusal(flow, "one")
    assert said is not None
    assert said.endswith("few takes int, not str")


def test_an_instance_is_taken_at_its_word() -> None:
    """An object of the right class goes in as it is, whatever its author put into its fields."""
    order = Order("pen", "two")  # type: ignore[arg-type]
    assert refusal(Flow("door", buys), order) is None
    assert order.amount == "two"


def test_a_payload_is_never_converted() -> None:
    """What only could be converted is refused: an int is no str, a "3" no int, a dictionary no model."""
    payload = {"text": "why?", "limit": "3"}
    assert refusal(Flow("door", asks), payload) is not None
    assert payload == {"text": "why?", "limit": "3"}


def test_one_entry_that_takes_it_is_enough() -> None:
    """Of several entries those that accept the payload get it; all are named where none does."""
    flow = Flow("door", counts, reads)
    assert [refusal(flow, payload) for payload in (3, "x")] == [None, None]
    said = refusal(flow, 2.5)
    assert said == (
        "flow door does not accept this payload: counts takes int, not float; reads takes str, not float"
    )


def test_the_entry_that_is_asked_for_decides() -> None:
    """With `to=` only that one counts; an unknown one is named beside those that there are."""
    flow = Flow("door", counts, reads)
    assert refusal(flow, 3, "counts") is None
    said = refusal(flow, 3, "reads")
    assert said is not None
    assert said.startswith("flow door does not accept this payload: reads takes str")
    assert refusal(flow, 3, "count") == "flow door has no entry 'count'; its entries: counts, reads"


@pytest.mark.parametrize(("entry", "what"), [(collects, "stream"), (chunks, "chunk")])
def test_who_takes_a_stream_is_given_one(entry: Any, what: str) -> None:
    """A single payload is refused with the remedy; a stream goes in, its items are looked at later."""
    flow = Flow("door", entry)
    said = refusal(flow, 3)
    assert said is not None
    assert "give an async iterable, or open a session" in said
    assert what in said.lower()
    assert refusal(flow, None, is_stream=True) is None


def test_a_flow_of_sources_has_no_door() -> None:
    """There is nothing to enter by, and the text says so."""

    @source
    async def ticks():  # type: ignore[no-untyped-def]
        yield 1

    assert refusal(Flow("clock", ticks), 3) == (
        "flow clock has nothing to enter by, only sources; its entries: none"
    )
