"""Store: the observer that keeps traces of runs in a local file, for `penguiflow trace` and `penguiflow top`.

Owns what of the events is kept. Invariant: no payload is kept, no event waits for the disk, and what is
kept in memory is bounded: by the runs that are under way, and by ``max_records_per_run``. How rows get onto
the disk, `writing` knows.
"""

from __future__ import annotations

import itertools
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from penguiflow.given import check_count, check_seconds_given
from penguiflow.items import Drop, StreamEnded, StreamOpened, StreamRestarted
from penguiflow.observe import (
    SPAN,
    RunEnded,
    RunPaused,
    RunRead,
    RunResumed,
    RunStarted,
    RuntimeClosed,
    RuntimeOpened,
    RuntimeTick,
    StepEnded,
    StepRetried,
    StepStarted,
)

from .live import Camera
from .own_span import OwnSpan
from .raised import record
from .recording import OpenPart, OpenPause, OpenRun, OpenStep, OpenStream, plan_row
from .schema import PARTS, PAUSES, PLANS, RUNS, STEPS, STREAMS, check_path
from .writing import Row, Writer

MOST_PENDING = 10_000
"""So many rows may wait for the disk; those that come then are left out."""

MOST_UNREAD = 1000
"""So many runs that are over are kept in mind until their readers have taken the last of them."""

WORTH_TELLING_SECONDS = 0.005
"""A reader who has taken everything so soon after the end is not told of."""

LAST_SECONDS = 2.0
"""So long the end of the last runtime waits for the disk."""

FAILURES_KEPT = 100
"""So many failed attempts of a run are kept beyond ``max_records_per_run``: they are what is looked for."""


class TraceStore:
    """Keeps traces of runs in a file: ``flow.open(observers=[TraceStore("runs.db")])``.

    It may be given to several runtimes, and several processes may write one file. Where no other observer
    traces, it gives the nodes their spans: what they say in these is kept too.

    A disk that is full or broken, or a file that is none of ours, hurts no run: it is said once in the log
    ``penguiflow``, and counted in `errors` and `lost`.

    Args:
        path: the file; made if it is not there.
        max_age: seconds after which a run is deleted.
        max_bytes: how large the file may get before the oldest runs are deleted. (What SQLite writes first,
            beside it, adds a few megabytes.)
        max_records_per_run: how many attempts at steps and streams are kept of a run.
        interval: seconds between two pictures for `penguiflow top`.

    Raises:
        ValueError, TypeError: a limit is none, or the path names no file.
    """

    timelines = True
    measures = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_age: float = 7 * 86400.0,
        max_bytes: int = 256 * 1024 * 1024,
        max_records_per_run: int = 10_000,
        interval: float = 0.5,
    ) -> None:
        for name, seconds in (("max_age", max_age), ("interval", interval)):
            if seconds is None:
                raise TypeError(f"{name}=None: a trace store needs a number of seconds")
            check_seconds_given(name, seconds)
        for name, limit in (("max_bytes", max_bytes), ("max_records_per_run", max_records_per_run)):
            check_count(name, limit)
        if interval == 0:
            raise ValueError("interval=0: seconds, more than 0")
        check_path(path)
        self.interval: float = interval
        self._most = max_records_per_run
        self._runs: dict[str, OpenRun] = {}
        self._unread: dict[str, tuple[float, Row]] = {}
        self._plans: dict[str, tuple[str, Row]] = {}
        self._cameras: dict[int, Camera] = {}
        self._numbers = itertools.count(1)
        self._key = 0
        # taken when a runtime comes or goes: several threads may share it
        self._lock = threading.Lock()
        self._writer = Writer(Path(path), max_age, max_bytes, MOST_PENDING, self._live_keys)
        self._told: dict[type, Callable[[Any], None]] = {
            RuntimeOpened: self._runtime_opened,
            RuntimeTick: self._runtime_tick,
            RuntimeClosed: self._runtime_closed,
            RunStarted: self._run_started,
            RunPaused: self._run_paused,
            RunResumed: self._run_resumed,
            RunEnded: self._run_ended,
            RunRead: self._run_read,
            StepStarted: self._step_started,
            StepRetried: self._step_retried,
            StepEnded: self._step_ended,
            StreamOpened: self._stream_opened,
            StreamRestarted: self._stream_restarted,
            StreamEnded: self._stream_ended,
            Drop: self._drop,
        }

    @property
    def path(self) -> Path:
        """The file."""
        return self._writer.path

    @property
    def errors(self) -> int:
        """How often the file could not be written."""
        return self._writer.errors

    @property
    def lost(self) -> int:
        """How many records were not kept, because the disk was too slow or broken."""
        return self._writer.lost

    @property
    def pending(self) -> int:
        """How many records are on their way to the disk."""
        return self._writer.pending

    def observe(self, event: object) -> None:
        """Keep an event."""
        keep = self._told.get(type(event))
        if keep is not None:
            keep(event)

    # -- runtimes

    def _runtime_opened(self, event: RuntimeOpened) -> None:
        plan = event.runtime.flow.plan
        row = plan_row(plan)
        with self._lock:
            self._plans[plan.name] = (row[0], row)
            self._cameras[id(event.runtime)] = Camera(next(self._numbers))
            self._writer.open()

    def _runtime_tick(self, event: RuntimeTick) -> None:
        camera = self._cameras.get(id(event.runtime))
        picture = camera.take(event.runtime) if camera is not None else None
        if camera is not None and picture is not None:
            self._picture(camera, picture)

    def _runtime_closed(self, event: RuntimeClosed) -> None:
        with self._lock:
            camera = self._cameras.pop(id(event.runtime), None)
            if camera is not None:
                self._picture(camera, None)
                if not self._cameras:
                    self._plans.clear()
                    self._writer.close(LAST_SECONDS)

    def _picture(self, camera: Camera, picture: dict[str, Any] | None) -> None:
        key = (self._writer.process.process, camera.number)
        self._writer.show(key, (*key, time.time(), picture))

    def _live_keys(self) -> set[int]:
        return {run.key for run in tuple(self._runs.values())}

    # -- runs

    def _run_started(self, event: RunStarted) -> None:
        if event.part:
            run = self._runs.get(event.run_id)
            if run is not None and self._has_room(run):
                part = run.parts[event.part] = OpenPart(event)
                self._put(run, PARTS, part.row(run))
            return
        plan, row = self._plans.get(event.flow, ("", ()))
        if row:
            self._writer.put(PLANS, row)
        run = OpenRun(self._new_key(), self._writer.process.process, event, time.time() - event.at, plan)
        run.outer = SPAN.get()
        self._runs[event.run_id] = run
        self._put(run, RUNS, run.row())

    def _new_key(self) -> int:
        """Give a key that no other process gives, and that is larger than all before it."""
        self._key = max(self._key + 1, int(time.time() * 1000) << 21 | random.getrandbits(21))
        return self._key

    def _run_paused(self, event: RunPaused) -> None:
        run = self._runs.get(event.run_id)
        if run is None:
            return
        if self._has_room(run):
            pause = run.pauses[event.part] = OpenPause(event, run.records)
            self._put(run, PAUSES, pause.row(run))
        if not event.part:
            self._put(run, RUNS, run.row(status="paused"))

    def _run_resumed(self, event: RunResumed) -> None:
        run = self._runs.get(event.run_id)
        if run is None:
            return
        pause = run.pauses.pop(event.part, None)
        if pause is not None:
            self._put(run, PAUSES, pause.row(run, event.at))
        if not event.part:
            self._put(run, RUNS, run.row())

    def _run_ended(self, event: RunEnded) -> None:
        run = self._runs.get(event.run_id)
        if run is None:
            return
        self._close_all(run, event)
        error = record(event.error) if event.error is not None else None
        if event.part:
            part = run.parts.pop(event.part, None)
            if part is not None:
                self._put(run, PARTS, part.row(run, event.at, event.status, error))
            return
        for part in run.parts.values():
            self._put(run, PARTS, part.row(run, event.at, event.status))
        del self._runs[event.run_id]
        row = run.row(event.at, event.status, error)
        self._put(run, RUNS, row)
        if event.status == "done":
            self._unread[event.run_id] = (event.at, row)
            if len(self._unread) > MOST_UNREAD:
                del self._unread[next(iter(self._unread))]

    def _run_read(self, event: RunRead) -> None:
        if event.part:
            return
        ended, row = self._unread.pop(event.run_id, (event.at, ()))
        if row and event.at - ended >= WORTH_TELLING_SECONDS:
            self._writer.put(RUNS, (*row[:-1], event.at - ended))

    def _close_all(self, run: OpenRun, event: RunEnded) -> None:
        """End what nobody has told the end of: steps whose cleanup was given up, a pause."""
        for part in [part for part in run.pauses if part == event.part or not event.part]:
            self._put(run, PAUSES, run.pauses.pop(part).row(run, event.at))
        for key in [key for key in run.streams if key[0] == event.part or not event.part]:
            self._put(run, STREAMS, run.streams.pop(key).row(run, event.at, "cancelled"))
        for place in [place for place in run.steps if place[0] == event.part or not event.part]:
            self._put(run, STEPS, run.steps.pop(place).row(run, event.at, "cancelled"))

    def _put(self, run: OpenRun, table: int, row: Row) -> None:
        if not self._writer.put(table, row):
            run.left_out += 1

    def _has_room(self, run: OpenRun) -> bool:
        if run.records >= self._most:
            run.left_out += 1
            return False
        run.records += 1
        return True

    # -- steps

    def _step_started(self, event: StepStarted) -> None:
        run = self._runs.get(event.run_id)
        if run is None:
            return
        run.steps_count += 1
        said = self._span(run)
        if self._has_room(run):
            step = run.steps[event.part, event.step] = OpenStep(event, said)
            self._put(run, STEPS, step.row(run))

    def _span(self, run: OpenRun) -> OwnSpan:
        """Make a span; the step's code sees it, unless somebody else has just set one for it."""
        span, seen = OwnSpan(run.trace_id, run.state), SPAN.get()
        if seen is None or seen is run.outer or type(seen) is OwnSpan:
            SPAN.set(span)
        return span

    def _step_retried(self, event: StepRetried) -> None:
        run = self._runs.get(event.run_id)
        if run is None:
            return
        step = run.steps.get((event.part, event.step))
        if event.seq is not None:
            if step is not None:
                step.retried(run, event)
            return
        error = record(event.error) if event.error is not None else None
        if step is not None:
            outcome = "error" if error is not None else "cancelled"
            self._put(run, STEPS, step.row(run, event.ended or event.at, outcome, event.waits, error))
            del run.steps[event.part, event.step]
        started = StepStarted(
            event.run_id, event.node, event.stream_id, event.part, event.step, event.attempt
        )
        self._begin_again(run, started, event.at)

    def _begin_again(self, run: OpenRun, started: StepStarted, at: float) -> None:
        run.steps_count += 1
        said = self._span(run)
        if self._has_room(run):
            step = run.steps[started.part, started.step] = OpenStep(started, said)
            step.at = at
            self._put(run, STEPS, step.row(run))

    def _step_ended(self, event: StepEnded) -> None:
        run = self._runs.get(event.run_id)
        if run is None:
            return
        step = run.steps.pop((event.part, event.step), None)
        error = record(event.error) if event.error is not None else None
        if step is None and error is not None and run.records < self._most + FAILURES_KEPT:
            run.records += 1
            run.left_out -= 1
            began = event.at - event.waits.seconds
            ids = (event.run_id, event.node, event.stream_id, event.part, event.step, event.attempts)
            step = OpenStep(StepStarted(*ids, at=began), OwnSpan(run.trace_id, ""))
        if step is not None:
            self._put(run, STEPS, step.row(run, event.at, event.outcome, event.waits, error))

    # -- streams

    def _stream_opened(self, event: StreamOpened) -> None:
        run = self._runs.get(event.run_id)
        if run is None:
            return
        run.streams_count += 1
        if self._has_room(run):
            node = "/".join(event.path)
            stream = OpenStream(event, node, run.records)
            run.streams[event.part, node, event.stream_id] = stream
            self._put(run, STREAMS, stream.row(run))

    def _stream_restarted(self, event: StreamRestarted) -> None:
        run = self._runs.get(event.run_id)
        stream = self._stream_of(event)
        if run is None or stream is None or event.timing is None:
            return
        at = event.timing.at
        self._put(run, STREAMS, stream.row(run, at, "restarted", event.timing, (event.chunks, event.gaps)))
        if self._has_room(run):
            stream.number, stream.attempt, stream.at = run.records, event.attempt, at
            self._put(run, STREAMS, stream.row(run))
        else:
            del run.streams[event.part, stream.node, stream.stream_id]

    def _stream_ended(self, event: StreamEnded) -> None:
        run = self._runs.get(event.run_id)
        stream = self._stream_of(event)
        if run is None or stream is None:
            return
        del run.streams[event.part, stream.node, stream.stream_id]
        timing = event.timing
        at = timing.at if timing is not None else stream.at
        error = record(event.error) if event.error is not None else None
        counts = (event.chunks, event.gaps)
        self._put(run, STREAMS, stream.row(run, at, event.terminal, timing, counts, error))

    def _stream_of(self, event: StreamRestarted | StreamEnded) -> OpenStream | None:
        run = self._runs.get(event.run_id)
        return (
            run.streams.get((event.part, "/".join(event.path), event.stream_id)) if run is not None else None
        )

    def _drop(self, event: Drop) -> None:
        """Count drops at the step that gave the stream, edge by edge: there may be very many."""
        run = self._runs.get(event.run_id)
        stream = None
        if run is not None and event.stream_id is not None:
            node = event.edge.partition("→")[0]
            stream = run.streams.get((event.part, node, event.stream_id))
        step = run.steps.get((event.part, stream.step)) if run is not None and stream is not None else None
        if run is None or step is None:
            return
        if step.drops is None:
            step.drops = {}
        said = step.drops.get((event.edge, event.reason))
        if said is None:
            said = {"edge": event.edge, "reason": event.reason, "count": 0, "seq": event.seq}
            step.drops[event.edge, event.reason] = said
            step.said.keep(time.time(), "drop", said)
        said["count"] += 1
