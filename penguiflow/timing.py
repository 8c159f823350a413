"""Timing: where the time of a stream, or of a step, went.

Owns the three waits of rule 6.4: for the *source* (input that has not come), for the *node* (its own code,
and a place for it), for *credit* (the consumer: credit, or room behind the node). Invariant: at every moment
it is in exactly one of them, so the three add up to its duration. Knows no clock: whoever turns it says what
time it is.

A node that works chunk by chunk is handed no input while what feeds it waits for credit. What it is charged
then is credit, not source: the reader is slow, not the source. That is found out when the wait is over, by
asking what feeds it how much of the time it waited for credit itself.
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

    __slots__ = (
        "_asked_at",
        "_earlier",
        "_known",
        "_marks",
        "began",
        "feeders",
        "over",
        "since",
        "state",
        "timeline",
        "totals",
    )

    def __init__(
        self, now: float, state: int, feeders: tuple[Timing, ...] = (), timeline: Timeline | None = None
    ) -> None:
        self.began: float = now
        self.since: float = now
        self.state: int = state
        self.totals: list[float] = [0.0, 0.0, 0.0]
        self.feeders: tuple[Timing, ...] = feeders
        self.timeline: Timeline | None = timeline
        self.over: bool = False
        self._earlier: float = 0.0  # credit that earlier attempts have waited for
        self._asked_at: float | None = None
        self._known: float = 0.0
        self._marks: tuple[float, ...] = self._fed_late(now)

    def turn(self, state: int, now: float) -> None:
        """Wait for something else from now on."""
        before = self.state
        if state == before:
            return
        if before == SOURCE and self.feeders:
            self._charge_source(now)
        else:
            self.totals[before] += now - self.since
            if self.timeline is not None:
                self.timeline.spent(before, self.since, now)
        self.since = now
        self.state = state
        if state == SOURCE and self.feeders:
            self._marks = self._fed_late(now)

    def feed(self, feeder: Timing, now: float) -> None:
        """Be fed by one more."""
        if self.state == SOURCE:
            self._charge_source(now)
            self.since = now
        self.feeders = (*self.feeders, feeder)
        self._marks = self._fed_late(now)

    def waits(self, now: float) -> Waits:
        """Give the three waits up to now."""
        source, node, credit = self.totals
        pending = now - self.since
        if self.state == NODE:
            node += pending
        elif self.state == CREDIT:
            credit += pending
        else:
            late = self._late(now)
            credit += late
            source += pending - late
        return Waits(source, node, credit)

    def close(self, now: float) -> Waits:
        """End, and give the three waits."""
        waits = self.waits(now)
        if self.timeline is not None:
            late = waits.credit - self.totals[CREDIT] if self.state == SOURCE else 0.0
            self.timeline.spent(CREDIT, self.since, self.since + late)
            self.timeline.spent(self.state, self.since + late, now)
        self.totals = [waits.source, waits.node, waits.credit]
        self.since = now
        self.over = True
        self._marks = self._fed_late(now)
        return waits

    def begin_again(self, now: float) -> None:
        """Begin from nothing: another attempt."""
        self._earlier = self.credit_until(now)
        self.began = self.since = now
        self.totals = [0.0, 0.0, 0.0]
        self.over = False
        self._marks = self._fed_late(now)
        if self.timeline is not None:
            self.timeline = Timeline(now)

    def credit_until(self, now: float) -> float:
        """Say for how long credit was waited for up to now, in all attempts, also by what feeds this.

        What feeds what is looked at from the top, without recursion, and once: streams may pass hundreds of
        nodes, and part and meet again at each.
        """
        asked = [self]
        while asked:
            timing = asked[-1]
            if timing._asked_at != now:
                if timing.state == SOURCE:
                    unknown = [feeder for feeder in timing.feeders if feeder._asked_at != now]
                    if unknown:
                        asked += unknown
                        continue
                timing._known, timing._asked_at = timing._credit(now), now
            asked.pop()
        return self._known

    def _credit(self, now: float) -> float:
        credit = self._earlier + self.totals[CREDIT]
        if self.state == CREDIT:
            return credit + now - self.since
        return credit + self._late(now) if self.state == SOURCE else credit

    def _charge_source(self, now: float) -> None:
        late = self._late(now)
        self.totals[CREDIT] += late
        self.totals[SOURCE] += now - self.since - late
        if self.timeline is not None:
            self.timeline.spent(CREDIT, self.since, self.since + late)
            self.timeline.spent(SOURCE, self.since + late, now)

    def _late(self, now: float) -> float:
        """Say how much of the present wait for the source was in truth a wait for credit.

        That is so as long as all that feeds this waits for credit; who has ended has no say.
        """
        if not self.feeders:
            return 0.0
        fed = list(zip(self.feeders, self._marks, strict=True))
        live = [(feeder, mark) for feeder, mark in fed if not feeder.over] or fed
        late = min(feeder.credit_until(now) - mark for feeder, mark in live)
        return min(max(late, 0.0), now - self.since)

    def _fed_late(self, now: float) -> tuple[float, ...]:
        return tuple([feeder.credit_until(now) for feeder in self.feeders])


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
