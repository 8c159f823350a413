"""The flows through which the tests of time travel go: one of each shape, and what their nodes count.

Owns the shapes. Each node that is executed adds its name to `Shape.calls`, so a test sees which code ran.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from penguiflow import Context, Flow, Gathered, Spread, StepError, Stream, edge, node


@dataclass
class Shape:
    """A flow whose nodes tell that they are executed.

    Args:
        name: what it is.
        given: the input.
        flow: the flow.
        calls: the names of the nodes, in the order in which they were executed.
        answers: what its questions are answered with, in order.
    """

    name: str
    given: Any
    flow: Flow
    calls: list[str] = field(default_factory=list)
    answers: tuple[Any, ...] = ()


Build = Callable[[list[str]], Flow]


def chain(calls: list[str], times: int = 2) -> Flow:
    """Message by message: add, double, say."""

    @node
    async def add(n: int) -> int:
        calls.append("add")
        return n + 1

    @node
    def double(n: int) -> int:
        calls.append("double")
        return n * times

    @node
    async def say(n: int) -> str:
        calls.append("say")
        return f"it is {n}"

    return Flow("chain", add >> double >> say)


def stream(calls: list[str]) -> Flow:
    """A stream, out of the flow."""

    @node
    async def split(text: str) -> str:
        calls.append("split")
        return text.strip()

    @node
    async def words(text: str) -> AsyncIterator[str]:
        calls.append("words")
        for word in text.split():
            yield word

    return Flow("stream", split >> words)


def lanes(calls: list[str], mark: str = "!") -> Flow:
    """A stream through nodes that work chunk by chunk, one of which remembers, and into one that takes it."""

    @node
    async def words(text: str) -> AsyncIterator[str]:
        calls.append("words")
        for word in text.split():
            yield word

    @node
    def loud(word: str) -> str:
        calls.append("loud")
        return word.upper() + mark

    @node
    async def numbered(word: str, ctx: Context) -> str:
        calls.append("numbered")
        ctx.state["n"] = ctx.state.get("n", 0) + 1
        return f"{ctx.state['n']}.{word}"

    @node
    async def whole(words: Stream[str]) -> str:
        calls.append("whole")
        return " ".join([word async for word in words])

    return Flow("lanes", words >> loud >> numbered >> whole)


def lanes_out(calls: list[str]) -> Flow:
    """A stream chunk by chunk, out of the flow, with a message for some chunks."""

    @node
    async def words(text: str) -> AsyncIterator[str]:
        calls.append("words")
        for word in text.split():
            yield word

    @node
    async def sorted_out(word: str, ctx: Context) -> str:
        calls.append("sorted_out")
        if len(word) > 3:
            await ctx.emit(len(word), to="lengths")
        return word.lower()

    @node
    async def lengths(n: int) -> int:
        calls.append("lengths")
        return n

    @node
    def last(word: str) -> str:
        calls.append("last")
        return f"<{word}>"

    return Flow("lanes_out", words >> sorted_out >> [lengths, last])


def join(calls: list[str], plus: int = 1) -> Flow:
    """Two branches that meet."""

    @node
    async def ask(n: int) -> int:
        calls.append("ask")
        return n

    @node
    async def left(n: int) -> int:
        calls.append("left")
        return n + plus

    @node
    async def right(n: int) -> int:
        calls.append("right")
        return n * 10

    @node
    async def both(left: int, right: int) -> int:
        calls.append("both")
        return left + right

    return Flow("join", ask >> [left, right] >> both)


def join_chunks(calls: list[str]) -> Flow:
    """Two branches that meet chunk by chunk."""

    @node
    async def words(text: str) -> AsyncIterator[str]:
        calls.append("words")
        for word in text.split():
            yield word

    @node
    def up(word: str) -> str:
        calls.append("up")
        return word.upper()

    @node
    def down(word: str) -> str:
        calls.append("down")
        return word.lower()

    @node
    async def pair(up: str, down: str) -> str:
        calls.append("pair")
        return up + down

    return Flow("join_chunks", words >> [up, down] >> pair)


def spread(calls: list[str]) -> Flow:
    """Many parts, filtered, and gathered again."""

    @node
    async def parts(n: int) -> Spread[int]:
        calls.append("parts")
        return Spread(range(n))

    @node
    async def odd(n: int) -> int | None:
        calls.append("odd")
        return n if n % 2 else None

    @node
    async def total(ns: Gathered[int]) -> list[int]:
        calls.append("total")
        return list(ns)

    return Flow("spread", parts >> odd >> total)


def loop(calls: list[str]) -> Flow:
    """A node that remembers, round and round."""

    @node
    async def collatz(n: int, ctx: Context) -> int | str:
        calls.append("collatz")
        ctx.state["seen"] = [*ctx.state.get("seen", []), n]
        if n == 1:
            return ",".join(map(str, ctx.state["seen"]))
        return n // 2 if n % 2 == 0 else 3 * n + 1

    @node
    async def end(text: str) -> str:
        calls.append("end")
        return text

    return Flow("loop", collatz >> edge(feedback=True) >> collatz, collatz >> end)


def called(calls: list[str], factor: int = 2) -> Flow:
    """A step that calls a flow twice, and a node."""

    @node
    async def add(n: int) -> int:
        calls.append("add")
        return n + 1

    @node
    async def times(n: int) -> int:
        calls.append("times")
        return n * factor

    inner = Flow("inner", add >> times)

    @node
    async def outer(n: int, ctx: Context) -> int:
        calls.append("outer")
        return await ctx.call(inner, n) + await ctx.call(inner, 10 * n) + await ctx.call(add, n)

    @node
    async def last(n: int) -> int:
        calls.append("last")
        return -n

    return Flow("called", outer >> last)


def on_error(calls: list[str]) -> Flow:
    """A node that fails, whose error goes another way."""

    @node
    async def first(n: int) -> int:
        calls.append("first")
        return n

    @node
    async def risky(n: int) -> int:
        calls.append("risky")
        raise ValueError(f"no {n}")

    @node
    async def rescue(error: StepError) -> str:
        calls.append("rescue")
        return f"rescued: {error.node}"

    return Flow("on_error", first >> risky, risky >> edge(on_error=True) >> rescue)


def interrupts(calls: list[str]) -> Flow:
    """Two questions, one after the other, and one between."""

    @node
    async def first(n: int, ctx: Context) -> int:
        calls.append("first")
        return n + await ctx.interrupt({"how many": n}, expect=int)

    @node
    async def second(n: int, ctx: Context) -> str:
        calls.append("second")
        name = await ctx.interrupt("who?", expect=str)
        return f"{name} {await ctx.interrupt('sure?', expect=bool)} {n}"

    @node
    async def last(text: str) -> str:
        calls.append("last")
        return text.upper()

    return Flow("interrupts", first >> second >> last)


SHAPES: dict[str, tuple[Build, Any, tuple[Any, ...]]] = {
    "chain": (chain, 3, ()),
    "stream": (stream, " a b c ", ()),
    "lanes": (lanes, "one two three", ()),
    "lanes_out": (lanes_out, "one FOUR seven two", ()),
    "join": (join, 4, ()),
    "join_chunks": (join_chunks, "A b", ()),
    "spread": (spread, 6, ()),
    "wide_spread": (spread, 300, ()),
    "loop": (loop, 6, ()),
    "called": (called, 3, ()),
    "on_error": (on_error, 5, ()),
    "interrupts": (interrupts, 1, (41, "Ann", True)),
}


def shape(name: str) -> Shape:
    """Make a flow of a shape."""
    build, given, answers = SHAPES[name]
    calls: list[str] = []
    return Shape(name, given, build(calls), calls, answers)
