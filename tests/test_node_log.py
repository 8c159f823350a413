"""What a node says in the log, and where it says it: at the moment of the record, in code of all kinds."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from penguiflow import Context, Flow, Gathered, Headers, Retry, Spread, Stream, node
from penguiflow.observe import SPAN, StepRetried, StepStarted

pytestmark = [pytest.mark.anyio, pytest.mark.limit(10)]

PLACE = ("run_id", "node", "attempt", "stream_id", "seq", "trace_id", "span_id")


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Any:
    """Give the places of what the nodes said, and what they said."""
    caplog.set_level(logging.INFO, logger="penguiflow.node")

    def since() -> list[dict[str, Any]]:
        records = [record for record in caplog.records if record.name.startswith("penguiflow.node.")]
        places = [{name: getattr(record, name) for name in PLACE} for record in records]
        said = [
            {**place, "said": record.getMessage(), "logger": record.name}
            for place, record in zip(places, records, strict=True)
        ]
        caplog.clear()
        return said

    return since


def only(said: list[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(record[name] for name in names) for record in said]


@node
async def count(n: int) -> AsyncIterator[int]:
    """Yield 0 to n - 1."""
    for i in range(n):
        yield i


@node
async def says(i: int, ctx: Context) -> int:
    """Say what came, and hand it on."""
    ctx.log.info("got %d", i)
    await anyio.sleep(0)
    return i


async def test_a_message_has_no_number_and_no_stream(told: Any) -> None:
    """Run, node, attempt and trace are there; there is no span where nobody traces."""
    async with Flow("f", says).open() as runtime:
        run = await runtime.start(7)
        assert await run.result() == 7
    (record,) = told()
    assert record == {
        "run_id": run.id,
        "node": "says",
        "attempt": 1,
        "stream_id": None,
        "seq": None,
        "trace_id": run.trace_id,
        "span_id": None,
        "said": "got 7",
        "logger": "penguiflow.node.says",
    }


async def test_chunk_by_chunk_the_number_goes_on(told: Any) -> None:
    """The stream is that of the chunk."""
    assert await Flow("f", count >> says).call(3) == [0, 1, 2]
    assert only(told(), "stream_id", "seq") == [("count-2", 0), ("count-2", 1), ("count-2", 2)]


@pytest.mark.parametrize("options", [{"ordered": False, "concurrency": 3}, {"retry": Retry(attempts=2)}])
async def test_with_a_policy_too(told: Any, options: dict[str, Any]) -> None:
    """Side by side, and one after the other."""
    await Flow("f", count >> node(says.fn, name="says", **options)).call(3)
    assert sorted(only(told(), "said", "seq")) == [("got 0", 0), ("got 1", 1), ("got 2", 2)]


async def test_def_nodes_have_a_context_as_well(told: Any) -> None:
    """On messages, on chunks, and in a thread."""

    def at_once(i: int, ctx: Context) -> int:
        ctx.log.info("at once")
        return i

    for thread in (False, True):
        it = node(at_once, name="it", thread=thread)
        assert await Flow("f", count >> it).call(2) == [0, 1]
        assert only(told(), "node", "seq", "said") == [("it", 0, "at once"), ("it", 1, "at once")]
        assert await Flow("f", it).call(2) == 2
        assert only(told(), "node", "seq", "said") == [("it", None, "at once")]


async def test_a_generator_is_in_the_stream_that_it_gives(told: Any) -> None:
    """Before and behind each yield."""

    @node
    async def gives(n: int, ctx: Context) -> AsyncIterator[int]:
        ctx.log.info("begins")
        yield n
        ctx.log.info("ends")

    await Flow("f", gives).call(1)
    assert only(told(), "stream_id", "seq", "said") == [
        ("gives-2", None, "begins"),
        ("gives-2", None, "ends"),
    ]


async def test_who_takes_a_stream_is_in_it(told: Any) -> None:
    """As are those who take it along with something else."""

    @node
    async def reads(stream: Stream[int], ctx: Context) -> int:
        total = sum([i async for i in stream])
        ctx.log.info("read")
        return total

    await Flow("f", count >> reads).call(3)
    assert only(told(), "stream_id", "seq") == [("count-2", None)]


async def test_joins_and_gathers(told: Any) -> None:
    """They have a place as well."""

    @node
    async def both(a: int, b: int, ctx: Context) -> int:
        ctx.log.info("both")
        return a + b

    @node
    async def spread(n: int) -> Spread[int]:
        return Spread(range(n))

    @node
    async def gather(parts: Gathered[int], ctx: Context) -> int:
        ctx.log.info("all %d", len(parts))
        return len(parts)

    one, two = (node(says.fn, name=name) for name in "ab")
    assert await Flow("f", count >> [one, two] >> both).call(2) == [0, 2]
    assert only([r for r in told() if r["node"] == "both"], "stream_id", "seq") == [
        ("count-2", 0),
        ("count-2", 1),
    ]
    assert await Flow("f", spread >> gather).call(4) == 4
    assert only(told(), "node", "said") == [("gather", "all 4")]


async def test_attempts_are_those_of_the_moment(told: Any) -> None:
    """Each attempt says which it is; so does an old logger that somebody kept."""
    kept: list[Any] = []

    @node(retry=Retry(attempts=3, backoff=0, jitter=0))
    async def shaky(i: int, ctx: Context) -> int:
        kept.append(ctx.log)
        kept[0].info("try")
        if len(kept) < 3:
            raise OSError
        return i

    assert await Flow("f", shaky).call(1) == 1
    assert only(told(), "attempt") == [(1,), (2,), (3,)]


async def test_what_the_caller_gives_comes_on_top(told: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Its own ``extra`` wins, and what else a logger takes is passed on."""

    @node
    async def speaks(i: int, ctx: Context) -> int:
        ctx.log.info("hello", extra={"seq": "mine", "more": 1})
        try:
            raise OSError(i)
        except OSError:
            ctx.log.exception("failed", stack_info=False)
        return i

    await Flow("f", speaks).call(1)
    first, second = [record for record in caplog.records if record.name == "penguiflow.node.speaks"]
    assert (first.seq, first.more, first.node) == ("mine", 1, "speaks")  # type: ignore[attr-defined]
    assert second.exc_info is not None
    assert second.seq is None  # type: ignore[attr-defined]


async def test_a_nested_flows_names_are_a_loggers(told: Any) -> None:
    """So one level may be set for all nodes of a part."""
    await Flow("f", count >> Flow("inner", says)).call(1)
    assert only(told(), "node", "logger") == [("inner/says", "penguiflow.node.inner.says")]


async def test_a_level_that_nobody_wants_makes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the place is, is not even looked up."""

    def never(step: Any) -> dict[str, Any]:
        raise AssertionError

    monkeypatch.setattr("penguiflow.node_log.place_of", never)
    logging.getLogger("penguiflow.node.quiet").setLevel(logging.WARNING)

    @node
    async def quiet(i: int, ctx: Context) -> int:
        ctx.log.debug("nothing %s", i)
        ctx.log.info("nothing %s", i)
        assert not ctx.log.isEnabledFor(logging.INFO)
        return i

    assert await Flow("f", quiet).call(1) == 1


class ASpan:
    """A span that is nothing but its name."""

    trace_id = "cd" * 16

    def __init__(self, name: str) -> None:
        self.span_id = name


class Tracer:
    """Sets a span per step."""

    is_tracer = True

    def observe(self, event: Any) -> None:
        if isinstance(event, StepStarted | StepRetried):
            SPAN.set(ASpan(f"{event.node} {event.attempt}"))  # type: ignore[arg-type]


async def test_where_somebody_traces_the_span_is_said(told: Any) -> None:
    """That of the step and its attempt, also from tasks and threads."""

    @node(retry=Retry(attempts=2, backoff=0, jitter=0))
    async def shaky(i: int, ctx: Context) -> int:
        async def task() -> None:
            ctx.log.info("task")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(task)
        if ctx.attempt == 1:
            raise OSError
        return i

    def in_thread(i: int, ctx: Context) -> int:
        ctx.log.info("thread")
        return i

    flow = Flow("f", shaky >> node(in_thread, thread=True))
    async with flow.open(observers=[Tracer()]) as runtime:
        assert await runtime.call(1, headers=Headers()) == 1
    assert only(told(), "span_id", "trace_id") == [
        ("shaky 1", "cd" * 16),
        ("shaky 2", "cd" * 16),
        ("in_thread 1", "cd" * 16),
    ]
