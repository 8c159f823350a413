"""Forgetting: what `Journal.prune`, `Journal.discard`, `Journal.size` and `Journal.shrink` promise."""

from __future__ import annotations

from penguiflow.errors import JournalError

from .leasing import until_free
from .saying import SHORT, Place, begin, change, kept, records, refused, same, seqs, taken


async def records_are_pruned(place: Place) -> None:
    """Single records of a run that has ended are forgotten, and the others keep their numbers."""
    journal = place.journal
    await begin(journal, "a", "b")
    await journal.append("me", [*records("a", 2, 8, b"123"), *records("b", 2, 3)])
    early = journal.prune("a", [2])
    await refused("to prune a run that has not ended", JournalError, early)
    same("all of it is there", await seqs(journal, "a"), list(range(1, 10)))
    await journal.append("me", records("a", 10), [change("a", "done")])
    await journal.prune("a", [2, 3, 5, 99, 3])
    same("the records that are left", await seqs(journal, "a"), [1, 4, 6, 7, 8, 9, 10])
    same("read in parts", [r.seq for r in await journal.read("a", 1, 2)], [4, 6])
    row = await journal.row("a")
    same("the row counts what is left", row and (row.records, row.size_bytes), (7, 4 + 5 * 3 + 4))
    await journal.prune("a", [2, 3])
    await journal.prune("a", [])
    await journal.prune("nothing", [1])
    same("a second time nothing happens", await journal.row("a"), row)
    same("other runs are as they were", await seqs(journal, "b"), [1, 2, 3, 4])
    await taken("their numbers are not free for others", {"a"}, journal.append("me", records("a", 2)))


async def runs_are_discarded(place: Place) -> None:
    """Runs are forgotten with all that belongs to them, but not those that somebody owns."""
    journal = place.journal
    await begin(journal, "over", "stays", status="done")
    await begin(journal, "held", "free", "waits")
    await journal.append("me", records("waits", 2), [change("waits", "interrupted")])
    await begin(journal, "late", lease=SHORT)
    await journal.post("over", "key", b"1")
    await journal.release("me", ["free"])
    await until_free(journal, "late")
    asked = ["over", "held", "free", "waits", "late", "nothing", "over"]
    same("how many were forgotten", await journal.discard(asked), 4)
    same("those that are left", {row.run_id for row in await journal.rows()}, {"stays", "held"})
    same(
        "what somebody owns is whole",
        (await kept(journal, "held"), await seqs(journal, "held")),
        (("running", "me", 1), [1]),
    )
    same("records are gone", (await journal.row("over"), await seqs(journal, "over")), (None, []))
    same("what was left is gone", await journal.posts(["over"]), {})
    same("a second time there are none", await journal.discard(asked), 0)
    same("none are named", await journal.discard([]), 0)
    await taken("an append to a run that was forgotten", {"late"}, journal.append("me", records("late", 2)))
    await begin(journal, "over")
    same("an id that was forgotten is new again", await seqs(journal, "over"), [1])
    same("and nothing is left for it", await journal.posts(["over"]), {})


async def space_is_given_back(place: Place) -> None:
    """The store tells how many runs there are and what they take up; to give back space loses nothing."""
    journal = place.journal
    same("an empty store has no runs", (await journal.size())[0], 0)
    big = bytes(range(256)) * 400
    for number in range(20):
        run_id = f"{number}"
        await journal.append("me", records(run_id, data=big), [change(run_id, "done")])
    runs, size_bytes = await journal.size()
    same("how many runs there are", runs, 20)
    same("they take up some space", size_bytes > 10_000, True)
    same("how many were forgotten", await journal.discard([f"{number}" for number in range(19)]), 19)
    await journal.shrink()
    runs, shrunk = await journal.size()
    same("how many runs are left", runs, 1)
    same("the space does not grow by giving some back", shrunk <= size_bytes + 2**20, True)
    same("what is left is whole", [r.data == big for r in await journal.read("19")], [True])


PROMISES = (records_are_pruned, runs_are_discarded, space_is_given_back)
