"""Appending: what `Journal.append` promises."""

from __future__ import annotations

import anyio

from penguiflow.errors import JournalError
from penguiflow.journal import Record, RunTaken

from .saying import LONG, Place, begin, change, kept, records, refused, same, seqs, taken


async def what_was_appended_is_there(place: Place) -> None:
    """Records are given back as they were appended, in order, and the row tells of them."""
    journal = place.journal
    first = [Record("a", 1, "begin", b"\x00\xff"), Record("a", 2, "step", b""), Record("b", 1, "begin", b"b")]
    await journal.append("me", first, [change("a"), change("b", flow="other")], LONG)
    await journal.append("me", [Record("a", 3, "step", b"123")])
    found = await journal.read("a")
    same("the records of a run", found, [*first[:2], Record("a", 3, "step", b"123")])
    same("the records of another run of the same append", await journal.read("b"), first[2:])
    row = await journal.row("a")
    same("there is a row of the run", row is None, False)
    assert row is not None
    told = (row.run_id, row.flow, row.status, row.records, row.size_bytes, row.owner)
    same("the row of the run", told, ("a", "flow", "running", 3, 5, "me"))
    same("a run is not written before it is made", row.updated >= row.created, True)


async def it_is_all_or_nothing(place: Place) -> None:
    """Where a run is taken, nothing is written of any run."""
    journal = place.journal
    await begin(journal, "mine", "also mine")
    await begin(journal, "theirs", owner="they")
    both = [*records("mine", 2, 3), *records("theirs", 2)]
    await taken("an append with a run of somebody else", {"theirs"}, journal.append("me", both))
    same("of the other run nothing was written", await seqs(journal, "mine"), [1])
    late = [*records("new"), *records("mine", 2), *records("theirs", 2)]
    await taken(
        "an append with a run of somebody else", {"theirs"}, journal.append("me", late, [change("new")])
    )
    same("a new run was not made", await journal.row("new"), None)
    same("a new run has no records", await journal.read("new"), [])
    ends = [change("mine", "done"), change("theirs", "done")]
    await taken("a change of a run of somebody else", {"theirs"}, journal.append("me", [], ends))
    same("the other run was not changed", await kept(journal, "mine"), ("running", "me", 1))
    two = [*records("theirs", 2), *records("gone", 7), *records("also mine", 2)]
    await taken("an append to runs that are taken or gone", {"theirs", "gone"}, journal.append("me", two))
    same("of the other run nothing was written", await seqs(journal, "also mine"), [1])


async def a_number_is_used_once(place: Place) -> None:
    """A number that is taken, or the id of a run that is there, is `RunTaken`."""
    journal = place.journal
    await begin(journal, "a")
    await journal.append("me", records("a", 2, 2))
    for first in (1, 2, 3):
        other = records("a", first, 4 - first + 1, b"other")
        await taken("a number that is taken", {"a"}, journal.append("me", other))
    again = journal.append("me", records("a", data=b"other"), [change("a")])
    await taken("an id that is in use, for the same owner", {"a"}, again)
    again = journal.append("they", records("a", data=b"other"), [change("a")])
    await taken("an id that is in use, for another owner", {"a"}, again)
    same("the records stay as they were", [r.data for r in await journal.read("a")], [b"data"] * 3)
    same("the run stays as it was", await kept(journal, "a"), ("running", "me", 3))


async def numbers_have_no_gap(place: Place) -> None:
    """The records of a run are numbered from 1 without a gap; else it is refused, and nothing is written."""
    journal = place.journal
    await begin(journal, "a")
    gap = "a number that leaves a gap"
    await refused(gap, JournalError, journal.append("me", records("a", 3)))
    await refused(gap, JournalError, journal.append("me", [*records("a", 2), *records("a", 4)]))
    await refused(
        "numbers out of order", JournalError, journal.append("me", [*records("a", 3), *records("a", 2)])
    )
    await refused(
        "numbers that do not begin with 1", JournalError, journal.append("me", records("b", 2), [change("b")])
    )
    nameless = [*records("a", 2), *records("b")]
    await refused(
        "a new run without a change that names its flow", JournalError, journal.append("me", nameless)
    )
    same("nothing was written of a run that was there", await kept(journal, "a"), ("running", "me", 1))
    same("nothing was written of a run that was not", await journal.row("b"), None)
    await journal.append("me", records("a", 2))
    same("the next number is taken as before", await seqs(journal, "a"), [1, 2])


async def a_run_that_does_not_go_on_has_no_owner(place: Place) -> None:
    """A run that is not running any more loses its owner, who can't write to it from then on."""
    journal = place.journal
    for status in ("interrupted", "done", "failed", "cancelled", "expired"):
        await begin(journal, status)
        await journal.append("me", records(status, 2), [change(status, status)])
        same(f"the run is {status}, and nobody's", await kept(journal, status), (status, "", 2))
        await taken(
            f"an append to a run that is {status}", {status}, journal.append("me", records(status, 3))
        )
        await begin(journal, f"at once {status}", status=status)
        same(
            f"a run can be {status} from the beginning",
            await kept(journal, f"at once {status}"),
            (status, "", 1),
        )
    await begin(journal, "alone")
    await journal.append("me", [], [change("alone", "done")])
    same("a change needs no records", await kept(journal, "alone"), ("done", "", 1))
    await journal.append("me", [], [])
    same("an empty append is taken", await kept(journal, "alone"), ("done", "", 1))


async def many_at_once_do_not_hurt_each_other(place: Place) -> None:
    """Of many appends at the same time each is written or refused for itself."""
    journal = place.journal
    await begin(journal, "theirs", owner="they")
    refusals: list[str] = []

    async def one(number: int) -> None:
        run_id = f"{number:03}"
        await begin(journal, run_id)
        bad = records("theirs", 2) if number % 7 == 3 else []
        try:
            await journal.append("me", [*records(run_id, 2, 2), *bad])
        except RunTaken:
            refusals.append(run_id)

    async with anyio.create_task_group() as group:
        for number in range(200):
            group.start_soon(one, number)
    bad = {f"{number:03}" for number in range(200) if number % 7 == 3}
    same("those that meet a run of somebody else are refused", set(refusals), bad)
    found = {row.run_id: row.records for row in await journal.rows(limit=300)}
    promised = {f"{number:03}": 1 if f"{number:03}" in bad else 3 for number in range(200)}
    same("all others are written in full", found, {**promised, "theirs": 1})
    same("and nothing of those that were refused", await seqs(journal, "theirs"), [1])


async def of_many_one_gets_a_number(place: Place) -> None:
    """Of several who append the same number at the same time, or make the same run, one succeeds."""
    journal = place.journal
    for first, run_id in ((1, "new"), (2, "new")):
        won: list[bytes] = []

        async def one(number: int, first: int = first, run_id: str = run_id, won: list[bytes] = won) -> None:
            data = b"%d" % number
            try:
                changes = [change(run_id)] if first == 1 else []
                await journal.append("me", records(run_id, first, data=data), changes)
            except RunTaken:
                return
            won.append(data)

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(one, number)
        same(f"of 20 who append record {first} at once, one succeeds", len(won), 1)
        same(
            "its record is the one that is kept", [r.data for r in await journal.read(run_id, first - 1)], won
        )


async def what_was_appended_outlives_the_object(place: Place) -> None:
    """What was appended stays when the store is closed, and `open` counts how often it was called."""
    journal = place.journal
    await journal.open()
    await begin(journal, "a", "b")
    await journal.close()
    await journal.append("me", records("a", 2))
    if place.reopen is None:
        return
    await journal.post("a", "key", b"left")
    await journal.append("me", [], [change("b", "done")])
    before = await journal.rows()
    other = place.reopen(journal)
    await other.open()
    try:
        same("another object sees what was appended", await other.rows(), before)
        same("and its records", await other.read("a"), await journal.read("a"))
        await other.append("me", records("a", 3))
        same("each sees at once what the other has written", await seqs(journal, "a"), [1, 2, 3])
    finally:
        await other.close()
    await journal.close()
    again = place.reopen(journal)
    await again.open()
    try:
        same("it is there after all were closed", await seqs(again, "a"), [1, 2, 3])
        same("what was left for a run, too", await again.posts(["a"]), {"a": {"key": b"left"}})
        same("and status and owner", await kept(again, "b"), ("done", "", 1))
    finally:
        await again.close()
        await journal.open()  # whoever has opened it closes it


PROMISES = (
    what_was_appended_is_there,
    it_is_all_or_nothing,
    a_number_is_used_once,
    numbers_have_no_gap,
    a_run_that_does_not_go_on_has_no_owner,
    many_at_once_do_not_hurt_each_other,
    of_many_one_gets_a_number,
    what_was_appended_outlives_the_object,
)
