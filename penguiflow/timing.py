"""Timing: where the time of a stream, or of a step, went.

Owns the three waits of rule 6.4: for the *source* (input that has not come), for the *node* (its own code,
and a place for it), for *credit* (the consumer: credit, or room behind the node). Invariant: at every moment
it is in exactly one of them, so the three add up to its duration. Knows no clock: whoever turns it says what
time it is.

A node that works chunk by chunk is handed no input while what feeds it waits for credit. What it is charged
then is credit, not source: the reader is slow, not the source. So whoever begins to wait for credit, or has
got it, tells those that it feeds; a wait for credit is rare, it comes once in half a window.
"""

from __future__ import annotations

from .durations import Waits

SOURCE, NODE, CREDIT = 0, 1, 2
"""What is waited for."""

BUCKETS = 64
"""So many equal parts a timeline has at most."""

FINEST_SECONDS = 0.001
"""How long a part of a timeline is at least."""


class Timing:
    """The three waits of one stream or step, while it lasts.

    Args:
        now: when it begins, in seconds.
        state: what it waits for at first.
        feeders: what feeds it on credit that is handed on; see above.
        timeline: keeps when what was waited for, if anybody wants to know.
    """

    __slots__ = ("_fed", "_feeders", "_resting", "began", "over", "since", "state", "timeline", "totals")

    def __init__(
        self, now: float, state: int, feeders: tuple[Timing, ...] = (), timeline: Timeline | None = None
    ) -> None:
        self.began: float = now
        self.since: float = now
        self.totals: list[float] = [0.0, 0.0, 0.0]
        self.timeline: Timeline | None = timeline
        self.over: bool = False
        self._resting: bool = state == SOURCE
        self._feeders: tuple[Timing, ...] = feeders
        self._fed: tuple[Timing, ...] = ()
        for feeder in feeders:
            feeder._fed = (*feeder._fed, self)
        self.state: int = self._rest() if self._resting else state

    def turn(self, state: int, now: float) -> None:
        """Wait for something else from now on."""
        self._resting = state == SOURCE
        if self._resting and self._feeders:
            state = self._rest()
        before = self.state
        if state != before:
            self._charge(now)
            self.state = state
            if self._fed and CREDIT in (before, state):
                self._tell(now)

    def feed(self, feeder: Timing, now: float) -> None:
        """Be fed by one more."""
        self._feeders = (*self._feeders, feeder)
        feeder._fed = (*feeder._fed, self)
        if self._resting:
            self.turn(SOURCE, now)

    def waits(self, now: float) -> Waits:
        """Give the three waits up to now, or to the end."""
        totals = list(self.totals)
        if not self.over:
            totals[self.state] += now - self.since
        return Waits(*totals)

    def close(self, now: float) -> Waits:
        """End, and give the three waits; whoever is fed by others too is not kept waiting by this one."""
        if not self.over:
            self._charge(now)
            self.over = True
            self._tell(now)
        return Waits(*self.totals)

    def begin_again(self, now: float) -> None:
        """Begin from nothing: another attempt."""
        self.began = self.since = now
        self.totals = [0.0, 0.0, 0.0]
        self.over = False
        if self.timeline is not None:
            self.timeline = Timeline(now)
        self._tell(now)

    def _rest(self) -> int:
        """Say what a wait for the source is: for credit, while all that feeds this waits for credit."""
        state = SOURCE
        for feeder in self._feeders:
            if not feeder.over:
                if feeder.state != CREDIT:
                    return SOURCE
                state = CREDIT
        return state

    def _charge(self, now: float) -> None:
        self.totals[self.state] += now - self.since
        if self.timeline is not None:
            self.timeline.spent(self.state, self.since, now)
        self.since = now

    def _tell(self, now: float) -> None:
        """Let those that are fed find out what they wait for; there may be hundreds, one behind the other."""
        asked = list(self._fed)
        while asked:
            timing = asked.pop()
            if timing._resting and not timing.over:
                state = timing._rest()
                if state != timing.state:
                    timing._charge(now)
                    timing.state = state
                    asked += timing._fed


class Timeline:
    """When what was waited for, in equal parts; the longer it gets, the longer are the parts.

    Args:
        now: when it begins, in seconds.

    Each part is a list of four: seconds of source, node and credit, and how many chunks went out.
    """

    __slots__ = ("began", "parts", "width")

    def __init__(self, now: float) -> None:
        self.began: float = now
        self.width: float = FINEST_SECONDS
        self.parts: list[list[float]] = []

    def spent(self, state: int, start: float, end: float) -> None:
        """Take note of a wait."""
        if end <= start:
            return
        start, end = max(start - self.began, 0.0), end - self.began
        last = self._part(end)
        first = min(int(start / self.width), last)
        for index in range(first, last + 1):
            left = max(start, index * self.width)
            right = end if index == last else (index + 1) * self.width
            self.parts[index][state] += right - left

    def sent(self, count: int, now: float) -> None:
        """Take note of chunks that went out."""
        index = self._part(now - self.began)  # first: it may make other parts
        self.parts[index][3] += count

    def _part(self, at: float) -> int:
        """Give the index of the part of a moment, made if need be."""
        while at >= self.width * BUCKETS:
            self._fold()
        index = max(0, int(at / self.width))
        while len(self.parts) <= index:
            self.parts.append([0.0, 0.0, 0.0, 0])
        return index

    def _fold(self) -> None:
        """Make one part of two each."""
        pairs = zip(self.parts[::2], [*self.parts[1::2], [0.0, 0.0, 0.0, 0]], strict=False)
        self.parts = [[a + b for a, b in zip(one, two, strict=True)] for one, two in pairs]
        self.width *= 2
