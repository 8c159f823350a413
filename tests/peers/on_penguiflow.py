"""How this penguiflow is asked."""

from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.metadata import version

from penguiflow import Flow, Retry, StreamRestarted, node

VERSION = version("penguiflow")


async def stream(step: Callable[[], AsyncIterator[str]], attempts: int) -> AsyncIterator[str]:
    async def given(text: str) -> AsyncIterator[str]:
        async for item in step():
            yield item

    flow = Flow("stream", node(given, retry=Retry(attempts=attempts, backoff=0.01)))
    async with flow.open() as runtime, runtime.run("") as run:
        text = ""
        async for event in run.events():
            if isinstance(event, StreamRestarted):
                text = ""
                yield "all of it: "
            elif hasattr(event, "payload"):
                text += event.payload
                yield event.payload


async def branches(
    fast: Callable[[], Awaitable[None]],
    after_fast: Callable[[], Awaitable[None]],
    slow: Callable[[], Awaitable[None]],
) -> None:
    async def start(text: str) -> str:
        return text

    async def quick(text: str) -> str:
        await fast()
        return text

    async def behind(text: str) -> None:
        await after_fast()

    async def late(text: str) -> None:
        await slow()

    begin = node(start)
    await Flow("branches", begin >> quick >> behind, begin >> late).call("")
