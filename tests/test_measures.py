"""What is recorded can be read at any time, on any thread, and reading changes nothing."""

import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penguiflow.histogram import WINDOWS, Histogram, Windows
from penguiflow.measures import Averaged, EdgeMeasures, NodeMeasures, Recorded, Tally

SAMPLES = st.floats(0.0, 1e6)
PERCENTILES = (0.0, 1.0, 50.0, 95.0, 99.0, 99.9, 100.0)


class Clock:
    """A time that is set by hand."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def facts(histogram: Histogram) -> tuple[object, ...]:
    """All that is told of a histogram."""
    found = tuple(histogram.percentile(p) for p in PERCENTILES)
    sizes = (histogram.count, histogram.maximum, histogram.minimum)
    return (*sizes, pytest.approx(histogram.total), found, histogram.buckets())


@given(st.lists(SAMPLES, max_size=200))
def test_percentiles_at_once(samples: list[float]) -> None:
    """Several percentiles at once are those one by one."""
    tally = Tally()
    tally.record_all(samples)
    assert tally.percentiles(*PERCENTILES) == tuple(tally.percentile(p) for p in PERCENTILES)


@given(st.lists(st.tuples(st.floats(0.0, 400.0), st.lists(SAMPLES, max_size=5), st.booleans()), max_size=40))
def test_windows_are_those_of_the_histogram(steps: list[tuple[float, list[float], bool]]) -> None:
    """Sums of slots that are kept up to date are what adding them up each time would give."""
    clock = Clock()
    recorded, expected = Recorded(clock), Windows(clock)
    for seconds, samples, is_read in steps:
        clock.now += seconds
        for sample in samples:
            recorded.record(sample)
        expected.record_all(samples)
        for _, window in WINDOWS if is_read else ():
            assert facts(recorded.window(window)) == facts(expected.window(window))
    for _, window in WINDOWS:
        assert facts(recorded.window(window)) == facts(expected.window(window))
    assert (recorded.count, recorded.maximum) == (expected.count, expected.maximum)
    assert recorded.total == pytest.approx(expected.total)


def test_reading_does_not_turn() -> None:
    """What is read long after the last sample is empty; the next one is recorded as if nobody had read."""
    clock = Clock()
    recorded = Recorded(clock)
    recorded.record(1.0)
    for seconds, counts in ((0, [1, 1, 1]), (61, [0, 1, 1]), (240, [0, 0, 1]), (600, [0, 0, 0])):
        clock.now += seconds
        assert [recorded.window(window).count for _, window in WINDOWS] == counts
    recorded.record(2.0)
    assert [recorded.window(window).count for _, window in WINDOWS] == [1, 1, 1]
    assert (recorded.count, recorded.total, recorded.maximum) == (2, 3.0, 2.0)


def test_a_clock_that_tells_other_threads_nothing() -> None:
    """Trio's time is told on its own thread only; elsewhere it goes on from when it was last known."""
    clock = Clock()
    recorded = Recorded(clock)
    recorded.record(1.0)

    def silent() -> float:
        raise RuntimeError("must be called from async context")

    recorded._clock = silent
    assert [recorded.window(window).count for _, window in WINDOWS] == [1, 1, 1]


def test_a_thread_reads_what_another_records() -> None:
    """Whatever it meets halfway, it sees counts that only grow, and takes no sample away."""
    clock = Clock()
    recorded = Averaged(clock, 0.0)
    ended = threading.Event()
    seen: list[int] = []
    errors: list[BaseException] = []

    def read() -> None:
        try:
            while not ended.is_set():
                seen.append(recorded.count)
                for _, window in WINDOWS:
                    recorded.window(window).percentiles(50.0, 99.0)
        except BaseException as exc:
            errors.append(exc)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=read) for _ in range(2)]
    try:
        for thread in threads:
            thread.start()
        for number in range(20_000):
            clock.now += 0.9
            recorded.record(number % 977 + 0.5)
    finally:
        ended.set()
        sys.setswitchinterval(interval)
        for thread in threads:
            thread.join()
    assert errors == []
    assert recorded.count == 20_000
    assert recorded.total == pytest.approx(sum(number % 977 + 0.5 for number in range(20_000)))
    assert len(seen) > 10
    assert max(seen) <= 20_000


def test_moving_averages() -> None:
    """A tenth of the new, nine of the old; of many at once it is their mean."""
    measures = NodeMeasures("a", Clock())
    assert (measures.batch.average, measures.latency.average) == (1.0, 0.0)
    measures.took([1.0, 3.0], 5)
    assert (measures.batch.average, measures.latency.average) == (pytest.approx(1.4), pytest.approx(0.2))
    measures.took([], 3)
    assert (measures.batch.average, measures.latency.average) == (pytest.approx(1.56), pytest.approx(0.2))
    measures.latency.record(1.2)
    assert measures.latency.average == pytest.approx(0.3)


def test_how_long_the_oldest_waited() -> None:
    """In the order in which they came; what comes back begins to wait anew."""
    clock, inbox = Clock(), object()
    measures = EdgeMeasures("a", "b", clock)
    measures.came(inbox, 2)
    clock.now += 1.0
    measures.came(inbox, 1)
    measures.left(inbox, 1, 3)
    clock.now += 1.0
    measures.left(inbox, 2, 2)
    assert (measures.wait.count, measures.wait.total) == (2, pytest.approx(3.0))
    measures.left(inbox, 1, 0)
    assert measures.wait.count == 2
