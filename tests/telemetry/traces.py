"""Traces as plain data, for tests and for looking at pages."""

import random
from collections.abc import Sequence
from itertools import pairwise

from penguiflow.durations import Waits
from penguiflow.telemetry.records import (
    ErrorRecord,
    EventRecord,
    PartRecord,
    RunSummary,
    RunTrace,
    StepRecord,
    StreamRecord,
)

T0 = 1_764_158_400.0
"""When all of these begin: 26 November 2025, noon."""

Edges = Sequence[tuple[str, str]]


def line(*names: str) -> Edges:
    """Give the edges of a chain of nodes."""
    return [("input", names[0]), *pairwise(names), (names[-1], "reader")]


def part(number: int, edges: Edges, start: float, end: float | None, **more: object) -> PartRecord:
    names = dict.fromkeys(name for edge in edges for name in edge if name not in ("input", "reader"))
    fields = {"flow": f"flow{number}", "caller": None, "status": "running" if end is None else "done", **more}
    ended = None if end is None else T0 + end
    return PartRecord(  # type: ignore[arg-type]
        part=number, started=T0 + start, ended=ended, nodes=tuple(names), edges=tuple(edges), **fields
    )


def step(
    node: str,
    start: float,
    end: float | None,
    waits: tuple[float, float, float] | None = None,
    **more: object,
) -> StepRecord:
    """Give a step; without waits, all of its time is that of the node."""
    length = 0.0 if end is None else end - start
    error = more.get("error")
    fields = {
        "part": 0,
        "step": 1,
        "attempt": 1,
        "stream_id": None,
        "queued": 0.0,
        "outcome": "" if end is None else "done" if error is None else "error",
        **more,
    }
    ended = None if end is None else T0 + end
    told = Waits(*(waits or (0.0, length, 0.0)))
    return StepRecord(node=node, started=T0 + start, ended=ended, waits=told, **fields)  # type: ignore[arg-type]


def stream(
    node: str, start: float, end: float | None, waits: tuple[float, float, float], **more: object
) -> StreamRecord:
    fields = {
        "part": 0,
        "step": 1,
        "stream_id": "answer-1",
        "attempt": 1,
        "terminal": "" if end is None else "done",
        "chunks": 40,
        "bytes": 400,
        "gaps": 0,
        "drops": 0,
        "first_chunk": 0.01,
        "timeline": timeline(end - start, waits, 40) if end is not None else None,
        **more,
    }
    ended = None if end is None else T0 + end
    return StreamRecord(  # type: ignore[arg-type]
        node=node, started=T0 + start, ended=ended, waits=Waits(*waits), **fields
    )


def timeline(
    length: float, waits: tuple[float, float, float], chunks: int
) -> tuple[float, tuple[tuple[float, ...], ...]]:
    """Give a timeline of 32 parts that adds up to the waits, unevenly."""
    width = max(length, 1e-6) / 32
    order = [
        (0, waits[0] * 0.6),
        (1, waits[1] * 0.5),
        (2, waits[2]),
        (0, waits[0] * 0.4),
        (1, waits[1] * 0.5),
    ]
    parts: list[tuple[float, ...]] = []
    for index in range(32):
        room, spent = width, [0.0, 0.0, 0.0]
        while order and room > 1e-12:
            kind, left = order[0]
            taken = min(room, left)
            spent[kind] += taken
            room -= taken
            order[0] = (kind, left - taken)
            if left - taken <= 1e-12:
                order.pop(0)
        parts.append((*spent, float(chunks // 32 + (index % 3 == 0))))
    return width, tuple(parts)


def trace(
    parts: Sequence[PartRecord],
    steps: Sequence[StepRecord] = (),
    streams: Sequence[StreamRecord] = (),
    seconds: float = 0.0,
    status: str = "done",
    **more: object,
) -> RunTrace:
    run = RunSummary(
        run_id="run-7f3a",
        flow=parts[0].flow if parts else "flow",
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
        status=status,
        started=T0,
        seconds=seconds,
        tenant="acme",
        steps=len(steps),
        streams=len(streams),
        error="",
    )
    return RunTrace(run, tuple(parts), tuple(steps), tuple(streams), **more)  # type: ignore[arg-type]


# -- runs as they happen


def agent_run() -> RunTrace:
    """An agent that plans, calls tools, is rate limited once, streams its answer; one tool fails at last."""
    edges = [
        ("input", "plan"),
        ("plan", "search"),
        ("plan", "lookup"),
        ("search", "plan"),
        ("lookup", "plan"),
        ("plan", "write"),
        ("write", "redact"),
        ("redact", "reader"),
    ]
    limited = ErrorRecord(
        "RateLimited",
        "429 Too Many Requests: retry after 0.4 s",
        ("HTTPStatusError: Client error '429 Too Many Requests' for url '/v1/messages'",),
        "agent/model.py:88 in complete",
    )
    broken = ErrorRecord(
        "StepError",
        "node lookup failed: the index 'orders' is not there",
        ("LookupError: the index 'orders' is not there", "FileNotFoundError: [Errno 2] orders.idx"),
        "agent/tools.py:141 in lookup",
    )
    steps = [
        step("plan", 0.004, 0.812, step=1),
        step("search", 0.815, 1.402, step=2, queued=0.002),
        step("lookup", 0.816, 0.969, step=3, queued=0.003),
        step("plan", 1.404, 1.701, step=4, error=limited),
        step(
            "plan",
            2.104,
            2.911,
            step=4,
            attempt=2,
            events=(EventRecord(T0 + 2.104, "retry", {"attempt": 2, "after": "RateLimited"}),),
        ),
        step("search", 2.914, 3.377, step=5, part=0),
        step("rewrite", 2.920, 3.005, step=1, part=1),
        step("fetch", 3.006, 3.352, step=2, part=1, waits=(0.0, 0.346, 0.0)),
        step("plan", 3.379, 4.020, step=6),
        step("write", 4.022, 6.480, step=7, waits=(0.0, 2.21, 0.248)),
        step("redact", 4.401, 6.484, step=8, stream_id="answer-1", waits=(1.78, 0.06, 0.243)),
        step("lookup", 4.023, 4.310, step=9, error=broken),
    ]
    events = (
        EventRecord(T0 + 4.3, "cache", {"hit": False, "key": "orders/2025-11"}),
        EventRecord(T0 + 5.1, "tokens", {"prompt": 1873, "completion": 264, "model": "small-2"}),
    )
    steps[9] = step("write", 4.022, 6.480, step=7, waits=(0.0, 2.21, 0.248), events=events)
    streams = [
        stream("write", 4.401, 6.479, (0.0, 1.83, 0.248), step=7, chunks=264, bytes=1311, first_chunk=0.012),
        stream(
            "redact", 4.403, 6.484, (1.778, 0.06, 0.243), step=8, chunks=264, bytes=1302, first_chunk=0.016
        ),
    ]
    parts = [
        part(0, edges, 0.0, 6.49, flow="support-agent", status="done"),
        part(1, line("rewrite", "fetch"), 2.918, 3.36, flow="web-search", caller=(0, 5)),
    ]
    return trace(parts, steps, streams, 6.49)


def fan_out(count: int = 48) -> RunTrace:
    """Passages that are ranked side by side, with four places, and gathered."""
    random_ = random.Random(7)
    edges = line("retrieve", "rank", "gather", "answer")
    steps = [step("retrieve", 0.001, 0.31)]
    free = [0.315] * 4
    for number in range(count):
        place = min(range(4), key=lambda index: free[index])
        start, length = free[place], random_.uniform(0.08, 0.24)
        error = None
        if number == 17:
            error = ErrorRecord("TimeoutError", "no answer within 0.2 s", (), "rank.py:31 in rank")
        free[place] = start + length + 0.001
        steps.append(step("rank", start, start + length, step=2 + number, queued=start - 0.312, error=error))
        if error is not None:
            again = start + length + 0.05
            free[place] = again + 0.13
            retried = EventRecord(T0 + again, "retry", {"attempt": 2})
            steps.append(step("rank", again, again + 0.12, step=2 + number, attempt=2, events=(retried,)))
    last = max(free)
    steps.append(step("gather", last, last + 0.004, step=count + 2))
    steps.append(step("answer", last + 0.005, last + 1.3, step=count + 3, waits=(0.0, 1.1, 0.195)))
    streams = [
        stream("answer", last + 0.2, last + 1.3, (0.0, 0.905, 0.195), step=count + 3, chunks=180, bytes=900)
    ]
    whole = last + 1.302
    return trace([part(0, edges, 0.0, whole, flow="rank-passages")], steps, streams, whole)


def many_steps(count: int = 2000) -> RunTrace:
    """Documents that come as messages and go through three nodes; a stream of scores besides."""
    random_ = random.Random(11)
    edges = [
        ("input", "load"),
        ("load", "embed"),
        ("embed", "store"),
        ("load", "tokens"),
        ("tokens", "score"),
        ("score", "reader"),
        ("store", "reader"),
    ]
    steps, streams = [], []
    each = max(count // 3, 1)
    clock = 0.0
    for number in range(each):
        clock += random_.uniform(0.004, 0.02)
        begun = clock
        steps.append(step("load", begun, begun + random_.uniform(0.002, 0.01), step=3 * number + 1))
        length = random_.expovariate(40) + 0.004
        queued = random_.uniform(0, 0.03)
        first = begun + 0.011 + queued
        error = ErrorRecord("ValueError", f"document {number} is empty") if number % 211 == 5 else None
        steps.append(step("embed", first, first + length, step=3 * number + 2, queued=queued, error=error))
        steps.append(step("store", first + length, first + length + 0.003, step=3 * number + 3))
        if number % 40 == 0:
            length, chunks = random_.uniform(0.3, 1.4), random_.randrange(40, 300)
            name = f"tokens-{number}"
            node, credit = length * random_.uniform(0.1, 0.6), length * random_.uniform(0, 0.35)
            for place, waits in (
                ("tokens", (0.0, length - credit, credit)),
                ("score", (length - node - credit * 0.6, node, credit * 0.6)),
            ):
                streams.append(
                    stream(
                        place,
                        begun,
                        begun + length,
                        waits,
                        stream_id=name,
                        step=10 * count + number,
                        chunks=chunks,
                        timeline=timeline(length, waits, chunks),
                    )
                )
    whole = clock + 1.5
    steps.sort(key=lambda one: one.started)
    return trace([part(0, edges, 0.0, whole, flow="index-documents")], steps, streams, whole, left_out=12)


def live_run() -> RunTrace:
    """A run that is under way and waits for its reader."""
    edges = line("tokens", "redact")
    steps = [step("tokens", 0.01, None, (0.0, 0.4, 2.6))]
    streams = [
        stream("tokens", 0.02, None, (0.0, 0.4, 2.6), chunks=96),
        stream("redact", 0.03, None, (0.5, 0.1, 2.4), chunks=64, step=2),
    ]
    said = ("stream answer-1 of node redact waits for credit for 2.4 s: the reader has 64 chunks untaken",)
    return trace([part(0, edges, 0.0, None, flow="chat")], steps, streams, 3.03, "running", diagnosis=said)
