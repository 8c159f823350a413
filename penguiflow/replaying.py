"""Replaying: a run executed again by today's code, beside itself, in a journal of its own.

Owns which of its steps are executed. Invariant: the recorded run is only read; what is not to be executed is
repeated from the record, or left out, and none of its code runs, unless its node is not durable. What its
steps do outside of the flow happens again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from .durable_steps import Call
from .errors import FlowError, JournalError
from .history import History, StepHistory, StepId, reader_key, scopes_of
from .interrupts import answer_key
from .journal import Journal, RunChange
from .kept import KeptQuestion
from .mapping import run_side_by_side
from .node import Takes
from .stream import Stream
from .time_travel import Start, before, records_for
from .waiting import Restarted

if TYPE_CHECKING:
    from .core import RunCore
    from .engine import Engine
    from .flow import Flow
    from .step import Step

Part = Literal["all", "step", "until", "from"]
"""What of a run is executed: everything, one step, the steps up to one, or those from one on."""

Around = Callable[[Call, "Step"], Call]
"""Is given what calls a step that is executed; gives what is called instead."""

OWNER = "replay"
RECORDS_AT_ONCE = 1000


@dataclass(slots=True)
class Replayed:
    """What came of a replay.

    Args:
        now: what was recorded of it.
        executed: the steps that were executed.
        question: what the replay has ended with, where there is no recorded answer to it.
    """

    now: History
    executed: set[StepId] = field(default_factory=set)
    question: KeptQuestion | None = None


class Replay:
    """A run, and what of it is executed again.

    Args:
        history: what is recorded of it.
        part: how much is executed.
        number: the step that the part is told by.
        around: is called for each step that is executed.
        extra_seconds: how much more time its deadline leaves it than it had.
    """

    def __init__(
        self,
        history: History,
        part: Part = "all",
        number: int = 0,
        around: Around | None = None,
        extra_seconds: float = 0.0,
    ) -> None:
        self.history: History = history
        self.part: Part = part
        self.number: int = number
        self._around = around
        self._extra_seconds = extra_seconds
        history.check_whole()
        if part != "all":
            history.step(number)

    @property
    def wanted(self) -> list[StepHistory]:
        """The recorded steps that are executed."""
        steps = self.history.steps
        if self.part == "step":
            return [self.history.step(self.number)]
        if self.part == "until":
            return steps[: self.number]
        return steps[self.number - 1 :] if self.part == "from" else steps

    async def run(self, flow: Flow, scratch: Journal) -> Replayed:
        """Execute it.

        Args:
            flow: the flow, as it is today.
            scratch: an open journal, for this replay alone.

        Raises:
            JournalError: the run is one of another flow, or what is recorded does not fit today's code.

        If cancelled, what runs of it is cancelled.
        """
        run_id, row = self.history.run_id, self.history.row
        if row is not None and row.flow != flow.name:
            raise JournalError(f"run {run_id} is one of flow {row.flow!r}, and this flow is {flow.name!r}")
        await self._prepare(flow, scratch)
        replayed = Replayed(History(run_id))
        async with flow.open(journal=scratch, recover=False) as runtime:
            engine = runtime._engine
            for source in list(engine.runs.values()):
                source.stop("the sources of a flow are not replayed")
            gate = _Gate(self, engine, replayed)
            assert engine.keeper is not None
            engine.keeper.gate = gate.call
            await engine.keeper.attach(run_id, None)
            core = engine.runs.get(run_id)
            if core is not None:
                await _Following(self, gate, replayed, core).follow(scratch)
        return replayed

    async def _prepare(self, flow: Flow, scratch: Journal) -> None:
        history = self.history
        kept = self._kept()
        start = Start(
            history.run_id,
            kept,
            history.recorded.answers.__contains__,
            self.number,
            history.step(self.number).settled if self.part == "step" else 0,
            self._extra_seconds,
        )
        change = RunChange(history.run_id, flow.name, "running")
        await scratch.append(OWNER, records_for(history, start), [change])
        for token, answer in history.recorded.answers.items():
            await scratch.post(history.run_id, answer_key(token), answer)
        await scratch.release(OWNER)

    def _kept(self) -> set[StepId]:
        """Give the steps that are repeated from the record."""
        if self.part == "from":
            return before(self.history, self.number)
        if self.part != "step":
            return set()
        step = self.history.step(self.number)
        executed = {step.id, *(caller.id for caller in self.callers(step))}
        return {other.id for other in self.history.all()} - executed - set(self._takers(step))

    def callers(self, step: StepHistory) -> list[StepHistory]:
        """Give the steps that call the flow of which a step is a part: it comes about only by these."""
        callers, known = [], self.history.callers()
        caller = known.get(step.scope)
        while caller is not None:
            callers.append(caller)
            caller = known.get(caller.scope)
        return callers

    def _takers(self, step: StepHistory) -> Iterable[StepId]:
        """Give who takes the streams of a step: what is recorded of them fits these streams no more."""
        nodes = {other.node for other in self.history.all() if other.scope == step.scope}
        for stream in step.streams:
            for node in nodes:
                reader = self.history.find(("", reader_key(node, stream.stream_id)))
                lane = self.history.find((node, stream.stream_id))
                for taker in (reader, lane):
                    if taker is not None and (step.key or not taker.number or taker.number > step.number):
                        yield taker.id


class _Gate:
    """Decides which steps are executed; the others take their input and give nothing."""

    def __init__(self, replay: Replay, engine: Engine, replayed: Replayed) -> None:
        self._part = replay.part
        self._around = replay._around
        self._engine = engine
        self._replayed = replayed
        self._run_id = replay.history.run_id
        self.wanted: set[StepId] = {step.id for step in replay.wanted}
        self.at_work = 0  # wanted steps whose code runs
        self._fed: set[StepId] = set()  # behind those wanted, and gave something before the last of them
        self._scopes: set[str] = {scope for step in replay.wanted for scope in scopes_of(step.node)}
        if replay.part == "until":
            last = max(step.settled for step in replay.wanted)
            self._fed = {step.id for step in replay.history.all() if step.since < last}

    def call(self, call: Call, step: Step) -> Call:
        """Give what is called for a step."""
        if step.station.site.node is None:
            return call
        which = id_of(step)
        if not self._may(which, step):
            return _take_only
        self._replayed.executed.add(which)
        around = call if self._around is None else self._around(call, step)
        return partial(self._execute, around) if which in self.wanted else around

    async def _execute(self, call: Call, step: Step) -> Any:
        self.at_work += 1
        try:
            return await call(step)
        finally:
            self.at_work -= 1
            if self._engine.keeper is not None:
                self._engine.keeper.scribe.tell_readers(self._run_id)

    def _may(self, which: StepId, step: Step) -> bool:
        if self._part in ("all", "from") or which in self.wanted or which in self._fed:
            return True
        return bool(self._scopes) and self._calls(step)

    def _calls(self, step: Step) -> bool:
        """Say whether a step calls a flow of which a step is wanted."""
        kept = step.kept
        assert kept is not None
        called = f"{kept.journal.scope}{kept.key}."
        return any(scope.startswith(called) for scope in self._scopes)


def id_of(step: Step) -> StepId:
    """Say which step it is."""
    kept = step.kept
    assert kept is not None
    if step.lane is None:
        return "", kept.key
    return kept.journal.name(step.station.site), step.lane.out.stream_id


async def _take_only(step: Step) -> None:
    """Take the input of a step, and give nothing. If cancelled, the step is."""
    value = step.value if isinstance(step.value, tuple) else (step.value,)
    streams = [part for part in value if isinstance(part, Stream)]
    if step.station.signature.takes not in (Takes.STREAM, Takes.JOIN) or not streams:
        return
    if len(streams) == 1:
        await _drain(step, streams[0])
        return
    parking, timeout = step.run.pool.parking, step.run.cleanup_timeout
    await run_side_by_side(partial(_drain, step), streams, len(streams), parking, timeout)


async def _drain(step: Step, stream: Stream[Any]) -> None:
    while True:
        try:
            async for _ in stream:
                pass
            return
        except Restarted:
            step.next_attempt()
        except FlowError:
            return  # it is told of where it comes from


class _Following:
    """Reads what is recorded of a replay as it goes on, until there is enough."""

    def __init__(self, replay: Replay, gate: _Gate, replayed: Replayed, core: RunCore) -> None:
        self._replay = replay
        self._gate = gate
        self._replayed = replayed
        self._core = core
        self._left: set[StepId] = set(gate.wanted)

    async def follow(self, journal: Journal) -> None:
        """Read. If cancelled, some was read."""
        now, core = self._replayed.now, self._core
        keeper = core.engine.keeper
        assert keeper is not None
        while not self._has_enough():
            waiter = keeper.scribe.watch(now.run_id)
            try:
                records = await journal.read(now.run_id, len(now.records), RECORDS_AT_ONCE)
                for record in records:
                    now.add(record)
                if records or self._has_enough():
                    continue
                if core.journal is not None and core.journal.lost is not None:
                    raise core.journal.lost
                if core.is_over and core.status != "done":  # of one that is done, the end is on its way
                    return
                await waiter
            finally:
                keeper.scribe.forget(now.run_id, waiter)

    def _has_enough(self) -> bool:
        now = self._replayed.now
        asked = now.recorded.questions
        open_questions = asked.keys() - self._replay.history.recorded.answers.keys()
        if open_questions:
            self._replayed.question = asked[min(open_questions, key=now.asked.__getitem__)]
            return True
        if now.recorded.over is not None:
            return True
        if self._replay.part not in ("step", "until") or self._gate.at_work:
            return False
        self._left -= {step.id for step in now.steps if _is_whole(step)}
        return not self._left


def _is_whole(step: StepHistory) -> bool:
    """Say whether the streams that end with a step have ended."""
    return all(stream.terminal or stream.options.get("explicit") for stream in step.streams)
