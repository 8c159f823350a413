"""Threads: the context of a node that works in a thread of its own (``thread=True``).

Owns the way back to the event loop. Invariant: nothing of the runtime is touched outside of the event loop's
thread; what a node calls in its own thread is carried out there while the thread waits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import anyio.from_thread

from .context import Context
from .control import Controls
from .items import Chunk, Headers, Item, Message
from .writer import StreamWriter

if TYPE_CHECKING:
    from .step import Step

R = TypeVar("R")


class ThreadContext(Context):
    """What a node in a thread knows of its step; what does not wait may be called from the thread.

    What may wait is awaited on the event loop: ``anyio.from_thread.run(ctx.emit, payload)``.
    """

    __slots__ = ("_way",)

    def __init__(self, step: Step) -> None:
        super().__init__(step)
        self._way = WayBack(step)

    def emit_nowait(
        self,
        payload: Any,
        *,
        to: str | None = None,
        headers: Headers | None = None,
        meta: dict[str, Any] | None = None,
    ) -> Message[Any]:
        """Emit a message, or raise `anyio.WouldBlock` where there is no credit or no room for it."""
        return self._way.call(partial(super().emit_nowait, payload, to=to, headers=headers, meta=meta))

    def emit_chunk_nowait(
        self,
        payload: Any,
        *,
        parent: Item[Any] | None = None,
        stream_id: str | None = None,
        seq: int | None = None,
        done: bool = False,
        meta: dict[str, Any] | None = None,
        to: str | None = None,
    ) -> Chunk[Any]:
        """Emit a chunk, or raise `anyio.WouldBlock` where there is no credit or no room for it."""
        emit = partial(super().emit_chunk_nowait, payload, parent=parent, stream_id=stream_id, seq=seq)
        return self._way.call(partial(emit, done=done, meta=meta, to=to))

    def open_stream(
        self,
        stream_id: str | None = None,
        *,
        meta: dict[str, Any] | None = None,
        window: int | None = None,
        to: str | None = None,
    ) -> StreamWriter:
        """Make what opens a stream; entering and leaving it wait, so they are called on the event loop."""
        return ThreadStreamWriter(self._step, stream_id, meta, window, to)

    def controls(self) -> Controls:
        """Give the commands that reach this node from now on; they are awaited on the event loop."""
        return self._way.call(super().controls)


class ThreadStreamWriter(StreamWriter):
    """The writing end of a stream whose node is in a thread."""

    __slots__ = ()

    def send_nowait(
        self, payload: Any, *, seq: int | None = None, done: bool = False, meta: dict[str, Any] | None = None
    ) -> Chunk[Any]:
        """Emit a chunk, or raise `anyio.WouldBlock` where there is no credit or no room for it."""
        way: WayBack = self._step.facade._way
        return way.call(partial(super().send_nowait, payload, seq=seq, done=done, meta=meta))


class Errand:
    """What a step has a thread do, once.

    Args:
        call: the node's function with its arguments.
    """

    __slots__ = ("_begun", "_call", "_given_up", "_lock", "over")

    def __init__(self, call: Callable[[], Any]) -> None:
        self._begun = False
        self._call = call
        self._given_up = False
        self._lock = threading.Lock()
        self.over: threading.Event = threading.Event()

    def run(self) -> tuple[Any, BaseException | None]:
        """Give the result, and what the function has raised that can't go through a coroutine.

        Does nothing where the step has given it up. Called in the thread.
        """
        with self._lock:
            if self._given_up:
                return None, None
            self._begun = True
        try:
            return self._call(), None
        except StopIteration as exc:
            return None, exc
        except Exception:
            raise
        except BaseException as exc:  # the event loop would take it for its own
            return None, exc
        finally:
            self.over.set()

    def give_up(self) -> bool:
        """Let it not begin any more; ``False`` where it has begun already."""
        with self._lock:
            self._given_up = not self._begun
            return self._given_up


class WayBack:
    """The way from a step's thread to the event loop; made on the event loop."""

    __slots__ = ("_loop_thread", "_node")

    def __init__(self, step: Step) -> None:
        self._loop_thread = threading.get_ident()
        self._node = step.station.site.key

    def call(self, function: Callable[[], R]) -> R:
        """Call a function in the event loop's thread, wherever this is called.

        Raises:
            RuntimeError: this is neither that thread nor the node's own.
        """
        if threading.get_ident() == self._loop_thread:
            return function()
        called = False

        def on_the_loop() -> R:
            nonlocal called
            called = True
            return function()

        try:
            return anyio.from_thread.run_sync(on_the_loop)
        except RuntimeError as exc:
            if called:
                raise
            raise RuntimeError(
                f"the context of node {self._node} was used in a thread that is neither the node's own nor "
                f"that of the event loop; hand what is to be emitted to one of these"
            ) from exc
