"""A two-way run: what is sent goes in as a stream, control overtakes it, cancelling ends it all.

It prints::

    hello
    WORLD
    status: cancelled, because of RunCancelled
"""

from collections.abc import AsyncIterator
from contextlib import suppress

import anyio

from penguiflow import Context, Flow, RunCancelled, Stream, WouldBlock, node


@node
async def echo(words: Stream[str], ctx: Context) -> AsyncIterator[str]:
    controls = ctx.controls()
    loud = False
    async for word in words:
        with suppress(WouldBlock):  # raised where no command is waiting
            loud = controls.next_nowait().kind == "loud"
        yield word.upper() if loud else word


flow = Flow("echo", echo)


async def main() -> None:
    async with flow.open() as runtime, runtime.session() as run:
        replies = aiter(run)
        await run.send("hello")
        print((await anext(replies)).payload)

        await run.control("loud")
        await run.send("world")
        print((await anext(replies)).payload)

        await run.cancel("the user hung up")
        try:
            await anext(replies)
        except RunCancelled as error:
            print(f"status: {run.status}, because of {type(error).__name__}")


if __name__ == "__main__":
    anyio.run(main)
