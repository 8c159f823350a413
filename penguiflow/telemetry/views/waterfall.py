"""Waterfall: a run as text, step by step and stream by stream on one axis of time.

Owns what is shown, and in which order. Invariant: a pure function of the trace, the width and the options;
no line is wider than the terminal, and a run of any size stays readable: of many steps of a node, the
first, the slowest and the failed are shown, and how many are not.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from ..records import UNDER_WAY, ErrorRecord, PartRecord, RunTrace, StepRecord, StreamRecord
from .bars import ERROR, FIRST, NODE, OPEN, PAUSED, QUEUED, RETRY, WORK, Axis, Bar, legend, longest_silence
from .pauses import Idle
from .wording import (
    BOLD,
    DIM,
    RED,
    YELLOW,
    Paint,
    brief,
    clean,
    columns,
    counted,
    fit,
    moment,
    number,
    seconds,
    shorten,
    size,
    wrapped,
)

ALL_SHOWN = 60
"""A run with so few steps is shown whole."""

FIRST_SHOWN, SLOWEST_SHOWN, FAILED_SHOWN = 4, 2, 4
"""How many steps of one node are shown of a larger run."""

STREAMS_SHOWN = 6
"""How many streams of one step are shown of a larger run."""

Place = tuple[int, int]
"""A step: its part and its number."""

Home = tuple[int, int, int]
"""An attempt at a step; 0 where the step was not kept, or where there is none: for a run's input."""

NARROWEST = 40
DURATION = 10
DEEPEST = 8


def waterfall(trace: RunTrace, width: int, *, colour: bool = False, everything: bool = False) -> str:
    """Draw a run.

    Args:
        trace: the run.
        width: characters per line.
        colour: whether the terminal knows colours.
        everything: show every step, however many there are.
    """
    return "\n".join(_Waterfall(trace, max(width, NARROWEST), Paint(colour), everything).lines())


class _Waterfall:
    """One drawing."""

    def __init__(self, trace: RunTrace, width: int, paint: Paint, everything: bool) -> None:
        self._trace = trace
        self._width = width
        self._paint = paint
        self._everything = everything or len(trace.steps) <= ALL_SHOWN
        self._now = trace.summary.started + trace.summary.seconds
        self._idle = Idle(trace, self._now)
        self._label = min(max(map(columns, self._labels()), default=8) + 2, max(14, width * 3 // 10))
        bar = width - self._label - DURATION
        ends = [step.ended or self._now for step in trace.steps]
        ends += [stream.ended or self._now for stream in trace.streams]
        self._axis = Axis(trace.summary.started, max(self._now, *ends, 0.0) - trace.summary.started, bar)
        self._steps: dict[int, list[StepRecord]] = defaultdict(list)
        for step in trace.steps:
            self._steps[step.part].append(step)
        attempts: dict[Place, list[StepRecord]] = defaultdict(list)
        for step in trace.steps:
            attempts[step.part, step.step].append(step)
        self._streams: dict[Home, list[StreamRecord]] = defaultdict(list)
        for stream in trace.streams:
            place = (stream.part, stream.step)
            self._streams[_home(place, attempts[place], stream.started, stream.attempt)].append(stream)
        self._parts: dict[Home, list[PartRecord]] = defaultdict(list)
        for part in trace.parts:
            if part.caller is not None:
                self._parts[_home(part.caller, attempts[part.caller], part.started)].append(part)
        self._told: set[ErrorRecord] = set()
        self._used: set[str] = set()

    def _labels(self) -> Iterator[str]:
        """Give all that stands left of a bar, about as far to the right as it will."""
        deep = {part.part: 0 for part in self._trace.parts}
        for part in self._trace.parts:
            if part.caller is not None:
                deep[part.part] = min(deep.get(part.caller[0], 0) + 2, DEEPEST)
                yield f"{'  ' * (deep[part.part] - 1)}calls {clean(part.flow)}"
        for step in self._trace.steps:
            yield f"{'  ' * deep.get(step.part, 0)}{_numbered(step.node, step.attempt)}"
        for stream in self._trace.streams:
            name = _numbered(stream.stream_id, stream.attempt)
            yield f"{'  ' * (deep.get(stream.part, 0) + 1)}{name}" if stream.step else f"input {name}"

    def lines(self) -> Iterator[str]:
        """Give the lines."""
        yield from self._header()
        yield ""
        yield self._scale()
        yield from self._paused()
        body = [line for stream in self._streams.pop((0, 0, 0), ()) for line in self._stream(stream, 0)]
        body += self._part(0, 0)
        body += self._orphans()
        yield from body or [self._paint("no step has begun yet", DIM)]
        if self._trace.left_out:
            yield self._paint(f"{counted(self._trace.left_out, 'record')} of this run were not kept", YELLOW)
        if self._trace.diagnosis:
            yield ""
            yield from (self._within(f"⏳ {clean(line)}", 0, YELLOW) for line in self._trace.diagnosis)
        if self._used:
            yield ""
            yield from wrapped(legend(self._used, self._paint).split("   "), self._width)

    # -- above the axis

    def _header(self) -> Iterator[str]:
        run, paint = self._trace.summary, self._paint
        name, flow = self._short(f"run {clean(run.run_id)}"), self._short(f"flow {clean(run.flow)}")
        yield from wrapped([paint(name, BOLD), flow, paint.status(run.status)], self._width, " · ")
        took = "has taken" if run.status in UNDER_WAY else "took"
        facts = [f"started {moment(run.started)}", f"{took} {seconds(run.seconds)}"]
        facts += [f"waited {seconds(run.waited)} before, to be admitted"] if run.waited > 0 else []
        facts += [f"read {seconds(run.read)} later"] if run.read else []
        facts += [f"tenant {clean(run.tenant)}"] if run.tenant is not None else []
        facts += [f"trace {clean(run.trace_id)}"]
        yield from wrapped(list(map(self._short, facts)), self._width, " · ")
        yield from wrapped(list(self._counts()), self._width, " · ")
        root = self._trace.parts[0] if self._trace.parts else None
        if root is not None and root.error is not None:
            yield from self._error(root.error, 0)
        if run.status == "lost":
            yield self._within("its process is gone, and has not said how it ended", 0, RED)

    def _short(self, text: str) -> str:
        return shorten(text, self._width)

    def _counts(self) -> Iterator[str]:
        trace = self._trace
        yield counted(trace.summary.steps, "step attempt")
        yield counted(trace.summary.streams, "stream")
        again = sum(step.attempt > 1 for step in trace.steps)
        again += sum(step.retries for step in trace.steps)
        failed = sum(step.outcome == "error" for step in trace.steps)
        drops, gaps = sum(one.drops for one in trace.streams), sum(one.gaps for one in trace.streams)
        sized = [one.bytes for one in trace.streams if one.bytes is not None]
        for count, word in (
            (again, "retried"),
            (failed, "failed"),
            (drops, "dropped"),
            (gaps, "numbers skipped"),
        ):
            if count:
                yield f"{number(count)} {word}"
        if sized:
            yield f"{size(sum(sized))} in streams"

    def _scale(self) -> str:
        """Write the axis: its begin, middle and end."""
        axis = self._axis
        middle, end = seconds(axis.seconds / 2), seconds(axis.seconds)
        left = fit("0", axis.width // 2 - len(middle) // 2)
        right = axis.width - len(left) - len(middle)
        return self._paint(" " * self._label + left + middle + end.rjust(right), DIM)

    def _paused(self) -> Iterator[str]:
        """Show when the run was paused, if it was."""
        pauses = [self._idle.times(pause) for pause in self._idle.pauses]
        if pauses:
            bar = Bar(self._axis)
            for start, end in pauses:
                bar.fill(start, end, self._use(PAUSED))
            if self._trace.summary.status == "paused":
                bar.mark(self._now, self._use(OPEN))
            yield self._line("paused", 0, bar, sum(end - start for start, end in pauses), YELLOW)

    # -- steps

    def _part(self, part: int, depth: int) -> Iterator[str]:
        """Show the steps of a part, and below each what belongs to it."""
        steps = self._steps.pop(part, [])
        hidden: Counter[str] = Counter()
        shown = set(map(id, steps)) if self._everything else _chosen(steps)
        last = {step.node: index for index, step in enumerate(steps) if id(step) in shown}
        for step in steps:
            hidden[step.node] += id(step) not in shown
        for index, step in enumerate(steps):
            if id(step) in shown:
                yield from self._step(step, depth)
            if index == last.get(step.node) and hidden[step.node]:
                more = counted(hidden[step.node], "more step")
                yield self._within(f"… {more} of node {clean(step.node)}", 2 * depth, DIM)

    def _step(self, step: StepRecord, depth: int) -> Iterator[str]:
        end = step.ended if step.ended is not None else self._now
        bar, queued = Bar(self._axis), self._idle.queued(step)
        if queued * self._axis.width > self._axis.seconds:
            bar.fill(step.started - step.queued, step.started, self._use(QUEUED))
        busy = step.ended is not None and step.waits.node >= 0.95 * (end - step.started)
        bar.fill(step.started, end, self._use(NODE if busy and step.stream_id is None else WORK))
        self._rest(bar, step.started - step.queued, end)
        for event in step.events:
            if event.name == "retry":
                bar.mark(event.at, self._use(RETRY))
        self._mark_end(bar, end, step.outcome == "error", step.ended is None)
        yield self._line(
            _numbered(step.node, step.attempt),
            depth,
            bar,
            end - step.started,
            RED if step.outcome == "error" else BOLD,
        )
        told_below = step.stream_id is not None and (step.part, step.step, step.attempt) in self._streams
        plain = busy and not step.waits.source and not step.waits.credit  # the bar says it all
        facts = self._waits(step, end) if step.waits.seconds and not told_below and not plain else []
        facts += [f"queued {seconds(queued)}"] if queued >= 0.0005 else []
        facts += [step.outcome] if step.outcome == "cancelled" else []
        yield from self._details(facts, depth + 1)
        yield from self._events(step, depth + 1)
        if step.error is not None:
            yield from self._error(step.error, depth + 1)
        yield from self._below(step, depth + 1)

    def _below(self, step: StepRecord, depth: int) -> Iterator[str]:
        """Show the streams of an attempt at a step, and what it has called."""
        home = (step.part, step.step, step.attempt)
        mine = self._streams.pop(home, [])
        most = len(mine) if self._everything else STREAMS_SHOWN
        for stream in mine[:most]:
            yield from self._stream(stream, depth)
        if len(mine) > most:
            yield self._within(f"… {counted(len(mine) - most, 'more stream')} of this step", 2 * depth, DIM)
        for part in self._parts.pop(home, ()):
            yield from self._called(part, depth)

    def _called(self, part: PartRecord, depth: int) -> Iterator[str]:
        """Show what a step has called."""
        bar = Bar(self._axis)
        end = part.ended if part.ended is not None else self._now
        bar.fill(part.started, end, self._use(WORK))
        self._mark_end(bar, end, part.status == "failed", part.ended is None)
        yield self._line(f"calls {clean(part.flow)}", depth, bar, end - part.started)
        if part.error is not None:
            yield from self._error(part.error, depth + 1)
        yield from self._part(part.part, min(depth + 1, DEEPEST))

    def _orphans(self) -> Iterator[str]:
        """Show what belongs to steps that were not kept."""
        for home in [home for home in self._streams if not home[2]]:
            for stream in self._streams.pop(home)[:STREAMS_SHOWN]:
                yield from self._stream(stream, 0)
        for home in [home for home in self._parts if not home[2]]:
            for part in self._parts.pop(home):
                yield from self._called(part, 0)

    def _events(self, step: StepRecord, depth: int) -> Iterator[str]:
        """Show what was said of a step; retries and drops in as few lines as they have reasons."""
        retries = Counter(
            clean(event.attributes.get("error", "")) for event in step.events if event.name == "retry"
        )
        for error, count in retries.items():
            yield self._within(f"↻ {counted(count, 'chunk')} tried again: {error}", 2 * depth, YELLOW)
        for event in step.events:
            said = {clean(key): clean(value) for key, value in event.attributes.items()}
            if event.name == "drop":
                text = f"⤓ {said.get('count')} dropped at {said.get('edge')} ({said.get('reason')})"
                yield self._within(text, 2 * depth, YELLOW)
            elif event.name not in ("retry", "retries"):
                words = ", ".join(f"{key}={value}" for key, value in said.items())
                at = "" if event.name == "attributes" else f"+{seconds(event.at - step.started)} "
                name = "" if event.name == "attributes" else f"{clean(event.name)} "
                yield self._within(f"• {at}{name}{words}", 2 * depth, DIM)

    # -- streams

    def _stream(self, stream: StreamRecord, depth: int) -> Iterator[str]:
        end = stream.ended if stream.ended is not None else self._now
        bar = Bar(self._axis)
        if stream.timeline is not None and stream.timeline[1]:
            bar.timeline(stream.started, end, stream.timeline)
        else:
            bar.fill(stream.started, end, WORK)
        self._rest(bar, stream.started, end)
        if stream.first_chunk is not None:
            bar.mark(stream.started + stream.first_chunk, FIRST)
        self._mark_end(bar, end, stream.terminal == "error", stream.ended is None)
        self._used.update(char for char in bar.text(Paint(False)) if char != " ")
        name = _numbered(stream.stream_id, stream.attempt)
        yield self._line(name if stream.step else f"input {name}", depth, bar, end - stream.started)
        yield from self._details(list(_stream_facts(stream)), depth + 1)
        yield from self._details(self._waits(stream, end) if stream.waits.seconds else [], depth + 1)
        if stream.error is not None and stream.error not in self._told:
            yield from self._error(stream.error, depth + 1)

    # -- lines

    def _line(self, label: str, depth: int, bar: Bar, took: float, *codes: str) -> str:
        name = fit(f"{'  ' * depth}{label}", self._label - 1)
        return f"{self._paint(name, *codes)} {bar.text(self._paint)}{seconds(took).rjust(DURATION)}".rstrip()

    def _details(self, facts: list[str], depth: int) -> Iterator[str]:
        for line in wrapped(facts, self._width - 2 * depth, " · "):
            yield self._paint(f"{'  ' * depth}{line}", DIM)

    def _error(self, error: ErrorRecord, depth: int) -> Iterator[str]:
        """Show an error with its causes the first time, and later say that it is the same."""
        if error in self._told:
            yield self._within(f"{ERROR} {clean(error.kind)}, see above", 2 * depth, RED)
            return
        self._told.add(error)
        yield self._within(f"{ERROR} {brief(error)}", 2 * depth, RED)
        for cause in error.causes:
            yield self._within(f"← {clean(cause)}", 2 * depth + 2, RED)
        if error.where:
            yield self._within(f"at {clean(error.where)}", 2 * depth + 2, RED)

    def _within(self, text: str, indent: int, *codes: str) -> str:
        return self._paint(f"{' ' * indent}{shorten(text, self._width - indent)}", *codes)

    def _waits(self, one: StepRecord | StreamRecord, end: float) -> list[str]:
        """Say where the time of an attempt went, and how much of it the run was paused."""
        waits, paused = self._idle.waits(one), self._idle.within(one.started, end)
        names = ("source", "node", "credit", *(("again",) if waits.again else ()))
        told = [f"{name} {seconds(getattr(waits, name))}" for name in names]
        return [*told, f"paused {seconds(paused)}"] if paused > 0 else told

    def _rest(self, bar: Bar, start: float, end: float) -> None:
        """Draw over a bar that the run was paused."""
        for left, right in self._idle.spans:
            if max(left, start) < min(right, end):
                bar.fill(max(left, start), min(right, end), self._use(PAUSED))

    def _mark_end(self, bar: Bar, end: float, failed: bool, is_open: bool) -> None:
        if failed or is_open:
            bar.mark(end, self._use(ERROR if failed else OPEN))

    def _use(self, char: str) -> str:
        self._used.add(char)
        return char


def _numbered(name: str, attempt: int) -> str:
    return f"{clean(name)} ×{attempt}" if attempt > 1 else clean(name)


def _home(place: Place, attempts: list[StepRecord], started: float, attempt: int = 0) -> Home:
    """Say which attempt at a step something belongs to: the one of its number, else the one of its time."""
    numbers = [step.attempt for step in attempts]
    if attempt in numbers:
        return (*place, attempt)
    before = [step.attempt for step in attempts if step.started <= started + 1e-6]
    return (*place, (before or numbers or [0])[-1])


def _chosen(steps: list[StepRecord]) -> set[int]:
    """Choose which steps of a large run are shown: of each node the first, the slowest, the failed."""
    by_node: dict[str, list[StepRecord]] = defaultdict(list)
    for step in steps:
        by_node[step.node].append(step)
    chosen: set[int] = set()
    for mine in by_node.values():
        slowest = sorted(mine, key=lambda step: -step.waits.seconds)[:SLOWEST_SHOWN]
        failed = [step for step in mine if step.outcome == "error"][:FAILED_SHOWN]
        chosen.update(map(id, (*mine[:FIRST_SHOWN], *slowest, *failed)))
    return chosen


def _stream_facts(stream: StreamRecord) -> Iterator[str]:
    if stream.first_chunk is not None:
        yield f"first chunk {seconds(stream.first_chunk)}"
    yield counted(stream.chunks, "chunk")
    if stream.bytes is not None:
        yield size(stream.bytes)
    if stream.gaps:
        yield counted(stream.gaps, "gap")
    if stream.drops:
        yield f"{number(stream.drops)} dropped"
    silence = longest_silence(stream.timeline)
    if silence is not None:
        yield f"longest silence {seconds(silence)}"
    if stream.terminal not in ("done", ""):
        yield stream.terminal
