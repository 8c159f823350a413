"""The engine: what all runs of an open flow share.

Owns the runs, their admission, and the stations, the meters and the pool that they work with. Invariant: runs
share nothing else (rule 3.1); when it is closed, nothing of it is at work any more. Users see it as a
`Runtime`.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import anyio

from .admission import plain_inputs
from .admission_queue import AdmissionQueue
from .analysis import sites_before
from .beginnings import Beginnings
from .core import RunCore
from .credit import Account, SizedAccount
from .dropping import new_inbox
from .graph import Edge, Site
from .inbox import Meter
from .invoke import build
from .items import Headers, heading_item
from .keeper import Keeper
from .measures import FlowMeasures, measure
from .observe import Observers
from .outlet import Outlet
from .parking import Parking, current_parking
from .policy import payload_size_bytes
from .pool import Pool
from .station import Station
from .ticking import Attendant, attend

if TYPE_CHECKING:
    from .flow import Flow
    from .lifetime import Lifetime
    from .options import Options
    from .plan import Plan
    from .runtime import Runtime

ENDINGS = ("started", "interrupted", "done", "failed", "cancelled", "expired")
"""What runs of a runtime are counted by."""

_entropy = random.SystemRandom()


class Engine(Beginnings):
    """What all runs of an open flow share.

    Args:
        flow: the blueprint.
        options: the limits.
        above: the engine that this one is a part of, on its tasks and for its observers.
    """

    __slots__ = (
        "_attendants",
        "_before",
        "_children",
        "_enders",
        "_given_pool",
        "_ids",
        "_plain_inputs",
        "cleanup_timeout",
        "counts",
        "flow",
        "hop_limit",
        "keeper",
        "measures",
        "meters",
        "observers",
        "options",
        "outlets",
        "parking",
        "plan",
        "pool",
        "queue",
        "runs",
        "state",
        "stations",
        "was_opened",
        "window",
    )

    parking: Parking
    pool: Pool

    def __init__(self, flow: Flow, options: Options, above: Engine | None = None) -> None:
        self.flow: Flow = flow
        self.plan: Plan = flow.plan
        self.window: int = options.window
        self.hop_limit: int = options.hop_limit
        self.cleanup_timeout: float = options.cleanup_timeout
        self.options: Options = options
        self.observers: Observers = above.observers if above is not None else Observers(options.observers)
        self.measures: FlowMeasures | None = None
        self.keeper: Keeper | None = above.keeper if above is not None else self._new_keeper()
        self.queue: AdmissionQueue = AdmissionQueue(options.max_runs)
        self.state: str = "new"
        self.was_opened: bool = False
        self.runs: dict[Any, RunCore] = {}
        self.counts: dict[str, int] = dict.fromkeys(ENDINGS, 0)
        self.stations: list[Station] = []
        self.meters: list[Meter] = []
        self.outlets: list[Outlet] = []
        self._given_pool = above.pool if above is not None else None
        self._attendants: tuple[Attendant, ...] = ()
        self._enders: list[Any] = []
        self._before: dict[int, frozenset[int]] = {}
        self._children: dict[Any, Engine] = {}
        self._plain_inputs = plain_inputs(flow.plan)
        self._ids = random.Random(_entropy.getrandbits(128))

    def _new_keeper(self) -> Keeper | None:
        options = self.options
        if options.journal is None:
            return None
        return Keeper(self, options.journal, recover=options.recover, migrate=options.migrate)

    # -- opening and closing

    def open(self, face: Runtime | None = None) -> None:
        """Set the stations up, and start the sources; ``face`` is what observers know the engine by."""
        if self.state != "new":
            raise RuntimeError(
                f"the runtime of flow {self.flow.name} was opened already; open() makes another one"
            )
        self.state = "open"
        self.was_opened = True
        self.pool = self._given_pool or Pool(current_parking(self.cleanup_timeout))
        self.parking = self.pool.parking
        self.stations = [Station(site, journaled=self.keeper is not None) for site in self.plan.sites]
        for station in self.stations:
            station.invoke = build(station)
        self.meters = [Meter(edge) for edge in self.plan.edges]
        self.outlets = [Outlet(site, site.outs, self.stations) for site in self.plan.sites]
        if self.observers.measures:
            self.measures = measure(self.flow.name, self.stations, self.meters, self.parking.now)
        if face is not None:
            self._attendants = attend(self, face)
        if self.keeper is not None and self._given_pool is None:
            self.keeper.begin()
        for site in self.plan.sources:
            self._start_source(self.stations[site.index])

    def _start_source(self, station: Station) -> None:
        core = self.new_core(None, Headers(), {}, None)
        core.detached = True
        core.begin()
        item = heading_item(core.heading(self.plan.root, "", 1, None))
        self.start_step(core, station, None, item)
        core.entered()

    async def abort(self) -> None:
        """Cancel all runs, and close; returns when their steps have ended.

        If cancelled, it goes on without the caller.
        """
        if self.state in ("new", "closed"):
            self.state = "closed"
            return
        self.state = "closing"
        self.queue.turn_away(self.parking)
        cores = list(self.runs.values())
        for core in cores:
            core.stop("the runtime was closed")  # first: that what it calls is closed is no failure of it
        for child in self._children.values():
            await child.abort()
        for core in cores:
            await core.ended()
        if self._given_pool is None:
            if self.keeper is not None:
                await self.keeper.close()
            await self.pool.close()
        self.state = "closed"
        attendants, self._attendants = self._attendants, ()  # once, whoever else closes it
        for attendant in attendants:
            attendant.end()

    async def drain(self, timeout: float | None) -> None:
        """Refuse new runs, stop the sources, and deliver what is inside.

        If cancelled, nothing is aborted, and new runs are still refused.
        """
        self.check_open()
        self.state = "draining"
        self.queue.turn_away(self.parking)
        for core in list(self.runs.values()):
            step = core.first_step
            if step is not None and step.station.site.is_source:
                step.stop_source()
        with anyio.move_on_after(timeout):
            while self.runs:
                waiter = self.parking.waiter()
                self._enders.append(waiter)
                await waiter
        if self.runs:
            stuck = ", ".join(sorted({name for core in self.runs.values() for name in core.stuck_nodes()}))
            ids = ", ".join(sorted({core.id for core in self.runs.values()}))
            await self.abort()
            raise TimeoutError(
                f"drain({timeout}) of flow {self.flow.name}: stuck at {stuck or 'no node'} in {ids}"
            )

    # -- runs

    def run_ended(self, core: Lifetime) -> None:
        """Forget a run that is over; the next one that waits is admitted."""
        self.runs.pop(core.key, None)
        self.counts[core.status] += 1
        if self.measures is not None and core.timed is not None:
            self.measures.seconds.record(self.parking.now() - core.timed)
        if self.options.max_runs is not None:
            self.queue.admit_next(self.parking, len(self.runs))
        if self._enders:
            enders, self._enders = self._enders, []
            for waiter in enders:
                self.parking.wake(waiter)

    def child(self, target: Any) -> Engine:
        """Give the engine of a flow or node that is called from a step; opened once, on the same pool."""
        engine = self._children.get(target)
        if engine is None:
            flow = self.flow.as_flow(target)
            engine = self._children[target] = Engine(flow, self.options, self)
            engine.open()
        return engine

    def children(self) -> tuple[Engine, ...]:
        """Give the engines of the flows that steps have called."""
        return tuple(self._children.values())

    # -- what runs are made with

    def new_account(self, window: int) -> Account:
        """Make a window, in items and, if so opened, in bytes."""
        if self.options.window_bytes is None:
            return Account(window)
        return SizedAccount(window, self.options.window_bytes)

    @property
    def patience(self) -> float:
        """For how many seconds whoever leaves waits at most, when it is cancelled on top."""
        return self.cleanup_timeout + 1.0

    @property
    def least_window(self) -> int:
        """How many chunks a node may certainly have in flight, whatever their size."""
        return self.window if self.options.window_bytes is None else 1

    def size(self, payload: Any) -> int:
        """Give the size of a payload in bytes, where bytes are counted; else 0."""
        if self.options.window_bytes is None:
            return 0
        return (self.options.sizer or payload_size_bytes)(payload)

    def new_inbox(self, edge: Edge, lane: Any, writer: Any) -> Any:
        """Make the inbox of an edge."""
        return new_inbox(edge, self.meters[edge.index], lane, writer, payload_size_bytes)

    def before(self, site: Site) -> frozenset[int]:
        """Give the nodes that a node can be reached from, by index."""
        known = self._before.get(site.index)
        if known is None:
            known = self._before[site.index] = frozenset(sites_before(site))
        return known

    def __repr__(self) -> str:
        return f"<engine of flow {self.flow.name}, {self.state}, {len(self.runs)} runs>"
