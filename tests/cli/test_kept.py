"""`penguiflow runs`, `show` and `replay`, seen from outside: real files, processes and terminals."""

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import Command

SHOP = """
import sys
from collections.abc import AsyncIterator

import anyio

from penguiflow import Context, Flow, Stream, node
from penguiflow.journals import SQLiteJournal


@node
async def words(text: str) -> AsyncIterator[str]:
    for word in text.split():
        yield word + " "


@node
def loud(word: str) -> str:
    return word.upper()


@node(timeout=0.5)
async def whole(words: Stream[str]) -> str:
    parts = [word async for word in words]
    return "".join(parts).strip()


@node
async def approve(text: str, ctx: Context) -> str:
    sure = await ctx.interrupt({"say": text}, expect=bool)
    return text if sure else ""


@node(thread=True)
def mark(text: str) -> str:
    marked = text + "!"
    return marked


flow = Flow("shop", words >> loud >> whole >> approve >> mark)


async def main(run_id: str, answer: bool) -> None:
    async with flow.open(journal=SQLiteJournal("journal.db")) as runtime:
        run = await runtime.start("items go down", run_id=run_id)
        while not (asked := await runtime.interrupts()):
            await anyio.sleep(0.01)
        if answer:
            await runtime.answer(run_id, asked[0].token, True)
            await run.result()


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2:] == ["answer"])
"""


@pytest.fixture(autouse=True)
def shop(folder: Path, environment: dict[str, str]) -> None:
    """A folder with a flow, `shop`, its journal with the run `first`, and changed code in `changed`."""
    environment.pop("PENGUIFLOW_JOURNAL", None)
    (folder / "shop.py").write_text(SHOP)
    (folder / "changed.py").write_text(SHOP.replace("word.upper()", "word.title()"))
    record(folder, environment, "first", "answer")


def record(folder: Path, environment: dict[str, str], *arguments: str) -> None:
    subprocess.run(
        [sys.executable, "shop.py", *arguments], cwd=folder, env=environment, check=True, timeout=60
    )


def lines_of(text: str) -> list[str]:
    """Give lines without the spaces around and in them that only lay them out."""
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def test_runs_are_listed(command: Command, folder: Path, environment: dict[str, str]) -> None:
    """The latest first, filtered by flow and status; as JSON, a row to a line."""
    record(folder, environment, "second")
    listed = command("runs")
    assert (listed.returncode, listed.stderr) == (0, "")
    heads, *rows = lines_of(listed.stdout)
    assert heads == "run flow status begun took records size"
    assert [row.split()[:3] for row in rows] == [["second", "shop", "interrupted"], ["first", "shop", "done"]]
    for words in (["--status", "done"], ["journal.db", "--status", "done", "--flow", "shop"]):
        assert lines_of(command("runs", *words).stdout)[1:] == [rows[1]]
    assert lines_of(command("runs", "--limit", "1").stdout)[1:] == [rows[0]]
    assert command("runs", "--flow", "nobody").stdout == "no such run in journal.db\n"
    told = [json.loads(line) for line in command("runs", "--json").stdout.splitlines()]
    assert [row["run_id"] for row in told] == ["second", "first"]
    assert set(told[0]) == set("run_id flow status created updated records size_bytes owner".split())


def test_a_run_is_shown_without_its_code(command: Command, folder: Path) -> None:
    """What each step gave, in the order in which it became durable; the flow's file is not needed."""
    (folder / "shop.py").unlink()
    for words in (["first"], ["fi"], ["last"], ["journal.db", "first"], ["--journal", "journal.db", "first"]):
        shown = command("show", *words)
        assert (shown.returncode, shown.stderr) == (0, "")
        head, given, *rest = lines_of(shown.stdout)
        assert re.match(r"run first · flow shop · done · begun \S+ \S+ · .* · \d+ records, [\d.]+ KiB", head)
        assert given == 'input "items go down"'
        assert rest == [
            '1 words 3 chunks "items go down "',
            '2 loud 3 chunks "ITEMS GO DOWN "',
            '3 whole result "ITEMS GO DOWN"',
            *(["taken up again"] if "taken up again" in rest else []),
            f'4 approve{" ×2" if "taken up again" in rest else ""} asked {{"say":"ITEMS GO DOWN"}}',
            "answer true",
            'result "ITEMS GO DOWN"',
            '5 mark result "ITEMS GO DOWN!"',
            "done",
        ]
        assert max(map(len, shown.stdout.splitlines())) <= 100
    told = json.loads(command("show", "first", "--json").stdout)
    assert [(step["step"], step["node"]) for step in told["steps"]] == [
        (number, node) for number, node in enumerate("words loud whole approve mark".split(), 1)
    ]
    assert told["steps"][1]["gave"]["streams"][0]["chunks"] == ["ITEMS ", "GO ", "DOWN "]
    assert told["steps"][3]["questions"][0]["answer"] is True
    assert (told["input"], told["end"]["status"]) == ("items go down", "done")


def test_an_unfinished_run_says_what_is_not_settled(
    command: Command, folder: Path, environment: dict[str, str]
) -> None:
    """The question waits, and is told with the token that answers it; a replay ends there."""
    record(folder, environment, "second")
    lines = lines_of(command("show", "second").stdout)
    assert lines[-5:-1] == [
        "not settled:",
        'approve asked {"say":"ITEMS GO DOWN"}',
        "answer none yet",
        "not over: 1 question without an answer",
    ]
    assert re.fullmatch(r'token [0-9a-f]{24}: \{"say":"ITEMS GO DOWN"\}', lines[-1])
    done = command("replay", "shop:flow", "second")
    assert done.returncode == 0
    assert 'the replay ends here: node approve asks {"say":"ITEMS GO DOWN"}, and no answer' in done.stderr


def test_a_replay_of_the_same_code_differs_in_nothing(command: Command, folder: Path) -> None:
    """Exit status 0, one line of warning; the journal is as it was."""
    before = command("runs", "--json").stdout
    done = command("replay", "shop:flow", "first")
    assert (done.returncode, done.stdout) == (0, "run first · 5 steps executed again · nothing differs\n")
    said = "5 steps of run first are executed again: what they do outside of the flow happens again"
    assert done.stderr == f"penguiflow: {said}\n"
    assert command("runs", "--json").stdout == before


def test_a_replay_of_changed_code_shows_what_differs(command: Command) -> None:
    """Step by step, what was recorded and what is now; exit status 1."""
    done = command("replay", "changed:flow", "first")
    assert done.returncode == 1
    lines = lines_of(done.stdout)
    assert lines[:8] == [
        "run first · 5 steps executed again · 4 differ",
        "2 loud",
        lines[2],
        'recorded "ITEMS GO DOWN " (3 chunks)',
        'now "Items Go Down " (3 chunks)',
        "3 whole",
        "result",
        'recorded "ITEMS GO DOWN"',
    ]
    told = json.loads(command("replay", "changed:flow", "first", "--json").stdout)
    assert [(step["step"], step["differs"]) for step in told["steps"]] == [
        (1, False),
        (2, True),
        (3, True),
        (4, True),
        (5, True),
    ]


def test_parts_of_a_run_are_replayed(command: Command) -> None:
    """One step with the input that it had, those up to one, those from one on."""
    one = command("replay", "changed:flow", "first", "--step", "3")
    assert (one.returncode, lines_of(one.stdout)) == (
        0,
        [
            "run first · 1 step executed again · nothing differs",
            "3 whole as recorded",
            'result "ITEMS GO DOWN"',
        ],
    )
    assert "step 3 of run first is executed again: what it does outside" in one.stderr
    first = command("replay", "changed:flow", "first", "--until", "1")
    assert (first.returncode, lines_of(first.stdout)) == (
        0,
        ["run first · 1 step executed again · nothing differs"],
    )
    since = command("replay", "changed:flow", "first", "--from", "4")
    assert (since.returncode, since.stderr) == (0, "")
    assert lines_of(since.stdout)[1:] == ["4 approve", "5 mark"]
    rest = command("replay", "changed:flow", "first", "--from", "3", "--with-code")
    assert (rest.returncode, rest.stdout) == (0, "run first · 3 steps executed again · nothing differs\n")
    assert command("replay", "changed:flow", "first", "--from", "2", "--with-code").returncode == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["runs", "--journal", "no.db"],
            "there is no journal 'no.db'; name it with --journal or $PENGUIFLOW_",
        ),
        (["runs", "shop.py"], "is not a journal, and not a database at all"),
        (["runs", "--journal", "empty.db"], "the file 'empty.db' is empty, and no journal"),
        (["show", "nobody"], "this journal has no run 'nobody'; penguiflow runs lists those that it has"),
        (["show", "a", "b", "c"], "one journal and one run can be named, and not 'a b c'"),
        (
            ["replay", "shop:flow", "first", "--step", "9"],
            "run first has no step 9: it has 1 to 5; penguiflow",
        ),
        (["replay", "shop:flow", "first", "--with-code"], "--with-code goes with --from N"),
        (["replay", "shop:flow", "first", "--pdb"], "--pdb looks at one step: name it with --step N"),
        (["replay", "shop:flow", "first", "--from", "2", "--pdb"], "add --with-code to --from N"),
        (["replay", "flows:flow", "first"], "run first is one of flow 'shop', and this flow is 'hello'"),
    ],
)
def test_what_can_not_be_done_is_one_line(
    command: Command, folder: Path, words: list[str], said: str
) -> None:
    """Exit status 2; the journal's name may come from the environment as well."""
    (folder / "empty.db").touch()
    done = command(*words)
    assert (done.returncode, done.stdout) == (2, "")
    last = done.stderr.splitlines()[-1]
    assert last.startswith("penguiflow: ")
    assert said in last


def test_the_journal_is_named_by_the_environment(
    command: Command, folder: Path, environment: dict[str, str]
) -> None:
    """As the trace store is by its own variable."""
    (folder / "journal.db").rename(folder / "elsewhere")
    environment["PENGUIFLOW_JOURNAL"] = "elsewhere"
    assert command("show", "last").stdout.startswith("run first ")


@pytest.mark.parametrize(
    ("step", "line", "name"), [(2, "return word.upper()", "word"), (5, "marked = ", "text")]
)
def test_the_debugger_is_fed_by_a_pipe(command: Command, step: int, line: str, name: str) -> None:
    """At the first line of the step's function, with its arguments; also in a thread."""
    done = command(
        "replay",
        "shop:flow",
        "first",
        "--step",
        str(step),
        "--pdb",
        stdin=f"p sorted(locals())\np {name}\nc\n",
    )
    assert done.returncode == 0, done.stderr
    assert f"-> {line}" in done.stdout
    assert f"(Pdb) ['{name}']" in done.stdout
    assert "nothing differs" in done.stdout


def test_the_debugger_on_a_terminal(folder: Path, environment: dict[str, str]) -> None:
    """It steps; Ctrl-C stays in it; it looks at where a step has failed; leaving it ends the replay."""
    (folder / "broken.py").write_text(SHOP.replace('return "".join(parts).strip()', "return 1 // 0"))
    keys = ["n\n", "\x03", "p len(parts)\n", "c\n", "p len(parts) + 40\n", "q\n"]
    shown, status = typed(folder, environment, keys, "replay", "broken:flow", "first", "--step", "3", "--pdb")
    assert "-> parts = [word async for word in words]" in shown
    assert "--KeyboardInterrupt--" in shown
    assert "\r\n3\r\n" in shown
    assert "ZeroDivisionError" in shown
    assert "\r\n43\r\n" in shown
    assert "1 step executed again · 1 differs" in shown
    assert status == 1
    shown, status = typed(
        folder, environment, ["q\n"], "replay", "shop:flow", "first", "--step", "3", "--pdb"
    )
    assert "the debugger was left: nothing is compared" in shown
    assert status == 1


def typed(folder: Path, environment: dict[str, str], keys: list[str], *arguments: str) -> tuple[str, int]:
    """Run `penguiflow` in a terminal, and type one line at each prompt of the debugger.

    A Ctrl-C is typed again where nothing follows: readline misses one that comes just before it waits.
    """
    pid, fd = pty.fork()
    if not pid:
        os.chdir(folder)
        os.execve(
            sys.executable, [sys.executable, "-m", "penguiflow", *arguments], {**environment, "TERM": "xterm"}
        )
    shown, deadline, at = "", time.monotonic() + 40, 0
    left, last = list(keys), ""
    try:
        while time.monotonic() < deadline:
            if select.select([fd], [], [], 0.1)[0]:
                try:
                    data = os.read(fd, 65536)
                except OSError:
                    break
                if not data:
                    break
                shown += data.decode(errors="replace")
            elif last == "\x03":
                os.write(fd, last.encode())
            if left and "(Pdb) " in shown[at:]:
                at, last = len(shown), left.pop(0)
                os.write(fd, last.encode())
        else:
            os.kill(pid, 9)
    finally:
        os.close(fd)
    return shown, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_on_a_terminal_a_run_takes_its_width(folder: Path, environment: dict[str, str]) -> None:
    """In colour, and no line is longer; without colours where they are not wanted."""
    environment["COLUMNS"] = "60"
    environment.pop("NO_COLOR", None)
    shown, status = typed(folder, environment, [], "show", "first")
    assert status == 0
    assert "\x1b[36mwords" in shown
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert max(map(len, plain.splitlines())) <= 60
    environment["NO_COLOR"] = "1"
    assert "\x1b[3" not in typed(folder, environment, [], "show", "first")[0]
