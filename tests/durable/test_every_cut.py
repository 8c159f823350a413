"""A process that dies at any record, in any flow, loses nothing, and does nothing twice that was settled."""

from __future__ import annotations

import os
import random

import pytest

from . import flows, stream_flows
from .cases import CASES
from .lives import check_lives, uncut

ALL_PAIRS = bool(os.environ.get("PENGUIFLOW_ALL_CUTS"))
"""Whether two cuts are tried at every pair of records, which takes minutes."""

assert flows is not stream_flows  # they fill CASES
NAMES = sorted(CASES)


@pytest.mark.parametrize("name", NAMES)
async def test_every_cut(name: str) -> None:
    """Truth: rules 5.1, 5.2, 5.3, for a process that dies once, before any record."""
    case = CASES[name]
    want = await uncut(case)
    for appends in range(want.appends):
        await check_lives(case, want, appends)


@pytest.mark.parametrize("name", NAMES)
async def test_two_cuts(name: str, anyio_backend_name: str) -> None:
    """Truth: recovery can be cut off like anything else, at any record."""
    case = CASES[name]
    want = await uncut(case)
    for first in range(want.appends):
        second, made = (first + (anyio_backend_name == "trio")) % 5 if not ALL_PAIRS else 0, [0, 99]
        while second < made[1]:
            made = await check_lives(case, want, first, second)
            second += 1 if ALL_PAIRS else 5
            if made[1] < second:
                break


@pytest.mark.parametrize("name", NAMES)
async def test_many_cuts(name: str) -> None:
    """Truth: however often it dies, and however many records it writes at once."""
    case = CASES[name]
    rng = random.Random(name)
    for batch in (1, 3, 1000):
        want = await uncut(case, batch)
        cuts = [rng.randrange(1 + want.appends) for _ in range(6)]
        await check_lives(case, want, *cuts, batch=batch)
