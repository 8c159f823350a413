"""Naming: which names, and which data, a store must keep as they are."""

from __future__ import annotations

from penguiflow.errors import JournalError
from penguiflow.journal import Record

from .saying import LONG, Place, begin, change, records, refused, same

HOSTILE = (
    "'; DROP TABLE runs; --",
    '"quoted"',
    "%s %b {s} ? :1 $1",
    "back\\slash",
    "line\nbreak\ttab",
    " blank ",
    "ключ 🐧 é é",
    "../../etc/passwd",
    "a" * 900,
    "NULL",
    "",
)
"""Ids, keys, names of flows and kinds that are kept like any other."""

IMPOSSIBLE = ("a NUL \0 character", "a lone \ud800 surrogate", "a" * 1001, "🐧" * 251)
"""Not every database can keep these, so none does."""


async def names_are_kept_as_they_are(place: Place) -> None:
    """A name of up to 1,000 bytes of UTF-8 is kept as it is, whatever it says."""
    journal = place.journal
    for name in HOSTILE:
        await journal.append("me", [Record(name, 1, name, b"1")], [change(name, flow=name)], LONG)
        same(f"a run with the id {name[:40]!r}", await journal.read(name), [Record(name, 1, name, b"1")])
        same("something is left under such a key", await journal.post(name, name, b"2"), True)
        same("and found", await journal.posts([name]), {name: {name: b"2"}})
        same("a flow of such a name is found", [row.run_id for row in await journal.rows(flow=name)], [name])
        await journal.release("me", [name])
        claimed = await journal.claim(f"o{name}"[:900], name, LONG)
        same("and its run is claimed", [row.run_id for row in claimed], [name])
    same("they are all there", {row.run_id for row in await journal.rows()}, set(HOSTILE))
    same("an owner of such a name", len(await journal.renew(f"o{HOSTILE[0]}", LONG)), 1)


async def names_that_cannot_be_kept_are_refused(place: Place) -> None:
    """A name with a NUL character, a lone surrogate, or over 1,000 bytes is refused, not kept."""
    journal = place.journal
    await begin(journal, "a")
    for name in IMPOSSIBLE:
        said = f"the name {name[:40]!r}"
        for record, its_change in (
            (Record(name, 1, "step", b""), change(name)),
            (Record("b", 1, name, b""), change("b")),
            (Record("b", 1, "step", b""), change("b", flow=name)),
        ):
            await refused(said, JournalError, journal.append("me", [record], [its_change]))
        await refused(said, JournalError, journal.append(name, records("b"), [change("b")]))
        await refused(said, JournalError, journal.post("a", name, b""))
        await refused(said, JournalError, journal.post(name, "key", b""))
        same(f"{said} is no run", (await journal.row(name), await journal.read(name)), (None, []))
        same("nothing was left for it", await journal.posts([name, "a"]), {})
        same("no flow is called so", await journal.rows(flow=name), [])
        same("it is discarded as any run that is not there", await journal.discard([name]), 0)
    await refused("an owner without a name", JournalError, journal.append("", records("b"), [change("b")]))
    same("nothing was written", [row.run_id for row in await journal.rows()], ["a"])


async def data_is_kept_as_it_is(place: Place) -> None:
    """Data is bytes: none, all values, five megabytes, many in one append."""
    journal = place.journal
    big = bytes(range(256)) * 20_480
    data = [b"", bytes(range(256)), b"\0", "🐧".encode(), big, b"\\x00", b"NULL"]
    many = [Record("a", seq, "step", one) for seq, one in enumerate(data, 1)]
    await journal.append("me", many, [change("a")], LONG)
    same("the records", await journal.read("a") == many, True)
    await journal.post("a", "key", big)
    same("what was left", await journal.posts(["a"]) == {"a": {"key": big}}, True)
    row = await journal.row("a")
    same("the size of the records", row and row.size_bytes, sum(len(one) for one in data))
    small = [Record("b", seq, "step", b"%d" % seq) for seq in range(1, 2001)]
    await journal.append("me", small, [change("b")], LONG)
    same("2,000 records of one append, in order", await journal.read("b") == small, True)


PROMISES = (names_are_kept_as_they_are, names_that_cannot_be_kept_are_refused, data_is_kept_as_it_is)
