"""Transactions: a step, as the journal of its run sees it.

Owns how a step becomes durable, and how a settled one gives again what it gave. Invariants (rules 5.1, 5.2):
what a step returns and emits, what it wants remembered and that its input is settled are one record; nothing
of it goes on before that is durable. A settled step is not executed: what is recorded of it goes on instead.

What a step emits as messages is held back until it is over; beyond a window of them they are written and go
on, and if the step is executed again, that many are taken as emitted. The chunks of its streams go on as they
come (`kept_leg`): an attempt that was cut off is followed by the next one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from .items import Chunk, Message
from .journal import Statement
from .kept import KeptStep
from .policy import Resume
from .repeating import send_again
from .run_journal import RunJournal, digest, named_source
from .sayings import Sayings
from .settling import settle
from .telling import position, told_error, told_extras, told_state

if TYPE_CHECKING:
    from .joining import Gathering
    from .step import Step

Letter = tuple[Message[Any], str | None]


@dataclass(frozen=True, slots=True)
class PreviousAttempt:
    """What a step had given before its process ended.

    Args:
        attempt: the last attempt before this one.
        chunks: the payloads of the stream that it gave, as far as they were out.
        messages: the payloads of the messages that it had sent on.
    """

    attempt: int
    chunks: tuple[Any, ...]
    messages: tuple[Any, ...]


class Transaction:
    """What the journal knows of a step.

    Args:
        step: the step.
        durable: whether it is written; else it is only told apart from others.
    """

    __slots__ = (
        "_numbers",
        "_sayings",
        "_skip",
        "_statements",
        "_streams",
        "durable",
        "elsewhere",
        "first",
        "goes_on",
        "journal",
        "key",
        "known",
        "next_id",
        "sent",
        "source",
        "step",
        "stream_attempt",
    )

    def __init__(self, step: Step, *, durable: bool) -> None:
        journal = step.run.journal
        assert journal is not None
        self.journal: RunJournal = journal
        self.step: Step = step
        self.key: str = journal.step_key(step.station.site, step.item)
        self.durable: bool = durable
        self.known: KeptStep | None = None  # it is settled
        self.sent: KeptStep | None = None  # it is not, but has sent something on
        self.goes_on: bool = False
        self.stream_attempt: int = 1
        self.next_id: str | None = None
        self.first: int = 1  # as which attempt it is begun in this process
        self.elsewhere: bool = False  # a step on a chunk has written elsewhere than behind it
        self.source: int | str = source_of(step)
        self._statements: tuple[Statement, ...] = ()
        self._numbers = self._streams = self._skip = 0
        self._sayings = Sayings()
        if journal.known is not None:
            self._look_up(journal)

    def _look_up(self, journal: RunJournal) -> None:
        known = journal.known
        assert known is not None
        step = self.step
        found = known.steps.get(self.key)
        if found is not None and found.settled and self.durable:
            self.known = found
            self.durable = False
            step.attempt = found.attempt
        else:
            self.sent = found
            step.attempt = journal.attempt_at(step.item)
        streams = known.streams_of(self.key)
        last = max((stream.attempt for stream in streams), default=0)
        if self.known is not None:
            self.stream_attempt = max(last, 1)
            return
        self.goes_on = bool(streams) and step.station.policy.resume is Resume.CONTINUE
        self.stream_attempt = last if self.goes_on else max(step.attempt, last + 1)
        step.attempt = max(step.attempt, self.stream_attempt)
        self.first = step.attempt

    # -- identities

    def next_number(self) -> str:
        """Give the identity of the next message that the step gives."""
        number = digest(self.key, self._numbers)
        self._numbers += 1
        recorded = self.known or self.sent
        if not self.step.station.keeps:
            self.journal.as_old_as(number, self.step.item)
        elif recorded is not None and self.journal.known is not None:
            seq = recorded.durable_since(self._numbers - 1)
            if seq is not None:
                self.journal.known.born[number] = seq
        return number

    def take_back(self, count: int) -> None:
        """Take identities back: of what a failed attempt had emitted, and nobody has got."""
        self._numbers -= count

    def begin_again(self) -> None:
        """Begin another attempt: it calls and asks the same again, and its streams are new attempts."""
        self.stream_attempt += 1
        self._sayings = Sayings()
        self._statements = ()
        if self.durable:
            self.step.forget_letters()

    def next_stream(self, name: str) -> str:
        """Give the id of the next stream that the step opens without naming it."""
        if self.next_id is not None:
            known, self.next_id = self.next_id, None
            return known
        self._streams += 1
        return f"{name}-{digest(self.key, 'stream', self._streams)[:12]}"

    def next_call(self, called: str, payload: Any) -> str:
        """Give the scope of a flow that the step calls; the step's key is in front of it."""
        return f"{self.key}.{self._sayings.place(self.key, 'call', called, payload)[:12]}/"

    def next_question(self, question: Any) -> str:
        """Give what tells a question from the others that the step asks."""
        self._sayings.questions += 1
        return self._sayings.place(self.key, "question", question)

    def questions(self) -> int:
        """Count the questions that this execution of the step has asked."""
        return self._sayings.questions

    def previous(self) -> PreviousAttempt | None:
        """Give what an execution before this one has given, in a process that is gone."""
        known, step = self.journal.known, self.step
        if known is None or self.first <= 1:
            return None
        decode = self.journal.payloads(step.station.site).decode
        chunks = [chunk.payload for stream in known.streams_of(self.key) for chunk in stream.chunks]
        letters = [letter.payload for letter in self.sent.letters] if self.sent is not None else []
        return PreviousAttempt(self.first - 1, tuple(map(decode, chunks)), tuple(map(decode, letters)))

    def also(self, sql: str, parameters: tuple[Any, ...]) -> None:
        """Write more in the transaction that settles the step; see `penguiflow.Context.also`."""
        self._statements = (*self._statements, Statement(self.journal.root.run_id, sql, parameters))

    def take_statements(self) -> tuple[Statement, ...]:
        """Give what is to be written with the settling of the step, once."""
        statements, self._statements = self._statements, ()
        return statements

    # -- becoming durable

    def skips(self) -> bool:
        """Say whether the next message was emitted already, before the step was executed again."""
        if self._skip == 0:
            return False
        self._skip -= 1
        return True

    async def begin(self) -> None:
        """Send again what an earlier execution has sent on.

        If cancelled, the step is.
        """
        step, sent = self.step, self.sent
        if sent is None:
            return
        self.elsewhere = True
        step.held_letters = None
        for letter in sent.letters:
            await send_again(step, letter)
        self._skip = len(sent.letters)

    async def send(self, letters: list[Letter]) -> None:
        """Write messages, and send them on; the step is not over.

        If cancelled, they may be durable, and go on then.
        """
        await self._send(await self._take_credit(letters))

    async def _send(self, letters: list[Letter]) -> None:
        self.elsewhere = True
        said, blobs = self._said()
        said["letters"] = self._told(letters, blobs)
        await self.journal.commit("sent", said, blobs, partial(self._forward, letters))
        await self.step.accepted()

    async def settle(self, letters: list[Letter], result: Any) -> None:
        """Write that the step is over and what it has given, and send that on.

        If cancelled, it may be durable, and goes on then.
        """
        step = self.step
        letters = await self._take_credit(letters)
        said, blobs = self._said()
        if letters:
            said["letters"] = self._told(letters, blobs)
        if result is not None:
            said["result"] = self.journal.payloads(step.station.site).encode(result, blobs)
        said.update(told_state(step.state, blobs))

        def durable(seq: int) -> None:
            if not step.run.stopped:
                step.commit_state()
            self._forward(letters, seq)
            if result is not None:
                self._forward_result(result, position(seq, len(letters)))

        await self.journal.commit("step", said, blobs, durable, statements=self.take_statements())
        await step.accepted()

    async def spread(self, parts: Iterator[Any]) -> None:
        """Write the parts of a spread, as many as there is credit for at a time, and send them on.

        The step is settled with the last of them. If cancelled, what is durable goes on.
        """
        step = self.step
        gatherings = step.run.begin_gatherings(step)
        step.attempts_spent = True
        ready: list[Letter] = []
        try:
            known = await self._spread_again(parts, gatherings)
            for index, payload in enumerate(parts, known):
                ready = await self._add_part(payload, index, gatherings, ready)
            await self._spread_some(ready, is_last=True)
        except Exception:
            if ready and not step.run.stopped:  # what came before the failure goes first
                await self._spread_some(ready, is_last=False)
            raise
        finally:
            for gathering in gatherings:
                gathering.one_less()

    async def _spread_again(self, parts: Iterator[Any], gatherings: list[Gathering]) -> int:
        """Send parts again that an earlier execution has sent; gives how many."""
        known = (self.sent.parts or ()) if self.sent is not None else ()
        decode = self.journal.payloads(self.step.station.site).decode
        for index, payload in enumerate(known):
            next(parts, None)
            await self.step.emit_part(
                decode(payload), tuple(gathering.part(index) for gathering in gatherings)
            )
        return len(known)

    async def _add_part(
        self, payload: Any, index: int, gatherings: list[Gathering], ready: list[Letter]
    ) -> list[Letter]:
        """Give credit to a part; gives those that are to be sent (see `_take_credit`)."""
        step = self.step
        step.station.promise.check(payload)
        ticket = step.letter_credit_nowait(payload)
        if ready and (ticket is None or len(ready) >= step.run.window):
            await self._spread_some(ready, is_last=False)
            ready = []
        if ticket is None:
            ticket = await step.letter_credit(payload)
        message = step.message_of(payload, ticket)
        message._tokens += tuple(gathering.part(index) for gathering in gatherings)
        ready.append((message, None))
        return ready

    async def _spread_some(self, letters: list[Letter], *, is_last: bool) -> None:
        step = self.step
        encode = self.journal.payloads(step.station.site).encode
        said, blobs = self._said()
        said["parts"] = [encode(message.payload, blobs) for message, _ in letters]
        if is_last:
            said.update(told_state(step.state, blobs))

        def durable(seq: int) -> None:
            if is_last and not step.run.stopped:
                step.commit_state()
            self._forward(letters, seq)

        statements = self.take_statements() if is_last else ()
        await self.journal.commit("step" if is_last else "sent", said, blobs, durable, statements=statements)
        await step.accepted()

    def told_elsewhere(self) -> None:
        """Write that a step on a chunk is over that has written elsewhere than behind it."""
        said, blobs = self._said_of_chunk()
        said.update(told_state(self.step.state, blobs))
        self.journal.write("step", said, blobs, statements=self.take_statements())

    def failed(self, error: BaseException) -> None:
        """Write that the step has failed for good."""
        if self.durable:
            said, blobs = self._said_of_chunk() if self.step.lane is not None else self._said()
            said["error"] = told_error(error)
            self.journal.write("step", said, blobs)

    def _said_of_chunk(self) -> tuple[dict[str, Any], list[bytes]]:
        """Say with one record that the step is settled, and that its chunk is worked off."""
        said, blobs = self._said()
        said["processed"], said["above"] = self.source, self.step.lane.out.keeper.above
        return said, blobs

    def _said(self) -> tuple[dict[str, Any], list[bytes]]:
        step = self.step
        said = {"key": self.key, "node": self.journal.name(step.station.site), "attempt": step.attempt}
        if step.lane is not None:
            said["stream"] = step.lane.out.stream_id
        if step.reads:
            said["read"] = [(lane.stream.taken, lane.over()) for lane in step.reads]
        return said, []

    async def _take_credit(self, letters: list[Letter]) -> list[Letter]:
        """Give credit to messages; gives those that are to be sent.

        Where one must wait, those before it are sent first: who waits for credit holds none that he could
        wait for (rule 2.5), however few bytes the window has, and whoever shares it.
        """
        ready: list[Letter] = []
        for message, to in letters:
            ticket = self.step.letter_credit_nowait(message.payload, to)
            if ticket is None and ready:
                await self._send(ready)
                ready = []
            if ticket is None:
                ticket = await self.step.letter_credit(message.payload, to)
            message._ticket = ticket
            ready.append((message, to))
        return ready

    def _told(self, letters: list[Letter], blobs: list[bytes]) -> list[dict[str, Any]]:
        encode = self.journal.payloads(self.step.station.site).encode
        told = []
        inherited = self.step.item._heading.headers
        for message, to in letters:
            said: dict[str, Any] = {"payload": encode(message.payload, blobs)}
            if to is not None:
                said["to"] = to
            own = message._heading.headers
            said.update(told_extras(own if own is not inherited else None, message._meta))
            told.append(said)
        return told

    def _forward(self, letters: list[Letter], seq: int) -> None:
        """Send messages on that are durable now, unless the run is over."""
        step, run = self.step, self.step.run
        for index, (message, to) in enumerate(letters):
            if run.stopped:
                settle(message)
                continue
            message._position = position(seq, index)
            run.forward(step.station.site, message, step, to)

    def _forward_result(self, result: Any, at: str) -> None:
        step, run = self.step, self.step.run
        if run.stopped or step.settled:
            return
        message = step.result_message(result)
        message._position = at
        run.forward(step.station.site, message, step)


def source_of(step: Step) -> int | str:
    """Give what a chunk that a step makes is made of: the number of a chunk, or that and its writer."""
    item = step.item
    if step.lane is None or not isinstance(item, Chunk):
        return 0
    return named_source(step.station.site, item)
