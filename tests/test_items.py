"""What travels: headers and meta are one item's own, payloads are shared, the rest is inherited (1.2)."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from penguiflow.items import (
    Chunk,
    Control,
    Drop,
    Gathered,
    Headers,
    Heading,
    Message,
    Spread,
    StreamEnded,
    StreamOpened,
    StreamRestarted,
    copy_message,
)


def heading(**changes: Any) -> Heading:
    """Make what all items of one origin have in common."""
    parts: dict[str, Any] = {
        "path": ("sub", "answer"),
        "stream_id": "s1",
        "attempt": 2,
        "run_id": "r1",
        "trace_id": "t1",
        "deadline": 12.5,
        "headers": Headers("acme", "news", 3, {"list": [1]}),
        "meta": {"list": [1]},
    }
    return Heading(**{**parts, **changes})


def bare(kind: Any, over: Heading, payload: Any = "x") -> Any:
    """Make an envelope as the runtime does: nothing of its own yet."""
    item = object.__new__(kind)
    item.payload = payload
    item._heading = over
    item._headers = item._meta = item._ticket = None
    item._tokens = ()
    if kind is Message:
        item._number = 7
    else:
        item.seq, item.done = 4, False
    return item


@pytest.mark.parametrize("kind", [Message, Chunk])
def test_an_item_inherits_from_its_origin(kind: Any) -> None:
    """Path, run, trace, deadline, headers and meta come from the heading."""
    over = heading()
    item = bare(kind, over)
    assert (item.path, item.node, item.run_id, item.trace_id, item.deadline) == (
        ("sub", "answer"),
        "answer",
        "r1",
        "t1",
        12.5,
    )
    assert (item.headers, item.meta) == (over.headers, over.meta)
    assert item.headers is item.headers
    assert item.meta is item.meta


@pytest.mark.parametrize("kind", [Message, Chunk])
def test_changing_an_item_changes_no_other(kind: Any) -> None:
    """Neither the origin nor a sibling sees what user code does to headers and meta, however deep."""
    over = heading()
    changed, sibling = bare(kind, over), bare(kind, over)
    changed.headers.tenant = "other"
    changed.headers.extra["list"].append(2)
    changed.meta["list"].append(2)
    changed.meta["more"] = True
    assert (changed.headers, changed.meta) == (
        Headers("other", "news", 3, {"list": [1, 2]}),
        {"list": [1, 2], "more": True},
    )
    for untouched in (over, sibling, bare(kind, over)):
        assert (untouched.headers, untouched.meta) == (
            Headers("acme", "news", 3, {"list": [1]}),
            {"list": [1]},
        )


def test_items_without_meta_do_not_share_the_emptiness() -> None:
    """An empty meta is each item's own as well."""
    over = heading(meta={}, headers=Headers())
    first, second = bare(Chunk, over), bare(Chunk, over)
    first.meta["a"] = 1
    first.headers.extra["a"] = 1
    assert (second.meta, second.headers, over.meta, over.headers) == ({}, Headers(), {}, Headers())


def test_what_a_chunk_knows_of_its_stream() -> None:
    """Stream and attempt come from the heading, number and end are the chunk's."""
    chunk = bare(Chunk, heading())
    assert (chunk.stream_id, chunk.attempt, chunk.seq, chunk.done) == ("s1", 2, 4, False)


@pytest.mark.parametrize("touched", [False, True])
def test_a_copy_shares_the_payload_and_nothing_else(touched: bool) -> None:
    """Branches of a fan-out get what the message says now; afterwards neither sees the other's changes."""
    payload = ["shared"]
    message = bare(Message, heading(), payload)
    message._ticket, message._tokens = "ticket", ("token",)
    if touched:
        message.headers.topic = "changed"
        message.meta["list"].append(2)
    twin = copy_message(message, 8)
    assert (type(twin), twin.id, twin.path, twin._ticket, twin._tokens) == (
        Message,
        "r1-8",
        message.path,
        "ticket",
        (),
    )
    assert twin.payload is payload
    assert (twin.headers, twin.meta) == (message.headers, message.meta)
    twin.headers.extra["list"].append(9)
    twin.meta["list"].append(9)
    message.headers.priority = 0
    assert message.headers.extra == {"list": [1]}
    assert message.meta == {"list": [1, 2] if touched else [1]}
    assert twin.headers.priority == 3


def test_headers_copy_is_independent() -> None:
    """A copy is equal, and its own."""
    headers = Headers("a", "b", 1, {"deep": {"x": [1]}})
    twin = headers.copy()
    assert twin == headers
    twin.extra["deep"]["x"].append(2)
    twin.tenant = None
    assert headers == Headers("a", "b", 1, {"deep": {"x": [1]}})
    assert Headers() == Headers(None, None, 0, {})


def test_envelopes_have_no_room_for_more() -> None:
    """They are the hottest objects there are: slots only, and no unknown attribute by a slip of the pen."""
    for kind in (Message, Chunk):
        item = bare(kind, heading())
        assert not hasattr(item, "__dict__")
        with pytest.raises(AttributeError):
            item.paylod = 1


def test_how_items_look() -> None:
    """Items are readable in a debugger."""
    chunk = bare(Chunk, heading(), b"")
    assert repr(bare(Message, heading())) == "<message r1-7 from sub/answer: 'x'>"
    assert repr(chunk) == "<chunk s1#4 from sub/answer: b''>"
    chunk.done = True
    assert repr(chunk) == "<chunk s1#4 done from sub/answer: b''>"
    assert repr(Spread([1, 2])) == "Spread([1, 2])"
    assert repr(Gathered([1, 2])) == "[1, 2]"


def test_gathered_is_a_list() -> None:
    """What a gather gives compares and works as the list that it is."""
    gathered = Gathered([1, 2])
    assert (gathered, isinstance(gathered, list), gathered[::-1]) == ([1, 2], True, [2, 1])


def test_events_name_their_node() -> None:
    """The events around a stream tell the node by its path, as items do."""
    place: tuple[Any, ...] = ("r1", ("sub", "answer"), "s1", 1)
    events = [
        StreamOpened(*place, Headers(), {}),
        StreamRestarted(*place),
        StreamEnded(*place, "done", None, 3, 0),
    ]
    assert [event.node for event in events] == ["answer"] * 3
    assert events[2] == StreamEnded("r1", ("sub", "answer"), "s1", 1, "done", None, chunks=3, gaps=0)


@pytest.mark.parametrize("word", [Control("pause"), Drop("a→b", "s", 1, "drop_oldest")])
def test_words_that_are_handed_around_do_not_change(word: Any) -> None:
    """Commands and reports are frozen: whoever gets one sees what was sent."""
    with pytest.raises(FrozenInstanceError):
        setattr(word, next(iter(word.__slots__)), "other")


def test_a_command_is_for_all_unless_it_says_so() -> None:
    """By default a command has no payload and goes to all nodes and streams."""
    assert Control("flush") == Control("flush", None, None, None)
