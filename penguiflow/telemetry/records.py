"""Records: what a trace store keeps of a run, and what the views of it are made from.

Owns their shape. Invariant: a record is plain data; all times are seconds since the epoch, durations seconds.
What is still under way has no end. Knows neither how records are stored nor how they are shown.
"""

from __future__ import annotations

from dataclasses import dataclass

from penguiflow.durations import Waits

UNDER_WAY = ("running", "paused")
"""How runs stand that are not over."""


@dataclass(frozen=True, slots=True)
class EventRecord:
    """Something that happened in a step: a retry, a drop, what the node's code has said.

    Attributes:
        at: when.
        name: ``retry``, of a chunk; ``retries``, at the first of these, for how many there were in all;
            ``drop``; or the node's own word.
        attributes: what is said about it.
    """

    at: float
    name: str
    attributes: dict[str, object]


@dataclass(frozen=True, slots=True)
class ErrorRecord:
    """An error, with what caused it.

    Attributes:
        kind: its class.
        text: what it says.
        causes: its causes, from the nearest to the first, as ``Class: text``.
        where: ``file:line in function`` of the node's code that raised it, where that is known.
    """

    kind: str
    text: str
    causes: tuple[str, ...] = ()
    where: str = ""


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One attempt at a step.

    Attributes:
        part: which part of the run it belongs to, 0 for the run itself.
        step: its number in the part.
        node: path of the node.
        attempt: counted from 1.
        stream_id: the stream that it works on chunk by chunk, if it does.
        started: when it began.
        ended: when it ended; ``None`` while it is under way.
        queued: how long its input had waited for it, in seconds.
        outcome: ``done``, ``error`` or ``cancelled``; empty while it is under way.
        waits: where its time went.
        error: what it failed with.
        events: what happened in it.
    """

    part: int
    step: int
    node: str
    attempt: int
    stream_id: str | None
    started: float
    ended: float | None
    queued: float
    outcome: str
    waits: Waits
    error: ErrorRecord | None = None
    events: tuple[EventRecord, ...] = ()

    @property
    def retries(self) -> int:
        """How often a chunk was tried again in it; not all of these are among its events."""
        counts = [event.attributes.get("retries") for event in self.events if event.name == "retries"]
        kept = sum(event.name == "retry" for event in self.events)
        return max([kept, *(count for count in counts if isinstance(count, int))])


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """One attempt at a stream.

    Attributes:
        part: which part of the run it belongs to.
        step: the step that gives it; 0 for a run's input.
        node: path of the node that gives it.
        stream_id: its id.
        attempt: counted from 1.
        started: when it was opened.
        ended: when it ended; ``None`` while it is open.
        terminal: ``done``, ``error``, ``cancelled`` or ``expired``; ``restarted`` where another attempt
            followed; empty while it is open.
        chunks: how many chunks it had.
        bytes: their size, where it is known.
        gaps: how many numbers were skipped.
        drops: how many chunks a policy dropped.
        first_chunk: seconds until its first chunk.
        waits: where its time went.
        timeline: seconds per part, and for each part the seconds of source, node and credit and the number of
            chunks.
        error: what it failed with.
    """

    part: int
    step: int
    node: str
    stream_id: str
    attempt: int
    started: float
    ended: float | None
    terminal: str
    chunks: int
    bytes: int | None
    gaps: int
    drops: int
    first_chunk: float | None
    waits: Waits
    timeline: tuple[float, tuple[tuple[float, ...], ...]] | None = None
    error: ErrorRecord | None = None


@dataclass(frozen=True, slots=True)
class PartRecord:
    """A run, or what one of its steps called.

    Attributes:
        part: 0 for the run itself.
        flow: name of the flow.
        caller: part and number of the step that called; ``None`` for the run itself.
        started: when it began.
        ended: when it ended; ``None`` while it is under way.
        status: how it ended; ``running`` while it is under way.
        nodes: paths of the flow's nodes.
        edges: its edges, as source and target; the source of an entry is ``input``, the target of an exit
            ``reader``.
        error: what it failed with.
    """

    part: int
    flow: str
    caller: tuple[int, int] | None
    started: float
    ended: float | None
    status: str
    nodes: tuple[str, ...]
    edges: tuple[tuple[str, str], ...]
    error: ErrorRecord | None = None


@dataclass(frozen=True, slots=True)
class PauseRecord:
    """A time in which the run, or a part of it, was paused.

    Attributes:
        part: which part of the run it was, 0 for the run itself.
        started: when it was paused.
        ended: when it was resumed, or ended as it was; ``None`` while it is paused.
    """

    part: int
    started: float
    ended: float | None


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One line of the list of runs.

    Attributes:
        run_id: its id.
        flow: name of the flow.
        trace_id: its trace.
        status: how it ended; ``running`` or ``paused`` while it is under way, ``lost`` where the process that
            had it is gone.
        started: when it began: when it was admitted.
        seconds: how long it took, or takes so far.
        tenant: on whose behalf, where that is known.
        steps: how many attempts at steps it had.
        streams: how many streams.
        error: one line, where it failed.
        read: how many seconds after its end the reader had taken the last of it; 0 where that was at once, or
            did not happen.
        waited: how many seconds it had waited before, to be admitted; 0 where there was room for it.
    """

    run_id: str
    flow: str
    trace_id: str
    status: str
    started: float
    seconds: float
    tenant: str | None
    steps: int
    streams: int
    error: str
    read: float = 0.0
    waited: float = 0.0


@dataclass(frozen=True, slots=True)
class RunTrace:
    """All that is kept of a run.

    Attributes:
        summary: the run in one line.
        parts: the run itself, then what its steps called.
        steps: attempts at steps, as they began.
        streams: attempts at streams, as they were opened.
        left_out: how many records of it were not kept, for want of room.
        diagnosis: what its process said last of what it waits for; nothing where it has ended.
        pauses: when it was paused, the first first.
    """

    summary: RunSummary
    parts: tuple[PartRecord, ...]
    steps: tuple[StepRecord, ...]
    streams: tuple[StreamRecord, ...]
    left_out: int = 0
    diagnosis: tuple[str, ...] = ()
    pauses: tuple[PauseRecord, ...] = ()
