"""The contract of `Context`: what a step can say, keep, and call."""

from collections.abc import AsyncIterator

import anyio
import pytest

from penguiflow import (
    Chunk,
    Context,
    Flow,
    Headers,
    Message,
    Retry,
    Spread,
    StepError,
    Stream,
    WouldBlock,
    edge,
    node,
)

pytestmark = [pytest.mark.anyio, pytest.mark.limit(5)]


@node
async def count(n: int) -> AsyncIterator[int]:
    """Yield 0 to n - 1."""
    for i in range(n):
        yield i


@node
async def parts(n: int) -> Spread[int]:
    """Spread 0 to n - 1."""
    return Spread(range(n))


@node
async def plus(n: int) -> int:
    """Add one."""
    return n + 1


# emitting -----------------------------------------------------------------------------------------------


async def test_emissions_are_returned_as_they_are_delivered() -> None:
    """`emit` gives the `Message`, `emit_chunk` the `Chunk`, the `_nowait` forms too."""
    given: list[Message | Chunk] = []

    @node
    async def talk(n: int, ctx: Context) -> None:
        given.append(await ctx.emit("a"))
        given.append(await ctx.emit_chunk("b"))
        given.append(ctx.emit_nowait("c"))
        given.append(ctx.emit_chunk_nowait("d", done=True))

    async with Flow("f", talk).stream(0) as items:
        delivered = [item async for item in items]
    assert [(type(i), i.payload, i.node) for i in given] == [
        (Message, "a", "talk"),
        (Chunk, "b", "talk"),
        (Message, "c", "talk"),
        (Chunk, "d", "talk"),
    ]
    assert [(i.seq, i.done) for i in given if isinstance(i, Chunk)] == [(0, False), (1, True)]
    told = [(type(i), i.payload, getattr(i, "seq", None), getattr(i, "id", None)) for i in delivered]
    assert told == [(type(i), i.payload, getattr(i, "seq", None), getattr(i, "id", None)) for i in given]


async def test_a_step_may_write_several_streams() -> None:
    """`stream_id=` names them; each is numbered on its own."""

    @node
    async def talk(n: int, ctx: Context) -> None:
        for i in range(2):
            await ctx.emit_chunk(f"x{i}", stream_id="x")
            await ctx.emit_chunk(f"y{i}", stream_id="y", done=i == 1)
        async with ctx.open_stream() as unnamed:
            await unnamed.send("z0")

    async with Flow("f", talk).stream(0) as items:
        chunks = [item async for item in items]
    told = {name: [(c.seq, c.payload, c.done) for c in chunks if c.stream_id == name] for name in ("x", "y")}
    assert told == {
        "x": [(0, "x0", False), (1, "x1", False)],
        "y": [(0, "y0", False), (1, "y1", True)],
    }
    (other,) = [c for c in chunks if c.stream_id not in told]
    assert (other.seq, other.payload) == (0, "z0")


async def test_a_chunks_parent_may_be_chosen() -> None:
    """`parent=` names the item whose headers and meta the emission inherits."""

    @node
    async def marked(n: int, ctx: Context) -> None:
        for i in range(n):
            await ctx.emit_chunk(i, meta={"i": i})

    @node
    async def echo(stream: Stream[int], ctx: Context) -> None:
        async for chunk in stream.chunks():
            await ctx.emit_chunk(chunk.payload, parent=chunk)

    async with Flow("f", marked >> echo).stream(3) as items:
        assert [(c.payload, c.meta) async for c in items] == [(i, {"i": i}) for i in range(3)]


async def test_an_opened_stream_may_have_its_own_window(quiet) -> None:
    """`open_stream(window=1)` lets one chunk in flight, whatever the runtime's window is."""
    sent: list[int] = []

    @node
    async def talk(n: int, ctx: Context) -> None:
        async with ctx.open_stream("s", window=1) as stream:
            for i in range(n):
                await stream.send(i)
                sent.append(i)

    async with Flow("f", talk).open() as runtime, runtime.run(5) as run:
        await quiet()
        assert sent == [0]
        assert [c.payload async for c in run] == [0, 1, 2, 3, 4]


async def test_a_stream_that_is_left_by_an_error_ends_with_it() -> None:
    """An exception out of `open_stream` fails the step; its reader gets what was sent, then the error."""
    seen: list[int] = []

    @node
    async def talk(n: int, ctx: Context) -> None:
        async with ctx.open_stream("s") as stream:
            await stream.send(1)
            raise ValueError("inside")

    async with Flow("f", talk).open() as runtime, runtime.run(0) as run:
        with pytest.raises(StepError) as caught:
            async for chunk in run:
                seen.append(chunk.payload)  # noqa: PERF401 - keeps what came before the error
    assert (seen, str(caught.value.__cause__)) == ([1], "inside")


async def test_a_stream_steps_next_nowait() -> None:
    """`stream.next_nowait()` gives what is there and raises `WouldBlock` where it had to wait."""
    sent, taken = anyio.Event(), anyio.Event()
    got: list[object] = []

    @node
    async def talk(n: int) -> AsyncIterator[int]:
        yield 1
        sent.set()
        await taken.wait()
        yield 2

    @node
    async def polls(stream: Stream[int]) -> None:
        got.append(await anext(aiter(stream)))
        await sent.wait()
        with pytest.raises(WouldBlock):
            stream.next_nowait()
        taken.set()
        got.extend([i async for i in stream])

    await Flow("f", talk >> polls).call(0)
    assert got == [1, 2]


# what a step knows --------------------------------------------------------------------------------------


async def test_a_step_knows_who_it_is() -> None:
    """Run id, node, attempt, deadline and input message."""
    told: list[object] = []

    @node(retry=Retry(attempts=2, backoff=0, jitter=0))
    async def who(n: int, ctx: Context) -> None:
        told.append((ctx.run_id, ctx.node, ctx.attempt, ctx.message.payload))
        assert ctx.deadline is not None
        assert 0 < ctx.message.deadline - anyio.current_time() <= 60
        if ctx.attempt == 1:
            raise ValueError("once")

    await Flow("f", who).call(7, run_id="mine", deadline=60)
    assert told == [("mine", "who", 1, 7), ("mine", "who", 2, 7)]


async def test_a_step_can_log() -> None:
    """`ctx.log` is there and takes the usual levels."""

    @node
    async def talks(n: int, ctx: Context) -> int:
        ctx.log.debug("working on %s", n)
        return n

    assert await Flow("f", talks).call(1) == 1


# state --------------------------------------------------------------------------------------------------


async def test_state_is_scoped_to_run_node_and_key() -> None:
    """A node's steps of one run share it; other nodes and other runs do not."""

    @node
    async def counts(i: int, ctx: Context) -> int:
        ctx.state["seen"] = ctx.state.get("seen", 0) + 1
        return ctx.state["seen"]

    @node
    async def other(i: int, ctx: Context) -> tuple[int, bool]:
        return i, "seen" in ctx.state

    async with Flow("f", count >> counts >> other).open() as runtime:
        for _ in range(2):
            assert await runtime.call(3) == [(1, False), (2, False), (3, False)]


async def test_a_failed_attempts_writes_are_rolled_back() -> None:
    """New keys are gone, changed and deleted ones are back when the next attempt begins."""
    found: list[dict[str, object]] = []

    @node(retry=Retry(attempts=2, backoff=0, jitter=0))
    async def writes(i: int, ctx: Context) -> None:
        found.append({key: ctx.state[key] for key in ctx.state})
        if i == 0:
            ctx.state["a"], ctx.state["b"] = 1, 1
        elif ctx.attempt == 1:
            ctx.state["a"], ctx.state["new"] = 2, 2
            del ctx.state["b"]
            raise ValueError("once")

    await Flow("f", count >> writes).call(2)
    assert found == [{}, {"a": 1, "b": 1}, {"a": 1, "b": 1}]


async def test_a_succeeded_attempts_writes_stay() -> None:
    """What the successful attempt wrote is there for the next step, also after a failed attempt."""
    found: list[object] = []

    @node(retry=Retry(attempts=2, backoff=0, jitter=0))
    async def writes(i: int, ctx: Context) -> None:
        found.append(ctx.state.get("last"))
        ctx.state["last"] = (i, ctx.attempt)
        if ctx.attempt == 1:
            raise ValueError("once")

    await Flow("f", count >> writes).call(2)
    assert found == [None, None, (0, 2), (0, 2)]


# map and call -------------------------------------------------------------------------------------------


async def test_map_keeps_order_and_never_exceeds_its_limit() -> None:
    """Results come in the order of the items, however long each takes; at most `limit` work at once."""
    at_work = [0, 0]

    @node
    async def outer(n: int, ctx: Context) -> list[int]:
        async def one(i: int) -> int:
            at_work[0] += 1
            at_work[1] = max(at_work)
            for _ in range(n - i):
                await anyio.sleep(0)
            at_work[0] -= 1
            return i * 10

        return await ctx.map(one, range(n), limit=4)

    assert await Flow("f", outer).call(20) == [i * 10 for i in range(20)]
    assert at_work == [0, 4]


async def test_map_cancels_siblings_on_the_first_error() -> None:
    """The first error comes out as it is; the others were cancelled by then."""
    cancelled: list[int] = []
    raised: list[str] = []

    @node
    async def outer(n: int, ctx: Context) -> None:
        async def one(i: int) -> None:
            if i == 2:
                raise KeyError("third")
            try:
                await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class():
                cancelled.append(i)
                raise

        try:
            await ctx.map(one, range(n), limit=3)
        except KeyError as error:
            raised.append(error.args[0])

    await Flow("f", outer).call(10)
    assert (raised, sorted(cancelled)) == (["third"], [0, 1])


async def test_map_reads_an_endless_iterable_only_as_far_as_it_works() -> None:
    """Items are drawn as places get free."""
    drawn = [0]

    def items():
        while True:
            drawn[0] += 1
            yield drawn[0]

    @node
    async def outer(n: int, ctx: Context) -> None:
        async def one(i: int) -> None:
            await anyio.sleep(0)
            if i == 10:
                raise KeyError("enough")

        with pytest.raises(KeyError):
            await ctx.map(one, items(), limit=2)

    await Flow("f", outer).call(0)
    assert drawn[0] <= 13


async def test_call_gives_a_result_of_a_node_or_flow() -> None:
    """Message, stream and nothing, as `result()` gives them."""

    @node
    async def nothing(n: int) -> int | None:
        return None

    @node
    async def outer(n: int, ctx: Context) -> list[object]:
        inner = Flow("inner", plus >> count)
        return [await ctx.call(what, n) for what in (plus, count, inner, nothing)]

    assert await Flow("f", outer).call(2) == [3, [0, 1], [0, 1, 2], None]


async def test_call_runs_under_the_callers_run(quiet) -> None:
    """Same run id, trace, headers and deadline; leaving the run cancels what was called."""
    told: list[object] = []

    @node
    async def inner(n: int, ctx: Context) -> None:
        told.append((ctx.run_id, ctx.message.trace_id, ctx.message.headers.tenant, ctx.message.deadline))
        try:
            await anyio.sleep_forever()
        finally:
            told.append("ended")

    @node
    async def outer(n: int, ctx: Context) -> None:
        mine = ctx.message
        told.append((ctx.run_id, mine.trace_id, mine.headers.tenant, mine.deadline))
        await ctx.call(inner, n)

    async with Flow("f", outer).open() as runtime:
        async with runtime.run(1, headers=Headers(tenant="acme"), deadline=60):
            await quiet()
        assert runtime.statistics().started == 1
    assert (told[0] == told[1], told[2]) == (True, "ended")


async def test_an_error_of_what_is_called_is_the_callers_to_handle() -> None:
    """`ctx.call` raises the failed step's error; a caller that catches it goes on."""

    @node
    async def fails(n: int) -> int:
        raise ValueError("inner")

    @node
    async def outer(n: int, ctx: Context) -> str:
        try:
            await ctx.call(fails, n)
        except StepError as error:
            return f"{type(error.__cause__).__name__} in {error.node.rsplit('/')[-1]}"
        return "no error"

    assert await Flow("f", outer).call(1) == "ValueError in fails"


async def test_call_may_be_called_from_map() -> None:
    """Both nest: twenty calls of a flow, three at a time."""
    inner = Flow("inner", parts >> plus)

    @node
    async def outer(n: int, ctx: Context) -> list[object]:
        return await ctx.map(lambda i: ctx.call(inner, i), range(n), limit=3)

    assert (await Flow("f", outer).call(20))[3:5] == [[1, 2, 3], [1, 2, 3, 4]]


def test_what_belongs_to_later_issues_does_not_exist() -> None:
    """`placement=` comes with its own issue; what is durable is said of nodes, not of edges."""
    with pytest.raises(TypeError):
        node(plus, placement="there")
    with pytest.raises(TypeError):
        edge(durable=True)
