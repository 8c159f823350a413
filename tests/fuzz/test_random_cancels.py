"""Random flows, ``cancels``: a run that is cut off gives a beginning, and no other run notices."""

import pytest

from .harness import BACKENDS, fuzz


@pytest.mark.parametrize("backend", BACKENDS)
def test_random_cancels(backend: str) -> None:
    """Truth: a run that is cut off gives a beginning, and no other run notices."""
    fuzz("cancels", backend)
