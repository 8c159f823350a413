"""Credit is conserved: state machines over windows in items and bytes, and over shared and joined tickets."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from penguiflow.credit import FREE, Account, Copies, Joint, SizedAccount, SizedTicket, Ticket

PICK = st.integers(0, 1000)
FEW = settings(max_examples=40, stateful_step_count=40, deadline=None)


class Waiter:
    """Keeps the ticket that it is granted, and writes down that it was."""

    def __init__(self, log: list[Waiter], size_bytes: int = 0) -> None:
        self.log = log
        self.size_bytes = size_bytes
        self.tickets: list[Ticket] = []

    def granted(self, ticket: Ticket) -> None:
        """Take the ticket over."""
        self.tickets.append(ticket)
        self.log.append(self)


class Windows(RuleBasedStateMachine):
    """What is free, on its way back and out makes up the window; who waits is served in order (2.1, 2.3)."""

    account: Account

    @initialize(window=st.integers(1, 9))
    def opens(self, window: int) -> None:
        self.account = Account(window)
        self.begin()

    def begin(self) -> None:
        """Set up what is known beside the account."""
        self.out: list[tuple[Ticket, int]] = []
        self.waiting: list[Waiter] = []
        self.granted: list[Waiter] = []
        self.closed = False
        self.told = 0

    def fits(self, size: int) -> bool:
        """Say whether an item could go, if nobody waited."""
        return self.account.free > 0

    def collect(self) -> None:
        """Move those who were granted from the queue to what is out: they are its head, in order."""
        count = len(self.granted)
        assert self.granted == self.waiting[:count]
        assert [len(waiter.tickets) for waiter in self.granted] == [1] * count
        self.out += [(waiter.tickets[0], waiter.size_bytes) for waiter in self.granted]
        del self.waiting[:count]
        self.granted.clear()

    @precondition(lambda self: not self.closed)
    @rule(size=st.integers(0, 12))
    def take_or_wait(self, size: int) -> None:
        """A credit is given when it is there and nobody waits; else one may queue for it."""
        expected = self.fits(size) and not self.waiting
        ticket = self.account.take(size)
        assert (ticket is not None) == expected
        if ticket is not None:
            self.out.append((ticket, size))
        else:
            self.waiting.append(Waiter(self.granted, size))
            self.account.wait(self.waiting[-1])

    @precondition(lambda self: self.out)
    @rule(pick=PICK)
    def home(self, pick: int) -> None:
        ticket, _ = self.out.pop(pick % len(self.out))
        ticket.home()
        self.collect()

    @precondition(lambda self: self.out)
    @rule()
    def all_home(self) -> None:
        """When all is home, nobody waits any more: no waiter starves."""
        while self.out:
            self.home(0)
        assert self.waiting == []

    @precondition(lambda self: self.waiting)
    @rule(pick=PICK)
    def forget(self, pick: int) -> None:
        """Who has been forgotten is never granted anything; forgetting twice is forgetting once."""
        waiter = self.waiting.pop(pick % len(self.waiting))
        self.account.forget(waiter)
        self.account.forget(waiter)
        self.collect()

    @precondition(lambda self: not self.closed)
    @rule()
    def close(self) -> None:
        """The end is told once, when all is home; at once if it is."""
        self.closed = True
        self.account.close(self.idle)
        self.collect()

    @precondition(lambda self: self.closed and not self.out)
    @rule()
    def anew(self) -> None:
        """A window that is closed and quiet stays so; the next one begins."""
        account = self.account
        if isinstance(account, SizedAccount):
            self.account = SizedAccount(account.window, account.window_bytes)
        else:
            self.account = Account(account.window)
        self.begin()

    def idle(self) -> None:
        """Take note of the end."""
        self.told += 1
        assert self.account.out == 0

    @invariant()
    def conserved(self) -> None:
        account = self.account
        assert account.free + account.back + len(self.out) == account.window
        assert account.out == len(self.out)
        assert min(account.free, account.back, account.out) >= 0

    @invariant()
    def granted_in_blocks(self) -> None:
        """What has come home is granted at half a window, at the latest; nobody waits beside free credit."""
        assert self.account.back < self.account.half
        assert list(self.account.waiters or ()) == self.waiting
        if self.waiting:
            assert self.account.free == 0

    @invariant()
    def told_of_the_end(self) -> None:
        assert self.told == (1 if self.closed and not self.out else 0)


class SizedWindows(Windows):
    """The same in bytes: within the budget, but for one item that is larger than all of it (2.2)."""

    account: SizedAccount

    @initialize(window=st.integers(1, 6), window_bytes=st.integers(1, 10))
    def opens(self, window: int, window_bytes: int) -> None:  # type: ignore[override]
        self.account = SizedAccount(window, window_bytes)
        self.begin()

    def fits(self, size: int) -> bool:
        """Say whether an item could go, if nobody waited."""
        account = self.account
        used = sum(size for _, size in self.out)
        return account.free > 0 and (used == 0 or used + size <= account.window_bytes)

    @invariant()
    def granted_in_blocks(self) -> None:
        """Bytes are not granted in blocks, but at the end in one; the queue is as it is known here."""
        assert self.account.half == 1 or (self.closed and not self.waiting)
        assert self.account.back < self.account.half
        assert list(self.account.waiters or ()) == self.waiting

    @invariant()
    def within_the_budget(self) -> None:
        sizes = [size for _, size in self.out if size]
        assert self.account.bytes_out == sum(sizes)
        assert sum(sizes) <= self.account.window_bytes or len(sizes) == 1


class Tickets(RuleBasedStateMachine):
    """A credit is out for as long as a copy, or anything made of it, is there; then it is home, once."""

    @initialize(window=st.integers(1, 6))
    def opens(self, window: int) -> None:
        self.account = Account(window)
        self.riding: list[tuple[Ticket, frozenset[int]]] = []
        self.number = 0

    def pick(self, number: int) -> tuple[Ticket, frozenset[int]]:
        """Take one item away from what is there."""
        return self.riding.pop(number % len(self.riding))

    @rule()
    def take(self) -> None:
        ticket = self.account.take()
        if ticket is not None:
            self.number += 1
            self.riding.append((ticket, frozenset({self.number})))

    @precondition(lambda self: 0 < len(self.riding) < 30)
    @rule(number=PICK, refs=st.integers(1, 4))
    def copy(self, number: int, refs: int) -> None:
        ticket, credits = self.pick(number)
        copies = Copies(ticket, refs)
        self.riding += [(copies, credits)] * refs

    @precondition(lambda self: len(self.riding) > 1)
    @rule(one=PICK, other=PICK)
    def join(self, one: int, other: int) -> None:
        first, second = self.pick(one), self.pick(other)
        self.riding.append((Joint([first[0], second[0]]), first[1] | second[1]))

    @precondition(lambda self: self.riding)
    @rule(number=PICK)
    def home(self, number: int) -> None:
        self.pick(number)[0].home()

    @invariant()
    def out_is_what_something_rides_on(self) -> None:
        assert self.account.out == len(frozenset().union(*(credits for _, credits in self.riding)))


Windows.TestCase.settings = SizedWindows.TestCase.settings = Tickets.TestCase.settings = FEW
TestWindows = Windows.TestCase
TestSizedWindows = SizedWindows.TestCase
TestTickets = Tickets.TestCase


def test_a_window_is_granted_back_by_halves() -> None:
    """Who waits is woken once per half a window, not once per item."""
    log: list[Waiter] = []
    account = Account(8)
    assert [account.take() is account for _ in range(9)] == [True] * 8 + [False]
    waiters = [Waiter(log) for _ in range(6)]
    for waiter in waiters:
        account.wait(waiter)
    steps = []
    for _ in range(8):
        account.home()
        steps.append(len(log))
    assert steps == [0, 0, 0, 4, 4, 4, 4, 6]
    assert log == waiters


def test_giving_back_is_re_entrant() -> None:
    """A waiter that is done at once gives back inside its grant; order and sum stay."""
    account = Account(2)
    order: list[int] = []

    class Hasty:
        size_bytes = 0

        def __init__(self, name: int) -> None:
            self.name = name

        def granted(self, ticket: Ticket) -> None:
            order.append(self.name)
            ticket.home()

    assert [account.take(), account.take()] == [account, account]
    for name in range(20):
        account.wait(Hasty(name))
    account.home()
    assert order == list(range(20))
    assert (account.free, account.back, account.out) == (1, 0, 1)


def test_who_is_granted_does_not_overtake() -> None:
    """A waiter that takes one more inside its grant stands behind those who wait already."""
    taken: list[Ticket | None] = []
    log: list[Waiter] = []
    account = Account(4)

    class Greedy:
        size_bytes = 0

        def granted(self, ticket: Ticket) -> None:
            taken.append(account.take())

    assert [account.take() is account for _ in range(4)] == [True] * 4
    account.wait(Greedy())
    account.wait(Waiter(log))
    account.home()
    account.home()
    assert (taken, len(log), account.out) == ([None], 1, 4)


def test_closing_tells_when_the_last_is_home() -> None:
    """A closed window grants nothing in blocks any more, and says once that it is whole."""
    account = Account(4)
    told: list[int] = []
    account.take()
    account.take()
    account.close(lambda: told.append(account.free))
    account.home()
    assert told == []
    account.home()
    assert told == [4]
    idle = Account(1)
    idle.close(lambda: told.append(0))
    assert told == [4, 0]


def test_a_copy_home_twice_is_found() -> None:
    """One reference too many that is given up is an error that names the rule."""
    account = Account(2)
    account.take()
    copies = Copies(account, 2)
    copies.home()
    assert account.out == 1
    copies.home()
    assert account.out == 0
    with pytest.raises(AssertionError, match=r"rule 2\.3: a credit came home twice"):
        copies.home()
    assert account.out == 0


def test_a_credit_too_many_is_seen() -> None:
    """A window that got more back than it gave does not look quiet: what is out is not nothing."""
    account = Account(2)
    account.take()
    account.home()
    account.home()
    assert account.out == -1
    sized = SizedAccount(2, 10)
    ticket = sized.take(4)
    assert isinstance(ticket, SizedTicket)
    ticket.home()
    ticket.home()
    assert (sized.out, sized.bytes_out) == (-1, -4)


def test_a_joint_comes_home_once() -> None:
    """What rode on several tickets gives each of them back once, however often it is let go."""
    one, other = Account(3), SizedAccount(3, 10)
    tickets = [one.take(), one.take(), other.take(7)]
    joint = Joint([ticket for ticket in tickets if ticket is not None])
    assert (one.out, other.out, other.bytes_out) == (2, 1, 7)
    joint.home()
    joint.home()
    assert (one.out, other.out, other.bytes_out) == (0, 0, 0)


def test_one_item_larger_than_the_budget_passes_alone() -> None:
    """It goes when nothing else is out, and nothing goes beside it."""
    account = SizedAccount(4, 10)
    large = account.take(25)
    assert large is not None
    assert account.take(0) is None
    large.home()
    small = account.take(1)
    assert small is not None
    assert account.take(25) is None
    small.home()
    assert (account.free, account.bytes_out) == (4, 0)


def test_a_large_waiter_is_not_overtaken() -> None:
    """Who fits may not pass who came first and does not: else the large one would starve."""
    log: list[Waiter] = []
    account = SizedAccount(4, 10)
    first = account.take(6)
    large, small = Waiter(log, 9), Waiter(log, 1)
    account.wait(large)
    account.wait(small)
    assert account.take(1) is None
    assert log == []
    assert first is not None
    first.home()
    assert log == [large, small]
    assert account.bytes_out == 10


def test_forgetting_the_first_lets_the_second_in() -> None:
    """Nobody waits for credit that is there: with the large waiter gone, the small one has its bytes."""
    log: list[Waiter] = []
    account = SizedAccount(4, 10)
    account.take(6)
    large, small = Waiter(log, 9), Waiter(log, 1)
    account.wait(large)
    account.wait(small)
    account.forget(large)
    assert log == [small]


def test_what_is_bounded_elsewhere_rides_free() -> None:
    """`FREE` comes home as often as one likes, and there is nothing to it."""
    assert [FREE.home() for _ in range(3)] == [None] * 3  # type: ignore[func-returns-value]
    assert not hasattr(FREE, "__dict__")


def test_an_account_tells_what_is_out() -> None:
    """A window is readable in a debugger."""
    account = Account(8)
    account.take()
    assert repr(account) == "<account 1/8 out>"
