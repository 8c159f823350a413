"""A run, from the inside.

Owns the streams of a run: how they open along the plan, and who writes them. Invariant (rules 1.1, 1.3): a
stream is known by node and id; with it open at once all lanes that its chunks can come to, so that none of
them ends before the last of its writers has. What a run is apart from its streams, `lifetime` and `traffic`
know.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from .completion import Tokens, hold, reaching, release
from .emission import Emission
from .errors import StreamClosed
from .gate import GatedLeg
from .inbox import Road
from .items import Headers, Heading, Item
from .kept_leg import keep_leg, leg_type
from .lane import LaneKey, PassingLane
from .leg import Leg
from .outlet import MisplacedLane, Outlet, Way
from .record import NEVER
from .reports import opening
from .station import Station
from .steering import Steering
from .step import Step
from .stream import StreamLane
from .telling import opened_as
from .traffic import named
from .watch import feed_lane, watch_lane, watch_stream_of

if TYPE_CHECKING:
    from .credit import Account
    from .graph import Site
    from .wiring import Wirable


class RunCore(Steering):
    """One input and everything that descends from it."""

    __slots__ = ("__weakref__",)

    ended_streams: set[tuple[int, str]]
    inputs: int
    lane_accounts: dict[Any, Account]
    names_streams: bool
    opened: tuple[Any, ...]
    opening: bool

    # -- streams

    def open_leg(
        self,
        step: Emission,
        stream_id: str | None,
        *,
        explicit: bool,
        to: str | None = None,
        window: int | None = None,
        by_hand: bool = False,
        meta: dict[str, Any] | None = None,
    ) -> Leg:
        """Give a step the stream of an id, opened along the plan if it is not open.

        Args:
            step: who writes.
            stream_id: the id; ``None`` makes one that is unique in the run.
            explicit: whether the stream outlives the step.
            to: the only successor it is for.
            window: how many of its chunks may be in flight.
            by_hand: whether leaving a block ends it.
            meta: laid over what the stream inherits.
        """
        site = step.station.site
        by_name = stream_id is not None
        if stream_id is None and step.kept is not None:
            stream_id = step.kept.next_stream(site.name)
        elif stream_id is None:
            stream_id = f"{site.name}-{self.next_number()}"
        elif (site.index, stream_id) in self.ended_streams:
            raise StreamClosed(
                f"stream {stream_id} of node {site.key} has ended; rule 1.3: nothing follows the end"
            )
        leg = self.legs.get((site.index, stream_id))
        if leg is None:
            pinned = by_hand or not explicit
            leg = self._open(step, stream_id, explicit, to, window, meta, pinned=pinned, by_name=by_name)
        elif by_hand and step in leg.owners:
            raise StreamClosed(f"stream {stream_id} of node {site.key} is open already in this step")
        elif step not in leg.owners and step.lane is None:
            self._own(step, leg)
        if by_hand:
            leg.openers = max(leg.openers, 0) + 1
        return leg

    def _own(self, step: Emission, leg: Leg) -> None:
        leg.owners = (*leg.owners, step)
        step.legs = [*step.legs, leg]

    def _open(
        self,
        step: Emission,
        stream_id: str,
        explicit: bool,
        to: str | None,
        window: int | None,
        meta: dict[str, Any] | None,
        *,
        pinned: bool,
        by_name: bool,
    ) -> Leg:
        """Open a stream; a pinned one, which ends with its step, holds what the step's input rides on."""
        site = step.station.site
        engine = self.engine
        outlet = engine.outlets[site.index] if to is None else Outlet(site, named(site, to), engine.stations)
        attempt = step.attempt if step.kept is None else step.kept.stream_attempt
        heading = self.heading(site, stream_id, attempt if step.lane is None else 1, step.item)
        if meta:
            heading.meta = {**heading.meta, **meta}
        leg = leg_type(outlet)(self, outlet, heading, hold(step.tokens), self.account(window), explicit)
        if outlet.kept:
            how = opened_as(explicit, by_name, pinned and explicit, to, window, meta)
            keep_leg(leg, step.kept, None, how)
        if self.watch is not None:
            leg.watch = watch_stream_of(self, step)
        if step.lane is None:
            self._own(step, leg)
            if pinned:
                leg.ride_on([step.share_ticket()])
        self._connect(leg, (site.index, stream_id), named=by_name)
        return leg

    def heading(self, site: Site, stream_id: str, attempt: int, parent: Item[Any] | None) -> Heading:
        """Make what the chunks of a stream have in common, inherited from a parent."""
        headers: Headers = self.headers
        meta = self.meta
        if parent is not None:
            headers = parent._headers.copy() if parent._headers is not None else parent._heading.headers
            meta = dict(parent._meta) if parent._meta is not None else parent._heading.meta
        return Heading(site.path, stream_id, attempt, self.id, self.trace_id, self.deadline, headers, meta)

    def _connect(self, leg: Leg, key: LaneKey, *, named: bool) -> None:
        """Open the lanes behind a leg; streams of other nodes may bear the id of a named one, and meet it."""
        self.legs[key] = leg
        outlet = leg.outlet
        site = outlet.site
        if leg.explicit:
            self.names_streams = True
        if leg.watch is not None:
            self.notify(opening(leg))
        pairings = self.pair_stream(site, leg.tokens) if site.joins else ()
        tokens = leg.tokens + pairings
        roads: tuple[Road, ...] = ()
        outermost, self.opening = not self.opening, True
        for way in outlet.ways:
            reach = reaching(tokens, way.edge.reach) if tokens else ()
            lane = self._lane(way, leg, reach, named=named)
            roads += (lane.road(way.edge, leg),)
            if way.begins:
                self.opened = (*self.opened, lane)
        if site.is_exit:
            roads += (self.outbox.road(leg),)
        leg.connect(roads)
        if isinstance(leg, GatedLeg):
            self._guard(leg)
        if outermost:
            self.opening = False
            opened, self.opened = self.opened, ()
            for lane in opened:
                if self.journal is None:
                    self._begin_reading(lane)
                else:  # no step starts before its input is durable, and be it only its beginning (rule 5.2)
                    self.journal.after(partial(self._begin_reading, lane))
        if pairings:
            release(pairings)

    def _guard(self, leg: GatedLeg) -> None:
        """Let a gate know the joins behind it."""
        plans = [plan for plan in leg.site.joins if plan.by_chunk and plan.reorders]
        lanes = [self.lanes.get((plan.site.index, leg.stream_id)) for plan in plans]
        leg.guard([lane for lane in lanes if lane is not None and not isinstance(lane, MisplacedLane)])

    def _begin_reading(self, lane: StreamLane | MisplacedLane) -> None:
        """Begin the step that reads a stream, or let its join know; everything behind it is open now."""
        site = lane.station.site
        if self.stopped or lane.dead:
            return
        if isinstance(lane, StreamLane):
            lane.take_head()
        if site.join is None or isinstance(lane, MisplacedLane):
            lane.begin()
        elif not lane.filled:
            lane.filled = True
            assert lane.slot is not None
            self.fill(lane.station, lane.slot, lane.stream, lane.tokens)

    def _lane(self, way: Way, leg: Leg, tokens: Tokens, *, named: bool) -> Any:
        """Give the lane behind an edge for a stream, opened if it is not open; it holds the tokens."""
        station = way.station
        lane_type, slot = way.seat(tokens)
        index, stream_id = station.site.index, leg.heading.stream_id
        key: Any = (index, stream_id) if slot is None else (index, stream_id, slot)
        lane = self.lanes.get(key)
        if lane is None:
            lane = self.lanes[key] = lane_type(self, station, key, named)
            lane.carry(tokens)
            if isinstance(lane, PassingLane):
                self._open_behind(lane, leg, tokens, named=named)
            return lane
        lane.carry(tokens)
        if isinstance(lane, PassingLane):
            if leg.watch is not None:
                feed_lane(self, lane, leg)
            if leg.heading.attempt > 1:
                lane.out.restart(leg.heading.attempt)
        return lane

    def _open_behind(self, lane: PassingLane, upstream: Leg, tokens: Tokens, *, named: bool) -> None:
        """Open the stream that a node gives which works chunk by chunk: it keeps the id."""
        station: Station = lane.station
        above = upstream.heading
        account = self.account() if station.emits else None
        outlet = self.engine.outlets[station.site.index]
        out = leg_type(outlet)(self, outlet, above, hold(tokens), account, upstream.explicit)
        if outlet.kept:
            keep_leg(out, None, above, {})
        lane.out = out
        if self.watch is not None:
            out.watch = watch_lane(self, lane, upstream)
        out.owners = (lane,)
        out.parents = upstream.parents
        if account is not None:
            out.ride_on(list(upstream.parents))
        self._connect(out, lane.key, named=named)
        if out.stamps or account is not None:  # else nobody sees that its chunks bear the heading above
            out.heading = above.at(station.site.path, out.heading.attempt)

    def close_explicit(self) -> bool:
        """End the streams named by hand that nothing in the run can write to any more (rule 1.3).

        That is so when nothing of the run is alive at their node or before it. ``False`` where none was
        ended.
        """
        if not self.names_streams:
            return False
        live = self._live_sites()
        legs = [
            leg
            for leg in self.legs.values()
            if leg.explicit and leg.terminal is None and not self._is_lane_output(leg)
        ]
        over = [leg for leg in legs if not live & {leg.site.index, *self.engine.before(leg.site)}]
        for leg in over:
            leg.end("done")
        left = [lane for lane in self._merges() if not live & self._may_still_write(lane)]
        self._end_merges(left)
        return bool(over or left)

    def _merges(self) -> list[Any]:
        """Give the lanes that wait for nothing but writers who have not come yet."""
        return [lane for lane in self.lanes.values() if lane.explicit and not lane.writers and not lane.dead]

    def _end_merges(self, lanes: list[Any]) -> None:
        for lane in lanes:
            lane.explicit = False
            lane.finish_if_over()

    def end_awaited(self) -> bool:
        """End the streams that wait for writers who wait themselves, for what these streams hold.

        Called when nothing in the run can go on: so nothing can write to them (rule 1.3). ``False`` where
        there is none.
        """
        merges = self._merges()
        self._end_merges(merges)
        return bool(merges)

    def _may_still_write(self, lane: Any) -> set[int]:
        """Give the nodes from which the stream of a lane has not come, and those before them."""
        known = {road.edge.index for road in lane.inboxes}
        sites = [edge.source for edge in lane.station.named_edges if edge.index not in known]
        return {site.index for site in sites}.union(*map(self.engine.before, sites))

    def _live_sites(self) -> set[int]:
        """Give the nodes where something of the run waits, works, or may come from."""
        live = {engagement.station.site.index for engagement in self.engaged}
        live.update(index for index, mail in self.mail.items() if mail.occupied)
        live.update(lane.station.site.index for lane in self.lanes.values())
        step = self.first_step
        if step is not None and not step.settled:
            live.add(step.station.site.index)
        if self.inputs:
            live.add(0)
        return live

    def _is_lane_output(self, leg: Leg) -> bool:
        return any(isinstance(owner, PassingLane) for owner in leg.owners)

    def leg_ended(self, leg: Leg, error: BaseException | None) -> None:
        """Forget a stream that has ended, but not that it has."""
        super().leg_ended(leg, error)
        if leg.explicit:
            self._remember_end(leg)

    def _remember_end(self, leg: Leg) -> None:
        if self.ended_streams is NEVER:
            self.ended_streams = set()
        self.ended_streams.add((leg.site.index, leg.stream_id))

    def end_input(self, step: Step) -> None:
        """End the input of a two-way run, by hand or because nobody reads it any more."""
        if self.inputs:
            self.inputs = 0
            step.over()
            self.one_less_open()
            if self.busy == 0:
                self.at_rest()

    def lane_ended(self, lane: Any) -> None:
        """Forget a lane that has ended."""
        super().lane_ended(lane)
        letters = self.lane_accounts.get(lane.key)
        if letters is not None:
            del self.lane_accounts[lane.key]
            letters.close(lambda: self.account_closed(letters))

    def lane_letters(self, lane: Any) -> Any:
        """Give the window of the messages that the steps of a lane emit."""
        account = self.lane_accounts.get(lane.key)
        if account is None:
            account = self.account()
            self.keep_account(account)
            self.lane_accounts = {**self.lane_accounts, lane.key: account}
        return account

    def restart_input(self, step: Step) -> None:
        """Let a step that is begun again read its input from the start."""
        for lane in self.lanes.values():
            if isinstance(lane, StreamLane) and lane.step is step:
                lane.stream.stale = False
                lane.stream.taken = 0

    def read_by(self, step: Step, lane: StreamLane) -> None:
        """Let a join's step read a stream, which ends with it."""
        step.reads = (*step.reads, lane)

    # -- calls

    async def call(self, step: Step, target: Wirable | Callable[..., Any], payload: Any) -> Any:
        """Run a node or a flow as a part of a step.

        If cancelled, it is cancelled too.
        """
        engine = self.engine.child(target)
        item = step.item
        async with engine.within(self, payload, item.headers, item.meta, step) as run:
            return await run.result()
