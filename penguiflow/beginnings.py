"""Beginnings: how runs come into an open flow.

Owns the door: what is refused there, who waits, and what a run begins with. Invariant: what is let in was
checked and admitted, and is in the journal, where there is one, before anything of it happens. What all runs
share, the `engine` knows.
"""

from __future__ import annotations

import contextvars
import random
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Any

from .admission import check_payload
from .core import RunCore
from .credit import FREE
from .durable_steps import begin_transaction
from .errors import DeadlineExceeded, FlowError, RunRejected
from .given import check_run_options
from .items import Headers, heading_item
from .run import Run, RunScope, Session, facade
from .step import Step
from .traffic import Nobody

if TYPE_CHECKING:
    from .admission_queue import AdmissionQueue
    from .engine import Engine
    from .flow import Flow
    from .keeper import Keeper
    from .options import Options
    from .parking import Parking
    from .plan import Plan
    from .pool import Pool
    from .station import Station


class Beginnings:
    """An open flow as something that runs begin in."""

    __slots__ = ()

    counts: dict[str, int]
    flow: Flow
    keeper: Keeper | None
    options: Options
    parking: Parking
    plan: Plan
    pool: Pool
    queue: AdmissionQueue
    runs: dict[Any, RunCore]
    state: str
    stations: list[Station]
    _ids: random.Random
    _plain_inputs: frozenset[type]

    def check_open(self) -> None:
        """Raise `RunRejected` where no run can begin."""
        if self.state != "open":
            raise RunRejected(
                f"the runtime of flow {self.flow.name} is "
                f"{'not open yet' if self.state == 'new' else self.state}: it takes no runs"
            )

    async def begin(
        self,
        payload: Any,
        headers: Headers | None,
        deadline: float | None,
        run_id: str | None,
        meta: dict[str, Any] | None,
        to: str | None,
        *,
        detached: bool = False,
    ) -> Run:
        """Begin a run. If cancelled, it was not begun."""
        self.check_open()
        is_stream = self._check_payload(payload, to)
        core = await self._admit(headers, deadline, run_id, meta)
        core.detached = detached
        await self._keep(core, "stream" if is_stream else "message", payload, to)
        return self._enter(core, payload, to, is_stream=is_stream)

    async def _keep(self, core: RunCore, form: str, payload: Any, to: str | None) -> None:
        """Write that a run begins, where there is a journal; where that fails, it ends."""
        if self.keeper is None:
            return
        if core.detached:
            self.keeper.detach(core)
        try:
            await self.keeper.begin_run(core, form, payload, to)
        except BaseException as exc:
            if not isinstance(exc, FlowError):  # else there is none, or it is not this one
                self.keeper.forget(core.id)
            core.stop("it was not begun")
            raise

    def _check_payload(self, payload: Any, to: str | None) -> bool:
        """Raise `RunRejected` where no entry takes a payload; say whether it goes in as a stream."""
        if to is None and type(payload) in self._plain_inputs:
            return False
        return check_payload(self.plan, payload, to, is_stream=isinstance(payload, AsyncIterable))

    async def begin_session(
        self,
        headers: Headers | None,
        deadline: float | None,
        run_id: str | None,
        meta: dict[str, Any] | None,
        to: str | None,
    ) -> Session:
        """Begin a run that is fed by hand. If cancelled, it was not begun."""
        self.check_open()
        check_payload(self.plan, None, to, is_stream=True)
        core = await self._admit(headers, deadline, run_id, meta)
        await self._keep(core, "session", None, to)
        item = heading_item(core.heading(self.plan.root, "", 1, None))
        step = Step(core, self.stations[0], None, item, FREE, ())
        if core.journal is not None:
            step.kept = begin_transaction(step)
        core.inputs = 1
        core.open += 1
        step.out = core.open_leg(step, None, explicit=False, to=to)
        core.entered()
        session = core.facade = Session(core, step)
        return session

    def within(
        self, parent: RunCore, payload: Any, headers: Headers, meta: dict[str, Any], step: Step
    ) -> RunScope:
        """Begin a run as a part of another one, called by a step of it: under its id, trace and deadline."""

        async def admit() -> Run:
            self.check_open()
            is_stream = self._check_payload(payload, None)
            core = self.new_core(parent.id, headers.copy(), dict(meta), parent.deadline, parent)
            core.caller = step
            core.begin("", (parent, step.watch.number if step.watch is not None else 0))
            if self.keeper is not None:
                self.keeper.join(core, parent, step, payload)
                if core.journal is not None:
                    core.journal.awaited = step.is_own()
            return self._enter(core, payload, None, is_stream=is_stream)

        return RunScope(admit)

    def _enter(self, core: RunCore, payload: Any, to: str | None, *, is_stream: bool) -> Run:
        """Send the input of a run in."""
        if is_stream:
            item = heading_item(core.heading(self.plan.root, "", 1, None))
            step = self.start_step(core, self.stations[0], payload, item)
            if core.journal is not None:
                step.kept = begin_transaction(step)
            step.out = core.open_leg(step, None, explicit=False, to=to)
        else:
            self.send_in(core, payload, to)
        core.entered()
        return facade(core)

    def send_in(self, core: RunCore, payload: Any, to: str | None) -> None:
        """Send the message in that a run begins with."""
        message = core.message(self.plan.root, payload, None, FREE, ())
        if core.journal is not None:
            message._number = core.journal.input_number()
        core.enter(message, Nobody(), to)  # it fits: nothing of the run waits yet

    async def _admit(
        self, headers: Headers | None, deadline: float | None, run_id: str | None, meta: dict[str, Any] | None
    ) -> RunCore:
        """Admit a run, when there is a place for it. If cancelled, none was taken."""
        check_run_options(headers, deadline, run_id, meta)
        if run_id is not None:
            self._check_id(run_id)
        expires = None if deadline is None else self.parking.now() + deadline
        waited = 0.0
        if self.options.max_runs is not None and self.queue.must_wait(len(self.runs)):
            waited = await self._wait_for_admission(deadline)
            if run_id is not None and run_id in self.runs:  # somebody took it in the meantime
                self.queue.admit_next(self.parking, len(self.runs))
                self._check_id(run_id)
        own = headers.copy() if headers is not None else Headers()
        core = self.new_core(run_id, own, dict(meta or {}), expires)
        core.begin(core.join_trace() if own.extra else "", waited=waited)
        return core

    def _check_id(self, run_id: str) -> None:
        if run_id in self.runs:
            raise RunRejected(
                f"run_id={run_id!r} is in use in flow {self.flow.name}; choose another, or none"
            )

    async def _wait_for_admission(self, deadline: float | None) -> float:
        waited = await self.queue.wait(self.parking, deadline, self.runs)
        if waited is None:
            raise DeadlineExceeded(f"a run of flow {self.flow.name} was not admitted within its deadline")
        self.check_open()
        return waited

    def new_core(
        self,
        run_id: str | None,
        headers: Headers,
        meta: dict[str, Any],
        expires: float | None,
        parent: RunCore | None = None,
    ) -> RunCore:
        digits = f"{self._ids.getrandbits(192):048x}"
        trace_id = digits[:32] if parent is None else parent.trace_id
        run_id = run_id or digits[32:]
        engine: Engine = self  # type: ignore[assignment]  # the only one that is these beginnings
        variables = contextvars.copy_context()
        core = RunCore(engine, run_id, trace_id, headers, meta, expires, variables)
        if parent is not None:
            core.key = core  # several parts of one run may be under way at the same time
        self.runs[core.key] = core
        self.counts["started"] += 1
        return core

    def start_step(self, core: RunCore, station: Station, value: Any, item: Any) -> Step:
        step = Step(core, station, value, item, FREE, ())
        core.open += 1
        core.busy += 1
        core.first_step = step
        self.pool.push(step)
        return step
