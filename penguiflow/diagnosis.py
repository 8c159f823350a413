"""Diagnosis: why a live run does not go on, or goes on slowly.

Owns the walk along a run's waits, from its reader to the root cause, and the sentences about it. Invariant:
it looks, and changes nothing. What it tells is the moment's truth: for a run that is over, a trace tells.

From the reader it goes upstream, to what feeds him, as long as nothing is there; where something waits for
credit or room, it goes downstream, to who has not taken it. It ends at code that is at work, at places that
are taken, at an input that does not come, or at a reader who does not read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .items import Item
from .joining import SlotState
from .lifecycle import FINAL
from .timing import NODE, SOURCE
from .whereabouts import whereabouts

if TYPE_CHECKING:
    from .core import RunCore
    from .graph import Site
    from .leg import Leg
    from .station import Station
    from .waits import Wait

MOST_HOPS = 150
"""So far a wait is followed, from node to node; behind that, whatever is at work somewhere is told."""

MOST_LEVELS = 8
"""So deep it is gone into what steps have called."""

READER = "the reader"
INPUT = "the input"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What a run waits for.

    Attributes:
        run_id: the run.
        status: how it stands.
        culprit: path of the node that everything waits for; ``the reader``, ``the input``, or empty where
            nothing is waited for.
        sentences: first the verdict, then the chain of waits from the reader to the culprit.
    """

    run_id: str
    status: str
    culprit: str
    sentences: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(self.sentences)


def diagnose(core: RunCore, level: int = 0) -> Diagnosis:
    """Say what a run waits for; ``level`` is how many calls have led to it."""
    search = _Search(core, level)
    if core.status == "paused":
        since = core.pool.parking.now() - core.paused_at
        search.ends("", f"The run is paused, for {since:.1f} s now: nothing goes on before it is resumed.")
    elif core.status in FINAL:
        search.ends("", f"The run is over: it is {core.status}.")
        search.cleanups()
    elif core.status == "waiting":
        search.ends("", "The run has not begun.")
    else:
        search.from_reader()
    return Diagnosis(core.id, core.status, search.culprit, (search.verdict, *search.chain))


class _Search:
    """One walk.

    Args:
        core: the run.
        level: how many calls have led to it.
    """

    def __init__(self, core: RunCore, level: int) -> None:
        self.core = core
        self._level = level
        self._hops = 0
        self.culprit = ""
        self.verdict = ""
        self.chain: list[str] = []
        self._seen: set[tuple[str, int]] = set()
        self._sites = core.engine.plan.sites

    def ends(self, culprit: str, verdict: str) -> bool:
        """End the walk here."""
        if not self.verdict:
            self.culprit, self.verdict = culprit, verdict
        return True

    # -- the reader

    def from_reader(self) -> None:
        """Begin at who reads the run."""
        outbox = self.core.outbox
        left = outbox.count()
        if left and outbox.waiter is None:
            self._reader_is_slow(left)
            return
        if outbox.iterated:
            self.chain.append("The reader waits for the run.")
        exits = [site for site in self._sites if site.is_exit] or list(self._sites[1:])
        if any(self._upstream(site) for site in exits) or self._anywhere():
            return
        self.ends("", "Nothing of the run is at work, and nothing waits: it is between two steps.")

    def _reader_is_slow(self, left: int) -> None:
        if not self.core.outbox.iterated:
            self.ends(READER, f"Nobody reads the run: {_waiting(left)} for the reader.")
        else:
            them = "1 item that waits" if left == 1 else f"{left} items that wait"
            self.ends(READER, f"The reader is slow: it has not taken {them} for it.")
        for wait in self._waits():
            if wait.state != SOURCE:
                self.chain.append(f"{_sentence(wait, getattr(wait.leg, 'site', None))}.")

    def _anywhere(self) -> bool:
        return any(self._at(site) for site in self._sites)

    # -- one node

    def _upstream(self, site: Site) -> bool:
        """Look at a node and, where nothing of the run is there, at what feeds it."""
        if not self._may_go("up", site):
            return False
        if self._at(site):
            return True
        sources = self._feeding(site)
        if sources and self._is_awaited(site):
            names = " or ".join(_name(source) for source in sources)
            self.chain.append(f"Node {site.key} waits for what {names} gives.")
        self._hops += 1
        found = any(self._upstream(source) for source in sources)
        self._hops -= 1
        return found

    def _may_go(self, way: str, site: Site) -> bool:
        """Say whether to look at a node on the way; each is looked at once."""
        if (way, site.index) in self._seen or self._hops >= MOST_HOPS:
            return False
        self._seen.add((way, site.index))
        return True

    def _is_awaited(self, site: Site) -> bool:
        return any(lane.station.site is site for lane in self.core.lanes.values())

    def _feeding(self, site: Site) -> list[Site]:
        """Give the nodes that feed one; of a join, those of slots that are still open."""
        slots = self._open_slots(site)
        edges = [edge for edge in site.ins if slots is None or edge.slot in slots]
        return list(dict.fromkeys(edge.source for edge in edges))

    def _open_slots(self, site: Site) -> set[int] | None:
        pairings = [pairing for pairing in self.core.pairings if pairing.tokens[0].key[0] == site.index]
        if not pairings:
            return None
        slots = pairings[0].slots
        return {index for index, state in enumerate(slots) if state is SlotState.OPEN}

    def _at(self, site: Site) -> bool:
        """Look at what of the run is at a node: code at work, a wait, items that wait for a place."""
        for engagement in list(self.core.engaged):
            if engagement.station is not None and engagement.station.site is site:
                return self._engaged(site, engagement)
        if site.node is None and self.core.inputs:
            return self.ends(
                INPUT, "The input is awaited: nobody has sent more of it, and nobody has ended it."
            )
        return self._queued(site)

    def _engaged(self, site: Site, engagement: Any) -> bool:
        waits = [wait for wait in getattr(engagement, "waits", None) or () if not wait.woken]
        if waits:
            return self._waiting(site, engagement, waits[0])
        if getattr(engagement, "waits", None) and not _has_place(engagement):
            return self._no_place(engagement.station, "a step of this run that has lent its own waits")
        if _is_between_attempts(engagement):
            failed = f"Node {site.key} has failed at attempt {engagement.attempt}"
            return self.ends(site.key, f"{failed}, and waits until it is tried again.")
        return self._working(site, engagement)

    def _working(self, site: Site, engagement: Any) -> bool:
        if site.node is None:
            return self.ends(INPUT, f"The input is awaited{_where(self.core, engagement)}.")
        kept = getattr(engagement, "watch", None)
        timing = kept.timing if kept is not None else None
        since = ""
        if timing is not None and timing.state == NODE:
            since = f" for {self.core.pool.parking.now() - timing.since:.1f} s"
        attempt = getattr(engagement, "attempt", 1)
        tries = f" (attempt {attempt})" if attempt > 1 else ""
        self.ends(site.key, f"Node {site.key} is at work{since}{tries}{_where(self.core, engagement)}.")
        self._parts(engagement)
        return True

    def _parts(self, engagement: Any) -> None:
        """Go on into what the step has called."""
        for part in parts_of(self.core):
            if part.caller is engagement and part.status not in FINAL and self._level < MOST_LEVELS:
                below = diagnose(part, self._level + 1)
                self.chain.append(f"In flow {part.engine.flow.name}, which it calls: {below}")

    def _waiting(self, site: Site, engagement: Any, wait: Wait) -> bool:
        self.chain.append(f"{_sentence(wait, site)}.")
        if wait.state == SOURCE:
            feeding = any(self._upstream(source) for source in self._feeding(site))
            return feeding or self._no_more(site, wait)
        return self._downstream(site, wait.leg)

    def _no_more(self, site: Site, wait: Wait) -> bool:
        return self.ends(site.key, f"{_sentence(wait, site)}, and nothing that feeds it is at work.")

    # -- downstream

    def _downstream(self, site: Site, leg: Any) -> bool:
        """Look for who has not taken what a node has given."""
        if not self._may_go("down", site):
            return False
        self._hops += 1
        found = self._look_downstream(site, leg)
        self._hops -= 1
        return found

    def _look_downstream(self, site: Site, leg: Any) -> bool:
        roads = getattr(leg, "roads", ())
        if roads:
            self._tell_window(leg)
        targets = [road.edge.target if road.edge is not None else None for road in roads]
        if not roads:
            targets = [edge.target for edge in site.outs]
        for target in targets:
            if target is None:
                if self.core.outbox.count():
                    self._reader_is_slow(self.core.outbox.count())
                    return True
            elif self._at(target) or self._downstream(target, self._leg_of(target, leg)):
                return True
        return False

    def _tell_window(self, leg: Leg) -> None:
        account = leg.account
        if account is not None and account.free <= 0:
            out = f"{account.out} of {account.window} are out"
            self.chain.append(f"Stream {leg.stream_id} of {_name(leg.site)} has no credit: {out}.")
        for road in leg.roads:
            waiting = len(getattr(road, "items", ())) + getattr(road, "unstarted", 0)
            if road.edge is not None and waiting and road.room() <= 0:
                capacity = getattr(road, "capacity", road.edge.policy.capacity)
                self.chain.append(f"Edge {road.edge.name} is full: {waiting} of {capacity} waiting.")

    def _leg_of(self, site: Site, leg: Any) -> Any:
        if leg is None or not hasattr(leg, "stream_id"):
            return None
        return self.core.legs.get((site.index, leg.stream_id))

    # -- places

    def _queued(self, site: Site) -> bool:
        """Look at what waits at a node without being at work."""
        lanes = [*self.core.lanes.values(), *self.core.mail.values()]
        here = [lane for lane in lanes if lane.station.site is site]
        waiting = sum(self._count(inbox) for lane in here for inbox in lane.inboxes)
        waiting += sum(len(getattr(lane, "complete", ())) for lane in here)
        if not waiting:
            return False
        station = here[0].station
        if station.places.taken < station.places.limit:
            out = getattr(here[0], "out", None)
            if out is not None and out.stuck:
                self.chain.append(f"Node {site.key} waits for room behind it.")
                return self._downstream(site, out)
            return False
        return self._no_place(station, _waiting(waiting, " of this run"))

    def _count(self, inbox: Any) -> int:
        return sum(isinstance(item, Item) for item in inbox.items)

    def _no_place(self, station: Station, waiting: str) -> bool:
        key, limit = station.site.key, station.places.limit
        taken = "its only one is taken" if limit == 1 else f"all {limit} are taken"
        self.ends(key, f"Node {key} has no free place: {taken}, and {waiting} for one.")
        for run, engagement in self._all_engaged():
            if engagement.station is station and _has_place(engagement):
                self.chain.append(f"A place is held by run {run.id}{_where(self.core, engagement)}.")
                if len(self.chain) > 8:
                    break
        return True

    def _all_engaged(self) -> Iterable[tuple[Any, Any]]:
        for run in self.core.engine.runs.values():
            for engagement in list(run.engaged):
                yield run, engagement

    # -- runs that are over

    def cleanups(self) -> None:
        """Tell whose cleanup a run that is over still waits for."""
        for engagement in list(self.core.engaged):
            if engagement.station is not None:
                site = engagement.station.site
                self.culprit = INPUT if site.node is None else site.key
                self.chain.append(
                    f"The cleanup of {_name(site)} still goes on{_where(self.core, engagement)}."
                )

    def _waits(self) -> list[Wait]:
        return [wait for wait in self.core.waits if not wait.woken]


def parts_of(core: RunCore) -> list[RunCore]:
    """Give the live parts of a run: what its steps have called."""
    runs = [part for child in core.engine.children() for part in child.runs.values()]
    return [part for part in runs if part.caller is not None and part.caller.run is core]


def _where(run: RunCore, engagement: Any) -> str:
    """Say where the code of a step waits, and for what."""
    found = whereabouts(run.pool.parking.coroutine(engagement.task)) if engagement.task is not None else None
    if found is None:
        in_thread = engagement.station is not None and engagement.station.policy.thread
        return ", in a thread" if in_thread else ""
    return f", awaiting {found.awaits} {found}" if found.awaits else f", {found}"


def _has_place(engagement: Any) -> bool:
    """Say whether something at work has a place at its node, or has lent it."""
    holder = engagement.holder() if hasattr(engagement, "holder") else engagement.lane or engagement
    return bool(holder.has_place)


def _name(site: Site) -> str:
    return INPUT if site.node is None else f"node {site.key}"


def _is_between_attempts(engagement: Any) -> bool:
    """Say whether a step sleeps until it is tried again."""
    attempting = getattr(engagement, "attempting", True)
    return not attempting and engagement.station.policy.retry is not None


def _waiting(count: int, whose: str = "") -> str:
    return f"1 item{whose} waits" if count == 1 else f"{count} items{whose} wait"


def _sentence(wait: Wait, site: Site | None) -> str:
    return f"{'The' if site is not None and site.node is None else 'Node'} {wait.reason}"
