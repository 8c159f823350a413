"""The contract of inputs: what the door and the edges take, and what is said of the rest."""

import datetime
import warnings
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypedDict

import pytest
from pydantic import BaseModel

from penguiflow import (
    Context,
    Flow,
    GraphError,
    Message,
    Retry,
    RunRejected,
    StepError,
    Stream,
    edge,
    node,
)

pytestmark = [pytest.mark.anyio, pytest.mark.limit(5)]


class Speaks(Protocol):
    """What is only known to type checkers."""

    def speak(self) -> str:
        """Say something."""


class Dog:
    """What speaks."""

    def speak(self) -> str:
        """Bark."""
        return "wau"


class Shape(TypedDict):
    """A dictionary of a certain shape."""

    a: int


class Model(BaseModel):
    """A model."""

    a: int


@dataclass
class Plain:
    """A dataclass."""

    a: int


@node
async def same(n: int) -> int:
    """Hand on."""
    return n


@node
async def envelope(m: Message[int]) -> int:
    """Give what is in a message."""
    return m.payload


async def three() -> AsyncIterator[int]:
    """Yield 0 to 2."""
    for i in range(3):
        yield i


def taking(kind: Any):
    """Make a node that takes a type."""

    async def taker(x) -> str:
        return "taken"

    taker.__annotations__["x"] = kind
    return node(taker)


# the door and the edges ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "payload", "good"),
    [
        (Speaks, Dog(), True),
        (Speaks | None, Dog(), True),
        (list[Speaks], [Dog()], True),
        (Speaks | int, "x", True),
        (int, True, True),
        (float, True, True),
        (list[int], [True], True),
        (datetime.date, datetime.datetime(2020, 1, 1), True),
        (Sequence[str], "abc", True),
        (ClassVar[int], 1, True),
        (int, 1.0, False),
        (list[int], ["x"], False),
        (Shape, {"a": "x"}, False),
        (list[Model], [{"a": 1}], False),
        (Plain, {"a": 1}, False),
        (list[Model], [Model.model_construct(a="x")], True),
    ],
)
async def test_the_door_and_the_edges_take_the_same(kind: Any, payload: Any, good: bool) -> None:
    """What goes in at the door goes from node to node, and the other way round; no warning escapes."""

    async def gives(x: int):
        return payload

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for flow, given, error in (
            (Flow("door", taking(kind)), payload, RunRejected),
            (Flow("edge", node(gives) >> taking(kind)), 0, StepError),
        ):
            if good:
                assert await flow.call(given) == "taken"
            else:
                with pytest.raises(error, match="taker takes"):
                    await flow.call(given)


@pytest.mark.parametrize(
    ("kind", "payload", "said"),
    [
        (Shape, {"a": "x"}, "(a: int is needed, not str)"),
        (Shape, {}, "(a: int is needed, it is missing)"),
        (dict[str, Shape], {"k": {"a": "x"}}, "(k.a: int is needed, not str)"),
        (list[Model], [{"a": "x"}], "(0.a: Input should be a valid integer, not str)"),
        (list[Model], [{"a": 1}], "(0: Model is needed, not dict)"),
        (Plain, {"a": "x"}, "(a: int is needed, not str)"),
        (list[bool], [True, "x"], "(1: bool is needed, not str)"),
    ],
)
async def test_the_door_names_the_field_and_what_was_given(kind: Any, payload: Any, said: str) -> None:
    """Wherever it lies in the payload."""
    with pytest.raises(RunRejected) as caught:
        await Flow("f", taking(kind)).call(payload)
    assert said in str(caught.value)


# streams where none can go ------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["async", "def", "retry", "beside"])
async def test_a_stream_into_an_entry_that_takes_messages(form: str) -> None:
    """An async iterable and a session are refused at the door: the text names the node and the remedy."""
    entry = {
        "async": (envelope,),
        "def": (node(lambda m: m.payload, name="envelope"),),
        "retry": (node(envelope.fn, retry=Retry(2)),),
        "beside": (same, envelope),
    }[form]
    if form == "def":

        @node
        def envelope_(m: Message[int]) -> int:
            return m.payload

        entry = (node(envelope_.fn, name="envelope"),)
    async with Flow("f", *entry).open() as runtime:
        for enter in (lambda: runtime.run(three()), runtime.session):
            with pytest.raises(RunRejected, match=r"envelope takes a message.*Chunk\[int\].*Stream\[int\]"):
                async with enter():
                    raise AssertionError("entered")
        assert list(runtime.runs()) == []
        if form == "beside":
            assert await runtime.call(three(), to="same") == [0, 1, 2]


@node
async def emits(n: int, ctx: Context) -> None:
    """Emit a chunk."""
    await ctx.emit_chunk(n)


@pytest.mark.parametrize("before", ["same", "emits"])
@pytest.mark.parametrize("form", ["async", "def", "ctx", "join", "beside"])
async def test_a_stream_that_reaches_a_message_parameter(before: str, form: str, in_flight, at_rest) -> None:
    """Where it could not be known when the flow was built, the run fails and says who gave what to whom."""
    got: list[object] = []
    first = same if before == "same" else emits

    @node
    async def takes(m: Message[int]) -> None:
        got.append(m)

    @node(name="takes")
    def inline(m: Message[int]) -> None:
        got.append(m)

    @node(name="takes")
    async def with_context(m: Message[int], ctx: Context) -> None:
        got.append(m)

    @node
    async def other(n: int) -> int:
        return n

    first_ = node(first.fn, name="first")

    @node(name="takes")
    async def join(first: Message[int], other: Message[int]) -> None:
        got.append(first)

    flow = {
        "async": lambda: Flow("f", first_ >> takes),
        "def": lambda: Flow("f", first_ >> inline),
        "ctx": lambda: Flow("f", first_ >> with_context),
        "join": lambda: Flow("f", [first_, other] >> join),
        "beside": lambda: Flow("f", first_ >> [other, takes]),
    }[form]()
    async with flow.open() as runtime:
        with pytest.raises(
            StepError, match=r"takes takes a message, and \w+ gave a stream; take Chunk\[int\]"
        ):
            await runtime.call(three() if before == "same" else 1)
        assert in_flight(runtime) == at_rest
    assert got == []


@pytest.mark.parametrize("behind", [False, True], ids=["entry", "behind another"])
async def test_a_stream_into_a_node_with_a_feedback_edge(behind: bool, in_flight, at_rest) -> None:
    """Rule 2.7: a feedback edge carries messages; node and edge are named. Messages go round as ever."""

    @node
    async def less(x: int) -> int | str:
        return x - 1 if x > 0 else "end"

    @node
    async def last(s: str) -> str:
        return s

    wires = (less >> edge(feedback=True) >> less, less >> last)
    flow = Flow("f", *([same >> less] if behind else []), *wires)
    async with flow.open() as runtime:
        assert await runtime.call(3) == "end"
        error = StepError if behind else RunRejected
        with pytest.raises(error, match=r"less hands a stream on.*less→less.*2\.7"):
            await runtime.call(three())
        if not behind:
            with pytest.raises(RunRejected, match=r"2\.7"):
                async with runtime.session():
                    raise AssertionError("entered")
        assert in_flight(runtime) == at_rest


async def test_a_stream_into_a_join_with_a_feedback_edge(in_flight, at_rest) -> None:
    """A join that pairs chunk by chunk hands a stream on, too."""

    @node
    async def other(n: int) -> int:
        return n

    @node
    async def both(same: int, other: int) -> int | str:
        return same - 1 if same > 0 else "end"

    @node
    async def last(s: str) -> str:
        return s

    flow = Flow("f", [same, other] >> both, both >> edge(feedback=True) >> same, both >> last)
    async with flow.open(window=1) as runtime:
        with pytest.raises(StepError, match=r"both hands a stream on.*both→same.*2\.7"):
            await runtime.call(three())
        assert in_flight(runtime) == at_rest
        assert await runtime.call(0) == "end"


async def test_a_node_that_takes_streams_may_feed_back() -> None:
    """What returns once for a stream gives a message, which goes round."""

    @node
    async def total(s: Stream[int]) -> int:
        return sum([x async for x in s])

    @node
    async def less(x: int) -> int | str:
        return x - 1 if x > 0 else "end"

    @node
    async def last(s: str) -> str:
        return s

    flow = Flow("f", total >> less, less >> edge(feedback=True) >> less, less >> last)
    assert await flow.call(three()) == "end"


# conditions of error edges ------------------------------------------------------------------------------


@node
async def fails(n: int) -> int:
    """Fail."""
    raise KeyError(n)


@node
async def handles(error: StepError) -> str:
    """Say what failed."""
    return repr(error.__cause__)


@pytest.mark.parametrize("stream", [False, True], ids=["message", "stream"])
async def test_conditions_of_error_edges(stream: bool, in_flight, at_rest) -> None:
    """`when=` is asked about the `StepError`; a failure that meets no condition is not handled."""

    def payload() -> object:
        return three() if stream else 1

    for kind in (KeyError, ValueError):
        wire = (
            fails >> edge(on_error=True, when=lambda e, kind=kind: isinstance(e.__cause__, kind)) >> handles
        )
        async with Flow("f", wire).open() as runtime:
            if kind is KeyError:
                assert "KeyError" in str(await runtime.call(payload()))
            else:
                with pytest.raises(StepError, match="fails") as caught:
                    await runtime.call(payload())
                assert type(caught.value.__cause__) is KeyError
            assert in_flight(runtime) == at_rest


@pytest.mark.parametrize("stream", [False, True], ids=["message", "stream"])
@pytest.mark.parametrize("inline", [False, True], ids=["async", "def"])
async def test_a_condition_of_an_error_edge_that_raises(
    stream: bool, inline: bool, in_flight, at_rest
) -> None:
    """It fails the run, and is the cause."""

    def breaks(error: StepError) -> bool:
        raise LookupError("mine")

    def plain(n: int) -> int:
        raise KeyError(n)

    failing = node(plain, name="fails") if inline else fails
    async with Flow("f", failing >> edge(on_error=True, when=breaks) >> handles).open() as runtime:
        with pytest.raises(StepError, match="condition") as caught:
            await runtime.call(three() if stream else 1)
        assert type(caught.value.__cause__) is LookupError
        assert in_flight(runtime) == at_rest


# names --------------------------------------------------------------------------------------------------


@node
async def deep(n: int) -> str:
    """Give its name."""
    return f"deep {n}"


async def test_nested_flows_are_addressed_by_their_names() -> None:
    """`to=` a flow's name is its entry, at the door and from a node; paths and single inner names will do."""
    sub = Flow("sub", deep)
    outer = Flow("outer", Flow("mid", sub), same)
    async with outer.open() as runtime:
        for to in ("mid", "mid/sub", "mid/sub/deep", "deep"):
            assert await runtime.call(1, to=to) == "deep 1"
        with pytest.raises(RunRejected, match="no entry 'sub'"):
            await runtime.call(1, to="sub")
    for to in ("sub", "sub/deep", "deep"):

        @node
        async def sends(n: int, ctx: Context, to: str = to) -> None:
            await ctx.emit(n, to=to)
            await ctx.emit_chunk(n + 1, to=to)

        for flow in (Flow("f", sends >> [sub, same]), Flow("g", Flow("inside", sends >> [sub, same]))):
            assert (await flow.call(1)) in (["deep 1", ["deep 2"]], [["deep 2"], "deep 1"])


async def test_an_inner_name_that_means_several() -> None:
    """Two nested flows with a node of one name: the bare name is refused, the flow's names work."""
    two = [Flow("left", deep), Flow("right", node(deep.fn, name="deep"))]

    @node
    async def sends(n: int, ctx: Context) -> None:
        with pytest.raises(GraphError, match="left/deep, right/deep"):
            await ctx.emit(n, to="deep")
        await ctx.emit(n, to="right")

    async with Flow("f", sends >> two).open() as runtime:
        assert await runtime.call(1) == "deep 1"
    async with Flow("f", *two).open() as runtime:
        with pytest.raises(RunRejected, match="left/deep, right/deep"):
            await runtime.call(1, to="deep")
        assert await runtime.call(1, to="left") == "deep 1"


# what edges and runtimes are given ----------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [-1, 1.5, "x", None, True])
@pytest.mark.parametrize("where", ["edge", "open"])
async def test_a_sizer_that_gives_no_size(where: str, wrong: object, in_flight, at_rest) -> None:
    """The text names the sizer, and the edge that it was given to."""

    def weighs(payload: object) -> Any:
        return wrong

    @node
    async def count(n: int) -> AsyncIterator[int]:
        for i in range(n):
            yield i

    options: Any = {"capacity_bytes": 10, "sizer": weighs} if where == "edge" else {}
    limits: Any = {"window_bytes": 10, "sizer": weighs} if where == "open" else {}
    async with Flow("f", count >> edge(**options) >> same).open(**limits) as runtime:
        with pytest.raises(StepError) as caught:
            await runtime.call(10)
        named = ["weighs", repr(wrong), "count→same" if where == "edge" else "open()"]
        said = f"{caught.value} {caught.value.__cause__}"
        assert [name for name in named if name not in said] == []
        assert in_flight(runtime) == at_rest


async def test_a_sizer_of_a_runtime_that_raises() -> None:
    """The text names the sizer; what it raised is the cause."""

    def weighs(payload: object) -> int:
        raise LookupError("mine")

    @node
    async def count(n: int) -> AsyncIterator[int]:
        yield n

    async with Flow("f", count >> same).open(window_bytes=10, sizer=weighs) as runtime:
        with pytest.raises(StepError, match=r"weighs of open\(\)") as caught:
            await runtime.call(10)
        assert type(caught.value.__cause__) is LookupError


async def test_a_predicate_of_a_retry_that_raises() -> None:
    """Its error fails the step, and the node's own error is its context."""

    def asks(error: Exception) -> bool:
        raise LookupError("mine")

    @node(retry=Retry(3, on=asks))
    async def fails_once(n: int) -> int:
        raise KeyError(n)

    with pytest.raises(StepError) as caught:
        await Flow("f", fails_once).call(1)
    cause = caught.value.__cause__
    assert type(cause) is LookupError
    assert type(cause.__context__) is KeyError
