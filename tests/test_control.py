"""Commands keep their order, need no credit, and none is lost, whoever waits and however a wait ends."""

from __future__ import annotations

import anyio
import pytest

from penguiflow.control import Controls, as_control
from penguiflow.items import Control
from penguiflow.parking import current_parking


def new() -> Controls:
    """Make what a step hears its commands through, on the loop that runs."""
    return Controls(current_parking(0.1))


def test_a_command_is_made_of_its_parts() -> None:
    """A kind with its parts becomes a command; a command stays the one that it is."""
    assert as_control("hint", 3, "sub/a", "s") == Control("hint", 3, "sub/a", "s")
    command = Control("pause")
    assert as_control(command, 3, "other", "other") is command


async def test_commands_keep_their_order() -> None:
    """What was sent first is heard first, with and without waiting (rule 2.6)."""
    controls = new()
    sent = [Control("hint", number) for number in range(5)]
    for control in sent:
        controls.deliver(control)
    heard = [controls.next_nowait(), controls.next_nowait()]
    controls.close()
    heard += [control async for control in controls]
    assert heard == sent


async def test_nothing_to_hear() -> None:
    """`next_nowait` says so, before, between and after."""
    controls = new()
    with pytest.raises(anyio.WouldBlock):
        controls.next_nowait()
    controls.deliver(Control("hint"))
    assert controls.next_nowait() == Control("hint")
    controls.close()
    with pytest.raises(anyio.WouldBlock):
        controls.next_nowait()


async def test_the_end_comes_behind_the_last_command() -> None:
    """Closing ends the loop of who waits, also of who has not begun; what was sent before is still heard."""
    controls = new()
    heard: list[list[object]] = []

    async def listen() -> None:
        heard.append([control.payload async for control in controls])

    async with anyio.create_task_group() as group:
        group.start_soon(listen)
        await anyio.wait_all_tasks_blocked()
        controls.deliver(Control("hint", 1))
        controls.deliver(Control("hint", 2))
        controls.close()
    assert heard == [[1, 2]]
    assert [control async for control in controls] == []


async def test_who_waits_is_woken() -> None:
    """Each command wakes the step that waits for one."""
    controls = new()
    heard: list[object] = []

    async def listen() -> None:
        async for control in controls:
            heard.append(control.payload)  # noqa: PERF401  # looked at while it grows

    async with anyio.create_task_group() as group:
        group.start_soon(listen)
        for number in range(3):
            await anyio.wait_all_tasks_blocked()
            assert heard == list(range(number))
            controls.deliver(Control("hint", number))
        await anyio.wait_all_tasks_blocked()
        assert heard == [0, 1, 2]
        controls.close()


@pytest.mark.parametrize("sent_first", [False, True])
async def test_a_cancelled_wait_takes_nothing(sent_first: bool) -> None:
    """A command that comes before, or after, a listener is cancelled is there for the next one."""
    controls = new()
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(controls.__anext__)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
            if sent_first:
                controls.deliver(Control("hint", 1))
    if sent_first:  # it may have been taken by the one who was woken and cancelled at once: not both
        controls.close()
        assert [control async for control in controls] in ([], [Control("hint", 1)])
        return
    controls.deliver(Control("hint", 2))
    assert await anext(controls) == Control("hint", 2)
