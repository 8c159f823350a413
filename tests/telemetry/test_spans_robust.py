"""Tracing hurts no run, whatever a sampler, a processor or an exporter does, and keeps nothing of it."""

import gc
from collections.abc import AsyncIterator, Callable
from contextvars import copy_context
from typing import Any

import pytest
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.semconv.attributes.exception_attributes import (
    EXCEPTION_MESSAGE,
    EXCEPTION_STACKTRACE,
    EXCEPTION_TYPE,
)

from penguiflow import Flow, Headers, node
from penguiflow.durations import StreamTiming, Waits
from penguiflow.items import StreamEnded, StreamOpened
from penguiflow.observe import RunEnded, RunStarted, StepEnded, StepStarted
from penguiflow.telemetry import names
from penguiflow.telemetry.spans.handles import Handle
from penguiflow.telemetry.spans.observer import MOST_BROKEN, OpenTelemetry
from penguiflow.telemetry.spans.run_spans import Open, RunSpans

from .otel import Traced, said, traced_by

pytestmark = [pytest.mark.anyio, pytest.mark.limit(20)]


@pytest.fixture
def traced(caplog):
    yield from traced_by(caplog)


@node
async def count(n: int) -> AsyncIterator[int]:
    """Yield 0 to n - 1."""
    for i in range(n):
        yield i


@node
async def hop(i: int) -> int:
    """Hand on."""
    return i


def the_flow() -> Flow:
    return Flow("f", count >> hop)


async def run_once(runtime: Any) -> None:
    async with runtime.run(3) as run:
        assert len([item async for item in run]) == 3


class Failing(SpanProcessor):
    """Fails at the beginning or the end of some spans."""

    def __init__(self, when: str, name: str, times: int = 1000) -> None:
        self.when = when
        self.name = name
        self.times = times

    def fail(self, when: str, name: str) -> None:
        if when == self.when and name.startswith(self.name) and self.times > 0:
            self.times -= 1
            raise RuntimeError("processor")

    def on_start(self, span: Any, parent_context: object = None) -> None:
        self.fail("start", span.name)

    def on_end(self, span: Any) -> None:
        self.fail("end", span.name)


@pytest.mark.parametrize("when", ["start", "end"])
@pytest.mark.parametrize("name", ["run", "step hop", "stream count"])
async def test_a_processor_that_fails_costs_its_span_only(caplog, when: str, name: str) -> None:
    """The run gets its result, the other spans are there, and the next run has all of them."""
    traced = Traced()
    traced.provider.add_span_processor(Failing(when, name, times=1))
    async with the_flow().open(observers=[traced.observer]) as runtime:
        await run_once(runtime)
        broken = len(traced.spans)
        await run_once(runtime)
        assert runtime.statistics().observer_errors == 0
    assert len(traced.spans) - broken == 5
    assert traced.observer.errors == 1
    assert traced.observer._runs == {}
    assert len([record for record in caplog.records if "is missing" in record.getMessage()]) == 1


async def test_what_fails_for_every_run_is_silenced_in_the_end(caplog) -> None:
    """After some runs in a row the error goes up to the runtime, which silences the observer (rule 6.3)."""
    traced = Traced()
    traced.provider.add_span_processor(Failing("end", "step hop"))
    async with the_flow().open(observers=[traced.observer]) as runtime:
        for _ in range(MOST_BROKEN + 5):
            await run_once(runtime)
        assert runtime.statistics().observer_errors == 1
    assert len([record for record in caplog.records if "is missing" in record.getMessage()]) == MOST_BROKEN
    assert traced.observer._runs == {}


class Moody(Sampler):
    """Fails once, then takes all; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def should_sample(
        self,
        parent_context: Any,
        trace_id: int,
        name: str,
        kind: Any = None,
        attributes: Any = None,
        *rest: Any,
    ) -> SamplingResult:
        self.asked.append((name, dict(attributes or {})))
        if len(self.asked) == 1:
            raise RuntimeError("sampler")
        return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes)

    def get_description(self) -> str:
        return "moody"


async def test_a_sampler_sees_what_is_known_and_may_fail() -> None:
    """Attributes are there when a span begins; a run whose sampler fails has no spans, the next one has."""
    sampler = Moody()
    traced = Traced(sampler)
    async with the_flow().open(observers=[traced.observer]) as runtime:
        await run_once(runtime)
        assert traced.spans == []
        async with runtime.run(1, headers=Headers(tenant="t", topic="x"), run_id="r") as run:
            async for _ in run:
                pass
    assert len(traced.spans) == 5
    asked = dict(sampler.asked[1:])
    assert asked["run f"][names.RUN_ID] == "r"
    assert (asked["run f"][names.TENANT], asked["run f"][names.TOPIC]) == ("t", "x")
    assert asked["step count"][names.NODE] == asked["stream count"][names.NODE] == "count"
    assert asked["stream hop"][names.STREAM_ID]


class Lost(SpanExporter):
    """An exporter that raises."""

    def export(self, spans: Any) -> SpanExportResult:
        raise ConnectionError("no collector")


async def test_an_exporter_that_raises_hurts_nobody(caplog) -> None:
    """Not even the tracing: the SDK catches it."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(Lost()))
    observer = OpenTelemetry(tracer_provider=provider)
    async with the_flow().open(observers=[observer]) as runtime:
        await run_once(runtime)
        assert runtime.statistics().observer_errors == 0
    assert observer.errors == 0


async def test_nothing_is_kept_of_runs_that_are_over(traced: Traced) -> None:
    """After many runs nothing of them is left: neither runs, nor spans, nor handles."""
    async with the_flow().open(observers=[traced.observer]) as runtime:
        for _ in range(50):
            await run_once(runtime)
        assert traced.observer._runs == {}
        traced.collected.ended.clear()
        gc.collect()
        kept = [thing for thing in gc.get_objects() if isinstance(thing, RunSpans | Open | Handle)]
        assert len(kept) <= 1, kept  # an idle worker still stands under the context variables of its last job


async def test_two_runs_of_one_id_do_not_mix(traced: Traced) -> None:
    """One observer of two runtimes: the second run of an id has no spans while the first is under way."""
    observers = [traced.observer]
    async with (
        the_flow().open(observers=observers) as one,
        Flow("g", count >> hop).open(observers=observers) as two,
    ):
        async with one.run(3, run_id="same") as first:
            async with two.run(3, run_id="same") as second:
                assert len([item async for item in second]) == 3
            assert len([item async for item in first]) == 3
    assert {said(span, "flow") for span in traced.spans if "run" in span.name} == {"f"}
    assert len(traced.spans) == 5


# events by hand -----------------------------------------------------------------------------------------


def begin(traced: Traced) -> Callable[[object], None]:
    """Begin a run under context variables of its own, and give what tells of it."""
    variables = copy_context()
    started = RunStarted("r", "f", "", at=1.0)
    assert variables.run(traced.observer.follows, started)

    def tell(event: object) -> None:
        variables.run(traced.observer.observe, event)

    tell(started)
    return tell


def test_times_are_those_that_were_told(traced: Traced) -> None:
    """Whatever the clock: durations are differences of what was told, to the nanosecond."""
    told = begin(traced)
    told(StepStarted("r", "a", None, step=1, at=1.5, queued=0.25))
    told(StreamOpened("r", ("a",), "s", 1, Headers(), {}, step=1, at=1.75))
    timing = StreamTiming(3.0, Waits(0.25, 0.5, 0.5), 0.125, None, 0)
    told(StreamEnded("r", ("a",), "s", 1, "done", None, 4, 0, timing=timing))
    told(StepEnded("r", "a", None, 1, step=1, waits=Waits(0.5, 0.5, 1.0), at=3.5))
    told(RunEnded("r", "f", "done", None, at=4.0))
    run, step, stream = traced.one("run f"), traced.one("step a"), traced.one("stream a")
    assert step.start_time - run.start_time == 500_000_000
    assert step.end_time - step.start_time == 2_000_000_000
    assert stream.end_time - stream.start_time == 1_250_000_000
    assert stream.events[0].timestamp - stream.start_time == 125_000_000
    assert run.end_time - run.start_time == 3_000_000_000
    assert said(stream, "stream.chunks_per_second") == 4 / 1.25
    assert said(step, "step.wait.queue") == 0.25


def test_what_is_open_ends_with_its_run_and_what_comes_late_is_ignored(traced: Traced) -> None:
    """A step whose cleanup was given up may still say something."""
    told = begin(traced)
    told(StepStarted("r", "a", None, step=1, at=1.5))
    told(StreamOpened("r", ("a",), "s", 1, Headers(), {}, step=1, at=1.75))
    told(RunEnded("r", "f", "cancelled", None, at=2.0))
    assert len(traced.spans) == 3
    told(StepEnded("r", "a", None, 1, step=1, at=3.5))
    told(StepStarted("r", "a", None, step=2, at=3.5))
    told(RunEnded("r", "f", "cancelled", None, at=4.0))
    assert len(traced.spans) == 3
    assert said(traced.one("step a"), "step.outcome") == "abandoned"
    assert said(traced.one("stream a"), "stream.terminal") == "cancelled"


def test_every_name_is_in_the_table_once() -> None:
    """The table is all that there is: each constant of the module, with a unit where it has one."""
    table = [name.name for name in names.NAMES]
    assert len(table) == len(set(table))
    values = {"penguiflow", "restarted", "abandoned", "s"}
    constants = {value for key, value in vars(names).items() if key.isupper() and isinstance(value, str)}
    assert constants - values == set(table)
    assert all(name.meaning and "\n" not in name.meaning for name in names.NAMES)


def test_words_of_the_conventions_are_those_of_the_installed_ones() -> None:
    """Whoever looks for them by the standard finds them."""
    messaging = pytest.importorskip("opentelemetry.semconv._incubating.attributes.messaging_attributes")
    assert (names.ERROR_TYPE, names.EXCEPTION_TYPE) == (ERROR_TYPE, EXCEPTION_TYPE)
    assert (names.EXCEPTION_MESSAGE, names.EXCEPTION_STACKTRACE) == (EXCEPTION_MESSAGE, EXCEPTION_STACKTRACE)
    assert names.MESSAGING_SYSTEM == messaging.MESSAGING_SYSTEM
    assert names.MESSAGING_DESTINATION == messaging.MESSAGING_DESTINATION_NAME
    assert names.MESSAGING_OPERATION == messaging.MESSAGING_OPERATION_TYPE
    assert names.MESSAGING_COUNT == messaging.MESSAGING_BATCH_MESSAGE_COUNT


def test_it_measures_only_where_there_is_a_meter() -> None:
    """Nodes and edges keep histograms only for a meter provider that does something."""
    assert OpenTelemetry(meter_provider=MeterProvider(shutdown_on_exit=False)).measures
    assert not OpenTelemetry(meter_provider=NoOpMeterProvider()).measures
    assert not OpenTelemetry().measures
