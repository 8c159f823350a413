"""Rules 6.2 and 6.3: observation costs nothing when absent, and never hurts when it fails."""

import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from penguiflow import Flow, Retry, StepError, Stream, edge, node

pytestmark = [pytest.mark.anyio, pytest.mark.limit(5)]


@node(retry=Retry(attempts=2, backoff=0, jitter=0))
async def count(n: int) -> AsyncIterator[int]:
    """Yield 0 to n - 1."""
    for i in range(n):
        yield i


@node
async def hop(i: int) -> int:
    """Hand on."""
    return i


@node
async def total(stream: Stream[int]) -> int:
    """Sum up."""
    return sum([i async for i in stream])


def the_flow() -> Flow:
    return Flow("f", count >> edge(capacity=2, overflow="drop_oldest") >> hop >> total)


# 6.2 ----------------------------------------------------------------------------------------------------


async def test_rule_6_2_without_an_observer_no_event_is_made(watcher, monkeypatch) -> None:
    """The objects that observers get do not exist where nobody observes."""
    async with the_flow().open(observers=[watcher]) as runtime:
        await runtime.call(5)
    made: list[str] = []
    kinds = {type(event) for event in watcher.events if type(event).__name__ != "Drop"}
    assert {"StepStarted", "StepEnded", "StreamOpened", "StreamEnded"} <= {kind.__name__ for kind in kinds}
    for kind in kinds:
        begin = kind.__init__

        def counted(self, *args, _begin=begin, _name=kind.__name__, **kwargs) -> None:
            made.append(_name)
            _begin(self, *args, **kwargs)

        monkeypatch.setattr(kind, "__init__", counted)
    async with the_flow().open(observers=[watcher]) as runtime:
        await runtime.call(5)
    assert set(made) == {kind.__name__ for kind in kinds}  # the trap works
    made.clear()
    async with the_flow().open() as runtime:
        await runtime.call(5)
    assert made == []


def test_rule_6_2_importing_loads_no_tracer_and_no_meter() -> None:
    """`import penguiflow` brings in neither OpenTelemetry nor any wing of the package."""
    program = (
        "import sys, penguiflow; wings = 'telemetry journals operators llm gateways client connectors"
        " placements audio dashboard testing cli'.split();"
        "print([m for m in sys.modules if m.split('.')[0] in ('opentelemetry', 'prometheus_client', 'httpx')"
        " or m.startswith('penguiflow.') and m.split('.')[1] in wings])"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert told.stdout.strip() == "[]"


# 6.3 ----------------------------------------------------------------------------------------------------


class Broken:
    """An observer that fails from its n-th event on."""

    def __init__(self, after: int = 0) -> None:
        self.after = after
        self.told = 0

    def observe(self, event: object) -> None:
        self.told += 1
        if self.told > self.after:
            raise RuntimeError("observer")


@pytest.mark.parametrize("after", [0, 1, 2, 3, 5, 8])
async def test_rule_6_3_a_failing_observer_never_hurts_the_run(
    after: int, watcher, in_flight, at_rest
) -> None:
    """It is silenced after its first error and counted; the run and the other observers go on."""
    broken = Broken(after)
    flow = Flow("f", count >> hop >> total)
    async with flow.open(observers=[broken, watcher]) as runtime:
        assert await runtime.call(5) == 10
        assert await runtime.call(6) == 15
        assert runtime.statistics().observer_errors == 1
        assert in_flight(runtime) == at_rest
    assert broken.told == after + 1
    assert len(watcher.of("RunEnded")) == 2


async def test_rule_6_3_an_observer_that_fails_at_an_error_does_not_hide_it(watcher) -> None:
    """The run's own error comes out, not the observer's."""

    @node
    async def fails(n: int) -> AsyncIterator[int]:
        yield n
        raise ValueError("mine")

    async with Flow("f", fails).open(observers=[Broken(3), watcher]) as runtime:
        with pytest.raises(StepError) as caught:
            await runtime.call(1)
    assert str(caught.value.__cause__) == "mine"
