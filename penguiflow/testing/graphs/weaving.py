"""From the description of a random flow to a real one.

Owns how nodes, edges and nested flows are made and wired. Invariant: each call gives a flow of its own. Knows
nothing of what a step does, and of what is expected.
"""

from __future__ import annotations

from typing import Any

from penguiflow import Flow, Node, Retry, edge, node

from .conduct import Conduct
from .shapes import Bag, Layout, Road, Shape, meets, number
from .steps import write


def weave(layout: Layout) -> Flow:
    """Build the flow that a layout describes; each call gives a new one, with its own record of failures."""
    return Loom(layout).flow()


def join_bags(older: Bag, newer: Bag) -> Bag:
    """Merge what waits on an edge: nothing is lost."""
    return Bag(older.values + newer.values)


class Loom:
    """The making of one flow."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.conduct: Conduct = Conduct()
        self.nodes: dict[str, Node[..., Any]] = {}
        self.flows: dict[tuple[str, ...], Flow] = {}

    def make(self, shape: Shape) -> Node[..., Any]:
        """Make the node of a shape."""
        function = write(self.conduct, shape)
        if shape.form == "def":
            return node(function, name=shape.name)
        retry = Retry(attempts=shape.attempts, backoff=0.01, jitter=0.0) if shape.attempts > 1 else None
        return node(
            function,
            name=shape.name,
            concurrency=shape.concurrency,
            ordered=shape.ordered,
            retry=retry,
            thread=shape.form == "thread",
            timeout=shape.timeout,
            idle_timeout=shape.timeout if shape.form == "yield" else None,
        )

    def operand(self, name: str, level: tuple[str, ...]) -> Any:
        """Give what stands for a node in the flow at a level: the node, or the nested flow that holds it."""
        shape = self.layout.shapes[name]
        if shape.nest == level:
            if name not in self.nodes:
                self.nodes[name] = self.make(shape)
            return self.nodes[name]
        inner = shape.nest[: len(level) + 1]
        if inner not in self.flows:
            self.flows[inner] = Flow(inner[-1], *self.items(inner))
        return self.flows[inner]

    def items(self, level: tuple[str, ...]) -> list[Any]:
        """Give the wires of the flow at a level, and the operands that no wire touches."""
        inside = [name for name, shape in self.layout.shapes.items() if shape.nest[: len(level)] == level]
        roads = [r for r in self.layout.roads if r.source in inside and r.target in inside]
        wires: list[Any] = []
        seen: set[Any] = set()
        touched: set[int] = set()
        for road in roads:
            source, target = self.operand(road.source, level), self.operand(road.target, level)
            pair: tuple[Any, ...] = id(source), id(target), road.on_error, road.feedback
            group = [road]
            if road.group is not None:
                group = [r for r in roads if (r.source, r.group_id) == (road.source, road.group_id)]
                pair = id(source), road.group, road.group_id
            if source is target or pair in seen:
                continue
            seen.add(pair)
            targets = [self.operand(r.target, level) for r in group]
            touched.update(id(operand) for operand in (source, *targets))
            wires.append(source >> edge(**self.options(road)) >> (targets if road.group else target))
        operands = {id(o): o for o in (self.operand(name, level) for name in inside)}
        return wires + [operand for key, operand in operands.items() if key not in touched]

    def options(self, road: Road) -> dict[str, Any]:
        """Give the options of an edge."""
        options: dict[str, Any] = {}
        if road.capacity is not None:
            options["capacity"] = road.capacity
        if road.capacity_bytes is not None:
            options["capacity_bytes"] = road.capacity_bytes
        if road.overflow != "wait":
            options["overflow"] = road.overflow
        if road.overflow == "merge":
            options["merge"] = join_bags
        if road.when is not None:
            options["when"] = lambda payload, when=road.when: meets(when, payload)
        if road.group == "partition":
            options["partition"] = lambda payload: number(payload) % 3
        if road.group == "balance":
            options["balance"] = True
        return options | {name: True for name in ("feedback", "on_error") if getattr(road, name)}

    def flow(self) -> Flow:
        """Build the flow."""
        return Flow(self.layout.name, *self.items(()))
