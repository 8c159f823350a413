"""Cancelling: what is promised of calls that are cancelled, at each checkpoint and at any moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import anyio

from penguiflow.journal import Journal

from ..checkpoints import cancel_at_every_checkpoint
from .saying import LONG, Place, begin, change, kept, records, same, seqs

MOMENTS = (0.0, 0.0001, 0.0003, 0.0006, 0.001, 0.002, 0.004)


async def a_cancelled_append_is_whole(place: Place) -> None:
    """A cancelled append was written in full or not at all, and the store goes on."""
    journal = place.journal
    begun: list[str] = []

    async def append() -> None:
        run_id = f"{len(begun):03}"
        begun.append(run_id)
        both = [*records(run_id, 1, 3), *records(f"{run_id} too", 1, 2)]
        await journal.append("me", both, [change(run_id), change(f"{run_id} too", "done")], LONG)

    async def whole(_: object = None) -> None:
        run_id = begun[-1]
        found = (await seqs(journal, run_id), await seqs(journal, f"{run_id} too"))
        same(
            "all of a cancelled append or nothing",
            found if found[0] else ([1, 2, 3], [1, 2]),
            ([1, 2, 3], [1, 2]),
        )
        row = await journal.row(run_id)
        same("its row fits its records", 0 if row is None else row.records, len(found[0]))
        if not found[0]:
            same("nothing of its other run", found[1], [])

    await cancel_at_every_checkpoint(append, whole)
    await _at_any_moment(append, whole)
    async with anyio.create_task_group() as group:  # among others, which are not cancelled
        for number in range(60):
            group.start_soon(_hurried if number % 2 else begin, journal, f"many {number:02}")
    for number in range(60):
        found = await seqs(journal, f"many {number:02}")
        same("an append beside a cancelled one is written", bool(found) or bool(number % 2), True)


async def a_cancelled_post_is_whole(place: Place) -> None:
    """A cancelled post was left or not; a run is not woken for nothing."""
    journal = place.journal
    begun: list[str] = []

    async def post() -> None:
        await journal.post(begun[-1], "key", b"1")

    async def prepare() -> None:
        begun.append(f"{len(begun):03}")
        await begin(journal, begun[-1], status="interrupted")

    async def whole(_: object = None) -> None:
        left = bool(await journal.posts([begun[-1]]))
        row = await journal.row(begun[-1])
        same(
            "a run is woken by what is left, and by nothing else",
            row and row.status,
            ("interrupted", "running")[left],
        )
        await prepare()

    await prepare()
    await cancel_at_every_checkpoint(post, whole)
    await prepare()
    await _at_any_moment(post, whole)


async def what_else_is_cancelled_is_whole(place: Place) -> None:
    """Of runs that are released, renewed or discarded by a call that is cancelled, all were or none."""
    journal = place.journal
    runs = ["a", "b", "c"]

    async def as_before() -> None:
        for row in await journal.rows():
            await journal.release(row.owner or "me")
        await journal.discard(runs)
        await begin(journal, *runs)

    async def owners() -> set[str]:
        return {row.owner for row in await journal.rows()}

    async def released(_: object = None) -> None:
        same("all were released or none", len(await owners()), 1)
        await as_before()

    async def discarded(_: object = None) -> None:
        same("all were forgotten or none", len(await journal.rows()) in (0, 3), True)
        await as_before()
        await journal.release("me")

    async def claimed(_: object = None) -> None:
        await journal.release("they")
        await journal.release("me")
        got = await journal.claim("they", "flow", LONG)
        same("what a cancelled claim has taken can be released", [row.run_id for row in got], runs)
        await journal.release("they")

    await as_before()
    await _both_ways(lambda: journal.release("me"), released)
    await _both_ways(lambda: journal.renew("me", LONG), released)
    await _both_ways(lambda: journal.claim("they", "flow", LONG), claimed)
    await as_before()
    await journal.release("me")
    await _both_ways(lambda: journal.discard(runs), discarded)


async def a_cancelled_reader_changes_nothing(place: Place) -> None:
    """To read, to give back space, to open and to close may be cancelled, and nothing is lost."""
    journal = place.journal
    await begin(journal, "a", status="done")
    await journal.post("a", "key", b"1")

    async def still(_: object = None) -> None:
        same("the run is as it was", await kept(journal, "a"), ("done", "", 1))

    calls: tuple[Callable[[], Coroutine[Any, Any, object]], ...] = (
        lambda: journal.read("a"),
        lambda: journal.row("a"),
        journal.rows,
        lambda: journal.posts(["a"]),
        journal.size,
        journal.shrink,
    )
    for call in calls:
        await _both_ways(call, still)
    await cancel_at_every_checkpoint(lambda: _opened(journal), still)
    await still()


async def _opened(journal: Journal) -> None:
    await journal.open()
    await journal.close()  # if cancelled, it is closed all the same


async def _hurried(journal: Journal, run_id: str) -> None:
    with anyio.move_on_after(0.0005):
        await begin(journal, run_id)


async def _both_ways(
    call: Callable[[], Coroutine[Any, Any, object]], check: Callable[[object], Awaitable[None]]
) -> None:
    await cancel_at_every_checkpoint(call, check)
    await _at_any_moment(call, check)


async def _at_any_moment(
    call: Callable[[], Awaitable[object]], check: Callable[[object], Awaitable[None]]
) -> None:
    """Cancel a call after some time, and check."""
    for moment in MOMENTS:
        with anyio.move_on_after(moment):
            await call()
        await check(None)


PROMISES = (
    a_cancelled_append_is_whole,
    a_cancelled_post_is_whole,
    what_else_is_cancelled_is_whole,
    a_cancelled_reader_changes_nothing,
)
