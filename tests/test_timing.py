"""The three waits add up, whatever happens when; what a slow reader costs is charged as credit (rule 6.4)."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from penguiflow.timing import BUCKETS, CREDIT, NODE, SOURCE, Timeline, Timing

STATES = st.sampled_from([SOURCE, NODE, CREDIT])
SECONDS = st.sampled_from([0.0, 0.0, 0.0003, 0.004, 0.05, 1.0, 7.5, 400.0])


def near(one: float, two: float) -> bool:
    return math.isclose(one, two, rel_tol=1e-9, abs_tol=1e-6)


def three(timing: Timing, now: float) -> tuple[float, float, float]:
    waits = timing.waits(now)
    return waits.source, waits.node, waits.credit


class Streams(RuleBasedStateMachine):
    """Streams that feed each other, turned at random, on a clock that only goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 10.0
        self.timings: list[Timing] = []
        self.closed: set[int] = set()

    @initialize(state=STATES)
    def begin(self, state: int) -> None:
        self.timings.append(Timing(self.now, state, (), Timeline(self.now)))

    @rule(seconds=SECONDS)
    def passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: len(self.timings) < 8)
    @rule(state=STATES, data=st.data())
    def open(self, state: int, data: Any) -> None:
        fed = data.draw(st.lists(st.sampled_from(self.timings), max_size=3, unique_by=id))
        timeline = Timeline(self.now) if data.draw(st.booleans()) else None
        self.timings.append(Timing(self.now, state, tuple(fed), timeline))

    @rule(data=st.data(), state=STATES)
    def turn(self, data: Any, state: int) -> None:
        self.live(data).turn(state, self.now)

    @rule(data=st.data())
    def feed(self, data: Any) -> None:
        index = data.draw(st.integers(0, len(self.timings) - 1))
        feeder = data.draw(st.integers(0, len(self.timings) - 1))
        if feeder < index and index not in self.closed:  # nothing feeds itself
            self.timings[index].feed(self.timings[feeder], self.now)

    @rule(data=st.data())
    def begin_again(self, data: Any) -> None:
        self.live(data).begin_again(self.now)

    @rule(data=st.data())
    def close(self, data: Any) -> None:
        index = data.draw(st.integers(0, len(self.timings) - 1))
        timing = self.timings[index]
        before = three(timing, self.now)
        waits = timing.close(self.now)
        if index not in self.closed:
            assert before == pytest.approx((waits.source, waits.node, waits.credit), abs=1e-6)
            self.check_line(timing)
        self.closed.add(index)

    def live(self, data: Any) -> Timing:
        left = [timing for index, timing in enumerate(self.timings) if index not in self.closed]
        return data.draw(st.sampled_from(left)) if left else self.make()

    def make(self) -> Timing:
        self.timings.append(Timing(self.now, NODE))
        return self.timings[-1]

    def check_line(self, timing: Timing) -> None:
        line = timing.timeline
        if line is not None:
            assert len(line.parts) <= BUCKETS
            for state in (SOURCE, NODE, CREDIT):
                assert near(math.fsum(part[state] for part in line.parts), timing.totals[state])

    @invariant()
    def waits_add_up(self) -> None:
        for index, timing in enumerate(self.timings):
            waits = timing.waits(self.now)
            assert min(waits.source, waits.node, waits.credit) >= -1e-9
            if index not in self.closed:
                assert near(waits.seconds, self.now - timing.began)

    @invariant()
    def asking_changes_nothing(self) -> None:
        for timing in self.timings:
            assert three(timing, self.now) == three(timing, self.now)


TestStreams = Streams.TestCase
TestStreams.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.lists(st.tuples(SECONDS, STATES, st.booleans()), max_size=40))
@settings(deadline=None)
def test_what_a_stream_in_a_chain_is_charged(steps: list[tuple[float, int, bool]]) -> None:
    """While it waits for its source, a moment is credit if its feeder waits for credit, else source.

    The reference looks at each moment by itself, and so it can't count any twice.
    """
    now = 0.0
    feeder = Timing(now, NODE)
    timing = Timing(now, SOURCE, (feeder,))
    expected, own, above = [0.0, 0.0, 0.0], SOURCE, NODE
    for seconds, state, is_feeder in steps:
        expected[CREDIT if own == SOURCE and above == CREDIT else own] += seconds
        now += seconds
        (feeder if is_feeder else timing).turn(state, now)
        own, above = (own, state) if is_feeder else (state, above)
        assert three(timing, now) == pytest.approx(tuple(expected), abs=1e-6)


def test_the_credit_of_all_that_feeds_is_what_counts() -> None:
    """A merge waits for credit only while all its writers do; earlier waits are nothing to it."""
    early, late = Timing(0.0, CREDIT), Timing(0.0, NODE)
    early.turn(NODE, 10.0)
    merge = Timing(10.0, SOURCE, (early, late))
    late.turn(CREDIT, 10.0)
    assert three(merge, 15.0) == (5.0, 0.0, 0.0)  # the early one could give something
    early.turn(CREDIT, 15.0)
    merge.turn(NODE, 15.0)
    merge.turn(SOURCE, 15.0)
    assert three(merge, 18.0) == (5.0, 0.0, 3.0)


def test_a_writer_that_has_ended_has_no_say() -> None:
    """When one of several writers is through, the credit that the others wait for is all that counts."""
    first, second = Timing(0.0, NODE), Timing(0.0, CREDIT)
    merge = Timing(0.0, NODE, (first, second))
    first.close(1.0)
    merge.turn(SOURCE, 1.0)
    assert three(merge, 4.0) == (0.0, 1.0, 3.0)


def test_a_feeder_that_begins_again_forgets_no_credit_of_its_readers() -> None:
    """What is fed by several may not begin again with each of them."""
    feeder = Timing(0.0, CREDIT)
    timing = Timing(0.0, SOURCE, (feeder,))
    feeder.begin_again(5.0)
    assert three(timing, 7.0) == (0.0, 0.0, 7.0)
    timing.turn(NODE, 7.0)
    timing.turn(SOURCE, 7.0)
    feeder.begin_again(8.0)
    assert three(timing, 9.0) == (0.0, 0.0, 9.0)


def test_credit_comes_down_a_long_chain_and_through_diamonds() -> None:
    """Hundreds of nodes, that part and meet again: each is looked at once, and there is no recursion."""
    top = Timing(0.0, NODE)
    layer: tuple[Timing, ...] = (top,)
    for _ in range(600):
        layer = (Timing(0.0, SOURCE, layer), Timing(0.0, SOURCE, layer))
    top.turn(CREDIT, 1.0)
    assert three(layer[0], 4.0) == (1.0, 0.0, 3.0)
    layer[0].turn(NODE, 4.0)
    assert three(layer[0], 4.0) == (1.0, 0.0, 3.0)


def test_beginning_again_begins_from_nothing() -> None:
    """The waits and the timeline of an attempt are its own."""
    timing = Timing(2.0, NODE, (), Timeline(2.0))
    timing.turn(CREDIT, 5.0)
    timing.close(6.0)
    timing.begin_again(6.0)
    assert three(timing, 6.0) == (0.0, 0.0, 0.0)
    timing.turn(NODE, 7.0)
    assert timing.timeline is not None
    assert (timing.began, timing.timeline.began) == (6.0, 6.0)
    assert three(timing, 9.0) == (0.0, 2.0, 1.0)


def test_closing_twice_counts_nothing_twice() -> None:
    """A stream's end is told to the reader and to observers."""
    feeder = Timing(0.0, CREDIT)
    timing = Timing(0.0, SOURCE, (feeder,), Timeline(0.0))
    timing.close(3.0)
    waits = timing.close(3.0)
    assert (waits.source, waits.node, waits.credit) == (0.0, 0.0, 3.0)
    assert timing.timeline is not None
    assert math.fsum(part[CREDIT] for part in timing.timeline.parts) == pytest.approx(3.0)


# -- timelines


@given(st.lists(st.tuples(SECONDS, STATES, st.integers(0, 3)), max_size=60))
@settings(deadline=None)
def test_a_timeline_has_the_sums_of_the_whole(steps: list[tuple[float, int, int]]) -> None:
    """At most 64 parts, none of them fuller than it is wide, and no chunk is lost when parts are folded."""
    line, now, sums, chunks = Timeline(5.0), 5.0, [0.0, 0.0, 0.0], 0
    for seconds, state, count in steps:
        line.spent(state, now, now + seconds)
        now += seconds
        sums[state] += seconds
        if count:
            line.sent(count, now)
            chunks += count
        assert len(line.parts) <= BUCKETS
        assert all(sum(part[:3]) <= line.width + 1e-6 for part in line.parts)
        assert [math.fsum(part[state] for part in line.parts) for state in range(3)] == pytest.approx(sums)
        assert sum(part[3] for part in line.parts) == chunks


def test_a_chunk_that_comes_late_makes_the_parts_longer() -> None:
    """It is counted where it belongs: folding parts makes new ones (a run was lost to this once)."""
    line = Timeline(0.0)
    for at in (0.0, 0.0005, 0.0635, 100.0):
        line.sent(1, at)
    assert sum(part[3] for part in line.parts) == 4
    assert line.parts[-1][3] == 1


def test_time_is_where_it_was_spent() -> None:
    """A wait that lasts for several parts is in all of them."""
    line = Timeline(0.0)
    line.spent(NODE, 0.0005, 0.0025)
    assert [part[NODE] for part in line.parts] == pytest.approx([0.0005, 0.001, 0.0005])
