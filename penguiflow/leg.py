"""Legs: one stream leaving one node.

Owns a stream's numbers, its attempts, its window and its one terminal (rules 1.1 to 1.5). Invariant: what is
pushed leaves in order, numbered without gaps unless the emitter asked for one; nothing follows the terminal.
Knows the inboxes it sends into, not what happens behind them.

Numbers are written where somebody can see them (``stamps``): between nodes that work chunk by chunk the
envelope moves on as it is, which is worth a third of the throughput.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from .completion import Tokens, hold, reaching, release
from .credit import Account, Copies
from .dropping import end_refused
from .inbox import EMPTY, Inbox, Road, Sender
from .items import Chunk, Heading, Terminal, copy_chunk
from .reports import ending, restarted
from .routing import before, choose, full, refusing, room_of, unaccepted
from .settling import forfeit, settle

if TYPE_CHECKING:
    from .core import RunCore
    from .graph import Site
    from .journal import Statement
    from .outlet import Outlet
    from .step import Step
    from .transaction import Transaction
    from .watch import StreamWatch

NO_TICKETS: list[Copies] = []  # shared by all legs that have none; never written to

LEFT = -1
"""So many have a stream open that an exception has left, see `StreamWriter`."""


class LegOwner(Protocol):
    """Who writes a leg: a lane that works chunk by chunk, a step, or a run's input."""

    def unstuck(self) -> None:
        """Take note that nothing of the leg stands at a door any more."""

    def unread(self, leg: Leg) -> None:
        """Take note that nobody reads the leg any more (rule 2.10)."""


class Leg:
    """One stream leaving one node of one run.

    Args:
        run: the run.
        outlet: the node that gives it, and the edges that it leaves by.
        heading: what its chunks have in common; names the stream and the attempt.
        tokens: places that the stream as a whole can feed; held for as long as it lives.
        account: its window, or ``None`` where its chunks ride on tickets drawn elsewhere.
    """

    __slots__ = (
        "account",
        "allow",
        "buffer",
        "chunks",
        "dead",
        "direct",
        "explicit",
        "gaps",
        "heading",
        "live",
        "next_seq",
        "openers",
        "outlet",
        "owners",
        "parents",
        "roads",
        "run",
        "spoilt",
        "stamps",
        "stuck",
        "terminal",
        "tokens",
        "turned",
        "watch",
    )

    def __init__(
        self,
        run: RunCore,
        outlet: Outlet,
        heading: Heading,
        tokens: Tokens,
        account: Account | None,
        explicit: bool,
    ) -> None:
        self.run: RunCore = run
        self.outlet: Outlet = outlet
        self.heading: Heading = heading
        self.tokens: Tokens = tokens
        self.account: Account | None = account
        self.explicit: bool = explicit
        self.next_seq: int = 0
        self.turned: int = 0
        self.chunks: int = 0
        self.gaps: int = 0
        self.owners: tuple[LegOwner, ...] = ()
        self.openers: int = 0
        self.buffer: list[Chunk[Any]] = EMPTY
        self.allow: int = 0
        self.terminal: Terminal | None = None
        self.parents: list[Copies] = NO_TICKETS
        self.dead: bool = False
        self.spoilt: bool = False  # dead, or ended, because of an error that nobody has taken
        self.roads: tuple[Road, ...] = ()
        self.live: int = 0
        self.stamps: bool = False
        self.direct: Inbox | None = None
        self.stuck: int = 0  # at so many doors something of the leg stands
        self.watch: StreamWatch | None = None

    @property
    def stream_id(self) -> str:
        """The id of the stream."""
        return self.heading.stream_id

    @property
    def site(self) -> Site:
        """The node that gives the stream."""
        return self.outlet.site

    # -- roads

    def ride_on(self, parents: list[Copies]) -> None:
        """Set what the stream as a whole rides on; a leg with a window holds it until all of it is home."""
        self.parents = parents
        if self.account is not None:
            for ticket in parents:
                ticket.refs += 1

    def connect(self, roads: tuple[Road, ...]) -> None:
        """Set where the stream goes; called once, when it opens."""
        self.roads = roads
        self.live = len(roads)
        if len(roads) == 1:
            only: Any = roads[0]
            self.stamps = only.lane.sees_numbers
            if not self.forks and type(only) is Inbox:
                self.direct = only
        else:
            self.stamps = any(road.lane.sees_numbers for road in roads)

    @property
    def forks(self) -> bool:
        """Whether it must be seen for each chunk where it goes."""
        if len(self.roads) != 1:
            return True
        outlet = self.outlet
        return outlet.forks if self.account is None else outlet.forks_if_emitted

    def room(self) -> int:
        """Say how many chunks can be pushed without standing at a door."""
        if len(self.roads) == 1:
            return self.roads[0].room()
        return room_of(self.roads)

    def watch_gate(self, sender: Sender) -> None:
        """Tell a sender, by `entered`, when a gate lets chunks pass again; here is none."""

    def take_kept(self) -> list[Chunk[Any]]:
        """Give what a gate keeps, to be let go; here is none."""
        return EMPTY

    def made(self, kept: Transaction) -> None:
        """Take note of who gives the next chunk, and of what; here nobody wants to know."""

    async def turn_of(self, step: Step, index: int) -> None:
        """Wait for the turn of a chunk that is written again; here none is. If cancelled, nothing is lost."""

    def known_number(self, seq: int) -> int | None:
        """Give the number of a chunk that is written again, if it keeps that."""

    def done_with(self, source: int | str, writes: Any, statements: tuple[Statement, ...] = ()) -> None:
        """Take note that a chunk of the input is worked off; here nobody wants to know."""

    def is_over(self) -> bool:
        """Say whether the terminal has gone."""
        return self.terminal is not None

    def entered(self) -> None:
        """Take note that one of the roads is not stuck any more."""
        self.stuck -= 1
        if self.stuck == 0:
            for owner in self.owners:
                owner.unstuck()

    def verify(self, payload: Any) -> None:
        """Raise ``TypeError`` where no successor accepts a payload, `CreditError` where it may not wait."""
        outlet = self.outlet
        if outlet.accepts_surely(payload):
            return
        if outlet.fails:
            self.flush()
            edge = refusing(self.roads, payload)
            if edge is not None:
                raise full(edge, self.run.id)
        if outlet.checks:
            text = unaccepted(outlet.edges, payload)
            if text is not None:
                raise TypeError(text)

    # -- chunks

    def reserve(self) -> int:
        """Take credit for as many chunks as can be pushed now; what is not used goes back with `flush`."""
        account = self.account
        if type(account) is not Account or account.waiters:
            return 0
        room = self.room() - self.allow
        allow = account.free if account.free < room else room
        if allow > 0:
            self.allow += allow
            account.free -= allow
        return self.allow

    def flush(self) -> None:
        """Push what was emitted and not yet handed on."""
        if self.allow and self.account is not None:
            self.account.free += self.allow
            self.allow = 0
        if self.buffer:
            batch, self.buffer = self.buffer, EMPTY
            self.push(batch)

    def push(self, batch: list[Chunk[Any]]) -> None:
        """Send chunks on, in order; those that find no room stand at the door, and the leg is stuck."""
        if self.dead or self.terminal is not None:
            self.discard(batch)
        else:
            self.send(batch)

    def send(self, batch: list[Chunk[Any]]) -> None:
        """Send chunks on that nothing keeps back."""
        self.chunks += len(batch)
        if self.watch is not None:
            self.watch.sent(batch, self.run.pool.parking.now())
        if self.stamps:
            self.stamp(batch)
        if self.direct is not None:
            self.direct.receive(batch, self)
            if self.direct.door:
                self.stuck += 1
                self.direct.watch(self)
            return
        if self.forks:
            self._fork(batch)
        else:
            road = self.roads[0]
            road.receive(batch, self)
            if road.stuck:
                self.stuck += 1
                road.watch(self)
        if self.outlet.fails:
            end_refused(self)

    def cut(self) -> None:
        """Tell the writers that nobody reads what comes behind the end (rule 2.10)."""
        if not self.dead:
            self.dead = True
            for owner in self.owners:
                owner.unread(self)

    def stamp(self, batch: list[Chunk[Any]]) -> None:
        """Number what leaves, and let it name the node that gives it."""
        heading = self.heading
        seq = self.next_seq
        for chunk in batch:
            old = chunk._heading
            if old is heading:
                continue
            if old.meta is not heading.meta and chunk._meta is None:
                chunk._meta = dict(old.meta)
            if old.headers is not heading.headers and chunk._headers is None:
                chunk._headers = old.headers.copy()
            chunk._heading = heading
            chunk.seq = seq
            seq += 1
        self.next_seq = seq

    def _fork(self, batch: list[Chunk[Any]]) -> None:
        lots: list[list[Chunk[Any]]] = [[] for _ in self.roads]
        for chunk in batch:
            self._copy_out(chunk, lots)
            if self.outlet.balances:
                self._send_lots(lots)  # the next one sees who is free then
                lots = [[] for _ in self.roads]
        self._send_lots(lots)

    def _send_lots(self, lots: list[list[Chunk[Any]]]) -> None:
        for lot, road in zip(lots, self.roads, strict=True):
            if lot:
                road.receive(lot, self)
                if road.stuck:
                    self.stuck += 1
                    road.watch(self)

    def _copy_out(self, chunk: Chunk[Any], lots: list[list[Chunk[Any]]]) -> None:
        taken = before(self.run.journal, chunk)
        chosen = choose(self.run, self.site, self.roads, chunk.payload, taken=taken)
        carried = chunk._tokens
        pairings = self.run.pair_chunk(self, carried)
        tokens = carried + pairings
        if not chosen:
            chunk._ticket.home()
        elif len(chosen) > 1:
            chunk._ticket = Copies(chunk._ticket, len(chosen))
        last = len(chosen) - 1
        for position, index in enumerate(chosen):
            twin = chunk if position == last else copy_chunk(chunk)
            edge = self.roads[index].edge
            twin._tokens = hold(reaching(tokens, edge.reach)) if tokens and edge is not None else ()
            lots[index].append(twin)
        if tokens:
            release(tokens)

    # -- life

    def restart(self, attempt: int) -> None:
        """Begin a higher attempt from seq 0; what is left of lower ones is dropped on the way (rule 1.5)."""
        if self.terminal is not None or attempt <= self.heading.attempt:
            return
        lower, self.buffer = self.buffer, EMPTY
        for chunk in (*lower, *self.take_kept()):
            settle(chunk)
        self.heading = self.heading.at(self.site.path, attempt)
        if self.watch is not None:
            restarted(self, attempt)
        self.next_seq = self.turned = self.chunks = self.gaps = 0
        for road in self.roads:
            road.lane.restart(road, attempt)

    def end(self, terminal: Terminal, error: BaseException | None = None) -> None:
        """Send the one terminal, behind the last chunk."""
        if self.terminal is not None:
            return
        self.flush()
        self.terminal = terminal
        self.finish(error)

    def finish(self, error: BaseException | None) -> None:
        """Let the terminal follow the last chunk."""
        assert self.terminal is not None
        self.run.leg_ended(self, error)
        for road in self.roads:
            road.lane.writer_ended(road, self.terminal, error)
        tokens, self.tokens = self.tokens, ()
        release(tokens)
        if self.account is not None:
            self.run.keep_account(self.account)
            self.account.close(self._home)

    def abort(self, terminal: Terminal) -> None:
        """Take the terminal of a run that is over: whoever reads the run is told, nobody else is left."""
        for chunk in (*self.buffer, *self.take_kept()):
            settle(chunk)
        self.buffer = EMPTY
        self.terminal = terminal
        self.run.leg_ended(self, None)
        if any(road.edge is None for road in self.roads):
            self.run.outbox.put([ending(self, None)])

    def _home(self) -> None:
        """Everything of the stream is home: what it rode on itself may go."""
        self.run.account_closed(self.account)
        parents, self.parents = self.parents, NO_TICKETS
        for ticket in parents:
            ticket.home()

    def discard(self, batch: list[Chunk[Any]]) -> None:
        """Let chunks go that go nowhere."""
        let_go = forfeit if self.spoilt else settle
        for chunk in batch:
            let_go(chunk)

    def reader_left(self, *, spoilt: bool = False) -> None:
        """Take note that one of the readers is gone; with the last, the writers are told (rule 2.10).

        Spoilt is what only an error made them leave.
        """
        self.live -= 1
        self.spoilt = self.spoilt or spoilt
        if self.live == 0 and self.terminal is None and not self.dead:
            self.dead = True
            buffered, self.buffer = self.buffer, EMPTY
            self.discard([*buffered, *self.take_kept()])
            for owner in self.owners:
                owner.unread(self)

    def __repr__(self) -> str:
        name, attempt = f"{self.site.key}/{self.stream_id}", self.heading.attempt
        return f"<stream {name} next {self.next_seq}, attempt {attempt}>"
