"""Leaving: what `Journal.post` and `Journal.posts` promise."""

from __future__ import annotations

import anyio

from penguiflow.errors import JournalError

from .saying import LONG, Place, begin, kept, refused, same


async def a_key_is_used_once(place: Place) -> None:
    """Something is left for a run under a key once, whoever owns it; the first stays."""
    journal = place.journal
    await begin(journal, "a", "b", "c")
    same("the first of a key", await journal.post("a", "key", b"1"), True)
    same("the second of a key", await journal.post("a", "key", b"2"), False)
    same("the first of another key", await journal.post("a", "other", b""), True)
    same("the same key for another run", await journal.post("b", "key", b"3"), True)
    promised = {"a": {"key": b"1", "other": b""}, "b": {"key": b"3"}}
    same("what was left", await journal.posts(["a", "b", "c", "nothing"]), promised)
    same("only of those that are asked for", await journal.posts(["b"]), {"b": {"key": b"3"}})
    same("of none", await journal.posts([]), {})
    same("the run goes on, and is its owner's", await kept(journal, "a"), ("running", "me", 1))
    await refused("a post for a run that is not there", JournalError, journal.post("nothing", "key", b""))
    same("nothing was left", await journal.posts(["nothing"]), {})


async def of_many_one_leaves_it(place: Place) -> None:
    """Of several who leave something under a key at the same time, one succeeds."""
    journal = place.journal
    await begin(journal, "a", status="interrupted")
    won: list[bytes] = []

    async def one(data: bytes) -> None:
        if await journal.post("a", "key", data):
            won.append(data)

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(one, b"%d" % number)
    same("of 20 at once, one is told that it was the first", len(won), 1)
    same("what it has left is what is kept", [*(await journal.posts(["a"]))["a"].values()], won)


async def what_waits_goes_on(place: Place) -> None:
    """An interrupted run for which something is left is running, and can be claimed; an ended one is not."""
    journal = place.journal
    await begin(journal, "held by me")
    await begin(journal, "asleep", status="interrupted")
    await begin(journal, "over", status="done")
    same("nothing to claim yet", await journal.claim("they", "flow", LONG), [])
    await journal.post("asleep", "key", b"1")
    same("it is running, and nobody's", await kept(journal, "asleep"), ("running", "", 1))
    same("it can be claimed", [row.run_id for row in await journal.claim("they", "flow", LONG)], ["asleep"])
    await journal.post("over", "key", b"1")
    same("a run that has ended stays so", await kept(journal, "over"), ("done", "", 1))
    await begin(journal, "held", status="interrupted")
    await journal.claim("they", "flow", LONG, run_id="held")
    await journal.post("held", "key", b"1")
    same(
        "a run that was claimed while it waited is its owner's",
        await kept(journal, "held"),
        ("running", "they", 1),
    )
    await begin(journal, "twice", status="interrupted")
    await journal.post("twice", "first", b"1")
    await journal.claim("they", "flow", LONG)
    await journal.release("they", ["twice"])
    same("a key that was used wakes nobody", await journal.post("twice", "first", b"2"), False)


PROMISES = (a_key_is_used_once, of_many_one_leaves_it, what_waits_goes_on)
