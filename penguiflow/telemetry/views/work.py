"""Work: the steps and streams of a trace as one kind of thing, and who feeds whom.

Owns how attempts become one work, and how works at a node are found by time. Invariant: all that it gives is
a pure function of the trace; what is open ends now, which is when the trace was taken. Knows no causes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite

from ..records import PartRecord, RunTrace, StepRecord, StreamRecord
from .pauses import Idle

INPUT, READER = "input", "reader"
"""Where edges of entries come from, and where those of exits go to."""

NEAR = 64
"""So many works at one node are looked at when one is wanted that was under way at some time."""

Place = tuple[int, str]
"""A node in a part."""


@dataclass(slots=True)
class Work:
    """A step or a stream, all its attempts together.

    Attributes:
        part: which part of the run it belongs to.
        node: path of the node.
        step: number of the step; 0 where it is not known.
        stream_id: its id, for a stream.
        began: when its input was there: ``queued`` seconds before its first attempt.
        ended: when it ended, or now.
        open: whether it is still under way.
        queued: how long its input waited for a place, in seconds.
        source: waiting for input, all attempts together.
        node_time: in the node's own code.
        credit: waiting for its consumer.
        again: failed attempts, also those at a chunk, and the pauses after them.
        attempts: how many it had.
        chunks: how many chunks its last attempt had, for a stream.
        paused: how much of it the run was paused.
    """

    part: int
    node: str
    step: int
    stream_id: str
    began: float
    ended: float
    open: bool = False
    queued: float = 0.0
    source: float = 0.0
    node_time: float = 0.0
    credit: float = 0.0
    again: float = 0.0
    attempts: int = 1
    chunks: int = 0
    paused: float = 0.0

    @property
    def place(self) -> Place:
        """The node and its part."""
        return self.part, self.node

    @property
    def seconds(self) -> float:
        """How long it took, its wait for a place included."""
        return max(self.ended - self.began, 0.0)

    @property
    def busy(self) -> float:
        """How much of it its node is to blame for."""
        return self.node_time + self.queued + self.again


def finite(value: float) -> float:
    """Give a number, or 0 for what is none."""
    return value if isfinite(value) else 0.0


Kept = list[StepRecord] | list[StreamRecord]


def combined(records: Kept, idle: Idle) -> Work:
    """Make one work of the attempts at a step or a stream, given in their order."""
    first, last = records[0], records[-1]
    queued = finite(first.queued) if isinstance(first, StepRecord) else 0.0
    ended = finite(idle.now if last.ended is None else last.ended)
    waits = idle.waits(last)
    work = Work(
        part=last.part,
        node=last.node,
        step=last.step,
        stream_id="" if isinstance(last, StepRecord) else last.stream_id,
        began=finite(first.started) - queued,
        ended=max(ended, finite(first.started)),
        open=last.ended is None,
        queued=idle.queued(first) if isinstance(first, StepRecord) and queued else 0.0,
        source=finite(waits.source),
        node_time=finite(waits.node),
        credit=finite(waits.credit),
        again=max(last.started - first.started - idle.within(first.started, last.started), 0.0),
        attempts=max(len(records), last.attempt),
        chunks=0 if isinstance(last, StepRecord) else last.chunks,
    )
    rows: list[StepRecord | StreamRecord] = list(records)
    for one, then in pairwise(rows):  # what a failed attempt waited for, nobody's code is to blame for
        source, credit = finite(idle.waits(one).source), finite(idle.waits(one).credit)
        spent = min(source + credit, max(then.started - one.started, 0.0), work.again)
        if spent > 0:
            share = source / (source + credit)
            work.source += spent * share
            work.credit += spent * (1 - share)
            work.again -= spent
    lost = min(finite(waits.again), work.node_time)
    work.node_time -= lost
    work.again += lost
    return work


class Works:
    """All works of a trace.

    Args:
        trace: what is kept of the run.

    A step that gives streams is told by its streams, if they were open for most of its time.
    """

    def __init__(self, trace: RunTrace) -> None:
        self.now: float = finite(trace.summary.started) + max(finite(trace.summary.seconds), 0.0)
        self.idle: Idle = Idle(trace, self.now)
        self.parts: dict[int, PartRecord] = {part.part: part for part in trace.parts}
        self.calls: dict[tuple[int, int], list[PartRecord]] = defaultdict(list)
        for part in trace.parts:
            if part.caller is not None:
                self.calls[part.caller].append(part)
        self.callers: dict[tuple[int, int], Place] = {
            (step.part, step.step): (step.part, step.node)
            for step in trace.steps
            if (step.part, step.step) in self.calls
        }
        self.before: dict[Place, list[str]] = defaultdict(list)
        self.after: dict[Place, list[str]] = defaultdict(list)
        for part in trace.parts:
            for source, target in part.edges:
                self.after[part.part, source].append(target)
                self.before[part.part, target].append(source)
        self._at: dict[Place, list[Work]] = defaultdict(list)
        self._named: dict[tuple[int, str, str], list[Work]] = defaultdict(list)
        self._fill(trace)
        self._starts: dict[Place, list[float]] = {}
        self._latest: dict[Place, list[int]] = {}
        for place, works in self._at.items():
            works.sort(key=lambda work: (work.began, work.ended))
            self._starts[place] = [work.began for work in works]
            best, latest = 0, []
            for index, work in enumerate(works):
                best = index if work.ended > works[best].ended else best
                latest.append(best)
            self._latest[place] = latest

    def _fill(self, trace: RunTrace) -> None:
        steps: dict[tuple[int, int, str], list[StepRecord]] = defaultdict(list)
        for step in trace.steps:
            steps[step.part, step.step, step.node].append(step)
        streams: dict[tuple[int, int, str, str], list[StreamRecord]] = defaultdict(list)
        for stream in trace.streams:
            streams[stream.part, stream.step, stream.node, stream.stream_id].append(stream)
        told: set[tuple[int, int, str]] = set()
        for (part, number, node, _), attempts in streams.items():
            work = combined(sorted(attempts, key=lambda one: one.attempt), self.idle)
            giver = steps.get((part, number, node))
            if giver is not None and _led(work, combined(_in_order(giver), self.idle), self.idle):
                told.add((part, number, node))
            self._add(work)
        for key, tried in steps.items():
            on_stream = tried[0].stream_id
            shown = on_stream is not None and (key[0], key[2], on_stream) in self._named
            if key not in told and not shown:
                self._add(combined(_in_order(tried), self.idle))

    def _add(self, work: Work) -> None:
        work.paused = self.idle.within(work.began, work.ended)
        whole = work.seconds - work.paused
        missing = whole - work.source - work.credit - work.busy
        if missing > 0.02 * work.seconds:  # still under way, and nobody has said yet where its time goes
            fed = work.open and work.chunks > 0 and self.before_of(work)
            work.source += missing if fed else 0.0
            work.node_time += 0.0 if fed else missing
        elif missing < 0:  # what does not fit together is made to
            fits = whole / (whole - missing)
            work.source, work.node_time = work.source * fits, work.node_time * fits
            work.credit, work.queued, work.again = work.credit * fits, work.queued * fits, work.again * fits
        self._at[work.place].append(work)
        if work.stream_id:
            self._named[work.part, work.node, work.stream_id].append(work)

    def before_of(self, work: Work) -> list[str]:
        """Give the nodes that feed a work's node."""
        return self.before.get(work.place, [])

    def of(self, part: int, nodes: Iterable[str] | None = None) -> list[Work]:
        """Give all works of a part, or those of some of its nodes."""
        wanted = None if nodes is None else set(nodes)
        return [
            work
            for place, works in self._at.items()
            if place[0] == part and (wanted is None or place[1] in wanted)
            for work in works
        ]

    def at(self, place: Place) -> list[Work]:
        """Give all works at a node, as they began."""
        return self._at.get(place, [])

    def behind(self, place: Place, forward: bool) -> list[Place]:
        """Give the nearest nodes that feed a node, or follow it; one that left no works is passed by."""
        ways = self.after if forward else self.before
        found: list[Place] = []
        seen, todo = {place[1]}, list(reversed(ways.get(place, [])))
        while todo:
            name = todo.pop()
            if name in seen and name != place[1]:
                continue
            seen.add(name)
            if self.at((place[0], name)) or name == READER:
                found.append((place[0], name))
            elif name != place[1]:
                todo += reversed(ways.get((place[0], name), []))
        return list(dict.fromkeys(found))

    def last_before(self, places: Iterable[Place], limit: float) -> Work | None:
        """Give the work that began before a moment and was under way last until then."""
        best: Work | None = None
        for place in places:
            count = bisect_left(self._starts.get(place, []), limit)
            if not count:
                continue
            work = self._at[place][self._latest[place][count - 1]]
            if best is None or (min(work.ended, limit), work.ended) > (min(best.ended, limit), best.ended):
                best = work
        return best

    def beside(self, work: Work, places: Iterable[Place]) -> list[Work]:
        """Give works at some nodes that were under way beside a work; if there are, those of its stream."""
        places = list(places)
        if work.stream_id:
            same = [one for part, node in places for one in self._named.get((part, node, work.stream_id), [])]
            if same:
                return same
        found: list[Work] = []
        for place in places:
            works = self._at.get(place, [])
            count = bisect_left(self._starts.get(place, []), work.ended)
            near = works[max(count - NEAR, 0) : count]
            found += [one for one in near if one.ended > work.began and one is not work]
        return found


def _in_order(steps: list[StepRecord]) -> list[StepRecord]:
    return sorted(steps, key=lambda one: one.attempt)


def _led(stream: Work, step: Work, idle: Idle) -> bool:
    """Let a stream tell its step's story too: what was before it was opened. Say whether it can."""
    ahead = stream.began - step.began - idle.within(step.began, stream.began)
    own, all_of_it = (work.seconds - idle.within(work.began, work.ended) for work in (stream, step))
    if stream.began < step.began or own < all_of_it / 2:
        return False
    lead = max(ahead - step.queued - step.again, 0.0)
    source = min(max(step.source - stream.source, 0.0), lead)
    stream.source += source
    stream.node_time += lead - source
    stream.queued = min(step.queued, ahead)
    stream.again += min(step.again, ahead - stream.queued)
    stream.began = step.began
    stream.attempts = max(stream.attempts, step.attempts)
    return True
