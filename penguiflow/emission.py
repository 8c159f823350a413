"""Emission: how a step writes its streams.

Owns the streams of a step, and what a retry holds back. Invariant: a chunk that is emitted has spent credit,
is numbered, and leaves in order; what is held back has spent none, and its numbers are taken back with it.
"""

from __future__ import annotations

from typing import Any

import anyio

from .completion import Tokens, hold, release
from .credit import FREE, Copies, Ticket
from .errors import SequenceError
from .items import Chunk, Item, copy_chunk, new_chunk
from .leg import Leg
from .sequence import skipped
from .waiting import Waiting


class Emission(Waiting):
    """A step as the writer of its streams."""

    __slots__ = ("attempts_spent", "held", "item", "one_way", "ticket", "tokens")

    attempts_spent: bool
    dirty: list[Leg]
    held: list[tuple[Leg, Chunk[Any]]] | None
    item: Item[Any]
    legs: list[Leg]
    one_way: dict[str, Leg] | None
    out: Leg | None
    spent: int
    ticket: Ticket
    tokens: Tokens

    # -- streams

    def share_ticket(self) -> Copies:
        """Give a reference to what the input rides on, for something that outlives the step."""
        if not isinstance(self.ticket, Copies):
            self.ticket = Copies(self.ticket, 1)
        return self.ticket

    def default_leg(self) -> Leg:
        """Give the stream that is written where no id is given."""
        if self.out is None:
            self.out = self.run.open_leg(self, None, explicit=False)
        return self.out

    def leg_for(self, stream_id: str | None, to: str | None = None) -> Leg:
        """Give the stream of an id, opened if need be."""
        self.check_alive()
        if stream_id is None:
            return self.default_leg() if to is None else self._leg_to(to)
        if self.out is not None and self.out.stream_id == stream_id:
            return self.out
        return self.run.open_leg(self, stream_id, explicit=True, to=to)

    def _leg_to(self, to: str) -> Leg:
        """Give the stream that is written where only a successor is given."""
        if self.one_way is None:
            self.one_way = {}
        leg = self.one_way.get(to)
        if leg is None:
            leg = self.one_way[to] = self.run.open_leg(self, None, explicit=False, to=to)
        return leg

    def unread(self, leg: Leg) -> None:
        """Take note that nobody reads a stream any more (rule 2.10)."""
        raise NotImplementedError

    # -- chunks

    async def emit_chunk(
        self,
        leg: Leg,
        payload: Any,
        *,
        parent: Item[Any] | None = None,
        seq: int | None = None,
        done: bool = False,
        meta: dict[str, Any] | None = None,
        timeout: float | None = None,
    ) -> Chunk[Any]:
        """Emit one chunk under credit, for which it waits ``timeout`` seconds at most.

        If cancelled while it waits for credit, nothing was emitted.
        """
        if timeout is not None:
            with anyio.move_on_after(timeout) as scope:
                await self._wait_until_emittable(leg)
            if scope.cancelled_caught:
                where = f"stream {leg.stream_id} of node {self.station.site.key} in run {self.run.id}"
                raise TimeoutError(f"{where}: no credit within {timeout} s; nothing was emitted")
        self.check_open(leg)
        leg.verify(payload)
        self._check_seq(leg, seq)
        if self.held is not None and leg is self.out:
            return await self._hold_back(leg, payload, parent, seq, done, meta)
        if not leg.allow:
            self.replenish(leg)
        if leg.allow:
            leg.allow -= 1
            ticket: Ticket = leg.account  # type: ignore[assignment]
        else:
            ticket = await self.credit(leg, self.run.engine.size(payload))
        return await self._put(leg, self._chunk(leg, payload, ticket, parent, seq, meta), done)

    def emit_at_once(self, payload: Any) -> Chunk[Any] | None:
        """Emit one more chunk of the step's own stream; ``None`` where anything of it has to be looked at.

        What is collected and not handed on shows that the stream is alive and that its step runs: whatever
        ends either hands it on or lets it go. (A call of `emit_chunk` takes three times as long.)
        """
        leg = self.out
        if leg is None or not leg.allow or not leg.buffer or self.lane is not None or self.clock is not None:
            return None
        item, outlet = self.item, leg.outlet
        if item._headers is not None or item._meta is not None or self.run.pool.current is not self.worker:
            return None
        if outlet.fails or (outlet.checks and type(payload) not in outlet.sure):
            return None
        seq, account = leg.next_seq, leg.account
        assert account is not None
        leg.allow -= 1
        leg.next_seq = seq + 1
        leg.buffer.append(new_chunk(leg.heading, seq, payload, account, ()))
        return new_chunk(leg.heading, seq, payload, account, ())

    async def _wait_until_emittable(self, leg: Leg) -> None:
        """Wait until a chunk can be emitted without waiting.

        If cancelled, nothing was emitted, and no credit was spent.
        """
        if leg.allow == 0:
            ticket = await self.credit(leg, 0)
            ticket.home()
            if leg.account is not None:
                leg.account.grant()

    def emit_chunk_nowait(
        self,
        leg: Leg,
        payload: Any,
        *,
        parent: Item[Any] | None = None,
        seq: int | None = None,
        done: bool = False,
        meta: dict[str, Any] | None = None,
    ) -> Chunk[Any] | None:
        """Emit one chunk if there is credit and room for it; ``None`` where there is not."""
        self.check_open(leg)
        leg.verify(payload)
        self._check_seq(leg, seq)
        if self.held is not None and leg is self.out:
            if len(self.held) >= self.run.window:
                self.flush_held()
            if not self.attempts_spent:
                return self._keep(leg, payload, parent, seq, done, meta)
            if self.held:
                return None
        leg.flush()
        assert leg.account is not None
        if leg.stuck or leg.room() <= 0 or self.run.paused:
            return None
        ticket = leg.account.take(self.run.engine.size(payload))
        if ticket is None:
            return None
        chunk = self._chunk(leg, payload, ticket, parent, seq, meta)
        shown = copy_chunk(chunk)
        shown.done = done
        self._append(leg, chunk, done)
        leg.flush()
        if done:
            leg.end("done")
        return shown

    def _check_seq(self, leg: Leg, seq: int | None) -> None:
        if seq is not None:
            try:
                skipped(leg.next_seq, seq)
            except ValueError as exc:
                raise SequenceError(
                    f"stream {leg.stream_id} of node {self.station.site.key}: {exc}"
                ) from None

    def _chunk(
        self,
        leg: Leg,
        payload: Any,
        ticket: Ticket,
        parent: Item[Any] | None,
        seq: int | None,
        meta: dict[str, Any] | None,
    ) -> Chunk[Any]:
        if seq is not None:
            gap = skipped(leg.next_seq, seq)
            leg.gaps += gap
            self.run.gaps += gap
            leg.next_seq = seq
        tokens = hold(self.tokens) if self.lane is not None and self.tokens else ()
        chunk = new_chunk(leg.heading, leg.next_seq, payload, ticket, tokens)
        leg.next_seq += 1
        inherit(chunk, parent if parent is not None else self.item, leg, meta)
        return chunk

    def will_flush(self, leg: Leg, chunks: list[Chunk[Any]]) -> None:
        """Begin to collect what is emitted; it is handed on with `flush`."""
        leg.buffer = chunks
        self.dirty = [*self.dirty, leg]

    def _append(self, leg: Leg, chunk: Chunk[Any], done: bool) -> None:
        chunk.done = done
        if self.kept is not None:
            leg.made(self.kept)
        if leg.buffer:
            leg.buffer.append(chunk)
        else:
            self.will_flush(leg, [chunk])
        if self.clock is not None:
            self.clock.output()

    async def _put(self, leg: Leg, chunk: Chunk[Any], done: bool) -> Chunk[Any]:
        shown = copy_chunk(chunk)
        shown.done = done
        self._append(leg, chunk, done)
        if done:
            leg.end("done")
        elif not self.is_own():
            leg.flush()
            await self.unstuck_leg(leg)
        elif leg.allow == 0:
            self.replenish(leg)
            if leg.stuck:
                await self.unstuck_leg(leg)
        return shown

    # -- what a retry holds back

    async def _hold_back(
        self,
        leg: Leg,
        payload: Any,
        parent: Item[Any] | None,
        seq: int | None,
        done: bool,
        meta: dict[str, Any] | None,
    ) -> Chunk[Any]:
        """Keep a chunk until the step has succeeded, or until a window of them is kept (rule 1.5)."""
        assert self.held is not None
        shown = self._keep(leg, payload, parent, seq, done, meta)
        if len(self.held) >= self.run.window:
            self.attempts_spent = True
            await self.let_go()
        return shown

    def _keep(
        self,
        leg: Leg,
        payload: Any,
        parent: Item[Any] | None,
        seq: int | None,
        done: bool,
        meta: dict[str, Any] | None,
    ) -> Chunk[Any]:
        assert self.held is not None
        chunk = self._chunk(leg, payload, FREE, parent, seq, meta)
        chunk.done = done
        self.held.append((leg, chunk))
        return copy_chunk(chunk)

    async def let_go(self) -> None:
        """Emit what was held back.

        If cancelled, what is left of it is lost with the step.
        """
        held, self.held = self.held or [], None
        for leg, chunk in held:
            chunk._ticket = await self.credit(leg, self.run.engine.size(chunk.payload))
            self._append(leg, chunk, chunk.done)
            leg.flush()
            if chunk.done:
                leg.end("done")

    def flush_held(self) -> None:
        """Let go of what is held back for a retry, as far as there is credit; the step is not tried again."""
        while self.held:
            leg, chunk = self.held[0]
            assert leg.account is not None
            leg.flush()
            ticket = leg.account.take(self.run.engine.size(chunk.payload))
            if ticket is None:
                return
            self.attempts_spent = True
            del self.held[0]
            chunk._ticket = ticket
            self._append(leg, chunk, chunk.done)
            leg.flush()

    def forget_held(self) -> None:
        """Take back the numbers of what was held back by a failed attempt."""
        held, self.held = self.held or [], []
        for leg, chunk in reversed(held):
            leg.next_seq = chunk.seq
            tokens, chunk._tokens = chunk._tokens, ()
            release(tokens)


def inherit(chunk: Chunk[Any], parent: Item[Any] | None, leg: Leg, meta: dict[str, Any] | None) -> None:
    """Let a chunk inherit what its parent has changed since its heading was made (rule 1.2)."""
    heading = leg.heading
    if parent is not None:
        if parent._headers is not None:
            chunk._headers = parent._headers.copy()
        elif parent._heading.headers is not heading.headers:
            chunk._headers = parent._heading.headers.copy()
        if parent._meta is not None or parent._heading.meta is not heading.meta:
            chunk._meta = dict(parent._meta if parent._meta is not None else parent._heading.meta)
    if meta is not None:
        chunk._meta = {**(chunk._meta if chunk._meta is not None else heading.meta), **meta}
