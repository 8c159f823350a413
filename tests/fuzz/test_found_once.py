"""Random flows beyond the default ones that once found a fault, each of another kind."""

from __future__ import annotations

import pytest

from .harness import BACKENDS, fuzz
from .trial import Kind

FOUND: list[tuple[Kind, int]] = [
    ("values", 2255),  # woken on the way into a wait, on trio
    ("values", 2521),  # later chunks spent the credit that the earliest one needed
    ("values", 4584),  # an ended stream waited for writers that could not come
    ("values", 8464),  # … and for one that waited for it
    ("failures", 1044),  # silence overtook an error
    ("failures", 4968),
    ("failures", 7721),
    ("retries", 2419),  # an input began again between two attempts of its reader
    ("retries", 2857),  # a place lent twice
    ("retries", 6151),  # a step that was given up got its credit, and emitted into the next attempt
    ("retries", 7962),  # a stream held too late what it could feed
]


@pytest.mark.parametrize(("kind", "seed"), FOUND)
def test_what_was_found_once(kind: Kind, seed: int) -> None:
    """Truth: what was mended stays so."""
    fuzz(kind, BACKENDS[seed % 2], seed, 1)
