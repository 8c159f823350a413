"""Statements: what users write in the transaction of their records.

Owns the bounds of such a statement. Invariant: it can't end the transaction that it is part of, and an error
of its own is told as one, not as the store's.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Sequence

from penguiflow.errors import JournalError
from penguiflow.journal import Statement, StatementFailed

from .asking import Part

OWN_TABLES = ("runs", "records", "posts")

ON_A_TABLE = (
    sqlite3.SQLITE_ALTER_TABLE,
    sqlite3.SQLITE_CREATE_INDEX,
    sqlite3.SQLITE_CREATE_TRIGGER,
    sqlite3.SQLITE_CREATE_TEMP_TRIGGER,
    sqlite3.SQLITE_DROP_INDEX,
    sqlite3.SQLITE_DROP_TRIGGER,
)
"""What changes how a table works; the table is the second thing that SQLite names."""

_BEFORE = re.compile(r"(?:\s+|--[^\n]*(?:\n|$)|/\*.*?\*/)*", re.DOTALL)
_CONTROL = re.compile(r"(?:begin|start|commit|end|rollback|abort|savepoint|release|prepare)\b", re.IGNORECASE)


def check_statements(store: str, statements: Sequence[Statement], parts: Sequence[Part]) -> None:
    """Refuse statements that can't be part of a transaction, or that nothing tells whose they are.

    Raises:
        StatementFailed: one of them is empty, or begins or ends transactions.
        JournalError: there are no records of its run with it.
    """
    runs = {part.run_id for part in parts}
    for statement in statements:
        if statement.run_id not in runs:
            raise JournalError(
                f"{store}: nothing was written: a statement of the run {statement.run_id!r} comes without "
                f"records of that run, by which it is known whose the run is"
            )
        sql = _BEFORE.sub("", statement.sql, count=1)
        if not sql:
            raise failed(store, statement, "it is empty")
        if _CONTROL.match(sql):
            raise failed(store, statement, "it begins or ends a transaction, and is part of one already")


def failed(store: str, statement: Statement, why: object) -> StatementFailed:
    """Make the error for a statement that failed."""
    sql = " ".join(statement.sql.split())
    shown = sql if len(sql) <= 120 else f"{sql[:120]}…"
    said = " ".join(str(why).split())
    return StatementFailed(
        f"{store}: nothing was written: a statement of the run {statement.run_id!r} failed: {said} ({shown})"
    )


def execute_in_sqlite(
    store: str,
    connection: sqlite3.Connection,
    statements: Sequence[Statement],
    is_store_error: Callable[[Exception], bool],
) -> StatementFailed | None:
    """Execute statements in an SQLite transaction; give the error of the first that failed.

    The tables of the journal can be read, but not written.

    Raises:
        sqlite3.Error: the store failed.
    """
    connection.set_authorizer(_authorize)
    try:
        for statement in statements:
            try:
                connection.execute(statement.sql, statement.parameters).close()
            except (sqlite3.Error, sqlite3.Warning, OverflowError, ValueError, TypeError) as error:
                if is_store_error(error):
                    raise
                told = failed(store, statement, error)
                told.__cause__ = error
                return told
    finally:
        connection.set_authorizer(None)
    return None


def _authorize(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    """Say whether SQLite may do something for a user's statement."""
    if action in (
        sqlite3.SQLITE_TRANSACTION,
        sqlite3.SQLITE_SAVEPOINT,
        sqlite3.SQLITE_ATTACH,
        sqlite3.SQLITE_DETACH,
        sqlite3.SQLITE_PRAGMA,
    ):
        return sqlite3.SQLITE_DENY
    writes = action in (sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE)
    changes = writes or action == sqlite3.SQLITE_DROP_TABLE
    is_ours = (changes and first in OWN_TABLES) or (action in ON_A_TABLE and second in OWN_TABLES)
    return sqlite3.SQLITE_DENY if is_ours else sqlite3.SQLITE_OK
