"""Books: a ledger for flows that a test runs once, with what was told and what came of it.

Owns nothing but the convenience: what is right, the `ledger` knows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from penguiflow import Flow, FlowError

from .ledger import Ledger

Read = Callable[[Any], Awaitable[Any]]


class Books(Ledger):
    """A ledger that keeps the events as well."""

    def __init__(self, **options: bool) -> None:
        super().__init__(**{"timelines": True, "measures": True, **options})
        self.events: list[Any] = []

    def observe(self, event: Any) -> None:
        self.events.append(event)
        super().observe(event)

    def of(self, name: str, node: str | None = None) -> list[Any]:
        found = [event for event in self.events if type(event).__name__ == name]
        return [event for event in found if node is None or event.node == node]

    def outcomes(self) -> dict[str, str]:
        """Give how the last step of each node ended."""
        return {event.node: event.outcome for event in self.of("StepEnded")}

    def stream(self, node: str) -> Any:
        (ended,) = self.of("StreamEnded", node)
        return ended


async def result(run: Any) -> Any:
    """Read it all."""
    return await run.result()


async def watched(
    flow: Flow, payload: Any, read: Read = result, *, deadline: float | None = None, **options: Any
) -> Books:
    """Run a flow, and see that the books are right; what the run raises is kept as `Books.error`."""
    books = Books(gives_up=options.pop("gives_up", False))
    async with flow.open(observers=[books], **options) as runtime:
        async with runtime.run(payload, deadline=deadline) as run:
            try:
                books.result = await read(run)
                books.error = None
            except FlowError as error:
                books.error = error
    assert books.left() == []
    return books


async def anything(run: Any) -> None:
    """Read it, whatever comes of it."""
    try:
        await run.result()
    except FlowError:
        return
