"""Growing random flows: the soil.

Owns what is known of a flow while it grows: where it may go on (`Port`), and what a region asks of what grows
in it (`Need`). Invariant: whatever is grown is a legal flow whose result is sure, up to the order in which
several writers meet in one stream. The kinds of pieces are in `pieces`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from .shapes import ROOT, Fault, Form, Layout, Pause, Road, Shape, Takes

LONG = 2000.0  # seconds; a timeout that nothing meets
MOST = 150  # items and chunks that may pass one point of one run

FALLIBLE = frozenset(
    {
        "async",
        "def",
        "message",
        "chunk",
        "call",
        "map",
        "yield",
        "emit",
        "emit_chunk",
        "open_stream",
        "spread",
        "gather",
    }
    | {"fold", "stream", "join", "route", "enter", "work", "pack", "thread"}
)
RETRIABLE = FALLIBLE - {"def"}


@dataclass(frozen=True, slots=True)
class Port:
    """Where a flow may go on, and what is known of what comes out there.

    Args:
        ends: the nodes whose outputs meet here.
        messages, streams: whether such may come.
        exact: whether the order within each stream is sure.
        volume: at most how many items and chunks come in one run.
        closable: whether it is sure what happens when a reader leaves a stream early.
        broken: whether a stream may end with an error.
        lossy: whether something may have been dropped before.
        dense: whether a stream's numbers have no holes here.
        takes: what type the next node has to take.
        when: a condition for the edges that are grown from here.
    """

    ends: tuple[str, ...] = (ROOT,)
    messages: bool = True
    streams: bool = False
    exact: bool = True
    volume: int = 1
    closable: bool = True
    broken: bool = False
    lossy: bool = False
    dense: bool = True
    takes: Takes = "int"
    when: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Need:
    """What a region asks of what grows in it.

    Args:
        single: at most one item may come out for each that goes in (slots of joins, parts of spreads).
        chunkwise: only nodes that give at most one chunk for each chunk.
        sealed: no exits inside (a nested flow whose exits all go on).
        spread: an open spread is around.
        depth: how many more regions may be grown inside.
    """

    single: bool = False
    chunkwise: bool = False
    sealed: bool = False
    spread: bool = False
    depth: int = 2


class Grower:
    """A flow that grows.

    Args:
        rng: where all choices come from.
        kinds: which pieces may grow.
        faults: ``None``, ``"failures"`` (nodes fail for good) or ``"retries"`` (they are tried again).
    """

    def __init__(self, rng: random.Random, kinds: frozenset[str], faults: str | None) -> None:
        self.rng = rng
        self.kinds = kinds
        self.faults = faults
        self.shapes: dict[str, Shape] = {}
        self.roads: list[Road] = []
        self.nest: tuple[str, ...] = ()
        self.flows = 0
        self.tight: bool = rng.random() < 0.8
        self.window: int = rng.choice([1, 1, 2, 3]) if self.tight else 128
        # virtual time does not see threads, and must not overtake them
        paces = ["never", "turns"] if "thread" in kinds else ["never", "turns", "seconds", "both"]
        self.slow: str = rng.choice(paces)

    def chance(self, probability: float) -> bool:
        """Throw a dice."""
        return self.rng.random() < probability

    def residue(self, least: int, most: int) -> tuple[int, int]:
        """Pick a divisor and a residue."""
        divisor = self.rng.randint(least, most)
        return divisor, self.rng.randrange(divisor)

    # -- nodes and edges

    def add(self, form: Form, port: Port, *, sound: bool = False, **given: Any) -> str:
        """Grow one node behind a port, ``sound`` where it must not fail; gives its name."""
        prefix = {"async": "map", "emit_chunk": "emitter", "open_stream": "opener"}.get(form, form)
        name = f"{prefix}{len(self.shapes)}"
        rng = self.rng
        drawn: dict[str, Any] = {
            "takes": port.takes,
            "factor": rng.randint(1, 9),
            "term": rng.randint(0, 99),
            "concurrency": rng.choice([1, 1, 2, 3]) if self.tight else 16,
            "pause": self.pause(),
            "commutative": not port.exact,
            "timeout": LONG if self.chance(0.2) else None,
        }
        if form == "def":
            drawn |= {"concurrency": 16, "pause": Pause(), "timeout": None}
        shape = Shape(name, form, nest=self.nest, **drawn | given)
        self.shapes[name] = shape if sound else self.faulty(shape)
        if form == "join":
            return name
        for end in port.ends:
            self.connect(end, name, when=port.when)
        return name

    def pause(self) -> Pause:
        """Draw how a node waits."""
        rng = self.rng
        if self.slow == "never" or self.chance(0.4):
            return Pause()
        turns = rng.randint(1, 3) if self.slow in ("turns", "both") else 0
        seconds = (
            rng.choice([0.001, 0.01, 0.1]) if self.slow in ("seconds", "both") and self.chance(0.5) else 0.0
        )
        return Pause(rng.randint(1, 3), turns, seconds)

    def connect(self, source: str, target: str, **options: Any) -> None:
        """Grow one edge."""
        road = Road(source, target, **options)
        if (
            source != ROOT
            and not road.feedback
            and not road.on_error
            and road.capacity is None
            and self.tight
        ):
            road = replace(road, capacity=self.rng.choice([None, 1, 1, 2, 3]))
            if self.chance(0.05):
                road = replace(road, capacity_bytes=self.rng.choice([1, 8, 30]))
        self.roads.append(road)

    def faulty(self, shape: Shape) -> Shape:
        """Let some nodes fail, or fail and be tried again."""
        rng = self.rng
        if self.faults == "failures" and shape.form in FALLIBLE and self.chance(0.2):
            divisor, residue = self.residue(3, 12)
            return replace(shape, fault=Fault(divisor, residue, after=rng.randint(0, 2)))
        if self.faults == "retries" and shape.form in RETRIABLE and self.chance(0.4):
            times = rng.randint(1, 2)
            # a step that takes a stream is tried again only while it has taken nothing (rule 1.5)
            blind = shape.form in ("fold", "stream", "take") or any(slot.stream for slot in shape.slots)
            divisor, residue = (1, 0) if blind else self.residue(1, 4)
            # beyond a window a step on one chunk can't be tried again (rule 1.5)
            after = min(rng.randint(0, 2), self.window - 1) if shape.form in ("yield", "emit_chunk") else 0
            fault = Fault(divisor, residue, after=after, times=times)
            return replace(shape, fault=fault, attempts=times + 1 + rng.randint(0, 1))
        return shape

    # -- ports

    def after(self, name: str, port: Port, **changed: Any) -> Port:
        """Give the port behind a new node."""
        plain: dict[str, Any] = {"ends": (name,), "takes": "int", "when": None, "dense": True}
        return replace(port, **plain | changed)

    def funnel(self, port: Port) -> Port:
        """Make sure that a port has one end, by a plain node where it has several."""
        end = self.shapes.get(port.ends[0])
        plain = len(port.ends) == 1 and port.when is None and port.takes == "int"
        if plain and (end is None or end.form != "shared"):
            return port
        return self.after(self.add(self.rng.choice(["async", "async", "def"]), port), port)

    def meet(self, ports: Sequence[Port], before: Port, **changed: Any) -> Port:
        """Give the port where several meet."""
        return replace(
            before,
            ends=tuple(end for port in ports for end in port.ends),
            messages=any(port.messages for port in ports),
            streams=any(port.streams for port in ports),
            exact=all(port.exact for port in ports),
            closable=all(port.closable for port in ports),
            broken=any(port.broken for port in ports),
            lossy=any(port.lossy for port in ports),
            volume=sum(port.volume for port in ports),
            takes="int",
            when=None,
            dense=True,
            **changed,
        )

    # -- the end

    def layout(self, name: str, streamed: bool, options: dict[str, Any]) -> Layout:
        """Describe what has grown."""
        return Layout(name, dict(self.shapes), tuple(self.levelled()), streamed, options)

    def levelled(self) -> list[Road]:
        """Give the edges; those that cross the border of a nested flow together get the same options."""
        alike: dict[Any, Road] = {}
        roads: list[Road] = []
        for road in self.roads:
            if road.source == ROOT or self.shapes[road.source].nest == self.shapes[road.target].nest:
                roads.append(road)
                continue
            first = alike.setdefault(self.crossing(road), road)
            roads.append(
                replace(road, capacity=first.capacity, capacity_bytes=first.capacity_bytes, when=first.when)
            )
        return roads

    def crossing(self, road: Road) -> tuple[Any, Any]:
        """Tell which two operands an edge joins where its ends' flows part."""
        source, target = self.shapes[road.source].path, self.shapes[road.target].path
        common = 0
        while source[common] == target[common]:
            common += 1
        return source[: common + 1], target[: common + 1]
