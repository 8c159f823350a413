"""Interrupts: steps that wait for an answer from outside.

Owns questions and their answers. Invariants: a question is durable before anybody hears of it; of all the
answers to one, the first is taken, whoever gives it, where and when (rule 5.5); a time limit that has passed
is an answer, too. A step that is executed again asks the same, in whatever order, and finds the answers.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

from pydantic import ValidationError

from .errors import JournalError
from .items import Interrupt
from .journal import RunRow
from .kept import NOTHING, KeptQuestion
from .payloads import ANYTHING, lift
from .policy import Delivery
from .questions import Asking, expected, shown_question, shown_value
from .recorded import Recorded, interrupt_of
from .run_journal import digest
from .sealed import seal, unseal
from .timing import SOURCE
from .waits import Wait

if TYPE_CHECKING:
    from .keeper import Keeper
    from .step import Step

ANSWER_SECONDS = 1.0
"""How often answers are looked for that were given elsewhere."""

PARK_SECONDS = 5.0
"""What waits for less than that stays in memory."""

FOREVER = 1e9
"""Seconds."""

LATE = "late"
"""Stands for the answer where there is none within the time, and no default."""


@dataclass(slots=True)
class Parked:
    """A run outside of memory: how many records it had, what it waits for, and until when."""

    records: int
    interrupts: tuple[Interrupt, ...]
    due: float | None


class Interrupts(Sequence[Interrupt]):
    """The questions that wait for answers: as this process knows them, and, awaited, as the journal does.

    Args:
        desk: where they lie.
        known: those that are known here.
    """

    __slots__ = ("_desk", "_known")

    def __init__(self, desk: Desk, known: tuple[Interrupt, ...]) -> None:
        self._desk = desk
        self._known = known

    @overload
    def __getitem__(self, index: int) -> Interrupt: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Interrupt, ...]: ...

    def __getitem__(self, index: int | slice) -> Interrupt | tuple[Interrupt, ...]:
        """Give one of those that are known here, or some."""
        return self._known[index]

    def __len__(self) -> int:
        """Count those that are known here."""
        return len(self._known)

    def __await__(self) -> Generator[Any, None, tuple[Interrupt, ...]]:
        """Give those of all runs of the flow, as the journal has them."""
        return self._desk.look_everywhere().__await__()

    def __repr__(self) -> str:
        return repr(list(self._known))


class Desk:
    """Where the questions of an open flow lie until they are answered.

    Args:
        keeper: the flow's journal.
    """

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._open: dict[tuple[str, str], Interrupt] = {}
        self._waits: dict[tuple[str, str], Wait] = {}
        self._parked: dict[str, Parked] = {}

    # -- those who ask

    async def ask(self, step: Step, question: Any, asking: Asking) -> Any:
        """Ask, and wait for the answer; ask again as long as it is of the wrong type.

        Raises:
            TimeoutError: none came in time, and there is no default.

        If cancelled, the question stays.
        """
        assert step.kept is not None
        if step.station.policy.delivery is Delivery.AT_MOST_ONCE:
            where = step.station.site.key
            raise TypeError(
                f"{where} can't ask: it is settled before it is executed (Delivery.AT_MOST_ONCE), and would "
                "not be executed again when the answer comes"
            )
        shown = shown_question(step, question)
        which = step.kept.next_question(shown)
        problem = ""
        for attempt in range(1, 1_000_000):
            place = digest(which, attempt)
            answer = await self._answer_to(step, place, shown, asking, problem)
            if answer is NOTHING:
                where = f"node {step.station.site.key} in run {step.run.id}"
                raise TimeoutError(f"{where}: no answer within {asking.timeout} s")
            try:
                return expected(answer, asking.expect)
            except ValidationError as exc:
                problem = f"the answer before this was refused: {exc}"
        raise AssertionError("nobody answers a million times")

    async def _answer_to(self, step: Step, place: str, shown: Any, asking: Asking, problem: str) -> Any:
        """Give the answer to one question; ``NOTHING`` where it is too late for one."""
        journal = step.run.journal
        assert journal is not None
        run_id = journal.root.run_id
        before = journal.known
        known = before.places.get(place) or self._replayed(step, before) if before is not None else None
        if known is None:
            known = await self._put(step, place, shown, asking, problem)
        elif before is not None and known.token in before.answers:
            return answer_in(before.answers[known.token], run_id)
        token, interrupt = known.token, interrupt_of(run_id, known)
        self._open[run_id, token] = interrupt
        step.run.tell_reader(interrupt)
        try:
            return await self._wait(step, run_id, known, asking)
        finally:
            self._open.pop((run_id, token), None)
            self._waits.pop((run_id, token), None)

    def _replayed(self, step: Step, recorded: Recorded) -> KeptQuestion | None:
        """Give the question that was asked in the place of one, of a run that is replayed by changed code.

        Where a run goes on, it would be guesswork to take an answer for another question.
        """
        assert step.kept is not None
        if self._keeper.gate is None:
            return None
        asked = [question for question in recorded.questions.values() if question.key == step.kept.key]
        return asked[step.kept.questions() - 1] if step.kept.questions() <= len(asked) else None

    async def _put(self, step: Step, place: str, shown: Any, asking: Asking, problem: str) -> KeptQuestion:
        journal, kept, now = step.run.journal, step.kept, time.time()
        token = secrets.token_hex(12)
        assert journal is not None
        assert kept is not None
        expires = None if asking.timeout is None else now + asking.timeout
        said: dict[str, Any] = {
            "token": token,
            "place": place,
            "key": kept.key,
            "node": journal.name(step.station.site),
            "question": shown,
            "asked": now,
        }
        if problem:
            said["problem"] = problem
        if expires is not None:
            said["expires"] = expires
        await journal.commit("asked", said)
        return KeptQuestion(token, place, said["node"], kept.key, shown, now, expires, problem)

    async def _wait(self, step: Step, run_id: str, known: KeptQuestion, asking: Asking) -> Any:
        parking = step.run.pool.parking
        wait = Wait(step.run, f"{step.station.site.key} waits for an answer ({known.token})", state=SOURCE)
        if not self._waits:
            self._keeper.look_within(ANSWER_SECONDS)
        self._waits[run_id, known.token] = wait
        step.run.asks += 1
        timer, late = None, []
        if known.expires is not None:

            def pass_by() -> None:
                late.append(True)
                wait.wake()

            timer = parking.later(max(0.0, known.expires - time.time()), pass_by)
        try:
            await step.wait(wait)
        finally:
            step.run.asks -= 1
            if timer is not None:
                timer.cancel()
        if late:
            await self._be_late(run_id, known, asking)
        return await self._taken(run_id, known)

    async def _be_late(self, run_id: str, known: KeptQuestion, asking: Asking) -> None:
        """Let the default be the answer, or none, unless there is one: it is too late for others."""
        said: dict[str, Any] = {"status": LATE}
        blobs: list[bytes] = []
        if asking.default is not NOTHING:
            said = {"value": ANYTHING.encode(shown_value(asking.default), blobs)}
        await self._keeper.journal.post(run_id, answer_key(known.token), seal(said, blobs))

    async def _taken(self, run_id: str, known: KeptQuestion) -> Any:
        """Give the answer that was taken."""
        journal = self._keeper.journal
        posts = await journal.posts([run_id])
        data = posts.get(run_id, {}).get(answer_key(known.token))
        if data is None:
            raise JournalError(f"the answer to {known.token} of run {run_id} is gone from {journal!r}")
        return answer_in(data, run_id)

    # -- those who answer

    async def answer(self, run_id: str, token: str, value: Any) -> None:
        """Give the answer to a question, and let the run go on.

        Raises:
            JournalError: there is no such question, it is answered, or its run is over.

        If cancelled, it was given or not.
        """
        keeper = self._keeper
        recorded = await keeper.read(run_id)
        if token not in recorded.questions:
            raise JournalError(f"run {run_id} has asked no question {token!r}")
        if recorded.over is not None:
            raise JournalError(f"run {run_id} is over ({recorded.over['status']}): it takes no answers")
        expires = recorded.questions[token].expires
        if expires is not None and expires <= time.time():
            raise JournalError(f"question {token} of run {run_id} takes no answer any more: its time is up")
        blobs: list[bytes] = []
        data = seal({"value": ANYTHING.encode(shown_value(value), blobs)}, blobs)
        if not await keeper.journal.post(run_id, answer_key(token), data):
            text = f"question {token} of run {run_id} has its answer already: the first one counts"
            raise JournalError(f"{text} (rule 5.5)")
        wait = self._waits.get((run_id, token))
        if wait is not None:
            _tell(wait)
        else:
            self._parked.pop(run_id, None)
            await keeper.claim(run_id)

    async def deliver(self) -> None:
        """Wake those who wait for answers that were given elsewhere. If cancelled, some are woken later."""
        if not self._waits:
            return
        posts = await self._keeper.journal.posts({run_id for run_id, _ in self._waits})
        for (run_id, token), wait in list(self._waits.items()):
            if answer_key(token) in posts.get(run_id, {}):
                _tell(wait)

    # -- those who look

    def known(self) -> Interrupts:
        """Give the questions that are known here."""
        parked = [interrupt for some in self._parked.values() for interrupt in some.interrupts]
        return Interrupts(self, _each_once([*self._open.values(), *parked]))

    async def look(self) -> tuple[Interrupt, ...]:
        """Give the questions of all runs of the flow, as the journal has them.

        If cancelled, nothing has changed.
        """
        keeper, parked = self._keeper, {}
        async for row in keeper.rows(("interrupted",)):
            before = self._parked.get(row.run_id)
            if before is not None and before.records == row.records:
                parked[row.run_id] = before
            else:
                parked[row.run_id] = await self._read(row)
        self._parked = parked
        return tuple(self.known())

    async def look_everywhere(self) -> tuple[Interrupt, ...]:
        """Give the questions of all runs of the flow, also of those that other processes have in memory.

        If cancelled, nothing has changed.
        """
        found = list(await self.look())
        async for row in self._keeper.rows(("running",)):
            if self._keeper.live(row.run_id) is None:
                found += (await self._read(row)).interrupts
        return _each_once(found)

    async def _read(self, row: RunRow) -> Parked:
        try:
            recorded = await self._keeper.read(row.run_id)
        except JournalError:
            return Parked(row.records, (), None)  # it is told of where it is taken up
        questions = recorded.open_questions()
        limits = [question.expires for question in questions if question.expires is not None]
        if "deadline" in recorded.begun:
            limits.append(recorded.begun["deadline"])
        if recorded.may_go_on():  # while it was taken out of memory, by a process that is gone
            limits.append(0.0)
        interrupts = tuple(interrupt_of(row.run_id, question) for question in questions)
        return Parked(row.records, interrupts, min(limits, default=None))

    def may_park(self, run_id: str) -> bool:
        """Say whether a run is worth being taken out of memory: no time limit of it will soon have passed."""
        soon = time.time() + PARK_SECONDS
        limits = [known.expires for (asking, _), known in self._open.items() if asking == run_id]
        run = self._keeper.live(run_id)
        if run is not None and run.deadline is not None:
            limits.append(soon - PARK_SECONDS + run.deadline - run.pool.parking.now())
        return all(limit is None or limit > soon for limit in limits)

    def asked_by(self, run_id: str) -> list[str]:
        """Give the tokens of the questions that a run waits with."""
        return [token for asking, token in self._open if asking == run_id]

    def overdue(self) -> list[str]:
        """Give the runs outside of memory for which a time limit has passed."""
        now = time.time()
        return [run_id for run_id, due in self._limits().items() if due <= now]

    def patience(self) -> float:
        """Say for how many seconds nothing need be looked at."""
        now = time.time()
        limits = [due - now for due in self._limits().values()]
        if self._waits:
            limits.append(ANSWER_SECONDS)
        return max(0.0, min(limits, default=FOREVER))

    def _limits(self) -> dict[str, float]:
        """Give until when runs outside of memory wait, but for those that can't be taken up."""
        return {
            run_id: some.due
            for run_id, some in self._parked.items()
            if some.due is not None and run_id not in self._keeper.unreadable
        }


def _each_once(interrupts: list[Interrupt]) -> tuple[Interrupt, ...]:
    """Give each question once: a run that is just leaving memory is known here, and in the journal."""
    return tuple({(interrupt.run_id, interrupt.token): interrupt for interrupt in interrupts}.values())


def _tell(wait: Wait) -> None:
    """Wake who waits for an answer; a run that is about to leave memory finds it when it has left."""
    journal = wait.run.journal
    if journal is None or not journal.root.parking:
        wait.wake()


def answer_key(token: str) -> str:
    """Name the answer to a question among what is left for a run."""
    return f"answer {token}"


def answer_in(data: bytes, run_id: str) -> Any:
    """Read an answer; ``NOTHING`` where it was too late for one."""
    body, blobs = unseal(data, f"an answer for run {run_id}")
    return NOTHING if body.get("status") == LATE else ANYTHING.decode(lift(body["value"], blobs))
