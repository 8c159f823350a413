"""The runtime: a flow that is open.

Owns the runs, their admission, and what all runs share: the stations, the meters, the pool. Invariant: runs
share nothing else (rule 3.1); when `open` is left, nothing of the runtime is at work any more.
"""

from __future__ import annotations

import contextvars
import itertools
import random
from collections import deque
from collections.abc import AsyncIterable, Awaitable, Callable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

import anyio

from .admission import check_payload
from .control import as_control
from .core import RunCore
from .credit import FREE, Account, SizedAccount
from .errors import DeadlineExceeded, RunRejected
from .graph import Edge, Site
from .inbox import Meter, new_inbox
from .invoke import build
from .items import Control, Headers
from .lifecycle import FINAL
from .observe import Observers
from .outlet import Outlet
from .parking import Parking, current_parking
from .policy import payload_size_bytes
from .pool import Pool
from .run import Run, RunScope, Session, SessionScope
from .station import Station
from .statistics import EdgeStatistics, RuntimeStatistics, StreamStatistics
from .step import Step
from .stream import heading_item

if TYPE_CHECKING:
    from .flow import Flow
    from .lifetime import Lifetime
    from .options import Options
    from .plan import Plan

_ids = random.SystemRandom()


class Runtime:
    """An open flow: ``async with flow.open() as runtime``.

    Args:
        flow: the blueprint.
        options: the limits; see `Flow.open`.
        pool: the tasks to work with; its own by default.
    """

    def __init__(self, flow: Flow, options: Options, pool: Pool | None = None) -> None:
        self.flow = flow
        self.plan: Plan = flow.plan
        self.window: int = options.window
        self.hop_limit: int = options.hop_limit
        self.cleanup_timeout: float = options.cleanup_timeout
        self._options = options
        self.observers: Observers = Observers(options.observers)
        self.observe: Callable[[object], None] = self.observers.tell
        self._given_pool = pool
        self._state = "new"
        self._runs: dict[Any, RunCore] = {}
        self._waiting: deque[Any] = deque()
        self._enders: list[Any] = []
        self._before: dict[int, frozenset[int]] = {}
        self._children: dict[Any, Runtime] = {}
        self._counts = dict.fromkeys(("started", "done", "failed", "cancelled", "expired"), 0)
        self._ids = random.Random(_ids.getrandbits(128))
        self._numbers = itertools.count()
        self.parking: Parking
        self.pool: Pool
        self.stations: list[Station] = []
        self.meters: list[Meter] = []
        self.outlets: list[Outlet] = []

    # -- opening and closing

    async def __aenter__(self) -> Runtime:
        """Open the flow and start its sources. If cancelled, nothing was started."""
        if self._state != "new":
            raise RuntimeError(
                f"the runtime of flow {self.flow.name} was opened already; open() makes another one"
            )
        self._start()
        return self

    def _start(self) -> None:
        self._state = "open"
        self.pool = self._given_pool or Pool(current_parking(self.cleanup_timeout))
        self.parking = self.pool.parking
        self.stations = [Station(site) for site in self.plan.sites]
        for station in self.stations:
            station.invoke = build(station)
        self.meters = [Meter(edge) for edge in self.plan.edges]
        self.outlets = [Outlet(site, site.outs, self.stations) for site in self.plan.sites]
        for site in self.plan.sources:
            self._start_source(self.stations[site.index])

    def _start_source(self, station: Station) -> None:
        core = self._new_core(None, Headers(), {}, None)
        core.detached = True
        core.begin()
        item = heading_item(core.heading(self.plan.root, "", 1, None))
        self._start_step(core, station, None, item)
        core.entered()

    def _start_step(self, core: RunCore, station: Station, value: Any, item: Any) -> Step:
        step = Step(core, station, value, item, FREE, ())
        core.open += 1
        core.busy += 1
        core.first_step = step
        self.pool.push(step)
        return step

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Abort what still runs. If cancelled, it is aborted all the same."""
        await self.shielded(self.abort)

    async def shielded(self, wait: Callable[[], Awaitable[None]]) -> None:
        """Wait for something bounded, also when the caller is cancelled."""
        with anyio.CancelScope(shield=True):
            await wait()

    async def abort(self) -> None:
        """Cancel all runs, and close; returns when their steps have ended.

        If cancelled, it goes on without the caller.
        """
        if self._state in ("new", "closed"):
            self._state = "closed"
            return
        self._state = "closing"
        self._turn_away()
        for child in self._children.values():
            await child.abort()
        cores = list(self._runs.values())
        for core in cores:
            core.stop("the runtime was closed")
        for core in cores:
            await core.ended()
        self._state = "closed"
        if self._given_pool is None:
            await self.pool.close()

    async def drain(self, timeout: float | None = None) -> None:
        """Refuse new runs, stop the sources, and deliver what is inside.

        Args:
            timeout: seconds to wait for it.

        Raises:
            TimeoutError: something was left; the text names the nodes that are stuck, and it was aborted.

        If cancelled, nothing is aborted, and new runs are still refused.
        """
        self._check_open()
        self._state = "draining"
        self._turn_away()
        for core in list(self._runs.values()):
            step = core.first_step
            if step is not None and step.station.site.is_source:
                step.stop_source()
        with anyio.move_on_after(timeout):
            while self._runs:
                waiter = self.parking.waiter()
                self._enders.append(waiter)
                await waiter
        if self._runs:
            stuck = ", ".join(sorted({name for core in self._runs.values() for name in core.stuck_nodes()}))
            ids = ", ".join(sorted({core.id for core in self._runs.values()}))
            await self.abort()
            raise TimeoutError(
                f"drain({timeout}) of flow {self.flow.name}: stuck at {stuck or 'no node'} in {ids}"
            )

    def _turn_away(self) -> None:
        """Let the runs go that wait for admission: they find the runtime closed."""
        waiting, self._waiting = self._waiting, deque()
        for waiter in waiting:
            self.parking.wake(waiter)

    def _check_open(self) -> None:
        if self._state != "open":
            raise RunRejected(
                f"the runtime of flow {self.flow.name} is "
                f"{'not open yet' if self._state == 'new' else self._state}: "
                f"it takes no runs"
            )

    # -- runs

    def run(
        self,
        payload: Any,
        *,
        headers: Headers | None = None,
        deadline: float | None = None,
        run_id: str | None = None,
        meta: dict[str, Any] | None = None,
        to: str | None = None,
    ) -> RunScope:
        """Begin a run: ``async with runtime.run(payload) as run``. Leaving the scope cancels what is left.

        Args:
            payload: the input; an async iterable goes in as a stream, under credit.
            headers: what everything in the run inherits.
            deadline: seconds from now that the run may take, all waiting included.
            run_id: its id; by default a new one.
            meta: metadata that everything in the run inherits.
            to: the entry that the payload is for; by default all that accept it.

        Raises:
            RunRejected: on entering, where the run is not admitted; the text says why.
        """

        return RunScope(partial(self._begin, payload, headers, deadline, run_id, meta, to))

    def session(
        self,
        *,
        headers: Headers | None = None,
        deadline: float | None = None,
        run_id: str | None = None,
        meta: dict[str, Any] | None = None,
        to: str | None = None,
    ) -> SessionScope:
        """Begin a two-way run: its input stream is fed by `Session.send` and ended by `Session.end_input`.

        The options mean what they mean for `run`.
        """

        async def admit() -> Run:
            core = await self._admit(headers, deadline, run_id, meta)
            item = heading_item(core.heading(self.plan.root, "", 1, None))
            step = Step(core, self.stations[0], None, item, FREE, ())
            core.inputs = 1
            core.open += 1
            step.out = core.open_leg(step, None, explicit=False, to=to)
            core.entered()
            session = core.facade = Session(core, step)
            return session

        return SessionScope(admit)

    async def start(
        self,
        payload: Any,
        *,
        headers: Headers | None = None,
        deadline: float | None = None,
        run_id: str | None = None,
        meta: dict[str, Any] | None = None,
        to: str | None = None,
    ) -> Run:
        """Begin a detached run, which lives until it is over or cancelled.

        The options mean what they mean for `run`. If cancelled, the run was not begun.
        """
        run = await self._begin(payload, headers, deadline, run_id, meta, to)
        run._core.detached = True
        return run

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
        """Begin a run and give its result; see `Run.result`.

        The options mean what they mean for `run`. If cancelled, the run is cancelled too.
        """
        async with self.run(
            payload, headers=headers, deadline=deadline, run_id=run_id, meta=meta, to=to
        ) as run:
            return await run.result()

    async def _begin(
        self,
        payload: Any,
        headers: Headers | None,
        deadline: float | None,
        run_id: str | None,
        meta: dict[str, Any] | None,
        to: str | None,
    ) -> Run:
        self._check_open()
        check_payload(self.plan, payload, to, is_stream=isinstance(payload, AsyncIterable))
        core = await self._admit(headers, deadline, run_id, meta)
        return self._enter(core, payload, to)

    def _enter(self, core: RunCore, payload: Any, to: str | None) -> Run:
        """Send the input of a run in."""
        if isinstance(payload, AsyncIterable):
            item = heading_item(core.heading(self.plan.root, "", 1, None))
            step = self._start_step(core, self.stations[0], payload, item)
            step.out = core.open_leg(step, None, explicit=False, to=to)
        else:
            message = core.message(self.plan.root, payload, None, FREE, ())
            core.enter(message, Doorway(), to)
        core.entered()
        return facade(core)

    async def _admit(
        self, headers: Headers | None, deadline: float | None, run_id: str | None, meta: dict[str, Any] | None
    ) -> RunCore:
        """Admit a run, when there is a place for it."""
        self._check_open()
        if deadline is not None and deadline < 0:
            raise ValueError(f"deadline={deadline}: seconds from now, not less than 0")
        if run_id is not None and run_id in self._runs:
            raise RunRejected(
                f"run_id={run_id!r} is in use in flow {self.flow.name}; choose another, or none"
            )
        expires = None if deadline is None else self.parking.now() + deadline
        limit = self._options.max_runs
        if limit is not None and (len(self._runs) >= limit or self._waiting):
            await self._wait_for_admission(deadline)
        core = self._new_core(
            run_id, headers.copy() if headers is not None else Headers(), dict(meta or {}), expires
        )
        core.begin()
        return core

    async def _wait_for_admission(self, deadline: float | None) -> None:
        waiter = self.parking.waiter()
        self._waiting.append(waiter)
        admitted = False
        try:
            with anyio.move_on_after(deadline):
                await waiter
                admitted = True
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            elif not admitted:
                self._admit_next()
        if not admitted:
            raise DeadlineExceeded(f"a run of flow {self.flow.name} was not admitted within its deadline")
        self._check_open()

    def _admit_next(self) -> None:
        limit = self._options.max_runs
        if self._waiting and (limit is None or len(self._runs) < limit):
            self.parking.wake(self._waiting.popleft())

    def _new_core(
        self,
        run_id: str | None,
        headers: Headers,
        meta: dict[str, Any],
        expires: float | None,
        parent: RunCore | None = None,
    ) -> RunCore:
        trace_id = f"{self._ids.getrandbits(128):032x}" if parent is None else parent.trace_id
        run_id = run_id or f"{self._ids.getrandbits(64):016x}"
        core = RunCore(self, run_id, trace_id, headers, meta, expires, contextvars.copy_context())
        if parent is not None:
            core.key = core  # several parts of one run may be under way at the same time
        self._runs[core.key] = core
        self._counts["started"] += 1
        return core

    def run_ended(self, core: Lifetime) -> None:
        """Forget a run that is over; the next one that waits is admitted."""
        self._runs.pop(core.key, None)
        self._counts[core.status] += 1
        self._admit_next()
        enders, self._enders = self._enders, []
        for waiter in enders:
            self.parking.wake(waiter)

    def runs(self) -> tuple[Run, ...]:
        """Give the live runs."""
        return tuple(facade(core) for core in self._runs.values())

    async def control(self, kind: str | Control, payload: Any = None, *, to: str | None = None) -> None:
        """Send a command to all live runs; see `Run.control`. If cancelled, it was sent all the same."""
        control = as_control(kind, payload, to, None)
        cores = list(self._runs.values())
        for core in cores:
            core.control(control)
        for core in cores:
            if core.status in FINAL:
                await core.ended()

    def within(self, parent: RunCore, payload: Any, headers: Headers, meta: dict[str, Any]) -> RunScope:
        """Begin a run as a part of another one: under its id, trace and deadline."""

        async def admit() -> Run:
            self._check_open()
            check_payload(self.plan, payload, None, is_stream=isinstance(payload, AsyncIterable))
            core = self._new_core(parent.id, headers.copy(), dict(meta), parent.deadline, parent)
            core.begin()
            return self._enter(core, payload, None)

        return RunScope(admit)

    def child(self, target: Any) -> Runtime:
        """Give the runtime of a flow or node that is called from a step; opened once, on the same pool."""
        runtime = self._children.get(target)
        if runtime is None:
            flow = self.flow.as_flow(target)
            runtime = self._children[target] = Runtime(flow, self._options, self.pool)
            runtime._start()
        return runtime

    # -- what runs are made with

    def new_account(self, window: int) -> Account:
        """Make a window, in items and, if so opened, in bytes."""
        if self._options.window_bytes is None:
            return Account(window)
        return SizedAccount(window, self._options.window_bytes)

    def size(self, payload: Any) -> int:
        """Give the size of a payload in bytes, where bytes are counted; else 0."""
        if self._options.window_bytes is None:
            return 0
        return (self._options.sizer or payload_size_bytes)(payload)

    def new_inbox(self, edge: Edge, lane: Any, writer: Any) -> Any:
        """Make the inbox of an edge."""
        return new_inbox(edge, self.meters[edge.index], lane, writer, payload_size_bytes)

    def before(self, site: Site) -> frozenset[int]:
        """Give the nodes that a node can be reached from, by index."""
        known = self._before.get(site.index)
        if known is None:
            known = self._before[site.index] = frozenset(_before(site))
        return known

    # -- statistics

    def streams(self) -> tuple[StreamStatistics, ...]:
        """Give the open streams."""
        return tuple(
            _stream_statistics(core, leg) for core in self._runs.values() for leg in core.legs.values()
        )

    def statistics(self) -> RuntimeStatistics:
        """Give a snapshot."""
        cores = list(self._runs.values())
        return RuntimeStatistics(
            flow=self.flow.name,
            runs=len(cores),
            unread=sum(1 for core in cores if core.detached and not core.outbox.iterated),
            waiting_runs=len(self._waiting),
            messages=sum(core.messages() for core in cores),
            streams=sum(len(core.legs) for core in cores),
            credit_out=sum(core.credit_out() for core in cores),
            places_taken=sum(station.places.taken for station in self.stations),
            workers=len(self.pool.workers) if self._state != "new" else 0,
            observer_errors=self.observers.errors,
            nodes=tuple(station.statistics() for station in self.stations[1:]),
            edges=tuple(_edge_statistics(meter) for meter in self.meters),
            **self._counts,
        )

    def __repr__(self) -> str:
        return f"<runtime of flow {self.flow.name}, {self._state}, {len(self._runs)} runs>"


def _before(site: Site) -> set[int]:
    found: set[int] = set()
    ahead = [edge.source for edge in site.ins]
    while ahead:
        source = ahead.pop()
        if source.index not in found:
            found.add(source.index)
            ahead += [edge.source for edge in source.ins]
    return found


def facade(core: RunCore) -> Run:
    """Give a run as its readers see it; always the same object."""
    if core.facade is None:
        core.facade = Run(core)
    run: Run = core.facade
    return run


class Doorway:
    """Sends a run's input: it fits, because nothing of the run waits yet."""

    __slots__ = ("doors",)

    def __init__(self) -> None:
        self.doors: int = 0

    def entered(self) -> None:
        """Do nothing."""


def _stream_statistics(core: RunCore, leg: Any) -> StreamStatistics:
    account = leg.account
    return StreamStatistics(
        run_id=core.id,
        node=leg.site.key,
        stream_id=leg.stream_id,
        attempt=leg.heading.attempt,
        next_seq=leg.next_seq if leg.stamps or account is not None else leg.chunks,
        window=account.window if account is not None else 0,
        credit=account.free if account is not None else 0,
        in_flight=account.out if account is not None else 0,
        terminal=leg.terminal,
    )


def _edge_statistics(meter: Meter) -> EdgeStatistics:
    edge = meter.edge
    return EdgeStatistics(
        source=edge.source.key,
        target=edge.target.key,
        capacity=edge.policy.capacity,
        waiting=meter.offered - meter.delivered - meter.dropped,
        most_waiting=meter.most,
        offered=meter.offered,
        delivered=meter.delivered,
        dropped=meter.dropped,
    )
