"""PostgreSQL link: one connection, which is made anew when it was lost.

Owns the only use of psycopg, and what is said of a database that can't be used. Invariant: what is called
over the link is safe to call again (`PostgresRuns` sees to that), so that a lost connection is an error only
where no new one can be had in time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from penguiflow.errors import JournalError
from penguiflow.journal import Statement

from .postgres_schema import migrate
from .statements import failed

if TYPE_CHECKING:
    import psycopg

T = TypeVar("T")

DEFAULTS: tuple[tuple[str, str], ...] = (
    ("connect_timeout", "10"),
    ("tcp_user_timeout", "30000"),
    ("application_name", "penguiflow"),
)
"""What a connection string gets where it does not say otherwise: a dead network is noticed."""

FIRST_WAIT_SECONDS = 0.02
MOST_WAIT_SECONDS = 1.0

TRY_AGAIN = ("40001", "40P01")
"""A conflict with another transaction, or a deadlock: nothing was done."""

COMES_BACK = ("08", "53300", "57P01", "57P02", "57P03")
"""No connection, too many of them, a server that ends, has crashed, or is starting."""


def load_psycopg() -> Any:
    """Give psycopg.

    Raises:
        ImportError: it is not installed; the text names the extra.
    """
    try:
        import psycopg
    except ImportError as missing:
        raise ImportError("PostgresJournal needs the extra: pip install 'penguiflow[postgres]'") from missing
    return psycopg


class ConnectionGone(JournalError):
    """The connection was lost, and no new one could be had in time."""


class Link:
    """A connection to a database.

    Args:
        dsn: how to get there.
        schema: where the tables are.
        patience: for how many seconds to try when the connection was lost.

    Raises:
        ImportError: psycopg is not installed.
        ValueError: the connection string can't be read.
        TypeError: it is no string.
    """

    def __init__(self, dsn: str, schema: str, patience: float) -> None:
        self._psycopg = load_psycopg()
        if not isinstance(dsn, str):
            raise TypeError(f"PostgresJournal({dsn!r}): a connection string is needed")
        try:
            options = self._psycopg.conninfo.conninfo_to_dict(dsn)
        except self._psycopg.ProgrammingError as error:
            raise ValueError(
                f"PostgresJournal: the connection string can't be read ({str(error).strip()}); write one "
                f"such as 'postgresql://user@host:5432/database'"
            ) from None
        host, port, database = (options.get(key) for key in ("host", "port", "dbname"))
        place = f"{host or ''}{f':{port}' if port else ''}/{database or ''}"  # and no password
        self.name: str = f"PostgresJournal({place!r}, schema={schema!r})"
        self._options = {**dict(DEFAULTS), **options}
        self._schema = schema
        self._patience = patience
        self._connection: psycopg.Connection[Any] | None = None

    def connect(self) -> None:
        """Connect, and bring the schema up to date.

        Raises:
            JournalError: it can't be done.
        """
        try:
            self._connect()
        except self._psycopg.Error as error:
            raise self._explained(error) from error

    def disconnect(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def call(self, function: Callable[[bool], T]) -> T:
        """Call a function that uses the link, and again when the connection was lost meanwhile.

        Args:
            function: it is told whether it is called again.

        Raises:
            JournalError: the database refuses it, or can't be reached for too long.
        """
        again = False
        deadline, wait = time.monotonic() + self._patience, FIRST_WAIT_SECONDS
        begun = False
        while True:
            try:
                if self._connection is None:
                    self._connect()
                begun = True
                return function(again)
            except self._psycopg.Error as error:
                self._put_right()
                if self._is_refusal(error):
                    raise self._explained(error) from error
                if time.monotonic() + wait > deadline:
                    raise self._given_up(error, begun) from error
            again = True
            time.sleep(wait)
            wait = min(2 * wait, MOST_WAIT_SECONDS)

    def rows(self, query: bytes, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Ask for something; one round trip."""
        assert self._connection is not None
        return self._connection.execute(query, values).fetchall()

    def run(self, statement: bytes) -> None:
        """Do something that gives nothing."""
        assert self._connection is not None
        self._connection.execute(statement)

    def rows_of_all(self, asked_for: Sequence[tuple[bytes, Sequence[Any]]]) -> list[list[tuple[Any, ...]]]:
        """Ask for several things, all in one transaction and one round trip."""
        assert self._connection is not None
        if len(asked_for) == 1:
            return [self.rows(*asked_for[0])]
        with self._connection.pipeline():
            self._connection.execute("BEGIN")
            asked = [self._connection.execute(query, values) for query, values in asked_for]
            self._connection.execute("COMMIT")
        return [cursor.fetchall() for cursor in asked]

    def rows_then(
        self, query: bytes, values: Sequence[Any], statements: Sequence[Statement]
    ) -> list[tuple[Any, ...]]:
        """Ask for something; where nothing is answered, execute statements in the same transaction.

        Raises:
            StatementFailed: one of them failed, and nothing was done.
        """
        assert self._connection is not None
        self.run(b"BEGIN")
        rows = self.rows(query, values)
        if rows:
            self.run(b"ROLLBACK")
            return rows
        statement = statements[-1]
        try:
            for statement in statements:
                # `binary` sends it as one statement, also where there are no parameters
                self._connection.execute(statement.sql.encode(), statement.parameters or None, binary=True)
            self.run(b"COMMIT")
        except (self._psycopg.Error, ValueError, TypeError) as error:
            if not isinstance(error, self._psycopg.Error) or self._is_of_statement(error):
                self._put_right()
                raise failed(self.name, statement, error) from error
            raise
        return []

    def _is_of_statement(self, error: Exception) -> bool:
        code = getattr(error, "sqlstate", None)
        connected = self._connection is not None and not self._connection.broken
        of_store = code is not None and (
            code in TRY_AGAIN or code.startswith((*COMES_BACK, "53", "58", "XX"))
        )
        return connected and not of_store

    def _connect(self) -> None:
        # What is asked is sent as it is, each statement for itself; the isolation is the one that the
        # functions in the database count on, whatever the server's default is.
        connection = self._psycopg.connect(**self._options, autocommit=True)
        try:
            connection.execute("SET default_transaction_isolation = 'read committed'")
            connection.execute("SET client_encoding = 'UTF8'")
            migrate(connection, self.name, self._schema)
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def _put_right(self) -> None:
        """Leave no transaction open after an error, or no connection."""
        try:
            if self._connection is not None and not self._connection.closed:
                self._connection.rollback()
                return
        except self._psycopg.Error:
            pass
        self.disconnect()

    def _is_refusal(self, error: Exception) -> bool:
        """Whether the database has said no, and would say so again."""
        code = getattr(error, "sqlstate", None)
        if code is None:  # nothing was said: the connection was lost, or could not be made
            return self._connection is not None
        return code not in TRY_AGAIN and not code.startswith(COMES_BACK)

    def _explained(self, error: Exception) -> JournalError:
        code = getattr(error, "sqlstate", None) or ""
        text = " ".join(str(error).split())
        if code == "42501":
            remedy = "; see what its user may do"
        elif code in ("53100", "53200"):
            remedy = "; make room on the server"
        elif code in ("3F000", "42P01", "42883"):
            remedy = "; its tables were changed while it was open: open it anew"
        elif code.startswith("28") or code == "3D000" or not code:
            remedy = "; see the connection string, and whether the server runs"
        else:
            remedy = ""
        return JournalError(f"{self.name}: {text}{remedy}")

    def _given_up(self, error: Exception, begun: bool) -> ConnectionGone:
        text = " ".join(str(error).split())
        known = "it can't be known whether it was done" if begun else "nothing was done"
        return ConnectionGone(
            f"{self.name}: the connection was lost, and could not be had again within {self._patience:g} s "
            f"({text}); {known}: see whether the server runs"
        )
