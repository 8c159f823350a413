"""What users of comparable frameworks suffer from, each harm as a test that is named after it."""

import itertools
from collections.abc import AsyncIterator, Iterator

import anyio
import anyio.lowlevel
import pytest

from penguiflow import (
    Chunk,
    Context,
    Flow,
    Headers,
    Retry,
    RunCancelled,
    Spread,
    StepError,
    StepTimeout,
    Stream,
    StreamEnded,
    StreamIdle,
    edge,
    node,
)

pytestmark = [pytest.mark.anyio, pytest.mark.limit(10)]


class Model:
    """A model that bills each token it gives, and knows whether it is still at it."""

    def __init__(self) -> None:
        self.billed = 0
        self.at_it = 0

    async def stream(self, tokens: int | None = None) -> AsyncIterator[str]:
        """Give tokens, for ever or so many."""
        self.at_it += 1
        try:
            for i in itertools.count() if tokens is None else range(tokens):
                await anyio.sleep(0)
                self.billed += 1
                yield f"t{i} "
        finally:
            self.at_it -= 1


def answering(model: Model, **options):
    """Make a node that answers with that model."""

    @node(**options)
    async def answer(question: str) -> AsyncIterator[str]:
        stream = model.stream()
        try:
            async for token in stream:
                yield token
        finally:
            await stream.aclose()

    return answer


@node
def redact(token: str) -> str:
    """Change nothing."""
    return token


@pytest.mark.parametrize("how", ["break", "disconnect", "cancel"])
async def test_case_1_the_consumer_leaves_and_the_agent_keeps_burning_tokens(how: str) -> None:
    """When the reader is gone, no further token is billed, and the model has been closed."""
    model = Model()
    async with Flow("qa", answering(model) >> redact).open(window=8) as runtime:
        try:
            async with runtime.run("why?") as run:
                async for _ in run:
                    if how == "disconnect":
                        raise ConnectionResetError
                    if how == "cancel":
                        await run.cancel("client left")
                    break
        except ConnectionResetError:
            pass
        assert (model.at_it, model.billed <= 10) == (0, True)
        billed = model.billed
        for _ in range(50):
            await anyio.lowlevel.checkpoint()
        assert model.billed == billed


@pytest.mark.virtual_time
@pytest.mark.parametrize("how", ["raises", "times out"])
async def test_case_2_the_stream_hangs_for_ever_when_a_step_fails(how: str) -> None:
    """Every reader and every step behind a step that raises or times out gets an error, in time."""

    @node(timeout=0.05)
    async def fails(question: str) -> AsyncIterator[str]:
        yield "some "
        if how == "raises":
            raise ValueError("model is down")
        await anyio.sleep_forever()

    @node
    async def collect(stream: Stream[str]) -> str:
        return "".join([token async for token in stream])

    expected = StepError if how == "raises" else StepTimeout
    for flow in (Flow("read", fails >> redact), Flow("folded", fails >> redact >> collect)):
        with pytest.raises(expected):
            await flow.call("why?")


async def test_case_3_errors_are_swallowed_and_a_failed_stream_ends_cleanly() -> None:
    """A stream that failed never looks like one that is done, neither to a loop nor in its events."""

    @node
    async def fails(question: str) -> AsyncIterator[str]:
        yield "half an "
        raise ValueError("model is down")

    seen: list[str] = []
    async with Flow("qa", fails >> redact).open() as runtime:
        async with runtime.run("why?") as run:
            with pytest.raises(StepError) as caught:
                async for chunk in run:
                    seen.append(chunk.payload)  # noqa: PERF401 - keeps what came before the error
        events: list[object] = []
        async with runtime.run("why?") as run:
            with pytest.raises(StepError):
                async for event in run.events():
                    events.append(event)  # noqa: PERF401 - keeps what came before the error
        assert runtime.statistics().failed == 2
    assert (seen, str(caught.value.__cause__)) == (["half an "], "model is down")
    assert [(e.terminal, type(e.error)) for e in events if isinstance(e, StreamEnded)] == [
        ("error", StepError)
    ]


async def test_case_4_cancelling_is_slow_or_leaks_or_races_the_cleanup(quiet, in_flight, at_rest) -> None:
    """A hundred runs cancelled at once: each cleanup has run to its end when `cancel` returns."""
    cleaned: list[str] = []

    @node(concurrency=100)
    async def hold(name: str, ctx: Context) -> AsyncIterator[str]:
        try:
            yield name
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0)
            cleaned.append(ctx.run_id)

    async def cancel(run) -> None:
        await run.cancel()
        assert run.id in cleaned

    async with Flow("f", hold >> redact).open() as runtime:
        runs = [await runtime.start(str(i)) for i in range(100)]
        await quiet()
        async with anyio.create_task_group() as tasks:
            for run in runs:
                tasks.start_soon(cancel, run)
        assert in_flight(runtime) == at_rest
        assert sorted(cleaned) == sorted(run.id for run in runs)


async def test_case_5_generator_cleanup_in_another_task() -> None:
    """A generator that holds a cancel scope at its `yield` is closed in the task that began it."""
    told: list[tuple[bool, str]] = []

    @node
    async def scoped(question: str) -> AsyncIterator[str]:
        begun_in = anyio.get_current_task().id
        try:
            with anyio.fail_after(60):
                while True:
                    yield "token "
                    await anyio.sleep(0)
        finally:
            told.append((anyio.get_current_task().id == begun_in, question))

    async with Flow("qa", scoped >> redact).open(window=2) as runtime:
        run = await runtime.start("left")
        items = aiter(run)
        await anext(items)

        async def close_elsewhere() -> None:
            await run.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(close_elsewhere)
        async with runtime.run("broken off") as run:
            async for _ in run:
                break
    assert told == [(True, "left"), (True, "broken off")]


async def test_case_9_cancelling_loses_what_was_streamed_already() -> None:
    """What was delivered before a cancel stays with the reader, complete and in order up to that point."""
    text: list[str] = []
    async with Flow("qa", answering(Model()) >> redact).open() as runtime, runtime.run("why?") as run:
        with pytest.raises(RunCancelled):
            async for chunk in run:
                text.append(chunk.payload)
                if len(text) == 30:
                    await run.cancel("stop button")
        assert run.status == "cancelled"
    assert text == [f"t{i} " for i in range(30)]


async def test_case_11_a_slow_sibling_blocks_a_fast_branch() -> None:
    """The fast branch has streamed to its end before the slow one gave anything."""
    fast_is_done = anyio.Event()

    @node
    async def ask(question: str) -> str:
        return question

    @node
    async def slow(question: str) -> str:
        await fast_is_done.wait()
        return "slow"

    @node
    async def fast(question: str) -> AsyncIterator[str]:
        for word in ("fast", "words"):
            yield word

    seen: list[str] = []
    async with Flow("f", ask >> [slow, fast]).open() as runtime, runtime.run("?") as run:
        async for item in run:
            seen.append(item.payload)
            if item.payload == "words":
                fast_is_done.set()
    assert seen == ["fast", "words", "slow"]


async def test_case_12_concurrent_requests_leak_between_tenants_or_are_serial() -> None:
    """One runtime serves fifty tenants at the same time, and nobody sees anything of another."""
    here = [0]
    all_are_here = anyio.Event()

    @node(concurrency=50)
    async def serve(question: str, ctx: Context) -> AsyncIterator[tuple[str, str]]:
        ctx.state["tenant"] = ctx.message.headers.tenant
        here[0] += 1
        if here[0] == 50:
            all_are_here.set()
        await all_are_here.wait()  # hangs if requests were served one after the other
        for _ in range(3):
            yield ctx.state["tenant"], question
            await anyio.sleep(0)

    answers: dict[str, object] = {}

    async def request(runtime, tenant: str) -> None:
        async with runtime.run(f"{tenant}?", headers=Headers(tenant=tenant)) as run:
            answers[tenant] = [(item.headers.tenant, item.payload) async for item in run]

    async with Flow("qa", serve).open() as runtime, anyio.create_task_group() as tasks:
        for i in range(50):
            tasks.start_soon(request, runtime, f"t{i}")
    assert answers == {f"t{i}": [(f"t{i}", (f"t{i}", f"t{i}?"))] * 3 for i in range(50)}


async def test_case_13_a_retry_in_mid_stream_repeats_text() -> None:
    """The text is the successful attempt's; a reader of chunks can tell the attempts apart."""

    @node(retry=Retry(attempts=3, backoff=0, jitter=0))
    async def shaky(question: str, ctx: Context) -> AsyncIterator[str]:
        yield "It "
        yield "is "
        if ctx.attempt < 3:
            raise ConnectionError("model fell over")
        yield "so."

    async with Flow("qa", shaky >> redact).open() as runtime:
        async with runtime.run("why?") as run:
            assert await run.text() == "It is so."
        async with runtime.run("why?") as run:
            chunks: list[Chunk] = [item async for item in run]
        assert [(c.attempt, c.seq) for c in chunks] == [
            (1, 0),
            (1, 1),
            (2, 0),
            (2, 1),
            (3, 0),
            (3, 1),
            (3, 2),
        ]


@pytest.mark.virtual_time
@pytest.mark.parametrize("given", [0, 1])
async def test_case_14_a_stalled_provider_hangs_for_hours(given: int) -> None:
    """`first_chunk_timeout` and `idle_timeout` end a stream that does not begin or does not go on."""

    @node(first_chunk_timeout=0.1, idle_timeout=0.05)
    async def provider(question: str) -> AsyncIterator[str]:
        for _ in range(given):
            yield "token "
        await anyio.sleep(4 * 3600)
        yield "too late"

    seen: list[str] = []
    async with Flow("qa", provider >> redact).open() as runtime, runtime.run("why?") as run:
        begun = anyio.current_time()
        with pytest.raises(StreamIdle):
            async for chunk in run:
                seen.append(chunk.payload)  # noqa: PERF401 - keeps what came before the error
        assert anyio.current_time() - begun < 5
    assert seen == ["token "] * given


async def test_case_15_a_slow_reader_fills_memory(quiet) -> None:
    """Behind a reader that does not read, what exists of an endless stream is its window."""
    alive: set[int] = set()

    class Token:
        def __init__(self) -> None:
            alive.add(id(self))

        def __del__(self) -> None:
            alive.discard(id(self))

    @node
    async def endless(question: str) -> AsyncIterator[Token]:
        while True:
            yield Token()

    @node
    async def hop(token: Token) -> Token:
        return token

    async with Flow("qa", endless >> hop).open(window=16) as runtime, runtime.run("why?") as run:
        await quiet()
        assert len(alive) <= 16 + 1  # one may be in hand, waiting for credit
        items = aiter(run)
        for _ in range(1000):
            await anext(items)
        await quiet()
        assert len(alive) <= 2 * 16 + 2, len(alive)  # a block that was read may be let go as one


async def test_case_19_parallel_branches_and_nested_flows_stream_together_and_can_be_told_apart() -> None:
    """Each chunk says by its path which branch of which nested flow it comes from."""

    def talker(name: str):
        async def talk(n: int) -> AsyncIterator[str]:
            for i in range(n):
                yield f"{name}{i}"
                await anyio.sleep(0)

        return node(talk, name=name)

    @node
    async def ask(n: int) -> int:
        return n

    research = Flow("research", ask >> [talker("web"), talker("books")])

    @node
    async def begin(n: int) -> int:
        return n

    flow = Flow("agent", begin >> [research, talker("chat")])
    streams: dict[tuple[str, ...], list[str]] = {}
    async with flow.open() as runtime, runtime.run(3) as run:
        async for chunk in run:
            streams.setdefault(chunk.path, []).append(chunk.payload)
            assert chunk.node == chunk.path[-1]
    assert streams == {
        ("research", "web"): ["web0", "web1", "web2"],
        ("research", "books"): ["books0", "books1", "books2"],
        ("chat",): ["chat0", "chat1", "chat2"],
    }


@pytest.mark.parametrize("limit", [1, 3])
async def test_case_20_fan_out_concurrency_limits_are_ignored(limit: int) -> None:
    """Never more than `concurrency` steps of a node, nor `limit` calls of a `ctx.map`, work at once."""
    at_work = {"node": [0, 0], "map": [0, 0]}

    async def work(kind: str, i: int) -> int:
        now = at_work[kind]
        now[0] += 1
        now[1] = max(now)
        for _ in range(3):
            await anyio.sleep(0)
        now[0] -= 1
        return i

    @node
    async def parts(n: int) -> Spread[int]:
        return Spread(range(n))

    @node(concurrency=limit)
    async def limited(i: int) -> int:
        return await work("node", i)

    @node
    async def mapped(n: int, ctx: Context) -> list[int]:
        async def one(i: int) -> int:
            return await work("map", i)

        return await ctx.map(one, range(n), limit=limit)

    async with Flow("spread", parts >> limited).open() as runtime, anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(runtime.call, 10)
    assert await Flow("map", mapped).call(20) == list(range(20))
    assert at_work == {"node": [0, limit], "map": [0, limit]}


async def test_case_20_an_endless_fan_out_is_drawn_as_fast_as_it_is_worked() -> None:
    """A spread without an end is read under its window, and dropped by leaving the run."""
    drawn = [0]

    def tasks_for_ever() -> Iterator[int]:
        for i in itertools.count():
            drawn[0] += 1
            yield i

    @node
    async def parts(n: int) -> Spread[int]:
        return Spread(tasks_for_ever())

    @node(concurrency=2)
    async def work(i: int) -> int:
        await anyio.sleep(0)
        return i

    async with Flow("f", parts >> edge(capacity=2) >> work).open(window=4) as runtime, runtime.run(0) as run:
        seen = 0
        async for _ in run:
            seen += 1
            if seen == 20:
                break
    assert drawn[0] <= 20 + 4 + 1
