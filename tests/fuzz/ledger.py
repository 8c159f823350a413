"""A ledger: an observer that keeps books of all that it is told, and tells what does not add up.

Owns the truths of observation: what begins ends once, in order and inside its run; attempts are numbered
without gaps; the three waits add up to the duration (rules 6.1, 6.4). Knows nothing of flows: it believes
nothing but what it is told.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

CLOSE = 1e-6
"""So many seconds two sums of durations may differ."""

MOST_PARTS = 64


@dataclass
class BookedStep:
    """What is known of a step."""

    node: str
    stream_id: str | None
    attempt: int
    since: float
    over: bool = False
    chunks: Counter[tuple[Any, ...]] = field(default_factory=Counter)


@dataclass
class BookedStream:
    """What is known of a stream."""

    attempt: int
    since: float
    over: bool = False
    drops: int = 0


@dataclass
class BookedRun:
    """What is known of a run, or of a part of one."""

    flow: str
    caller: tuple[int, int] | None
    over: bool = False
    read: bool = False
    paused: bool = False
    steps: list[BookedStep] = field(default_factory=list)
    streams: dict[tuple[str, str], BookedStream] = field(default_factory=dict)
    given_up: list[int] = field(default_factory=list)


class Ledger:
    """An observer that keeps books: what was opened must be closed, once.

    Args:
        timelines: whether it wants the timelines of streams.
        measures: whether nodes and edges are to keep measures.
        gives_up: whether steps may outlive their run, because their cleanup was given up.
    """

    def __init__(self, *, timelines: bool = False, measures: bool = False, gives_up: bool = False) -> None:
        self.timelines = timelines
        self.measures = measures
        self.gives_up = gives_up
        self.runs: dict[tuple[str, int], BookedRun] = {}
        self.wrong: list[str] = []
        self.now = -math.inf
        self.closed = False
        self.counts: Counter[str] = Counter()

    def observe(self, event: Any) -> None:
        """Book an event."""
        name = type(event).__name__
        self.counts[name] += 1
        self._see(not self.closed, "came behind RuntimeClosed", event)
        book: Callable[[Any], None] | None = getattr(self, f"_{name}", None)
        if book is not None:
            book(event)
        else:
            self.wrong.append(f"an observer was told {event!r}")

    def _see(self, right: bool, what: str, event: Any) -> None:
        """Take note of what is wrong with an event."""
        if not right:
            self.wrong.append(f"an observer: {what}: {event!r}")

    def _tick(self, event: Any, at: float) -> None:
        self._see(at >= self.now, f"time goes back from {self.now}", event)
        self.now = max(self.now, at)

    # -- runs

    def _RuntimeOpened(self, event: Any) -> None:
        self._see(not self.runs, "the runtime was opened behind a run", event)

    def _RuntimeTick(self, event: Any) -> None:
        pass

    def _RuntimeClosed(self, event: Any) -> None:
        self._see(all(run.over for run in self.runs.values()), "closed before the last run is over", event)
        self.closed = True

    def _RunStarted(self, event: Any) -> None:
        self._tick(event, event.at)
        key = (event.run_id, event.part)
        again = self.runs.get(key)
        self._see(again is None or (again.over and event.part == 0), "a run begins twice", event)
        self._see((event.part == 0) == (event.caller is None), "only parts have a caller", event)
        if event.caller is not None:
            self._see(self._calling(event.run_id, *event.caller), "its caller is not at work", event)
        for other in [key for key in self.runs if event.part == 0 and key[0] == event.run_id]:
            del self.runs[other]
        self._see(event.waited >= 0, "it has waited less than no time", event)
        self._see(event.part == 0 or event.waited == 0, "parts wait for no admission", event)
        self.runs[key] = BookedRun(event.flow, event.caller)

    def _calling(self, run_id: str, part: int, number: int) -> bool:
        run = self.runs.get((run_id, part))
        if run is None or run.over or not 1 <= number <= len(run.steps):
            return False
        return not run.steps[number - 1].over or self.gives_up

    def _RunEnded(self, event: Any) -> None:
        self._tick(event, event.at)
        run = self._run_of(event)
        if run is None:
            return
        self._see(event.flow == run.flow, "it has another flow's name", event)
        left = [number for number, step in enumerate(run.steps, 1) if not step.over]
        self._see(not left or self.gives_up, f"steps {left} have not ended", event)
        open_streams = [key for key, stream in run.streams.items() if not stream.over]
        self._see(not open_streams, f"streams {open_streams} have not ended", event)
        self._see((event.error is None) == (event.status == "done"), "its error and status differ", event)
        if event.part == 0 and not self.gives_up:
            parts = [
                part
                for (run_id, part), other in self.runs.items()
                if run_id == event.run_id and not other.over
            ]
            self._see(parts == [0], f"parts {parts} are not over", event)
        run.over, run.given_up = True, left

    def _RunPaused(self, event: Any) -> None:
        self._paused(event, True)

    def _RunResumed(self, event: Any) -> None:
        self._paused(event, False)

    def _paused(self, event: Any, paused: bool) -> None:
        """See that pauses and their ends take turns; the last one may end with the run."""
        self._tick(event, event.at)
        run = self._run_of(event)
        if run is not None:
            self._see(event.flow == run.flow, "it has another flow's name", event)
            self._see(run.paused != paused, "it is so already", event)
            run.paused = paused

    def _RunRead(self, event: Any) -> None:
        self._tick(event, event.at)
        run = self.runs.get((event.run_id, event.part))
        self._see(run is not None and run.over and not run.read, "read before its end, or twice", event)
        if run is not None:
            run.read = True

    def _run_of(self, event: Any) -> BookedRun | None:
        run = self.runs.get((event.run_id, event.part))
        if run is None or run.over:
            self.wrong.append(f"an observer: outside of its run: {event!r}")
            return None
        return run

    # -- steps

    def _StepStarted(self, event: Any) -> None:
        self._tick(event, event.at)
        run = self._run_of(event)
        if run is None:
            return
        run.steps.append(BookedStep(event.node, event.stream_id, event.attempt, event.at))
        self._see(event.step == len(run.steps), f"step {len(run.steps)} was expected", event)
        self._see(event.queued >= 0, "it has waited less than no time", event)
        self._see(event.attempt >= 1, "attempts are counted from 1", event)
        self._see(event.stream_id is not None or event.attempt == 1, "it begins with its first", event)

    def _step_of(self, event: Any, number: int) -> BookedStep | None:
        """Give the step of an event; one that was given up may end behind its run."""
        run = self.runs.get((event.run_id, event.part))
        known = run is not None and 1 <= number <= len(run.steps)
        if run is None or not known or (run.over and number not in run.given_up):
            self.wrong.append(f"an observer: there is no such step: {event!r}")
            return None
        step = run.steps[number - 1]
        self._see(not step.over, "the step is over", event)
        return step

    def _StepRetried(self, event: Any) -> None:
        self._tick(event, event.at)
        step = self._step_of(event, event.step)
        if step is None:
            return
        self._see(event.node == step.node, f"the step is one of {step.node}", event)
        self._see(event.ended <= event.at, "it begins before the one before it has ended", event)
        self._adds_up(event.waits, None, event)
        if event.seq is not None:
            key = (event.stream_id, event.seq)  # several writers may give a chunk of one number
            follows = step.chunks[*key, event.attempt - 1] > step.chunks[*key, event.attempt]
            self._see(event.attempt == 2 or follows, "attempts have a gap", event)
            step.chunks[*key, event.attempt] += 1
            return
        if step.stream_id is None:
            self._see(event.attempt == step.attempt + 1, "attempts have a gap", event)
        self._see(event.attempt > step.attempt, "attempts grow", event)
        self._see(event.stream_id == step.stream_id, "it is another stream's", event)
        self._adds_up(event.waits, event.ended - step.since, event)
        step.attempt, step.since = event.attempt, event.at
        step.chunks.clear()

    def _StepEnded(self, event: Any) -> None:
        self._tick(event, event.at)
        step = self._step_of(event, event.step)
        if step is None:
            return
        step.over = True
        self._see((event.node, event.stream_id) == (step.node, step.stream_id), "it is another", event)
        self._see(event.attempts == step.attempt, f"it has had {step.attempt} attempts", event)
        self._see((event.error is None) == (event.outcome != "error"), "its error and outcome differ", event)
        self._adds_up(event.waits, event.at - step.since, event)

    def _StepLinked(self, event: Any) -> None:
        self._step_of(event, event.step)

    # -- streams

    def _StreamOpened(self, event: Any) -> None:
        self._tick(event, event.at)
        run = self._run_of(event)
        if run is None:
            return
        key = ("/".join(event.path), event.stream_id)
        self._see(key not in run.streams, "it begins twice (rule 1.3)", event)
        if event.step:
            step = self._step_of(event, event.step)
            self._see(step is None or step.node == key[0], "its step is one of another node", event)
        run.streams[key] = BookedStream(event.attempt, event.at)

    def _stream_of(self, event: Any) -> BookedStream | None:
        run = self._run_of(event)
        if run is None:
            return None
        stream = run.streams.get(("/".join(event.path), event.stream_id))
        if stream is None or stream.over:
            self.wrong.append(f"an observer: the stream is not open (rule 1.3): {event!r}")
            return None
        return stream

    def _StreamRestarted(self, event: Any) -> None:
        stream = self._stream_of(event)
        if stream is not None:
            self._see(event.attempt > stream.attempt, "attempts grow", event)
            self._timed(stream, event)
            stream.attempt, stream.since, stream.drops = event.attempt, event.timing.at, 0

    def _StreamEnded(self, event: Any) -> None:
        stream = self._stream_of(event)
        if stream is not None:
            self._see(event.attempt == stream.attempt, f"it is at attempt {stream.attempt}", event)
            self._see((event.error is None) or event.terminal == "error", "an error, but no end by it", event)
            self._timed(stream, event)
            stream.over = True

    def _timed(self, stream: BookedStream, event: Any) -> None:
        """See that the timing of a stream is that of its attempt."""
        timing = event.timing
        if timing is None:
            self._see(False, "there is no timing", event)
            return
        self._tick(event, timing.at)
        seconds = timing.at - stream.since
        self._adds_up(timing.waits, seconds, event)
        self._see((timing.first_chunk is None) == (event.chunks == 0), "first_chunk and chunks differ", event)
        if timing.first_chunk is not None:
            self._see(-CLOSE <= timing.first_chunk <= seconds + CLOSE, "first_chunk is outside", event)
        self._see(timing.drops == stream.drops, f"{stream.drops} were dropped", event)
        self._see((timing.timeline is not None) == self.timelines, "timelines only where wanted", event)
        if timing.timeline is not None:
            self._in_line(timing, event)

    def _in_line(self, timing: Any, event: Any) -> None:
        """See that a timeline has the same sums as the whole."""
        width, parts = timing.timeline
        self._see(len(parts) <= MOST_PARTS, "it has too many parts", event)
        sums = [math.fsum(part[index] for part in parts) for index in range(4)]
        whole = [timing.waits.source, timing.waits.node, timing.waits.credit, event.chunks]
        same = all(math.isclose(a, b, rel_tol=1e-6, abs_tol=CLOSE) for a, b in zip(sums, whole, strict=True))
        self._see(same, f"the parts give {sums}, the whole is {whole}", event)
        most = max((sum(part[:3]) for part in parts), default=0.0)
        self._see(most <= width + CLOSE, f"a part of {width} s has {most} s", event)

    def _adds_up(self, waits: Any, seconds: float | None, event: Any) -> None:
        three = (waits.source, waits.node, waits.credit)
        self._see(all(wait >= -1e-9 for wait in three), "less than no time was waited", event)
        lost = -1e-9 <= waits.again <= waits.node + CLOSE
        self._see(lost, f"{waits.again} s in failed tries are no part of {waits.node} s", event)
        if seconds is not None:
            same = math.isclose(waits.seconds, seconds, rel_tol=1e-6, abs_tol=CLOSE)
            self._see(same, f"{waits} is not {seconds} s (rule 6.4)", event)

    def _Drop(self, event: Any) -> None:
        run = self._run_of(event)
        if run is not None and event.stream_id is not None:
            stream = run.streams.get((event.edge.split("→")[0], event.stream_id))
            if stream is None:
                self._see(False, "it is of no stream", event)
            else:
                stream.drops += 1

    # -- the end

    def left(self) -> list[str]:
        """Tell what is wrong with the books where everything is over."""
        found = list(self.wrong)
        for key, run in self.runs.items():
            if not run.over:
                found.append(f"an observer: run {key} of {run.flow} has not ended")
            found += [
                f"an observer: {step} of run {key} has not ended" for step in run.steps if not step.over
            ]
        return found
