"""Credit: what a sender may still send, and the tickets that bring it home.

Owns the windows. Invariant: ``free + back + out == window`` at all times, with every part ``>= 0``; a credit
comes home exactly once. Knows nothing of streams, steps or tasks: who waits is told through one method.

An item rides on a *ticket*. The plainest ticket is the account itself (one credit of it); a copied item rides
on `Copies`, an item made of several on `Joint`; what is bounded elsewhere rides on `FREE`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol


class Ticket(Protocol):
    """What an item rides on."""

    def home(self) -> None:
        """Say that the item which rode on this reference is gone."""


class CreditWaiter(Protocol):
    """Somebody who waits until an account has credit for one item of ``size_bytes``."""

    size_bytes: int

    def granted(self, ticket: Ticket) -> None:
        """Take over the ticket; it is spent already."""


class Account:
    """A window of credit, counted in items.

    Credit is granted back in blocks of half a window, so that wake-ups of the sender are rare.

    Args:
        window: how many items may be out at the same time, at least 1.
    """

    __slots__ = ("back", "free", "half", "on_idle", "waiters", "window")

    def __init__(self, window: int) -> None:
        self.window: int = window
        self.half: int = max(1, window // 2)
        self.free: int = window
        self.back: int = 0
        self.waiters: deque[CreditWaiter] | None = None
        self.on_idle: Callable[[], None] | None = None

    @property
    def out(self) -> int:
        """How many credits are not home."""
        return self.window - self.free - self.back

    def take(self, size_bytes: int = 0) -> Ticket | None:
        """Spend one credit; ``None`` where there is none, or where others wait for it."""
        if self.free <= 0 or self.waiters:
            return None
        self.free -= 1
        return self

    def home(self) -> None:
        """Bring one credit home; it is granted again with its block."""
        self.back += 1
        if self.back >= self.half:
            self.grant()

    def grant(self) -> None:
        """Hand what has come home to those who wait, in order; keep the rest."""
        self.free += self.back
        self.back = 0
        while self.waiters and self.free > 0:
            self.free -= 1
            self.waiters.popleft().granted(self)
        if self.on_idle is not None and self.free == self.window:
            on_idle, self.on_idle = self.on_idle, None
            on_idle()

    def wait(self, waiter: CreditWaiter) -> None:
        """Queue for one credit; `granted` is called when it is there."""
        if self.waiters is None:
            self.waiters = deque()
        self.waiters.append(waiter)

    def forget(self, waiter: CreditWaiter) -> None:
        """Take a waiter out of the queue, if it is there."""
        if self.waiters and waiter in self.waiters:
            self.waiters.remove(waiter)
            self.grant()

    def close(self, on_idle: Callable[[], None]) -> None:
        """Say that nothing more will be spent; call ``on_idle`` when all credit is home, at once if it is."""
        self.on_idle = on_idle
        self.grant()
        self.half = 1 if self.waiters else max(1, self.out)  # the last to come home is the one that counts

    def __repr__(self) -> str:
        return f"<account {self.out}/{self.window} out>"


class SizedAccount(Account):
    """A window of credit in items and in bytes; one item larger than the whole budget passes alone.

    Args:
        window: how many items may be out.
        window_bytes: how many bytes may be out.
    """

    __slots__ = ("bytes_out", "window_bytes")

    free: int
    on_idle: Callable[[], None] | None

    def __init__(self, window: int, window_bytes: int) -> None:
        super().__init__(window)
        self.half = 1
        self.window_bytes: int = window_bytes
        self.bytes_out: int = 0

    def _fits(self, size_bytes: int) -> bool:
        return self.free > 0 and (self.bytes_out == 0 or self.bytes_out + size_bytes <= self.window_bytes)

    def take(self, size_bytes: int = 0) -> Ticket | None:
        """Spend one credit and its bytes; ``None`` where they are not there, or where others wait."""
        if self.waiters or not self._fits(size_bytes):
            return None
        return self._spend(size_bytes)

    def _spend(self, size_bytes: int) -> Ticket:
        self.free -= 1
        self.bytes_out += size_bytes
        return SizedTicket(self, size_bytes)

    def grant(self) -> None:
        """Hand what has come home to those who wait, in order; keep the rest."""
        self.free += self.back
        self.back = 0
        while self.waiters and self._fits(self.waiters[0].size_bytes):
            waiter = self.waiters.popleft()
            waiter.granted(self._spend(waiter.size_bytes))
        if self.on_idle is not None and self.free == self.window:
            on_idle, self.on_idle = self.on_idle, None
            on_idle()


class SizedTicket:
    """One credit and its bytes."""

    __slots__ = ("account", "size_bytes")

    def __init__(self, account: SizedAccount, size_bytes: int) -> None:
        self.account: SizedAccount = account
        self.size_bytes: int = size_bytes

    def home(self) -> None:
        """Bring the credit and its bytes home."""
        self.account.bytes_out -= self.size_bytes
        self.account.home()


class Copies:
    """One ticket shared by several items: it is home when the last of them is gone."""

    __slots__ = ("refs", "under")

    def __init__(self, under: Ticket, refs: int) -> None:
        self.under: Ticket = under
        self.refs: int = refs

    def home(self) -> None:
        """Say that one of the copies is gone."""
        self.refs -= 1
        if self.refs == 0:
            self.under.home()
        elif self.refs < 0:
            raise AssertionError("rule 2.3: a credit came home twice")


class Joint:
    """Several tickets that one item rides on."""

    __slots__ = ("tickets",)

    def __init__(self, tickets: list[Ticket]) -> None:
        self.tickets: list[Ticket] = tickets

    def home(self) -> None:
        """Bring all of them home."""
        tickets, self.tickets = self.tickets, []
        for ticket in tickets:
            ticket.home()


class Free:
    """The ticket of what is bounded elsewhere."""

    __slots__ = ()

    def home(self) -> None:
        """Do nothing: there is no credit to bring home."""


FREE = Free()
