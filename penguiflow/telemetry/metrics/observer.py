"""Metrics: the observer whose numbers are pulled, by Prometheus, by OpenTelemetry or by whoever asks.

Owns which runtimes are read. Invariants: between two readings it does nothing, and no run has events because
of it; what it is asked from other threads, it answers from there. How one runtime is read, `gathering` knows.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from penguiflow.observe import RuntimeClosed, RuntimeOpened

from .gathering import Watched
from .prometheus import exposition, serving
from .sheet import Key, Sample, Sheet

if TYPE_CHECKING:
    from penguiflow.observe import RunStarted


class Metrics:
    """Counts and measures what runtimes do: ``flow.open(observers=[metrics])``.

    One may serve several runtimes, one after the other or at the same time, of the same flow or of others:
    what has the same labels is added up. A flow that steps call (`Context.call`) is told of under its own
    name, as if it were open itself: each call is a run of it. Counters go on when a runtime is closed; what
    is told of now, and of the last minutes, is told of runtimes that are open. It may be read on any thread,
    at any time.

    Args:
        compatible: give the metrics of `metric_names.COMPATIBLE` too: ``node_latency_us`` and others, for
            dashboards that are there already.
    """

    measures = True

    def __init__(self, *, compatible: bool = False) -> None:
        self.compatible: bool = compatible
        self._lock = threading.Lock()  # taken when a runtime comes or goes, and while it is read
        self._watched: dict[int, Watched] = {}
        self._kept: dict[Key, float] = {}

    def follows(self, run: RunStarted) -> bool:
        """Say that the events of runs are not wanted."""
        return False

    def observe(self, event: object) -> None:
        """Be told that a runtime is open, or closed."""
        if isinstance(event, RuntimeOpened):
            with self._lock:
                self._forget_the_gone()
                self._watched.setdefault(id(event.runtime), Watched(event.runtime))
        elif isinstance(event, RuntimeClosed):
            with self._lock:
                watched = self._watched.pop(id(event.runtime), None)
                if watched is not None:
                    watched.read(event.runtime, Sheet({}))
                    watched.leave(self._kept)

    def _forget_the_gone(self) -> None:
        """Keep what was known last of runtimes that went away without being closed."""
        for number, watched in list(self._watched.items()):
            if watched.runtime() is None:
                watched.leave(self._kept)
                del self._watched[number]

    def read(self) -> tuple[Sample, ...]:
        """Give all values, as they are now."""
        with self._lock:
            self._forget_the_gone()
            sheet = Sheet(self._kept)
            for watched in self._watched.values():
                runtime = watched.runtime()
                if runtime is not None:
                    watched.read(runtime, sheet, averages=self.compatible)
            return sheet.samples(compatible=self.compatible)

    def prometheus(self) -> str:
        """Give all values in Prometheus' text format.

        Raises:
            ImportError: ``prometheus_client`` is not there; the text names the extra.
        """
        return exposition(self)

    @contextmanager
    def serve(self, port: int = 9090, host: str = "127.0.0.1") -> Iterator[int]:
        """Answer Prometheus over HTTP, from a thread: ``with metrics.serve() as port``.

        Args:
            port: where; 0 for one that is free.
            host: for whom; by default for this machine only.

        Raises:
            ImportError: ``prometheus_client`` is not there; the text names the extra.
            OSError: the port is taken.
        """
        with serving(self, port, host) as taken:
            yield taken
