"""What ``import penguiflow`` costs beyond what it stands on, each in fresh interpreters.

The clock runs inside the child, around the import alone. The first child is not counted: it compiles.
"""

from __future__ import annotations

from .measure import Measured, Scale, compare
from .processes import figure

OURS = "import penguiflow"
FOUNDATION = "import anyio._backends._asyncio, tenacity; from pydantic import BaseModel, TypeAdapter"
CLOCKED = "from time import perf_counter as now; began = now(); {}; print(now() - began)"


def against_foundation(scale: Scale) -> Measured:
    """Importing penguiflow against importing its foundations."""

    def seconds(statement: str) -> float:
        return figure("-c", CLOCKED.format(statement))

    seconds(OURS)
    seconds(FOUNDATION)
    ours: list[float] = []
    base: list[float] = []
    for _ in range(scale.processes):
        ours.append(seconds(OURS))
        base.append(seconds(FOUNDATION))
    return compare(ours, base, "lower", "µs")
