"""Watches: what is kept of a run and of its streams because somebody observes them.

Owns numbers of steps, and the times and sizes of streams. Invariant (rule 6.2): without an observer, or for a
run that no observer follows, none of this exists. Knows not who observes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from contextvars import Context as Variables
from typing import TYPE_CHECKING, Any

from .durations import StreamTiming, Waits
from .observe import (
    SPAN,
    Observer,
    Observers,
    Outcome,
    RunStarted,
    Span,
    StepEnded,
    StepLinked,
    StepStarted,
)
from .timing import CREDIT, NODE, SOURCE, Timeline, Timing

if TYPE_CHECKING:
    from .core import RunCore
    from .items import Chunk, Item
    from .lane import PassingLane
    from .leg import Leg
    from .lifetime import Lifetime
    from .pool import Job
    from .station import Station
    from .waiting import Waiting

MOST_ORIGINS = 32
"""So many spans a step is linked to at most."""


class Watch:
    """Who follows a run, and how its steps are numbered.

    Args:
        observers: all watchers of the runtime.
        followers: those who follow the run.
        part: which part of the run it is.
        parts: numbers the parts of the run.
    """

    __slots__ = ("_observers", "_origins", "_steps", "followers", "part", "parts", "was_read")

    def __init__(
        self, observers: Observers, followers: tuple[Observer, ...], part: int, parts: itertools.count[int]
    ) -> None:
        self._observers = observers
        self.followers: tuple[Observer, ...] = followers
        self._steps = itertools.count(1)
        self._origins: dict[int, Span | None] = {}  # of chunks that wait in a slot of a join
        self.part: int = part
        self.parts: itertools.count[int] = parts
        self.was_read: bool = False

    def next_step(self) -> int:
        """Give the number of one more step."""
        return next(self._steps)

    def tell(self, event: object) -> None:
        """Tell those who follow."""
        self._observers.tell(event, self.followers)

    def tell_within(self, variables: Variables, event: object) -> Span | None:
        """Tell under context variables that nobody is under now; gives the span that a tracer sets there."""
        try:
            variables.run(self.tell, event)
        except RuntimeError:  # we are under them: the code that runs now has brought this about
            self.tell(event)
        return variables.get(SPAN)

    def keep_origin(self, chunk: Chunk[Any], span: Span | None) -> None:
        """Keep whose a chunk is that goes into a slot, until it is asked for; a message knows it itself."""
        self._origins[id(chunk)] = span

    def origin_of(self, item: Item[Any]) -> Span | None:
        """Give the span of the step that has given an item; of a chunk, once."""
        span: Span | None = getattr(item, "_origin", None)
        return span if span is not None else self._origins.pop(id(item), None)

    def timeline(self, now: float) -> Timeline | None:
        """Make a timeline, if one is wanted."""
        return Timeline(now) if self._observers.timelines else None


def begin_watch(
    run: Lifetime, caller: tuple[Lifetime, int] | None, parent: str, waited: float = 0.0
) -> Watch | None:
    """Ask who follows a run, and tell them that it begins; ``None`` where nobody does."""
    observers = run.engine.observers
    above = caller[0].watch if caller is not None else None
    if caller is not None and above is None:
        return None
    parts = above.parts if above is not None else itertools.count(1)
    part = next(parts) if above is not None else 0
    started = RunStarted(run.id, run.engine.flow.name, run.trace_id, part)
    started.headers, started.parent, started.at = run.headers, parent, run.pool.parking.now()
    started.waited = waited
    if above is not None and caller is not None:
        started.caller = (above.part, caller[1])
    among = above.followers if above is not None else None
    followers = run.variables.run(observers.followers, started, among)
    if not followers:
        run.trace_id = started.trace_id  # who asks to be left alone may have set it
        return None
    watch = Watch(observers, followers, part, parts)
    watch.tell_within(run.variables, started)
    run.trace_id = started.trace_id
    return watch


class StreamWatch:
    """What is kept of one stream.

    Args:
        timing: its waits.
        step: the number of the step that gives it; 0 for a run's input.
        span: the span of that step.
        sizeable: whether its payloads may be text or bytes.

    ``lost`` and ``used`` are the seconds of the node's tries at chunks: of those that were made again, with
    the waits after them, and of the others.
    """

    __slots__ = (
        "bytes",
        "drops",
        "ending",
        "first_at",
        "lost",
        "sizeable",
        "span",
        "step",
        "timing",
        "used",
    )

    def __init__(self, timing: Timing, step: int, span: Span | None, *, sizeable: bool) -> None:
        self.timing: Timing = timing
        self.step: int = step
        self.span: Span | None = span
        self.first_at: float | None = None
        self.sizeable: bool = sizeable
        self.bytes: int | None = None
        self.drops: int = 0
        self.ending: tuple[Outcome, BaseException | None] | None = None  # of the node's work, to be told
        self.lost: float = 0.0
        self.used: float = 0.0

    def sent(self, batch: list[Chunk[Any]], now: float) -> None:
        """Take note of what goes out. Sizes are those of text and bytes; what else has none that is cheap."""
        if self.first_at is None:
            self.first_at = now
        if self.timing.timeline is not None:
            self.timing.timeline.sent(len(batch), now)
        if self.sizeable:
            size = size_bytes([chunk.payload for chunk in batch])
            if size is not None:
                self.bytes = (self.bytes or 0) + size

    def restart(self, now: float) -> None:
        """Begin another attempt."""
        self.timing.begin_again(now)
        self.first_at = None
        self.bytes, self.drops = None, 0
        self.lost = self.used = 0.0

    def waits(self, now: float) -> Waits:
        """Say where its time went, up to now or to its end; what went into failed tries is told as well.

        With ``ordered=False``, tries go on side by side: then it is their share of the node's time.
        """
        waits = self.timing.waits(now)
        if not self.lost:
            return waits
        again = waits.node * self.lost / max(waits.node, self.lost + self.used)
        return Waits(waits.source, waits.node, waits.credit, again)

    def measured(self, now: float) -> StreamTiming:
        """Say what came of it."""
        timing = self.timing
        timing.close(now)
        waits = self.waits(now)
        first = self.first_at - timing.began if self.first_at is not None else None
        parts = timing.timeline
        timeline = (parts.width, tuple(tuple(part) for part in parts.parts)) if parts is not None else None
        return StreamTiming(now, waits, first, self.bytes, self.drops, timeline)


def size_bytes(payloads: list[Any]) -> int | None:
    """Give the size of what is bytes or text (in UTF-8) among some payloads; ``None`` where nothing is.

    All as one text is the cheapest way to measure tokens: a call for each of them costs five times as much.
    """
    if type(payloads[0]) is str:
        try:
            return utf8_bytes("".join(payloads))
        except TypeError:
            pass
    sizes = [
        len(payload) if isinstance(payload, bytes) else utf8_bytes(payload)
        for payload in payloads
        if isinstance(payload, str | bytes)
    ]
    return sum(sizes) if sizes else None


def utf8_bytes(text: str) -> int:
    """Give the size of a text in UTF-8, as far as it can be written in it."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def is_sizeable(station: Station) -> bool:
    """Say whether what a node gives may be text or bytes, as far as its annotation tells."""
    promised = station.promise.expected
    if promised is None or station.signature.context is not None:
        return True  # what is emitted by hand is not in the annotation
    if type(promised) is not type or promised is object:
        return True  # `Any`, a protocol, an abstract class: it may be told of anything that it is one
    return issubclass(promised, str | bytes)


def at_work(step: Waiting) -> int:
    """Say what a stream of a step waits for while its code runs: what comes from outside, for its source."""
    site = step.station.site
    return SOURCE if step.lane is None and (site.node is None or site.is_source) else NODE


def held_back(job: Job, now: float) -> None:
    """Take note that the run is paused where a stream has work: it waits for others, its node is not slow."""
    leg = getattr(job, "out", None)
    if leg is not None and leg.watch is not None:
        leg.watch.timing.turn(CREDIT, now)


def let_on(job: Any, now: float) -> None:
    """Take note that the work on a stream goes on, which was held back: a lane's, or that of a step."""
    leg = getattr(job, "out", None)
    if leg is not None and leg.watch is not None:
        leg.watch.timing.turn(at_work(job) if hasattr(job, "item") else NODE, now)


def watch_stream_of(run: RunCore, step: Waiting) -> StreamWatch:
    """Begin to watch a stream that a step gives."""
    assert run.watch is not None
    now = run.pool.parking.now()
    number, span = (step.watch.number, step.watch.span) if step.watch is not None else (0, None)
    timing = Timing(now, at_work(step), (), run.watch.timeline(now))
    return StreamWatch(timing, number, span, sizeable=is_sizeable(step.station))


def watch_lane(run: RunCore, lane: PassingLane, upstream: Leg) -> StreamWatch:
    """Begin to watch the work of a node on a stream, chunk by chunk, and the stream that it gives."""
    assert run.watch is not None
    now, number, key = run.pool.parking.now(), run.watch.next_step(), lane.station.site.key
    above = upstream.watch
    origins = origins_of([above.span]) if above is not None and lane.station.site.join is not None else ()
    started = StepStarted(
        run.id, key, lane.stream_id, run.watch.part, number, upstream.heading.attempt, 0.0, origins, now
    )
    span = run.watch.tell_within(lane.context(), started)
    fed = (above.timing,) if above is not None else ()
    timing = Timing(now, SOURCE, fed, run.watch.timeline(now))
    return StreamWatch(timing, number, span, sizeable=is_sizeable(lane.station))


def keep_origin(run: RunCore, chunk: Chunk[Any], writer: Leg) -> None:
    """Keep whose a chunk is that goes into a slot, if anybody observes."""
    if run.watch is not None and writer.watch is not None:
        run.watch.keep_origin(chunk, writer.watch.span)


def feed_lane(run: RunCore, lane: PassingLane, upstream: Leg) -> None:
    """Take note that one more stream comes to a node that works chunk by chunk."""
    above, watch, of_run = upstream.watch, lane.out.watch, run.watch
    if above is None or watch is None or of_run is None:
        return
    watch.timing.feed(above.timing, run.pool.parking.now())
    if above.span is not None and lane.station.site.join is not None:
        run.notify(StepLinked(run.id, lane.station.site.key, of_run.part, watch.step, above.span))


def end_lane(lane: PassingLane, outcome: Outcome, error: BaseException | None) -> None:
    """Tell that the work of a node on a stream is over."""
    run, watch, of_run = lane.run, lane.out.watch, lane.run.watch
    if watch is None or of_run is None:
        return
    now, site, attempt = run.pool.parking.now(), lane.station.site, lane.out.heading.attempt
    waits = watch.waits(now)
    of_run.tell(
        StepEnded(
            run.id, site.key, lane.stream_id, attempt, of_run.part, watch.step, outcome, error, waits, now
        )
    )


def origins_of(spans: Iterable[Span | None]) -> tuple[Span, ...]:
    """Give the different spans among some, in order, so many as are linked at most."""
    found: dict[str, Span] = {}
    for span in spans:
        if span is not None and len(found) < MOST_ORIGINS:
            found.setdefault(span.span_id, span)
    return tuple(found.values())
