"""Random flows, ``failures``: exactly one StepError comes out, behind a beginning of what is expected."""

import pytest

from .harness import BACKENDS, fuzz


@pytest.mark.parametrize("backend", BACKENDS)
def test_random_failures(backend: str) -> None:
    """Truth: exactly one StepError comes out, behind a beginning of what is expected."""
    fuzz("failures", backend)
