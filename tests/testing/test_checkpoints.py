"""Cancelling at every checkpoint in turn."""

import anyio
import anyio.lowlevel
import pytest

from penguiflow.testing import cancel_at_every_checkpoint, count_checkpoints


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
