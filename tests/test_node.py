"""What a node takes and gives is told by its function; what can't be carried out is said at once."""

from __future__ import annotations

import functools
import math
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Optional

import pytest

from penguiflow.errors import GraphError
from penguiflow.items import Chunk, ContextMarker, Gathered, Message, Spread, StreamMarker
from penguiflow.node import Gives, Node, Takes, node, source
from penguiflow.policy import NodePolicy, Retry

if TYPE_CHECKING:
    from somewhere import Nothing

    from penguiflow import Context


class Context(ContextMarker):
    """Stands for the context of floor 3."""


class Stream(StreamMarker[Any]):
    """Stands for a stream without a type."""


def told(fn: Any) -> tuple[Takes, Gives, bool, Any]:
    signature = node(fn).signature
    return signature.takes, signature.gives, signature.is_async, signature.type


async def value(x: int) -> str: ...
def inline(x: int) -> str: ...
async def stream(x: int) -> AsyncIterator[str]:
    yield ""


async def message(x: Message) -> str: ...
async def typed_message(x: Message[int]) -> str: ...
async def chunk(x: Chunk[int]) -> str: ...
async def whole(x: StreamMarker[int]) -> str: ...
async def untyped_whole(x: Stream) -> str: ...
async def parts(x: Gathered[int]) -> str: ...
def inline_parts(x: Gathered[int]) -> str: ...
async def anything(x): ...
async def maybe(x: Optional[int]) -> str: ...  # noqa: UP045
async def annotated(x: Annotated[Chunk[int], "note"]) -> str: ...


@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        (value, (Takes.ITEM, Gives.VALUE, True, int)),
        (inline, (Takes.ITEM, Gives.VALUE, False, int)),
        (stream, (Takes.ITEM, Gives.STREAM, True, int)),
        (message, (Takes.MESSAGE, Gives.VALUE, True, Any)),
        (typed_message, (Takes.MESSAGE, Gives.VALUE, True, int)),
        (chunk, (Takes.CHUNK, Gives.VALUE, True, int)),
        (whole, (Takes.STREAM, Gives.VALUE, True, int)),
        (untyped_whole, (Takes.STREAM, Gives.VALUE, True, Any)),
        (parts, (Takes.GATHERED, Gives.VALUE, True, int)),
        (inline_parts, (Takes.GATHERED, Gives.VALUE, False, int)),
        (anything, (Takes.ITEM, Gives.VALUE, True, Any)),
        (maybe, (Takes.ITEM, Gives.VALUE, True, Optional[int])),  # noqa: UP045
        (annotated, (Takes.CHUNK, Gives.VALUE, True, int)),
    ],
)
def test_the_table(fn: Any, expected: Any) -> None:
    """The form of a function is its contract (design, section 4)."""
    assert told(fn) == expected


def test_several_parameters_are_a_join() -> None:
    """Each parameter of a join is a slot; `X | None` may stay empty; a default is its own business."""

    async def both(
        a: int, b: str | None, c: Message[int] | None, d, limit: Nothing = 3, ctx: Context = None
    ): ...

    signature = node(both).signature
    assert signature.takes is Takes.JOIN
    assert [(slot.name, slot.takes, slot.type, slot.optional) for slot in signature.slots] == [
        ("a", Takes.ITEM, int, False),
        ("b", Takes.ITEM, str, True),
        ("c", Takes.MESSAGE, int, True),
        ("d", Takes.ITEM, Any, False),
    ]
    assert signature.context == "ctx"


def test_the_context_is_no_input() -> None:
    """The context is told by its type, or by the name `ctx` where there is no type."""

    async def first(ctx: Context, x: int): ...
    async def by_name(x: int, ctx): ...
    async def by_keyword(x: int, *, context: Context | None): ...
    async def not_one(ctx: int): ...
    async def its_own(x: int, ctx=None): ...

    assert [node(fn).signature.context for fn in (first, by_name, by_keyword, not_one, its_own)] == [
        "ctx",
        "ctx",
        "context",
        None,
        None,
    ]
    assert node(first).signature.parameter == "x"


def test_results() -> None:
    """What is yielded and returned is read from the annotation; a Spread is told from its parts."""

    async def generator(x: int) -> AsyncGenerator[bytes, None]:
        yield b""

    async def iterable(x: int) -> AsyncIterable[bytes]:
        yield b""

    async def bare(x: int):
        yield b""

    async def spread(x: int) -> Spread[int]: ...
    async def maybe_spread(x: int) -> Spread[int] | str | None: ...
    async def untold(x: int): ...
    async def names_it(x: int):
        return Spread([x])

    results = [node(fn).signature.result for fn in (generator, iterable, bare, spread, untold, value)]
    assert results == [bytes, bytes, Any, Spread[int], Any, str]
    signatures = [node(fn).signature for fn in (generator, spread, maybe_spread, untold, names_it, value)]
    assert [(one.spreads, one.may_spread, one.opens) for one in signatures] == [
        (False, False, False),
        (True, True, True),
        (False, True, True),
        (False, True, False),
        (False, True, True),
        (False, False, False),
    ]


def test_local_types_resolve() -> None:
    """Types that are local to whoever writes the node are found, also when annotations are texts."""

    class Local: ...

    async def takes_local(x: Local) -> list[Local]: ...
    def deeper() -> Node[..., Any]:
        @node
        async def inner(x: Local) -> Local: ...

        return inner

    assert node(takes_local).signature.type is Local
    assert node(takes_local).signature.result == list[Local]
    assert deeper().signature.type is Local


def test_types_may_be_defined_further_down() -> None:
    """An annotation that names what comes later is resolved when it is needed."""

    @node(concurrency=2)
    async def early(x: Later, /) -> list[Later]: ...

    with pytest.raises(GraphError, match="can't be resolved"):
        assert early.signature

    class Later: ...

    assert early.signature.type is Later
    assert early.policy == NodePolicy(concurrency=2)


def test_a_local_type_hides_a_global_one() -> None:
    """Names are looked up as Python would, from the inside out."""

    class Context: ...

    @node
    async def takes_local(x: Context): ...

    assert takes_local.signature.type is Context
    assert takes_local.signature.context is None


class Thing:
    async def method(self, x: int) -> str: ...
    async def __call__(self, x: bytes) -> str: ...


def logged(fn: Any) -> Any:
    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)

    return call


async def scaled(factor: int, x: float) -> float:
    return factor * x


def test_anything_that_can_be_called() -> None:
    """Methods, objects, partials, wrappers, lambdas and builtins are nodes where they can be told apart."""
    assert told(Thing().method) == (Takes.ITEM, Gives.VALUE, True, int)
    assert told(Thing()) == (Takes.ITEM, Gives.VALUE, True, bytes)
    assert told(logged(stream)) == (Takes.ITEM, Gives.STREAM, True, int)
    assert told(functools.partial(scaled, 2)) == (Takes.ITEM, Gives.VALUE, True, float)
    assert told(functools.partial(scaled, factor=2)) == (Takes.ITEM, Gives.VALUE, True, float)
    assert told(functools.lru_cache(inline)) == (Takes.ITEM, Gives.VALUE, False, int)
    assert [node(Thing()).name, node(functools.partial(scaled, 2)).name] == ["Thing", "scaled"]
    assert node(lambda x: x + 1, name="increase")(1) == 2
    assert node(str).signature.result is str


@pytest.mark.parametrize(
    ("fn", "given", "expected"),
    [
        (len, "abc", 3),
        (str.upper, "abc", "ABC"),
        (str, 7, "7"),
        (lambda x, /: x, 1, 1),
        (lambda *x: x, 1, (1,)),
        (functools.partial(lambda a, b: a - b, a=5), 2, 3),
    ],
)
def test_all_take_their_item_in_place_and_by_name(fn: Any, given: Any, expected: Any) -> None:
    """Whoever carries a node out may give the item either way, whatever the function allows."""
    made = node(fn, name="made")
    assert made.fn(given) == expected
    assert made.fn(**{made.signature.parameter: given}) == expected  # type: ignore[dict-item]


async def test_a_node_stays_the_function_it_was() -> None:
    """A decorated function can be called, and shows what it is."""

    @node(name="other")
    async def double(x: int) -> int:
        """Double it."""
        return 2 * x

    assert await double(3) == 6
    assert (double.name, double.__name__, double.__doc__) == ("other", "double", "Double it.")
    assert repr(double) == "<node other>"
    with pytest.raises(AttributeError, match="can't be changed"):
        double.name = "else"


def test_policies() -> None:
    """Options end up in the policy; what is not said is the default."""
    retry = Retry(attempts=2)
    made = node(
        value, concurrency=2, timeout=3, first_chunk_timeout=1.5, idle_timeout=1, retry=retry, ordered=False
    )
    assert made.policy == NodePolicy(2, 3, 1.5, 1, retry, False)
    assert node(value).policy == NodePolicy()
    assert node(inline, thread=True, concurrency=2, timeout=1).policy == NodePolicy(2, 1, thread=True)


async def ticks(ctx: Context) -> AsyncIterator[int]:
    yield 1


def test_sources() -> None:
    """A source takes nothing and yields."""
    made = source(ticks, name="clock")
    assert (made.name, made.is_source) == ("clock", True)
    assert (made.signature.takes, made.signature.gives, made.signature.context) == (
        Takes.NOTHING,
        Gives.STREAM,
        "ctx",
    )
    assert repr(made) == "<source clock>"
    assert source(name="x")(ticks).name == "x"


def yielding(x: int) -> Iterator[int]:
    yield x


async def returns_iterator(x: int) -> AsyncIterator[int]:
    return stream(x)  # type: ignore[return-value]


def plain_iterator(x: int) -> AsyncIterator[int]: ...
def plain_awaitable(x: int) -> Awaitable[int]: ...
async def unresolved(x: Nothing) -> int: ...
async def unresolved_result(x: int) -> Nothing: ...
async def takes_nothing(limit: int = 3): ...
async def only_by_name(x: int, *, limit: int): ...
async def two_contexts(x: int, ctx: Context, other: Context): ...
def plain_stream(x: StreamMarker[int]): ...
def plain_stream_join(a: StreamMarker[int], b: int): ...
async def gathered_join(a: Gathered[int], b: int): ...
async def mixed(x: Message[int] | Chunk[int]): ...
async def by_place(a: int, b: int, /): ...
async def wrong_stream(x: int) -> str:  # type: ignore[misc]
    yield ""


async def gives_message(x: int) -> Message[int]: ...


@pytest.mark.parametrize(
    ("fn", "text"),
    [
        (yielding, "node 'yielding': a plain def that yields would block the loop; write: async def … yield"),
        (returns_iterator, "is an async def that returns AsyncIterator"),
        (plain_iterator, "nobody would iterate; write async def"),
        (plain_awaitable, "nobody would await; write: async def"),
        (unresolved, r"annotation of 'x' \(Nothing\) can't be resolved: NameError.*run time"),
        (unresolved_result, r"annotation of its result \(Nothing\) can't be resolved"),
        (takes_nothing, "takes nothing; give it a parameter, or write @source"),
        (only_by_name, "'limit' can only be given by name"),
        (two_contexts, "'ctx' and 'other' are both the context"),
        (plain_stream, r"a plain def can't wait for Stream\[…\]"),
        (plain_stream_join, r"a plain def can't wait for Stream\[…\]"),
        (gathered_join, "'a' can't be Gathered in a join"),
        (mixed, r"'x' takes Message\[int\] \| Chunk\[int\]; take one of them"),
        (by_place, "a, b must be given by name; take the / out"),
        (wrong_stream, "yields, but says that it gives str"),
        (gives_message, "return the payload only"),
        (lambda x: x, "a lambda has no name"),
        (Thing.method, r"a method needs its object; write: node\(thing.method\)"),
        (3, "3 is no function"),
        (node(value), "is a node already"),
    ],
)
def test_functions_that_are_no_nodes(fn: Any, text: str) -> None:
    """What can't be carried out is said when the node is made, with the remedy."""
    with pytest.raises(GraphError, match=text):
        assert node(fn).signature


@pytest.mark.parametrize(
    ("fn", "text"),
    [
        (value, "a source takes nothing, but it has the parameter 'x'; use @node"),
        (takes_nothing, "a source must be an async generator"),
    ],
)
def test_functions_that_are_no_sources(fn: Any, text: str) -> None:
    """A source takes nothing and yields; all else is said to be wrong."""
    with pytest.raises(GraphError, match=text):
        source(fn)


@pytest.mark.parametrize(
    ("fn", "options", "text"),
    [
        (value, {"concurrency": 0}, "node 'value': concurrency must be a whole number of at least 1, not 0"),
        (value, {"concurrency": 1.5}, "concurrency"),
        (value, {"concurrency": True}, "concurrency"),
        (value, {"max_parts": 0}, "max_parts"),
        (value, {"timeout": 0}, "timeout must be a number of seconds above 0, not 0"),
        (value, {"idle_timeout": -1}, "idle_timeout"),
        (value, {"first_chunk_timeout": math.nan}, "first_chunk_timeout"),
        (value, {"timeout": "1"}, "timeout"),
        (value, {"retry": 3}, r"retry must be a Retry\(...\), not 3"),
        (value, {"name": ""}, "name=''"),
        (value, {"thread": True}, "thread=True is for plain def"),
        (inline, {"concurrency": 16}, "a plain def runs on the edge and can't have concurrency"),
        (
            inline,
            {"timeout": 1, "retry": Retry()},
            "can't have timeout, retry; write async def, or thread=True",
        ),
    ],
)
def test_options_that_make_no_sense(fn: Any, options: Any, text: str) -> None:
    """Options that can't be kept are errors, also such as only repeat a default."""
    with pytest.raises(GraphError, match=text):
        node(fn, **options)
