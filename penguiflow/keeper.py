"""The keeper: how an open flow lives with its journal.

Owns the leases of a runtime, and which of its runs are in the journal. Invariants: a run that is begun with a
journal is in it before anything of it happens (rule 5.2); a run that nobody owns, of this flow, is taken up
again; when the runtime is closed, nothing is owned any more. What a run writes, `run_journal` knows.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import TYPE_CHECKING, Any

import anyio

from .durable_steps import Gate
from .errors import JournalError, RunRejected, described
from .graph import Site
from .interrupts import Desk
from .journal import Journal, RunRow, RunTaken
from .journal_pages import RECORDS_AT_ONCE
from .kept_run import KeptRun
from .leaving import let_rest
from .payloads import Migrate, Payloads, kinds_of, where_of
from .processes import is_gone
from .recorded import Recorded
from .resuming import beginning, go_on, make_way
from .retention import Retention, retain
from .run_journal import RunJournal
from .run_reading import read_run
from .scribe import LEASE_SECONDS, Scribe
from .sealing import unsealed
from .telling import place_of

if TYPE_CHECKING:
    from .core import RunCore
    from .engine import Engine
    from .step import Step

log = logging.getLogger("penguiflow")

CLOSE_SECONDS = 10.0
"""For so long a journal is waited for at the end."""

PATIENCE_SECONDS = 3.0
"""For so long a run is left alone that could not be written: a store that is full takes nothing at once."""

RETAIN_SECONDS = 60.0
"""How often is forgotten what is kept too long."""

READERS = 16
"""So many runs are read at the same time."""

RUNS_AT_ONCE = 100
"""So many runs are taken over at a time."""


class Keeper:
    """The journal of an open flow.

    Args:
        engine: the open flow.
        journal: the store.
        recover: whether runs that nobody owns are taken up.
        migrate: makes payloads fit that were written for older types.
    """

    def __init__(self, engine: Engine, journal: Journal, *, recover: bool, migrate: Migrate | None) -> None:
        self.journal: Journal = journal
        self.unreadable: dict[str, JournalError] = {}  # runs that could not be taken up
        self.lost: dict[str, tuple[JournalError, float]] = {}  # runs that could not be written, since when
        self.scribe: Scribe = None  # type: ignore[assignment]  # made where the event loop is known
        self._engine = engine
        self._recover = recover
        self._migrate = migrate
        self.desk: Desk = Desk(self)
        self.gate: Gate | None = None
        self._payloads: dict[Site, Payloads] = {}
        self._parked: list[str] = []
        self._forgotten: list[str] = []
        self._retained = 0.0
        self._closing = False
        self._closed = False
        self._nap: Any = None
        self._alarm: Any = None  # ends the nap
        self._again = False  # somebody wants another look, after the one that is under way
        self._enders: list[Any] = []

    # -- opening and closing

    async def open(self) -> None:
        """Open the journal. If cancelled, it is not open."""
        await self.journal.open()

    def begin(self) -> None:
        """Begin to write, and to look for runs."""
        parking = self._engine.parking
        self.scribe = Scribe(self.journal, parking)
        self.scribe.begin()
        parking.spawn(self._main, "penguiflow keeper")

    async def close(self) -> None:
        """Write what is left, and give up all runs. If cancelled, it goes on without the caller."""
        parking = self._engine.parking
        self._closing = True
        self.look()
        timer = parking.later(CLOSE_SECONDS, self._abandon)
        while not self._closed:
            waiter = parking.waiter()
            self._enders.append(waiter)
            await waiter
        timer.cancel()

    def _abandon(self) -> None:
        """Close without the journal, which does not answer: nobody waits for ever because it hangs."""
        text = (
            "the journal of flow %s has not answered for %s s while it was closed: its runs stay owned until "
        )
        log.warning(text + "their lease runs out", self._engine.flow.name, CLOSE_SECONDS)
        self._be_closed()

    def _be_closed(self) -> None:
        self._closed = True
        enders, self._enders = self._enders, []
        for waiter in enders:
            self._engine.parking.wake(waiter)

    def live(self, run_id: str) -> RunCore | None:
        """Give a run that is at work here."""
        return self._engine.runs.get(run_id)

    def look(self) -> None:
        """Look for runs now, instead of some time later."""
        self._again = True
        nap, self._nap = self._nap, None
        if nap is not None:
            self._engine.parking.wake(nap)

    def look_within(self, seconds: float) -> None:
        """Look for runs and answers within some time, if that was to be later."""
        if self._nap is not None:
            self._alarm.cancel()
            self._alarm = self._engine.parking.later(seconds, self.look)

    async def _main(self) -> None:
        try:
            if self._recover:
                await self._try(self._bury)
            while not self._closing:
                self._again = False
                await self._try(self._go_round)
                if not self._again:
                    await self._rest(min(self.desk.patience(), LEASE_SECONDS / 3))
        finally:
            await self._end()

    async def _try(self, do: Callable[[], Awaitable[None]]) -> None:
        flow = self._engine.flow.name
        try:
            await do()
        except JournalError as exc:
            log.warning("the journal of flow %s failed, and is tried again: %s", flow, exc)
        except Exception:
            log.exception("the journal of flow %s failed, and is tried again", flow)

    async def _rest(self, seconds: float) -> None:
        waiter = self._nap = self._engine.parking.waiter()
        self._alarm = self._engine.parking.later(seconds, self.look)
        await waiter
        self._alarm.cancel()

    async def _go_round(self) -> None:
        await self.journal.renew(self.scribe.owner, LEASE_SECONDS)
        await self._give_up(time.monotonic() - PATIENCE_SECONDS)
        if self._recover:
            await self._take_over()
        await self.desk.deliver()
        let_rest(self._engine.runs.values())
        forgotten, self._forgotten = self._forgotten, []
        if forgotten:
            await self.journal.discard(forgotten)
        parked, self._parked = self._parked, []
        for run_id in parked:
            if (await self.read(run_id)).may_go_on():
                await self.claim(run_id)
        await self.desk.look()
        for run_id in self.desk.overdue():
            await self.claim(run_id)
        await self._retain()

    async def _give_up(self, until: float) -> None:
        """Give up the runs that could not be written up to some time ago: they are taken up again.

        If cancelled, they are given up later.
        """
        runs = [run_id for run_id, (_, since) in self.lost.items() if since <= until]
        given_up = {run_id: self.lost.pop(run_id) for run_id in runs if run_id not in self._engine.runs}
        if not given_up:
            return
        try:
            await self.journal.release(self.scribe.owner, list(given_up))
        except BaseException:
            self.lost = given_up | self.lost
            raise

    async def _retain(self) -> None:
        """Forget now and then what is kept no longer. If cancelled, some of it may be forgotten."""
        retention, now = getattr(self.journal, "retention", None), time.monotonic()
        if isinstance(retention, Retention) and now - self._retained >= RETAIN_SECONDS:
            self._retained = now
            await retain(self.journal, retention)

    def look_after(self, run_id: str) -> None:
        """See soon whether a run that has left memory has its answer already."""
        self._parked.append(run_id)
        self.look()

    def ended(self, run_id: str) -> None:
        """Take note that a run is not at work any more: there may be room for another one."""
        if run_id in self._forgotten or self._engine.options.max_runs is not None:
            self.look()

    def forget(self, run_id: str) -> None:
        """Forget a run that was given up while it was begun."""
        self._forgotten.append(run_id)

    async def claim(self, run_id: str) -> bool:
        """Take a run over and up, if nobody has it; says whether it is ours.

        If cancelled, it may be ours, and is taken up later.
        """
        flow = self._engine.flow.name
        rows = await self.journal.claim(self.scribe.owner, flow, LEASE_SECONDS, run_id=run_id)
        for row in rows:
            await self.take_up(row.run_id)
        return bool(rows)

    async def rows(self, status: Collection[str]) -> AsyncIterator[RunRow]:
        """Give the runs of the flow, some at a time. If cancelled, nothing has changed."""
        before: RunRow | None = None
        while True:
            flow, limit = self._engine.flow.name, RECORDS_AT_ONCE
            rows = await self.journal.rows(flow=flow, status=status, limit=limit, before=before)
            for row in rows:
                yield row
            if len(rows) < RECORDS_AT_ONCE:
                return
            before = rows[-1]

    async def _end(self) -> None:
        flow = self._engine.flow.name
        await self.scribe.close()
        try:
            await self.journal.release(self.scribe.owner)
        except Exception as exc:
            log.warning("runs of flow %s stay owned until their lease runs out: %s", flow, exc)
        try:
            await self.journal.close()
        except Exception as exc:
            log.warning("the journal of flow %s could not be closed: %s", flow, exc)
        self._be_closed()

    # -- runs

    async def begin_run(self, core: RunCore, form: str, payload: Any, to: str | None) -> None:
        """Write that a run begins; on return that is durable.

        Raises:
            RunRejected: its id is in the journal already.
            JournalError: it could not be written.

        If cancelled, it may have been written.
        """
        engine = self._engine
        journal = core.journal = RunJournal(core, self.scribe)
        said = beginning(engine, core, form, to)
        blobs: list[bytes] = []
        if form == "message":
            said["input"] = self.payloads(engine.plan.root).encode(payload, blobs)
        try:
            await journal.commit("begun", said, blobs, change="running")
        except RunTaken as exc:
            raise RunRejected(
                f"run_id={core.id!r} is in the journal already; attach to it, if it is one of flow "
                f"{engine.flow.name}, or choose another id, or none"
            ) from exc

    def detach(self, core: RunCore) -> None:
        """Let a run be read from the journal: what leaves it needs no reader."""
        core.detached = core.outbox.kept = True
        core.facade = KeptRun(self._engine, core.id, core.trace_id, "running", None)

    async def attach(self, run_id: str, after: str | None) -> KeptRun:
        """Give a run to be read; see `penguiflow.Runtime.attach`. If cancelled, nothing has changed."""
        engine = self._engine
        if after is not None:
            place_of(after)
        row = await self.journal.row(run_id)
        if row is None or row.flow != engine.flow.name:
            of = f"; it is one of flow {row.flow}" if row is not None else ""
            raise JournalError(f"the journal has no run {run_id!r} of flow {engine.flow.name}{of}")
        if row.status == "running" and run_id not in engine.runs:
            if run_id in self.lost:
                await self._give_up(time.monotonic())
            await self.claim(run_id)
        if run_id in self.unreadable:
            await self.take_up(run_id)
        if run_id in self.unreadable:
            raise self.unreadable[run_id]
        first = await self.journal.read(run_id, 0, 1)
        if not first:
            raise JournalError(f"run {run_id} is cut off in {self.journal!r}: its beginning is missing")
        if after is not None:
            seq = place_of(after)[0]
            if [record.seq for record in await self.journal.read(run_id, seq - 1, 1)] != [seq]:
                raise ValueError(f"{after!r} is no position in run {run_id}: nothing was delivered there")
        begun, _ = unsealed(first[0])
        status: Any = row.status
        return KeptRun(engine, run_id, begun["trace"], status, after)

    def join(self, core: RunCore, caller: RunCore, step: Step, payload: Any) -> None:
        """Let a flow that a step calls write into the journal of the run that calls it."""
        above = caller.journal
        if above is None or step.kept is None or not step.kept.durable:
            return
        scope = above.scope + step.kept.next_call(core.engine.flow.name, payload)
        core.journal = RunJournal(core, self.scribe, above.known, above, scope)
        core.journal.inherit_birth(above, step.item)
        core.state = core.journal.kept_state()

    def payloads(self, site: Site) -> Payloads:
        """Give how what a node gives is written and read; what a run is given, as its root gives it."""
        known = self._payloads.get(site)
        if known is None:
            known = self._payloads[site] = Payloads(kinds_of(site), where_of(site), self._migrate)
        return known

    # -- taking up

    async def _bury(self) -> None:
        """Free the runs of processes of this machine that are gone: their leases need not run out."""
        owners = {row.owner async for row in self.rows(("running",)) if row.owner}
        for owner in owners:
            if is_gone(owner):
                await self.journal.release(owner)

    async def _take_over(self) -> None:
        """Take up what nobody owns, as much as is admitted."""
        engine = self._engine
        while not self._closing and engine.state == "open":
            room = RUNS_AT_ONCE
            if engine.options.max_runs is not None:
                room = min(room, engine.options.max_runs - len(engine.runs))
            if room <= 0:
                return
            rows = await self.journal.claim(self.scribe.owner, engine.flow.name, LEASE_SECONDS, limit=room)
            await self._take_up_all([row.run_id for row in rows])
            if len(rows) < room:
                return

    async def _take_up_all(self, run_ids: list[str]) -> None:
        """Take up some runs, several at a time: what is read at the same time is read at once."""
        left = iter(run_ids)

        async def some() -> None:
            for run_id in left:
                await self.take_up(run_id)

        async with anyio.create_task_group() as group:
            for _ in range(min(READERS, len(run_ids))):
                group.start_soon(some)

    async def take_up(self, run_id: str) -> None:
        """Take up a run that is ours now. One that can't be read is left alone, and told of once.

        If cancelled, it is taken up later, or elsewhere.
        """
        engine = self._engine
        try:
            await make_way(engine, run_id)
            recorded = await self.read(run_id)
            await make_way(engine, run_id)
            if recorded.over is None and engine.state == "open" and run_id not in engine.runs:
                go_on(self, engine, recorded)
            self.unreadable.pop(run_id, None)
        except JournalError as exc:
            self._leave_alone(run_id, exc)
        except Exception as exc:  # whatever is wrong with one run, the others are taken up
            error = JournalError(f"run {run_id}: {described(exc)}")
            error.__cause__ = exc
            self._leave_alone(run_id, error)

    def _leave_alone(self, run_id: str, error: JournalError) -> None:
        self.unreadable[run_id] = error
        log.error("run %s of flow %s can't be taken up: %s", run_id, self._engine.flow.name, error)

    async def read(self, run_id: str) -> Recorded:
        """Read all that is recorded of a run; see `read_run`. If cancelled, nothing has changed."""
        return await read_run(self.journal, run_id)
