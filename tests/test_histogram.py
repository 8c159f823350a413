"""Percentiles are those of a sorted list, within a hundredth; windows forget in time, and stay small."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penguiflow.histogram import LARGEST, WINDOWS, Histogram, Packed, Windows

SAMPLE = (
    st.floats(0.0, 1e9) | st.floats(1e-9, 1e-3) | st.integers(0, 100).map(float) | st.floats(0.0, LARGEST)
)
SAMPLES = st.lists(SAMPLE, max_size=60)
ANYTHING = st.lists(SAMPLE | st.floats(), max_size=40)
P = st.integers(0, 100).map(float) | st.floats(0.0, 100.0)


def of(values: Sequence[float]) -> Histogram:
    """Make a histogram, one sample after the other."""
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


def exact(values: Sequence[float], p: float) -> float:
    """Give the percentile by nearest rank from the samples themselves."""
    return sorted(values)[max(math.ceil(p * len(values) / 100), 1) - 1]


def seen(histogram: Histogram) -> tuple[object, ...]:
    """Give all that does not depend on the order of samples."""
    return histogram.buckets(), histogram.count, histogram.minimum, histogram.maximum


def agree(one: Histogram, other: Histogram) -> bool:
    """Say whether two are the same; sums may differ in their last digits, as the order does."""
    return seen(one) == seen(other) and math.isclose(one.total, other.total, rel_tol=1e-9)


@given(values=st.lists(SAMPLE, min_size=1, max_size=60), p=P)
def test_a_percentile_is_within_a_hundredth(values: list[float], p: float) -> None:
    """At any size, from nothing to a billion and beyond; the ends are exact."""
    histogram = of(values)
    assert histogram.percentile(p) == pytest.approx(exact(values, p), rel=0.0079, abs=0)
    assert histogram.percentile(0.0) == histogram.minimum == min(values)
    assert histogram.percentile(100.0) == histogram.maximum == max(values)
    assert min(values) <= histogram.percentile(p) <= max(values)


@given(values=SAMPLES, low=P, high=P)
def test_percentiles_ascend(values: list[float], low: float, high: float) -> None:
    """A higher percentile is never a smaller sample."""
    low, high = sorted((low, high))
    histogram = of(values)
    assert histogram.percentile(low) <= histogram.percentile(high)


@given(values=SAMPLES)
def test_what_is_exact(values: list[float]) -> None:
    """Count, sum, mean and both ends are those of the samples; of no samples, they are 0."""
    histogram = of(values)
    assert histogram.count == len(values)
    assert histogram.total == pytest.approx(sum(values))
    assert histogram.mean == pytest.approx(sum(values) / len(values) if values else 0.0)
    assert (histogram.minimum, histogram.maximum) == (min(values, default=0.0), max(values, default=0.0))


@given(values=ANYTHING)
@example(values=[math.nan, 1.0])
@example(values=[1.0, math.nan, -1.0, math.inf, -math.inf, 1e300])
def test_many_are_one_after_the_other(values: list[float]) -> None:
    """`record_all` is `record` for each, odd ones included: negative is 0, NaN and beyond count as none."""
    many = Histogram()
    many.record_all(values)
    plain = [max(value, 0.0) for value in values if value <= LARGEST]
    assert agree(many, of(values))
    assert agree(many, of(plain))


@given(parts=st.lists(SAMPLES, max_size=5))
def test_merging_is_recording_into_one(parts: list[list[float]]) -> None:
    """What was merged is as if it had been recorded here; the others stay as they are."""
    merged = Histogram()
    others = [of(values) for values in parts]
    for number, other in enumerate(others):
        merged.merge(Packed(other) if number % 2 else other)
    assert agree(merged, of([value for values in parts for value in values]))
    assert all(agree(other, of(values)) for other, values in zip(others, parts, strict=True))


@given(value=SAMPLE, count=st.integers(1, 1000))
def test_a_count_is_that_many_samples(value: float, count: int) -> None:
    counted = Histogram()
    counted.record(value, count)
    assert agree(counted, of([value] * count))


@given(values=SAMPLES)
def test_buckets_are_for_an_exposition(values: list[float]) -> None:
    """Bounds and counts ascend; at each bound, all samples up to there are counted, but for a tie."""
    buckets = of(values).buckets()
    bounds, counts = [bound for bound, _ in buckets], [count for _, count in buckets]
    assert bounds == sorted(set(bounds))
    assert counts == sorted(set(counts))
    assert counts[-1:] == ([len(values)] if values else [])
    for bound, count in buckets:
        below, upto = sum(value < bound for value in values), sum(value <= bound for value in values)
        assert below <= count <= upto


def test_one_to_a_hundred_milliseconds() -> None:
    """P50, P95 and P99 of a hundred latencies are 50, 95 and 99 ms."""
    histogram = of([number / 1000 for number in range(1, 101)])
    read = [histogram.percentile(p) for p in (50.0, 95.0, 99.0)]
    assert read == pytest.approx([0.050, 0.095, 0.099], rel=0.01)
    assert histogram.tail_ratio == pytest.approx(1.98, rel=0.02)
    assert repr(histogram) == "<histogram of 100: 0.001 to 0.1>"


def test_five_seconds_are_five_seconds() -> None:
    """No sample is cut to a range: alone it reads as itself, and among others it is the last."""
    for value in (5.0, 1e-9, 1e9, 0.0):
        assert [of([value]).percentile(p) for p in (0.0, 50.0, 99.0, 100.0)] == [value] * 4
    assert of([0.001] * 99 + [5.0]).percentile(99.5) == 5.0


def test_no_samples_and_only_zeros() -> None:
    """Nothing reads as 0, and the tail of nothing is as long as its middle."""
    for histogram in (Histogram(), of([0.0, 0.0])):
        assert (histogram.percentile(99.0), histogram.mean, histogram.tail_ratio) == (0.0, 0.0, 1.0)
    assert Histogram().buckets() == ()
    assert of([0.0, 0.0]).buckets() == ((0.0, 2),)


def test_memory_is_for_sizes_that_came_up() -> None:
    """A million latencies between 1 and 2 s are 65 buckets; an octave more is 64 more."""
    histogram = Histogram()
    histogram.record_all([1.0 + number / 100_000 for number in range(100_000)])
    assert len(histogram.buckets()) == 65
    histogram.record_all([2.0 + number / 50_000 for number in range(100_000)])
    assert len(histogram.buckets()) == 129


class Clock:
    """A clock that is set by hand."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


def counts(windows: Windows) -> list[int]:
    """Give how many samples there are in each of the reported windows."""
    return [windows.window(seconds).count for _, seconds in WINDOWS]


@given(start=st.floats(0.0, 1e6))
@example(start=0.0)
@example(start=4.999)
@example(start=29.999)
def test_a_sample_leaves_one_window_after_the_other(start: float) -> None:
    """It is in a window until a slot before its end at least, and gone a second after it at most."""
    clock = Clock(start)
    windows = Windows(clock)
    windows.record(0.2, 3)
    expected = {0: [3, 3, 3], 54: [3, 3, 3], 61: [0, 3, 3], 269: [0, 3, 3], 301: [0, 0, 3], 869: [0, 0, 3]}
    for age, present in expected.items():
        clock.now = start + age
        assert counts(windows) == present, age
    clock.now = start + 901
    assert counts(windows) == [0, 0, 0]
    assert (windows.count, windows.maximum) == (3, 0.2)
    assert windows.total == pytest.approx(0.6)


STEP = st.tuples(st.floats(0.0, 40.0) | st.floats(0.0, 2000.0), st.lists(st.floats(0.0, 10.0), max_size=4))


@given(steps=st.lists(STEP, max_size=40), start=st.floats(0.0, 1000.0))
def test_windows_are_those_of_a_list(steps: list[tuple[float, list[float]]], start: float) -> None:
    """A window holds the samples of the slots that lie in it whole, and no others; the counters hold all."""
    clock = Clock(start)
    windows = Windows(clock)
    samples: list[tuple[float, float]] = []
    for wait, values in steps:
        clock.now += wait
        if len(values) > 2:
            windows.record_all(values)
        else:
            for value in values:
                windows.record(value)
        samples += [(clock.now, value) for value in values]
    for _, seconds in WINDOWS:
        width = 5.0 if seconds == 60.0 else 30.0
        oldest = clock.now // width - seconds / width
        inside = [value for when, value in samples if when // width > oldest]
        assert agree(windows.window(seconds), of(inside))
    everything = [value for _, value in samples]
    assert (windows.count, windows.maximum) == (len(everything), max(everything, default=0.0))
    assert windows.total == pytest.approx(sum(everything))


def slots(windows: Windows) -> int:
    """Count the closed slots that are kept."""
    return len(windows._fine._closed) + len(windows._coarse._closed)


def test_memory_is_bounded() -> None:
    """After hours there are as many slots as after a quarter of one; after a long rest, there are none."""
    clock = Clock(0.0)
    windows = Windows(clock)
    kept = set()
    for second in range(4 * 3600):
        clock.now = float(second)
        windows.record(0.001 * (second % 7))
        if second > 900:
            kept.add(slots(windows))
    assert max(kept) == 11 + 29
    assert windows.window(900.0).count == 900
    clock.now += 3600.0
    windows.record(1.0)
    assert slots(windows) == 0
    assert (windows.window(900.0).count, windows.count) == (1, 4 * 3600 + 1)
    clock.now += 3600.0
    assert (windows.window(60.0).count, slots(windows), windows.count) == (0, 0, 4 * 3600 + 1)


def test_a_closed_slot_is_packed() -> None:
    """What is only read any more takes a third of what it took, or less."""
    histogram = of([1.0 + number / 400 for number in range(2000)])
    packed = Packed(histogram)
    size = sys.getsizeof(packed._buckets) + sys.getsizeof(packed._counts)
    loose = sys.getsizeof(histogram._counts) + sum(sys.getsizeof(bucket) for bucket in histogram._counts)
    assert size < loose / 2.5


def test_a_clock_that_goes_back_loses_nothing() -> None:
    """Its samples count in the slot that is open."""
    clock = Clock(100.0)
    windows = Windows(clock)
    windows.record(1.0)
    clock.now = 50.0
    windows.record(2.0)
    assert counts(windows) == [2, 2, 2]
    clock.now = 161.0
    assert counts(windows) == [0, 2, 2]


def test_a_window_is_a_histogram_of_its_own() -> None:
    """What is read does not change any more when something is recorded, nor the other way round."""
    windows = Windows(Clock(0.0))
    windows.record(1.0)
    read = [windows.window(seconds) for _, seconds in WINDOWS]
    windows.record(2.0)
    assert [(window.count, window.maximum) for window in read] == [(1, 1.0)] * 3
    for window in read:
        window.record(9.0)
    assert (counts(windows), windows.count, windows.maximum) == ([2, 2, 2], 2, 2.0)
