"""What makes no sense as an option of a journal, or of a flow that has one, is refused at once, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from penguiflow import Delivery, Flow, GraphError, Resume, node
from penguiflow.journals import MemoryJournal, PostgresJournal, Retention, SQLiteJournal

DSN = "postgresql://nobody@localhost/nothing"


async def shout(text: str) -> str:
    """Make it loud."""
    return text.upper()


flow = Flow("loud", node(shout))


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: flow.open(journal="runs.db"), TypeError, r"open\(journal='runs.db'\): a journal is needed"),
        (lambda: flow.open(journal=MemoryJournal), TypeError, "a journal is needed"),
        (lambda: flow.open(recover="no"), TypeError, r"open\(recover='no'\): it is True or False"),
        (lambda: flow.open(migrate=5), TypeError, r"open\(migrate=5\): a function"),
        (lambda: MemoryJournal(retention=5), TypeError, r"MemoryJournal\(retention=5\): a Retention"),
        (lambda: SQLiteJournal("a.db", retention=None), TypeError, "a Retention is needed"),
        (lambda: SQLiteJournal("a.db", busy_timeout=-1), ValueError, r"busy_timeout=-1\): .*not less than 0"),
        (lambda: SQLiteJournal("a.db", busy_timeout="1"), TypeError, "a number of seconds"),
        (lambda: SQLiteJournal("a.db", busy_timeout=float("nan")), ValueError, "a number of seconds"),
        (lambda: SQLiteJournal(None), TypeError, r"SQLiteJournal\(None\): the path of a file"),
        (lambda: SQLiteJournal(b"a.db"), TypeError, "the path of a file"),
        (lambda: SQLiteJournal("a\0b"), ValueError, "no null character"),
        (lambda: PostgresJournal(None), TypeError, "a connection string"),
        (lambda: PostgresJournal(DSN, patience=True), TypeError, r"patience=True"),
        (
            lambda: PostgresJournal(DSN, schema="pg_mine"),
            ValueError,
            "neither with a digit nor with pg_",
        ),
        (lambda: PostgresJournal(DSN, schema=None), ValueError, "a name of at most 63 letters"),
        (lambda: Retention(max_age="1 day"), TypeError, "a number of seconds"),
        (lambda: Retention(max_runs=1.5), TypeError, "a whole number"),
        (lambda: Retention(max_bytes=True), TypeError, "a whole number"),
        (lambda: Retention(details=-1), ValueError, "0 or more"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(
    make: Callable[[], Any], error: type[Exception], said: str
) -> None:
    """With what was given, and what is needed."""
    with pytest.raises(error, match=said):
        make()


@pytest.mark.parametrize(
    "options", [{"delivery": Delivery.AT_MOST_ONCE}, {"resume": Resume.CONTINUE}], ids=["delivery", "resume"]
)
def test_a_node_out_of_the_journal_promises_nothing_that_needs_it(options: dict[str, Any]) -> None:
    """``durable=False`` and a promise beyond a crash contradict each other."""
    with pytest.raises(GraphError, match=r"node 'shout': .*leave out durable=False"):
        node(shout, durable=False, **options)


@pytest.mark.parametrize("position", [5, b"1.0", "", "1", "x.y"])
async def test_a_position_that_is_none_is_refused(position: Any) -> None:
    """It is given as it was got."""
    async with flow.open(journal=MemoryJournal()) as runtime:
        run = await runtime.start("a", run_id="one")
        assert await run.result() == "A"
        with pytest.raises(ValueError, match="is no position: give the `position` of an item"):
            await runtime.attach("one", after=position)
        with pytest.raises(ValueError, match=r"'99\.0' is no position in run one"):
            await runtime.attach("one", after="99.0")
