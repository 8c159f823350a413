"""Recording: what a trace store keeps in memory of a run while it is under way.

Owns runs, the attempts at steps and at streams that are open, pauses and plans, and how they become rows.
Invariant: a row is whole, so that writing it again changes nothing; of a run that is over, nothing is left
here.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from penguiflow.durations import StreamTiming, Waits
from penguiflow.items import StreamOpened
from penguiflow.observe import RunPaused, RunStarted, StepRetried, StepStarted

from ..records import ErrorRecord
from .coding import pack_timeline
from .own_span import OwnSpan
from .raised import brief

if TYPE_CHECKING:
    from penguiflow.graph import Plan

Row = tuple[Any, ...]


class OpenStep:
    """An attempt at a step that is under way.

    Args:
        started: what was told of its beginning.
        said: where it is kept what is said of it.
    """

    __slots__ = ("again", "at", "attempt", "drops", "node", "part", "queued", "said", "step", "stream_id")

    def __init__(self, started: StepStarted, said: OwnSpan) -> None:
        self.part: int = started.part
        self.step: int = started.step
        self.attempt: int = started.attempt
        self.node: str = started.node
        self.stream_id: str | None = started.stream_id
        self.queued: float = started.queued
        self.at: float = started.at
        self.said: OwnSpan = said
        self.drops: dict[tuple[str, str], dict[str, Any]] | None = None
        self.again: dict[str, Any] | None = None

    def retried(self, run: OpenRun, event: StepRetried) -> None:
        """Keep that a chunk is tried again: when, and, since there may be very many, how many there were."""
        at, error = run.epoch(event.at), brief(event.error)
        if self.again is None:
            self.again = {"chunks": 0, "retries": 0, "error": ""}
            self.said.keep(at, "retries", self.again)
        self.again["chunks"] += event.attempt == 2
        self.again["retries"] += 1
        self.again["error"] = error
        self.said.keep(at, "retry", {"seq": event.seq, "attempt": event.attempt, "error": error})

    def row(
        self,
        run: OpenRun,
        ended: float | None = None,
        outcome: str = "",
        waits: Waits | None = None,
        error: ErrorRecord | None = None,
    ) -> Row:
        """Give it as it stands; without an end while it is under way."""
        return (
            run.key,
            self.part,
            self.step,
            self.attempt,
            self.node,
            self.stream_id,
            run.epoch(self.at),
            ended if ended is None else run.epoch(ended),
            self.queued,
            outcome,
            waits.source if waits is not None else 0.0,
            waits.node if waits is not None else 0.0,
            waits.credit if waits is not None else 0.0,
            (waits.again or None) if waits is not None else None,  # most have none: it would take room
            error,
            (self.said.told(run.epoch(self.at)) or None) if ended is not None else None,
        )


class OpenStream:
    """An attempt at a stream that is under way."""

    __slots__ = ("at", "attempt", "node", "number", "part", "step", "stream_id")

    def __init__(self, opened: StreamOpened, node: str, number: int) -> None:
        self.number: int = number
        self.part: int = opened.part
        self.step: int = opened.step
        self.node: str = node
        self.stream_id: str = opened.stream_id
        self.attempt: int = opened.attempt
        self.at: float = opened.at

    def row(
        self,
        run: OpenRun,
        ended: float | None = None,
        terminal: str = "",
        timing: StreamTiming | None = None,
        counts: tuple[int, int] = (0, 0),
        error: ErrorRecord | None = None,
    ) -> Row:
        """Give it as it stands; ``counts`` are its chunks and gaps."""
        waits = timing.waits if timing is not None else Waits()
        return (
            run.key,
            self.number,
            self.part,
            self.step,
            self.node,
            self.stream_id,
            self.attempt,
            run.epoch(self.at),
            ended if ended is None else run.epoch(ended),
            terminal,
            counts[0],
            timing.bytes if timing is not None else None,
            counts[1],
            timing.drops if timing is not None else 0,
            timing.first_chunk if timing is not None else None,
            waits.source,
            waits.node,
            waits.credit,
            waits.again or None,
            pack_timeline(timing.timeline) if timing is not None else None,
            error,
        )


class OpenPart:
    """A flow that a step of the run has called."""

    __slots__ = ("at", "caller", "flow", "part")

    def __init__(self, started: RunStarted) -> None:
        self.part: int = started.part
        self.caller: tuple[int, int] = started.caller or (0, 0)
        self.flow: str = started.flow
        self.at: float = started.at

    def row(
        self,
        run: OpenRun,
        ended: float | None = None,
        status: str = "running",
        error: ErrorRecord | None = None,
    ) -> Row:
        """Give it as it stands."""
        return (
            run.key,
            self.part,
            self.flow,
            *self.caller,
            run.epoch(self.at),
            ended if ended is None else run.epoch(ended),
            status,
            error,
        )


class OpenPause:
    """A run, or a part of one, that is paused."""

    __slots__ = ("at", "number", "part")

    def __init__(self, paused: RunPaused, number: int) -> None:
        self.number: int = number
        self.part: int = paused.part
        self.at: float = paused.at

    def row(self, run: OpenRun, ended: float | None = None) -> Row:
        """Give it as it stands."""
        over = ended if ended is None else run.epoch(ended)
        return (run.key, self.number, self.part, run.epoch(self.at), over)


class OpenRun:
    """A run that is under way.

    Args:
        key: what it is called in the store.
        process: the name of the process there.
        started: what was told of its beginning.
        offset: seconds from the clock of its event loop to the time of day.
        plan: the name of its flow's plan in the store; empty where it is not known.
    """

    __slots__ = (
        "at",
        "flow",
        "key",
        "left_out",
        "offset",
        "outer",
        "parts",
        "pauses",
        "plan",
        "process",
        "records",
        "run_id",
        "state",
        "steps",
        "steps_count",
        "streams",
        "streams_count",
        "tenant",
        "trace_id",
        "waited",
    )

    def __init__(self, key: int, process: str, started: RunStarted, offset: float, plan: str) -> None:
        state = started.headers.extra.get("tracestate") if started.parent else None
        tenant = started.headers.tenant
        self.key: int = key
        self.process: str = process
        self.run_id: str = started.run_id
        self.flow: str = started.flow
        self.trace_id: str = started.trace_id
        self.tenant: str | None = str(tenant) if tenant is not None else None
        self.state: str = state if isinstance(state, str) else ""
        self.plan: str = plan
        self.at: float = started.at
        self.waited: float = started.waited
        self.offset: float = offset
        self.outer: Any = None
        self.records: int = 0
        self.left_out: int = 0
        self.steps_count: int = 0
        self.streams_count: int = 0
        self.steps: dict[tuple[int, int], OpenStep] = {}
        self.streams: dict[tuple[int, str, str], OpenStream] = {}
        self.parts: dict[int, OpenPart] = {}
        self.pauses: dict[int, OpenPause] = {}  # of each part, the one that is not over

    def epoch(self, at: float) -> float:
        """Give the time of day of a moment on the clock of the event loop."""
        return at + self.offset

    def row(
        self, ended: float | None = None, status: str = "running", error: ErrorRecord | None = None
    ) -> Row:
        """Give it as it stands; it has not been read to its end."""
        return (
            self.key,
            self.process,
            self.run_id,
            self.flow,
            self.trace_id,
            self.tenant,
            self.epoch(self.at),
            ended if ended is None else self.epoch(ended),
            status,
            self.steps_count,
            self.streams_count,
            self.left_out,
            self.plan or None,
            error,
            self.waited,
            0.0,
        )


def plan_row(plan: Plan) -> Row:
    """Give the nodes and edges of a flow, under a name that is theirs alone."""
    nodes = tuple(site.key for site in plan.sites if site is not plan.root)
    edges = [(edge.source.key, edge.target.key) for edge in plan.edges]
    edges += [(site.key, "reader") for site in plan.exits]
    name = hashlib.sha256(repr((plan.name, nodes, edges)).encode("utf-8", "backslashreplace")).hexdigest()[
        :16
    ]
    return (name, nodes, tuple(edges))
