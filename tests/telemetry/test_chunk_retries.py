"""What goes into failed tries of chunks: it is known how much, and not blamed on the node's own code."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from fuzz.books import Books, watched
from plain_nodes import count, named, plain, total

from penguiflow import Context, Flow, Retry, node
from penguiflow.durations import Waits
from penguiflow.telemetry import TraceStore, why
from penguiflow.telemetry.records import EventRecord, RunTrace
from penguiflow.telemetry.store.reading import open_store
from penguiflow.telemetry.views.blame import Blame
from penguiflow.telemetry.views.waterfall import waterfall
from penguiflow.telemetry.views.work import Works
from penguiflow.testing import virtual_backend

from .traces import T0, line, part, step, stream, trace

pytestmark = [pytest.mark.anyio, pytest.mark.limit(20)]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Both event loops, both on virtual time where that is asked for."""
    if request.node.get_closest_marker("virtual_time"):
        return virtual_backend(request.param)
    return request.param, {}


def unsure(fails: Callable[[int], int], backoff: float = 1.0, seconds: float = 0.1, **options: Any) -> Any:
    """Make a node that takes its time, and fails so many times at a chunk before it hands it on."""
    tries: Counter[int] = Counter()

    async def check(i: int) -> int:
        await anyio.sleep(seconds)
        tries[i] += 1
        if tries[i] <= fails(i):
            raise OSError("not yet")
        return i

    policy = Retry(attempts=5, backoff=backoff, max_backoff=backoff, jitter=0)
    return node(check, retry=policy, **options)


def waits(books: Books, name: str = "check") -> Waits:
    """Give where the time of a node on its one stream went; what its step says is the same."""
    (ended,) = books.of("StepEnded", name)
    found = books.stream(name).timing.waits
    assert ended.waits.again == pytest.approx(found.again, abs=0.01)
    assert found.seconds == pytest.approx(ended.waits.seconds, abs=0.01)
    assert 0 <= found.again <= found.node
    return found  # type: ignore[no-any-return]


# -- what is measured


@pytest.mark.virtual_time
@pytest.mark.parametrize("options", [{}, {"concurrency": 1}, {"timeout": 60.0}], ids=str)
async def test_failed_tries_and_the_waits_after_them_are_told(options: dict[str, Any]) -> None:
    """Three of ten chunks fail twice: that is six times a tenth of a second, and a second of waiting."""
    books = await watched(Flow("f", count >> unsure(lambda i: 2 * (i < 3), **options) >> total), 10)
    assert books.result == 45
    found = waits(books)
    assert found.again == pytest.approx(3 * 2 * (0.1 + 1.0))
    assert found.node == pytest.approx(found.again + 10 * 0.1)
    assert waits_of_others(books) == {"count": 0.0, "total": 0.0}


def waits_of_others(books: Books) -> dict[str, float]:
    return {ended.node: ended.waits.again for ended in books.of("StepEnded") if ended.node != "check"}


@pytest.mark.virtual_time
async def test_what_is_never_tried_again_loses_nothing() -> None:
    """Also where the node might try again; and where the last try fails, that is the node's own."""
    books = await watched(Flow("f", count >> unsure(lambda i: 0)), 10)
    assert waits(books).again == 0.0

    async def anything(run: Any) -> None:
        with pytest.raises(Exception, match="not yet"):
            await run.result()

    books = await watched(Flow("f", count >> unsure(lambda i: 9)), 1, anything)
    assert waits(books) == Waits(node=pytest.approx(4 * 1.1 + 0.1), again=pytest.approx(4 * 1.1))


@pytest.mark.virtual_time
async def test_a_wait_for_credit_in_a_failed_try_stays_one() -> None:
    """The reader is to blame for it, whether the try succeeds or not."""
    tries: Counter[int] = Counter()

    @node(retry=Retry(attempts=2, backoff=1, max_backoff=1, jitter=0))
    async def check(i: int, ctx: Context) -> None:
        await ctx.emit_chunk(i)
        tries[i] += 1
        if i == 5 and tries[i] == 1:
            raise OSError

    async def slowly(run: Any) -> list[Any]:
        found = []
        async for item in run:
            await anyio.sleep(10)
            found.append(item.payload)
        return found

    books = await watched(Flow("f", count >> check), 8, slowly, window=2)
    assert books.result == list(range(8))
    found = waits(books)
    assert found.again == pytest.approx(1.0)
    assert found.credit > 10


@pytest.mark.virtual_time
async def test_tries_side_by_side_share_the_time() -> None:
    """Of four chunks at a time one fails for as long as the others work: a quarter of the time is lost."""
    check = unsure(lambda i: int(i == 0), backoff=0.1, seconds=0.1, ordered=False, concurrency=4)
    books = await watched(Flow("f", count >> check >> total), 4)
    found = waits(books)
    assert found.node == pytest.approx(0.3)
    lost, used = 0.1 + 0.1, 4 * 0.1
    assert found.again == pytest.approx(found.node * lost / (lost + used))


async def test_a_thread_that_is_tried_again() -> None:
    """A plain function with a thread of its own has retries too."""
    tries: Counter[int] = Counter()

    @node(thread=True, retry=Retry(attempts=2, backoff=0.05, max_backoff=0.05, jitter=0))
    def check(i: int) -> int:
        tries[i] += 1
        if tries[i] == 1:
            raise OSError
        return i

    books = await watched(Flow("f", count >> check), 3)
    assert waits(books).again >= 3 * 0.05


@pytest.mark.virtual_time
async def test_a_stream_that_begins_again_begins_to_count_again() -> None:
    """What went into tries of an attempt that was given up is not that of the next one."""
    begun: list[int] = []

    @node(retry=Retry(attempts=2, backoff=0, jitter=0))
    async def gives(n: int) -> AsyncIterator[int]:
        begun.append(n)
        yield len(begun)
        await anyio.sleep(20)
        if len(begun) == 1:
            raise OSError

    check = unsure(lambda i: int(i == 1), backoff=5)
    books = await watched(Flow("f", gives >> check), 1)
    (restarted,) = books.of("StreamRestarted", "check")
    assert restarted.timing.waits.again == pytest.approx(5.1)
    assert books.stream("check").timing.waits.again == 0.0


@pytest.mark.virtual_time
async def test_while_it_is_under_way_it_is_told_already() -> None:
    """`Runtime.streams` has it, and so has `penguiflow top`."""
    books = Books()
    async with Flow("f", count >> unsure(lambda i: int(i == 0), backoff=10)).open(
        observers=[books]
    ) as runtime:
        async with runtime.run(5) as run:
            await anyio.sleep(10.15)
            (found,) = [one.waits for one in runtime.streams() if one.node == "check"]
            assert found is not None
            assert (found.again, found.node) == (pytest.approx(10.1), pytest.approx(10.15))
            assert await run.result() == list(range(5))


# -- why it was slow


def tried(chunks: int, retries: int, error: str = "OSError: not yet") -> tuple[EventRecord, ...]:
    """Give what is kept of so many retries: the sum, and a hundred of them at most."""
    said = {"chunks": chunks, "retries": retries, "error": error}
    each = (EventRecord(T0, "retry", {"seq": i, "error": error}) for i in range(min(retries, 99)))
    return (EventRecord(T0, "retries", said), *each)


def storm(again: float, retries: int = 40, chunks: int = 40) -> RunTrace:
    """A node in the middle that lost so much of its four seconds; the generator waits for its credit."""
    told = (0.1, 3.9, 0.0, again)
    return trace(
        [part(0, line("tokens", "check", "shown"), 0, 4)],
        [
            step("tokens", 0, 3.9, (0, 0.1, 3.8)),
            step("check", 0, 4, told, step=2, stream_id="answer-1", events=tried(chunks, retries)),
            step("shown", 0, 4, (3.9, 0.1, 0), step=3, stream_id="answer-1"),
        ],
        [
            stream("tokens", 0, 3.9, (0, 0.1, 3.8)),
            stream("check", 0, 4, told, step=2),
            stream("shown", 0, 4, (3.9, 0.1, 0), step=3),
        ],
        4,
    )


def test_a_node_is_slow_because_its_chunks_are_tried_again() -> None:
    said = why(storm(3.3))
    assert said[0] == (
        "Node check was slow: of 4.0 s that the run took, 3.2 s (80 %) went into failed tries of 40 chunks "
        "and the waits between them; the last error was OSError: not yet."
    )
    assert any("82 % failed attempts and pauses" in sentence for sentence in said)
    assert "Node check had 41 attempts at 1 step, and failed 40 times with OSError: not yet." in said
    assert "Retry(attempts=" in said[-1]


def test_where_little_was_lost_the_code_of_the_node_is_slow() -> None:
    said = why(storm(0.5))
    assert said[0].startswith(
        "Node check was slow: of 4.0 s that the run took, 3.3 s (83 %) went by in its own"
    )


def test_no_second_is_charged_twice() -> None:
    """What was lost and the node's own code add up to the time of the node."""
    for again in (0.0, 0.5, 2.0, 3.9):
        charges = Blame(Works(storm(again))).charges
        assert sum(charge.total for charge in charges.values()) <= 4.001
        assert charges[0, "check"].seconds["again"] == pytest.approx(again * charges[0, "check"].total / 3.9)


def test_all_retries_count_though_not_all_are_kept() -> None:
    run = storm(3.3, retries=700, chunks=350)
    said = why(run)
    assert "failed tries of 350 chunks" in said[0]
    assert any(
        sentence.startswith("Node check had 701 attempts at 1 step, and failed at least 99 times")
        for sentence in said
    )
    assert "700 retried" in waterfall(run, 100)


def test_who_waits_for_credit_of_a_node_that_tries_again() -> None:
    """The generator ended last, and waited for a side branch which lost its time."""
    edges = [("input", "tokens"), ("tokens", "shown"), ("shown", "reader"), ("tokens", "check")]
    run = trace(
        [part(0, edges, 0, 5)],
        [step("check", 0, 5, (0.1, 4.9, 0, 4.5), step=3, stream_id="answer-1", events=tried(9, 9))],
        [
            stream("tokens", 0, 5, (0, 0.2, 4.8)),
            stream("shown", 0, 5, (4.8, 0.2, 0), step=2),
            stream("check", 0, 5, (0.1, 4.9, 0, 4.5), step=3),
        ],
        5,
    )
    said = why(run)
    assert said[0].startswith("Node check was slow")
    assert "failed tries of 9 chunks and the waits between them" in said[0]


# -- a whole run


async def test_a_run_that_is_slow_because_of_retries(tmp_path: Path) -> None:
    """As it is stored and told: which node, how many chunks, how long, what the last error was."""
    store = TraceStore(tmp_path / "r.db")
    check = unsure(lambda i: int(i % 2 == 0), backoff=0.03, seconds=0.0)
    async with Flow("f", count >> check >> named("shown") >> plain).open(observers=[store]) as runtime:
        assert await runtime.call(20) == list(range(20))
    with open_store(store.path) as reader:
        run = reader.trace("last")
    (told,) = [one for one in run.steps if one.node == "check"]
    (given,) = [one for one in run.streams if one.node == "check"]
    assert 10 * 0.03 <= told.waits.again <= told.waits.node
    assert given.waits.again == pytest.approx(told.waits.again, abs=1e-3)
    assert given.ended is not None
    assert given.waits.seconds == pytest.approx(given.ended - given.started, abs=1e-6)
    assert told.retries == 10
    said = why(run)
    assert said[0].startswith("Node check was slow: of ")
    assert said[0].endswith(
        "went into failed tries of 10 chunks and the waits between them; the last error was OSError: not yet."
    )
    text = waterfall(run, 100)
    assert "again 3" in text
    assert "10 retried" in text
    assert "retries" not in text
