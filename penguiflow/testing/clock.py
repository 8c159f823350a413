"""Virtual time: a clock that jumps over waits, on trio and on asyncio.

Owns the one trick that both need: when every task waits and only time could go on, time goes on at once.
Invariant: the order of what happens is that of real time with infinitely fast steps. Does not know what is
tested, nor of threads: give ``autojump_threshold`` where steps work in threads, else time may overtake them.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Mapping
from typing import Any


class JumpingSelector(selectors.BaseSelector):
    """A selector that lets time pass instead of waiting for it.

    Args:
        inner: the selector that knows the files.
        threshold: how many real seconds to wait for a file or a thread before time jumps.
    """

    def __init__(self, inner: selectors.BaseSelector, threshold: float) -> None:
        self.inner = inner
        self.threshold = threshold
        self.now: float = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Poll the files; where none is ready, jump to the end of the timeout."""
        if timeout is None:
            return self.inner.select(None)
        ready = self.inner.select(min(timeout, self.threshold))
        if not ready and timeout > 0:
            self.now += timeout
        return ready

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Register a file."""
        return self.inner.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Forget a file."""
        return self.inner.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Change what a file is watched for."""
        return self.inner.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """Give the registered files."""
        return self.inner.get_map()

    def close(self) -> None:
        """Close the selector that knows the files."""
        self.inner.close()


class VirtualLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop on virtual time.

    Args:
        autojump_threshold: how many real seconds nothing may happen before time jumps.
    """

    def __init__(self, autojump_threshold: float = 0.0) -> None:
        self._jumping = JumpingSelector(selectors.DefaultSelector(), autojump_threshold)
        super().__init__(self._jumping)

    @property
    def autojump_threshold(self) -> float:
        """How many real seconds nothing may happen before time jumps."""
        return self._jumping.threshold

    @autojump_threshold.setter
    def autojump_threshold(self, seconds: float) -> None:
        self._jumping.threshold = seconds

    def time(self) -> float:
        """Tell the virtual time in seconds; it begins at 0."""
        return self._jumping.now


def virtual_backend(name: str = "trio", *, autojump_threshold: float = 0.0) -> tuple[str, dict[str, Any]]:
    """Give an ``anyio_backend`` on virtual time, for pytest, or (name and options) for ``anyio.run``.

    Args:
        name: ``"asyncio"`` or ``"trio"``.
        autojump_threshold: how many real seconds nothing may happen before time jumps. 0 suits everything but
            steps in threads, which the clock can't see.

    Raises:
        ImportError: trio is asked for and not installed.
    """
    if name == "asyncio":
        return name, {"loop_factory": lambda: VirtualLoop(autojump_threshold)}
    if name != "trio":
        raise ValueError(f"there is no event loop {name!r}; there are 'asyncio' and 'trio'")
    try:
        from trio.testing import MockClock
    except ImportError as error:
        raise ImportError("virtual time on trio needs the extra: pip install 'penguiflow[trio]'") from error
    return name, {"clock": MockClock(autojump_threshold=autojump_threshold)}
