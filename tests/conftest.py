"""What all tests share: both event loops, virtual time, and a net under a test that would hang.

Owns no truth about the package. An async test runs on asyncio and on trio; marked ``virtual_time``, its trio
half runs on a clock that jumps. ``limit(seconds)`` says how long a test may take before it fails (60 s).
"""

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio.testing


def pytest_configure(config: pytest.Config) -> None:
    """Announce the markers."""
    config.addinivalue_line("markers", "virtual_time: the trio half runs on a clock that jumps over waits")
    config.addinivalue_line("markers", "limit(seconds): how long an async test may take before it fails")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """The event loop: each async test runs on both."""
    options: dict[str, Any] = {}
    if request.param == "trio" and request.node.get_closest_marker("virtual_time"):
        options["clock"] = trio.testing.MockClock(autojump_threshold=0)
    return request.param, options


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """Hang the net under every async test."""
    test = pyfuncitem.obj
    if not inspect.iscoroutinefunction(test) or hasattr(test, "hypothesis"):
        return
    mark = pyfuncitem.get_closest_marker("limit")
    seconds = mark.args[0] if mark else 60
    if pyfuncitem.get_closest_marker("virtual_time"):
        seconds = 10 * seconds  # jumping costs nothing, and a test may let minutes pass

    @functools.wraps(test)
    async def caught(*args: Any, **kwargs: Any) -> None:
        with anyio.fail_after(seconds):
            await test(*args, **kwargs)

    pyfuncitem.obj = caught


async def until_all_wait() -> None:
    """Return when every other task waits for something that only this one or the clock can bring."""
    for _ in range(30):  # spares asyncio the polling pause of anyio's function in nearly all cases
        await anyio.lowlevel.checkpoint()
    await anyio.wait_all_tasks_blocked()


@pytest.fixture
def quiet() -> Callable[[], Awaitable[None]]:
    """``await quiet()`` returns when every other task waits."""
    return until_all_wait


AT_REST = {"runs": 0, "messages": 0, "streams": 0, "credit_out": 0, "places_taken": 0}


@pytest.fixture
def at_rest() -> dict[str, int]:
    """What ``in_flight(runtime)`` gives when nothing of any run is left inside."""
    return AT_REST


@pytest.fixture
def in_flight() -> Callable[[Any], dict[str, int]]:
    """``in_flight(runtime)`` tells what its runs hold at the moment."""

    def told(runtime: Any) -> dict[str, int]:
        statistics = runtime.statistics()
        return {name: getattr(statistics, name) for name in AT_REST}

    return told


class Watcher:
    """An observer that keeps what it is told, by the names of the events' classes."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def observe(self, event: object) -> None:
        """Keep the event."""
        self.events.append(event)

    def of(self, name: str) -> list[Any]:
        """Give the events of the class of that name."""
        return [event for event in self.events if type(event).__name__ == name]


@pytest.fixture
def watcher() -> Watcher:
    """An observer to give to ``flow.open(observers=[watcher])``."""
    return Watcher()
