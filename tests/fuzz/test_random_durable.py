"""Random flows, ``durable``: their process dies at any record, and nothing is lost or done twice."""

import pytest

from .harness import BACKENDS, fuzz

SEEDS = 200


@pytest.mark.parametrize("backend", BACKENDS)
def test_random_durable(backend: str) -> None:
    """Truth: what a run gives does not depend on how often its process died (rules 5.1 to 5.3)."""
    fuzz("durable", backend, count=SEEDS)
