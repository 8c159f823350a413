"""Each public coroutine is cancelled at every turn of the event loop: nothing is lost, nothing is kept."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from penguiflow import Context, Flow, Runtime, Stream, edge, node, source

pytestmark = [pytest.mark.anyio, pytest.mark.limit(10)]

Operation = Callable[..., Awaitable[Any]]


@node
async def count(n: int) -> AsyncIterator[int]:
    """Yield 0 to n - 1."""
    for i in range(n):
        yield i
        await anyio.sleep(0)


@node
async def hop(i: int) -> int:
    """Hand on."""
    await anyio.sleep(0)
    return i


@node
async def total(stream: Stream[int]) -> int:
    """Sum up."""
    return sum([i async for i in stream])


def tight_flow() -> Flow:
    return Flow("f", count >> edge(capacity=1) >> hop >> total)


async def cancelled_after(turns: int, operation: Operation) -> bool:
    """Cancel the operation after so many turns of the event loop; tell whether it had ended by itself."""
    ended = False

    async def operate() -> None:
        nonlocal ended
        await operation()
        ended = True

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(operate)
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    return ended


async def at_every_turn(operation: Operation, after: Operation, turns: int = 150) -> None:
    """Cancel the operation at every turn up to its end, looking at what is left each time."""
    for turn in range(turns):
        ended = await cancelled_after(turn, operation)
        await after()
        if ended:
            return
    raise AssertionError(f"not over after {turns} turns")


async def run_and_read(runtime: Runtime) -> None:
    async with runtime.run(3) as run:
        async for item in run:
            assert item.payload == 3


async def run_and_ask(runtime: Runtime) -> None:
    async with runtime.run(3) as run:
        assert await run.result() == 3


async def call(runtime: Runtime) -> None:
    assert await runtime.call(3) == 3


async def start_and_ask(runtime: Runtime) -> None:
    run = None
    try:
        run = await runtime.start(3)
        assert await run.result() == 3
    finally:
        with anyio.CancelScope(shield=True):
            for left in runtime.runs():
                await left.cancel()


async def converse(runtime: Runtime) -> None:
    async with runtime.session() as session:
        await session.send(2)
        await session.send(1)
        await session.end_input()
        assert await session.result() == 1  # 0 + 1 of two, 0 of one


@pytest.mark.parametrize("operation", [run_and_read, run_and_ask, call, start_and_ask, converse])
async def test_cancelled_anywhere_a_run_leaves_nothing(operation: Operation, in_flight, at_rest) -> None:
    """Wherever the caller is cancelled, all is home afterwards, and the runtime serves the next caller."""
    async with tight_flow().open(window=1) as runtime:

        async def after() -> None:
            assert in_flight(runtime) == at_rest

        await at_every_turn(lambda: operation(runtime), after)
        assert await runtime.call(4) == 6


@pytest.mark.parametrize("form", ["call", "stream"])
async def test_cancelled_anywhere_a_script_leaves_nothing(form: str) -> None:
    """`flow.call` and `flow.stream` end their whole runtime, wherever they are cancelled."""
    at_work = [0]

    @node
    async def counted(n: int) -> AsyncIterator[int]:
        at_work[0] += 1
        try:
            for i in range(n):
                yield i
                await anyio.sleep(0)
        finally:
            at_work[0] -= 1

    async def script() -> None:
        flow = Flow("f", counted >> hop)
        if form == "call":
            await flow.call(3)
        else:
            async with flow.stream(3) as items:
                assert len([item async for item in items]) == 3

    async def after() -> None:
        assert at_work == [0]

    await at_every_turn(script, after)


@pytest.mark.parametrize("what", ["cancel", "control", "abort", "runtime control", "drain"])
async def test_cancelled_anywhere_an_order_leaves_the_runtime_sound(what: str, in_flight, at_rest) -> None:
    """A cancelled `cancel`, `control`, `abort` or `drain` may have begun its work, but loses nothing."""

    @node
    async def holds(n: int) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                for _ in range(3):
                    await anyio.sleep(0)

    for turn in range(12):
        async with Flow("f", holds).open() as runtime:
            run = await runtime.start(1)
            await anyio.sleep(0)
            operation = {
                "cancel": run.cancel,
                "control": lambda run=run: run.control("hint"),
                "abort": runtime.abort,
                "runtime control": lambda runtime=runtime: runtime.control("hint"),
                "drain": runtime.drain,
            }[what]
            await cancelled_after(turn, operation)
            await run.cancel()
            assert (run.status, in_flight(runtime)) == ("cancelled", at_rest)


async def sent_once(send: Callable[[int], Awaitable[object]], n: int) -> list[int]:
    """Send 0 to n - 1, cancelling each attempt after a few turns and trying again where it did not go out."""
    turns = 0
    sent: list[int] = []
    while len(sent) < n:

        async def one(value: int = len(sent)) -> None:
            await send(value)
            sent.append(value)

        await cancelled_after(turns % 4, one)
        turns += 1
    return sent


@pytest.mark.parametrize("what", ["emit", "emit_chunk", "stream.send"])
async def test_a_cancelled_emission_was_not_taken(what: str) -> None:
    """What an emission that was cancelled should have sent never arrives; what returned arrives once."""

    @node
    async def talk(n: int, ctx: Context) -> None:
        if what == "stream.send":
            async with ctx.open_stream("s") as stream:
                await sent_once(stream.send, n)
        else:
            await sent_once(getattr(ctx, what), n)

    async with Flow("f", talk >> edge(capacity=1) >> hop).open(window=1) as runtime, runtime.run(12) as run:
        seen: list[int] = []
        async for item in run:
            seen.append(item.payload)
            for _ in range(3):
                await anyio.lowlevel.checkpoint()
    assert sorted(seen) == list(range(12))


async def test_a_cancelled_send_of_a_session_was_not_taken() -> None:
    """What `send` was cancelled with never arrives; what it returned from arrives once, in order."""
    async with Flow("f", hop).open(window=1) as runtime, runtime.session() as session:
        seen: list[int] = []

        async def read() -> None:
            async for item in session:
                seen.append(item.payload)
                await anyio.sleep(0)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await sent_once(session.send, 12)
            await session.end_input()
    assert seen == list(range(12))


async def test_a_cancelled_read_has_taken_nothing() -> None:
    """A reader whose `anext` is cancelled while it waits goes on without a loss."""
    async with Flow("f", count >> hop).open(window=2) as runtime, runtime.run(20) as run:
        items = aiter(run)
        seen: list[int] = []
        ended = False

        async def read() -> None:
            nonlocal ended
            try:
                seen.append((await anext(items)).payload)
            except StopAsyncIteration:
                ended = True

        turn = 0
        while not ended:
            await cancelled_after(turn % 3, read)
            turn += 1
    assert seen == list(range(20))


async def test_a_cancelled_read_of_a_stream_step_has_taken_nothing() -> None:
    """A step that gives up waiting for its input stream and comes back later misses nothing."""

    @node
    async def patient(stream: Stream[int]) -> list[int]:
        iterator = aiter(stream)
        seen: list[int] = []
        ended = False

        async def read() -> None:
            nonlocal ended
            try:
                seen.append(await anext(iterator))
            except StopAsyncIteration:
                ended = True

        turn = 0
        while not ended:
            await cancelled_after(turn % 3, read)
            turn += 1
        return seen

    async with Flow("f", count >> hop >> patient).open(window=2) as runtime:
        assert await runtime.call(20) == list(range(20))


async def test_a_cancelled_call_or_map_of_a_step_leaves_its_step_sound() -> None:
    """`ctx.call` and `ctx.map` cancelled at every turn by the step itself leave no work behind."""
    at_work = [0]

    @node
    async def inner(n: int) -> int:
        at_work[0] += 1
        try:
            for _ in range(3):
                await anyio.sleep(0)
            return n
        finally:
            at_work[0] -= 1

    @node
    async def outer(n: int, ctx: Context) -> str:
        async def nothing_left() -> None:
            assert at_work == [0]

        await at_every_turn(lambda: ctx.call(inner, n), nothing_left)
        await at_every_turn(lambda: ctx.map(lambda i: ctx.call(inner, i), range(3), limit=2), nothing_left)
        return "sound"

    assert await Flow("f", outer).call(1) == "sound"


async def test_cancelled_anywhere_opening_a_runtime_leaves_nothing() -> None:
    """Entering and leaving `open()` can be cancelled at every turn, with a source at work."""
    at_work = [0]

    @source
    async def ticks() -> AsyncIterator[int]:
        at_work[0] += 1
        try:
            while True:
                yield 1
                await anyio.sleep(0)
        finally:
            at_work[0] -= 1

    async def live() -> None:
        async with Flow("f", ticks >> hop).open():
            for _ in range(5):
                await anyio.lowlevel.checkpoint()

    async def after() -> None:
        assert at_work == [0]

    await at_every_turn(live, after)
