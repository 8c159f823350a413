"""Writers: the end of a stream that a node has opened by hand (`Context.open_stream`).

Owns the words; the `Step` does the work. Invariant: leaving the block ends the stream, unless others have it
open; what is sent before it is opened, or after its end, is a `StreamClosed`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

from .errors import StreamClosed
from .given import check_chunk_options, check_stream_options
from .items import Chunk
from .leg import LEFT, Leg

if TYPE_CHECKING:
    from .step import Step


class StreamWriter:
    """The writing end of a stream that a node has opened by hand."""

    __slots__ = ("_leg", "_meta", "_step", "_stream_id", "_to", "_window")

    def __init__(
        self,
        step: Step,
        stream_id: str | None,
        meta: dict[str, Any] | None,
        window: int | None,
        to: str | None,
    ) -> None:
        check_stream_options(stream_id, meta, window)
        self._step = step
        self._stream_id = stream_id
        self._meta = meta
        self._window = window
        self._to = to
        self._leg: Leg | None = None

    async def __aenter__(self) -> StreamWriter:
        """Open the stream. If cancelled, it is not opened."""
        self._step.check_alive()
        self._leg = self._step.run.open_leg(
            self._step,
            self._stream_id,
            explicit=True,
            to=self._to,
            window=self._window,
            by_hand=True,
            meta=self._meta,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: Any
    ) -> None:
        """End the stream; one that an exception leaves ends with its step, and takes nothing more.

        The step may fail with the exception, which is the stream's end then, or be tried again. If cancelled,
        the stream has ended.
        """
        leg = self._opened()
        leg.openers -= 1
        if leg.openers == 0 and leg.terminal is None:
            if exc is not None:
                leg.openers = LEFT
                return
            self._step.flush()
            leg.end("done")

    @property
    def id(self) -> str:
        """The id of the stream."""
        return self._opened().stream_id

    def _opened(self) -> Leg:
        if self._leg is None:
            raise StreamClosed("the stream is opened by `async with`")
        return self._leg

    async def send(
        self,
        payload: Any,
        *,
        seq: int | None = None,
        done: bool = False,
        meta: dict[str, Any] | None = None,
        timeout: float | None = None,
    ) -> Chunk[Any]:
        """Emit a chunk; like `Context.emit_chunk`.

        If cancelled while it waits for credit, nothing was emitted.
        """
        leg = self._opened()
        if seq is not None or meta is not None or timeout is not None:
            check_chunk_options(seq=seq, meta=meta, timeout=timeout)
        laid = {**(self._meta or {}), **(meta or {})} or None
        return await self._step.emit_chunk(leg, payload, seq=seq, done=done, meta=laid, timeout=timeout)

    def send_nowait(
        self, payload: Any, *, seq: int | None = None, done: bool = False, meta: dict[str, Any] | None = None
    ) -> Chunk[Any]:
        """Emit a chunk, or raise `anyio.WouldBlock` where there is no credit or no room for it."""
        if seq is not None or meta is not None:
            check_chunk_options(seq=seq, meta=meta)
        laid = {**(self._meta or {}), **(meta or {})} or None
        chunk = self._step.emit_chunk_nowait(self._opened(), payload, seq=seq, done=done, meta=laid)
        if chunk is None:
            raise anyio.WouldBlock(would_block(self._step, f"stream {self.id}"))
        return chunk


def would_block(step: Step, what: str) -> str:
    """Say that something can't be emitted without waiting."""
    where = f"{what} of node {step.station.site.key} in run {step.run.id}"
    return f"{where}: there is no credit, or no room; nothing was emitted"
