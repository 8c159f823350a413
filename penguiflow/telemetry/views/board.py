"""Board: the runtimes that are at work as text, for `penguiflow top`.

Owns what is shown, and in which order. Invariant: a pure function of the pictures, the width and the
options; no line is wider than the terminal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..store.live import LiveEdge, LiveFlow, LiveNode, LiveRuntime
from .wording import (
    BOLD,
    CYAN,
    DIM,
    GREEN,
    RED,
    YELLOW,
    Paint,
    clean,
    columns,
    counted,
    fit,
    number,
    rate,
    seconds,
    shorten,
)

GAUGE = 8
"""How many characters show how full something is."""

STREAMS_SHOWN = 15

HELD_UP_SECONDS = 2.5
"""A runtime that has taken no picture for so long has an event loop that does not turn."""


def board(runtimes: Sequence[LiveRuntime], width: int, *, colour: bool = False) -> str:
    """Draw the runtimes.

    Args:
        runtimes: what they say of themselves.
        width: characters per line.
        colour: whether the terminal knows colours.
    """
    paint = Paint(colour)
    return "\n\n".join("\n".join(_runtime(one, max(width, 60), paint)) for one in runtimes)


def _runtime(one: LiveRuntime, width: int, paint: Paint) -> Iterator[str]:
    facts = [
        paint(f"flow {clean(one.flow)}", BOLD),
        f"pid {one.pid}",
        paint(counted(one.runs, "live run"), *((GREEN,) if one.runs else (DIM,))),
    ]
    facts += [paint(f"{number(one.waiting_runs)} wait to begin", YELLOW)] if one.waiting_runs else []
    facts += [paint(f"{number(one.paused_runs)} paused", YELLOW)] if one.paused_runs else []
    facts += [f"{number(one.started)} begun"]
    facts += [paint(f"{number(one.failed)} failed", RED)] if one.failed else []
    facts += [counted(one.open_streams, "open stream")]
    yield " · ".join(facts)
    if one.silent > HELD_UP_SECONDS:
        text = f"no news for {seconds(one.silent)}: its event loop is held up by code that does not wait"
        yield paint(shorten(text, width), RED)
    yield from _table(_node_rows(one.nodes), width, paint)
    yield from _table(_edge_rows(one.edges), width, paint)
    if one.streams:
        yield from _streams(one, width, paint)
    for flow in one.called:
        yield from _called(flow, width, paint)
    if one.more_called:
        yield paint(f"  … {counted(one.more_called, 'more called flow')}", DIM)
    for run_id, sentences in one.diagnosis:
        yield paint(shorten(f"  run {clean(run_id)}", width), CYAN)
        for index, sentence in enumerate(sentences):
            yield paint(shorten(f"    {clean(sentence)}", width), *((YELLOW,) if not index else (DIM,)))


def _called(one: LiveFlow, width: int, paint: Paint) -> Iterator[str]:
    """Draw a flow that steps call."""
    facts: list[Cell] = [
        (f"{number(one.runs)} under way", (GREEN,) if one.runs else (DIM,)),
        (f"{number(one.started)} begun", ()),
    ]
    facts += [(f"{number(one.failed)} failed", (RED,))] if one.failed else []
    facts += [(counted(one.open_streams, "open stream"), ())] if one.open_streams else []
    room = width - sum(columns(text) + 3 for text, _ in facts)
    name = shorten(f"  calls {' → '.join(map(clean, one.path[1:]))}", max(room, 12))
    yield " · ".join(paint(text, *codes) for text, codes in [(name, (BOLD,)), *facts])
    yield from _table(_node_rows(one.nodes), width, paint)
    yield from _table(_edge_rows(one.edges), width, paint)
    if one.streams:
        yield from _streams(one, width, paint)


Cell = tuple[str, tuple[str, ...]]
"""A text, and how it is coloured."""


def _node_rows(nodes: Sequence[LiveNode]) -> list[list[Cell]]:
    heads = "node", "active", "waiting", "steps", "rate", "p50", "p99", "failed", "retried"
    rows: list[list[Cell]] = [[(head, (DIM,)) for head in heads]]
    for one in nodes:
        full = one.active >= one.concurrency
        active = f"{_gauge(one.active, one.concurrency)} {_of(one.active, one.concurrency)}"
        rows.append(
            [
                (clean(one.path), ()),
                (active, (YELLOW,) if full and one.waiting else (GREEN,) if one.active else (DIM,)),
                (number(one.waiting), (YELLOW,) if one.waiting else (DIM,)),
                (number(one.steps), ()),
                (rate(one.rate), () if one.rate else (DIM,)),
                (seconds(one.p50) if one.p50 is not None else "–", () if one.p50 is not None else (DIM,)),
                (seconds(one.p99) if one.p99 is not None else "–", () if one.p99 is not None else (DIM,)),
                (number(one.failures), (RED,) if one.failures else (DIM,)),
                (number(one.retries), (YELLOW,) if one.retries else (DIM,)),
            ]
        )
    return rows


def _edge_rows(edges: Sequence[LiveEdge]) -> list[list[Cell]]:
    heads = "edge", "waiting", "most", "offered", "rate", "dropped"
    rows: list[list[Cell]] = [[(head, (DIM,)) for head in heads]]
    for one in edges:
        waiting = f"{_gauge(one.waiting, one.capacity)} {_of(one.waiting, one.capacity)}"
        rows.append(
            [
                (f"{clean(one.source)} → {clean(one.target)}", ()),
                (waiting, (YELLOW,) if one.waiting >= one.capacity else (GREEN,) if one.waiting else (DIM,)),
                (number(one.most_waiting), ()),
                (number(one.offered), ()),
                (rate(one.rate), () if one.rate else (DIM,)),
                (number(one.dropped), (YELLOW,) if one.dropped else (DIM,)),
            ]
        )
    return rows if edges else []


def _streams(one: LiveRuntime | LiveFlow, width: int, paint: Paint) -> Iterator[str]:
    heads = "stream", "run", "node", "credit", "in flight", "chunks"
    rows: list[list[Cell]] = [[(head, (DIM,)) for head in heads]]
    for stream in one.streams[:STREAMS_SHOWN]:
        passes = not stream.window
        credit = (
            "passed on"
            if passes
            else f"{_gauge(stream.credit, stream.window)} {stream.credit}/{stream.window}"
        )
        rows.append(
            [
                (clean(stream.stream_id), ()),
                (clean(stream.run_id), (CYAN,)),
                (clean(stream.node), ()),
                (credit, (DIM,) if passes else (RED,) if not stream.credit else (GREEN,)),
                (number(stream.in_flight), ()),
                (number(stream.next_seq), ()),
            ]
        )
    yield from _table(rows, width, paint, left=3)
    if one.open_streams > len(rows) - 1:
        yield paint(f"  … {counted(one.open_streams - len(rows) + 1, 'more open stream')}", DIM)


def _table(rows: list[list[Cell]], width: int, paint: Paint, left: int = 1) -> Iterator[str]:
    """Lay out rows; the first columns are names, flush left, and give way where it is narrow."""
    if not rows:
        return
    wide = [max(columns(row[index][0]) for row in rows) for index in range(len(rows[0]))]
    over = sum(wide) + 2 * len(wide) - width
    for index in range(left):
        cut = min(max(over, 0), max(0, wide[index] - 10))
        wide[index] -= cut
        over -= cut
    while over > 0 and len(wide) > left + 1:
        over -= wide.pop() + 2
    for row in rows:
        cells = [
            paint(fit(text, wide[index]) if index < left else text.rjust(wide[index]), *codes)
            for index, (text, codes) in enumerate(row[: len(wide)])
        ]
        yield "  " + "  ".join(cells)


def _gauge(value: int, most: int) -> str:
    """Show how full something is; what is not empty shows at least one piece."""
    pieces = min(GAUGE, -(-value * GAUGE // most)) if most > 0 else 0
    return "▰" * pieces + "▱" * (GAUGE - pieces)


def _of(value: int, most: int) -> str:
    return f"{value}/{most}" if most < 10**6 else number(value)
