"""How a ratio is measured: two sides in turns, on one machine, within seconds of each other.

Owns sizes, rounds and medians. Invariant: no figure leaves here that is an absolute time alone; what a
machine does to one side of a round it does to the other. Knows neither penguiflow nor any peer.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from statistics import median
from typing import Literal, TypeVar

T = TypeVar("T")

Better = Literal["higher", "lower"]
Side = Callable[[], Awaitable[float]]
"""One side of a comparison: does its work once and gives the seconds that one unit of it took."""

LIMIT = 300.0
"""Seconds after which a row counts as hung."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much each row does.

    Args:
        rounds: how often the two sides take turns, after one unmeasured round of each.
        chunks: how many chunks go through a chain in one round.
        paced: how many chunks go one at a time.
        calls: how many calls to penguiflow a round has.
        peer_calls: how many to a peer.
        streams: how many streams are read at once.
        stream_chunks: how long each of them is.
        idle: how many streams are open and idle while memory is measured.
        cancelled: how many runs are cancelled.
        processes: how many subprocesses each side of the import row has.
    """

    rounds: int
    chunks: int
    paced: int
    calls: int
    peer_calls: int
    streams: int
    stream_chunks: int
    idle: int
    cancelled: int
    processes: int


FULL = Scale(9, 40_000, 1_000, 2_000, 150, 1_000, 100, 1_000, 100, 11)
QUICK = Scale(3, 10_000, 300, 500, 50, 1_000, 100, 500, 100, 5)
TINY = Scale(2, 300, 20, 20, 5, 20, 10, 20, 10, 1)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a row came to.

    Args:
        ratios: one per round.
        ours: the median of penguiflow's side, in ``unit``.
        base: that of the other side; ``None`` where the row is an amount, not a comparison.
        unit: of these two.
    """

    ratios: tuple[float, ...]
    ours: float
    base: float | None
    unit: str

    @property
    def ratio(self) -> float:
        """The median of the rounds."""
        return median(self.ratios)


class PeerMissing(Exception):
    """What a row compares with is not installed."""

    def __init__(self, peer: str) -> None:
        super().__init__(f"{peer} is not installed: pip install 'penguiflow[bench]'")


def compare(ours: list[float], base: list[float], better: Better, unit: str) -> Measured:
    """Pair the rounds of two sides: how many times faster ours is, or (``lower``) how many times dearer."""
    pairs = zip(ours, base, strict=True)
    ratios = tuple(b / o if better == "higher" else o / b for o, b in pairs)
    return Measured(ratios, median(ours) * 1e6, median(base) * 1e6, unit)


async def alternate(ours: Side, base: Side, scale: Scale, better: Better, unit: str) -> Measured:
    """Let two sides take turns, and pair what they took.

    If cancelled, the side at work is cancelled and nothing is reported.
    """
    await ours()
    await base()
    mine: list[float] = []
    theirs: list[float] = []
    for _ in range(scale.rounds):
        gc.collect()
        mine.append(await ours())
        gc.collect()
        theirs.append(await base())
    return compare(mine, theirs, better, unit)


def drive(
    main: Callable[[AsyncExitStack], Awaitable[T]],
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> T:
    """Run a row in a loop of its own; what it enters on the stack is left at the end."""

    async def limited() -> T:
        async with asyncio.timeout(LIMIT), AsyncExitStack() as stack:
            return await main(stack)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(limited())
