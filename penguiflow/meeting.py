"""Meetings: how the branches of a run meet again.

Owns a run's pairings and gatherings, and what they hold. Invariant: every copy of an item holds exactly the
tokens of the places it can still reach; when a place is decided, what it held is handed on or let go. Knows
not how an item comes to the place (`traffic`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from .completion import Token, Tokens, hold, release
from .errors import StepError
from .fanin import join_step
from .items import Gathered, Item
from .joining import Gathering, Pairing, Verdict
from .lifetime import Lifetime
from .mail import MailLane
from .record import NEVER, NOTHING
from .settling import settle
from .step import Step
from .watch import MOST_ORIGINS, origins_of

if TYPE_CHECKING:
    from .graph import JoinPlan, Site
    from .leg import Leg
    from .observe import Span
    from .station import Station


class Meeting(Lifetime):
    """A run as the place where branches meet."""

    __slots__ = ()

    mail: dict[int, Any]
    pairings: set[Any]
    gatherings: set[Any]

    def _mail_of(self, station: Station) -> MailLane:
        """Give what waits at a node in this run."""
        mail = self.mail.get(station.site.index)
        if mail is None:
            if self.mail is NOTHING:
                self.mail = {}
            mail = self.mail[station.site.index] = MailLane(self, station)  # type: ignore[arg-type]
        return mail

    # -- pairings

    def pair(self, joins: Iterable[JoinPlan], carried: Tokens) -> Tokens:
        """Begin the pairings of an item that leaves the nearest common ancestor of joins."""
        tokens: Tokens = ()
        for plan in joins:
            tokens += self._pairing(plan, carried + tokens, None).tokens
        return tokens

    def pair_chunk(self, leg: Leg, carried: Tokens) -> Tokens:
        """Begin the pairings of a chunk that leaves the nearest common ancestor of joins by chunk."""
        tokens: Tokens = ()
        for plan in leg.site.joins:
            if plan.by_chunk:
                lane = self.lanes.get((plan.site.index, leg.stream_id))
                if lane is not None and lane.failing is None:
                    pairing = self._pairing(plan, carried + tokens, lane)
                    lane.queue.append(pairing)
                    tokens += pairing.tokens
        return tokens

    def pair_stream(self, site: Site, carried: Tokens) -> Tokens:
        """Begin the pairings of a stream that leaves the nearest common ancestor of joins by item."""
        return self.pair([plan for plan in site.joins if not plan.by_chunk], carried)

    def _pairing(self, plan: JoinPlan, carried: Tokens, lane: Any) -> Pairing:
        beyond = beyond_of(plan.site)
        held = hold(tuple(token for token in carried if token.key in beyond))
        station = self.engine.stations[plan.site.index]
        optional = tuple(slot.optional for slot in plan.slots)

        def decided(pairing: Pairing) -> None:
            self._forget(pairing)
            if self.stopped:
                self.drop_pairing(pairing)
            elif lane is not None:
                lane.wake()
            elif pairing.verdict is Verdict.RUN:
                self._mail_of(station).begin(join_step(self, station, pairing, None))  # type: ignore[arg-type]
            else:
                self.skip(station, pairing)

        pairing = Pairing(plan.site.index, optional, held, decided)
        if self.pairings is NEVER:
            self.pairings = set()
        self.pairings.add(pairing)
        return pairing

    def _forget(self, pairing: Pairing) -> None:
        if self.pairings is not NEVER:
            self.pairings.discard(pairing)

    def fill(self, station: Station, slot: int, item: Any, lane_tokens: Tokens) -> None:
        """Put an item, or a stream, into its slot of the pairing that it belongs to."""
        key = (station.site.index, slot)
        tokens: Tokens = item._tokens if isinstance(item, Item) else ()
        token = last_of(tokens, key) or last_of(lane_tokens, key)
        if token is None:
            self._misfit(station, item, "does not descend from an item that all its branches share")
            return
        pairing: Pairing = token.place  # type: ignore[assignment]
        if pairing.closed:
            if isinstance(item, Item):
                self._forget_origin(item)
                settle(item)
            else:
                item.refuse()
            return
        if not pairing.fill(slot, item):
            name = station.signature.slots[slot].name
            self._misfit(station, item, f"has got a second item in its slot {name!r} (rule 4.2)")
            return
        if isinstance(item, Item):
            item._tokens = ()
            release(tokens)

    def _misfit(self, station: Station, item: Any, what: str) -> None:
        if isinstance(item, Item):
            self._forget_origin(item)
            settle(item)
        self.fail(
            StepError(
                f"run {self.id}: the join {station.site.key} {what}", run_id=self.id, node=station.site.key
            )
        )

    def skip(self, station: Station, pairing: Pairing) -> None:
        """Let a pairing go that does not run; it is silent itself (rule 4.3)."""
        if pairing.verdict is Verdict.SKIP:
            station.skipped += 1
        self.drop_pairing(pairing)

    def drop_pairing(self, pairing: Pairing) -> None:
        """Let go of what arrived at a pairing, and of what it held."""
        self._forget(pairing)
        for part in pairing.close():
            if isinstance(part, Item):
                self._forget_origin(part)
                part._ticket.home()
            else:
                part.refuse()
        held, pairing.held = pairing.held, ()
        release(held)

    def _forget_origin(self, item: Item[Any]) -> None:
        """Forget whose an item is that goes nowhere, if anybody observes."""
        if self.watch is not None:
            self.watch.origin_of(item)

    # -- spreads and gathers

    async def spread(self, step: Step, spread: Any) -> None:
        """Make a message of each part, as credit allows.

        If cancelled, what was made goes on.
        """
        gatherings = self.begin_gatherings(step)
        step.attempts_spent = True
        try:
            for index, payload in enumerate(self.parts_of(step, spread)):
                await step.emit_part(payload, tuple(gathering.part(index) for gathering in gatherings))
        finally:
            for gathering in gatherings:
                gathering.one_less()

    def begin_gatherings(self, step: Step) -> list[Gathering]:
        """Begin what gathers the parts of a spread; each is to be told when there are no more."""
        return [self._gathering(site, step) for site in step.station.site.gathers]

    def parts_of(self, step: Step, spread: Any) -> Iterator[Any]:
        """Read the items of a spread; what they raise fails the step for good: parts of it have gone out."""
        try:
            yield from spread.items
        except Exception as exc:
            while_what = "while the items of its Spread were read, which is never tried again"
            raise step.station.failed(self, exc, step.item, step.attempt, while_what) from exc  # type: ignore[arg-type]

    def _gathering(self, site: Site, step: Step) -> Gathering:
        station = self.engine.stations[site.index]
        beyond = beyond_of(site)
        held = hold(tuple(token for token in step.tokens if token.key in beyond))
        ticket = step.share_ticket()
        ticket.refs += 1
        parent = step.item

        def complete(gathering: Gathering) -> None:
            if self.gatherings is not NEVER:
                self.gatherings.discard(gathering)
            held, gathering.held = gathering.held, ()
            if self.stopped:
                release(held)
                ticket.home()
                return
            value = Gathered(gathering.payloads())
            step = Step(self, station, value, parent, ticket, held)  # type: ignore[arg-type]
            if step.watch is not None:
                step.watch.origins = origins_of(gathering.origins)
            self._mail_of(station).begin(step)

        gathering = Gathering(site.index, held, complete)
        if self.gatherings is NEVER:
            self.gatherings = set()
        self.gatherings.add(gathering)
        return gathering

    def gather(
        self, station: Station, item: Item[Any], lane_tokens: Tokens, origin: Span | None = None
    ) -> None:
        """Take a part over at once (rule 4.4); ``origin`` is the span behind a chunk."""
        key = (station.site.index, -1)
        token = last_of(item._tokens, key) or last_of(lane_tokens, key)
        limit = station.policy.max_parts
        if token is None:
            settle(item)
            text = f"run {self.id}: the gather {station.site.key} has got a part of no spread"
            self.fail(StepError(text, run_id=self.id, node=station.site.key))
            return
        gathering: Gathering = token.place  # type: ignore[assignment]
        count = gathering.add(token.slot, item.payload)
        if self.watch is not None and len(gathering.origins) < MOST_ORIGINS:
            span = origin if origin is not None else self.watch.origin_of(item)
            if span is not None and all(span is not known for known in gathering.origins):
                gathering.origins.append(span)
        settle(item)
        if count > limit:
            text = f"run {self.id}: the gather {station.site.key} has got more than max_parts={limit} parts"
            self.fail(StepError(text, run_id=self.id, node=station.site.key))


def beyond_of(site: Site) -> frozenset[tuple[int, int]]:
    """Give the places that can be reached from what a node gives."""
    return frozenset(key for edge in (*site.outs, *site.error_outs) for key in edge.reach)


def last_of(tokens: Tokens, key: tuple[int, int]) -> Token | None:
    """Give the innermost token of a place."""
    for token in reversed(tokens):
        if token.key == key:
            return token
    return None
