"""Live: what a runtime that is at work says of itself, again and again.

Owns the shape of the picture, and how it is taken. Invariant: taking it costs the event loop no more than a
hundredth of its time; where there is more than fits, it is said how much is left out. Knows not where it is
kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from penguiflow.durations import Waits

if TYPE_CHECKING:
    from penguiflow.histogram import Windows
    from penguiflow.runtime import Runtime
    from penguiflow.snapshots import CalledFlow
    from penguiflow.statistics import RuntimeStatistics, StreamStatistics

MOST_STREAMS = 200
"""So many streams are shown."""

MOST_COUNTED = 2000
"""Where there are more streams than this, none is looked at: they would all have to be."""

MOST_CALLED = 20
"""So many flows that steps call are shown."""

MOST_RUNS = 20
"""So many runs are asked what they wait for."""

MOST_SENTENCES = 12

SHARE = 0.01
"""The part of the event loop's time that pictures may take."""

WINDOW_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class LiveNode:
    """A node, now.

    Attributes:
        path: its path.
        active: how many of its steps are at work.
        concurrency: how many may be.
        waiting: how many wait for a place.
        steps: how many were begun so far.
        rate: how many a second, since the picture before.
        p50: seconds that a step takes, the median of the last minute; ``None`` where there were none.
        p99: of a hundred steps, the slowest but one.
        failures: how many failed.
        retries: how many were tried again.
    """

    path: str
    active: int
    concurrency: int
    waiting: int
    steps: int
    rate: float
    p50: float | None
    p99: float | None
    failures: int
    retries: int


@dataclass(frozen=True, slots=True)
class LiveEdge:
    """An edge, now.

    Attributes:
        source: path of the node that gives.
        target: path of the node that takes.
        waiting: how many items wait.
        most_waiting: how many waited at most.
        capacity: how many may, per run and stream.
        offered: how many came so far.
        rate: how many a second, since the picture before.
        dropped: how many were dropped.
    """

    source: str
    target: str
    waiting: int
    most_waiting: int
    capacity: int
    offered: int
    rate: float
    dropped: int


@dataclass(frozen=True, slots=True)
class LiveStream:
    """An open stream, now; see `penguiflow.statistics.StreamStatistics`.

    ``waits`` are the seconds that it has waited so far for its source, its node and credit, and how many of
    those for its node went into failed tries.
    """

    run_id: str
    node: str
    stream_id: str
    credit: int
    window: int
    in_flight: int
    next_seq: int
    waits: tuple[float, ...] = (0.0, 0.0, 0.0)
    part: int = 0


@dataclass(frozen=True, slots=True)
class LiveFlow:
    """A flow that steps of a runtime call, now.

    Attributes:
        path: names of the flows on the way: that of the runtime, then what its steps call, to this one.
        runs: how many calls are under way.
        started: how many were begun so far.
        failed: how many failed.
        open_streams: how many streams are open, of which ``streams`` may be a part.
        nodes: its nodes.
        edges: its edges.
        streams: open streams, those without credit first.
    """

    path: tuple[str, ...]
    runs: int
    started: int
    failed: int
    open_streams: int
    nodes: tuple[LiveNode, ...]
    edges: tuple[LiveEdge, ...]
    streams: tuple[LiveStream, ...]


@dataclass(frozen=True, slots=True)
class LiveRuntime:
    """A runtime that is at work.

    Attributes:
        pid: number of its process.
        flow: name of its flow.
        at: when the picture was taken.
        silent: how many seconds ago that was.
        runs: how many runs are live.
        waiting_runs: how many wait to be admitted.
        started: how many were begun so far.
        failed: how many failed.
        open_streams: how many streams are open, of which ``streams`` may be a part.
        nodes: its nodes.
        edges: its edges.
        streams: open streams, those without credit first.
        diagnosis: run ids, with sentences that say what each waits for.
        paused_runs: how many of the live runs are paused.
        called: flows that its steps call.
        more_called: how many more of these there are.
    """

    pid: int
    flow: str
    at: float
    silent: float
    runs: int
    waiting_runs: int
    started: int
    failed: int
    open_streams: int
    nodes: tuple[LiveNode, ...]
    edges: tuple[LiveEdge, ...]
    streams: tuple[LiveStream, ...]
    diagnosis: tuple[tuple[str, tuple[str, ...]], ...]
    paused_runs: int = 0
    called: tuple[LiveFlow, ...] = ()
    more_called: int = 0


class Camera:
    """Takes pictures of one runtime.

    Args:
        number: the number of the runtime among those of the store's writer.
        clock: gives seconds; only differences count.
    """

    def __init__(self, number: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self.number: int = number
        self._clock = clock
        self._at = clock()
        self._counts: dict[Any, int] = {}
        self._rest_until = 0.0

    def take(self, runtime: Runtime) -> dict[str, Any] | None:
        """Take a picture, in plain values; ``None`` where the one before was too dear to take one again."""
        began = self._clock()
        if began < self._rest_until:
            return None
        statistics = runtime.statistics()
        seconds, self._at = max(began - self._at, 1e-6), began
        before, self._counts = self._counts, {}
        streams = _streams(runtime, statistics, MOST_STREAMS)
        called = runtime.called()
        picture = {
            "flow": statistics.flow,
            "runs": statistics.runs,
            "waiting_runs": statistics.waiting_runs,
            "paused_runs": statistics.paused,
            "started": statistics.started,
            "failed": statistics.failed,
            "open_streams": statistics.streams,
            "nodes": _nodes(runtime, statistics, partial(self._rate, None, before, seconds)),
            "edges": _edges(statistics, partial(self._rate, None, before, seconds)),
            "streams": streams,
            "called": self._called(called[:MOST_CALLED], before, seconds, len(streams)),
            "more_called": len(called[MOST_CALLED:]),
            "diagnosis": _diagnosis(runtime),
        }
        ended = self._clock()
        self._rest_until = ended + (ended - began) / SHARE
        return picture

    def _called(
        self, called: Sequence[CalledFlow], before: dict[Any, int], seconds: float, shown: int
    ) -> tuple[Any, ...]:
        """Show the flows that steps call; so many streams are shown already."""
        found = []
        for one in called:
            statistics, rate = one.statistics(), partial(self._rate, one, before, seconds)
            streams = _streams(one, statistics, MOST_STREAMS - shown)
            shown += len(streams)
            counts = (statistics.runs, statistics.started, statistics.failed, statistics.streams)
            nodes, edges = _nodes(one, statistics, rate), _edges(statistics, rate)
            found.append((one.path, *counts, nodes, edges, streams))
        return tuple(found)

    def _rate(
        self, of: CalledFlow | None, before: dict[Any, int], seconds: float, key: Any, count: int
    ) -> float:
        self._counts[of, key] = count
        return max(0.0, (count - before.get((of, key), 0)) / seconds)


Rate = Callable[[Any, int], float]


def _nodes(one: Runtime | CalledFlow, statistics: RuntimeStatistics, rate: Rate) -> tuple[Any, ...]:
    measures = one.measures()
    latencies = {node.path: node.latency for node in measures.nodes} if measures is not None else {}
    return tuple(
        (
            node.path,
            node.active,
            node.concurrency,
            node.waiting,
            node.steps,
            rate(node.path, node.steps),
            *_percentiles(latencies.get(node.path)),
            node.failures,
            node.retries,
        )
        for node in statistics.nodes
    )


def _edges(statistics: RuntimeStatistics, rate: Rate) -> tuple[Any, ...]:
    return tuple(
        (
            edge.source,
            edge.target,
            edge.waiting,
            edge.most_waiting,
            edge.capacity,
            edge.offered,
            rate((index, edge.source), edge.offered),
            edge.dropped,
        )
        for index, edge in enumerate(statistics.edges)
    )


def _percentiles(windows: Windows | None) -> tuple[float | None, float | None]:
    found = windows.window(WINDOW_SECONDS) if windows is not None else None
    if found is None or not found.count:
        return None, None
    return found.percentile(50.0), found.percentile(99.0)


def _streams(one: Runtime | CalledFlow, statistics: RuntimeStatistics, most: int) -> tuple[Any, ...]:
    if statistics.streams > MOST_COUNTED:
        return ()
    streams = sorted(one.streams(), key=lambda stream: stream.credit > 0 or not stream.window)
    return tuple(map(_stream, streams[:most]))


def _stream(one: StreamStatistics) -> tuple[Any, ...]:
    waits = one.waits if one.waits is not None else Waits()
    spent = (waits.source, waits.node, waits.credit, waits.again)
    counts = (one.credit, one.window, one.in_flight, one.next_seq)
    return (one.run_id, one.node, one.stream_id, *counts, spent, one.part)


def _diagnosis(runtime: Runtime) -> tuple[Any, ...]:
    ids = dict.fromkeys(run.id for run in islice(runtime.runs(), MOST_RUNS))
    found = [one for run_id in ids for one in runtime.diagnose(run_id)[:1]]
    return tuple((one.run_id, one.sentences[:MOST_SENTENCES]) for one in found)


def live_stream(one: Sequence[Any]) -> LiveStream:
    """Make a stream of the plain values that were kept of it.

    Raises:
        TypeError, ValueError: something is missing.
    """
    run_id, node, stream_id, credit, window, in_flight, next_seq, waits, *part = one
    source, own, late, *again = waits
    spent = (source, own, late, *again[:1])
    return LiveStream(run_id, node, stream_id, credit, window, in_flight, next_seq, spent, *part[:1])


def live_flow(one: Sequence[Any]) -> LiveFlow:
    """Make a flow that steps call of the plain values that were kept of it.

    Raises:
        TypeError, ValueError: something is missing.
    """
    path, runs, started, failed, open_streams, nodes, edges, streams = one
    shown = tuple(map(live_stream, streams))
    parts = (tuple(LiveNode(*node) for node in nodes), tuple(LiveEdge(*edge) for edge in edges), shown)
    return LiveFlow(tuple(path), runs, started, failed, open_streams, *parts)


def picture(pid: int, at: float, now: float, state: dict[str, Any]) -> LiveRuntime:
    """Make a picture of the plain values that were kept of it.

    Raises:
        KeyError, TypeError, ValueError: something is missing.
    """
    names = ("flow", "runs", "waiting_runs", "started", "failed", "open_streams")
    return LiveRuntime(
        pid=pid,
        at=at,
        silent=max(0.0, now - at),
        nodes=tuple(LiveNode(*one) for one in state["nodes"]),
        edges=tuple(LiveEdge(*one) for one in state["edges"]),
        streams=tuple(map(live_stream, state["streams"])),
        paused_runs=state.get("paused_runs", 0),  # which older versions do not tell
        called=tuple(map(live_flow, state.get("called", ()))),
        more_called=state.get("more_called", 0),
        diagnosis=tuple((run_id, tuple(sentences)) for run_id, sentences in state["diagnosis"]),
        **{name: state[name] for name in names},
    )


def seen_of(row: Any, live: dict[str, Any] | None) -> LiveStream | None:
    """Give what the latest picture has of a stream that is open, or of the work of a node on it.

    ``live`` is the picture, with the id of the run that the row belongs to as its ``run_id``.
    """
    if live is None or row["ended"] is not None or not row["stream_id"]:
        return None
    wanted = (live["run_id"], row["part"], row["node"], row["stream_id"])
    try:
        shown = chain(live["streams"], *(one[-1] for one in live.get("called", ())))
        streams = map(live_stream, shown)
        return next(
            (one for one in streams if (one.run_id, one.part, one.node, one.stream_id) == wanted), None
        )
    except (ValueError, TypeError, KeyError, IndexError):  # damaged, or of a version that says it otherwise
        return None
