"""Blame: where the time of a run went, found by walking back from what its reader got last.

Owns the walk. Invariant: it goes back in time with each step, so it ends on any graph; what it charges adds
up to no more than the run took. Knows no words.

At each work on the way, its waits say whom to charge: the node's own time is charged to the node (or to what
it calls), time without credit to the first busy consumer downstream or else to the reader, time without input
to what was under way upstream just then. For what was before a work began, the work it came from is asked.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from math import inf
from typing import Literal

from ..records import PartRecord
from .work import INPUT, READER, Place, Work, Works

Kind = Literal["node", "queue", "again", "source", "reader", "unread", "unknown"]
Via = Literal["end", "came", "fed", "taken", "called"]

THE_READER: Place = (0, READER)

DEEPEST = 40
"""So deep calls of flows are followed."""

LEAST = 1e-7
"""Shorter waits are not looked into, in seconds."""


@dataclass(slots=True)
class Hop:
    """One work on the way back.

    Attributes:
        via: how it was come to: as the ``end`` of what the reader got; as what a work ``came`` from, was
            ``fed`` by or was ``taken`` by; or ``called`` by it.
        work: what was looked at; ``None`` for the reader and for a node that has taken nothing.
        place: its node.
    """

    via: Via
    work: Work | None
    place: Place


@dataclass(slots=True)
class Charge:
    """What is charged to one node, or to the reader.

    Attributes:
        seconds: by kind.
        most: the work that explains the largest single charge of each kind, and how much of it.
    """

    seconds: dict[Kind, float] = field(default_factory=lambda: defaultdict(float))
    most: dict[Kind, tuple[float, Work]] = field(default_factory=dict)

    @property
    def total(self) -> float:
        """All kinds together."""
        return sum(self.seconds.values())

    @property
    def kind(self) -> Kind:
        """The kind that is charged most."""
        return max(self.seconds, key=lambda kind: self.seconds[kind])


class Blame:
    """The walk through one run.

    Args:
        works: its works.

    Attributes:
        charges: what is charged to whom.
        hops: the way, each node once, from the reader on.
    """

    def __init__(self, works: Works) -> None:
        self.works: Works = works
        self.charges: dict[Place, Charge] = defaultdict(Charge)
        self.hops: list[Hop] = []
        self._passed: set[Place] = set()
        self._walked: set[int] = set()
        if 0 in works.parts:
            self._walk_part(works.parts[0], None, 0)

    def _charge(self, place: Place, kind: Kind, seconds: float, work: Work) -> None:
        if not 0 < seconds < inf:
            return
        charge = self.charges[place]
        charge.seconds[kind] += seconds
        if seconds > charge.most.get(kind, (0.0, work))[0]:
            charge.most[kind] = (seconds, work)

    def _time(self, start: float, end: float) -> float:
        """Say how long it is from one moment to another, without the time that the run was paused."""
        return max(end - start - self.works.idle.within(start, end), 0.0)

    def _pass(self, via: Via, work: Work | None, place: Place) -> None:
        if place not in self._passed:
            self._passed.add(place)
            self.hops.append(Hop(via, work, place))

    # -- back in time

    def _walk_part(self, part: PartRecord, budget: float | None, depth: int) -> None:
        """Walk through a part; ``budget`` is how much of its caller's time is to be explained."""
        self._walked.add(part.part)
        ended = self.works.now if part.ended is None else part.ended
        whole = self._time(part.started, ended)
        scale = 1.0 if budget is None or whole <= 0 else min(budget / whole, 1.0)
        work = self._exit(part)
        if work is None:
            return
        self._pass("end" if not depth else "called", work, work.place)
        tail = min(self._time(work.ended, ended), whole)
        self._charge(self._reader(part.part), "reader", tail * scale, work)
        limit = min(work.ended, ended)
        while True:
            limit = self._explain(work, limit, scale, depth)
            places = self.works.behind(work.place, forward=False)
            came = self.works.last_before(places, limit) if limit - part.started > LEAST else None
            if came is None:
                self._charge_beginning(work, self._time(part.started, limit) * scale)
                return
            self._charge(work.place, "unknown", self._time(came.ended, limit) * scale, work)
            self._pass("came", came, came.place)
            work, limit = came, min(limit, came.ended)

    def _charge_beginning(self, work: Work, seconds: float) -> None:
        """Charge what was before the first work of all: its input had not come, if nothing else feeds it."""
        feeders = self.works.before.get(work.place, [])
        if INPUT in feeders:
            self._charge((work.part, INPUT), "source", seconds, work)
        elif feeders:
            self._charge(work.place, "unknown", seconds, work)
        else:
            self._charge(work.place, "source", seconds, work)

    def _exit(self, part: PartRecord) -> Work | None:
        """Give what the reader of a part got last; if that was long before the end, what was at work then."""
        exits = [source for source, target in part.edges if target == READER]
        every = self.works.of(part.part)
        last = max(every, key=_lateness, default=None)
        got = max((work for work in every if work.node in exits), key=_lateness, default=last)
        if got is None or last is None:
            return None
        ended = self.works.now if part.ended is None else part.ended
        whole = max(ended - part.started, LEAST)
        return last if last.ended - got.ended > 0.2 * whole else got

    def _explain(self, work: Work, limit: float, scale: float, depth: int) -> float:
        """Charge the time of a work up to a limit; gives when it began."""
        whole = max(work.seconds - work.paused, LEAST)
        scale *= min(self._time(work.began, limit) / whole, 1.0)
        self._charge_node(work, scale, depth)
        self._charge(work.place, "queue", work.queued * scale, work)
        self._charge(work.place, "again", work.again * scale, work)
        self._charge_credit(work, work.credit * scale)
        self._charge_source(work, work.source * scale, depth)
        return min(limit, work.began)

    def _charge_node(self, work: Work, scale: float, depth: int) -> None:
        """Charge a node's own time to it, but for what it calls."""
        left = work.node_time * scale
        calls = self.works.calls.get((work.part, work.step), []) if work.step and depth < DEEPEST else []
        for part in calls:
            ended = self.works.now if part.ended is None else part.ended
            budget = min(left, self._time(part.started, ended) * scale)
            if budget > LEAST and part.part not in self._walked:
                left -= budget
                self._walk_part(part, budget, depth + 1)
        self._charge(work.place, "node", left, work)

    # -- along streams

    def _charge_source(self, work: Work, seconds: float, depth: int) -> None:
        """Charge waits for input to what was under way upstream meanwhile."""
        seen = {work.place}
        while seconds > LEAST:
            places = [place for place in self.works.behind(work.place, forward=False) if place not in seen]
            beside = self.works.beside(work, places)
            fed = max(beside, key=lambda one: (one.source + one.busy, one.ended), default=None)
            if fed is None:
                self._charge(work.place, "source", seconds, work)
                return
            seen.add(fed.place)
            self._pass("fed", fed, fed.place)
            whole = fed.source + fed.busy
            if fed.credit and whole < seconds:  # it had what was waited for, and others did not take it
                late = min(seconds - whole, fed.credit)
                seconds -= late
                self._charge_credit(fed, late)
            if whole <= 0:
                self._charge(fed.place, "unknown", seconds, fed)
                return
            share = seconds / whole
            self._charge_node(fed, share, depth)
            self._charge(fed.place, "queue", fed.queued * share, fed)
            self._charge(fed.place, "again", fed.again * share, fed)
            work, seconds = fed, fed.source * share

    def _charge_credit(self, work: Work, seconds: float) -> None:
        """Charge waits for credit to the first busy consumer downstream, or else to the reader."""
        seen = {work.place}
        at = work
        while seconds > LEAST:
            places = self.works.behind(at.place, forward=True)
            nodes = [place for place in places if place not in seen and place[1] != READER]
            takers = self.works.beside(at, nodes)
            slow = max(takers, key=lambda one: one.busy, default=None)
            held = max(takers, key=lambda one: one.credit, default=None)
            if slow is not None and slow.busy >= max(slow.credit, slow.source):
                self._pass("taken", slow, slow.place)
                self._charge_busy(slow, seconds)
                return
            if held is not None and held.credit > 0:
                self._pass("taken", held, held.place)
                seen.add(held.place)
                at = held
                continue
            self._charge_end(work, at, slow, seconds)
            return

    def _charge_busy(self, taker: Work, seconds: float) -> None:
        """Charge waits to a node that was busy: with its own code, or with what had failed."""
        again = seconds * taker.again / taker.busy if taker.busy else 0.0
        self._charge(taker.place, "again", again, taker)
        self._charge(taker.place, "node", seconds - again, taker)

    def _charge_end(self, work: Work, at: Work, taker: Work | None, seconds: float) -> None:
        """Charge waits for credit where no node on the way is busy, nor waits for another."""
        targets = self.works.after.get(at.place, [])
        reads = not targets or self._reads(at.place)
        if taker is not None and not reads:
            self._pass("taken", taker, taker.place)
            self._charge_busy(taker, seconds)
        elif reads:
            place = self._reader(at.part)
            self._pass("taken", None, place)
            self._charge(place, "reader", seconds, at if at.credit else work)
        else:
            place = (at.part, targets[0])
            self._pass("taken", None, place)
            self._charge(place, "unread", seconds, work)

    def _reads(self, place: Place) -> bool:
        """Say whether the reader takes what a node gives, directly or by nodes that left no works."""
        return any(name == READER for _, name in self.works.behind(place, forward=True))

    def _reader(self, part: int) -> Place:
        """Give who reads what a part gives: the node that called it, or the reader of the run."""
        seen: set[int] = set()
        while part not in seen and part in self.works.parts:
            seen.add(part)
            caller = self.works.parts[part].caller
            if caller is None:
                return THE_READER
            if caller in self.works.callers:
                return self.works.callers[caller]
            part = caller[0]
        return THE_READER


def _lateness(work: Work) -> tuple[bool, float, float]:
    return work.open, work.ended, work.seconds


def is_source(works: Works, place: Place) -> bool:
    """Say whether nothing feeds a node but the run's own input."""
    return place[1] == INPUT or all(name == INPUT for name in works.before.get(place, []))
