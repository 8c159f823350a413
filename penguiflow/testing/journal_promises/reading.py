"""Reading: what `Journal.read`, `Journal.row` and `Journal.rows` promise."""

from __future__ import annotations

from penguiflow.journal import Journal, KeptStatus, RunRow

from .saying import LONG, Place, begin, change, records, same, seqs

STATUSES: tuple[KeptStatus, ...] = ("running", "interrupted", "done", "failed", "cancelled", "expired")


async def records_are_read_in_parts(place: Place) -> None:
    """Records are read from behind a number on, in order, at most so many; none where there is no run."""
    journal = place.journal
    await begin(journal, "a", "b")
    await journal.append("me", [*records("b", 2), *records("a", 2, 9), *records("b", 3)])
    for after, limit, promised in (
        (0, None, list(range(1, 11))),
        (0, 3, [1, 2, 3]),
        (3, 3, [4, 5, 6]),
        (8, 3, [9, 10]),
        (10, 3, []),
        (99, None, []),
        (0, 0, []),
    ):
        found = [record.seq for record in await journal.read("a", after, limit)]
        same(f"read(run, after={after}, limit={limit})", found, promised)
    same("the records of another run", await seqs(journal, "b"), [1, 2, 3])
    same("a run that is not there has no records", await journal.read("c"), [])
    same("and no row", await journal.row("c"), None)


async def rows_are_in_order(place: Place) -> None:
    """Rows are by `created` and then by id, the latest first or the oldest first, also page by page."""
    journal = place.journal
    await begin(journal, "one")
    many = [f"{number * 7 % 25:02}" for number in range(25)]  # of one append: their `created` may be the same
    await journal.append("me", [r for run in many for r in records(run)], [change(run) for run in many], LONG)
    await begin(journal, "two")
    rows = await journal.rows()
    same("all runs have rows", sorted(row.run_id for row in rows), sorted(["one", "two", *many]))
    same("the latest come first", rows, sorted(rows, key=_place, reverse=True))
    same(
        "a run that began before has an earlier `created`", (rows[0].run_id, rows[-1].run_id), ("two", "one")
    )
    same("the oldest first", await journal.rows(oldest_first=True), rows[::-1])
    same("at most so many", await journal.rows(limit=4), rows[:4])
    same("none at all", await journal.rows(limit=0), [])
    for size in (1, 4, 9):
        same(f"pages of {size}", await _paged(journal, size, False), rows)
        same(f"pages of {size}, the oldest first", await _paged(journal, size, True), rows[::-1])
    same("the row of one run is the same", await journal.row("two"), rows[0])


async def rows_are_chosen(place: Place) -> None:
    """Only rows of a flow, or with one of some statuses, or both, are given when they are asked for."""
    journal = place.journal
    for name in ("x", "y"):
        for status in STATUSES:
            await begin(journal, f"{name} {status} 1", f"{name} {status} 2", flow=name, status=status)
    rows = await journal.rows(limit=99)
    asked_flows: tuple[str | None, ...] = ("x", "y", "z", None)
    for flow in asked_flows:
        for asked in ((), ("done",), ("running", "failed"), STATUSES, ("nonsense",), ("expired", "nonsense")):
            promised = [
                row for row in rows if flow in (None, row.flow) and (not asked or row.status in asked)
            ]
            said = f"rows(flow={flow!r}, status={asked})"
            same(said, await journal.rows(flow=flow, status=asked), promised)
            same(f"{said}, in a set", await journal.rows(flow=flow, status=set(asked)), promised)
            old = await journal.rows(flow=flow, status=asked, oldest_first=True, limit=3)
            same(f"{said}, the three oldest", old, promised[::-1][:3])
            if promised:
                behind = await journal.rows(flow=flow, status=asked, before=promised[0])
                same(f"{said} behind the first", behind, promised[1:])


def _place(row: RunRow) -> tuple[float, str]:
    return row.created, row.run_id


async def _paged(journal: Journal, size: int, oldest_first: bool) -> list[RunRow]:
    """Read all rows page by page."""
    found: list[RunRow] = []
    while True:
        before = found[-1] if found else None
        page = await journal.rows(limit=size, before=before, oldest_first=oldest_first)
        if not page or len(found) > 1000:
            return found
        found += page


PROMISES = (records_are_read_in_parts, rows_are_in_order, rows_are_chosen)
