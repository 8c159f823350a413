"""Leasing: what `Journal.claim`, `Journal.renew` and `Journal.release` promise."""

from __future__ import annotations

import anyio

from penguiflow.journal import Journal, RunRow

from .saying import LONG, SHORT, Place, begin, change, kept, records, same, seqs, taken


async def what_is_nobodys_is_claimed(place: Place) -> None:
    """Runs of a flow that are running and nobody's are claimed, the oldest first, at most so many."""
    journal = place.journal
    await begin(journal, "c", "a", "b")
    await begin(journal, "other", flow="other")
    await begin(journal, "done", status="done")
    await begin(journal, "waits", status="interrupted")
    same("runs of a living owner are not given", await journal.claim("they", "flow", LONG), [])
    await journal.release("me")
    first = await journal.claim("they", "flow", LONG, limit=2)
    same("the oldest first, at most two", _ids(first), ["c", "a"])
    told = {(row.owner, row.status, row.records) for row in first}
    same("their rows tell the new owner", told, {("they", "running", 1)})
    same("and so does the store", first, [await journal.row("c"), await journal.row("a")])
    same("what is left", _ids(await journal.claim("they", "flow", LONG)), ["b"])
    same("what is the owner's already is not given again", await journal.claim("they", "flow", LONG), [])
    same("none at all", await journal.claim("they", "other", LONG, limit=0), [])
    same("of another flow", _ids(await journal.claim("they", "other", LONG)), ["other"])
    await taken("an append of the owner before", {"a"}, journal.append("me", records("a", 2)))
    await journal.append("they", records("a", 2))
    same("the new owner goes on", await kept(journal, "a"), ("running", "they", 2))


async def a_run_is_claimed_by_its_id(place: Place) -> None:
    """With an id only that run is claimed, whatever it waits for, unless it has ended or is somebody's."""
    journal = place.journal
    for status in ("interrupted", "done", "failed", "cancelled", "expired"):
        await begin(journal, status, status=status)
    await begin(journal, "free", "also free", "held")
    await journal.release("me", ["free", "also free"])

    async def claimed(run_id: str, flow: str = "flow") -> list[str]:
        return _ids(await journal.claim("they", flow, LONG, run_id=run_id))

    same("a run that is nobody's", await claimed("free"), ["free"])
    same("other runs are left alone", await kept(journal, "also free"), ("running", "", 1))
    same("one that is the owner's already is not given again", await claimed("free"), [])
    same("a run that waits for an answer", await claimed("interrupted"), ["interrupted"])
    row = await journal.row("interrupted")
    same("it has an owner then", row and row.owner, "they")
    await journal.append("they", records("interrupted", 2), [change("interrupted")])
    same("who goes on with it", await kept(journal, "interrupted"), ("running", "they", 2))
    same("a run of a living owner", await claimed("held"), [])
    same("a run of another flow", await claimed("also free", "other"), [])
    same("a run that is not there", await claimed("nothing"), [])
    for status in ("done", "failed", "cancelled", "expired"):
        same(f"a run that is {status}", await claimed(status), [])


async def a_lease_runs_out(place: Place) -> None:
    """A lease that has run out leaves the run to whoever claims it, and the owner before is told so."""
    journal = place.journal
    await begin(journal, "a", "b", lease=SHORT)
    await begin(journal, "c")
    await until_free(journal, "a", "b")
    await journal.append("me", records("a", 2))
    same("until somebody claims it, the owner may write", await seqs(journal, "a"), [1, 2])
    claimed = await journal.claim("they", "flow", SHORT)
    same("those whose lease has run out are claimed", _ids(claimed), ["a", "b"])
    late = journal.append("me", [*records("c", 2), *records("a", 3)])
    await taken("an append of an owner whose run was taken over", {"a"}, late)
    same("nothing of it was written", (await seqs(journal, "a"), await seqs(journal, "c")), ([1, 2], [1]))
    await until_free(journal, "a", "b")
    same("the lease of a claim runs out, too", _ids(await journal.claim("we", "flow", LONG)), ["a", "b"])


async def a_lease_is_renewed(place: Place) -> None:
    """An owner holds on to its runs by renewing, also where the lease has run out, but not to others'."""
    journal = place.journal
    await begin(journal, "a", "b", "lost", lease=SHORT)
    await begin(journal, "theirs", owner="they")
    await begin(journal, "over", status="done")
    await until_free(journal, "a", "b", "lost")
    await journal.claim("they", "flow", LONG, run_id="lost")
    same("the ids of the owner's runs are given", sorted(await journal.renew("me", LONG)), ["a", "b"])
    same("a renewed run is the owner's", await kept(journal, "a"), ("running", "me", 1))
    same("and not to be had for others", await journal.claim("they", "flow", LONG), [])
    same("nobody has nothing to renew", await journal.renew("nobody", LONG), [])
    same("others' runs stay theirs", await kept(journal, "lost"), ("running", "they", 1))
    await journal.renew("me", SHORT)
    await until_free(journal, "a", "b")
    same("a renewed lease runs out, too", _ids(await journal.claim("they", "flow", LONG)), ["a", "b"])


async def a_run_is_released(place: Place) -> None:
    """An owner gives up some runs, or all; others can take them at once, and the owner can't write."""
    journal = place.journal
    await begin(journal, "a", "b", "c")
    await begin(journal, "theirs", owner="they")
    await journal.release("me", ["b", "theirs", "nothing"])
    same("a run that was given up is nobody's", await kept(journal, "b"), ("running", "", 1))
    same("others' runs stay theirs", await kept(journal, "theirs"), ("running", "they", 1))
    same("the rest stays the owner's", await kept(journal, "a"), ("running", "me", 1))
    await taken("an append to a run that was given up", {"b"}, journal.append("me", records("b", 2)))
    await journal.release("me", [])
    same("none are named, none given up", await kept(journal, "a"), ("running", "me", 1))
    await journal.release("me")
    same("all can be had", _ids(await journal.claim("we", "flow", LONG)), ["a", "b", "c"])
    same("others' are not among them", await kept(journal, "theirs"), ("running", "they", 1))


async def one_of_many_gets_a_run(place: Place) -> None:
    """Of several who claim at the same time, one gets a run, also from several objects for one store."""
    journal = place.journal
    runs = [f"{number:02}" for number in range(40)]
    await journal.append("me", [r for run in runs for r in records(run)], [change(run) for run in runs], LONG)
    await journal.release("me")
    other = place.reopen(journal) if place.reopen is not None else journal
    await other.open()
    got: list[str] = []
    alone: list[str] = []

    async def claim(owner: str, through: Journal) -> None:
        while rows := await through.claim(owner, "flow", LONG, limit=3):
            got.extend(_ids(rows))

    async def claim_one(owner: str, through: Journal) -> None:
        alone.extend(_ids(await through.claim(owner, "flow", LONG, run_id="00")))

    try:
        async with anyio.create_task_group() as group:
            for number in range(8):
                group.start_soon(claim, f"owner {number}", (journal, other)[number % 2])
        same("every run is claimed once", sorted(got), runs)
        row = await journal.row("00")
        assert row is not None
        await journal.release(row.owner)
        async with anyio.create_task_group() as group:
            for number in range(8):
                group.start_soon(claim_one, f"another {number}", (journal, other)[number % 2])
        same("a run that is asked for by id is claimed once", alone, ["00"])
    finally:
        with anyio.CancelScope(shield=True):
            await other.close()


async def until_free(journal: Journal, *run_ids: str) -> None:
    """Wait until leases have run out. If cancelled, nothing has changed.

    Raises:
        AssertionError: they don't.
    """
    with anyio.move_on_after(5):
        for run_id in run_ids:
            while (row := await journal.row(run_id)) is not None and row.owner:  # noqa: ASYNC110
                await anyio.sleep(SHORT / 5)
        return
    raise AssertionError(f"a lease of {SHORT} s has not run out after 5 s, of one of these: {run_ids}")


def _ids(rows: list[RunRow]) -> list[str]:
    return [row.run_id for row in rows]


PROMISES = (
    what_is_nobodys_is_claimed,
    a_run_is_claimed_by_its_id,
    a_lease_runs_out,
    a_lease_is_renewed,
    a_run_is_released,
    one_of_many_gets_a_run,
)
