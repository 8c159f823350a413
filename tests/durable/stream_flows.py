"""Flows of streams, of each kind: lanes, consumers, joins by chunk, named streams, windows, retries."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio.lowlevel

from penguiflow import Context, Flow, Resume, Retry, StepError, Stream, edge, node

from .cases import called, case
from .flows import both, cure, double, even, inc, show, spread, triple


@node
async def count(x: int) -> AsyncIterator[int]:
    for i in range(x):
        called("count", x, i)
        yield i


@node(resume=Resume.CONTINUE)
async def recite(x: int) -> AsyncIterator[int]:
    for i in range(x):
        called("recite", x, i)
        yield i


@node(retry=Retry(attempts=3, backoff=0, jitter=0))
async def stumble(x: int) -> AsyncIterator[int]:
    tries = called("stumble", x)
    for i in range(x):
        if i == 2 and tries == 1:
            raise ValueError("once")
        yield i


@node
async def twin(x: int) -> AsyncIterator[int]:
    called("twin", x)
    yield x
    yield x + 100


@node
async def total(stream: Stream[int]) -> int:
    called("total")
    taken = [x async for x in stream]
    called("total of", *taken)
    return sum(taken)


@node
async def running_total(stream: Stream[int]) -> AsyncIterator[int]:
    called("running total")
    taken = 0
    async for x in stream:
        taken += x
        yield taken


@node
async def first_two(stream: Stream[int]) -> int:
    called("first two")
    return (await stream.next()).payload + (await stream.next()).payload


@node(ordered=False, concurrency=3)
async def scramble(x: int) -> int:
    called("scramble", x)
    for _ in range(9 - 2 * x):
        await anyio.lowlevel.checkpoint()
    return x


@node
async def demux(x: int, ctx: Context) -> None:
    called("demux", x)
    await ctx.emit_chunk(x, stream_id="odd" if x % 2 else "even")


@node
async def by_hand(x: int, ctx: Context) -> None:
    called("by hand", x)
    async with ctx.open_stream(f"hand {x}") as stream:
        await stream.send(x)
        await stream.send(x + 1)


@node
async def aside(x: int, ctx: Context) -> int:
    """Emit a message beside the chunk, and remember something."""
    called("aside", x)
    ctx.state["seen"] = ctx.state.get("seen", 0) + 1
    await ctx.emit(1000 * ctx.state["seen"], to="triple")
    return x


@node
async def breaks(x: int) -> AsyncIterator[int]:
    called("breaks", x)
    yield x
    if x == 2:
        raise ValueError("no")


@node
async def caller(x: int, ctx: Context) -> int:
    called("caller", x)
    return await ctx.call(Flow("sub", inc >> double), x)


@node
async def taker(x: int) -> int:
    called("taker", x)
    await anyio.lowlevel.checkpoint()
    return x


case("stream", inc >> count >> show, payload=3)
case("stream, small window", inc >> count >> show, payload=5, window=2)
case("lanes", count >> even >> twin >> double >> show, payload=4)
case("consumer", count >> double >> total >> show, payload=4)
case("stream to stream", count >> running_total >> show, payload=4)
case("early leaver", count >> double >> first_two >> show, payload=6, window=2, idles=True)
case("join by chunk", count >> [inc, double] >> both, payload=3)
case("branches that meet", count >> [inc, double], inc >> twin, double >> twin, twin >> show, payload=3)
case("a failed lane", count >> breaks >> inc, breaks >> edge(on_error=True) >> cure, payload=4)
case("a failed stream", count >> breaks >> show, payload=4)
case("unordered", count >> scramble >> twin >> show, payload=4)
case("unordered, small window", count >> scramble >> twin >> show, payload=4, window=1)
case("named by a lane", count >> demux >> show, payload=4)
case("named by steps", spread >> demux >> inc >> show, payload=4)
case("by hand", spread >> by_hand >> show, payload=2)
case(
    "aside", count >> aside >> edge(when=lambda x: x < 1000) >> show, aside >> triple, payload=3, repeats=True
)
case("stream, retried", inc >> stumble >> show, payload=3)
case("continued", inc >> recite >> show, payload=4)
case("continued lanes", recite >> twin >> total, payload=4)
case("call in a lane", count >> caller >> show, payload=2)
case("dropping", count >> edge(capacity=1, overflow="drop_oldest") >> taker, payload=5, loses=True)

assert StepError  # the annotation of `cure` is resolved where it stands
