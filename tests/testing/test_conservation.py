"""The conservation check tells all that is not home."""

from dataclasses import replace

import pytest

from penguiflow import Flow, node
from penguiflow.testing import assert_conserved, imbalances


@node
async def inc(x: int) -> int:
    return x + 1


@node
async def dec(x: int) -> int:
    return x - 1


async def test_a_quiet_runtime_is_balanced() -> None:
    """Truth (2.3): after a run everything is home."""
    async with Flow("f", inc >> dec).open() as runtime:
        assert await runtime.call(1) == 1
        assert_conserved(runtime.statistics())


async def test_what_is_not_home_is_named() -> None:
    """Truth: each number that should be zero is told, with its rule."""
    async with Flow("f", inc >> dec).open() as runtime:
        await runtime.call(1)
        statistics = runtime.statistics()
    edge = replace(statistics.edges[-1], offered=5, delivered=2, dropped=1, waiting=1)
    off = replace(statistics, credit_out=2, places_taken=1, edges=(edge,))
    assert imbalances(off) == [
        f"{edge.source}→{edge.target}: offered 5 != delivered 2 + dropped 1 + waiting 1 (rule 2.9)",
        f"{edge.source}→{edge.target}: 1 still waiting (rule 2.3)",
        "credit_out is 2 where nothing runs (rule 2.3)",
        "places_taken is 1 where nothing runs (rule 2.3)",
    ]
    assert len(imbalances(off, quiet=False)) == 1
    with pytest.raises(AssertionError, match="credit_out is 2"):
        assert_conserved(off)
