"""Making the flow of a failed trial smaller, as long as it fails in the same way.

Owns the steps of shrinking: fewer runs, fewer nodes, plainer nodes and edges. Invariant: what is kept fails
with a text that the original failed with, too (numbers aside). A smaller flow need not be legal: one that is
not fails in another way, and is not kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import anyio

from penguiflow import Flow, GraphError
from penguiflow.testing import RandomGraph, virtual_backend
from penguiflow.testing.graphs.shapes import ROOT, Layout, Pause, Shape
from penguiflow.testing.graphs.topology import Topology

from .harness import BACKENDS, BUSY, STILL, limited, trial
from .trial import RUNS, Kind, graph_of

PLAIN = {"pause": Pause(), "concurrency": 16, "drops": None, "also": False, "numbered": False, "bare": False}
PLAIN |= {"yields": False, "ordered": True, "factor": 1, "term": 0}
BYPASSED = {"async", "def", "thread", "message", "chunk", "yield", "stream", "take"}


def symptoms(found: Sequence[str]) -> set[str]:
    """Tell the ways in which a trial fails, numbers aside."""
    texts = (re.sub(r"[0-9a-f]{16}", "ID", text.strip().splitlines()[-1]) for text in found)
    return {re.sub(r"[a-z_/]*\d+(/\w+)?|\[.*\]", "N", text)[:90] for text in texts}


def attempt_once(kind: Kind, backend: str, graph: RandomGraph, numbers: Sequence[int]) -> list[str]:
    """Run one trial on a loop of its own."""
    name, options = virtual_backend(backend)
    try:
        with limited(BUSY, STILL):
            return anyio.run(trial, kind, graph, numbers, backend=name, backend_options=options)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return [f"{type(error).__name__}: {error}"]


def smaller(layout: Layout) -> Iterator[Layout]:
    """Give layouts that are a step smaller or plainer."""
    for name in reversed(layout.shapes):
        yield without(layout, name)
    for name, shape in layout.shapes.items():
        if shape.form in BYPASSED and shape.takes == "int":
            yield bypassed(layout, name)
    if any(shape.nest for shape in layout.shapes.values()):
        yield flat(layout)
    for name, value in {"window": 128, "max_runs": None, "window_bytes": None}.items():
        if layout.options.get(name, value) != value:
            yield replace(layout, options=layout.options | {name: value})
    for shape in layout.shapes.values():
        for attribute, value in PLAIN.items():
            if getattr(shape, attribute) != value:
                yield with_shape(layout, replace(shape, **{attribute: value}))
        if shape.fault is not None:
            yield with_shape(layout, replace(shape, fault=None, attempts=1))
        elif shape.form in ("async", "message", "chunk", "thread"):
            yield with_shape(layout, replace(shape, form="def", pause=Pause(), concurrency=16, attempts=1))
    for road in layout.roads:
        for attribute in ("capacity", "capacity_bytes", "when"):
            if getattr(road, attribute) is not None and road.overflow == "wait":
                plain = replace(road, **{attribute: None})
                yield replace(layout, roads=tuple(plain if r is road else r for r in layout.roads))


def with_shape(layout: Layout, shape: Shape) -> Layout:
    """Give the layout with a node changed."""
    return replace(layout, shapes=layout.shapes | {shape.name: shape})


def without(layout: Layout, name: str) -> Layout:
    """Give the layout without a node, and without what can't be reached any more."""
    shapes = {key: shape for key, shape in layout.shapes.items() if key != name}
    roads = [road for road in layout.roads if name not in (road.source, road.target)]
    while True:
        fed = {road.target for road in roads}
        lost = {key for key in shapes if key not in fed}
        if not lost:
            break
        shapes = {key: shape for key, shape in shapes.items() if key not in lost}
        roads = [road for road in roads if road.source not in lost and road.target not in lost]
    sources = {(road.source, road.target) for road in roads}
    for key, shape in shapes.items():
        if shape.slots:
            slots = tuple(slot for slot in shape.slots if (slot.name, key) in sources)
            shapes[key] = replace(shape, slots=slots)
    return replace(layout, shapes=shapes, roads=tuple(roads))


def bypassed(layout: Layout, name: str) -> Layout:
    """Give the layout with a node left out: its edges go past it."""
    before = [road for road in layout.roads if road.target == name]
    after = [road for road in layout.roads if road.source == name]
    past = tuple(
        replace(out, source=into.source, when=into.when or out.when) for into in before for out in after
    )
    kept = tuple(road for road in layout.roads if name not in (road.source, road.target))
    shapes = {key: shape for key, shape in layout.shapes.items() if key != name}
    for key, shape in shapes.items():
        if shape.slots and len(before) == 1 and before[0].source != ROOT:
            slots = tuple(replace(s, name=before[0].source) if s.name == name else s for s in shape.slots)
            shapes[key] = replace(shape, slots=slots)
    return replace(layout, shapes=shapes, roads=kept + past)


def flat(layout: Layout) -> Layout:
    """Give the layout without nested flows."""
    shapes = {key: replace(shape, nest=()) for key, shape in layout.shapes.items()}
    inside = {shape.nest[0]: [] for shape in layout.shapes.values() if shape.nest}  # type: dict[str, list[str]]
    for key, shape in layout.shapes.items():
        if shape.nest:
            inside[shape.nest[0]].append(key)
    for key, shape in shapes.items():
        feeding = {road.source for road in layout.roads if road.target == key}
        slots = []
        for slot in shape.slots:
            hidden = [source for source in inside.get(slot.name, []) if source in feeding]
            slots.append(replace(slot, name=hidden[0]) if hidden else slot)
        shapes[key] = replace(shape, slots=tuple(slots))
    return replace(layout, shapes=shapes)


def shrink(kind: Kind, backend: str, graph: RandomGraph) -> tuple[RandomGraph, list[int], list[str]]:
    """Make the flow of a failed trial as small as the steps allow; gives it, its runs, and how it fails."""
    numbers = list(range(RUNS))
    found = attempt_once(kind, backend, graph, numbers)
    known = symptoms(found)
    for number in range(RUNS):
        alone = attempt_once(kind, backend, graph, [number])
        if symptoms(alone) & known:
            numbers, found = [number], alone
            break
    progressing = True
    while progressing:
        progressing = False
        for layout in smaller(graph.layout):
            candidate = grown(graph.seed, layout)
            if candidate is None:
                continue
            wrong = attempt_once(kind, backend, candidate, numbers)
            if wrong and symptoms(wrong) <= known:
                graph, found, progressing = candidate, wrong, True
                break
    return graph, numbers, found


def grown(seed: int, layout: Layout) -> RandomGraph | None:
    """Give the flow of a layout; ``None`` where it makes no sense."""
    joins = [shape for shape in layout.shapes.values() if shape.form == "join"]
    if not layout.shapes or any(len(shape.slots) < 2 for shape in joins):
        return None
    if len({(road.source, road.target) for road in layout.roads}) < len(layout.roads):
        return None
    try:
        graph = RandomGraph(seed, layout, Topology(layout))
        if edges_of(graph.flow()) != roads_of(layout):
            return None
        for number in range(RUNS):
            graph.expected(graph.payload(number))
    except (AssertionError, LookupError, TypeError, ValueError, AttributeError, GraphError):
        return None
    return graph


def roads_of(layout: Layout) -> set[tuple[str, str]]:
    """Tell the edges of a layout by the keys of their ends."""
    keys = {name: shape.key for name, shape in layout.shapes.items()} | {ROOT: ROOT}
    return {(keys[road.source], keys[road.target]) for road in layout.roads}


def edges_of(flow: Flow) -> set[tuple[str, str]]:
    """Tell the edges of a flow by the keys of their ends."""
    return {(edge.source.key, edge.target.key) for edge in flow.plan.edges}


def shrink_first(kind: Kind, first: int, count: int) -> int:
    """Find the first seed that fails, and show it as small as it gets; gives 1 where there is one."""
    for seed in range(first, first + count):
        backend = BACKENDS[seed % 2]
        graph = graph_of(kind, seed)
        if attempt_once(kind, backend, graph, range(RUNS)):
            small, numbers, found = shrink(kind, backend, graph)
            payloads: dict[int, Any] = {number: small.payload(number) for number in numbers}
            print(f"{kind}, {backend}, runs {payloads}\n{small}", *found, sep="\n")
            for number in numbers:
                print(f"expected of run {number}: {small.expected(small.payload(number))}")
            return 1
    return 0
