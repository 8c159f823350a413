"""Who is told what: observers that fail or follow nothing, tracers, variables, runtimes (rules 6.2, 6.3)."""

from __future__ import annotations

import contextvars
import gc
import math
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from fuzz.books import Books
from plain_nodes import count, hop, plain, total

import penguiflow.watch
from penguiflow import Context, Flow, Headers, Message, Retry, Stream, node
from penguiflow.observe import SPAN, Passed, RunStarted, StepRetried, StepStarted
from penguiflow.testing import virtual_backend

pytestmark = [pytest.mark.anyio, pytest.mark.limit(10)]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Both event loops, both on virtual time where that is asked for."""
    if request.node.get_closest_marker("virtual_time"):
        return virtual_backend(request.param)
    return request.param, {}


def all_kinds() -> Flow:
    """Give a flow with nodes of all kinds, one of which calls another flow."""

    @node(retry=Retry(attempts=2, backoff=0, jitter=0))
    async def calls(i: int, ctx: Context) -> int:
        if i == 1 and ctx.attempt == 1:
            raise OSError
        return int(await ctx.call(Flow("called", plain >> hop), i))

    return Flow("f", plain >> count >> hop >> plain_too >> calls >> total)


plain_too = node(plain.fn, name="plain2")


# -- who can't be one


class Awaited:
    """Would have to be awaited."""

    async def observe(self, event: object) -> None:
        pass


class Yields:
    """Would have to be iterated."""

    async def observe(self, event: object) -> AsyncIterator[object]:
        yield event


class AsyncCall:
    async def __call__(self, event: object) -> None:
        pass


class Delegates:
    """Hands what it is told to an object that is awaited when it is called."""

    observe = AsyncCall()


@pytest.mark.parametrize(
    ("observer", "text"),
    [
        (
            Awaited(),
            r"its observe is a coroutine function \(observe\), which nobody would await; write a plain def",
        ),
        (Yields(), "its observe is a generator"),
        (Delegates(), "its observe is a coroutine function"),
        (object(), r"is no observer: it has no method observe\(event\)"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_an_observer_that_could_not_be_told_is_refused(observer: Any, text: str) -> None:
    """When the flow is opened, with what is wrong with it; a warning of Python's would come too late."""
    with pytest.raises(TypeError, match=text):
        Flow("f", hop).open(observers=[observer])


async def test_an_observer_is_given_once() -> None:
    """Else a trace store would have each run twice; another one, though it is equal, is welcome."""

    class Equal:
        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 1

        def observe(self, event: object) -> None:
            pass

    one, other = Equal(), Equal()
    with pytest.raises(ValueError, match="is given twice, and would be told everything twice; give it once"):
        Flow("f", hop).open(observers=[one, other, one])
    async with Flow("f", hop).open(observers=[one, other]) as runtime:
        assert await runtime.call(1) == 1


# -- observers that fail


class Breaks:
    """Fails at the n-th thing that it is asked or told."""

    def __init__(self, at: int, asks: bool) -> None:
        self.left = at
        if asks:
            self.follows = self.answer

    def answer(self, run: object) -> bool:
        self.observe(run)
        return True

    def observe(self, event: object) -> None:
        self.left -= 1
        if self.left == 0:
            raise LookupError("mine")


@pytest.mark.parametrize("asks", [False, True])
async def test_an_observer_may_fail_at_any_event(asks: bool) -> None:
    """It is silenced; the run gives what it gives, and the others' books are right (rule 6.3)."""
    silenced = 0
    for at in range(1, 80):
        books = Books()
        async with all_kinds().open(observers=[Breaks(at, asks), books]) as runtime:
            assert await runtime.call(4) == 6
            assert await runtime.call(3) == 3
            silenced += runtime.statistics().observer_errors
        assert books.left() == []
    assert silenced >= 70


async def test_when_all_have_failed_nothing_is_told_or_measured_any_more() -> None:
    """Measures stay what they were: no run is recorded whose time nobody has kept."""
    broken = Breaks(3, asks=False)
    broken.measures = True  # type: ignore[attr-defined]
    async with all_kinds().open(observers=[broken]) as runtime:
        await runtime.call(4)
        assert await runtime.call(4) == 6
        measures = runtime.measures()
        assert measures is not None
        assert measures.seconds.maximum < 5.0
    assert broken.left == 0


# -- who follows


class Follows(Books):
    """Follows what it is asked to, and keeps whom it was asked about."""

    def __init__(self, wanted: Any) -> None:
        super().__init__()
        self.wanted = wanted
        self.asked: list[tuple[str, int]] = []

    def follows(self, run: RunStarted) -> bool:
        self.asked.append((run.flow, run.part))
        return bool(self.wanted(run))


async def test_of_a_run_that_nobody_follows_nothing_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither watches nor events, nor of its parts: these are not even asked about (rule 6.2)."""
    made: list[str] = []
    for name in ("StreamWatch", "Timing", "Watch"):
        begin = getattr(penguiflow.watch, name).__init__

        def counted(self: Any, *args: Any, _begin: Any = begin, _name: str = name, **kwargs: Any) -> None:
            made.append(_name)
            _begin(self, *args, **kwargs)

        monkeypatch.setattr(getattr(penguiflow.watch, name), "__init__", counted)
    nobody = Follows(lambda run: False)
    nobody.measures = nobody.timelines = False
    async with all_kinds().open(observers=[nobody]) as runtime:
        assert await runtime.call(4) == 6
    assert nobody.asked == [("f", 0)]
    assert made == []
    assert [type(event).__name__ for event in nobody.events] == ["RuntimeOpened", "RuntimeClosed"]


async def test_each_observer_is_told_of_what_it_follows() -> None:
    """Some runs, others, or none; and of a part only who follows what calls it."""
    first = Follows(lambda run: run.headers.topic == "one")
    second = Follows(lambda run: run.headers.topic == "two" or run.part > 0)
    books = Books()
    async with all_kinds().open(observers=[first, second, books]) as runtime:
        one = await runtime.start(4, headers=Headers(topic="one"), run_id="one")
        two = await runtime.start(4, headers=Headers(topic="two"), run_id="two")
        assert (await one.result(), await two.result()) == (6, 6)
    for observer, own in ((first, "one"), (second, "two")):
        assert observer.left() == []
        assert {key[0] for key in observer.runs} == {own}
        assert len(observer.runs) == 5
        assert observer.asked.count(("called", 1)) == 1
    assert len(books.runs) == 10


async def test_who_follows_a_run_but_not_its_parts() -> None:
    """That is its right: of these it is told nothing."""
    only = Follows(lambda run: run.part == 0)
    async with all_kinds().open(observers=[only]) as runtime:
        assert await runtime.call(4) == 6
    assert only.left() == []
    assert len(only.runs) == 1


# -- tracers, and the span that code sees


class ASpan:
    """A span that is nothing but its name."""

    def __init__(self, name: str) -> None:
        self.span_id = self.trace_id = name


class Tracer(Books):
    """Sets a span wherever it may."""

    is_tracer = True

    def observe(self, event: Any) -> None:
        super().observe(event)
        if isinstance(event, RunStarted):
            event.trace_id = "ab" * 16
            SPAN.set(ASpan(f"run {event.part}"))  # type: ignore[arg-type]
        elif isinstance(event, StepStarted | StepRetried):
            seq = getattr(event, "seq", None)
            if seq is None:
                SPAN.set(ASpan(f"{event.part}.{event.step} {event.node} {event.attempt}"))  # type: ignore[arg-type]


def here() -> str:
    span = SPAN.get()
    return span.span_id if span is not None else ""


async def test_tracers_are_told_first() -> None:
    """So the others see the trace that they set, whoever was given first."""
    seen: list[str] = []

    class Sees:
        def observe(self, event: Any) -> None:
            if isinstance(event, RunStarted | StepStarted):
                seen.append(getattr(event, "trace_id", here()))

    async with Flow("f", hop).open(observers=[Sees(), Tracer()]) as runtime:
        async with runtime.run(1) as run:
            assert run.trace_id == "ab" * 16
            assert [item.trace_id async for item in run] == ["ab" * 16]
    assert seen == ["ab" * 16, "0.1 hop 1"]


async def test_code_of_all_kinds_sees_the_span_of_its_step() -> None:
    """Functions, generators, `def` nodes, threads, chunk by chunk, tasks that are started, joins, calls."""
    seen: dict[str, list[str]] = {}

    def note(name: str) -> None:
        seen.setdefault(name, []).append(here())

    @node
    def at_once(i: int) -> int:
        note("at_once")
        return i

    @node
    async def gives(i: int) -> AsyncIterator[int]:
        note("gives")
        yield 0
        await anyio.sleep(0)
        note("gives")
        yield 1

    @node
    async def chunk(i: int) -> int:
        note("chunk")
        await anyio.sleep(0)
        note("chunk")
        return i

    @node
    def chunk_at_once(i: int) -> int:
        note("chunk_at_once")
        return i

    @node
    async def with_context(i: int, ctx: Context) -> int:
        async def task() -> None:
            await anyio.sleep(0)
            seen.setdefault("task", []).append(ctx.span.span_id)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(task)
        note("with_context")
        return i

    @node(thread=True)
    def in_thread(i: int) -> int:
        note("in_thread")
        return i

    @node(ordered=False, concurrency=2)
    async def unordered(i: int) -> int:
        note("unordered")
        return i

    @node
    async def reads(stream: Stream[int]) -> int:
        note("reads")
        return sum([i async for i in stream])

    @node
    async def calls(i: int, ctx: Context) -> int:
        note("calls")
        return int(await ctx.call(at_once, i))

    flow = (
        at_once >> gives >> chunk >> chunk_at_once >> with_context >> in_thread >> unordered >> reads >> calls
    )
    tracer = Tracer()
    async with Flow("f", flow).open(observers=[tracer]) as runtime:
        assert await runtime.call(1) == 1
        assert tracer.left() == []
    steps = {event.node: f"{event.part}.{event.step} {event.node} 1" for event in tracer.of("StepStarted")}
    seen["with_context"] += seen.pop("task")
    for name, spans in seen.items():
        if name == "at_once":
            assert spans == ["0.1 at_once 1", "1.1 at_once 1"]
        else:
            assert set(spans) == {steps[name]}, name


async def test_after_a_retry_code_sees_the_span_of_the_next_attempt() -> None:
    """Messages, streams, and what is restarted behind these."""
    seen: list[str] = []

    @node(retry=Retry(attempts=2, backoff=0, jitter=0))
    async def shaky(i: int, ctx: Context) -> AsyncIterator[int]:
        seen.append(here())
        yield i
        await anyio.sleep(0.01)
        seen.append(here())
        if ctx.attempt == 1:
            raise OSError

    @node
    async def chunk(i: int) -> int:
        seen.append(here())
        return i

    @node
    async def reads(stream: Stream[int]) -> int:
        seen.append(here())
        return sum([i async for i in stream])

    async with Flow("f", shaky >> chunk >> reads).open(observers=[Tracer()]) as runtime:
        assert await runtime.call(1) == 1
    assert {text for text in seen if "shaky" in text} == {"0.1 shaky 1", "0.1 shaky 2"}
    assert [text for text in seen if "chunk" in text] == ["0.2 chunk 1", "0.2 chunk 2"]
    assert [text for text in seen if "reads" in text] == ["0.3 reads 1", "0.3 reads 2"]


async def test_variables_of_one_run_are_not_those_of_another() -> None:
    """Nor of another step, or of who started the run: also where observers set them (rule 3.1)."""
    mine: contextvars.ContextVar[str] = contextvars.ContextVar("mine", default="nobody")
    seen: dict[str, set[tuple[str, str]]] = {}

    @node(concurrency=4)
    async def sets(message: Message[int]) -> int:
        seen.setdefault(message.run_id, set()).add((mine.get(), here()))
        mine.set(f"step of {message.run_id}")
        await anyio.sleep(0.001)
        return message.payload

    async def one(runtime: Any, name: str) -> None:
        mine.set(name)
        assert await runtime.call(1, run_id=name) == 1
        assert (mine.get(), SPAN.get()) == (name, None)

    async with Flow("f", sets >> plain >> node(sets.fn, name="again")).open(observers=[Tracer()]) as runtime:
        async with anyio.create_task_group() as tasks:
            for i in range(8):
                tasks.start_soon(one, runtime, f"run{i}")
    for i in range(8):
        name = f"run{i}"
        assert seen[name] == {(name, "0.1 sets 1"), (name, "0.3 again 1")}


async def test_origins_of_joins_and_gathers_are_those_of_what_they_take() -> None:
    """Whatever is dropped on the way is forgotten: an id of Python's is used again."""
    from penguiflow import Gathered, Spread

    @node
    async def spread(n: int) -> Spread[int]:
        return Spread(range(n))

    @node
    async def gather(parts: Gathered[int]) -> int:
        return len(parts)

    books = Tracer()
    async with Flow("f", spread >> count >> gather).open(observers=[books]) as runtime:
        run = await runtime.start(40)
        assert await run.result() == sum(range(40))
        assert run._core.watch is not None
        assert run._core.watch._origins == {}
    (origins,) = [event.origins for event in books.of("StepStarted") if event.node == "gather"]
    assert len(origins) == penguiflow.watch.MOST_ORIGINS
    assert {origin.span_id.split()[1] for origin in origins} == {"count"}
    assert len({origin.span_id for origin in origins}) == len(origins)


# -- runtimes


class Ticked:
    """Keeps when it was told what of a runtime."""

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self.told: list[str] = []

    def observe(self, event: object) -> None:
        self.told.append(type(event).__name__.removeprefix("Runtime"))


@pytest.mark.virtual_time
async def test_a_runtime_is_opened_ticks_and_is_closed() -> None:
    """Each observer at its own pace; behind the end there is nothing."""
    fast, slow = Ticked(1.0), Ticked(4.0)
    async with Flow("f", hop).open(observers=[fast, slow]):
        assert (fast.told, slow.told) == (["Opened"], ["Opened"])
        await anyio.sleep(8.5)
    ticks = [told for told in fast.told if told == "Tick"]
    assert (len(ticks), slow.told) == (8, ["Opened", "Tick", "Tick", "Closed"])
    assert fast.told[-1:] == ["Closed"]
    before = len(fast.told)
    await anyio.sleep(20)
    assert len(fast.told) == before


@pytest.mark.virtual_time
async def test_a_runtime_is_closed_once_whoever_closes_it() -> None:
    """Two who abort it at the same time, and the block that is left."""

    @node
    async def slow(n: int) -> int:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.3)
        return n

    told = Ticked(0.1)
    async with Flow("f", slow).open(observers=[told]) as runtime:
        await runtime.start(1)
        await anyio.sleep(0.05)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runtime.abort)
            tasks.start_soon(runtime.abort)
    assert told.told.count("Closed") == 1
    assert told.told[-1] == "Closed"


@pytest.mark.parametrize("interval", [0.0, -1.0, math.nan, "often", True, False])
def test_intervals_that_make_no_sense(interval: Any) -> None:
    """An interval is some seconds; a clock that ticks without end would be worse than an error."""
    with pytest.raises(ValueError, match="interval"):
        Flow("f", hop).open(observers=[Ticked(interval)])


def test_no_interval_is_no_interval() -> None:
    """`None` is as good as none."""
    Flow("f", hop).open(observers=[Ticked(None)])  # type: ignore[arg-type]


async def test_what_is_watched_is_freed() -> None:
    """A runtime that is over, its timers and its runs are no longer held by anything."""
    import weakref

    told = Ticked(100.0)
    runtime = Flow("f", hop).open(observers=[told], watchdog=100.0)
    async with runtime:
        await runtime.call(1)
    gone = weakref.ref(runtime)
    del runtime
    gc.collect()
    await anyio.sleep(0)
    gc.collect()
    assert gone() is None


# -- without a tracer

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("extra", "given"),
    [
        ({"traceparent": PARENT}, {"traceparent": PARENT}),
        ({"traceparent": PARENT, "tracestate": "a=1, b=2"}, {"traceparent": PARENT, "tracestate": "a=1,b=2"}),
        ({"traceparent": PARENT, "tracestate": "no!"}, {"traceparent": PARENT}),
        ({"traceparent": PARENT[:-1]}, {}),
        ({"traceparent": "00-" + "0" * 32 + "-00f067aa0ba902b7-01"}, {}),
        ({"traceparent": 7}, {}),
        ({"tracestate": "a=1"}, {}),
        ({}, {}),
    ],
)
async def test_a_trace_is_handed_on_where_nobody_traces(extra: dict[str, Any], given: dict[str, str]) -> None:
    """`ctx.span` takes what it is told, and gives the headers that the run came with, if they are valid."""
    seen: list[Any] = []

    @node
    async def looks(i: int, ctx: Context) -> int:
        ctx.span.set_attribute("a", 1)
        ctx.span.add_event("b", {"c": 2})
        seen.append((ctx.span.headers(), ctx.span.trace_id, ctx.span.span_id))
        return i

    for observers in ((), (Books(),)):
        async with Flow("f", looks).open(observers=observers) as runtime:
            async with runtime.run(1, headers=Headers(extra=dict(extra))) as run:
                assert await run.result() == 1
            valid = bool(given)
            assert (run.trace_id == "4bf92f3577b34da6a3ce929d0e0e4736") is valid
            assert len(run.trace_id) == 32
            assert seen.pop() == (given, run.trace_id, "")
    (started,) = observers[0].of("RunStarted")
    assert started.parent == (PARENT if valid else "")


async def test_a_call_is_in_the_trace_of_its_run() -> None:
    """Its headers are those of the run."""
    seen: list[Any] = []

    @node
    async def inner(i: int, ctx: Context) -> int:
        seen.append((ctx.span.headers(), ctx.span.trace_id))
        return i

    @node
    async def outer(i: int, ctx: Context) -> int:
        return int(await ctx.call(inner, i))

    async with Flow("f", outer).open() as runtime:
        await runtime.call(1, headers=Headers(extra={"traceparent": PARENT}))
    assert seen == [({"traceparent": PARENT}, PARENT[3:35])]
    assert isinstance(Passed("t", {}), object)
