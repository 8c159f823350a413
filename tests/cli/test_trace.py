"""`penguiflow run --trace`, `trace` and `top`, seen from outside: real files, processes and terminals."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from penguiflow.telemetry import TraceStoreError, open_store

from .conftest import Command

TRACED = re.compile(r"penguiflow: run ([0-9a-f]+) traced in runs\.db\n")


@pytest.fixture(autouse=True)
def no_store_by_name(environment: dict[str, str]) -> None:
    """No store is named from outside."""
    environment.pop("PENGUIFLOW_TRACE", None)


def traced(command: Command, *arguments: str) -> str:
    """Run a flow, and give the id that its run is said to have."""
    done = command("run", "--trace", "runs.db", *arguments)
    found = TRACED.search(done.stderr)
    assert found is not None, done.stderr
    return found[1]


def test_a_run_is_traced_and_shown(command: Command) -> None:
    """The id that is said at the end is one that `trace` shows, whole or in part."""
    done = command("run", "--trace", "runs.db", "flows:flow", "items go down")
    assert (done.stdout, done.returncode) == ("ITEMS GO DOWN \n", 0)
    found = TRACED.fullmatch(done.stderr)
    assert found is not None
    for words in (
        ["runs.db", found[1]],
        [found[1][:6]],
        ["last"],
        ["last", "runs.db"],
        ["--store", "runs.db", "last"],
    ):
        shown = command("trace", *words)
        assert (shown.stderr, shown.returncode) == ("", 0)
        assert shown.stdout.startswith(f"run {found[1]} · flow hello · done\n")
        assert "3 chunks" in shown.stdout
        assert "source " in shown.stdout
        assert "\x1b" not in shown.stdout
        assert max(map(len, shown.stdout.splitlines())) <= 100


def test_runs_are_listed(command: Command) -> None:
    """The newest first, each with its status; filters leave out the others."""
    first = traced(command, "flows:flow", "a b")
    failed = traced(command, "flows:division", "0")
    done = command("trace")
    head, *rows = done.stdout.splitlines()
    assert head.split() == ["run", "flow", "status", "started", "took", "steps", "streams"]
    assert [row.split()[:3] for row in rows] == [[failed, "division", "failed"], [first, "hello", "done"]]
    assert "ZeroDivisionError" in rows[0]

    def ids(*filters: str) -> list[str]:
        shown = command("trace", "runs.db", "--json", *filters)
        assert shown.stderr == ""
        return [json.loads(line)["run_id"] for line in shown.stdout.splitlines()]

    assert ids() == [failed, first]
    assert ids("--status", "done") == [first]
    assert ids("--node", "divide") == [failed]
    assert ids("--flow", "hello") == [first]
    assert ids("--limit", "1") == [failed]
    assert ids("--since", "10m") == [failed, first]
    assert ids("--until", "1h") == []
    assert ids("--since", "2100-01-01T00:00") == []
    assert ids("--longer", "100") == []
    assert ids("--shorter", "100", "--tenant", "nobody") == []
    assert command("trace", "--flow", "none").stdout == "no such run in runs.db\n"


def test_a_terminal_without_the_letters(command: Command, environment: dict[str, str]) -> None:
    """Where the output knows ASCII only, the rest is spelled out."""
    traced(command, "flows:flow", "a")
    environment["PYTHONIOENCODING"] = "ascii"
    done = command("trace", "last")
    assert (done.stderr, done.returncode) == ("", 0)
    assert "\\xb7 flow hello" in done.stdout


def test_a_run_as_json(command: Command) -> None:
    run = traced(command, "flows:flow", "a b")
    record = json.loads(command("trace", run, "--json").stdout)
    assert record["summary"]["run_id"] == run
    assert [step["node"] for step in record["steps"]] == ["words", "loud"]
    assert [stream["chunks"] for stream in record["streams"]] == [2, 2]


def test_why_and_html(command: Command, folder: Path) -> None:
    """What went wrong in sentences, and the run as a page."""
    traced(command, "flows:division", "0")
    done = command("trace", "last", "--why")
    assert "divide" in done.stdout.splitlines()[0]
    assert "ZeroDivisionError" in done.stdout
    done = command("trace", "last", "--html", "run.html")
    assert (done.stdout, done.stderr, done.returncode) == ("run.html\n", "", 0)
    assert "<html" in (folder / "run.html").read_text()[:500].lower()
    done = command("trace", "last", "--html", "no/where.html")
    assert (done.stderr, done.returncode) == (
        "penguiflow: the page 'no/where.html' can't be written: No such file or directory\n",
        2,
    )


def test_the_failed_run_shows_the_error(command: Command, folder: Path) -> None:
    """With what it failed, what caused that, and where in the user's code."""
    traced(command, "flows:division", "0")
    shown = command("trace", "last").stdout
    assert "✗ StepError: " in shown
    assert "← ZeroDivisionError: division by zero" in shown
    line = (folder / "flows.py").read_text().splitlines().index("    return 1 / number") + 1
    assert re.search(rf"at \S*flows\.py:{line} in divide|at \S*…", shown)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["trace"], "there is no trace store 'runs.db'; `penguiflow run --trace runs.db …` makes one"),
        (["trace", "notes.txt"], "'notes.txt' is not a trace store, and not a database at all"),
        (["trace", "a", "b", "c"], "one store and one run can be named"),
        (["trace", "--store", "a.db", "b", "c"], "--store names the store already"),
        (["trace", "other.db", "ab"], "there is no trace store 'other.db'"),
        (["trace", "--why"], "--why and --html tell of one run: name it, or say last"),
        (["top"], "there is no trace store 'runs.db'"),
        (["top", "nowhere"], "there is no trace store 'nowhere'"),
        (["run", "--trace", "notes.txt", "flows:flow", "x"], "'notes.txt' is not a trace store"),
        (["run", "--trace", "no/runs.db", "flows:flow", "x"], "there is no folder 'no' for the trace store"),
    ],
)
def test_what_can_not_be_done(command: Command, folder: Path, words: list[str], problem: str) -> None:
    """One line on standard error that names the remedy, status 2, and no file is changed or made."""
    (folder / "notes.txt").write_text("dear diary")
    done = command(*words)
    assert (done.stdout, done.returncode) == ("", 2)
    assert problem in done.stderr
    assert done.stderr.count("\n") == 1
    assert (folder / "notes.txt").read_text() == "dear diary"
    assert not (folder / "runs.db").exists()


def test_times_that_are_none(command: Command) -> None:
    done = command("trace", "--since", "yesterday")
    assert done.returncode == 2
    assert "'yesterday' is neither a time like 10m, 2h or 1d, nor a date like 2026-01-31T12:00" in done.stderr


def test_a_run_that_is_not_there(command: Command) -> None:
    traced(command, "flows:flow", "a")
    done = command("trace", "0123456789abcdefg")
    assert done.stderr == (
        "penguiflow: the trace store 'runs.db' has no run '0123456789abcdefg'; "
        "`penguiflow trace runs.db` lists those that it has\n"
    )
    assert done.returncode == 2


def test_the_store_is_found_by_the_environment(command: Command, environment: dict[str, str]) -> None:
    command("run", "--trace", "mine.sqlite", "flows:flow", "a")
    assert command("trace", "mine.sqlite").returncode == 0
    assert command("trace").returncode == 2
    environment["PENGUIFLOW_TRACE"] = "mine.sqlite"
    assert "hello" in command("trace").stdout
    assert command("trace", "last").stdout.startswith("run ")
    assert "no live process writes mine.sqlite" in command("top").stdout


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(folder: Path, environment: dict[str, str]) -> Iterator[Start]:
    """Start `penguiflow` in the folder; it is killed when the test is over."""
    begun: list[subprocess.Popen[str]] = []

    def begin(*arguments: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "penguiflow", *arguments],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        begun.append(process)
        return process

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def has_a_run(path: Path) -> bool:
    """Say whether a store has a run yet."""
    try:
        with open_store(path) as store:
            return bool(store.runs())
    except TraceStoreError:
        return False


def test_one_follows_while_another_runs(command: Command, start: Start) -> None:
    """What begins and ends in one process is seen from another, without a terminal line by line."""
    running = start("run", "--trace", "runs.db", "flows:sleeping", "x")
    assert running.stdout is not None
    assert running.stdout.readline() == "begun\n"
    until(lambda: "running" in command("trace", "--status", "running").stdout)
    until(lambda: "Node sleep" in command("trace", "last").stdout)
    shown = command("trace", "last").stdout
    assert " · running\n" in shown
    assert "▸" in shown
    board = command("top", "runs.db", "--once").stdout
    assert "flow sleeping · pid" in board
    assert "1 live run" in board
    news, one = start("trace", "--follow"), start("trace", "last", "--follow")
    assert news.stdout is not None
    assert one.stdout is not None
    assert "sleeping  running" in news.stdout.readline()
    assert one.stdout.readline().endswith("s  sleep begun\n")
    running.send_signal(signal.SIGINT)
    assert running.wait(30) == 130
    rest, _ = one.communicate(timeout=30)
    assert "sleep cancelled after" in rest
    assert re.fullmatch(r"run [0-9a-f]+ cancelled after .* s", rest.splitlines()[-1])
    assert one.returncode == 0
    assert "sleeping  cancelled" in news.stdout.readline()
    command("run", "--trace", "runs.db", "flows:flow", "a")
    assert "hello  done" in news.stdout.readline()
    news.send_signal(signal.SIGINT)
    assert news.wait(30) == 0
    assert news.stderr is not None
    assert news.stderr.read() == ""


def test_a_killed_run_is_lost(command: Command, start: Start) -> None:
    running = start("run", "--trace", "runs.db", "flows:sleeping", "x")
    assert running.stdout is not None
    assert running.stdout.readline() == "begun\n"
    until(lambda: "sleeping" in command("trace").stdout)
    running.kill()
    running.wait(30)
    assert "lost" in command("trace").stdout
    assert "its process is gone, and has not said how it ended" in command("trace", "last").stdout
    assert "no live process writes runs.db" in command("top").stdout
    assert "done" in command("trace", traced(command, "flows:flow", "a")).stdout


@contextmanager
def terminal(folder: Path, environment: dict[str, str], *arguments: str) -> Iterator[tuple[int, int]]:
    """Start `penguiflow` in a terminal of its own; gives that and its process."""
    pid, fd = pty.fork()
    if not pid:
        os.chdir(folder)
        os.execve(
            sys.executable, [sys.executable, "-m", "penguiflow", *arguments], {**environment, "TERM": "xterm"}
        )
    try:
        yield fd, pid
    finally:
        os.close(fd)


def seen(fd: int, text: str, seconds: float = 20) -> str:
    """Read from a terminal until a text was there; an empty one is its end."""
    shown, deadline = b"", time.monotonic() + seconds
    while not text or text not in shown.decode(errors="replace"):
        assert time.monotonic() < deadline, shown.decode(errors="replace")
        if select.select([fd], [], [], 0.1)[0]:
            try:
                data = os.read(fd, 65536)
            except OSError:
                data = b""
            if not data:
                assert not text, shown.decode(errors="replace")
                break
            shown += data
    return shown.decode(errors="replace")


def status(pid: int) -> int:
    """Wait for the end of a process."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_top_in_a_terminal(start: Start, command: Command, folder: Path, environment: dict[str, str]) -> None:
    """It is drawn on a page of its own, in colour, again and again; q ends it and gives the terminal back."""
    environment.pop("NO_COLOR", None)
    start("run", "--trace", "runs.db", "flows:sleeping", "x")
    until(lambda: "sleeping" in command("top").stdout if (folder / "runs.db").exists() else False)
    with terminal(folder, environment, "top", "runs.db") as (fd, pid):
        shown = seen(fd, "live run")
        assert shown.startswith("\x1b[?1049h")
        assert "\x1b[1mflow sleeping\x1b[0m" in shown
        assert "live run" in seen(fd, "live run")
        os.write(fd, b"q")
        assert seen(fd, "").endswith("\x1b[?7h\x1b[?25h\x1b[?1049l")
        assert status(pid) == 0


def test_ctrl_c_ends_top(command: Command, folder: Path, environment: dict[str, str]) -> None:
    traced(command, "flows:flow", "a")
    environment["NO_COLOR"] = "1"
    with terminal(folder, environment, "top") as (fd, pid):
        shown = seen(fd, "no live process writes runs.db")
        assert "\x1b[2m" not in shown
        os.write(fd, b"\x03")
        assert "Traceback" not in seen(fd, "")
        assert status(pid) == 0


def test_a_run_is_followed_in_a_terminal(start: Start, folder: Path, environment: dict[str, str]) -> None:
    """It is redrawn until it ends, and stays on the screen as it was at the end."""
    running = start("run", "--trace", "runs.db", "flows:sleeping", "x")
    assert running.stdout is not None
    running.stdout.readline()
    until((folder / "runs.db").exists)
    until(lambda: has_a_run(folder / "runs.db"))
    with terminal(folder, environment, "trace", "last", "--follow") as (fd, pid):
        seen(fd, "running")
        running.send_signal(signal.SIGINT)
        shown = seen(fd, "")
        assert "cancelled" in shown.rpartition("\x1b[?1049l")[2]
        assert status(pid) == 0


def test_the_help_names_the_commands(command: Command) -> None:
    shown = command("--help").stdout
    assert "trace" in shown
    assert "top" in shown
    assert "--follow" in command("trace", "--help").stdout


def test_what_makes_no_sense_is_refused(command: Command) -> None:
    """Filters are for the list, numbers are numbers of something; each is said in one line."""
    traced(command, "flows:flow", "a b")
    for words, said in (
        (["last", "--status", "failed"], "--status"),
        (["--limit", "0"], "--limit"),
        (["--longer", "nan"], "--longer"),
        (["--shorter", "-1"], "--shorter"),
    ):
        done = command("trace", "runs.db", *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr


def test_the_reason_as_json(command: Command) -> None:
    """A program reads the sentences one by one."""
    traced(command, "flows:division", "0")
    sentences = json.loads(command("trace", "last", "--why", "--json").stdout)
    assert sentences[0].startswith("Node ")
    assert "ZeroDivisionError" in sentences[0]
