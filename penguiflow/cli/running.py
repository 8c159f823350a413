"""Run a flow and show what comes out of it, as it comes.

Leaving it by any way, Ctrl-C too, cancels what is left of the run and waits until it has ended. Knows the
public interface of a runtime and nothing of what is behind it.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import anyio

from penguiflow import Flow, FlowError, Run, Runtime, RuntimeStatistics, StreamEnded
from penguiflow.cli.errors import CommandError, UnshowableError, one_line
from penguiflow.cli.inputs import NOTHING
from penguiflow.cli.rendering import Readable, as_json
from penguiflow.cli.terminal import Output, Progress
from penguiflow.observe import Observer


def show(flow: Flow, payload: Any, *, json: bool = False, observers: Sequence[Observer] = ()) -> None:
    """Run the flow on one input, and its sources, until everything has ended.

    Args:
        payload: the input, or `NOTHING` to run the sources alone.
        json: one item per line as JSON, instead of text for people.
        observers: who is told what happens.
    """
    anyio.run(_Show(flow, json, observers).run, payload)


class _Show:
    def __init__(self, flow: Flow, json: bool, observers: Sequence[Observer]) -> None:
        self._flow = flow
        self._observers = observers
        self._readable = Readable(named=len(flow.plan.exits) > 1)
        self._render: Callable[[Any], str] = as_json if json else self._readable
        self._output = Output(sys.stdout)
        self._progress: Progress | None = None
        self._failure: Exception | None = None
        self._notes: list[str] = []

    async def run(self, payload: Any) -> None:
        """Read all runs to their ends; raise the error of the first that failed."""
        try:
            async with self._flow.open(observers=self._observers) as runtime:
                self._progress = Progress(lambda: at_work(runtime.statistics()), self._line_is_free)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._progress.keep_shown)
                    await self._read_all(runtime, payload)
                    tasks.cancel_scope.cancel()
        finally:
            sys.stdout.write(self._readable.end_line())
            sys.stdout.flush()
        for note in self._notes:
            print(f"penguiflow: {note}", file=sys.stderr)
        if self._failure is not None:
            raise self._failure

    async def _read_all(self, runtime: Runtime, payload: Any) -> None:
        async with anyio.create_task_group() as readers:
            for run in runtime.runs():
                readers.start_soon(self._read, run, readers.cancel_scope)
            if payload is not NOTHING:
                try:
                    async with runtime.run(payload) as run:
                        await self._read(run, readers.cancel_scope)
                except FlowError as error:
                    self._fail(error, readers.cancel_scope)

    async def _read(self, run: Run, others: anyio.CancelScope) -> None:
        try:
            async for event in run.events():
                if text := self._shown(event):
                    self._progress.clear() if self._progress else None
                    await self._output.write(text)
                if isinstance(event, StreamEnded) and event.terminal == "error":
                    reason = one_line(event.error) if event.error is not None else "no reason given"
                    self._notes.append(f"a stream of node {event.node} ended with an error: {reason}")
        except (FlowError, OSError, UnshowableError) as error:
            self._fail(error, others)
        statistics = run.statistics()
        if statistics.dropped:
            self._notes.append(f"{statistics.dropped} items were dropped by the edges' policies")

    def _shown(self, event: Any) -> str:
        """Give the text of an event; what a flow gives may have a `repr` of its own that fails."""
        try:
            return self._render(event)
        except Exception as error:
            why = one_line(error).removeprefix("PydanticSerializationError: Error serializing to JSON: ")
            raise UnshowableError(f"what node {event.node!r} gave can't be shown: {why}") from error

    def _fail(self, error: Exception, others: anyio.CancelScope) -> None:
        if isinstance(error.__cause__, CommandError):  # what was typed in broke the input, and that the run
            error = error.__cause__
        self._failure = self._failure or error
        self._notes.clear()
        others.cancel()

    def _line_is_free(self) -> bool:
        return self._readable.at_line_start or not sys.stdout.isatty()


def at_work(statistics: RuntimeStatistics) -> str:
    """Say in one line what a runtime is doing."""
    busy = [f"{node.path} {node.active}" for node in statistics.nodes if node.active]
    waiting = sum(edge.waiting for edge in statistics.edges)
    parts = ["at work: " + ", ".join(busy) if busy else "waiting for input"]
    if waiting:
        parts.append(f"{waiting} items waiting on edges")
    return " · ".join(parts)
