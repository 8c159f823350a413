"""Server-sent events are the same wherever their bytes are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penguiflow import RemoteProtocolError
from penguiflow.wire.sse import Event, EventDecoder


def decoded(data: bytes, cuts: list[int] | None = None) -> list[Event]:
    """Feed bytes, cut at some places."""
    decoder = EventDecoder()
    edges = [0, *sorted({cut % (len(data) + 1) for cut in cuts or ()}), len(data)]
    return [event for start, end in pairwise(edges) for event in decoder.feed(data[start:end])]


@pytest.mark.parametrize(
    ("data", "events"),
    [
        (b"data: a\n\n", [Event("a")]),
        (b"data:a\r\ndata: b\r\n\r\n", [Event("a\nb")]),
        (b"data: a\r\rdata: b\r\r\n", [Event("a"), Event("b")]),
        (b"data: a\r\r", [Event("a")]),
        (b": a comment\n\n:\n\ndata\n\n", [Event("")]),
        (b"event: error\ndata: x\nid: 7\n\ndata: y\n\n", [Event("x", "error", "7"), Event("y", id="7")]),
        (b"retry: 250\ndata: x\nretry: soon\n\n", [Event("x", retry=250)]),
        (b"event: lost\n\ndata: x\n\n", [Event("x")]),
        (b"\xef\xbb\xbfdata: x\n\n", [Event("x")]),
        (b"\xef\xbb\xbf\ndata: x\n\n", [Event("x")]),
        (b"data: \xff\n\n", [Event("\ufffd")]),
        (b"unknown: x\ndata:  two spaces\n\n", [Event(" two spaces")]),
        (b"data: not over\n", []),
        (b"id: a\0b\ndata: x\n\n", [Event("x")]),
    ],
)
def test_what_the_standard_says(data: bytes, events: list[Event]) -> None:
    """Comments, three kinds of line ends, fields without a value, a mark in front of all."""
    assert decoded(data) == events
    assert decoded(data, list(range(len(data)))) == events


LINES = st.sampled_from(
    [
        b"data: a",
        b"data: \xc3\xa9\xf0\x9f\x90\xa7",
        b"",
        b": hello",
        b"event: e",
        b"id: 1",
        b"data",
        b"\xef\xbb\xbf",
    ]
)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


@given(st.lists(st.tuples(LINES, ENDS), max_size=12), st.lists(st.integers(0, 500), max_size=20))
def test_cuts_change_nothing(lines: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    """Anywhere: inside a character, between the halves of a line end."""
    data = b"".join(line + end for line, end in lines)
    assert decoded(data, cuts) == decoded(data)


def test_an_event_without_end_is_refused() -> None:
    """What is kept is bounded, in one line or in many."""
    decoder = EventDecoder(most_bytes=100)
    with pytest.raises(RemoteProtocolError, match="more than 100 bytes"):
        for _ in range(20):
            list(decoder.feed(b"x" * 10))
    decoder = EventDecoder(most_bytes=100)
    with pytest.raises(RemoteProtocolError, match="more than 100 bytes"):
        for _ in range(30):
            list(decoder.feed(b"data: x123\n"))
