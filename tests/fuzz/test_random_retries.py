"""Random flows, ``retries``: what the successful attempts give is what is expected."""

import pytest

from .harness import BACKENDS, fuzz


@pytest.mark.parametrize("backend", BACKENDS)
def test_random_retries(backend: str) -> None:
    """Truth: what the successful attempts give is what is expected."""
    fuzz("retries", backend)
