"""Traffic: how messages find their way through a run.

Owns the road of a message from one node to the next, error edges, and what nodes keep in a run. Invariant: a
message is sent along all edges that it takes, or its run fails; each copy rides on what the message rode on.
Where branches meet, `meeting` knows.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import TYPE_CHECKING, Any

from .completion import Tokens, hold, reaching, release
from .credit import Copies, Ticket
from .errors import GraphError, HopLimitExceeded, StepError
from .graph import addressed
from .inbox import Sender
from .items import Headers, Heading, Item, Message, copy_message
from .meeting import Meeting
from .node import Takes
from .routing import before, choose, error_edges, full, refusing, unaccepted, wanted
from .run_journal import digest
from .settling import settle
from .step import Step
from .step_watch import begin_inline

if TYPE_CHECKING:
    from .graph import Edge, Site
    from .leg import Leg
    from .policy import Retry
    from .station import Station

new = object.__new__


class _MessageRoad:
    """An edge as a message sees it."""

    __slots__ = ("_run", "edge")

    def __init__(self, run: Traffic, edge: Edge) -> None:
        self._run = run
        self.edge = edge

    def room(self) -> int:
        """Say how many messages can wait at the node."""
        inbox = self._run.inbox_of(self.edge)
        return int(inbox.room()) if inbox is not None else self.edge.policy.capacity

    def freedom(self) -> tuple[bool, int]:
        """Say whether a message can wait, and how many could be begun at once beyond what waits."""
        places = self._run.engine.stations[self.edge.target.index].places
        free = places.limit - places.taken
        inbox = self._run.inbox_of(self.edge)
        if inbox is None:
            return True, free
        can_wait, beyond = inbox.freedom()
        return can_wait, free + beyond - inbox.lane.free_hands()

    def refuses(self, payload: Any) -> bool:
        """Say whether a message would find no room, and may not wait for any."""
        inbox = self._run.inbox_of(self.edge)
        return inbox is not None and inbox.refuses(payload)


class Traffic(Meeting):
    """A run's messages."""

    __slots__ = ()

    handled: tuple[BaseException, ...]
    hops: int
    retries: int
    retries_by_site: dict[int, int]
    state: dict[str, dict[str, Any]]

    # -- messages

    def message(
        self,
        site: Site,
        payload: Any,
        parent: Item[Any] | None,
        ticket: Ticket,
        tokens: Tokens,
        headers: Headers | None = None,
        meta: dict[str, Any] | None = None,
    ) -> Message[Any]:
        """Make a message of a node, which inherits from its parent."""
        if parent is None:
            base_headers, base_meta = self.headers, self.meta
        else:
            base = parent._heading
            base_headers = parent._headers.copy() if parent._headers is not None else base.headers
            base_meta = copy.deepcopy(parent._meta) if parent._meta is not None else base.meta
        message: Message[Any] = new(Message)
        message.payload = payload
        message._heading = Heading(
            site.path, "", 1, self.id, self.trace_id, self.deadline, headers or base_headers, base_meta
        )
        message._ticket = ticket
        message._tokens = tokens
        message._headers = None
        message._meta = {**base_meta, **meta} if meta is not None else None
        message._number = self.next_number()
        return message

    def forward(self, site: Site, message: Message[Any], sender: Sender, to: str | None = None) -> None:
        """Send a message to the successors of a node; those without room let its sender wait."""
        edges = site.outs if to is None else named(site, to)
        if site.is_exit:
            self.outbox.put([message])
            return
        if len(edges) == 1 and not message._tokens and not site.joins and simple(edges[0]):
            self._send(edges[0], message, sender)
            return
        self._copy_out(site, edges, message, sender)

    def enter(self, message: Message[Any], sender: Sender, to: str | None) -> None:
        """Send the input of the run in; that an entry accepts it was seen at the door."""
        root = self.engine.plan.root
        if len(root.outs) == 1 and not root.joins:
            self._send(root.outs[0], message, sender)
        else:
            self.forward(root, message, sender, to)

    def _copy_out(self, site: Site, edges: tuple[Edge, ...], message: Message[Any], sender: Sender) -> None:
        roads = [_MessageRoad(self, edge) for edge in edges]
        chosen = choose(self, site, roads, message.payload, taken=before(self.journal, message))
        tokens = message._tokens + self.pair(site.joins, message._tokens)
        if not chosen:
            message._ticket.home()
        elif len(chosen) > 1:
            message._ticket = Copies(message._ticket, len(chosen))
        twins = []
        for position, index in enumerate(chosen):
            twin = message if position == len(chosen) - 1 else self._twin(message)
            twin._tokens = hold(reaching(tokens, edges[index].reach)) if tokens else ()
            twins.append((edges[index], twin))
        for edge, twin in twins:
            self._send(edge, twin, sender)
        if tokens:
            release(tokens)

    def _twin(self, message: Message[Any]) -> Message[Any]:
        """Make a copy; with a journal, the edge that it takes tells it from the others."""
        return copy_message(message, message._number if self.journal is not None else self.next_number())

    def _send(self, edge: Edge, message: Message[Any], sender: Sender) -> None:
        """Send one message along one edge."""
        if self.stopped:
            settle(message)
            return
        if self.journal is not None:
            message._number = self.journal.copy_number(message._number, edge)
        if edge.policy.feedback:
            self.hops += 1
            if self.hops > self.engine.hop_limit:
                settle(message)
                limit = self.engine.hop_limit
                self.fail(HopLimitExceeded(f"run {self.id} took its feedback edges more than {limit} times"))
                return
        station = self.engine.stations[edge.target.index]
        takes = station.signature.takes
        if station.site.join is not None:
            self.engine.meters[edge.index].pass_through(1)
            assert edge.slot is not None
            self.fill(station, edge.slot, message, ())
        elif takes is Takes.GATHERED:
            self.engine.meters[edge.index].pass_through(1)
            self.gather(station, message, ())
        elif takes is Takes.STREAM or takes is Takes.CHUNK:
            settle(message)
            text = (
                f"node {station.site.key} takes a {takes.name.lower()}, and {edge.source.key} gave a message"
            )
            self.fail(StepError(f"run {self.id}: {text}", run_id=self.id, node=edge.source.key))
        elif station.is_inline:
            self.engine.meters[edge.index].pass_through(1)
            self._pass_through(station, message, sender)
        else:
            self._post(station, edge, message, sender)

    def _post(self, station: Station, edge: Edge, message: Message[Any], sender: Sender) -> None:
        mail = self._mail_of(station)
        inbox = mail.inbox(edge)
        if self.timed is not None:
            message._posted = self.pool.parking.now()
        inbox.receive([message], sender)
        if inbox.stuck:
            sender.doors += 1  # type: ignore[attr-defined]
            inbox.watch(sender)

    def _pass_through(self, station: Station, message: Message[Any], sender: Sender) -> None:
        """Run a ``def`` node on a message, in the sender's turn."""
        station.steps += 1
        variables = self.variables.copy()
        watched = begin_inline(self, station, variables) if self.timed is not None else None
        try:
            given = message if station.takes_envelope else message.payload
            result = variables.run(station.inline, given)
            if result is not None:
                station.promise.check(result)
        except BaseException as exc:  # nobody else can have raised it here: it is the node's (rule 3.6)
            error = station.failed(self, exc, message)  # type: ignore[arg-type]
            if watched is not None:
                watched.end(error)
            if not self.catch(station.site, error, message, message._ticket, message._tokens):
                self.fail(error)
                settle(message)
            return
        if watched is not None:
            watched.end(None)
        if result is None:
            settle(message)
            return
        given = self.message(station.site, result, message, message._ticket, message._tokens)
        if watched is not None:
            given._origin = watched.span
        if self.journal is not None:
            given._number = digest(self.journal.step_key(station.site, message))
            self.journal.as_old_as(given._number, message)
        self.forward(station.site, given, sender)

    def check_accepted(self, site: Site, payload: Any, to: str | None) -> None:
        """Raise `TypeError` where no successor accepts a message, `CreditError` where it may not wait."""
        outlet = self.engine.outlets[site.index]
        if to is None and outlet.plain and outlet.accepts_surely(payload):
            return
        edges = site.outs if to is None else named(site, to)
        text = unaccepted(edges, payload)
        if text is not None:
            raise TypeError(text)
        if any(edge.policy.overflow == "fail" for edge in edges):
            late = refusing([_MessageRoad(self, edge) for edge in edges], payload)
            if late is not None:
                raise full(late, self.id)

    def only_feedback(self, site: Site, payload: Any, to: str | None) -> bool:
        """Say whether a message takes feedback edges only, which never make its sender wait (rule 2.7)."""
        if self.engine.outlets[site.index].plain:
            return False
        edges = site.outs if to is None else named(site, to)
        if not any(edge.policy.feedback for edge in edges):
            return False
        return all(edge.policy.feedback for edge in edges if wanted(edge, payload))

    def full_inboxes(self, site: Site, payload: Any, to: str | None) -> list[Any]:
        """Give the inboxes of which one must get room before a message can go.

        None where there are several ways: then those with room are served first (rule 4.1).
        """
        outlet = self.engine.outlets[site.index]
        if outlet.plain:
            inbox = self.inbox_of(outlet.edges[0])
            return [] if inbox is None or inbox.room() > 0 else [inbox]
        edges = site.outs if to is None else named(site, to)
        balanced = all(edge.group is not None and edge.group is edges[0].group for edge in edges)
        if len(edges) != 1 and not (balanced and edges and edges[0].group.kind == "balance"):  # type: ignore[union-attr]
            return []
        ways = [self.inbox_of(edge) for edge in edges if not edge.policy.feedback and wanted(edge, payload)]
        if any(inbox is None or inbox.room() > 0 for inbox in ways):
            return []
        return ways

    def inbox_of(self, edge: Edge) -> Any:
        """Give what waits on an edge into a node that takes messages, if something has come on it."""
        mail = self.mail.get(edge.target.index)
        return mail.known(edge) if mail is not None else None

    def has_room(self, site: Site, payload: Any, to: str | None) -> bool:
        """Say whether a message can be sent without waiting."""
        edges = site.outs if to is None else named(site, to)
        for edge in edges:
            inbox = self.inbox_of(edge)
            if inbox is not None and inbox.room() <= 0 and not edge.policy.feedback:
                return False
        return True

    def messages(self) -> int:
        """Count the messages that wait or are at work."""
        return sum(mail.count() for mail in self.mail.values())

    # -- errors

    def catch(
        self, site: Site, error: BaseException, parent: Item[Any], ticket: Ticket, tokens: Tokens
    ) -> bool:
        """Send an error along the error edges of a node, on what the failed input rode on.

        ``False`` where nobody takes it; ticket and tokens are still the caller's then.
        """
        if self.stopped:
            return False
        caught = as_step_error(error, self.id, site.key)
        edges = error_edges(self, site, caught)
        if not edges:
            return False
        self.handled = (*self.handled, error)
        message = self.message(site, caught, parent, ticket, tokens)
        if self.journal is None:
            self._copy_out_errors(edges, message)
        else:
            message._number = self.journal.error_number(site, parent)
            self.journal.after(partial(self._copy_out_errors, edges, message))
        return True

    def _copy_out_errors(self, edges: tuple[Edge, ...], message: Message[Any]) -> None:
        tokens = message._tokens
        if len(edges) > 1:
            message._ticket = Copies(message._ticket, len(edges))
        for position, edge in enumerate(edges):
            twin = message if position == len(edges) - 1 else self._twin(message)
            twin._tokens = hold(reaching(tokens, edge.reach)) if tokens else ()
            self._send(edge, twin, Nobody())
        release(tokens)

    def raise_if_unheard(self, leg: Leg, error: BaseException) -> None:
        """Fail the run with an error that nobody reads in band."""
        if leg.live == 0 and not self.is_handled(error):
            self.fail(error)

    # -- state and retries

    def keep(self, node: str, written: dict[str, Any]) -> None:
        """Make what a step has written the state of its node."""
        self.state = {**self.state, node: {**self.state.get(node, {}), **written}}

    def may_retry(self, station: Station, policy: Retry) -> bool:
        """Say whether the node's budget of retries in this run allows one more."""
        if policy.budget is None:
            return True
        return self.retries_by_site.get(station.site.index, 0) < policy.budget

    def retried(self, step: Step) -> None:
        """Count a retry."""
        index = step.station.site.index
        self.retries_by_site = {**self.retries_by_site, index: self.retries_by_site.get(index, 0) + 1}
        self.retries += 1
        step.station.retries += 1


class Nobody:
    """The sender of an error, or of a run's input: it waits for nothing."""

    __slots__ = ("doors",)

    def __init__(self) -> None:
        self.doors: int = 0

    def entered(self) -> None:
        """Do nothing."""


def simple(edge: Edge) -> bool:
    """Say whether everything that is accepted takes an edge."""
    return edge.policy.when is None and edge.group is None


def named(site: Site, to: str) -> tuple[Edge, ...]:
    """Give the edges to the successor of a name."""
    edges, others = addressed(site.outs, to)
    if others:
        raise GraphError(f"to={to!r}: for node {site.key} it can mean {', '.join(others)}; write which")
    if not edges:
        names = ", ".join(edge.addresses[0] for edge in site.outs) or "none"
        raise GraphError(f"to={to!r}: node {site.key} has no such successor; it has {names}")
    return edges


def as_step_error(error: BaseException, run_id: str, node: str) -> StepError:
    """Give what an error edge carries: a step error, whatever failed."""
    if isinstance(error, StepError):
        return error
    step_error = StepError(f"node {node} failed in run {run_id}: {error}", run_id=run_id, node=node)
    step_error.__cause__ = error
    return step_error
