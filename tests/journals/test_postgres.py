"""A journal in PostgreSQL: its schema, several processes, and connections that are lost."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import psycopg
import pytest

from penguiflow.errors import JournalError
from penguiflow.journal import Journal, Record, RunChange, RunTaken
from penguiflow.journals import PostgresJournal
from penguiflow.journals.postgres_schema import VERSION

from .proxy import Proxy
from .stores import SERVER, asked, need_server


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """A way to the server that can be cut."""
    need_server()
    made = Proxy()
    yield made
    made.end()


def named(schema: str) -> str:
    """Give a connection string by which the server knows who it is."""
    return f"{SERVER}?application_name={schema}"


def backends(schema: str, more: str = "") -> list[int]:
    """Give the processes of the server that work for such connections."""
    query = f"SELECT pid FROM pg_stat_activity WHERE application_name = %s {more}"
    return [pid for (pid,) in asked(query, schema)]


def terminate(schema: str) -> int:
    """End the connections of a journal, on the side of the server; give how many."""
    return len(
        asked("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s", schema)
    )


async def begin(journal: Journal, run_id: str, owner: str = "me") -> None:
    await journal.append(owner, [Record(run_id, 1, "step", b"1")], [RunChange(run_id, "flow", "running")], 60)


async def refused(journal: Journal) -> str:
    """Give what is said when it can't be opened."""
    with pytest.raises(JournalError) as told:
        await journal.open()
    return str(told.value)


# -- beginning


def test_it_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, penguiflow.journals; print('psycopg' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "False\n"


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ImportError, match=r"pip install 'penguiflow\[postgres\]'"):
        PostgresJournal(SERVER)


@pytest.mark.parametrize("schema", ["", "a-b", 'a"; DROP', "1a", "a" * 64, "ä"])
def test_a_schema_has_a_plain_name(schema: str) -> None:
    with pytest.raises(ValueError, match="letters, digits and underscores"):
        PostgresJournal(SERVER, schema=schema)


def test_a_connection_string_is_checked_and_no_password_is_shown() -> None:
    with pytest.raises(ValueError, match="can't be read"):
        PostgresJournal("nonsense")
    shown = repr(PostgresJournal("postgresql://me:secret@db.example:5433/runs", schema="s"))
    assert shown == "PostgresJournal('db.example:5433/runs', schema='s')"


async def test_a_server_that_is_not_there() -> None:
    told = await refused(PostgresJournal("postgresql://postgres@127.0.0.1:1/test"))
    assert "127.0.0.1:1/test" in told
    assert "whether the server runs" in told


async def test_a_database_that_is_not_there(schema: str) -> None:
    told = await refused(PostgresJournal(SERVER.rpartition("/")[0] + "/nowhere_at_all", schema=schema))
    assert "nowhere_at_all" in told
    assert "see the connection string" in told


async def test_a_newer_version(schema: str) -> None:
    journal = PostgresJournal(SERVER, schema=schema)
    await journal.open()
    await journal.close()
    asked(f'UPDATE "{schema}".journal_version SET version = {VERSION + 1}')
    told = await refused(journal)
    assert f"version {VERSION + 1}" in told
    assert "upgrade penguiflow" in told


async def test_tables_of_something_else_are_left_alone(schema: str) -> None:
    asked(f'CREATE SCHEMA "{schema}"')
    asked(f'CREATE TABLE "{schema}".runs (dish text)')
    told = await refused(PostgresJournal(SERVER, schema=schema))
    assert "of something else" in told
    assert asked("SELECT count(*) FROM information_schema.tables WHERE table_schema = %s", schema) == [(1,)]


async def test_a_schema_that_is_there_is_used(schema: str) -> None:
    """Also one that somebody else has made, with tables of other names in it."""
    asked(f'CREATE SCHEMA "{schema}"')
    asked(f'CREATE TABLE "{schema}".orders (dish text)')
    journal = PostgresJournal(SERVER, schema=schema)
    await journal.open()
    assert await journal.rows() == []
    await journal.close()


async def test_many_open_it_at_once(schema: str) -> None:
    """The schema is made once."""
    journals = [PostgresJournal(SERVER, schema=schema) for _ in range(8)]
    async with anyio.create_task_group() as group:
        for journal in journals:
            group.start_soon(journal.open)
    await begin(journals[0], "a")
    assert [len(await journal.rows()) for journal in journals] == [1] * 8
    for journal in journals:
        await journal.close()


async def test_one_who_may_only_use_the_tables_may_open_it(schema: str) -> None:
    """Where the schema is up to date, nothing needs the right to make one."""
    owner = PostgresJournal(SERVER, schema=schema)
    await owner.open()
    role = f"{schema}_user"
    asked(f'CREATE ROLE "{role}" LOGIN')
    try:
        await _with_role(schema, role)
    finally:
        await owner.close()
        asked(f'DROP OWNED BY "{role}"')
        asked(f'DROP ROLE "{role}"')


async def _with_role(schema: str, role: str) -> None:
    place = SERVER.partition("@")[2]
    user = PostgresJournal(f"postgresql://{role}@{place}", schema=schema)
    assert "see what its user may do" in await refused(user)
    asked(f'GRANT USAGE ON SCHEMA "{schema}" TO "{role}"')
    asked(f'GRANT ALL ON ALL TABLES IN SCHEMA "{schema}" TO "{role}"')
    await user.open()
    await begin(user, "a")
    assert len(await user.rows()) == 1
    await user.close()


# -- several processes


async def test_two_processes_want_the_same_runs(schema: str) -> None:
    """Each run is got by one of them."""
    journal = PostgresJournal(SERVER, schema=schema)
    await journal.open()
    runs = ["the one", *(f"run {number}" for number in range(30))]
    for run_id in runs:
        await begin(journal, run_id)
    await journal.release("me")
    got = await anyio.to_thread.run_sync(fight, schema)
    assert sorted(got[0] + got[1]) == sorted(runs)
    owners = {row.run_id: row.owner for row in await journal.rows()}
    assert owners == {run_id: f"owner {number}" for number in (0, 1) for run_id in got[number]}
    await journal.close()


def fight(schema: str) -> list[list[str]]:
    """Let two processes claim runs at the same time; give what each got."""
    script = str(Path(__file__).parent / "claiming_process.py")
    processes = [
        subprocess.Popen(
            [sys.executable, script, schema, f"owner {number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in (0, 1)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=30)[0] for process in processes]
    return [[run_id for run_id in output.strip().split("|") if run_id] for output in outputs]


async def test_who_was_taken_over_is_fenced_off(schema: str) -> None:
    """A lease is told by the clock of the database; a late append of another process writes nothing."""
    one, other = (PostgresJournal(SERVER, schema=schema) for _ in range(2))
    await one.open()
    await other.open()
    await begin(one, "a")
    asked(f'UPDATE "{schema}".runs SET lease_until = extract(epoch FROM clock_timestamp()) - 1')
    assert [row.run_id for row in await other.claim("other", "flow", 60)] == ["a"]
    with pytest.raises(RunTaken):
        await one.append("me", [Record("a", 2, "step", b"late")])
    await other.append("other", [Record("a", 2, "step", b"2")])
    assert [record.data for record in await one.read("a")] == [b"1", b"2"]
    await one.close()
    await other.close()


# -- lost connections


async def test_a_connection_that_ended_in_between_is_made_anew(schema: str) -> None:
    journal = PostgresJournal(named(schema), schema=schema)
    await journal.open()
    await begin(journal, "a")
    calls: tuple[Callable[[], object], ...] = (
        lambda: journal.append("me", [Record("a", 2, "step", b"2")]),
        lambda: journal.rows(),
        lambda: journal.renew("me", 60),
        lambda: journal.post("a", "key", b"1"),
        lambda: journal.shrink(),
    )
    for call in calls:
        assert terminate(schema)
        await call()  # type: ignore[misc]
    assert [record.seq for record in await journal.read("a")] == [1, 2]
    await journal.close()
    while backends(schema):
        pass  # the server takes a moment to see it


async def test_a_connection_that_ends_during_an_append(schema: str) -> None:
    """While it waits for a lock its connection is ended, on the side of the server; it is written once."""
    journal = PostgresJournal(named(schema), schema=schema)
    await journal.open()
    await begin(journal, "a")
    await begin(journal, "b")
    locking = psycopg.connect(SERVER)
    locking.execute(f"SELECT FROM \"{schema}\".runs WHERE id = 'a' FOR UPDATE".encode())

    def end_it_when_it_waits() -> None:
        while not backends(schema, "AND wait_event_type = 'Lock'"):
            pass
        terminate(schema)
        while not backends(schema, "AND wait_event_type = 'Lock'"):
            pass  # the same is asked for again, over another connection
        locking.rollback()

    async with anyio.create_task_group() as group:
        group.start_soon(anyio.to_thread.run_sync, end_it_when_it_waits)
        await journal.append("me", [Record("b", 2, "step", b"2"), Record("a", 2, "step", b"2")])
    locking.close()
    assert [record.seq for record in await journal.read("a")] == [1, 2]
    assert [record.seq for record in await journal.read("b")] == [1, 2]
    await journal.close()


async def test_an_answer_that_is_lost_is_asked_for_again(schema: str, proxy: Proxy) -> None:
    """The database has done it, but nobody was told: asked again, it says so, and does it only once."""
    journal = PostgresJournal(proxy.dsn, schema=schema)
    await journal.open()
    await begin(journal, "warm")
    proxy.cut_answer(b"append")
    await begin(journal, "a")
    assert proxy.cuts == 0
    proxy.cut_answer(b"append")
    await journal.append("me", [Record("a", 2, "step", b"2"), Record("a", 3, "step", b"3")])
    proxy.cut_answer(b"append")
    both = [Record("a", 4, "step", b"4"), Record("b", 1, "step", b"1")]
    await journal.append("me", both, [RunChange("b", "flow", "running")])
    proxy.cut_answer(b"append", times=2)
    ends = [RunChange("a", "flow", "done")]
    await journal.append("me", [Record("a", 5, "end", b"")], ends)
    assert [record.seq for record in await journal.read("a")] == [1, 2, 3, 4, 5]
    proxy.cut_answer(b"post")
    assert await journal.post("b", "key", b"mine")
    proxy.cut_answer(b"post")
    assert not await journal.post("b", "key", b"yours")
    assert await journal.posts(["b"]) == {"b": {"key": b"mine"}}
    await journal.release("me")
    proxy.cut_answer(b"SKIP LOCKED")
    assert {row.run_id for row in await journal.claim("they", "flow", 60)} == {"warm", "b"}
    assert proxy.cuts == 0
    await journal.close()


async def test_many_answers_that_are_lost_together(schema: str, proxy: Proxy) -> None:
    """Appends that share a transaction are each told what became of them."""
    journal = PostgresJournal(proxy.dsn, schema=schema)
    await journal.open()
    await begin(journal, "theirs", "they")
    told: dict[str, str] = {}

    async def one(number: int) -> None:
        run_id = f"{number:02}"
        await begin(journal, run_id)
        bad = [Record("theirs", 2, "step", b"")] if number % 5 == 0 else []
        try:
            await journal.append("me", [Record(run_id, 2, "step", b"2"), *bad])
            told[run_id] = "done"
        except RunTaken as error:
            told[run_id] = ",".join(error.run_ids)

    async with anyio.create_task_group() as group:
        for number in range(40):
            group.start_soon(one, number)
        proxy.cut_answer(b"append", times=3)
    assert told == {f"{n:02}": "theirs" if n % 5 == 0 else "done" for n in range(40)}
    found = {row.run_id: row.records for row in await journal.rows()}
    assert found == {"theirs": 1, **{f"{n:02}": 1 if n % 5 == 0 else 2 for n in range(40)}}
    await journal.close()


async def test_answers_for_one_run_that_are_lost_together(schema: str, proxy: Proxy) -> None:
    """Each append is known by itself, also where the next one of its run was written behind it."""
    journal, go = PostgresJournal(proxy.dsn, schema=schema), threading.Event()
    await journal.open()
    await begin(journal, "a")
    async with anyio.create_task_group() as group:
        group.start_soon(journal._worker.do, go.wait, 20)
        await anyio.wait_all_tasks_blocked()
        for seq in range(2, 8):
            group.start_soon(journal.append, "me", [Record("a", seq, "step", b"")])
            await anyio.wait_all_tasks_blocked()
        proxy.cut_answer(b"append", times=4)
        go.set()
    assert [record.seq for record in await journal.read("a")] == [1, 2, 3, 4, 5, 6, 7]
    await journal.close()


async def test_a_server_that_stays_away_is_given_up(schema: str, proxy: Proxy) -> None:
    """It says whether anything can have been done; when the server is there again, it goes on."""
    journal = PostgresJournal(proxy.dsn, schema=schema, patience=0.2)
    await journal.open()
    await begin(journal, "a")
    proxy.closed = True
    proxy.cut()
    with pytest.raises(JournalError, match="can't be known whether it was done"):
        await journal.append("me", [Record("a", 2, "step", b"2")])
    with pytest.raises(JournalError, match="nothing was done"):
        await journal.append("me", [Record("a", 2, "step", b"2")])
    failures: list[str] = []

    async def fails() -> None:
        with pytest.raises(JournalError) as told:
            await journal.append("me", [Record("a", 2, "step", b"2")])
        failures.append(str(told.value))

    with anyio.fail_after(5):  # what waits together is given up together
        async with anyio.create_task_group() as group:
            for _ in range(60):
                group.start_soon(fails)
    assert len(failures) == 60
    proxy.closed = False
    await journal.append("me", [Record("a", 2, "step", b"2")])
    assert [record.seq for record in await journal.read("a")] == [1, 2]
    await journal.close()


async def test_a_server_that_comes_back_in_time_is_waited_for(schema: str, proxy: Proxy) -> None:
    journal = PostgresJournal(proxy.dsn, schema=schema)
    await journal.open()
    await begin(journal, "a")
    proxy.closed = True
    proxy.cut()
    timer = threading.Timer(0.1, lambda: setattr(proxy, "closed", False))
    timer.start()
    await journal.append("me", [Record("a", 2, "step", b"2")])
    timer.join()
    assert [record.seq for record in await journal.read("a")] == [1, 2]
    await journal.close()


async def test_tables_that_are_gone_are_named(schema: str) -> None:
    journal = PostgresJournal(SERVER, schema=schema)
    await journal.open()
    asked(f'DROP SCHEMA "{schema}" CASCADE')
    with pytest.raises(JournalError, match="open it anew"):
        await begin(journal, "a")
    with pytest.raises(JournalError, match="open it anew"):
        await journal.rows()
    await journal.close()


async def test_a_deadlock_is_tried_again(schema: str) -> None:
    """The append is the one that the server gives up; asked again, it is written."""
    journal = PostgresJournal(f"{named(schema)}&options=-c%20deadlock_timeout%3D20ms", schema=schema)
    await journal.open()
    for run_id in ("a", "b"):
        await begin(journal, run_id)
    locked: list[str] = []

    def lock_the_other_way_round() -> None:
        with psycopg.connect(SERVER) as other:
            for run_id in ("b", "a"):
                lock = f'SELECT FROM "{schema}".runs WHERE id = %s FOR UPDATE'
                other.execute(lock.encode(), (run_id,))
                locked.append(run_id)
                while run_id == "b" and not backends(schema, "AND wait_event_type = 'Lock'"):
                    pass
            other.rollback()

    async with anyio.create_task_group() as group:
        group.start_soon(anyio.to_thread.run_sync, lock_the_other_way_round)
        with anyio.fail_after(10):
            while not locked:  # noqa: ASYNC110
                await anyio.sleep(0)
        await journal.append("me", [Record("a", 2, "step", b"2"), Record("b", 2, "step", b"2")])
    assert locked == ["b", "a"]
    assert [row.records for row in await journal.rows()] == [2, 2]
    await journal.close()


async def test_what_conflicts_is_tried_again(schema: str) -> None:
    """A server whose transactions are serializable by default refuses nothing because of that."""
    serializable = f"{SERVER}?options=-c%20default_transaction_isolation%3Dserializable"
    journal = PostgresJournal(serializable, schema=schema)
    await journal.open()
    other = PostgresJournal(SERVER, schema=schema)
    await other.open()
    await begin(journal, "a")

    async def post(through: Journal, number: int) -> None:
        assert await through.post("a", f"{number}", b"")

    async with anyio.create_task_group() as group:
        for number in range(40):
            group.start_soon(post, (journal, other)[number % 2], number)
    assert len((await journal.posts(["a"]))["a"]) == 40
    await journal.close()
    await other.close()
