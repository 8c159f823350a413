"""The comparison of what was seen with what was expected, and the protocol of a reader."""

from collections import Counter
from typing import Any

import pytest

from penguiflow import Chunk, Flow, Message, StreamEnded, StreamOpened, StreamRestarted, node
from penguiflow.items import Headers, Heading
from penguiflow.testing import Expected, ExpectedStream, Seen, differences


def heading(attempt: int = 1) -> Heading:
    return Heading(("n",), "s", attempt, "run", "trace", None, Headers(), {})


def chunk(seq: int, payload: Any, attempt: int = 1) -> Chunk[Any]:
    made: Chunk[Any] = object.__new__(Chunk)
    made._heading, made.seq, made.payload, made.done = heading(attempt), seq, payload, False
    return made


def message(payload: Any) -> Message[Any]:
    made: Message[Any] = object.__new__(Message)
    made._heading, made.payload = heading(), payload
    return made


OPENED = StreamOpened("run", ("n",), "s", 1, Headers(), {})
RESTARTED = StreamRestarted("run", ("n",), "s", 2)


def ended(chunks: int, terminal: Any = "done", attempt: int = 1) -> StreamEnded:
    return StreamEnded("run", ("n",), "s", attempt, terminal, None, chunks, 0)


def seen(*items: object, events: bool = True) -> Seen:
    told = Seen(events=events)
    for item in items:
        told.add(item)
    return told


def expected(*tracks: tuple[Any, ...], terminal: Any = "done") -> Expected:
    return Expected({}, {"n": [ExpectedStream(tracks, terminal)]})


def test_what_is_right_has_no_differences() -> None:
    """Truth: payloads in order, one opening, one terminal."""
    told = seen(OPENED, chunk(0, "a"), chunk(1, "b"), ended(2))
    assert differences(expected(("a", "b")), told) == []
    assert differences(Expected({"n": Counter(["x", "x"])}), seen(message("x"), message("x"))) == []


@pytest.mark.parametrize(
    ("items", "text"),
    [
        ((OPENED, chunk(1, "a")), "came where seq 0 was next"),
        ((chunk(0, "a"),), "came before the opening"),
        ((OPENED, ended(0), chunk(0, "a")), "came after the terminal"),
        ((OPENED, OPENED), "was opened twice"),
        ((OPENED, ended(0), ended(0)), "ended twice"),
        ((ended(0),), "ended before it was opened"),
        ((OPENED, chunk(0, "a"), ended(2)), "ended with 2 chunks, but 1 came"),
        ((OPENED, chunk(0, "a", 2)), "came without a restart"),
        ((OPENED, RESTARTED, RESTARTED), "attempt 2 of ('n', 's') came after attempt 2"),
        (("what?",), "a reader got 'what?'"),
    ],
)
def test_breaches_of_protocol_are_told(items: tuple[object, ...], text: str) -> None:
    """Truth: each rule of a reader's protocol is watched."""
    assert any(text in wrong for wrong in seen(*items).wrong)


def test_only_the_last_attempt_counts() -> None:
    """Truth (1.5): what a lower attempt gave is forgotten."""
    told = seen(OPENED, chunk(0, "x"), RESTARTED, chunk(0, "a", 2), chunk(1, "b", 2), ended(2, attempt=2))
    assert differences(expected(("a", "b")), told) == []
    without = seen(chunk(0, "x"), chunk(0, "a", 2), events=False)
    assert differences(expected(("a",)), without) == []


def test_writers_may_interleave_but_each_keeps_its_order() -> None:
    """Truth (1.1): any interleaving of the tracks is right, nothing else."""
    both = expected((1, 2, 3), (7, 8))
    right = seen(OPENED, *(chunk(i, x) for i, x in enumerate([7, 1, 2, 8, 3])), ended(5))
    wrong = seen(OPENED, *(chunk(i, x) for i, x in enumerate([8, 1, 2, 7, 3])), ended(5))
    assert differences(both, right) == []
    assert differences(both, wrong)


def test_a_prefix_may_end_anywhere() -> None:
    """Truth: the beginning of each track, some of the messages, nothing that was not expected."""
    both = expected((1, 2, 3), (7, 8))
    assert differences(both, seen(OPENED, chunk(0, 7), chunk(1, 1)), "prefix") == []
    assert differences(both, seen(OPENED, chunk(0, 2)), "prefix")
    some = Expected({"n": Counter([1, 2])})
    assert differences(some, seen(message(2)), "prefix") == []
    assert differences(some, seen(message(3)), "prefix") == ["n: messages that were not expected: [3]"]
    assert differences(some, seen(message(2))) == ["n: messages that did not come: [1]"]


def test_a_subsequence_keeps_the_order() -> None:
    """Truth: what was dropped is missing, the rest is in order."""
    assert differences(expected((1, 2, 3)), seen(OPENED, chunk(0, 1), chunk(1, 3)), "subsequence") == []
    assert differences(expected((1, 2, 3)), seen(OPENED, chunk(0, 3), chunk(1, 1)), "subsequence")


def test_terminals_and_empty_streams_count_where_events_are_read() -> None:
    """Truth (1.3): an empty stream is a stream; it ends as expected."""
    assert differences(expected(()), seen(OPENED, ended(0))) == []
    assert differences(expected(()), seen(events=False)) == []
    assert differences(expected(()), seen()) != []
    found = differences(expected((), terminal="error"), seen(OPENED, ended(0)))
    assert found == ["n: streams ended with {'done': 1}, expected {'error': 1}"]


async def test_a_real_run_is_seen() -> None:
    """Truth: what a run gives is told apart by exit and stream."""

    @node
    async def count(x: int) -> Any:
        for number in range(x):
            yield number

    told = Seen(events=True)
    async with Flow("f", count).open() as runtime, runtime.run(3) as run:
        async for item in run.events():
            told.add(item)
    assert differences(Expected({}, {"count": [ExpectedStream(((0, 1, 2),))]}), told) == []
