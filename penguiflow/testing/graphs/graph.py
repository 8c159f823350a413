"""Random flows, each with its reference evaluation.

Owns `random_graph`: the same seed and kinds give the same flow, payloads and expectations, in every process.
Knows nothing of how the flow is run.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import anyio
import anyio.lowlevel

from penguiflow import Flow

from .expected import Expected
from .growing import Grower, Need, Port
from .pieces import grow
from .reference import evaluate
from .regions import PIECES
from .shapes import MODULUS, ROOT, Fault, Layout
from .topology import Topology
from .weaving import weave

KINDS: frozenset[str] = frozenset(PIECES) - {"drop", "merge", "thread"}


@dataclass(frozen=True)
class RandomGraph:
    """A random flow.

    Args:
        seed: what it was grown from.
        layout: its description; printing it shows all nodes and edges.
    """

    seed: int
    layout: Layout
    topology: Topology = field(repr=False)

    def flow(self) -> Flow:
        """Build the flow; each call gives a new one."""
        return weave(self.layout)

    @property
    def options(self) -> dict[str, Any]:
        """The options to open the flow with."""
        return dict(self.layout.options)

    def payload(self, run: int) -> Any:
        """Give the payload of one of its runs: a number, or a list of numbers where the input is a stream."""
        rng = random.Random(f"{self.seed}/{run}")
        if self.layout.streamed:
            return [rng.randrange(MODULUS) for _ in range(rng.randint(0, 8))]
        return rng.randrange(MODULUS)

    def fed(self, payload: Any) -> Any:
        """Give what goes into the run for a payload: itself, or a stream of it."""
        return trickle(payload, self.seed % 3) if self.layout.streamed else payload

    def expected(self, payload: Any) -> Expected:
        """Compute what a run gives for a payload."""
        return evaluate(self.layout, payload, self.topology)

    def __str__(self) -> str:
        return f"seed {self.seed}: {self.layout}"


async def trickle(payloads: Iterable[Any], turns: int = 0) -> AsyncIterator[Any]:
    """Give payloads one by one, a few turns of the loop apart. If cancelled, the rest is lost."""
    for payload in payloads:
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        yield payload


def random_graph(
    seed: int,
    kinds: Iterable[str] | None = None,
    *,
    faults: Literal["failures", "retries"] | None = None,
    pieces: int | None = None,
) -> RandomGraph:
    """Grow a random flow.

    Args:
        seed: the same seed gives the same flow.
        kinds: which pieces may grow (`KINDS` where not given; ``"drop"``, ``"merge"`` and ``"thread"`` only
            by name). With ``"drop"`` a run gives a subsequence of what is expected.
        faults: ``"failures"``: some nodes fail for good on some payloads (`Expected.trips` names those that
            do); ``"retries"``: some nodes fail a few times and have a retry.
        pieces: how many pieces follow each other; drawn where not given.
    """
    chosen = frozenset(KINDS if kinds is None else kinds)
    if unknown := chosen - PIECES.keys():
        raise ValueError(f"unknown kinds {sorted(unknown)}; known are {sorted(PIECES)}")
    rng = random.Random(f"{seed}/{faults}")
    kept = frozenset(kind for kind in sorted(chosen) if rng.random() < 0.8) or chosen
    must = frozenset({"drop", "merge"} & chosen)
    grower = Grower(rng, kept | must | ({"map"} & chosen), faults)
    streamed = rng.random() < 0.45
    start = Port(messages=not streamed, streams=streamed, volume=8 if streamed else 1)
    end = grow(grower, start, Need(), pieces or rng.randint(2, 6))
    if end.ends == (ROOT,):
        grower.add("async", end)
    if faults == "failures":
        ensure_fault(grower)
    options: dict[str, Any] = {"window": grower.window}
    if grower.tight and rng.random() < 0.1:
        options["window_bytes"] = rng.choice([1, 10, 40])
    if rng.random() < 0.15:
        options["max_runs"] = rng.randint(1, 2)
    layout = grower.layout(f"graph{seed}", streamed, options)
    return RandomGraph(seed, layout, Topology(layout))


def ensure_fault(grower: Grower) -> None:
    """Let at least one node fail on every second payload."""
    shapes = grower.shapes
    able = [
        name for name, shape in shapes.items() if shape.form in ("async", "def", "yield", "spread", "fold")
    ]
    grouped = {road.target for road in grower.roads if road.group is not None}
    able = [name for name in able if name not in grouped]
    if able and not any(shape.fault for shape in shapes.values()):
        name = grower.rng.choice(able)
        shapes[name] = replace(shapes[name], fault=Fault(2, grower.rng.randrange(2)))
