"""What bad input gets: a clear error that says what is wrong and where, and nothing lost."""

import asyncio
import functools
from collections.abc import AsyncIterator

import anyio
import pytest
from pydantic import BaseModel

from penguiflow import (
    Context,
    DeadlineExceeded,
    Flow,
    Gathered,
    GraphError,
    Message,
    Retry,
    RunRejected,
    SequenceError,
    Spread,
    StepError,
    Stream,
    StreamClosed,
    edge,
    node,
    source,
)

pytestmark = [pytest.mark.anyio, pytest.mark.limit(5)]


@node
async def number(n: int) -> int:
    """Hand on."""
    return n


@node
async def text(s: str) -> str:
    """Hand on."""
    return s


@node
async def count(n: int) -> AsyncIterator[int]:
    """Yield 0 to n - 1."""
    for i in range(n):
        yield i


def refused(*names: str, build) -> None:
    """Expect a `GraphError` whose text has all these names in it."""
    with pytest.raises(GraphError) as caught:
        build()
    assert [name for name in names if name not in str(caught.value)] == []


# graphs -------------------------------------------------------------------------------------------------


def test_two_nodes_of_one_name() -> None:
    """Two different nodes of one name in one flow are refused, by name."""
    refused("number", build=lambda: Flow("f", number >> node(same_fn("number"))))


def test_the_same_node_twice_is_one_node() -> None:
    """Naming one node in several wires is no duplicate: it is one graph."""
    assert Flow("f", number >> count, number >> text_of) is not None


@node
async def text_of(n: int) -> str:
    """Give it as text."""
    return str(n)


def test_types_that_do_not_match_along_an_edge() -> None:
    """The edge is named by its two nodes and the two types."""
    refused("text_of", "number", "str", "int", build=lambda: Flow("f", text_of >> number))


def test_types_of_streams_are_checked_too() -> None:
    """What a generator yields is checked against what its successor takes, chunk by chunk or as a stream."""

    @node
    async def whole(stream: Stream[str]) -> str:
        return "".join([s async for s in stream])

    refused("count", "text", build=lambda: Flow("f", count >> text))
    refused("count", "whole", build=lambda: Flow("f", count >> whole))


def test_a_union_member_that_nobody_accepts() -> None:
    """A value that would have no successor is found when the flow is built."""

    @node
    async def either(n: int) -> int | str | bytes:
        return n

    refused("either", "bytes", build=lambda: Flow("f", either >> [number, text]))


def test_a_cycle_without_a_feedback_edge() -> None:
    """The cycle is drawn in the text."""
    a, b = node(same_fn("a"), name="a"), node(same_fn("b"), name="b")
    refused("a", "b", "feedback", build=lambda: Flow("f", a >> b >> a))


def same_fn(name: str):
    async def same(n: int) -> int:
        return n

    same.__name__ = name
    return same


@pytest.mark.parametrize("wires", [(), ([],)], ids=["nothing", "an empty list"])
def test_a_flow_without_nodes(wires) -> None:
    """A flow of nothing is refused."""
    refused(build=lambda: Flow("f", *wires))


def test_nothing_to_enter_by() -> None:
    """A flow whose every node waits for another has no entry."""
    a, b = node(same_fn("a"), name="a"), node(same_fn("b"), name="b")
    refused("a", build=lambda: Flow("f", a >> b, b >> a))


def test_an_edge_that_leads_nowhere() -> None:
    """A wire that ends in an edge is no wire yet."""
    refused("number", build=lambda: Flow("f", number >> edge(capacity=2)))


def test_what_is_no_node_in_a_wire() -> None:
    """A number, a class or a string between nodes is refused with its value."""
    for wrong in (42, "number", None):
        with pytest.raises((GraphError, TypeError)):
            Flow("f", number >> wrong)
        with pytest.raises((GraphError, TypeError)):
            Flow("f", wrong)


def test_joins_need_their_predecessors() -> None:
    """A parameter without a predecessor of its name, and a predecessor without a parameter, are named."""

    @node
    async def both(number: int, other: int) -> int:
        return number + other

    @node
    async def third(n: int) -> int:
        return n

    @node
    async def other(n: int) -> int:
        return n

    refused("both", "other", build=lambda: Flow("f", number >> both))
    refused("both", "third", build=lambda: Flow("f", [number, other, third] >> both))


def test_gathering_without_a_spread() -> None:
    """A `Gathered` that no `Spread` can feed is refused."""

    @node
    async def gather(items: Gathered[int]) -> int:
        return len(items)

    refused("gather", build=lambda: Flow("f", number >> gather))


def test_a_gathered_in_a_join() -> None:
    """A join takes one item a slot; a gather is a node of its own."""

    @node
    async def parts(n: int) -> Spread[int]:
        return Spread(range(n))

    async def both(parts: Gathered[int], number: int) -> int:
        return len(parts)

    refused("both", "parts", build=lambda: Flow("f", count_of >> [parts, number] >> node(both)))


@node
async def count_of(n: int) -> int:
    """Hand on."""
    return n


def test_an_error_edge_to_a_node_that_takes_no_error() -> None:
    """`on_error=True` leads to a node that takes a `StepError`."""
    refused("number", "text", build=lambda: Flow("f", number, number >> edge(on_error=True) >> text))


def test_a_message_parameter_behind_a_stream() -> None:
    """Behind a stream one takes `Chunk`, `T` or `Stream[T]`; the text says so."""

    @node
    async def envelope(message: Message) -> None:
        return None

    refused("envelope", "Chunk", build=lambda: Flow("f", count >> envelope))


def test_a_flow_used_twice_in_a_flow() -> None:
    """The same flow twice would give two nodes one path."""
    inner = Flow("inner", number)

    @node
    async def between(n: int) -> int:
        return n

    refused("inner", build=lambda: Flow("f", inner >> between >> inner))


# signatures ---------------------------------------------------------------------------------------------


def test_plain_generators() -> None:
    """A `def` that yields is refused with the remedy `async def`."""

    def plain(n: int):
        yield n

    refused("plain", "async def", build=lambda: Flow("f", node(plain)))


def test_an_async_function_that_returns_an_iterator() -> None:
    """`async def` annotated as an iterator, without a `yield`, is refused with the remedy."""

    async def returns_one(n: int) -> AsyncIterator[int]:
        return count(n)

    refused("returns_one", "yield", build=lambda: Flow("f", node(returns_one)))


def test_annotations_that_can_not_be_resolved() -> None:
    """A name that does not exist is named, with the node."""

    async def lost(n: "NoSuchType") -> int:  # noqa: F821
        return n

    refused("lost", "NoSuchType", build=lambda: Flow("f", node(lost)))


def test_a_node_without_a_parameter() -> None:
    """What takes nothing is a `@source`, and the text says so."""

    async def takes_nothing() -> int:
        return 1

    refused("takes_nothing", "source", build=lambda: Flow("f", node(takes_nothing)))


def test_a_source_with_a_parameter_or_without_yield() -> None:
    """A source takes nothing but a context, and yields."""

    async def takes(n: int) -> AsyncIterator[int]:
        yield n

    async def returns() -> int:
        return 1

    refused("takes", build=lambda: Flow("f", source(takes)))
    refused("returns", "yield", build=lambda: Flow("f", source(returns)))


@pytest.mark.parametrize(
    "options",
    [{"timeout": 1}, {"retry": Retry()}, {"concurrency": 4}],
    ids=["timeout", "retry", "concurrency"],
)
def test_inline_nodes_have_no_policy(options) -> None:
    """A `def` node has no timeout, retry or concurrency, unless `thread=True`."""

    def inline(n: int) -> int:
        return n

    refused("inline", "thread", build=lambda: Flow("f", node(inline, **options)))
    assert Flow("f", node(inline, thread=True, **options)) is not None


def test_threads_are_for_plain_functions() -> None:
    """`thread=True` on an `async def` is refused."""

    async def already(n: int) -> int:
        return n

    refused("already", "thread", build=lambda: Flow("f", node(already, thread=True)))


def test_plain_functions_can_not_take_streams() -> None:
    """A `def` can't wait for a stream."""

    def whole(stream: Stream[int]) -> int:
        return 0

    refused("whole", build=lambda: Flow("f", count >> node(whole)))


def test_nodes_need_a_name() -> None:
    """A lambda or partial has none: the text asks for `name=`; with it, they work."""
    refused("name", build=lambda: Flow("f", node(lambda n: n)))
    assert Flow("f", node(lambda n: n, name="named"), node(functools.partial(max, 0), name="top")) is not None


def test_what_can_not_be_called_is_no_node() -> None:
    """`node(42)` is refused."""
    with pytest.raises((GraphError, TypeError)):
        node(42)


# numbers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [0, -1])
def test_zero_and_negative_policies_of_nodes(wrong: int) -> None:
    """Concurrency, timeouts and parts are above zero; the text names the option."""
    for option in ("concurrency", "timeout", "first_chunk_timeout", "idle_timeout", "max_parts"):
        refused(option, build=lambda option=option: Flow("f", node(same_fn("a"), **{option: wrong})))


@pytest.mark.parametrize("wrong", [0, -1])
def test_zero_and_negative_policies_of_edges(wrong: int) -> None:
    """Capacities are at least 1; the text names the option."""
    for option in ("capacity", "capacity_bytes"):
        refused(option, build=lambda option=option: edge(**{option: wrong}))


@pytest.mark.parametrize("wrong", [0, -1])
def test_zero_and_negative_retries(wrong: int) -> None:
    """At least one attempt; no negative pause."""
    with pytest.raises((GraphError, ValueError), match="attempts"):
        Retry(attempts=wrong)
    with pytest.raises((GraphError, ValueError), match="backoff"):
        Retry(backoff=-1)


@pytest.mark.parametrize("wrong", [0, -1])
@pytest.mark.parametrize("option", ["window", "window_bytes", "max_runs", "hop_limit"])
async def test_zero_and_negative_options_of_a_runtime(option: str, wrong: int) -> None:
    """Options of `open` are refused with a `ValueError` that names them."""
    with pytest.raises(ValueError, match=option):
        async with Flow("f", number).open(**{option: wrong}):
            pass


async def test_a_negative_cleanup_timeout() -> None:
    """A cleanup timeout below zero is refused."""
    with pytest.raises(ValueError, match="cleanup_timeout"):
        async with Flow("f", number).open(cleanup_timeout=-1):
            pass


@pytest.mark.parametrize(
    "options",
    [
        {"overflow": "explode"},
        {"overflow": "merge"},
        {"overflow": "wait", "merge": max},
        {"partition": hash, "balance": True},
        {"feedback": True, "capacity": 1},
    ],
    ids=[
        "unknown overflow",
        "merge without a function",
        "a function without merge",
        "two fan-outs",
        "feedback",
    ],
)
def test_options_of_an_edge_that_make_no_sense(options) -> None:
    """Options that exclude or need each other are refused at once."""
    with pytest.raises(GraphError):
        edge(**options)


async def coroutine(*payloads: object) -> bool:
    """Give nothing that nobody awaits."""
    return True


class Called:
    """An object whose call is a coroutine."""

    async def __call__(self, *payloads: object) -> bool:
        """Give nothing that nobody awaits."""
        return True


@pytest.mark.parametrize("wrong", [coroutine, functools.partial(coroutine, 1), Called()])
@pytest.mark.parametrize(
    "option",
    [
        {"when": None},
        {"partition": None},
        {"merge": None, "overflow": "merge"},
        {"sizer": None, "capacity_bytes": 9},
    ],
    ids=["when", "partition", "merge", "sizer"],
)
def test_functions_of_edges_are_plain(option: dict, wrong: object) -> None:
    """A coroutine function would never be awaited: it is refused when the edge is made."""
    (name, *_) = option
    with pytest.raises(GraphError, match=f"{name} is a coroutine function .*plain def"):
        edge(**{**option, name: wrong})


def test_generators_are_no_conditions() -> None:
    """A condition that yields would always hold."""

    def yields(payload: object):
        yield True

    refused("when", "yields", build=lambda: edge(when=yields))


@pytest.mark.parametrize("wrong", ["no", 1, None])
def test_switches_are_true_or_false(wrong: object) -> None:
    """What is only truthy is refused, with the name of the option."""
    for option in ("balance", "feedback", "on_error"):
        refused(option, build=lambda option=option: edge(**{option: wrong}))
    for option in ("ordered", "thread"):
        refused(option, "a", build=lambda option=option: node(same_fn("a"), **{option: wrong}))


@pytest.mark.parametrize("wrong", [3, coroutine])
def test_the_sizer_of_a_runtime_is_a_plain_function(wrong: object) -> None:
    """Anything else is refused when the flow is opened."""
    with pytest.raises(ValueError, match="sizer"):
        Flow("f", number).open(sizer=wrong)


@pytest.mark.parametrize(
    "wrong", [KeyboardInterrupt, BaseException, (ValueError, SystemExit), asyncio.CancelledError, coroutine]
)
def test_what_is_never_tried_again(wrong: object) -> None:
    """Only exceptions below `Exception` are retried; others are refused, as is a predicate to be awaited."""
    with pytest.raises(GraphError, match=r"Retry: on.*(Exception|plain def)"):
        Retry(on=wrong)


@pytest.mark.parametrize("wrong", [3, None, "", number, number >> text_of, [number], len])
def test_a_flow_has_a_name(wrong: object) -> None:
    """A name that was forgotten is asked for, whatever stands in its place."""
    refused("name", 'Flow("name"', build=lambda: Flow(wrong, number))
    refused("name", 'Flow("name"', build=lambda: Flow(wrong))


def test_a_flow_is_named_again_with_a_name() -> None:
    """`named` is as strict."""
    refused("name", build=lambda: Flow("f", number).named(""))


# the door -----------------------------------------------------------------------------------------------


class Order(BaseModel):
    """What the typed entry takes."""

    name: str
    amount: int


@node
async def book(order: Order) -> str:
    """Take an order."""
    return order.name


async def test_a_wrong_payload_is_refused_at_the_door(in_flight, at_rest) -> None:
    """The text names the entry, the type and the field that is wrong; nothing of the run is started."""
    async with Flow("f", book).open() as runtime:
        with pytest.raises(RunRejected) as caught:
            await runtime.call({"name": "tea", "amount": "many"})
        assert [part for part in ("book", "Order", "amount") if part not in str(caught.value)] == []
        for enter in (runtime.call, runtime.start):
            with pytest.raises(RunRejected):
                await enter(42)
        with pytest.raises(RunRejected):
            async with runtime.run(42):
                raise AssertionError("entered")
        assert in_flight(runtime) == at_rest
        assert await runtime.call(Order(name="tea", amount=1)) == "tea"


async def test_a_wrong_item_of_an_input_stream_is_refused() -> None:
    """Items that a session sends and that an iterable gives are checked like payloads at the door."""

    async def items() -> AsyncIterator[object]:
        yield 1
        yield "two"

    async with Flow("f", number).open() as runtime:
        with pytest.raises((RunRejected, StepError)) as caught:
            await runtime.call(items())
        assert "int" in str(caught.value) + str(caught.value.__cause__)
        async with runtime.session() as session:
            with pytest.raises((RunRejected, TypeError)):
                await session.send("two")
            await session.send(2)
            await session.end_input()
            assert await session.result() == [2]


async def test_unknown_targets() -> None:
    """`to=` at the door and in emissions names a direct successor; else the error lists what there is."""
    raised: list[str] = []

    @node
    async def talk(n: int, ctx: Context) -> None:
        for emit in (ctx.emit, ctx.emit_chunk):
            try:
                await emit(n, to="nowhere")
            except GraphError as error:
                raised.append(str(error))
        try:
            async with ctx.open_stream("s", to="talk") as stream:
                await stream.send(n)
        except GraphError as error:
            raised.append(str(error))
        await ctx.emit(n, to="number")

    async with Flow("f", talk >> number).open() as runtime:
        with pytest.raises(RunRejected, match="nowhere"):
            await runtime.call(1, to="nowhere")
        with pytest.raises(RunRejected, match="number"):
            await runtime.call(1, to="number")  # no entry
        assert await runtime.call(1) == 1
    assert ["nowhere" in said for said in raised] == [True, True, False]


async def test_a_run_id_that_is_in_use(quiet) -> None:
    """A second run of an id is refused while the first lives, and admitted after it."""

    @node
    async def waits(n: int) -> None:
        await anyio.sleep_forever()

    async with Flow("f", waits).open() as runtime:
        run = await runtime.start(1, run_id="mine")
        for enter in (runtime.start, runtime.call):
            with pytest.raises(RunRejected, match="mine"):
                await enter(1, run_id="mine")
        assert run.status == "running"
        await run.cancel()
        again = await runtime.start(1, run_id="mine")
        assert again.id == "mine"


async def test_iterating_a_run_twice() -> None:
    """A run's items are delivered once: a second loop, and a result after a loop, raise `RuntimeError`."""
    async with Flow("f", count).open() as runtime, runtime.run(3) as run:
        assert [item.payload async for item in run] == [0, 1, 2]
        with pytest.raises(RuntimeError):
            async for _ in run:
                pass
        with pytest.raises(RuntimeError):
            async for _ in run.events():
                pass
        with pytest.raises(RuntimeError):
            await run.result()


async def test_a_runtime_that_is_closed() -> None:
    """Starting anything on a closed runtime is refused."""
    async with Flow("f", number).open() as runtime:
        pass
    for enter in (runtime.call, runtime.start):
        with pytest.raises(RunRejected):
            await enter(1)
    with pytest.raises(RunRejected):
        async with runtime.run(1):
            raise AssertionError("entered")
    with pytest.raises(RunRejected):
        async with runtime.session():
            raise AssertionError("entered")


async def test_a_runtime_that_is_not_open_yet() -> None:
    """`flow.open()` must be entered before it is used."""
    scope = Flow("f", number).open()
    with pytest.raises((RunRejected, RuntimeError, AttributeError)):
        await scope.call(1)
    async with scope as runtime:
        assert await runtime.call(1) == 1


@pytest.mark.parametrize("wrong", [0, -1.0])
async def test_a_deadline_that_is_over_before_it_begins(wrong: float) -> None:
    """A deadline is a number of seconds above zero."""
    with pytest.raises((ValueError, RunRejected, DeadlineExceeded)):
        await Flow("f", number).call(1, deadline=wrong)


# nodes at work ------------------------------------------------------------------------------------------


async def test_a_returned_value_that_no_edge_accepts() -> None:
    """Where types are not known when the flow is built, the run says which node gave what to whom."""

    @node
    async def anything(n: int):
        return object()

    with pytest.raises(StepError) as caught:
        await Flow("f", anything >> [number, text]).call(1)
    cause = caught.value.__cause__
    assert (caught.value.node, type(cause)) == ("anything", TypeError)
    assert [name for name in ("number", "text", "object") if name not in str(cause)] == []


@pytest.mark.parametrize("form", ["emit", "emit_chunk", "yield"])
async def test_an_emitted_value_that_no_edge_accepts(form: str) -> None:
    """A wrong emission fails the step that emits, as a wrong return does."""

    @node
    async def anything(n: int, ctx: Context):
        if form != "yield":
            await getattr(ctx, form)("wrong")

    @node
    async def yields(n: int):
        yield "wrong"

    with pytest.raises(StepError) as caught:
        await Flow("f", (yields if form == "yield" else anything) >> number).call(1)
    assert type(caught.value.__cause__) is TypeError


async def test_emissions_after_the_end_and_lower_seqs_name_the_stream() -> None:
    """The error names the stream, and what was emitted before is delivered."""
    said: list[str] = []

    @node
    async def talk(n: int, ctx: Context) -> None:
        await ctx.emit_chunk(0, stream_id="mine", seq=3)
        try:
            await ctx.emit_chunk(1, stream_id="mine", seq=2)
        except SequenceError as error:
            said.append(str(error))
        await ctx.emit_chunk(2, stream_id="mine", done=True)
        try:
            await ctx.emit_chunk(3, stream_id="mine")
        except StreamClosed as error:
            said.append(str(error))

    assert await Flow("f", talk).call(0) == [0, 2]
    assert ["mine" in text for text in said] == [True, True]


async def test_a_context_used_after_its_step() -> None:
    """Emitting with the context of a step that is over raises, and delivers nothing."""
    kept: list[Context] = []

    @node
    async def leaves(n: int, ctx: Context) -> int:
        kept.append(ctx)
        return n

    @node
    async def uses(n: int) -> int:
        with pytest.raises(StreamClosed):
            await kept[0].emit_chunk(2)
        return n

    assert await Flow("f", leaves >> uses).call(1) == 1


async def test_a_spread_of_what_can_not_be_iterated() -> None:
    """A `Spread` of a number fails its step, not the runtime."""

    @node
    async def parts(n: int) -> Spread[int]:
        return Spread(n)

    async with Flow("f", parts >> number).open() as runtime:
        with pytest.raises(StepError) as caught:
            await runtime.call(1)
        assert type(caught.value.__cause__) is TypeError


@pytest.mark.parametrize("option", ["when", "partition", "merge", "sizer"])
async def test_a_function_of_an_edge_that_raises(option: str, in_flight, at_rest) -> None:
    """A condition, key, merge or sizer that raises fails its run as a step's error, and nothing hangs."""

    def breaks(*payloads: object) -> object:
        raise LookupError("mine")

    options = {
        "when": {"when": breaks},
        "partition": {"partition": breaks},
        "merge": {"capacity": 1, "overflow": "merge", "merge": breaks},
        "sizer": {"capacity_bytes": 10, "sizer": breaks},
    }[option]

    @node
    async def slow(i: int) -> None:
        await anyio.sleep(0)

    @node
    async def other(i: int) -> None:
        await anyio.sleep(0)

    async with Flow("f", count >> edge(**options) >> [slow, other]).open() as runtime:
        with pytest.raises(StepError) as caught:
            await runtime.call(10)
        assert type(caught.value.__cause__) is LookupError
        assert in_flight(runtime) == at_rest


async def test_what_a_session_may_not_do() -> None:
    """Sending after the end of the input raises `StreamClosed`; a run that is no session takes no input."""
    async with Flow("f", number).open() as runtime:
        async with runtime.session() as session:
            await session.end_input()
            await session.end_input()  # ending twice is like once
            with pytest.raises(StreamClosed):
                await session.send(1)
        async with runtime.run(1) as run:
            with pytest.raises((RuntimeError, AttributeError, TypeError)):
                await run.send(1)


def test_flows_and_nodes_can_not_be_changed() -> None:
    """A flow is a blueprint: setting attributes on it or its nodes is refused."""
    flow = Flow("f", number)
    for thing in (flow, number):
        with pytest.raises((AttributeError, TypeError)):
            thing.name = "other"


@pytest.mark.parametrize("wrong", [1.5, 0, -1, "x", None, True])
async def test_the_limit_of_a_mapping(wrong: object) -> None:
    """It is a whole number of at least 1; the text names it."""

    @node
    async def maps(n: int, ctx: Context) -> None:
        await ctx.map(coroutine, [1], limit=wrong)

    with pytest.raises(StepError, match="limit=") as caught:
        await Flow("f", maps).call(1)
    assert type(caught.value.__cause__) is (ValueError if wrong in (0, -1) else TypeError)


@pytest.mark.parametrize("wrong", [None, 5, "x", [number], number >> text_of])
async def test_what_can_not_be_called_by_a_step(wrong: object) -> None:
    """`ctx.call` takes a node, a flow or a function; the text names the parameter."""

    @node
    async def calls(n: int, ctx: Context) -> object:
        return await ctx.call(wrong, n)

    with pytest.raises(StepError, match="target=") as caught:
        await Flow("f", calls).call(1)
    assert type(caught.value.__cause__) is TypeError


async def test_a_context_calls_nothing_after_its_step() -> None:
    """`ctx.call` is refused like an emission; nothing runs."""
    kept: list[Context] = []
    called: list[int] = []

    @node
    async def leaves(n: int, ctx: Context) -> int:
        kept.append(ctx)
        return n

    @node
    async def target(n: int) -> None:
        called.append(n)

    async with Flow("f", leaves).open() as runtime:
        assert await runtime.call(1) == 1
        with pytest.raises(StreamClosed):
            await kept[0].call(target, 1)
        run = await runtime.start(2)
        assert await run.result() == 2
    assert called == []


@pytest.mark.parametrize(
    ("wrong", "error"),
    [("x", TypeError), (True, TypeError), (float("nan"), ValueError), (-1, ValueError)],
)
async def test_the_timeout_of_draining(wrong: object, error: type[Exception]) -> None:
    """It is a number of seconds, not below zero; the runtime stays open."""
    async with Flow("f", number).open() as runtime:
        with pytest.raises(error, match="timeout="):
            await runtime.drain(wrong)
        assert await runtime.call(1) == 1
        await runtime.drain(0)


@pytest.mark.parametrize("wrong", [5, [5], None, [None], "x"])
def test_what_is_no_observer(wrong: object) -> None:
    """It is refused when the flow is opened, by name."""
    with pytest.raises(TypeError, match="observers"):
        Flow("f", number).open(observers=wrong)


@pytest.mark.parametrize(("wrong", "error"), [(5, TypeError), ("", ValueError)])
async def test_a_run_id_is_a_text(wrong: object, error: type[Exception]) -> None:
    """An empty one is none."""
    async with Flow("f", number).open() as runtime:
        for enter in (runtime.call, runtime.start):
            with pytest.raises(error, match="run_id="):
                await enter(1, run_id=wrong)
        for scope in (runtime.run(1, run_id=wrong), runtime.session(run_id=wrong)):
            with pytest.raises(error, match="run_id="):
                async with scope:
                    raise AssertionError("entered")
