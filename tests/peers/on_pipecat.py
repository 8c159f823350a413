"""How pipecat is asked: a processor that pushes a frame per item, and one at the end that is the reader."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.metadata import version

from loguru import logger
from pipecat.frames.frames import EndFrame, ErrorFrame, Frame, TextFrame
from pipecat.pipeline.parallel_pipeline import ParallelPipeline
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.workers.runner import WorkerRunner
from questions import NotThere

VERSION = version("pipecat-ai")
logger.remove()


class Reader(FrameProcessor):
    """The last processor: hands each text to whoever reads, and goes on when it was taken."""

    def __init__(self) -> None:
        super().__init__()
        self.items: asyncio.Queue[str | BaseException | None] = asyncio.Queue(maxsize=1)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TextFrame):
            await self.items.put(frame.text)
            await self.items.join()
        elif isinstance(frame, EndFrame):
            await self.items.put(None)
        await self.push_frame(frame, direction)


class Step(FrameProcessor):
    """Runs an async function when a frame reaches it, and passes on what it pushes."""

    def __init__(self, work: Callable[["Step"], Awaitable[None]]) -> None:
        super().__init__()
        self._work = work

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TextFrame):
            await self._work(self)
        else:
            await self.push_frame(frame, direction)


async def run(pipeline: Pipeline) -> tuple[PipelineWorker, "asyncio.Task[None]"]:
    worker = PipelineWorker(pipeline, cancel_on_idle_timeout=False, enable_rtvi=False)
    started = asyncio.Event()

    @worker.event_handler("on_pipeline_started")
    async def on_started(worker: PipelineWorker, frame: Frame) -> None:
        started.set()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    task = asyncio.create_task(runner.run())
    await asyncio.wait_for(started.wait(), 5)
    await worker.queue_frame(TextFrame("go"))
    return worker, task


async def stream(step: Callable[[], AsyncIterator[str]], attempts: int) -> AsyncIterator[str]:
    if attempts > 1:
        raise NotThere("has no retry")
    reader = Reader()

    async def work(processor: Step) -> None:
        async for item in step():
            await processor.push_frame(TextFrame(item))
        await worker.queue_frame(EndFrame())  # not before: a waiting EndFrame holds back cancel()

    worker, task = await run(Pipeline([Step(work), reader]))

    @worker.event_handler("on_pipeline_error")  # errors travel upstream, to the worker, and not to the reader
    async def on_error(worker: PipelineWorker, frame: ErrorFrame) -> None:
        await reader.items.put(frame.exception or RuntimeError(frame.error))

    try:
        while (item := await reader.items.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
            reader.items.task_done()
    finally:
        await worker.cancel()  # what the docs say to do when a client leaves
        await asyncio.wait([task], timeout=5)


async def branches(
    fast: Callable[[], Awaitable[None]],
    after_fast: Callable[[], Awaitable[None]],
    slow: Callable[[], Awaitable[None]],
) -> None:
    def step(work: Callable[[], Awaitable[None]]) -> Step:
        async def given(processor: Step) -> None:
            await work()
            await processor.push_frame(TextFrame("go"))

        return Step(given)

    reader = Reader()
    worker, task = await run(
        Pipeline([ParallelPipeline([step(fast), step(after_fast)], [step(slow)]), reader])
    )
    for _ in range(2):
        await reader.items.get()
        reader.items.task_done()
    await worker.cancel()
    await asyncio.wait([task], timeout=5)
