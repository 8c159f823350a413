"""What users write in the transaction of their records is written with them, or neither is, and once."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

from penguiflow.errors import JournalError
from penguiflow.journal import Record, RunChange, RunTaken, Statement, StatementFailed
from penguiflow.journals import MemoryJournal, PostgresJournal, SQLiteJournal

from .proxy import Proxy
from .stores import SERVER, Schemas, asked, need_server

Sql = SQLiteJournal | PostgresJournal


@dataclass
class Shop:
    """A journal beside a table of orders.

    Args:
        journal: the journal.
        insert: the statement that enters an order, with one placeholder.
        table: the name of the table.
        ask: asks the database something, past the journal.
    """

    journal: Sql
    insert: str
    table: str
    ask: Callable[[str], list[tuple[Any, ...]]]

    def orders(self) -> list[str]:
        """Give what was ordered."""
        return [item for (item,) in self.ask(f"SELECT item FROM {self.table} ORDER BY item")]


@pytest.fixture(params=["sqlite", "postgres"])
def shop(request: pytest.FixtureRequest, tmp_path: Path, schemas: Schemas) -> Shop:
    """A journal of each kind with SQL; the table of orders takes each item once."""
    if request.param == "sqlite":
        path = tmp_path / "runs.db"

        def ask(sql: str) -> list[tuple[Any, ...]]:
            connection = sqlite3.connect(path, isolation_level=None)
            try:
                return connection.execute(sql).fetchall()
            finally:
                connection.close()

        anyio.run(make, SQLiteJournal(path))
        made = Shop(SQLiteJournal(path), "INSERT INTO orders VALUES (?)", "orders", ask)
    else:
        need_server()
        schema = schemas.new()
        anyio.run(make, PostgresJournal(SERVER, schema=schema))
        table = f'"{schema}".orders'
        made = Shop(PostgresJournal(SERVER, schema=schema), f"INSERT INTO {table} VALUES (%s)", table, asked)
    made.ask(f"CREATE TABLE {made.table} (item text PRIMARY KEY)")
    return made


async def make(journal: Sql) -> None:
    """Make the tables of a journal."""
    await journal.open()
    await journal.close()


async def begin(journal: Sql, *run_ids: str, owner: str = "me") -> None:
    records = [Record(run_id, 1, "step", b"") for run_id in run_ids]
    await journal.append(owner, records, [RunChange(run_id, "flow", "running") for run_id in run_ids], 60)


async def order(shop: Shop, run_id: str, seq: int, *items: str, sql: str = "") -> None:
    """Append a record, and enter orders with it."""
    statements = [Statement(run_id, sql or shop.insert, (item,)) for item in items]
    await shop.journal.append_with("me", [Record(run_id, seq, "step", b"")], [], 60, statements)


async def count(shop: Shop, run_id: str) -> int:
    """Give how many records a run has."""
    row = await shop.journal.row(run_id)
    return row.records if row is not None else 0


async def test_both_are_written(shop: Shop) -> None:
    await shop.journal.open()
    await begin(shop.journal, "a")
    await order(shop, "a", 2, "fish", "chips")
    assert shop.orders() == ["chips", "fish"]
    assert await count(shop, "a") == 2
    new, change = [Record("b", 1, "step", b"")], [RunChange("b", "flow", "done")]
    await shop.journal.append_with("me", new, change, 60, [Statement("b", shop.insert, ("tea",))])
    assert shop.orders() == ["chips", "fish", "tea"]
    assert await count(shop, "b") == 1
    await shop.journal.append_with("me", [Record("a", 3, "step", b"")], [], 60, [])
    assert await count(shop, "a") == 3
    await shop.journal.close()


async def test_a_statement_that_fails_takes_the_records_with_it(shop: Shop) -> None:
    await shop.journal.open()
    await begin(shop.journal, "a")
    await order(shop, "a", 2, "fish")
    with pytest.raises(StatementFailed, match="'a' failed") as told:
        await order(shop, "a", 3, "chips", "fish")
    assert "INSERT INTO" in str(told.value)
    assert told.value.__cause__ is not None
    assert shop.orders() == ["fish"]
    assert await count(shop, "a") == 2
    for wrong in ("INSERT INTO nowhere VALUES (1)", "nonsense", " ", "-- nothing"):
        with pytest.raises(StatementFailed):
            await order(shop, "a", 3, "chips", sql=wrong)
    with pytest.raises(StatementFailed):  # a parameter too many, and one that no database knows
        await shop.journal.append_with(
            "me", [Record("a", 3, "step", b"")], [], 60, [Statement("a", shop.insert, ("x", "y"))]
        )
    with pytest.raises(StatementFailed):
        await shop.journal.append_with(
            "me", [Record("a", 3, "step", b"")], [], 60, [Statement("a", shop.insert, (object(),))]
        )
    assert await count(shop, "a") == 2
    await order(shop, "a", 3, "chips")
    assert shop.orders() == ["chips", "fish"]
    await shop.journal.close()


async def test_where_the_run_is_taken_nothing_is_executed(shop: Shop) -> None:
    await shop.journal.open()
    await begin(shop.journal, "mine")
    await begin(shop.journal, "theirs", owner="they")
    for run_id, seq in (("theirs", 2), ("mine", 1), ("gone", 2)):
        with pytest.raises(RunTaken):
            await order(shop, run_id, seq, "fish")
    with pytest.raises(JournalError, match="after that"):
        await order(shop, "mine", 3, "fish")
    with pytest.raises(JournalError, match="without records of that run"):
        await shop.journal.append_with(
            "me", [Record("mine", 2, "step", b"")], [], 60, [Statement("theirs", shop.insert, ("fish",))]
        )
    assert shop.orders() == []
    assert await count(shop, "mine") == 1
    await shop.journal.close()


@pytest.mark.parametrize(
    "sql",
    [
        "COMMIT",
        "rollback",
        " -- so\n /* it */ END",
        "BEGIN",
        "SAVEPOINT x",
        "RELEASE one",
        "ABORT",
        "start transaction",
    ],
)
async def test_a_statement_does_not_end_the_transaction(shop: Shop, sql: str) -> None:
    await shop.journal.open()
    await begin(shop.journal, "a")
    statements = [Statement("a", shop.insert, ("fish",)), Statement("a", sql)]
    with pytest.raises(StatementFailed, match="begins or ends a transaction"):
        await shop.journal.append_with("me", [Record("a", 2, "step", b"")], [], 60, statements)
    assert shop.orders() == []
    assert await count(shop, "a") == 1
    await shop.journal.close()


async def test_a_statement_is_one(shop: Shop) -> None:
    """Several in one text would be a way around."""
    await shop.journal.open()
    await begin(shop.journal, "a")
    two = f"INSERT INTO {shop.table} VALUES ('fish'); COMMIT"
    with pytest.raises(StatementFailed):
        await shop.journal.append_with("me", [Record("a", 2, "step", b"")], [], 60, [Statement("a", two)])
    assert shop.orders() == []
    assert await count(shop, "a") == 1
    percent = f"INSERT INTO {shop.table} VALUES ('100 %')"
    await shop.journal.append_with("me", [Record("a", 2, "step", b"")], [], 60, [Statement("a", percent)])
    look = f"SELECT * FROM {shop.table}"
    await shop.journal.append_with("me", [Record("a", 3, "step", b"")], [], 60, [Statement("a", look)])
    assert shop.orders() == ["100 %"]
    await shop.journal.close()


async def test_of_many_at_once_those_fail_that_fail(shop: Shop) -> None:
    """Appends with and without statements, in one transaction or in several, don't hurt each other."""
    await shop.journal.open()
    runs = [f"{number:02}" for number in range(60)]
    await begin(shop.journal, *runs)
    await begin(shop.journal, "first")
    await order(shop, "first", 2, "00")
    failed: list[str] = []

    async def one(number: int) -> None:
        run_id, items = runs[number], [["00"], [f"{number:02}"], []][number % 3]
        try:
            await order(shop, run_id, 2, *items)
            await order(shop, run_id, 3, *(f"{item} again" for item in items))
        except StatementFailed:
            failed.append(run_id)

    async with anyio.create_task_group() as group:
        for number in range(60):
            group.start_soon(one, number)
    assert sorted(failed) == runs[::3]
    ordered = [run for run in runs[1::3] for run in (run, f"{run} again")]
    assert shop.orders() == sorted(["00", *ordered])
    found = {row.run_id: row.records for row in await shop.journal.rows(limit=99) if row.run_id != "first"}
    assert found == {run: 1 if run in failed else 3 for run in runs}
    await shop.journal.close()


def test_a_journal_without_sql_has_none() -> None:
    assert not hasattr(MemoryJournal(), "append_with")


# -- SQLite


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE runs SET owner = 'x'",
        "DELETE FROM records",
        "INSERT INTO posts VALUES (1, 2, 3)",
        "DROP TABLE runs",
        "ALTER TABLE runs RENAME TO r9",
        "ALTER TABLE runs ADD COLUMN q",
        "CREATE INDEX ours ON records (kind)",
        "DROP INDEX runs_by_flow",
        "CREATE TRIGGER ours AFTER INSERT ON runs BEGIN DELETE FROM records; END",
        "CREATE TEMP TRIGGER ours AFTER INSERT ON runs BEGIN DELETE FROM records; END",
        "PRAGMA user_version = 9",
        "ATTACH 'other.db' AS other",
    ],
)
async def test_the_journals_own_tables_are_not_written(tmp_path: Path, sql: str) -> None:
    journal = SQLiteJournal(tmp_path / "runs.db")
    await journal.open()
    await begin(journal, "a")
    with pytest.raises(StatementFailed, match="not authorized"):
        await journal.append_with("me", [Record("a", 2, "step", b"")], [], 60, [Statement("a", sql)])
    await journal.append("me", [Record("a", 2, "step", b"")])
    await journal.close()


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM {}.runs",
        'TRUNCATE "{}" . records',
        "DELETE FROM {}.journal_version",
        "CREATE INDEX ours ON {}.posts (key)",
        "DROP SCHEMA {} CASCADE",
    ],
)
async def test_the_journals_own_tables_in_postgres_are_not_written(schemas: Schemas, sql: str) -> None:
    """A statement that names them is refused, and nothing of its records is written."""
    need_server()
    schema = schemas.new()
    journal = PostgresJournal(SERVER, schema=schema)
    await journal.open()
    try:
        record = Record("a", 1, "begun", b"x")
        with pytest.raises(StatementFailed, match="it is about the journal's own tables"):
            await journal.append_with(
                "me",
                [record],
                [RunChange("a", "f", "running")],
                30.0,
                [Statement("a", sql.format(schema), ())],
            )
        assert await journal.row("a") is None
    finally:
        await journal.close()


async def test_a_conflict_that_rolls_back_hits_only_its_own(tmp_path: Path) -> None:
    """``INSERT OR ROLLBACK`` ends the transaction that others share; they are written in another one."""
    journal, go = SQLiteJournal(tmp_path / "runs.db"), threading.Event()
    await journal.open()
    await begin(journal, "a", "b", "c")
    table = Statement("a", "CREATE TABLE orders (item PRIMARY KEY)")
    fish = Statement("a", "INSERT OR ROLLBACK INTO orders VALUES ('fish')")
    await journal.append_with("me", [Record("a", 2, "step", b"")], [], 60, [table, fish])
    failed: list[str] = []

    async def one(run_id: str, seq: int, *statements: Statement) -> None:
        try:
            await journal.append_with("me", [Record(run_id, seq, "step", b"")], [], 60, statements)
        except StatementFailed:
            failed.append(run_id)

    async with anyio.create_task_group() as group:
        group.start_soon(journal._worker.do, go.wait, 20)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(one, "b", 2)
        group.start_soon(one, "a", 3, fish)
        group.start_soon(one, "c", 2)
        await anyio.wait_all_tasks_blocked()
        go.set()
    assert failed == ["a"]
    assert {row.run_id: row.records for row in await journal.rows()} == {"a": 2, "b": 2, "c": 2}
    await journal.close()


# -- PostgreSQL


async def test_an_answer_that_is_lost_executes_nothing_twice(schema: str) -> None:
    """Whether it was lost before the statement, behind it, or with the end of the transaction."""
    proxy = Proxy()
    journal = PostgresJournal(proxy.dsn, schema=schema)
    await journal.open()
    asked(f'CREATE TABLE "{schema}".counts (n int)')
    asked(f'INSERT INTO "{schema}".counts VALUES (0)')
    more = Statement("a", f'UPDATE "{schema}".counts SET n = n + %s', (1,))
    await begin(journal, "a")
    for seq, word in enumerate((b"BEGIN", b"append", b"counts", b"COMMIT"), 2):
        proxy.cut_answer(word)
        await journal.append_with("me", [Record("a", seq, "step", b"")], [], 60, [more])
        assert proxy.cuts == 0
        assert asked(f'SELECT n FROM "{schema}".counts') == [(seq - 1,)]
    assert [record.seq for record in await journal.read("a")] == [1, 2, 3, 4, 5]
    await journal.close()
    proxy.end()


async def test_a_constraint_that_is_checked_at_the_end(schema: str) -> None:
    """The statement fails, and with it the records."""
    journal = PostgresJournal(SERVER, schema=schema)
    await journal.open()
    asked(f'CREATE TABLE "{schema}".orders (item text UNIQUE DEFERRABLE INITIALLY DEFERRED)')
    await begin(journal, "a")
    twice = [Statement("a", f'INSERT INTO "{schema}".orders VALUES (%s)', ("fish",))] * 2
    with pytest.raises(StatementFailed, match="duplicate key"):
        await journal.append_with("me", [Record("a", 2, "step", b"")], [], 60, twice)
    await journal.append_with("me", [Record("a", 2, "step", b"")], [], 60, twice[:1])
    assert asked(f'SELECT count(*) FROM "{schema}".orders') == [(1,)]
    await journal.close()
