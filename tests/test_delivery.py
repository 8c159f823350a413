"""How often a step does what it does outside: at most, at least, or effectively once."""

from __future__ import annotations

import anyio
import pytest

from penguiflow import (
    Context,
    Delivery,
    Flow,
    Gathered,
    GraphError,
    JournalError,
    Retry,
    Spread,
    StepError,
    Stream,
    node,
)
from penguiflow.journals import MemoryJournal

pytestmark = [pytest.mark.anyio, pytest.mark.limit(20)]


class Outside:
    """A system outside, whose writer ends in the middle of his first write."""

    def __init__(self) -> None:
        self.writes: list[str] = []
        self.rows: dict[str, int] = {}
        self.attempts: list[int] = []
        self.dies = True
        self.dying = anyio.Event()

    async def write(self, payload: int, key: str) -> None:
        """Write, and, once, never return: the process ends there."""
        self.writes.append(key)
        self.rows.setdefault(key, payload)
        if self.dies:
            self.dies = False
            self.dying.set()
            await anyio.sleep_forever()


async def cut_off(flow: Flow, outside: Outside) -> None:
    """Run until the writer is in the middle, close the runtime, and let another one finish."""
    journal = MemoryJournal()
    await journal.open()
    async with flow.open(journal=journal) as runtime:
        await runtime.start(7, run_id="r")
        await outside.dying.wait()
    async with flow.open(journal=journal) as runtime:
        await (await runtime.attach("r")).result()


async def test_at_most_once_loses_what_was_cut_off_and_repeats_nothing() -> None:
    """The step was settled before it was executed."""
    outside = Outside()

    @node(delivery=Delivery.AT_MOST_ONCE)
    async def send(x: int, ctx: Context) -> None:
        await outside.write(x, ctx.key)

    await cut_off(Flow("f", send), outside)
    assert len(outside.writes) == 1


async def test_at_least_once_repeats_what_was_cut_off() -> None:
    """As the next attempt, under the same key."""
    outside = Outside()

    @node
    async def send(x: int, ctx: Context) -> None:
        outside.attempts.append(ctx.attempt)
        await outside.write(x, ctx.key)

    await cut_off(Flow("f", send), outside)
    assert outside.attempts == [1, 2]
    assert len(outside.writes) == 2
    assert len(set(outside.writes)) == 1


async def test_effectively_once_is_one_row() -> None:
    """The outside knows the repetition by its key."""
    outside = Outside()

    @node(delivery=Delivery.EFFECTIVELY_ONCE)
    async def send(x: int, ctx: Context) -> None:
        await outside.write(x, ctx.key)

    await cut_off(Flow("f", send), outside)
    assert list(outside.rows.values()) == [7]


async def test_at_most_once_holds_chunk_by_chunk() -> None:
    """Each chunk of a stream is settled before it is sent."""
    outside = Outside()

    @node
    async def parts(x: int):  # type: ignore[no-untyped-def]
        for i in range(3):
            yield i

    @node(delivery=Delivery.AT_MOST_ONCE)
    async def send(i: int, ctx: Context) -> None:
        await outside.write(i, ctx.key)

    await cut_off(Flow("f", parts >> send), outside)
    assert [key.rpartition("/")[2] for key in outside.writes] == ["0@send", "1@send", "2@send"]


async def test_keys_tell_items_apart() -> None:
    """Of a chunk: run, node, stream, attempt, number (rule 5.3), and its node; of a stream, no number."""
    keys: list[str] = []

    @node
    async def parts(x: int):  # type: ignore[no-untyped-def]
        yield x
        yield x

    @node
    async def one(i: int, ctx: Context) -> int:
        keys.append(ctx.key)
        return i

    @node
    async def all_of(stream: Stream[int], ctx: Context) -> None:
        keys.append(ctx.key)
        async for _ in stream:
            pass

    async with Flow("f", parts >> one >> all_of).open(journal=MemoryJournal()) as runtime:
        await runtime.call(1, run_id="r")
    stream, first, second = sorted(keys, key=len)
    assert stream.startswith("r/one/")
    assert stream.endswith("/1@all_of")
    assert first.startswith("r/parts/")
    assert {first[-8:], second[-8:]} == {"/1/0@one", "/1/1@one"}


async def test_keys_tell_steps_on_one_item_apart() -> None:
    """Who spreads, who gathers, and two nodes on the same chunk: each has its own."""
    keys: dict[str, list[str]] = {}

    def note(ctx: Context) -> None:
        keys.setdefault(ctx.key, []).append(ctx.node)

    @node
    async def order(n: int, ctx: Context) -> Spread[int]:
        note(ctx)
        return Spread(range(n))

    @node
    async def price(i: int) -> int:
        return i

    @node
    async def bill(prices: Gathered[int], ctx: Context):  # type: ignore[no-untyped-def]
        note(ctx)
        yield sum(prices)

    @node
    async def mail(i: int, ctx: Context) -> None:
        note(ctx)

    @node
    async def print_out(i: int, ctx: Context) -> None:
        note(ctx)

    async with Flow("f", order >> price >> bill >> [mail, print_out]).open(
        journal=MemoryJournal()
    ) as runtime:
        await runtime.call(3)
    assert sorted(nodes[0] for nodes in keys.values()) == ["bill", "mail", "order", "print_out"]
    assert all(len(nodes) == 1 for nodes in keys.values())


async def test_at_most_once_gives_nothing() -> None:
    """What it gave would be lost in a crash: said when it is built, where that can be known."""
    with pytest.raises(GraphError, match=r"AT_MOST_ONCE settles a step before it is executed.*return None"):

        @node(delivery=Delivery.AT_MOST_ONCE)
        async def wrong(x: int) -> int:
            return x

        Flow("f", wrong)

    with pytest.raises(GraphError, match="AT_MOST_ONCE and a retry contradict each other"):

        @node(delivery=Delivery.AT_MOST_ONCE, retry=Retry(attempts=2))
        async def again(x: int) -> None:
            pass

    @node(delivery=Delivery.AT_MOST_ONCE)
    async def late(x):  # type: ignore[no-untyped-def]
        return x

    async with Flow("f", late).open(journal=MemoryJournal()) as runtime:
        with pytest.raises(StepError, match="gave something, and its delivery is at most once"):
            await runtime.call(1)


def test_effectively_once_needs_a_context() -> None:
    """Without the key nobody can tell a repetition."""
    with pytest.raises(GraphError, match=r"EFFECTIVELY_ONCE needs a parameter ctx: Context"):

        @node(delivery=Delivery.EFFECTIVELY_ONCE)
        async def wrong(x: int) -> None: ...

        Flow("f", wrong)
    with pytest.raises(GraphError, match=r"delivery='once' must be one of Delivery's three"):
        node(delivery="once", name="n")(lambda x: x)  # type: ignore[call-overload]


async def test_what_a_journal_could_not_read_back_fails_the_step() -> None:
    """And says what to declare."""

    @node
    async def odd(x: int):  # type: ignore[no-untyped-def]
        return {1, 2}

    async with Flow("f", odd).open(journal=MemoryJournal()) as runtime:
        with pytest.raises(JournalError, match="node odd gave a set, which a journal could not read back"):
            await runtime.call(1)


async def test_keys_tell_calls_apart() -> None:
    """What a step calls twice, and what two steps call, has keys of its own."""
    keys: list[str] = []

    @node
    async def write(x: int, ctx: Context) -> int:
        keys.append(ctx.key)
        return x

    @node
    async def caller(x: int, ctx: Context) -> int:
        await ctx.call(write, x)
        return int(await ctx.call(Flow("inner", write), x))

    async with Flow("f", caller >> write).open(journal=MemoryJournal()) as runtime:
        await runtime.call(1)
    assert len(set(keys)) == len(keys) == 3
