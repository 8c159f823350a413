"""A journal in PostgreSQL, for several machines: many processes may use it at once.

Owns what is asked of the database. Invariant: everything may be asked again, with the same result, where the
answer to the first time was lost: what writes carries a *stamp*, by which the database knows what it has
done.

psycopg's asynchronous connection knows asyncio only. So its plain one is used, in the one thread that the
SQLite journal has as well: the same on asyncio and on trio, and what waits at the same time goes into one
transaction and one round trip.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from penguiflow.errors import JournalError
from penguiflow.journal import Record, RunRow
from penguiflow.retention import ON_DISK, Retention

from .asking import STATUSES, check_options, first_refusal, has_not_ended, no_such_run, refused
from .postgres_link import ConnectionGone, Link
from .postgres_schema import NOW, check_schema
from .statements import OWN_TABLES, failed
from .threaded import Append, Asked, ThreadedJournal

T = TypeVar("T")

PATIENCE_SECONDS = 10.0

COLUMNS = (
    "id, flow, status, created, updated, records, size_bytes, "
    f"CASE WHEN lease_until > {NOW} THEN owner ELSE '' END"
)


class PostgresJournal(ThreadedJournal):
    """A journal in a PostgreSQL database.

    Args:
        dsn: the connection string, such as ``postgresql://user@host/database``.
        schema: where its tables are; it is made where there is none.
        retention: what is kept of runs that have ended: by default those of 30 days, 100,000 of them at most,
            with 1 GiB of records.
        patience: for how many seconds to try when the connection was lost, or the server is restarted.

    Raises:
        ValueError: the connection string or the schema's name can't be read, or there is no such time.
        TypeError: what is given is no string, no `Retention` or no number.
        ImportError: psycopg is not installed: ``pip install 'penguiflow[postgres]'``.
    """

    def __init__(
        self,
        dsn: str,
        *,
        schema: str = "penguiflow",
        retention: Retention = ON_DISK,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        check_schema(schema)
        check_options("PostgresJournal", retention, patience=patience)
        self.schema: str = schema
        link = Link(dsn, schema, patience)
        super().__init__(link.name, PostgresRuns(link, schema), retention)


class PostgresRuns:
    """The runs in a database, as the thread sees them.

    Args:
        link: the connection.
        schema: where the tables are.
    """

    def __init__(self, link: Link, schema: str) -> None:
        self._link = link
        self._schema = schema
        own = rf'"?\b{schema}\b"?\s*\.\s*"?(?:{"|".join(OWN_TABLES)}|journal_version)\b'
        self._ours = re.compile(rf"{own}|\bschema\b[^;]*\b{schema}\b", re.IGNORECASE)
        self._stamp = ""
        self._again = False
        self._append = self._query(
            "SELECT refused, holder, last FROM {s}.append("
            "%b, %b, %b::float8, %b::text[], %b::int8[], %b::int8[], %b::int8[], %b::text[], %b::text[], "
            "%b::text[], %b::int8[], %b::text[], %b::bytea[])"
        )
        self._append_one = self._query(
            "SELECT refused, holder, last FROM {s}.append_one("
            "%b, %b, %b::float8, %b, %b::int8, %b::int8, %b, %b, %b::text[], %b::bytea[])"
        )

    def connect(self) -> None:
        """Connect."""
        self._link.connect()

    def disconnect(self) -> None:
        """Close the connection."""
        self._link.disconnect()

    def guarded(self, function: Callable[[], T]) -> T:
        """Call a function; again where the connection was lost, with the same stamp."""
        self._stamp = uuid.uuid4().hex

        def call(again: bool) -> T:
            self._again = again
            return function()

        return self._link.call(call)

    def _query(self, text: str) -> bytes:
        return text.format(s=f'"{self._schema}"', now=NOW, columns=COLUMNS).encode()

    # -- append

    def append(self, asked: Sequence[Append]) -> Sequence[Exception | None]:
        """Write; several appends in one transaction, but two for one run one after the other.

        So each stamp stays to be seen until the answer has come.
        """
        told: list[Exception | None] = []
        for batch in _batches(asked):
            gone = told[-1] if told else None
            if isinstance(gone, ConnectionGone):  # the others need not wait for it as long again
                told += [ConnectionGone(*gone.args) for _ in batch]
            else:
                told += self._append_together(batch)
        return told

    def _append_together(self, asked: Sequence[Append]) -> list[Exception | None]:
        """Write appends of different runs in one transaction; where that fails, each for itself."""
        given = [self._asked(append) for append in asked]
        statements = asked[0].statements  # such a one is alone
        for statement in statements:
            if self._ours.search(statement.sql):
                return [failed(self._link.name, statement, "it is about the journal's own tables")]
        try:
            found = self._link.call(
                lambda again: (
                    [self._link.rows_then(*given[0], statements)]
                    if statements
                    else self._link.rows_of_all(given)
                )
            )
        except ConnectionGone as error:
            return [ConnectionGone(*error.args) for _ in asked]
        except (JournalError, ValueError) as error:
            if len(asked) == 1:
                return [error]
            return [told for append in asked for told in self._append_together([append])]
        return [self._told(append, rows) for append, rows in zip(asked, found, strict=True)]

    def _asked(self, append: Append) -> tuple[bytes, Sequence[Any]]:
        if len(append.parts) == 1:
            return self._append_one, _values_of_one(append)
        return self._append, _values(append)

    def _told(self, append: Append, rows: Sequence[tuple[Any, ...]]) -> Exception | None:
        if not rows or rows[0][0] is None:
            return None
        kept = {run_id: None if last is None else (str(holder), int(last)) for run_id, holder, last in rows}
        refusals = [
            first_refusal(part, append.owner, kept[part.run_id])
            for part in append.parts
            if part.run_id in kept
        ]
        return refused(self._link.name, [refusal for refusal in refusals if refusal is not None])

    # -- reading

    def read(self, run_id: str, after: int, limit: int | None) -> list[Record]:
        """Give records of a run."""
        query = self._query(
            "SELECT run_id, seq, kind, data FROM {s}.records WHERE run_id = %s AND seq > %s "
            "ORDER BY seq LIMIT %s"
        )
        limit = None if limit is None else max(0, limit)
        return [Record(*row) for row in self._link.rows(query, (run_id, after, limit))]

    def row(self, run_id: str) -> RunRow | None:
        """Give what is known of a run."""
        query = self._query("SELECT {columns} FROM {s}.runs WHERE id = %s")
        return next((RunRow(*row) for row in self._link.rows(query, (run_id,))), None)

    def rows(self, asked: Asked) -> list[RunRow]:
        """Give what is known of runs: of each status by its index, then merged."""
        way, sign = ("ASC", ">") if asked.oldest_first else ("DESC", "<")
        limit = max(0, asked.limit)
        where, values = "status = asked", list[Any]()
        if asked.flow is not None:
            where, values = f"flow = %s AND {where}", [asked.flow]
        if asked.before is not None:
            where += f" AND (created, id) {sign} (%s, %s)"
            values += [asked.before.created, asked.before.run_id]
        order = f"ORDER BY created {way}, id {way} LIMIT %s"
        query = self._query(
            "SELECT f.* FROM unnest(%s::text[]) AS asked, LATERAL "
            f"(SELECT {{columns}} FROM {{s}}.runs WHERE {where} {order}) AS f {order}"
        )
        found = self._link.rows(query, (list(asked.status or STATUSES), *values, limit, limit))
        return [RunRow(*row) for row in found]

    # -- leases

    def claim(self, owner: str, flow: str, lease: float, run_id: str | None, limit: int) -> list[RunRow]:
        """Take runs over. Those that others are just writing to are passed by, unless one is named."""
        if self._again:
            query = self._query(
                "SELECT {columns} FROM {s}.runs WHERE owner = %s AND owner <> '' AND stamp = %s"
            )
            taken = self._link.rows(query, (owner, self._stamp))
            if taken:
                return _in_order(taken)
        if run_id is None:
            which, named, lock = "status = 'running'", list[str](), "FOR UPDATE SKIP LOCKED"
        else:
            which, named, lock = "id = %s AND status IN ('running', 'interrupted')", [run_id], "FOR UPDATE"
        query = self._query(
            f"WITH free AS (SELECT id AS run FROM {{s}}.runs WHERE {which} AND flow = %s AND owner <> %s "
            f"AND lease_until <= (SELECT {{now}}) ORDER BY created, id LIMIT %s {lock}) "
            "UPDATE {s}.runs SET owner = %s, lease_until = {now} + %s, stamp = %s FROM free WHERE id = run "
            "RETURNING {columns}"
        )
        asked = (*named, flow, owner, max(0, limit), owner, float(lease), self._stamp)
        return _in_order(self._link.rows(query, asked))

    def renew(self, owner: str, lease: float) -> list[str]:
        """Hold on to the runs of an owner."""
        query = self._query(
            "UPDATE {s}.runs SET lease_until = {now} + %s WHERE owner = %s AND owner <> '' RETURNING id"
        )
        return [run_id for (run_id,) in self._link.rows(query, (float(lease), owner))]

    def release(self, owner: str, run_ids: Sequence[str] | None) -> None:
        """Give up runs of an owner."""
        query = self._query(
            "UPDATE {s}.runs SET owner = '', lease_until = 0 WHERE owner = %s AND owner <> '' "
            "AND (%s::text[] IS NULL OR id = ANY (%s::text[])) RETURNING id"
        )
        ids = None if run_ids is None else list(run_ids)
        self._link.rows(query, (owner, ids, ids))

    # -- posts

    def post(self, run_id: str, key: str, data: bytes) -> bool:
        """Leave something for a run."""
        query = self._query("SELECT {s}.post(%b, %b, %b, %b)")
        ((left,),) = self._link.rows(query, (self._stamp, run_id, key, data))
        if left is None:
            raise no_such_run(self._link.name, run_id)
        return bool(left)

    def posts(self, run_ids: Sequence[str]) -> dict[str, dict[str, bytes]]:
        """Give what was left for some runs."""
        query = self._query("SELECT run_id, key, data FROM {s}.posts WHERE run_id = ANY (%s::text[])")
        found: dict[str, dict[str, bytes]] = {}
        for run_id, key, data in self._link.rows(query, (list(run_ids),)):
            found.setdefault(run_id, {})[key] = data
        return found

    # -- forgetting

    def prune(self, run_id: str, seqs: Sequence[int]) -> None:
        """Forget single records of a run that has ended."""
        query = self._query("SELECT {s}.prune(%s, %s::int8[])")
        ((status,),) = self._link.rows(query, (run_id, list(seqs)))
        if status is not None:
            raise has_not_ended(self._link.name, run_id, status)

    def discard(self, run_ids: Sequence[str]) -> int:
        """Forget runs that nobody owns."""
        ((gone,),) = self._link.rows(self._query("SELECT {s}.discard(%s::text[])"), (list(run_ids),))
        return int(gone)

    def size(self) -> tuple[int, int]:
        """Give how many runs there are, and how many bytes the tables and their indexes take up."""
        query = self._query(
            "SELECT (SELECT count(*) FROM {s}.runs), (SELECT sum(pg_total_relation_size(t)) "
            "FROM unnest(ARRAY['{s}.runs', '{s}.records', '{s}.posts']::regclass[]) AS t)"
        )
        ((runs, size_bytes),) = self._link.rows(query)
        return int(runs), int(size_bytes)

    def shrink(self) -> bool:
        """Let the database reuse the space, and give back what is free at the end of its files."""
        self._link.run(self._query("VACUUM {s}.runs, {s}.records, {s}.posts"))
        return False


def _batches(asked: Sequence[Append]) -> Iterator[list[Append]]:
    """Give appends in their order, in lists in which no run comes twice; one with statements is alone."""
    batch: list[Append] = []
    runs: set[str] = set()
    for append in asked:
        ids = {part.run_id for part in append.parts}
        if ids & runs or (batch and (append.statements or batch[0].statements)):
            yield batch
            batch, runs = [], set()
        batch.append(append)
        runs |= ids
    yield batch


def _values(append: Append) -> Sequence[Any]:
    """Give what the function in the database takes. Runs are locked in the order of their ids."""
    parts = sorted(append.parts, key=lambda part: part.run_id)
    records = [record for part in parts for record in part.records]
    return (
        uuid.uuid4().hex,
        append.owner,
        float(append.lease),
        [part.run_id for part in parts],
        [part.first for part in parts],
        [len(part.records) for part in parts],
        [part.size_bytes for part in parts],
        [part.flow or "" for part in parts],
        [part.status or "" for part in parts],
        [record.run_id for record in records],
        [record.seq for record in records],
        [record.kind for record in records],
        [record.data for record in records],
    )


def _values_of_one(append: Append) -> Sequence[Any]:
    """Give what the function for a single run takes."""
    (part,) = append.parts
    return (
        uuid.uuid4().hex,
        append.owner,
        float(append.lease),
        part.run_id,
        part.first,
        part.size_bytes,
        part.flow or "",
        part.status or "",
        [record.kind for record in part.records],
        [record.data for record in part.records],
    )


def _in_order(rows: Sequence[tuple[Any, ...]]) -> list[RunRow]:
    return sorted((RunRow(*row) for row in rows), key=lambda row: (row.created, row.run_id))
