"""The other commands, and what wrong command lines get: one line on standard error and exit status 2."""

import json
import os
import re
import xml.etree.ElementTree
from pathlib import Path

import pytest

from penguiflow import __version__
from penguiflow.cli import main
from penguiflow.cli.errors import one_line

from .conftest import Command

BROKEN = """
from penguiflow import Flow, node

@node
async def a(text: str) -> int: ...

@node
async def b(text: str) -> str: ...

flow = Flow("broken", a >> b)
"""


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["run", "nowhere:flow", "x"], "there is no module 'nowhere' in this folder or on the path"),
        (["run", "no.where:flow", "x"], "there is no module 'no.where' in this folder or on the path"),
        (["draw", "nowhere.py:flow"], "there is no file 'nowhere.py'"),
        (["check", "flows"], "'flows' does not say module:flow, such as my_module:flow or my_file.py:flow"),
        (["check", "failing:flow"], "module 'failing' can't be loaded: ZeroDivisionError: division by zero"),
        (["check", "lacking:flow"], "module 'lacking' can't be loaded: ModuleNotFoundError: "),
        (["check", "speechless:flow"], "module 'speechless' can't be loaded: SpeechlessError\n"),
        (["check", "leaving:flow"], "module 'leaving' exits when it is imported"),
        (["check", "leaving.py:flow"], "'leaving.py' exits when it is imported"),
        (["check", ".flows:flow"], "'.flows' is not the name of a module: give it without the leading dot"),
        (["check", "flows:text"], "flows:text is of type str, and not a Flow; it has the flows both, "),
        (["check", "flows:flaw"], "module 'flows' has no 'flaw'; it has the flows both, "),
        (["run", "flows:flow"], "flow 'hello' needs an input: a text, or - for standard input"),
        (["demo", "nowhere"], "there is no folder 'nowhere'"),
        (["demo", "flows.py"], "'flows.py' is a file; the demo reads a folder"),
        (["demo", "."], "there is no text or Markdown file in '.'"),
    ],
)
def test_what_is_not_there_is_one_line_and_status_2(
    command: Command, folder: Path, arguments: list[str], line: str
) -> None:
    (folder / "failing.py").write_text("1 / 0")
    (folder / "lacking.py").write_text("import nothing_of_that_name")
    (folder / "speechless.py").write_text(
        "class SpeechlessError(Exception):\n    def __str__(self): return 1 / 0\nraise SpeechlessError"
    )
    (folder / "leaving.py").write_text("import sys; sys.exit(0)")
    done = command(*arguments)
    assert (done.stdout, done.returncode) == ("", 2)
    assert done.stderr.startswith(f"penguiflow: {line}")
    assert done.stderr.count("\n") == 1


def test_a_flow_that_can_not_be_built_is_status_1(command: Command, folder: Path) -> None:
    (folder / "broken.py").write_text(BROKEN)
    done = command("check", "broken:flow")
    assert (done.stdout, done.returncode) == ("", 1)
    assert done.stderr.startswith("penguiflow: GraphError: ")
    assert done.stderr.count("\n") == 1


def test_an_unreadable_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Asks `os.access`, because a test may run as a user who may read everything."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert main(["demo", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"penguiflow: the folder {str(tmp_path)!r} can't be read: permission denied\n"
    )


def test_a_group_of_one_error_is_told_as_that_error() -> None:
    assert one_line(ExceptionGroup("tasks", [ExceptionGroup("more", [KeyError("x")])])) == "KeyError: 'x'"


@pytest.mark.parametrize("arguments", [[], ["fly"], ["draw", "flows:flow", "--format", "png"]])
def test_wrong_usage_is_status_2(command: Command, arguments: list[str]) -> None:
    done = command(*arguments)
    assert done.returncode == 2
    assert "usage: penguiflow" in done.stderr


def test_draw_gives_all_three_forms(command: Command) -> None:
    assert "words" in command("draw", "flows:flow").stdout
    assert command("draw", "flows:flow", "--format", "dot").stdout.startswith("digraph")
    picture = xml.etree.ElementTree.fromstring(command("draw", "flows:flow", "--format", "svg").stdout)
    assert picture.tag.endswith("svg")


def test_check_prints_nodes_edges_and_types(command: Command) -> None:
    done = command("check", "flows:flow")
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.startswith("flow 'hello': 2 nodes, 1 edge; it builds\n")
    rows = [re.split(r"\s{2,}", line) for line in done.stdout.splitlines()]
    assert ["words", "str", "stream of str", "entry", "concurrency 16"] in rows
    assert ["loud", "str", "str", "exit, inline"] in rows
    assert ["words → loud", "str"] in rows
    assert done.stdout.endswith("\nno warnings\n")


def test_check_warns_of_what_is_often_not_meant(command: Command) -> None:
    assert "warning: many→slow drops data when it is full" in command("check", "flows:dropping").stdout


def test_the_demo_answers_about_a_folder(command: Command, folder: Path) -> None:
    (folder / "notes.md").write_text("# Notes\n\nCredit comes up from the reader. Items go down.\n")
    done = command("demo", ".", "Where does credit come from?")
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout == (
        ".: Where does credit come from?\n\n"
        "No model was asked; the files say:\n\n"
        "- Credit comes up from the reader. [1]\n\n"
        "[1] notes.md, line 3\n"
    )


def test_the_demo_goes_on_without_a_file_that_can_not_be_read(command: Command, folder: Path) -> None:
    """It is the user's folder: a file that is away or locked is named, the others answer."""
    (folder / "notes.md").write_text("Credit comes up from the reader.\n")
    (folder / "gone.md").symlink_to("nowhere")
    (folder / "loop.md").symlink_to("loop.md")
    done = command("demo", ".", "credit")
    assert done.returncode == 0
    assert "- Credit comes up from the reader. [1]\n" in done.stdout
    assert sorted(done.stderr.splitlines()) == [
        "left out: [Errno 2] No such file or directory: 'gone.md'",
        "left out: [Errno 40] Too many levels of symbolic links: 'loop.md'",
    ]


def test_the_demo_says_nothing_where_no_file_can_be_read(command: Command, folder: Path) -> None:
    (folder / "gone.md").symlink_to("nowhere")
    done = command("demo", ".", "credit")
    assert done.stdout.endswith("the files say nothing on that.\n")
    assert (done.stderr.count("\n"), done.returncode) == (1, 0)


def test_the_demo_streams_token_by_token(command: Command, folder: Path) -> None:
    """Each word of the answer is a numbered chunk of one stream."""
    (folder / "notes.md").write_text("Credit comes up from the reader.\n")
    items = [json.loads(line) for line in command("demo", "--json", ".", "credit").stdout.splitlines()]
    assert [item["seq"] for item in items] == list(range(len(items)))
    assert [item["payload"] for item in items[1:8]] == [
        "- ",
        "Credit ",
        "comes ",
        "up ",
        "from ",
        "the ",
        "reader. ",
    ]


def test_long_runs_of_side_by_side_streams_stay_apart(command: Command) -> None:
    """Lines of two streams that come at once carry names, and share no line."""
    lines = command("run", "flows:both", "One two").stdout.splitlines()
    assert {line.partition("] ")[0] for line in lines} == {"[upper", "[lower"}
    text = {
        name: "".join(line.partition("] ")[2] for line in lines if name in line)
        for name in ("upper", "lower")
    }
    assert text == {"upper": "ONE TWO ", "lower": "one two "}


def test_the_version(command: Command) -> None:
    """One line, and nothing else is needed."""
    done = command("--version")
    assert (done.stdout, done.stderr, done.returncode) == (f"penguiflow {__version__}\n", "", 0)
