"""Records: what is kept of a run while it lives.

Owns a run's fields, its windows, its drops and its reports. Invariant: what most runs never need is not made
before somebody needs it, and what is dropped, retried or left out is counted. Knows not when the run is over
(`lifetime`).
"""

from __future__ import annotations

from collections import deque
from contextvars import Context as Variables
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .items import Drop, Headers
from .lifecycle import Status
from .outbox import Outbox
from .reports import ending

if TYPE_CHECKING:
    from .control import Controls
    from .credit import Account
    from .engine import Engine
    from .pool import Job, Pool
    from .run_journal import RunJournal
    from .waits import Wait
    from .watch import Watch

KEPT_DROPS = 1000
"""So many reports of dropped data are kept per run; all are counted."""

NEVER: Any = frozenset()
NOTHING: Any = MappingProxyType({})

DELETED: Any = object()
"""What a key of a node's state is set to that the node deletes."""


class RunRecord:
    """What a run is known by."""

    __slots__ = (
        "accounts",
        "asks",
        "busy",
        "caller",
        "cleanup_timeout",
        "deadline",
        "detached",
        "dropped_count",
        "drops",
        "ended_streams",
        "enders",
        "engaged",
        "engine",
        "error",
        "facade",
        "first_step",
        "gaps",
        "gatherings",
        "handled",
        "headers",
        "held_back",
        "hops",
        "id",
        "inputs",
        "is_over",
        "journal",
        "key",
        "lane_accounts",
        "lanes",
        "legs",
        "listeners",
        "mail",
        "meta",
        "names_streams",
        "numbers",
        "open",
        "opened",
        "opening",
        "outbox",
        "pairings",
        "paused",
        "paused_at",
        "pool",
        "resumers",
        "retries",
        "retries_by_site",
        "silent",
        "state",
        "status",
        "stopped",
        "timed",
        "timers",
        "trace_id",
        "variables",
        "waits",
        "watch",
        "window",
    )

    facade: Any
    first_step: Any
    asks: int  # so many steps wait for an answer
    dropped_count: int
    gaps: int
    hops: int
    inputs: int
    numbers: int
    paused_at: float  # of one that is paused
    retries: int

    def __init__(
        self,
        engine: Engine,
        run_id: str,
        trace_id: str,
        headers: Headers,
        meta: dict[str, Any],
        deadline: float | None,
        variables: Variables,
    ) -> None:
        self.engine: Engine = engine
        self.pool: Pool = engine.pool
        self.window: int = engine.window
        self.cleanup_timeout: float = engine.cleanup_timeout
        self.id: str = run_id
        self.trace_id: str = trace_id
        self.headers: Headers = headers
        self.meta: dict[str, Any] = meta
        self.deadline: float | None = deadline
        self.variables: Variables = variables
        self.status: Status = "waiting"
        self.error: BaseException | None = None
        self.stopped: bool = False
        self.silent: bool = False
        self.paused: bool = False
        self.detached: bool = False
        self.open: int = 1  # the input
        self.busy: int = 1  # whoever starts the run
        self.engaged: list[Any] = []  # mostly one or two: a set is larger
        self.lanes: dict[Any, Any] = {}
        self.legs: dict[Any, Any] = {}
        self.mail: dict[int, Any] = NOTHING
        self.retries = self.gaps = self.hops = self.inputs = self.numbers = self.dropped_count = self.asks = 0
        self.key: Any = run_id
        self.facade = self.first_step = None
        self.caller: Any = None  # the step that calls this, where it is a part of a run
        self.opening: bool = False
        self.names_streams: bool = False
        self.is_over: bool = False
        self.outbox: Outbox = Outbox(self)  # type: ignore[arg-type]
        # what most runs never need, is not made for them: a run is 2 KiB smaller without
        self.waits: set[Wait] = NEVER
        self.pairings: set[Any] = NEVER
        self.gatherings: set[Any] = NEVER
        self.ended_streams: set[tuple[int, str]] = NEVER
        self.lane_accounts: dict[Any, Account] = NOTHING
        self.accounts: dict[int, Account] = NOTHING
        self.state: dict[str, dict[str, Any]] = NOTHING
        self.retries_by_site: dict[int, int] = NOTHING
        self.drops: deque[Drop] | None = None
        self.resumers: tuple[Wait, ...] = ()
        self.held_back: tuple[Job, ...] = ()
        self.enders: tuple[Any, ...] = ()
        self.listeners: tuple[tuple[str, Controls], ...] = ()
        self.handled: tuple[BaseException, ...] = ()
        self.opened: tuple[Any, ...] = ()
        self.timers: tuple[Any, ...] = ()
        self.watch: Watch | None = None
        self.journal: RunJournal | None = None
        self.timed: float | None = None  # since when its time is kept, where somebody wants to know

    def next_number(self) -> int:
        """Give a number that no other message or stream of the run has."""
        self.numbers += 1
        return self.numbers

    # -- reports

    def notify(self, event: object) -> None:
        """Tell the observers who follow the run, if there are any."""
        if self.watch is not None:
            self.watch.tell(event)

    def dropped(self, drop: Drop) -> None:
        """Report data that a policy dropped (rule 2.9)."""
        self.dropped_count += 1
        if self.drops is None:
            self.drops = deque(maxlen=KEPT_DROPS)
        self.drops.append(drop)
        if self.watch is not None:
            self.watch.tell(replace(drop, run_id=self.id, part=self.watch.part))

    def waits_for(self, wait: Wait) -> None:
        """Keep a wait, for whoever asks what the run waits for."""
        if self.waits is NEVER:
            self.waits = set()
        self.waits.add(wait)

    def is_handled(self, error: BaseException) -> bool:
        """Say whether an error edge has taken an error."""
        return any(error is handled for handled in self.handled)

    def leg_ended(self, leg: Any, error: BaseException | None) -> None:
        """Forget a stream that has ended."""
        self.legs.pop((leg.site.index, leg.stream_id), None)
        if leg.watch is not None:
            self.notify(ending(leg, error))

    def lane_ended(self, lane: Any) -> None:
        """Forget a lane that has ended."""
        self.lanes.pop(lane.key, None)

    # -- windows

    def account(self, window: int | None = None) -> Account:
        """Make a window."""
        return self.engine.new_account(window or self.window)

    def keep_account(self, account: Account) -> None:
        """Count a window that no open stream counts: of messages, or of a stream that has ended."""
        if self.accounts is NOTHING:
            self.accounts = {}
        self.accounts[id(account)] = account

    def account_closed(self, account: Account | None) -> None:
        """Forget a window whose credit is all home."""
        if account is not None and self.accounts is not NOTHING:
            self.accounts.pop(id(account), None)

    def windows(self) -> list[Account]:
        """Give all windows of the run."""
        return [leg.account for leg in self.legs.values() if leg.account is not None] + list(
            self.accounts.values()
        )

    def credit_out(self) -> int:
        """Count the credits that are not home."""
        return sum(account.out for account in self.windows())

    # -- what holds it up

    def stuck_nodes(self) -> set[str]:
        """Name the nodes where something of the run waits or is at work."""
        names = {engagement.station.site.key for engagement in self.engaged}
        for lane in [*self.lanes.values(), *self.mail.values()]:
            if any(inbox.items for inbox in lane.inboxes):
                names.add(lane.station.site.key)
        return names

    def why_stuck(self) -> str:
        """Say what the run waits for, where it can't go on by itself."""
        reasons = sorted(wait.reason for wait in self.waits if not wait.woken)
        unread = sorted(
            repr(lane) for lane in self.lanes.values() if any(inbox.items for inbox in lane.inboxes)
        )
        text = f"rule 2.5: run {self.id} can't go on by itself: "
        text += "; ".join(reasons) if reasons else "nothing of it is at work"
        if unread:
            text += f". Unread: {', '.join(unread)}"
        return f"{text}. A step that takes several streams must read them side by side."
