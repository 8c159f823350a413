"""Histogram: how large the samples of a stream were, exact enough for percentiles and small enough to keep.

Owns buckets and windows. Invariant: a sample lands in the bucket of its first seven binary digits, so there
are 64 buckets an octave; what is read from a bucket is at most 0.79 % off, at any size. Knows neither which
clock runs nor what is measured.

Samples are floats ``>= 0``: seconds, or counts. What should never come is no error, since this is a hot path:
a negative sample counts as 0; NaN, and what is larger than `LARGEST`, do not count at all.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Sequence
from math import ceil, frexp, inf, ldexp

WINDOWS: tuple[tuple[str, float], ...] = (("1min", 60.0), ("5min", 300.0), ("15min", 900.0))
"""The windows that are reported: name and length in seconds."""

SPLIT = float(2**46 + 1)
"""Dekker's factor: ``x * SPLIT - (x * SPLIT - x)`` is ``x`` rounded to 53 - 46 = 7 binary digits."""

LARGEST = 1e290
"""The largest sample: from about 1e294 on, the rounding would overflow."""


class Histogram:
    """Counts of samples by size, log-linear and sparse: only sizes that came up take memory.

    `count`, `total`, `maximum` and `lowest` (infinite where there is no sample) are exact, to be read.
    """

    __slots__ = ("_counts", "count", "lowest", "maximum", "total")

    def __init__(self) -> None:
        self._counts: dict[float, int] = {}
        self.lowest: float = inf
        self.count: int = 0
        self.total: float = 0.0
        self.maximum: float = 0.0

    def record(self, value: float, count: int = 1) -> None:
        """Take one sample, or ``count`` (at least 1) of the same size."""
        if not 0.0 <= value <= LARGEST:
            if not value < 0.0:
                return
            value = 0.0
        high = value * SPLIT
        bucket = high - (high - value)  # with frexp and int, `record` takes a quarter longer
        try:
            self._counts[bucket] += count
        except KeyError:
            self._counts[bucket] = count
        self.count += count
        self.total += value * count
        if value > self.maximum:
            self.maximum = value
        if value < self.lowest:
            self.lowest = value

    def record_all(self, values: Sequence[float]) -> None:
        """Take many samples, each for half of what it costs alone."""
        if not values:
            return
        total, lowest, highest = sum(values), min(values), max(values)
        if not (lowest >= 0.0 and highest <= LARGEST and total == total):  # NaN shows in the sum
            for value in values:
                self.record(value)
            return
        counts = self._counts
        seen = counts.get
        for value in values:
            high = value * SPLIT
            bucket = high - (high - value)
            counts[bucket] = seen(bucket, 0) + 1
        self.count += len(values)
        self.total += total
        self.maximum = max(self.maximum, highest)
        self.lowest = min(self.lowest, lowest)

    def merge(self, other: Histogram | Packed) -> None:
        """Take over all samples of another one, which stays as it is."""
        counts = self._counts
        seen = counts.get
        for bucket, count in other.items():
            counts[bucket] = seen(bucket, 0) + count
        self.count += other.count
        self.total += other.total
        self.maximum = max(self.maximum, other.maximum)
        self.lowest = min(self.lowest, other.lowest)

    def items(self) -> list[tuple[float, int]]:
        """Give the buckets in no order: the size that each stands for, and its count."""
        return list(self._counts.items())

    @property
    def minimum(self) -> float:
        """The smallest sample; 0 where there is none."""
        return self.lowest if self.count else 0.0

    @property
    def mean(self) -> float:
        """The mean of the samples; 0 where there is none."""
        return self.total / self.count if self.count else 0.0

    @property
    def tail_ratio(self) -> float:
        """How many times P50 is P99; 1 where there are no samples, or P50 is 0."""
        median = self.percentile(50.0)
        return self.percentile(99.0) / median if median else 1.0

    def percentile(self, p: float) -> float:
        """Give the sample at percentile ``p`` (0 to 100) by nearest rank; 0 where there is none."""
        rank = ceil(p * self.count / 100)
        if rank <= 1:
            return self.minimum
        if rank >= self.count:
            return self.maximum
        seen = 0
        for bucket, count in sorted(self._counts.items()):
            seen += count
            if seen >= rank:
                return min(max(bucket, self.lowest), self.maximum)
        return self.maximum

    def buckets(self) -> tuple[tuple[float, int], ...]:
        """Give the upper bound of each bucket, ascending, with the count of all samples up to there.

        A sample that is exactly a bound may count below or above it.
        """
        found, seen = [], 0
        for bucket, count in sorted(self._counts.items()):
            seen += count
            found.append((bucket + ldexp(1.0, frexp(bucket)[1] - 8) if bucket else 0.0, seen))
        return tuple(found)

    def __repr__(self) -> str:
        return f"<histogram of {self.count}: {self.minimum:.3g} to {self.maximum:.3g}>"


class Packed:
    """A histogram that is only read any more: 16 bytes a bucket, where a dict takes some 70."""

    __slots__ = ("_buckets", "_counts", "count", "lowest", "maximum", "total")

    def __init__(self, histogram: Histogram) -> None:
        items = histogram.items()
        self._buckets = array("d", [bucket for bucket, _ in items])
        self._counts = array("Q", [count for _, count in items])
        self.count: int = histogram.count
        self.total: float = histogram.total
        self.maximum: float = histogram.maximum
        self.lowest: float = histogram.lowest

    def items(self) -> zip[tuple[float, int]]:
        """Give the buckets in no order: the size that each stands for, and its count."""
        return zip(self._buckets, self._counts, strict=True)


class Ring:
    """The latest slots of one width; the newest one is open.

    Args:
        width: seconds of one slot.
        slots: how many are kept, the open one among them.
        now: the time.
    """

    __slots__ = ("_closed", "_number", "_slots", "open", "width")

    def __init__(self, width: float, slots: int, now: float) -> None:
        self.width: float = width
        self.open: Histogram = Histogram()
        self._slots: int = slots
        self._number: int = int(now // width)
        self._closed: deque[tuple[int, Packed]] = deque()

    @property
    def starts(self) -> float:
        """When the open slot began."""
        return self._number * self.width

    @property
    def ends(self) -> float:
        """When the open slot is over."""
        return (self._number + 1) * self.width

    def turn(self, now: float) -> None:
        """Close the open slot if it is over, and drop those that are too old."""
        number = int(now // self.width)
        if number <= self._number:
            return
        if self.open.count:
            self._closed.append((self._number, Packed(self.open)))
            self.open = Histogram()
        self._number = number
        while self._closed and self._closed[0][0] <= number - self._slots:
            self._closed.popleft()

    def latest(self, seconds: float) -> Histogram:
        """Merge the slots that lie within the last ``seconds``, the open one included."""
        oldest = self._number - ceil(seconds / self.width)
        merged = Histogram()
        for number, slot in self._closed:
            if number > oldest:
                merged.merge(slot)
        merged.merge(self.open)
        return merged


class Windows:
    """Histograms over the last 60, 300 and 900 seconds of one stream of samples.

    A sample touches one slot of 5 seconds. Twelve of these are kept, and what is over goes into thirty slots
    of 30 seconds. So a window is never longer than it says, and up to one slot shorter: 55 to 60, 270 to 300
    and 870 to 900 seconds.

    Args:
        clock: gives the time in seconds; it should not go back.
    """

    __slots__ = ("_clock", "_coarse", "_count", "_ends", "_fine", "_maximum", "_open", "_total")

    def __init__(self, clock: Callable[[], float]) -> None:
        now = clock()
        self._clock = clock
        self._fine = Ring(5.0, 12, now)
        self._coarse = Ring(30.0, 30, now)
        self._open: Histogram = self._fine.open
        self._ends: float = self._fine.ends
        self._count: int = 0
        self._total: float = 0.0
        self._maximum: float = 0.0

    def record(self, value: float, count: int = 1) -> None:
        """Take one sample, or ``count`` of the same size, as of now."""
        now = self._clock()
        if now >= self._ends:
            self._turn(now)
        self._open.record(value, count)

    def record_all(self, values: Sequence[float]) -> None:
        """Take many samples, as of now."""
        now = self._clock()
        if now >= self._ends:
            self._turn(now)
        self._open.record_all(values)

    def _turn(self, now: float) -> None:
        over = self._open
        self._count += over.count
        self._total += over.total
        self._maximum = max(self._maximum, over.maximum)
        self._coarse.turn(self._fine.starts)
        self._coarse.open.merge(over)
        self._coarse.turn(now)
        self._fine.turn(now)
        self._open, self._ends = self._fine.open, self._fine.ends

    def window(self, seconds: float) -> Histogram:
        """Give what was recorded in the last ``seconds``, at most 900, as a histogram of its own."""
        now = self._clock()
        if now >= self._ends:
            self._turn(now)
        if seconds <= 60.0:
            return self._fine.latest(seconds)
        merged = self._coarse.latest(seconds)
        merged.merge(self._open)
        return merged

    @property
    def count(self) -> int:
        """How many samples there ever were; it only grows."""
        return self._count + self._open.count

    @property
    def total(self) -> float:
        """The sum of all samples there ever were; it only grows."""
        return self._total + self._open.total

    @property
    def maximum(self) -> float:
        """The largest sample there ever was."""
        return max(self._maximum, self._open.maximum)
