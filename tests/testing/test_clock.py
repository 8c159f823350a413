"""Virtual time, on both event loops."""

import time
from typing import Any

import anyio
import pytest

from penguiflow.testing import VirtualLoop, virtual_backend
from penguiflow.testing.fixtures import virtual_clock as anyio_backend  # noqa: F401

pytestmark = pytest.mark.limit(100_000)  # virtual seconds


async def test_an_hour_takes_no_time() -> None:
    """Truth: sleeping moves the clock, and nothing else."""
    began, real = anyio.current_time(), time.perf_counter()
    await anyio.sleep(3600)
    assert anyio.current_time() - began == pytest.approx(3600)
    assert time.perf_counter() - real < 5


async def test_sleepers_wake_in_order() -> None:
    """Truth: time goes from one waking to the next."""
    woken: list[tuple[int, float]] = []
    began = anyio.current_time()

    async def sleeper(seconds: int) -> None:
        await anyio.sleep(seconds)
        woken.append((seconds, round(anyio.current_time() - began)))

    async with anyio.create_task_group() as group:
        for seconds in (30, 10, 20):
            group.start_soon(sleeper, seconds)
    assert woken == [(10, 10), (20, 20), (30, 30)]


async def test_a_hang_meets_its_deadline_at_once() -> None:
    """Truth: where everything waits, time jumps to the next deadline."""
    with pytest.raises(TimeoutError), anyio.fail_after(1000):
        await anyio.sleep_forever()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_threshold_lets_threads_finish(backend: str) -> None:
    """Truth: with a threshold, time does not overtake a thread."""

    async def main() -> float:
        began = anyio.current_time()
        with anyio.fail_after(1000):
            await anyio.to_thread.run_sync(time.sleep, 0.05)
        return anyio.current_time() - began

    name, options = virtual_backend(backend, autojump_threshold=1.0)
    assert anyio.run(main, backend=name, backend_options=options) == 0


def test_files_are_watched_all_the_same() -> None:
    """Truth: a virtual loop on asyncio is a whole loop: subprocesses of files and sockets work."""

    async def main() -> bytes:
        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
            port = listener.extra(anyio.abc.SocketAttribute.local_port)

            async def greet(stream: Any) -> None:
                async with stream:
                    await stream.send(b"hello")

            async with anyio.create_task_group() as group:
                group.start_soon(listener.serve, greet)
                async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                    received = await stream.receive()
                group.cancel_scope.cancel()
        return received

    loop = VirtualLoop(autojump_threshold=0.5)
    assert loop.autojump_threshold == 0.5
    loop.close()
    name, options = virtual_backend("asyncio", autojump_threshold=0.5)
    assert anyio.run(main, backend=name, backend_options=options) == b"hello"


def test_an_unknown_loop_is_named() -> None:
    """Truth: the text says what there is."""
    with pytest.raises(ValueError, match="there is no event loop 'curio'"):
        virtual_backend("curio")
