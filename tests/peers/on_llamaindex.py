"""How LlamaIndex workflows are asked: events written to the stream of a handler."""

from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.metadata import version

from workflows import Context, Workflow, step
from workflows.events import Event, StartEvent, StopEvent
from workflows.retry_policy import ConstantDelayRetryPolicy

VERSION = version("llama-index-workflows")


class Token(Event):
    text: str


class Fast(Event):
    pass


class Slow(Event):
    pass


class Done(Event):
    pass


async def stream(given: Callable[[], AsyncIterator[str]], attempts: int) -> AsyncIterator[str]:
    class Streaming(Workflow):
        @step(retry_policy=ConstantDelayRetryPolicy(maximum_attempts=attempts, delay=0.01))
        async def work(self, ctx: Context, event: StartEvent) -> StopEvent:
            async for item in given():
                ctx.write_event_to_stream(Token(text=item))
            return StopEvent()

    handler = Streaming(timeout=30).run()
    async for event in handler.stream_events():
        if isinstance(event, Token):
            yield event.text
    await handler


async def branches(
    fast: Callable[[], Awaitable[None]],
    after_fast: Callable[[], Awaitable[None]],
    slow: Callable[[], Awaitable[None]],
) -> None:
    class Branching(Workflow):
        @step
        async def begin(self, ctx: Context, event: StartEvent) -> Fast | Slow | None:
            ctx.send_event(Fast())
            ctx.send_event(Slow())
            return None

        @step
        async def quick(self, ctx: Context, event: Fast) -> Done:
            await fast()
            await after_fast()
            return Done()

        @step
        async def late(self, ctx: Context, event: Slow) -> Done:
            await slow()
            return Done()

        @step
        async def end(self, ctx: Context, event: Done) -> StopEvent | None:
            return StopEvent() if ctx.collect_events(event, [Done, Done]) else None

    await Branching(timeout=30).run()
