"""The contract of nodes: what a node takes is told by its annotation, what it gives by its form."""

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest

from penguiflow import (
    Chunk,
    Context,
    Flow,
    Gathered,
    Headers,
    Message,
    Node,
    Retry,
    Spread,
    StepError,
    StepTimeout,
    Stream,
    edge,
    node,
    source,
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


async def items_of(flow: Flow, payload: object) -> list[Chunk | Message]:
    async with flow.stream(payload) as items:
        return [item async for item in items]


def kinds(items: list[Chunk | Message]) -> list[tuple[type, object]]:
    return [(type(item), item.payload) for item in items]


# one message, or chunk by chunk --------------------------------------------------------------------------


@node
async def returns(n: int) -> int:
    """`T`, `async def … return`."""
    return n + 1


@node
def inline(n: int) -> int:
    """`T`, `def … return`."""
    return n + 1


@node
async def takes_message_or_chunk(n: object) -> object:
    """`T` of any type."""
    return n + 1


@pytest.mark.parametrize("hop", [returns, inline, takes_message_or_chunk], ids=lambda hop: hop.name)
async def test_a_return_makes_one_of_one(hop: Node) -> None:
    """A message becomes a message; each chunk a chunk of the same stream."""
    assert kinds(await items_of(Flow("f", hop), 1)) == [(Message, 2)]
    chunks = await items_of(Flow("f", count >> hop), 3)
    assert [(type(c), c.seq, c.payload) for c in chunks] == [(Chunk, i, i + 1) for i in range(3)]


async def test_a_message_parameter_gets_the_envelope() -> None:
    """`Message` and `Message[T]` get the message with payload, id, headers and meta."""

    @node
    async def bare(message: Message) -> str:
        return f"{type(message).__name__} {message.payload} {message.node} {bool(message.id)}"

    @node
    async def typed(message: Message[int]) -> str:
        return f"{type(message).__name__} {message.payload}"

    assert await Flow("f", returns >> bare).call(1) == "Message 2 returns True"
    assert await Flow("f", returns >> typed).call(1) == "Message 2"


async def test_a_chunk_parameter_gets_the_envelope() -> None:
    """`Chunk` and `Chunk[T]` get the chunk with stream id, seq, attempt and node."""

    @node
    async def bare(chunk: Chunk) -> tuple[int, int, str, int]:
        return chunk.seq, chunk.payload, chunk.node, chunk.attempt

    @node
    async def typed(chunk: Chunk[int]) -> int:
        return chunk.payload

    assert await Flow("f", count >> bare).call(2) == [(0, 0, "count", 1), (1, 1, "count", 1)]
    assert await Flow("f", count >> typed).call(2) == [0, 1]


async def test_an_envelope_kept_by_user_code_does_not_change_later() -> None:
    """What a step was given stays what it was, whatever happens to the item further on."""
    kept: list[Chunk] = []

    @node
    async def keeps(chunk: Chunk) -> int:
        kept.append(chunk)
        return chunk.payload + 100

    @node
    def more(i: int) -> int:
        return i + 1000

    await Flow("f", count >> keeps >> more).call(3)
    assert [(c.seq, c.payload, c.node) for c in kept] == [(i, i, "count") for i in range(3)]


async def test_what_a_reader_keeps_does_not_change_later() -> None:
    """Delivered items are the reader's own: all of a list are different objects with their own values."""
    chunks = await items_of(Flow("f", count >> returns >> inline), 300)
    assert [(c.seq, c.payload) for c in chunks] == [(i, i + 2) for i in range(300)]


async def test_a_generator_makes_a_stream_or_a_flat_map() -> None:
    """A message becomes a stream; behind a stream all yields go into that one stream."""
    assert kinds(await items_of(Flow("f", count), 2)) == [(Chunk, 0), (Chunk, 1)]
    assert await Flow("f", returns >> count).call(1) == [0, 1]

    @node
    async def up_to(n: int) -> AsyncIterator[int]:
        for i in range(n):
            yield i

    assert await Flow("f", count >> up_to).call(4) == [0, 0, 1, 0, 1, 2]


async def test_a_message_parameter_may_yield() -> None:
    """`Message` with `yield` gives a stream."""

    @node
    async def letters(message: Message[str]) -> AsyncIterator[str]:
        for letter in message.payload:
            yield letter

    assert await Flow("f", letters).call("abc") == ["a", "b", "c"]


# whole streams ------------------------------------------------------------------------------------------


async def test_a_stream_step_that_returns_gives_one_message() -> None:
    """A whole stream becomes one message."""

    @node
    async def total(stream: Stream[int]) -> int:
        return sum([i async for i in stream])

    assert kinds(await items_of(Flow("f", count >> total), 4)) == [(Message, 6)]


async def test_a_stream_step_that_yields_gives_a_stream() -> None:
    """A whole stream becomes a stream of its own numbering."""

    @node
    async def pairs(stream: Stream[int]) -> AsyncIterator[tuple[int, int]]:
        iterator = aiter(stream)
        async for first in iterator:
            yield first, await anext(iterator)

    chunks = await items_of(Flow("f", count >> pairs), 6)
    assert [(c.seq, c.payload) for c in chunks] == [(0, (0, 1)), (1, (2, 3)), (2, (4, 5))]


async def test_a_stream_knows_where_it_comes_from() -> None:
    """Id, headers, meta, trace id, writer and attempt of the stream; `chunks()` gives the envelopes."""
    told: list[Any] = []

    @node
    async def talk(n: int, ctx: Context) -> None:
        async with ctx.open_stream("mine", meta={"k": 1}) as stream:
            await stream.send(n)

    @node
    async def whole(stream: Stream[int], ctx: Context) -> None:
        told.append((stream.id, stream.meta, stream.node, stream.attempt, stream.gaps))
        told.append((stream.headers.tenant, stream.trace_id == ctx.message.trace_id))
        told.append([(type(c), c.seq, c.payload) async for c in stream.chunks()])

    await Flow("f", talk >> whole).call(7, headers=Headers(tenant="acme"))
    assert told[0] == ("mine", {"k": 1}, "talk", 1, 0)
    assert told[1][0] == "acme"
    assert told[2] == [(Chunk, 0, 7)]


async def test_the_input_may_be_a_stream() -> None:
    """An async iterable goes in as one stream, to steps that take it whole as to those chunk by chunk."""

    async def numbers() -> AsyncIterator[int]:
        for i in range(4):
            yield i

    @node
    async def total(stream: Stream[int]) -> int:
        return sum([i async for i in stream])

    assert await Flow("f", total).call(numbers()) == 6
    assert await Flow("f", returns >> inline).call(numbers()) == [2, 3, 4, 5]


# gathers, joins, sources --------------------------------------------------------------------------------


async def test_gathers_of_every_form() -> None:
    """`Gathered[T]` works with `return`, `yield` and `def`."""

    @node
    async def returning(items: Gathered[int]) -> int:
        return sum(items)

    @node
    async def yielding(items: Gathered[int]) -> AsyncIterator[int]:
        for i in reversed(items):
            yield i

    @node
    def plain(items: Gathered[int]) -> list[int]:
        return list(items)

    assert await Flow("f", parts >> returns >> returning).call(3) == 6
    assert await Flow("f", parts >> returns >> yielding).call(3) == [3, 2, 1]
    assert await Flow("f", parts >> returns >> plain).call(3) == [1, 2, 3]


async def test_joins_of_every_form() -> None:
    """A join may return, yield, or be a `def`; a slot may take the envelope."""

    @node
    async def returning(returns: int, inline: int) -> int:
        return returns * inline

    @node
    async def yielding(returns: int, inline: int) -> AsyncIterator[int]:
        yield returns
        yield inline

    @node
    def plain(returns: int, inline: int) -> int:
        return returns + inline

    @node
    async def envelopes(returns: Message[int], inline: Message[int]) -> tuple[str, str]:
        return returns.node, inline.node

    @node
    async def start(n: int) -> int:
        return n

    branches = start >> [returns, inline]
    assert await Flow("f", branches >> returning).call(1) == 4
    assert await Flow("f", branches >> yielding).call(1) == [2, 2]
    assert await Flow("f", branches >> plain).call(1) == 4
    assert await Flow("f", branches >> envelopes).call(1) == ("returns", "inline")


async def test_a_source_starts_with_the_runtime_as_a_run_of_its_own() -> None:
    """Each source is a run among `runs()`, that can be read and cancelled; `@source` and `@source(name=)`."""

    @source
    async def ticks() -> AsyncIterator[int]:
        for i in range(3):
            yield i

    @source(name="tocks")
    async def others(ctx: Context) -> AsyncIterator[int]:
        yield 10
        await anyio.sleep_forever()

    async with Flow("f", [ticks, others] >> returns).open() as runtime:
        runs = runtime.runs()
        assert len(runs) == 2
        seen: dict[int, list[int]] = {}
        async with anyio.create_task_group() as tasks:

            async def read(index: int) -> None:
                async for item in runs[index]:
                    seen.setdefault(index, []).append(item.payload)
                    if item.payload == 11:
                        break

            tasks.start_soon(read, 0)
            tasks.start_soon(read, 1)
    assert sorted(seen.values()) == [[1, 2, 3], [11]]


# signatures ---------------------------------------------------------------------------------------------


async def test_context_is_optional_and_may_stand_anywhere() -> None:
    """`ctx: Context` first, last, keyword-only, under another name, or unannotated as `ctx`."""

    async def first(ctx: Context, n: int) -> str:
        return ctx.node

    async def last(n: int, ctx: Context) -> str:
        return ctx.node

    async def keyword(n: int, *, ctx: Context) -> str:
        return ctx.node

    async def renamed(n: int, c: Context) -> str:
        return c.node

    async def bare(n: int, ctx) -> str:
        return ctx.node

    def plain(n: int, ctx: Context) -> str:
        return ctx.node

    for function in (first, last, keyword, renamed, bare, plain):
        assert await Flow("f", node(function)).call(1) == function.__name__


async def test_a_parameter_with_a_default_is_left_alone() -> None:
    """A default makes a parameter the function's own business: it is no join slot."""

    @node
    async def scaled(n: int, factor: int = 3, *, offset: int = 1) -> int:
        return n * factor + offset

    assert await Flow("f", returns >> scaled).call(1) == 7


async def test_returning_none_is_a_filter() -> None:
    """A node that returns `None` emits nothing, for messages and for chunks."""

    @node
    async def even(n: int) -> int | None:
        return None if n % 2 else n

    flow = Flow("f", even >> returns)
    assert [await flow.call(n) for n in (1, 2)] == [None, 3]
    assert await Flow("f", count >> even).call(5) == [0, 2, 4]


async def test_without_annotations_anything_goes() -> None:
    """An unannotated parameter takes anything, an unannotated result may be anything."""

    @node
    async def loose(x):
        return [x]

    @node
    def looser(x):
        return (x,)

    assert await Flow("f", returns >> loose >> looser).call(1) == ([2],)
    assert await Flow("f", loose >> looser >> takes_any).call("x") == "(['x'],)"


async def test_types_of_the_function_around_are_found() -> None:
    """Annotations as text find names that are local to where the node is defined."""

    class Local:
        def __init__(self, n: int) -> None:
            self.n = n

    @node
    async def make(n: int) -> "Local":
        return Local(n)

    @node
    async def take(local: "Local") -> int:
        return local.n

    assert await Flow("f", make >> take).call(4) == 4
    assert Local(1).n == 1


async def test_callables_of_every_kind_are_nodes() -> None:
    """Bound methods, callable objects, partials and lambdas with a name."""

    class Scale:
        def __init__(self, factor: int) -> None:
            self.factor = factor

        async def scale(self, n: int) -> int:
            return n * self.factor

        def __call__(self, n: int) -> int:
            return n + self.factor

    def power(exponent: int, n: int) -> int:
        return n**exponent

    flow = Flow(
        "f",
        node(Scale(3).scale)
        >> node(Scale(1), name="plus")
        >> node(functools.partial(power, 2), name="square")
        >> node(lambda n: n - 1, name="minus"),
    )
    assert await flow.call(1) == 15


async def test_a_decorated_function_stays_a_function() -> None:
    """Nodes can be called and tested as what they were, and keep their name and docstring."""
    assert (await returns(1), inline(1), [i async for i in count(2)]) == (2, 2, [0, 1])
    assert (returns.name, returns.__doc__) == ("returns", "`T`, `async def … return`.")


@node
async def takes_any(x):
    """Give its text."""
    return str(x)


# wiring -------------------------------------------------------------------------------------------------


async def test_lists_may_hold_chains_and_wires_may_share_nodes() -> None:
    """`[left, odd >> slow] >> both`; several wires that share nodes are one graph."""

    @node
    async def left(n: int) -> int:
        return n

    @node
    async def odd(n: int) -> int | None:
        return n if n % 2 else None

    @node
    async def slow(n: int) -> int:
        return n * 10

    @node
    async def both(left: int, slow: int | None) -> tuple[int, int | None]:
        return left, slow

    in_one = Flow("f", returns >> [left, odd >> slow] >> both)
    in_many = Flow("f", returns >> left, returns >> odd, odd >> slow, left >> both, slow >> both)
    for flow in (in_one, in_many):
        assert [await flow.call(n) for n in (0, 1)] == [(1, 10), (2, None)]


async def test_plain_functions_may_be_wired() -> None:
    """A function between nodes becomes a node of its name."""

    def double(n: int) -> int:
        return 2 * n

    async def minus(n: int) -> int:
        return n - 1

    (item,) = await items_of(Flow("f", returns >> double >> returns_again >> minus), 1)
    assert (item.payload, item.node) == (4, "minus")


@node
async def returns_again(n: int) -> int:
    """Add one."""
    return n + 1


async def test_several_predecessors_of_one_parameter_are_a_merge() -> None:
    """What two branches give is interleaved: everything arrives, each branch in its order."""

    @node
    async def plus(n: int) -> int:
        return n + 100

    @node
    async def same(n: int) -> int:
        return n

    @node
    async def out(n: int) -> int:
        return n

    payloads = [item.payload for item in await items_of(Flow("f", count >> [same, plus] >> out), 5)]
    assert [n for n in payloads if n < 100] == [0, 1, 2, 3, 4]
    assert [n for n in payloads if n >= 100] == [100, 101, 102, 103, 104]


async def test_a_flow_without_an_exit_is_legal() -> None:
    """Where every node feeds another, the run gives nothing and ends."""

    @node
    async def down(n: int) -> int | None:
        return n - 1 if n else None

    assert await Flow("f", down >> edge(feedback=True) >> down).call(3) is None


async def test_a_flow_can_be_opened_many_times_at_once() -> None:
    """A flow is a blueprint: two runtimes of it share nothing; the same nodes serve in other flows."""
    flow = Flow("f", count >> returns)
    async with flow.open() as one, flow.open() as two:
        assert (await one.call(2), await two.call(3)) == ([1, 2], [1, 2, 3])
        assert (one.statistics().done, two.statistics().done) == (1, 1)
    assert await Flow("g", returns >> count).call(1) == [0, 1]


async def test_edges_into_and_out_of_inline_nodes_take_a_capacity() -> None:
    """`edge(capacity=k)` at a `def` node is legal."""
    flow = Flow("f", count >> edge(capacity=1) >> inline >> edge(capacity=1) >> returns)
    assert await flow.call(10) == [i + 2 for i in range(10)]


# spreads ------------------------------------------------------------------------------------------------


async def test_a_spread_makes_messages_of_any_iterable() -> None:
    """Lists, generators and an empty one; from `async def` and from `def`."""

    @node
    def words(text: str) -> Spread[str]:
        return Spread(word for word in text.split())

    items = await items_of(Flow("f", words), "a b c")
    assert kinds(items) == [(Message, "a"), (Message, "b"), (Message, "c")]
    assert len({item.id for item in items}) == 3
    assert await Flow("f", words).call("") is None


async def test_an_endless_spread_is_read_under_the_window(quiet) -> None:
    """The iterator is asked only as credit comes."""
    asked = [0]

    def numbers() -> Iterator[int]:
        while True:
            asked[0] += 1
            yield asked[0]

    @node
    async def endless(n: int) -> Spread[int]:
        return Spread(numbers())

    async with Flow("f", endless).open(window=3) as runtime, runtime.run(0) as run:
        await quiet()
        assert asked[0] in (3, 4)
        async for item in run:
            if item.payload == 10:
                break
        assert asked[0] <= 10 + 4


# threads ------------------------------------------------------------------------------------------------


async def test_a_thread_node_works_off_the_event_loop() -> None:
    """`thread=True` runs a plain function in another thread, in order, with concurrency and retry."""
    threads: set[int] = set()
    calls: list[int] = []

    def blocking(n: int) -> int:
        threads.add(threading.get_ident())
        calls.append(n)
        if calls.count(1) == 1 and n == 1:
            raise ValueError("once")
        return n * 2

    worker = node(blocking, thread=True, concurrency=2, retry=Retry(attempts=2, backoff=0, jitter=0))
    assert await Flow("f", count >> worker).call(4) == [0, 2, 4, 6]
    assert (threading.get_ident() in threads, calls) == (False, [0, 1, 1, 2, 3])


async def test_a_thread_node_has_a_timeout_and_errors() -> None:
    """A thread that takes too long is left behind with a `StepTimeout`; one that raises is a `StepError`."""
    release = threading.Event()

    @node(thread=True, timeout=0.05)
    def hangs(n: int) -> int:
        release.wait(5)
        return n

    @node(thread=True)
    def fails(n: int) -> int:
        raise ValueError("mine")

    try:
        with pytest.raises(StepTimeout):
            await Flow("f", hangs).call(1)
    finally:
        release.set()
    with pytest.raises(StepError) as caught:
        await Flow("f", fails).call(1)
    assert str(caught.value.__cause__) == "mine"


async def test_a_thread_that_has_not_begun_is_not_waited_for(caplog) -> None:
    """A step that is cancelled on its way into its thread has nothing to clean up: its run ends at once."""
    called: list[int] = []

    @node(thread=True)
    def thread(n: int) -> int:
        called.append(n)
        return n

    async with Flow("f", count >> thread).open(window=2) as runtime:
        with anyio.fail_after(0.9):  # the cleanup timeout is 1 s
            async with runtime.run(4) as run:
                async for _ in run:
                    break
            assert called in ([0], [0, 1])
            await anyio.sleep(0.05)
            assert called in ([0], [0, 1])
    assert "abandoned" not in caplog.text


@pytest.mark.parametrize(
    "kind", [GeneratorExit, KeyboardInterrupt, SystemExit, StopIteration, asyncio.CancelledError]
)
async def test_whatever_a_thread_raises_is_the_error_of_its_step(kind: type[BaseException]) -> None:
    """It comes out as the cause, is not tried again unless it is an `Exception`, and the runtime lives on."""
    calls: list[int] = []

    @node(thread=True, retry=Retry(attempts=3, backoff=0, jitter=0))
    def thread(n: int) -> int:
        calls.append(n)
        if n == 0:
            raise kind
        return n

    async with Flow("f", thread).open() as runtime:
        with pytest.raises(StepError) as caught:
            await runtime.call(0)
        assert (type(caught.value.__cause__), caught.value.node) == (kind, "thread")
        assert len(calls) == 1 or issubclass(kind, Exception)
        assert runtime.statistics().workers == 1  # it has ended its job, and rests
        assert await runtime.call(1) == 1
        assert runtime.statistics().places_taken == 0


class Speechless(Exception):
    """Can't be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def raises_speechless(n: int) -> int:
    """Fail."""
    raise Speechless


async def raises_speechless_later(n: int) -> int:
    """Fail."""
    raise Speechless


@pytest.mark.parametrize(
    "fails",
    [
        node(raises_speechless, name="fails"),
        node(raises_speechless, name="fails", thread=True),
        node(raises_speechless_later, name="fails"),
        node(raises_speechless_later, name="fails", retry=Retry(attempts=2, backoff=0, jitter=0)),
    ],
    ids=["inline", "thread", "async", "retry"],
)
async def test_an_error_that_can_not_be_shown_is_a_step_error_all_the_same(fails) -> None:
    """The text names its type; the cause is the error itself."""
    for flow in (Flow("f", fails), Flow("f", count >> fails)):
        with pytest.raises(StepError, match=r"fails.*Speechless") as caught:
            await flow.call(1)
        assert type(caught.value.__cause__) is Speechless


async def test_a_merge_whose_error_can_not_be_shown() -> None:
    """The same for a function of an edge."""

    def merge(old: int, new: int) -> int:
        raise Speechless

    options = {"capacity": 1, "overflow": "merge", "merge": merge}
    with pytest.raises(StepError, match=r"merge=.*Speechless") as caught:
        await Flow("f", count >> edge(**options) >> node(raises_speechless_later)).call(9)
    assert type(caught.value.__cause__) is Speechless
