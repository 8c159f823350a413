"""Statistics: frozen snapshots, taken when asked for.

Owns their shape. Invariant: a snapshot never changes, and taking one changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from .durations import Waits
from .items import Drop, Terminal
from .lifecycle import Status
from .station import NodeStatistics

__all__ = ["EdgeStatistics", "NodeStatistics", "RunStatistics", "RuntimeStatistics", "StreamStatistics"]


@dataclass(frozen=True, slots=True)
class EdgeStatistics:
    """What has passed an edge, in all runs: ``offered == delivered + dropped + waiting``, always.

    Attributes:
        source: path of the node that gives.
        target: path of the node that takes.
        capacity: how many items may wait, per run and (of chunks) per stream.
        waiting: how many wait now, in all.
        most_waiting: how many waited at most, in all.
        offered: how many were accepted to wait, or dropped.
        delivered: how many were handed to the node.
        dropped: how many a policy dropped, or were let go with their run.
    """

    source: str
    target: str
    capacity: int
    waiting: int
    most_waiting: int
    offered: int
    delivered: int
    dropped: int


@dataclass(frozen=True, slots=True)
class StreamStatistics:
    """A stream that is open.

    Attributes:
        run_id: its run.
        node: path of the node that gives it.
        stream_id: its id.
        attempt: which attempt it is at, counted from 1.
        next_seq: the number that its next chunk gets.
        window: how many chunks may be in flight; 0 where they ride on the credit of a stream before it.
        credit: how many may still be sent.
        in_flight: how many are out.
        terminal: how it ended, ``None`` while it is open.
        waits: where its time went so far; ``None`` where nobody observes the run.
        part: which part of the run it belongs to: 0, or the number of what a step calls; 0 too where nobody
            observes the run.
    """

    run_id: str
    node: str
    stream_id: str
    attempt: int
    next_seq: int
    window: int
    credit: int
    in_flight: int
    terminal: Terminal | None
    waits: Waits | None = None
    part: int = 0


@dataclass(frozen=True, slots=True)
class RunStatistics:
    """A run.

    Attributes:
        id: its id.
        status: how it stands.
        detached: it was begun by `Runtime.start`, and has no scope.
        read: somebody has begun to read it.
        window: how much each of its streams may have in flight.
        waiting_for_reader: how many items nobody has taken yet.
        messages: how many messages wait or are at work.
        streams: how many streams are open.
        credit_out: how many credits are not home.
        busy_steps: how many steps are in the nodes' code or wait in it.
        drops: the latest reports of dropped data, at most 1,000.
        dropped: how much data was dropped in all.
        retries: how many attempts were repeated.
        gaps: how many numbers were skipped.
    """

    id: str
    status: Status
    detached: bool
    read: bool
    window: int
    waiting_for_reader: int
    messages: int
    streams: int
    credit_out: int
    busy_steps: int
    drops: tuple[Drop, ...]
    dropped: int
    retries: int
    gaps: int


@dataclass(frozen=True, slots=True)
class RuntimeStatistics:
    """A runtime, or a flow that its steps call.

    Attributes:
        flow: the name of the flow.
        runs: how many runs are live.
        unread: how many of these are detached and nobody has begun to read them.
        paused: how many of these are paused.
        waiting_runs: how many wait for admission.
        started: how many were admitted.
        interrupted: how many left memory, to go on from the journal when they have their answers.
        done: how many ended by themselves.
        failed: how many ended with an error.
        cancelled: how many were cancelled.
        expired: how many took longer than their deadline.
        messages: how many messages wait or are at work, in all runs.
        streams: how many streams are open, in all runs.
        credit_out: how many credits are not home, in all runs.
        places_taken: how many places at nodes are taken.
        workers: how many tasks the runtime has.
        observer_errors: how many observers failed and were silenced.
        nodes: each node.
        edges: each edge.
    """

    flow: str
    runs: int
    unread: int
    paused: int
    waiting_runs: int
    started: int
    interrupted: int
    done: int
    failed: int
    cancelled: int
    expired: int
    messages: int
    streams: int
    credit_out: int
    places_taken: int
    workers: int
    observer_errors: int
    nodes: tuple[NodeStatistics, ...]
    edges: tuple[EdgeStatistics, ...]
