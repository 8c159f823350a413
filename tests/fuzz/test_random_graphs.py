"""Random flows: a run gives exactly what the reference evaluation says, and everything is home."""

import pytest

from .harness import BACKENDS, fuzz


@pytest.mark.parametrize("backend", BACKENDS)
def test_random_graphs(backend: str) -> None:
    """Truth: a run gives exactly what the reference evaluation says, and everything is home."""
    fuzz("values", backend)
