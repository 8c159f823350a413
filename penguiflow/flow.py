"""Flows: the immutable blueprint, and how it is opened.

Owns the public `Flow`. Invariant: a flow never changes and holds nothing of a run, so it can be opened many
times, also at once, on different event loops.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import Any

from .draw import dot, mermaid, svg
from .errors import GraphError
from .given import check_observers
from .graph import Plan
from .items import Chunk, Headers, Message
from .journal import Journal
from .node import Node, node
from .observe import Observer
from .options import Options
from .payloads import Migrate
from .plan import build_plan
from .run import Run, RunScope
from .runtime import Runtime
from .wiring import Wirable, part_name


class Flow(Wirable):
    """A checked graph of nodes.

    Args:
        name: what it is called.
        wires: nodes, and what ``>>`` makes of them; wires that share nodes are one graph.

    Raises:
        GraphError: something is wrong with the graph; the text names the nodes and the remedy.
    """

    __slots__ = ("name", "plan", "wires")

    name: str
    plan: Plan
    wires: tuple[Any, ...]

    def __init__(self, name: str, *wires: Any) -> None:
        if not isinstance(name, str) or not name:
            raise GraphError(f'Flow({_shown(name)}, …): a flow has a name first; write: Flow("name", …)')
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "wires", wires)
        object.__setattr__(self, "plan", build_plan(name, wires))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{self!r} can't be changed; build another one")

    def named(self, name: str) -> Flow:
        """Give the same flow under another name, for using it twice in one flow."""
        return Flow(name, *self.wires)

    def open(
        self,
        *,
        window: int = 128,
        window_bytes: int | None = None,
        sizer: Callable[[Any], int] | None = None,
        max_runs: int | None = None,
        hop_limit: int = 1000,
        cleanup_timeout: float = 1.0,
        observers: Sequence[Observer] = (),
        watchdog: float | None = None,
        journal: Journal | None = None,
        recover: bool = True,
        migrate: Migrate | None = None,
    ) -> Runtime:
        """Open the flow: ``async with flow.open() as runtime``. Leaving aborts what still runs.

        Args:
            window: how many chunks of a stream (or emitted messages of a step) may be in flight.
            window_bytes: how many bytes of them, as well.
            sizer: how many bytes a payload has, a whole number; by default the length of bytes, of a str in
                UTF-8, else of its JSON.
            max_runs: how many runs may be live; further ones wait in order. ``None``: any number.
            hop_limit: how often the messages of one run may pass feedback edges.
            cleanup_timeout: how many seconds the cleanup of a cancelled step may wait.
            observers: who is told what happens.
            watchdog: a run that makes no progress for so many seconds is told of in the log, once, with what
                it waits for (see `Runtime.diagnose`). ``None``: none is.
            journal: where runs become durable (`penguiflow.journals`): a run that is cut off is taken up
                again, and what is finished of it is not done again. ``None``: nowhere.
            recover: with a journal, take up the unfinished runs of this flow that nobody owns, now and as
                long as it is open.
            migrate: is given the path of a node (``"input"`` for what a run was begun with) and the JSON of a
                payload that was written for another type than is declared now, and gives JSON that fits.

        Raises:
            ValueError: an option is out of range, or an observer is given twice.
            TypeError: an observer, the journal, ``recover`` or ``migrate`` is no such thing, or an observer's
                ``observe`` is async.
        """
        watchers = check_observers(observers)
        limits = (window, window_bytes, sizer, max_runs, hop_limit, cleanup_timeout)
        options = Options(*limits, watchers, watchdog, journal, recover, migrate)
        return Runtime(self, options)

    async def call(
        self,
        payload: Any,
        *,
        headers: Headers | None = None,
        deadline: float | None = None,
        run_id: str | None = None,
        meta: dict[str, Any] | None = None,
        to: str | None = None,
    ) -> Any:
        """Open the flow for one run and give its result; see `Run.result`.

        If cancelled, the run is cancelled too.
        """
        async with self.open() as runtime:
            return await runtime.call(
                payload, headers=headers, deadline=deadline, run_id=run_id, meta=meta, to=to
            )

    def stream(
        self,
        payload: Any,
        *,
        headers: Headers | None = None,
        deadline: float | None = None,
        run_id: str | None = None,
        meta: dict[str, Any] | None = None,
        to: str | None = None,
    ) -> FlowStream:
        """Open the flow for one run: ``async with flow.stream(payload) as chunks``, then ``async for``."""
        runtime = self.open()
        scope = runtime.run(payload, headers=headers, deadline=deadline, run_id=run_id, meta=meta, to=to)
        return FlowStream(runtime, scope)

    @staticmethod
    def as_flow(target: Any) -> Flow:
        """Make a flow of a node or a function, if it is none already."""
        if isinstance(target, Flow):
            return target
        made = target if isinstance(target, Node) else node(target)
        return Flow(made.name, made)

    # -- drawings

    def mermaid(self) -> str:
        """Draw the flow as Mermaid text; the same in every process."""
        return mermaid(self.plan)

    def dot(self) -> str:
        """Draw the flow as DOT text; the same in every process."""
        return dot(self.plan)

    def svg(self) -> str:
        """Draw the flow as an SVG picture."""
        return svg(self.plan)

    def _repr_svg_(self) -> str:
        return self.svg()

    def __repr__(self) -> str:
        return f"<flow {self.name}: {len(self.plan.sites) - 1} nodes, {len(self.plan.edges)} edges>"


def _shown(name: object) -> str:
    return part_name(name) if callable(name) else repr(name)


class FlowStream:
    """One run of a flow that is opened for it."""

    __slots__ = ("_runtime", "_scope")

    def __init__(self, runtime: Runtime, scope: RunScope) -> None:
        self._runtime = runtime
        self._scope = scope

    async def __aenter__(self) -> AsyncIterator[Message[Any] | Chunk[Any]]:
        """Open the flow and begin the run. If cancelled, nothing was begun."""
        await self._runtime.__aenter__()
        try:
            run: Run = await self._scope.__aenter__()
        except BaseException:
            await self._runtime.__aexit__(None, None, None)
            raise
        return aiter(run)

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the run, and close. If cancelled, both happen all the same."""
        try:
            await self._scope.__aexit__(kind, exc, trace)
        finally:
            await self._runtime.__aexit__(kind, exc, trace)
