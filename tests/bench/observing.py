"""What it costs to be watched: a flow with an observer against the same flow without one.

Owns the observers of the rows. Invariant: both sides do the same work in turns, and what an observer has kept
of a round is thrown away outside of what is timed. Libraries are loaded by the rows that need them: in the
memory of the others they should not be.
"""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter, time_ns
from typing import TYPE_CHECKING

from penguiflow import Flow, Runtime
from penguiflow.observe import Observer, RunStarted

from .calls import repeat
from .chains import chain, numbers, read
from .measure import Measured, Scale, alternate, drive

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

STREAM = 1_000
"""Chunks of one stream: an answer of a model."""

SPIN = 0.001
"""Seconds that a node works on a chunk where it is no toy."""

TOKEN = 0.00002
"""Seconds that a node works on a token."""

SPANS = 11
"""So many spans has a run of a stream through four nodes: its own, and two for each node and the source."""

SPUN = 200
"""So many chunks of a toy take about as long as one of these."""

Work = Callable[[Runtime], Awaitable[float]]
"""What both sides do; gives the seconds that one unit of it took."""


async def spin(x: int) -> int:
    """Keep the processor busy for a millisecond: a sleep would hide what is to be measured."""
    until = perf_counter() + SPIN
    while perf_counter() < until:
        pass
    return x


def streams(scale: Scale) -> Work:
    """Read streams of 1,000 chunks, one after the other; the unit is a chunk."""
    length = min(STREAM, scale.chunks)
    count = scale.chunks // length

    async def work(runtime: Runtime) -> float:
        return sum([await read(runtime, length, length) for _ in range(count)]) / (count * length)

    return work


def calls(scale: Scale) -> Work:
    """Call with one message, one after the other; the unit is a call."""

    async def work(runtime: Runtime) -> float:
        return await repeat(lambda: runtime.call(7), scale.calls, 7)

    return work


def watched(
    flow: Flow,
    work: Work,
    scale: Scale,
    observer: Observer,
    unit: str,
    forget: Callable[[], object] = lambda: None,
) -> Measured:
    """Compare what is done with an observer to the same without."""

    async def main(stack: AsyncExitStack) -> Measured:
        with_one = await stack.enter_async_context(flow.open(observers=[observer]))
        without = await stack.enter_async_context(flow.open())

        async def ours() -> float:
            forget()
            return await work(with_one)

        async def base() -> float:
            return await work(without)

        return await alternate(ours, base, scale, "higher", unit)

    return drive(main)


async def token(x: int) -> int:
    """Work for as long as it takes to decode a token from JSON."""
    until = perf_counter() + TOKEN
    while perf_counter() < until:
        pass
    return x


def spans_on(scale: Scale) -> Measured:
    """Every run has its spans, which go to an exporter at once; the nodes do nothing."""
    return spans(scale, chain(numbers))


def spans_on_tokens(scale: Scale) -> Measured:
    """The same, with nodes that work for 20 microseconds on a chunk."""
    return spans(replace(scale, chunks=max(1, scale.chunks // 10)), chain(numbers, token))


def spans(scale: Scale, flow: Flow) -> Measured:
    """Read streams through a flow with spans and without."""
    from penguiflow.telemetry import OpenTelemetry

    provider, forget = recording()
    observer = OpenTelemetry(tracer_provider=provider)
    return watched(flow, streams(scale), scale, observer, "µs/chunk", forget)


def spans_bare(scale: Scale) -> Measured:
    """What OpenTelemetry's SDK costs by itself: so many spans, bare, and nothing is watched.

    No observer that makes spans with this SDK can do better.
    """
    provider, forget = recording()
    tracer = provider.get_tracer("bare")

    class Bare:
        """Makes the spans of a run at once, and leaves it alone."""

        def follows(self, run: RunStarted) -> bool:
            now = time_ns()
            for _ in range(SPANS):
                tracer.start_span("step", start_time=now).end(now)
            return False

        def observe(self, event: object) -> None:
            """Be told of what is opened and closed."""

    return watched(chain(numbers), streams(scale), scale, Bare(), "µs/chunk", forget)


def recording() -> tuple[TracerProvider, Callable[[], None]]:
    """Make a provider that keeps its spans in memory, and what throws them away."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider, exporter.clear


def unsampled_streams(scale: Scale) -> Measured:
    """A tracer that samples nothing, streams."""
    return watched(chain(numbers), streams(scale), scale, unsampled(), "µs/chunk")


def unsampled_calls(scale: Scale) -> Measured:
    """A tracer that samples nothing, calls."""
    return watched(chain(), calls(scale), scale, unsampled(), "µs/call")


def unsampled() -> Observer:
    """Make a tracer that samples nothing."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    from penguiflow.telemetry import OpenTelemetry

    return OpenTelemetry(tracer_provider=TracerProvider(ALWAYS_OFF, shutdown_on_exit=False))


def metrics_on(scale: Scale) -> Measured:
    """Metrics on nodes that work for a millisecond."""
    from penguiflow.telemetry import Metrics

    count = max(1, scale.chunks // SPUN)

    async def work(runtime: Runtime) -> float:
        return await read(runtime, count, count) / count

    return watched(chain(numbers, spin), work, scale, Metrics(), "µs/chunk")


def metrics_cost(scale: Scale) -> Measured:
    """What metrics add to a chunk through four nodes that do nothing."""
    from penguiflow.telemetry import Metrics

    found = watched(chain(numbers), streams(scale), scale, Metrics(), "µs/chunk")
    assert found.base is not None
    added = [max(found.base / ratio - found.base, 0.001) for ratio in found.ratios]  # noise may be more
    return Measured(tuple(added), median(added), None, "µs/chunk")


def store_on(scale: Scale) -> Measured:
    """Every run is kept in a file."""
    from penguiflow.telemetry import TraceStore

    with tempfile.TemporaryDirectory() as folder:
        store = TraceStore(Path(folder) / "runs.db")
        return watched(chain(numbers), streams(scale), scale, store, "µs/chunk")
