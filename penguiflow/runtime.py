"""Runtimes: an open flow, as its users see it.

Owns the words: what can be asked of an open flow. Invariant: when `open` is left, nothing of it is at
work any more. How runs are admitted and what they share, the `engine` knows.
"""

from __future__ import annotations

from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .control import as_control, check_control
from .diagnosis import Diagnosis, diagnose
from .engine import Engine
from .errors import JournalError
from .feeding import Feeding, Source
from .given import check_count, check_seconds_given
from .items import Control, Headers
from .lifecycle import FINAL
from .measures import FlowMeasures
from .parking import outlast
from .run import Run, RunScope, SessionScope, facade, leave
from .snapshots import CalledFlow, called_by, statistics_of, streams_of
from .statistics import RuntimeStatistics, StreamStatistics
from .time_travel import fork

if TYPE_CHECKING:
    from .flow import Flow
    from .interrupts import Interrupts
    from .keeper import Keeper
    from .options import Options


class Runtime:
    """An open flow: ``async with flow.open() as runtime``.

    Args:
        flow: the blueprint.
        options: the limits; see `Flow.open`.
    """

    __slots__ = ("__weakref__", "_engine", "flow")

    def __init__(self, flow: Flow, options: Options) -> None:
        self.flow: Flow = flow
        self._engine = Engine(flow, options)

    async def __aenter__(self) -> Runtime:
        """Open the flow and start its sources. If cancelled, nothing was started."""
        keeper = self._engine.keeper
        if keeper is not None:
            await keeper.open()
        self._engine.open(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Abort what still runs. If cancelled, it is aborted all the same."""
        engine = self._engine
        await outlast(engine.parking, engine.abort, lambda: engine.state == "closed", engine.patience)

    async def abort(self) -> None:
        """Cancel all runs, and close; returns when their steps have ended.

        If cancelled, it goes on without the caller.
        """
        await self._engine.abort()

    async def drain(self, timeout: float | None = None) -> None:
        """Refuse new runs, stop the sources, and deliver what is inside.

        Args:
            timeout: seconds to wait for it.

        Raises:
            TimeoutError: something was left; the text names the nodes that are stuck, and it was aborted.
            ValueError, TypeError: the timeout is no number of seconds; nothing was done.

        If cancelled, nothing is aborted, and new runs are still refused.
        """
        check_seconds_given("timeout", timeout)
        await self._engine.drain(timeout)

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
        return RunScope(partial(self._engine.begin, payload, headers, deadline, run_id, meta, to))

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
        return SessionScope(partial(self._engine.begin_session, headers, deadline, run_id, meta, to))

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
        return await self._engine.begin(payload, headers, deadline, run_id, meta, to, detached=True)

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
        run = await self._engine.begin(payload, headers, deadline, run_id, meta, to)
        try:
            return await run.result()
        finally:
            await leave(run)

    async def attach(self, run_id: str, *, after: str | None = None) -> Run:
        """Give a run of the journal to be read, at work here, elsewhere or nowhere, or over.

        One that nobody works on is taken up. Leaving it, or not reading it, does nothing to it.

        Args:
            run_id: the run.
            after: the `position` of the last item that the reader has; by default it is read from the start.

        Raises:
            JournalError: the journal has no such run of this flow, or can't read it; there is no journal.
            ValueError: ``after`` is no position, or none in this run.

        If cancelled, nothing has changed.
        """
        return await self._keeper().attach(run_id, after)

    async def fork(self, run_id: str, *, at_step: int, new_run_id: str | None = None) -> Run:
        """Begin a detached run with what another one had made durable before a step was settled.

        That step and all behind it are executed, by the code of today; what their steps do outside happens
        again. Answers to questions that were asked before are taken over; to be asked once more, fork at a
        step before. The other run stays as it is. A deadline counts from now.

        Args:
            run_id: the other run, over or not.
            at_step: the number of the step, as ``penguiflow show`` prints it.
            new_run_id: the id of the new run; by default a new one.

        Raises:
            JournalError: the journal has no such run of this flow, or can't read it; there is no journal.
            ValueError: the run has no such step, or it is not settled.
            RunRejected: the id is in use, or the runtime takes no runs.

        If cancelled, the run was begun or not.
        """
        self._keeper()
        return await fork(self._engine, run_id, at_step, new_run_id)

    async def feed(self, source: Source[Any], *, limit: int = 64, skip_failed: bool = False) -> None:
        """Make a durable run of each item of a source, until that ends, and commit what is settled.

        A position is committed when the runs of all items up to it are over (rule 5.4). An item that is given
        again, after a crash, is known by the id of its run, ``NAME:POSITION``, and is not run again, as long
        as the journal keeps the run.

        Args:
            source: the source.
            limit: how many of its runs may be under way.
            skip_failed: give up items whose runs fail; else the first failure ends it, uncommitted.

        Raises:
            JournalError: there is no journal, or it failed.
            FlowError: what a run has failed with.

        If cancelled, the runs go on, and what was not committed is given again.
        """
        self._keeper()
        check_count("limit", limit)
        await Feeding(self, source, limit, skip_failed).feed()

    def interrupts(self) -> Interrupts:
        """Give the questions of steps that wait for answers (`Context.interrupt`).

        As a sequence, those that this process knows: of runs that are at work here, and of the others as of
        some seconds ago. Awaited, those of all runs of the flow, as the journal has them now.

        Raises:
            JournalError: there is no journal.
        """
        return self._keeper().desk.known()

    async def answer(self, run_id: str, token: str, value: Any) -> None:
        """Answer a question, and let the run go on, here or where it is at work.

        Args:
            run_id: the run.
            token: the question, see `Interrupt.token`.
            value: the answer: JSON, bytes, or a model of JSON.

        Raises:
            JournalError: there is no such question, it has its answer already (rule 5.5), or its run is over.
            TypeError: the answer can't be kept.

        On return the answer is durable. If cancelled, it was given or not.
        """
        await self._keeper().desk.answer(run_id, token, value)

    def _keeper(self) -> Keeper:
        keeper = self._engine.keeper
        if keeper is None:
            name = self.flow.name
            raise JournalError(f"flow {name} was opened without a journal: give open(journal=…)")
        if self._engine.state in ("new", "closed"):
            self._engine.check_open()
        return keeper

    def runs(self) -> tuple[Run, ...]:
        """Give the live runs."""
        return tuple(facade(core) for core in self._engine.runs.values())

    async def control(self, kind: str | Control, payload: Any = None, *, to: str | None = None) -> None:
        """Send a command to all live runs; see `Run.control`. If cancelled, it was sent all the same.

        Raises:
            RunRejected: the runtime is not open: nothing hears it.
            ValueError, TypeError: the command makes no sense; see `Run.control`.
        """
        if self._engine.state in ("new", "closed"):
            self._engine.check_open()
        control = as_control(kind, payload, to, None)
        check_control(control, self._engine.plan)
        cores = list(self._engine.runs.values())
        for core in cores:
            core.control(control)
        for core in cores:
            if core.status in FINAL:
                await core.ended()

    # -- statistics

    def streams(self) -> tuple[StreamStatistics, ...]:
        """Give the open streams, but for those of flows that steps call (`called`)."""
        return streams_of(self._engine)

    def statistics(self) -> RuntimeStatistics:
        """Give a snapshot of the flow, without those that its steps call (`called`)."""
        return statistics_of(self._engine)

    def called(self) -> tuple[CalledFlow, ...]:
        """Give the flows and nodes that steps have called so far, by `Context.call`, and what these call."""
        return called_by(self._engine)

    def diagnose(self, run_id: str | None = None) -> tuple[Diagnosis, ...]:
        """Say what each live run waits for, or the one of an id: who holds it up, and where in the code.

        Args:
            run_id: the only run that is wanted; nothing is given where no such run is live.
        """
        cores = list(self._engine.runs.values())
        return tuple(diagnose(core) for core in cores if run_id is None or core.id == run_id)

    def measures(self) -> FlowMeasures | None:
        """Give what is recorded of the flow, its nodes and its edges; ``None`` where no observer wants it.

        It is recorded on while it is read, on the event loop's thread. Those of flows that steps call are in
        `called`.
        """
        return self._engine.measures

    def __repr__(self) -> str:
        engine = self._engine
        return f"<runtime of flow {self.flow.name}, {engine.state}, {len(engine.runs)} runs>"
