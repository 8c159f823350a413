"""pytest fixtures: an event loop on virtual time.

Owns the fixtures only; this is the one room that knows pytest. Use them by name::

    from penguiflow.testing.fixtures import virtual_clock as anyio_backend  # every async test, on both loops

or ask for one as a parameter of a single test, beside anyio's own plugin::

    @pytest.mark.parametrize("anyio_backend", [virtual_backend("trio")])
    async def test_an_hour_passes(anyio_backend): ...

Time stands still while anything can work, and jumps when all tasks wait: ``await anyio.sleep(3600)`` takes no
time, and a test that would hang meets the next deadline at once (``with anyio.fail_after(1): …``).
"""

from __future__ import annotations

from typing import Any

import pytest

from .clock import virtual_backend


@pytest.fixture(params=["asyncio", "trio"])
def virtual_clock(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """An event loop on virtual time; the test runs on asyncio and on trio."""
    return virtual_backend(request.param)
