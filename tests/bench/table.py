"""The rows: what is measured, against what, and what it must reach (design section 11).

Owns floors and aims. Invariant: a row with a floor also has an aim; a row without one only informs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from . import calls, cancel, chains, control, durable, imports, latency, memory, observing, streams
from .measure import Better, Measured, Scale


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Args:
        name: what ``--only`` takes.
        what: what is measured.
        against: what it is compared with, in the same run.
        measure: does it.
        better: whether a ``higher`` or a ``lower`` figure is better.
        floor: what it must reach; ``None`` for rows that only inform.
        aim: what it should.
        unit: ``×`` for ratios, else that of an amount.
    """

    name: str
    what: str
    against: str
    measure: Callable[[Scale], Measured]
    better: Better
    floor: float | None = None
    aim: float | None = None
    unit: str = "×"


QUEUES = "bare asyncio.Queue(64)s"
WAKE_UPS = "5 bare wake-ups"
SAVER = "LangGraph, its SQLite saver"
NO_OBSERVER = "the same without observer"
STREAM_MEMORY = "memory of an open, idle stream through 4 nodes"

ROWS: tuple[Row, ...] = (
    Row("async-hops", "chunks through 4 async nodes", QUEUES, chains.async_hops, "higher", 2.0, 3.0),
    Row("def-hops", "chunks through 4 def nodes", QUEUES, chains.def_hops, "higher", 3.0, 5.0),
    Row(
        "latency", "one paced chunk through 4 nodes, asyncio", WAKE_UPS, latency.on_asyncio, "lower", 1.5, 1.0
    ),
    Row("latency-uvloop", "the same on uvloop", WAKE_UPS, latency.on_uvloop, "lower", 2.0, 1.0),
    Row(
        "call",
        "runtime.call through 4 nodes",
        "LangGraph ainvoke",
        calls.against_langgraph,
        "higher",
        30.0,
        60.0,
    ),
    Row(
        "streams",
        "many streams at once",
        f"one through {QUEUES}",
        streams.against_one_stream,
        "higher",
        1.0,
        1.5,
    ),
    Row("memory", STREAM_MEMORY, "", memory.traced, "lower", 12.0, 8.0, "KiB"),
    Row("memory-rss", "the same, as resident memory", "", memory.resident, "lower", 12.0, 8.0, "KiB"),
    Row(
        "cancel",
        "cancel to quiet, suspended steps",
        "as many bare tasks",
        cancel.all_at_once,
        "lower",
        12.0,
        4.0,
    ),
    Row("control-busy", "P95 of a command to a busy node", "", control.busy, "lower", 10.0, 1.0, "ms"),
    Row("control-parked", "the same, it waits for credit", "", control.parked, "lower", 10.0, 1.0, "ms"),
    Row("control-idle", "the same, it waits outside", "", control.idle, "lower", 10.0, 1.0, "ms"),
    Row("import", "import penguiflow", "its foundations", imports.against_foundation, "lower", 1.5, 1.2),
    Row(
        "spans",
        "streams of 1,000 chunks, 4 nodes, spans",
        NO_OBSERVER,
        observing.spans_on,
        "higher",
        0.95,
        0.98,
    ),
    Row("spans-bare", "bare spans of the SDK alone", NO_OBSERVER, observing.spans_bare, "higher"),
    Row("spans-tokens", "streams, spans, nodes of 20 µs", NO_OBSERVER, observing.spans_on_tokens, "higher"),
    Row("metrics", "4 nodes of 1 ms, metrics", NO_OBSERVER, observing.metrics_on, "higher", 0.99, 0.995),
    Row("durable", "durable runs of 4 steps, SQLite", SAVER, durable.against_langgraph, "higher", 10.0, 30.0),
    Row("durable-many", "the same, 50 at a time", SAVER, durable.against_langgraph_side_by_side, "higher"),
    Row("step-memory", "a durable step, in memory", "", durable.step_in_memory, "lower", unit="µs/step"),
    Row("step-normal", "the same, SQLite, normal sync", "", durable.step_normal, "lower", unit="µs/step"),
    Row("step-full", "the same, SQLite, full sync", "", durable.step_full, "lower", unit="µs/step"),
    Row("recovery", "10,000 unfinished runs, to their ends", "", durable.recovery, "lower", unit="s"),
    Row("growth", "a store, per run of 4 steps with 1 kB each", "", durable.growth, "lower", unit="B/run"),
    Row("growth-compacted", "the same, compacted", "", durable.growth_compacted, "lower", unit="B/run"),
    Row("emitted-hops", "4 async nodes, ctx.emit_chunk", QUEUES, chains.async_hops_emitted, "higher"),
    Row("message-hops", "4 async nodes, messages", QUEUES, chains.message_hops, "higher"),
    Row("fan-out", "one stream to 10 async nodes", f"{QUEUES}, 10 wide", chains.fan_out_hops, "higher"),
    Row(
        "one-hop",
        "chunks through 1 async node",
        "LangGraph custom stream",
        chains.one_hop_langgraph,
        "higher",
    ),
    Row("latency-paused", "latency, chunks 1 ms apart", WAKE_UPS, latency.after_a_pause, "lower"),
    Row(
        "streams-interleaved",
        "many slow streams in turns",
        f"as many on {QUEUES}",
        streams.interleaved,
        "higher",
    ),
    Row(
        "memory-reader",
        "idle stream and its waiting reader",
        "",
        memory.traced_with_reader,
        "lower",
        unit="KiB",
    ),
    Row("metrics-cost", "metrics, per chunk through 4 nodes", "", observing.metrics_cost, "lower", unit="µs"),
    Row("unsampled", "the streams, no run is sampled", NO_OBSERVER, observing.unsampled_streams, "higher"),
    Row("unsampled-calls", "calls, no run is sampled", NO_OBSERVER, observing.unsampled_calls, "higher"),
    Row("store", "the streams, a trace store", NO_OBSERVER, observing.store_on, "higher"),
    Row("cancel-in-a-row", "cancel to quiet, run by run", "as many bare tasks", cancel.one_by_one, "lower"),
)
