"""Letters: the messages that a step emits beside what it returns.

Owns the window of a step's messages, and those that a retry holds back. Invariant: the step's input is not
settled before all of its messages are home; a message leaves behind what was emitted before it.
"""

from __future__ import annotations

from typing import Any

from .completion import Tokens, hold, release
from .credit import FREE, Account, Copies, Ticket
from .emission import Emission
from .errors import RunCancelled
from .items import Message, copy_message
from .waits import Room, Wait


class Letters(Emission):
    """A step as the sender of messages."""

    __slots__ = ("held_letters", "letters", "letters_ride_on")

    held_letters: list[tuple[Message[Any], str | None]] | None
    letters: Account | None
    letters_ride_on: Copies | None
    spent: int

    async def emit_message(
        self, payload: Any, to: str | None, headers: Any, meta: dict[str, Any] | None
    ) -> Message[Any]:
        """Emit one message under the step's own window.

        If cancelled while it waits for credit, nothing was emitted.
        """
        self._check_emission(payload, to)
        if self.kept is not None and self.kept.skips():
            return self._skipped(payload, headers, meta)
        if self.held_letters is not None:
            message = self.message_of(payload, FREE, headers, meta)
            self.held_letters.append((message, to))
            if len(self.held_letters) >= self.run.window:
                self.attempts_spent = True
                await self.let_letters_go()
            return copy_message(message, message._number)
        ticket = await self.letter_credit(payload, to)
        message = self.message_of(payload, ticket, headers, meta)
        await self._send(message, to)
        return copy_message(message, message._number)

    async def emit_part(self, payload: Any, part: Tokens) -> None:
        """Emit one part of a spread under the step's own window.

        If cancelled while it waits for credit, the part is left out.
        """
        try:
            self._check_emission(payload, None)
            self.station.promise.check(payload)
            ticket = await self.letter_credit(payload, None)
        except BaseException:
            release(part)
            raise
        message = self.message_of(payload, ticket)
        message._tokens += part
        await self._send(message, None)

    def emit_message_nowait(
        self, payload: Any, to: str | None, headers: Any, meta: dict[str, Any] | None
    ) -> Message[Any] | None:
        """Emit one message if there is credit and room for it; ``None`` where there is not."""
        self._check_emission(payload, to)
        if self.kept is not None and self.kept.skips():
            return self._skipped(payload, headers, meta)
        if self.held_letters is not None and len(self.held_letters) < self.run.window:
            message = self.message_of(payload, FREE, headers, meta)
            self.held_letters.append((message, to))
            return copy_message(message, message._number)
        if self.kept is not None and self.kept.durable:
            return None
        if self.doors or self.run.paused or not self.run.has_room(self.station.site, payload, to):
            return None
        ticket = self._letter_credit(payload, to)
        if ticket is None:
            return None
        message = self.message_of(payload, ticket, headers, meta)
        self.flush()
        self.run.forward(self.station.site, message, self, to)
        return copy_message(message, message._number)

    async def let_letters_go(self) -> None:
        """Emit the messages that were held back. If cancelled, what is left of them is lost with the step."""
        held, self.held_letters = self.held_letters or [], None
        if self.kept is not None and self.kept.durable:
            await self.kept.send(held)
            self.held_letters = []
            return
        for message, to in held:
            message._ticket = await self.letter_credit(message.payload, to)
            await self._send(message, to)

    def forget_letters(self) -> None:
        """Forget the messages that a failed attempt held back."""
        held, self.held_letters = self.held_letters or [], []
        if self.kept is not None:
            self.kept.take_back(len(held))
        for message, _ in held:
            tokens, message._tokens = message._tokens, ()
            release(tokens)

    def _check_emission(self, payload: Any, to: str | None) -> None:
        self.check_alive()
        self.run.check_accepted(self.station.site, payload, to)

    def _skipped(self, payload: Any, headers: Any, meta: dict[str, Any] | None) -> Message[Any]:
        """Give what stands for a message that was sent on already, before the step was executed again."""
        message = self.message_of(payload, FREE, headers, meta)
        assert self.kept is not None
        self.kept.take_back(1)
        tokens, message._tokens = message._tokens, ()
        release(tokens)
        return message

    def message_of(
        self,
        payload: Any,
        ticket: Ticket = FREE,
        headers: Any = None,
        meta: dict[str, Any] | None = None,
    ) -> Message[Any]:
        """Make a message of the step; it can feed what the step's input can."""
        message = self.run.message(
            self.station.site, payload, self.item, ticket, hold(self.tokens), headers, meta
        )
        if self.kept is not None:
            message._number = self.kept.next_number()
        if self.watch is not None:
            message._origin = self.watch.span
        return message

    async def _send(self, message: Message[Any], to: str | None) -> None:
        if self.clock is not None:
            self.clock.output()
        self.flush()  # what was emitted before goes before
        self.run.forward(self.station.site, message, self, to)
        self.spent += 1
        await self.accepted()

    async def letter_credit(self, payload: Any, to: str | None = None) -> Ticket:
        """Spend credit for one message, waiting for it if need be. If cancelled, none was spent."""
        await self.let_others_run()
        if self.run.paused:
            await self.wait_for_resume()
        ticket = self._letter_credit(payload, to)
        if ticket is None:
            account = self._letter_account()
            text = f"{self.station.site.key} waits for credit of its messages"
            wait = Wait(self.run, text, None, self.run.engine.size(payload))
            account.wait(wait)
            try:
                await self.wait(wait)
            finally:
                account.forget(wait)
            ticket = wait.ticket
        full = self.run.full_inboxes(self.station.site, payload, to)
        while ticket is not None and full and not self.run.stopped:
            wait = Wait(self.run, f"{self.station.site.key} waits for room for a message", full)
            for inbox in full:
                inbox.watch(Room(wait))
            try:
                await self.wait(wait)
            except BaseException:
                ticket.home()
                raise
            full = self.run.full_inboxes(self.station.site, payload, to)
        if ticket is None or self.run.stopped or self.stale:
            if ticket is not None:
                ticket.home()
            self.check_alive()
            raise RunCancelled(f"run {self.run.id} is over: {self.station.site.key} can't emit any more")
        return ticket

    def letter_credit_nowait(self, payload: Any, to: str | None = None) -> Ticket | None:
        """Spend credit for one message, if there is some, and room for it."""
        if self.run.paused or self.run.stopped or self.run.full_inboxes(self.station.site, payload, to):
            return None
        return self._letter_credit(payload, to)

    def _letter_account(self) -> Account:
        if self.letters is None:
            if self.lane is not None:
                self.letters = self.run.lane_letters(self.lane)
            else:
                self.letters = self.run.account()
                self.run.keep_account(self.letters)
                self.letters_ride_on = self.share_ticket()
                self.letters_ride_on.refs += 1
        return self.letters

    def _letter_credit(self, payload: Any, to: str | None) -> Ticket | None:
        if self.run.only_feedback(self.station.site, payload, to):
            return FREE
        return self._letter_account().take(self.run.engine.size(payload))

    def _letters_home(self) -> None:
        """All messages of the step are home: what they rode on may go."""
        self.run.account_closed(self.letters)
        if self.letters_ride_on is not None:
            self.letters_ride_on.home()
