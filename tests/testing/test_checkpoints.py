"""Cancelling at every checkpoint in turn."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import anyio
import anyio.lowlevel
import pytest

from penguiflow import Flow, Runtime, node
from penguiflow.testing import assert_conserved, cancel_at_every_checkpoint, count_checkpoints


async def three() -> str:
    for _ in range(3):
        await anyio.lowlevel.checkpoint()
    return "done"


async def test_each_checkpoint_is_cancelled_once() -> None:
    """Truth: round n gets as far as checkpoint n; the last one completes."""
    reached: list[int] = []

    async def function() -> str:
        reached.append(0)
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
            reached[-1] += 1
        return "done"

    rounds: list[int] = []

    async def check(number: int) -> None:
        rounds.append(number)

    result, cancelled = await cancel_at_every_checkpoint(function, check)
    assert (result, cancelled) == ("done", len(rounds))
    assert rounds == list(range(1, cancelled + 1))
    assert sorted(reached) == reached
    assert reached[-1] == 3


async def test_count() -> None:
    """Truth: a function that does not wait has no checkpoint."""

    async def none() -> None: ...

    assert await count_checkpoints(none) == 0
    assert await count_checkpoints(three) >= 3


async def test_cleanup_runs_and_errors_come_out() -> None:
    """Truth: ``finally`` runs in each round; an exception of the function's own comes out as it is."""
    cleaned: list[int] = []

    async def function() -> None:
        try:
            await three()
            raise LookupError("mine")
        finally:
            cleaned.append(1)

    with pytest.raises(LookupError, match="mine"):
        await cancel_at_every_checkpoint(function)
    assert len(cleaned) == 1 + await count_checkpoints(three)


async def test_what_waits_for_others_is_cancelled_where_it_waits() -> None:
    """Truth: a wait for an event is a checkpoint like others; nothing is left behind."""
    send, receive = anyio.create_memory_object_stream[int](0)
    got: list[int] = []

    async def function() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(send.send, 1)
            got.append(await receive.receive())

    _, cancelled = await cancel_at_every_checkpoint(function)
    assert cancelled >= 1
    assert set(got) == {1}
    assert receive.statistics().current_buffer_used == 0
    send.close()
    receive.close()


async def woken_at_once() -> str:
    """Wait three times for what is there already when the wait begins, or comes before anybody can look."""
    for number in range(3):
        event = anyio.Event()
        if number:
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.lowlevel.checkpoint)
        event.set()
        await event.wait()
    return "done"


async def test_a_wake_up_that_is_due_does_not_save_from_the_cancellation() -> None:
    """Truth: each suspension is cancelled, although the one that ends it is already scheduled."""
    seen: list[int] = []

    async def function() -> str:
        try:
            result = await woken_at_once()
        except BaseException:
            seen.append(0)
            raise
        seen.append(1)
        return result

    result, cancelled = await cancel_at_every_checkpoint(function)
    assert result == "done"
    assert cancelled >= await count_checkpoints(woken_at_once)
    assert seen == [0] * cancelled + [1]


@node
async def numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


@node
async def echo(number: int) -> int:
    return number


async def conserved(runtime: Runtime, _: int) -> None:
    assert_conserved(runtime.statistics())


@pytest.mark.parametrize(
    "flow", [Flow("one", echo), Flow("two", numbers >> echo)], ids=lambda flow: flow.name
)
async def test_calls_of_a_flow_are_cancelled_at_all_their_checkpoints(flow: Flow) -> None:
    """Truth: no round but the last one completes, and nothing is left behind by the others."""
    completed = 0

    async def called() -> None:
        nonlocal completed
        await runtime.call(4)
        completed += 1

    async with flow.open(window=2) as runtime:
        _, cancelled = await cancel_at_every_checkpoint(called, partial(conserved, runtime))
        assert cancelled > 0
        assert completed == 1
    _, cancelled = await cancel_at_every_checkpoint(partial(flow.call, 4))
    assert cancelled > 1


async def test_a_round_that_completes_in_spite_of_its_cancellation_is_not_the_last() -> None:
    """Truth: what is shielded, or swallowed, hides no checkpoint behind it."""
    reached: list[str] = []

    async def function() -> str:
        with anyio.move_on_after(0) as scope:
            scope.cancel()
            await anyio.lowlevel.checkpoint()
        with anyio.CancelScope(shield=True):
            await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()
            reached.append("shielded")
        await anyio.lowlevel.checkpoint()
        reached.append("end")
        return "done"

    _, cancelled = await cancel_at_every_checkpoint(function)
    assert cancelled >= 4
    assert reached[-2:] == ["shielded", "end"]
    assert reached.count("end") == 1


async def test_a_shield_holds() -> None:
    """Truth: a shielded cleanup is not cut off; the cancellation strikes behind it."""
    begun = ended = 0

    async def function() -> None:
        nonlocal begun, ended
        with anyio.CancelScope(shield=True):
            begun += 1
            await anyio.lowlevel.checkpoint()
            await anyio.sleep(0.001)
            ended += 1
        await three()

    _, cancelled = await cancel_at_every_checkpoint(function)
    assert begun == ended == cancelled + 1


async def test_a_cancellation_from_outside_ends_the_search() -> None:
    """Truth: whoever cancels the test is not mistaken for the tool; on asyncio the task's own counts, too."""
    rounds = 0

    async def function() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 3:
            outer.cancel()
        await three()

    with anyio.CancelScope() as outer:
        await cancel_at_every_checkpoint(function)
    assert outer.cancelled_caught
    assert rounds == 3


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_no_request_to_cancel_is_left_on_the_task() -> None:
    """Truth: afterwards the task is as it was; a request from outside in the same moment comes through."""
    task = asyncio.current_task()
    assert task is not None
    await cancel_at_every_checkpoint(three)
    assert task.cancelling() == 0

    rounds = 0

    async def function() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 2:
            asyncio.get_running_loop().call_soon(task.cancel)
        await three()

    with pytest.raises(asyncio.CancelledError):
        await cancel_at_every_checkpoint(function)
    assert (rounds, task.cancelling()) == (2, 1)
    task.uncancel()
