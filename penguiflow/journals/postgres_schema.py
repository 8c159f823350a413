"""PostgreSQL schema: how a journal lies in a database, and how it gets there.

Owns the tables, the functions that write to them, and the steps from version to version. Invariant: one
process migrates at a time, in one transaction; a schema of a newer version, or of somebody else, is left as
it is.

Writing is done by functions in the database: each is one round trip, and sees what others have committed when
it has locked the run (a single statement with several parts would see the moment at which it began). Times
are the database's clock, so that all processes agree on who holds a lease.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from penguiflow.errors import JournalError

if TYPE_CHECKING:
    import psycopg

LOCK = 0x50_46_4C_4A
"""Who migrates holds the advisory lock with this number: ``PFLJ``."""

NOW = "extract(epoch FROM clock_timestamp())::float8"

TABLES = """
CREATE TABLE {s}.runs (
    id text COLLATE "C" PRIMARY KEY,
    flow text COLLATE "C" NOT NULL,
    status text COLLATE "C" NOT NULL,
    created float8 NOT NULL,
    updated float8 NOT NULL,
    records int8 NOT NULL,
    size_bytes int8 NOT NULL,
    owner text COLLATE "C" NOT NULL,
    lease_until float8 NOT NULL,
    stamp text NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX runs_by_status ON {s}.runs (status, created, id);
CREATE INDEX runs_by_flow ON {s}.runs (flow, status, created, id);
CREATE INDEX runs_owned ON {s}.runs (owner) WHERE owner <> '';
CREATE TABLE {s}.records (
    run_id text COLLATE "C",
    seq int8,
    kind text NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (run_id, seq)
);
CREATE TABLE {s}.posts (
    run_id text COLLATE "C",
    key text COLLATE "C",
    data bytea NOT NULL,
    stamp text NOT NULL,
    PRIMARY KEY (run_id, key)
);
"""

APPEND = """
CREATE FUNCTION {s}.append(
    my_stamp text, me text, lease float8,
    ids text[], firsts int8[], counts int8[], sizes int8[], flows text[], statuses text[],
    run_ids text[], seqs int8[], kinds text[], datas bytea[]
) RETURNS TABLE (refused text, holder text, last int8) LANGUAGE plpgsql AS $$
-- Gives the runs for which it is refused: then nothing is written; or null, where all was written before. A
-- status of '' is no change.
DECLARE
    at float8 := {now};
    made text[] := '{{}}';
    allowed bool := true;
    run record;
    lasts bool;
BEGIN
    FOR i IN 1 .. cardinality(ids) LOOP
        lasts := statuses[i] IN ('', 'running');
        IF firsts[i] = 1 AND statuses[i] <> '' THEN
            INSERT INTO {s}.runs VALUES (
                ids[i], flows[i], statuses[i], at, at, counts[i], sizes[i],
                CASE WHEN lasts THEN me ELSE '' END, CASE WHEN lasts THEN at + lease ELSE 0 END, my_stamp
            ) ON CONFLICT DO NOTHING;
            IF FOUND THEN
                made := made || ids[i];
                CONTINUE;
            END IF;
        END IF;
        SELECT r.owner, r.records, r.stamp INTO run FROM {s}.runs r WHERE r.id = ids[i] FOR UPDATE;
        IF FOUND AND run.stamp = my_stamp THEN
            RETURN NEXT;  -- all was written before, but the answer was lost
            RETURN;
        ELSIF NOT FOUND OR run.owner <> me OR (counts[i] > 0 AND firsts[i] <> run.records + 1) THEN
            allowed := false;
            refused := ids[i]; holder := run.owner; last := run.records;
            RETURN NEXT;
        END IF;
    END LOOP;
    IF NOT allowed THEN
        DELETE FROM {s}.runs r WHERE r.id = ANY (made);
        RETURN;
    END IF;
    IF cardinality(made) < cardinality(ids) THEN
        UPDATE {s}.runs r SET
            updated = at, records = r.records + p.n, size_bytes = r.size_bytes + p.size, stamp = my_stamp,
            status = CASE WHEN p.status = '' THEN r.status ELSE p.status END,
            owner = CASE WHEN p.status IN ('', 'running') THEN r.owner ELSE '' END,
            lease_until = CASE WHEN p.status IN ('', 'running') THEN r.lease_until ELSE 0 END
        FROM unnest(ids, counts, sizes, statuses) AS p (id, n, size, status)
        WHERE r.id = p.id AND r.id <> ALL (made);
    END IF;
    INSERT INTO {s}.records SELECT * FROM unnest(run_ids, seqs, kinds, datas);
END $$;
"""

APPEND_ONE = """
CREATE FUNCTION {s}.append_one(
    my_stamp text, me text, lease float8,
    run text, first int8, size int8, flow_is text, status_is text, kinds text[], datas bytea[]
) RETURNS TABLE (refused text, holder text, last int8) LANGUAGE plpgsql AS $$
-- The same for a single run, which is by far the most; less than half as dear. Measured.
DECLARE
    at float8 := {now};
    n int8 := cardinality(kinds);
    lasts bool := status_is IN ('', 'running');
    kept record;
BEGIN
    IF first = 1 AND status_is <> '' THEN
        INSERT INTO {s}.runs VALUES (
            run, flow_is, status_is, at, at, n, size,
            CASE WHEN lasts THEN me ELSE '' END, CASE WHEN lasts THEN at + lease ELSE 0 END, my_stamp
        ) ON CONFLICT DO NOTHING;
    ELSIF status_is = '' THEN
        UPDATE {s}.runs r SET
            updated = at, records = r.records + n, size_bytes = r.size_bytes + size, stamp = my_stamp
        WHERE r.id = run AND r.owner = me AND r.records = first - 1;
    ELSE
        UPDATE {s}.runs r SET
            updated = at, records = r.records + n, size_bytes = r.size_bytes + size, stamp = my_stamp,
            status = status_is,
            owner = CASE WHEN lasts THEN r.owner ELSE '' END,
            lease_until = CASE WHEN lasts THEN r.lease_until ELSE 0 END
        WHERE r.id = run AND r.owner = me AND (n = 0 OR r.records = first - 1);
    END IF;
    IF FOUND THEN
        INSERT INTO {s}.records
        SELECT run, first + at_place - 1, kind, what
        FROM unnest(kinds, datas) WITH ORDINALITY AS u (kind, what, at_place);
        RETURN;
    END IF;
    SELECT r.owner, r.records, r.stamp INTO kept FROM {s}.runs r WHERE r.id = run FOR UPDATE;
    IF FOUND AND kept.stamp = my_stamp THEN
        RETURN NEXT;
        RETURN;
    END IF;
    refused := run; holder := kept.owner; last := kept.records;
    RETURN NEXT;
END $$;
"""

POST = """
CREATE FUNCTION {s}.post(my_stamp text, run text, name text, what bytea) RETURNS bool LANGUAGE plpgsql AS $$
-- Gives null where there is no such run.
BEGIN
    PERFORM FROM {s}.runs r WHERE r.id = run FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    INSERT INTO {s}.posts VALUES (run, name, what, my_stamp) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN EXISTS (
            SELECT FROM {s}.posts p WHERE p.run_id = run AND p.key = name AND p.stamp = my_stamp
        );
    END IF;
    UPDATE {s}.runs r SET
        updated = {now}, status = CASE r.status WHEN 'interrupted' THEN 'running' ELSE r.status END
    WHERE r.id = run;
    RETURN true;
END $$;
"""

FORGET = """
CREATE FUNCTION {s}.prune(run text, those int8[]) RETURNS text LANGUAGE plpgsql AS $$
-- Gives the status of a run that has not ended.
DECLARE
    now_is text;
    gone record;
BEGIN
    SELECT r.status INTO now_is FROM {s}.runs r WHERE r.id = run FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    ELSIF now_is IN ('running', 'interrupted') THEN
        RETURN now_is;
    END IF;
    WITH pruned AS (
        DELETE FROM {s}.records r WHERE r.run_id = run AND r.seq = ANY (those)
        RETURNING length(r.data) AS size
    )
    SELECT count(*) AS n, coalesce(sum(size), 0) AS size INTO gone FROM pruned;
    UPDATE {s}.runs r SET records = r.records - gone.n, size_bytes = r.size_bytes - gone.size
    WHERE r.id = run;
    RETURN NULL;
END $$;

CREATE FUNCTION {s}.discard(ids text[]) RETURNS int8 LANGUAGE plpgsql AS $$
DECLARE
    free text[];
BEGIN
    SELECT array_agg(f.id) INTO free FROM (
        SELECT r.id FROM {s}.runs r WHERE r.id = ANY (ids) AND r.lease_until <= {now} ORDER BY r.id FOR UPDATE
    ) f;
    DELETE FROM {s}.records r WHERE r.run_id = ANY (free);
    DELETE FROM {s}.posts p WHERE p.run_id = ANY (free);
    DELETE FROM {s}.runs r WHERE r.id = ANY (free);
    RETURN coalesce(cardinality(free), 0);
END $$;
"""

STEPS: tuple[str, ...] = (TABLES + APPEND + APPEND_ONE + POST + FORGET,)
"""What leads from each version to the next one; there are as many versions as steps."""

VERSION = len(STEPS)


def check_schema(schema: str) -> None:
    """Refuse a name that would have to be quoted in ways that nobody types.

    Raises:
        ValueError: it is one.
    """
    is_name = isinstance(schema, str) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,62}", schema)
    if not is_name or schema.lower().startswith("pg_"):
        raise ValueError(
            f"PostgresJournal(schema={schema!r}): a name of at most 63 letters, digits and underscores is "
            f"needed, that begins neither with a digit nor with pg_"
        )


def migrate(connection: psycopg.Connection[Any], name: str, schema: str) -> None:
    """Bring a schema up to date; several processes may do so at once.

    Raises:
        JournalError: it is of a newer version, or has tables of somebody else.
        psycopg.Error: the database does not allow it, or fails.
    """
    if version_of(connection, name, schema) == VERSION:
        return  # also for those who may use the schema, but not change it
    # The lock comes before the transaction, which would not see all of what others did while it waited.
    connection.execute("SELECT pg_advisory_lock(%s, hashtext(%s))", (LOCK, schema))
    try:
        with connection.transaction():
            version = version_of(connection, name, schema)
            if version == 0:
                _begin(connection, name, schema)
            for step in STEPS[version:]:
                connection.execute(step.format(s=f'"{schema}"', now=NOW).encode())
            connection.execute(f'UPDATE "{schema}".journal_version SET version = {VERSION}'.encode())
    finally:
        if not connection.closed:
            connection.execute("SELECT pg_advisory_unlock(%s, hashtext(%s))", (LOCK, schema))


def version_of(connection: psycopg.Connection[Any], name: str, schema: str) -> int:
    """Give the version of a schema, 0 where there is none.

    Raises:
        JournalError: it is newer than ours.
    """
    found = connection.execute("SELECT to_regclass(%s)", (f'"{schema}".journal_version',)).fetchone()
    if found is None or found[0] is None:
        return 0
    row = connection.execute(f'SELECT version FROM "{schema}".journal_version'.encode()).fetchone()
    version = 0 if row is None else int(row[0])
    if version > VERSION:
        raise JournalError(
            f"{name}: its tables have the version {version}, and this penguiflow knows {VERSION}: upgrade "
            f"penguiflow, or name another schema"
        )
    return version


def _begin(connection: psycopg.Connection[Any], name: str, schema: str) -> None:
    """Make the schema, unless somebody else has tables of our names in it."""
    exists = connection.execute("SELECT FROM pg_namespace WHERE nspname = %s", (schema,)).fetchone()
    if exists is None:
        connection.execute(f'CREATE SCHEMA "{schema}"'.encode())
    foreign = connection.execute(
        "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE nspname = %s AND relname IN ('runs', 'records', 'posts', 'journal_version')",
        (schema,),
    ).fetchone()
    if foreign is not None:
        raise JournalError(
            f"{name}: the schema {schema!r} has a table {foreign[0]!r} of something else, and is no journal; "
            f"it is left as it is: name another schema"
        )
    connection.execute(f'CREATE TABLE "{schema}".journal_version (version int NOT NULL)'.encode())
    connection.execute(f'INSERT INTO "{schema}".journal_version VALUES (0)'.encode())
