"""Flows of messages, of each kind: chains, joins, gathers, loops, calls, letters, errors, questions."""

from __future__ import annotations

import anyio.lowlevel

from penguiflow import Context, Flow, Gathered, Retry, Spread, StepError, edge, node

from .cases import called, case


@node
async def inc(x: int) -> int:
    called("inc", x)
    return x + 1


@node
def double(x: int) -> int:
    called("double", x)
    return x * 2


@node(thread=True)
def triple(x: int) -> int:
    called("triple", x)
    return x * 3


@node
async def show(x: int) -> str:
    called("show", x)
    return f"<{x}>"


@node
async def even(x: int) -> int | None:
    called("even", x)
    return x if x % 2 == 0 else None


@node
async def both(inc: int, double: int) -> str:
    called("both", inc, double)
    return f"{inc},{double}"


@node
async def either(even: int | None, double: int) -> str:
    called("either", even, double)
    return f"{even},{double}"


@node
async def spread(x: int) -> Spread[int]:
    called("spread", x)
    return Spread(range(x))


@node
async def collect(parts: Gathered[int]) -> int:
    called("collect", tuple(parts))
    return sum(parts)


@node
async def again(x: int, ctx: Context) -> None:
    called("again", x)
    ctx.state["turns"] = ctx.state.get("turns", 0) + 1
    if x < 4:
        await ctx.emit(x + 1, to="again")
    else:
        await ctx.emit(f"{x}: {ctx.state['turns']} turns", to="last")


@node
async def last(x: str) -> str:
    called("last", x)
    return x


@node
async def letters(x: int, ctx: Context) -> int:
    called("letters", x)
    for i in range(5):
        await ctx.emit(i)
    ctx.state["sent"] = 5
    return 99


@node
async def letters_twice(x: int, ctx: Context) -> None:
    """Emit some, fail once, and emit all: those of the failed attempt are held back, or stay."""
    tries = called("letters_twice", x)
    await ctx.emit(x)
    await anyio.lowlevel.checkpoint()
    if tries == 1:
        raise ValueError("once")
    await ctx.emit(x + 1)


@node
async def caller(x: int, ctx: Context) -> int:
    called("caller", x)
    y = await ctx.call(inc, x)
    return await ctx.call(Flow("sub", double >> triple), y)


@node
async def mapper(x: int, ctx: Context) -> int:
    called("mapper", x)

    async def one(part: int) -> int:
        return await ctx.call(inc, part)

    return sum(await ctx.map(one, range(x), limit=1))


@node
async def bad(x: int) -> int:
    called("bad", x)
    raise ValueError("no")


@node
async def cure(error: StepError) -> str:
    called("cure")
    return "cured"


@node(durable=False)
async def fleeting(x: int) -> int:
    called("fleeting", x)
    return x + 10


@node(retry=Retry(attempts=3, backoff=0, jitter=0))
async def flaky(x: int) -> int:
    if called("flaky", x) == 1:
        raise ValueError("once")
    return x + 5


@node
async def ask(x: int, ctx: Context) -> str:
    called("ask", x)
    first = await ctx.interrupt({"first": x}, expect=str)
    second = await ctx.interrupt({"second": first})
    called("ask, answered", first, second)
    return f"{x} {first} {second}"


def answer(question: dict[str, object]) -> str:
    """Answer a question of `ask`."""
    return "yes" if "first" in question else f"and {question['second']}"


case("chain", inc >> double >> triple >> show, payload=1)
case("join", even >> [inc, double] >> both, payload=4)
case("join with a silent branch", inc >> [even, double] >> either, payload=2)
case("gather", spread >> inc >> collect >> show, payload=5)
case("gather, small window", spread >> inc >> collect >> show, payload=5, window=2)
case("gather of filtered parts", spread >> even >> collect, payload=5)
case("loop", again >> edge(feedback=True) >> again, again >> last, payload=0)
case("letters", letters >> inc >> show, payload=0)
case("letters, small window", letters >> inc >> show, payload=0, window=2)
case("letters, bytes", letters >> inc >> show, payload=0, window_bytes=2)
case("call", caller >> show, payload=3)
case("map", mapper >> show, payload=3)
case("error edge", inc >> bad >> edge(on_error=True) >> cure, payload=3)
case("failure", inc >> [bad, double], payload=3)
case("exits", inc >> [double, triple, show], payload=1)
case("nested", inc >> Flow("inner", double >> Flow("innermost", triple >> inc)) >> show, payload=1)
case("when", spread >> edge(when=lambda x: x % 2 == 0) >> inc, spread >> edge(when=bool) >> double, payload=4)
by_key = edge(partition=lambda x: f"key {x}")
case("partition", spread >> by_key >> [inc, double], [inc, double] >> show, payload=4)
case("balance", spread >> edge(balance=True) >> [inc, double], [inc, double] >> show, payload=4, idles=True)
case("not durable", inc >> fleeting >> double >> show, payload=1)
case("retry", inc >> flaky >> show, payload=1)
case(
    "retried letters", node(letters_twice.fn, retry=Retry(attempts=2, backoff=0, jitter=0)) >> show, payload=1
)
case("question", inc >> ask >> last, payload=1, answer=answer)
case("questions", spread >> ask >> last, payload=3, answer=answer)
