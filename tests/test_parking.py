"""The only place that knows the event loop keeps its word on both: no wake-up is lost, timers keep order."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Coroutine, Generator
from contextvars import ContextVar
from typing import Any

import anyio
import pytest

from penguiflow.parking import AsyncioParking, Parking, TrioParking, current_parking

WHO: ContextVar[str] = ContextVar("WHO", default="nobody")


@pytest.fixture
def parking() -> Any:
    """Give a function that makes the parking of the loop that runs."""

    def made(cleanup_timeout: float = 1.0) -> Parking:
        return current_parking(cleanup_timeout)

    return made


async def test_each_loop_has_its_own(parking: Any, anyio_backend_name: str) -> None:
    """The parking is that of the loop, its clock the loop's, its cancellation the loop's."""
    here = parking()
    kinds = {"asyncio": AsyncioParking, "trio": TrioParking}
    assert type(here) is kinds[anyio_backend_name]
    assert here.cancelled is anyio.get_cancelled_exc_class()
    assert here.now() == pytest.approx(anyio.current_time(), abs=0.05)


async def test_a_wake_before_the_wait_is_not_lost(parking: Any) -> None:
    """Who waits after he was woken goes on at once."""
    here = parking()
    waiter = here.waiter()
    here.wake(waiter)
    with anyio.fail_after(5):
        await waiter


async def test_waking_twice_is_waking_once(parking: Any) -> None:
    """Before the wait, during it, and after it: harmless."""
    here = parking()
    early = here.waiter()
    here.wake(early)
    here.wake(early)
    await early
    here.wake(early)
    woken: list[int] = []
    late = here.waiter()

    async def waits() -> None:
        await late
        woken.append(1)
        await anyio.sleep(0.01)  # a second wake-up may not cut another wait short
        woken.append(2)

    async with anyio.create_task_group() as group:
        group.start_soon(waits)
        await anyio.wait_all_tasks_blocked()
        assert woken == []
        here.wake(late)
        here.wake(late)
    assert woken == [1, 2]


async def test_waiters_are_woken_one_by_one(parking: Any) -> None:
    """Each waiter is one task's own: waking one wakes no other, in whatever order."""
    here = parking()
    waiters = [here.waiter() for _ in range(4)]
    order: list[int] = []

    async def waits(number: int) -> None:
        await waiters[number]
        order.append(number)

    async with anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(waits, number)
        await anyio.wait_all_tasks_blocked()
        for number in (2, 0, 3, 1):
            here.wake(waiters[number])
            await anyio.wait_all_tasks_blocked()
    assert order == [2, 0, 3, 1]


@pytest.mark.parametrize("woken_too", [False, True])
async def test_cancelled_while_waiting(parking: Any, woken_too: bool) -> None:
    """A cancelled wait ends; waking it then, or just before, does no harm to what its task does next."""
    here = parking()
    waiter = here.waiter()
    ended: list[str] = []

    async def waits() -> None:
        try:
            await waiter
        finally:
            ended.append("wait")

    async with anyio.create_task_group() as group:
        group.start_soon(waits)
        await anyio.wait_all_tasks_blocked()
        if woken_too:
            here.wake(waiter)
        group.cancel_scope.cancel()
    here.wake(waiter)
    await anyio.sleep(0)
    assert ended == ["wait"]


async def test_timers_go_off_in_order(parking: Any) -> None:
    """By their time, whatever the order in which they were set; equal ones as they were set."""
    here = parking()
    order: list[str] = []
    over = anyio.Event()
    here.later(0.03, lambda: order.append("late"))
    here.later(0.01, lambda: order.append("soon"))
    here.later(0, lambda: order.append("now"))
    here.later(0.02, lambda: order.append("then"))
    here.later(0.04, over.set)
    with anyio.fail_after(5):
        await over.wait()
    assert order == ["now", "soon", "then", "late"]
    here.close()


async def test_a_timer_is_never_early(parking: Any) -> None:
    """It goes off when its time is over, on the clock of the loop."""
    here = parking()
    over = anyio.Event()
    began = here.now()
    here.later(0.02, over.set)
    with anyio.fail_after(5):
        await over.wait()
    assert here.now() - began >= 0.02 - 0.002
    here.close()


async def test_a_sooner_timer_does_not_wait_for_a_later_one(parking: Any) -> None:
    """What is set while the loop sleeps for another timer goes off at its own time."""
    here = parking()
    over = anyio.Event()
    far = here.later(30, lambda: None)
    await anyio.wait_all_tasks_blocked()
    here.later(0.005, over.set)
    with anyio.fail_after(5):
        await over.wait()
    far.cancel()
    here.close()


async def test_timers_can_be_called_off(parking: Any) -> None:
    """A cancelled timer never goes off; cancelling it twice, or after it went off, is harmless."""
    here = parking()
    order: list[str] = []
    over = anyio.Event()
    first = here.later(0.005, lambda: order.append("first"))
    timers = [here.later(0.01, lambda: order.append("never")) for _ in range(3)]
    here.later(0.02, over.set)
    for timer in timers:
        timer.cancel()
        timer.cancel()
    with anyio.fail_after(5):
        await over.wait()
    first.cancel()
    assert order == ["first"]
    here.close()


async def test_a_timer_may_set_a_timer(parking: Any) -> None:
    """Also when all others are over, and after a pause without any."""
    here = parking()
    order: list[int] = []
    over = anyio.Event()

    def again() -> None:
        order.append(len(order))
        if len(order) < 4:
            here.later(0.001, again)
        else:
            over.set()

    here.later(0, again)
    with anyio.fail_after(5):
        await over.wait()
    assert order == [0, 1, 2, 3]
    await anyio.sleep(0.005)
    later = anyio.Event()
    here.later(0, later.set)
    with anyio.fail_after(5):
        await later.wait()
    here.close()


@pytest.mark.virtual_time
@pytest.mark.parametrize("anyio_backend", ["trio"], indirect=True)
async def test_timers_on_a_clock_that_jumps(parking: Any) -> None:
    """Under virtual time minutes are over at once, and are exactly as many."""
    here = parking()
    over = anyio.Event()
    began = here.now()
    here.later(300, over.set)
    here.later(400, lambda: None).cancel()
    await over.wait()
    assert here.now() - began == pytest.approx(300)
    here.close()


async def test_tasks_belong_to_the_loop(parking: Any) -> None:
    """A spawned task sees no context variable of who spawned it, and none of his cancel scopes (rule 3.9)."""
    here = parking()
    seen: list[Any] = []
    started, over = anyio.Event(), anyio.Event()

    async def main() -> None:
        seen.append((WHO.get(), here.task()))
        started.set()
        await anyio.sleep(0.005)
        over.set()

    WHO.set("me")
    with anyio.CancelScope() as scope:
        here.spawn(main, "a task")
        scope.cancel()
        await anyio.sleep(0)
    with anyio.fail_after(5):
        await over.wait()
    assert [(who, task is here.task()) for who, task in seen] == [("nobody", False)]


async def test_a_turn_lets_everybody_else_run(parking: Any) -> None:
    """Who is ready has run when the second `turn` returns: nobody is kept out by who only gives way."""
    here = parking()
    ran: list[str] = []

    async def other() -> None:
        ran.append("other")

    async with anyio.create_task_group() as group:
        group.start_soon(other)
        for _ in range(2):
            await here.turn()
        assert ran == ["other"]


class Interruptible:
    """A task under a driver, as the workers of the pool are, with one scope that can be interrupted."""

    def __init__(self, parking: Parking, cleanup_seconds: float) -> None:
        self.parking = parking
        self.cleanup_seconds = cleanup_seconds
        self.scopes: list[Any] = []
        self.task: Any = None
        self.log: list[str] = []
        self.over = anyio.Event()

    async def main(self) -> None:
        """Work until interrupted; then clean up, which may wait."""
        self.task = self.parking.task()
        await self._drive(self._work())
        self.parking.calm(self.task)
        await anyio.sleep(0)  # nothing of the interruption is left
        self.log.append("over")
        self.over.set()

    async def _work(self) -> None:
        with self.parking.scope() as scope:
            self.scopes.append(scope)
            try:
                await anyio.sleep(30)
            except self.parking.cancelled:
                self.log.append("told")
                await self._clean_up()

    async def _clean_up(self) -> None:
        try:
            await anyio.sleep(self.cleanup_seconds)
            self.log.append("clean")
        except self.parking.cancelled:
            self.log.append("cut off")

    @types.coroutine
    def _drive(self, coroutine: Coroutine[Any, Any, None]) -> Generator[Any, Any, None]:
        resume: Any = coroutine.send
        value: Any = None
        while True:
            try:
                trap = resume(value)
            except StopIteration:
                return
            try:
                value = yield trap
                resume = coroutine.send
                self.parking.resuming(value, tuple(self.scopes))
            except BaseException as exc:
                value, resume = exc, coroutine.throw

    def interrupt(self) -> None:
        """Cancel what the task does inside its scope."""
        self.parking.interrupt(self.task, self.scopes[0])


async def test_an_interruption_is_told_once(parking: Any) -> None:
    """The step hears of it once; its cleanup may wait, and then its task goes on as if nothing had been."""
    worker = Interruptible(parking(cleanup_timeout=5.0), cleanup_seconds=0.01)
    worker.parking.spawn(worker.main, "worker")
    await anyio.wait_all_tasks_blocked()
    worker.interrupt()
    with anyio.fail_after(5):
        await worker.over.wait()
    assert worker.log == ["told", "clean", "over"]


async def test_interrupted_again_the_cleanup_ends(parking: Any) -> None:
    """A second interruption reaches the cleanup."""
    worker = Interruptible(parking(cleanup_timeout=5.0), cleanup_seconds=30)
    worker.parking.spawn(worker.main, "worker")
    await anyio.wait_all_tasks_blocked()
    worker.interrupt()
    await anyio.wait_all_tasks_blocked()
    assert worker.log == ["told"]
    worker.interrupt()
    with anyio.fail_after(5):
        await worker.over.wait()
    assert worker.log == ["told", "cut off", "over"]


@pytest.mark.virtual_time
@pytest.mark.parametrize("anyio_backend", ["trio"], indirect=True)
async def test_a_cleanup_has_its_time(parking: Any) -> None:
    """On trio the shield ends with the cleanup timeout; on asyncio the run cuts the cleanup off itself."""
    worker = Interruptible(parking(cleanup_timeout=2.0), cleanup_seconds=30)
    worker.parking.spawn(worker.main, "worker")
    await anyio.wait_all_tasks_blocked()
    began = worker.parking.now()
    worker.interrupt()
    await worker.over.wait()
    assert worker.log == ["told", "cut off", "over"]
    assert worker.parking.now() - began == pytest.approx(2.0)


@types.coroutine
def driven(coroutine: Coroutine[Any, Any, None], before_sleep: Any) -> Generator[Any, Any, None]:
    """Drive a coroutine as the pool does: something happens between its trap and its sleep."""
    trap = coroutine.send(None)
    before_sleep()
    try:
        value = yield trap
    except BaseException as exc:
        coroutine.throw(exc)
    else:
        with contextlib.suppress(StopIteration):
            coroutine.send(value)


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_wake_on_the_way_to_sleep_is_not_lost(parking: Any, cancelled: bool) -> None:
    """Who is woken between his trap and his sleep, cancelled or not, goes on."""
    here = parking()
    waiter = here.waiter()

    async def waits() -> None:
        await waiter

    with anyio.CancelScope() as scope:

        def before_sleep() -> None:
            here.wake(waiter)
            if cancelled:
                scope.cancel()

        with anyio.fail_after(5):
            await driven(waits(), before_sleep)
    assert scope.cancelled_caught in (cancelled, False)
