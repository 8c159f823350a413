"""`penguiflow run`: what goes in, what comes out, and how it ends, seen from outside."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import Command


def test_text_streams_to_the_terminal(command: Command) -> None:
    """Chunks of one stream make up one text."""
    done = command("run", "flows:flow", "items go down")
    assert (done.stdout, done.stderr, done.returncode) == ("ITEMS GO DOWN \n", "", 0)


def test_a_file_is_a_module_too(command: Command) -> None:
    assert command("run", "flows.py:flow", "up").stdout == "UP \n"


def test_standard_input_is_the_input(command: Command) -> None:
    assert command("run", "flows:flow", "-", stdin="credit comes up\n").stdout == "CREDIT COMES UP \n"


def test_json_is_one_item_per_line(command: Command) -> None:
    """Each line is an item with its number; nothing else is on standard output."""
    done = command("run", "flows:flow", "a b", "--json")
    items = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(item["kind"], item["seq"], item["payload"]) for item in items] == [
        ("chunk", 0, "A "),
        ("chunk", 1, "B "),
    ]
    assert {item["node"] for item in items} == {"loud"}
    assert len({item["stream_id"] for item in items}) == 1


def test_json_input_is_validated_by_the_entry(command: Command) -> None:
    assert command("run", "flows:orders", '{"dish": "soup", "count": 2}').stdout == '{"soup":2}\n'


@pytest.mark.parametrize(
    ("text", "problem"),
    [('{"count": 2}', "dish: "), ('{"dish": "soup", "count": "x"}', "count: "), ("soup", "Invalid JSON")],
)
def test_input_that_does_not_fit_names_the_field(command: Command, text: str, problem: str) -> None:
    done = command("run", "flows:orders", text)
    assert (done.stdout, done.returncode) == ("", 2)
    assert "entry 'cook' takes Order" in done.stderr
    assert problem in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_flow_that_takes_a_stream_gets_line_by_line(command: Command) -> None:
    assert command("run", "flows:lengths", "-", stdin="one\nthree\n\nlast").stdout == "3\n5\n0\n4\n"


def test_lines_of_an_input_can_be_chunks(command: Command) -> None:
    assert command("run", "flows:both", "Ab", "--lines").stdout.splitlines() == ["[upper] AB ", "[lower] ab "]


def test_lines_are_passed_on_before_the_input_ends(folder: Path, environment: dict[str, str]) -> None:
    """Standard input is read under credit, and not to its end first."""
    command = [sys.executable, "-m", "penguiflow", "run", "flows:lengths", "-"]
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for line in ("one", "three"):
            process.stdin.write(f"{line}\n")
            process.stdin.flush()
            assert process.stdout.readline() == f"{len(line)}\n"
        process.stdin.close()
        assert process.wait(30) == 0


def test_sources_start_by_themselves(command: Command) -> None:
    assert command("run", "flows:clock").stdout == "0\n1\n2\n"
    done = command("run", "flows:clock", "x")
    assert (done.stderr, done.returncode) == (
        "penguiflow: flow 'clock' takes no input: its sources start by themselves\n",
        2,
    )


def test_drops_are_told(command: Command) -> None:
    """What a dropping edge took away is said on standard error."""
    done = command("run", "flows:dropping", "x")
    shown = len(done.stdout.splitlines())
    assert f"{50 - shown} items were dropped" in done.stderr
    assert done.returncode == 0


def test_a_failing_run_is_one_line_and_status_1(command: Command) -> None:
    done = command("run", "flows:division", "0")
    assert (done.stdout, done.returncode) == ("", 1)
    assert done.stderr.startswith("penguiflow: StepError: ")
    assert "divide" in done.stderr
    assert "ZeroDivisionError" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_traceback_comes_when_it_is_asked_for(command: Command) -> None:
    done = command("run", "flows:division", "0", "--traceback")
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert "return 1 / number" in done.stderr


def test_ctrl_c_cancels_the_run_and_ends_with_130(folder: Path, environment: dict[str, str]) -> None:
    """The step's cleanup has run when the process ends."""
    command = [sys.executable, "-m", "penguiflow", "run", "flows:sleeping", "x"]
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "begun\n"
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert time.monotonic() - started < 5
        assert process.stderr.read() == "penguiflow: cancelled by Ctrl-C\n"
    assert (folder / "ended").read_text() == "yes"


def test_ctrl_c_while_waiting_for_standard_input(folder: Path, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "penguiflow", "run", "flows:lengths", "-"]
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("one\n")
        process.stdin.flush()
        assert process.stdout.readline() == "3\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130


def test_a_reader_that_goes_ends_the_run(folder: Path, environment: dict[str, str]) -> None:
    """`penguiflow run … | head -1` ends, although the flow would not."""
    command = [sys.executable, "-m", "penguiflow", "run", "flows:endless", "on"]
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "on\n"
        process.stdout.close()
        assert process.wait(30) == 141
        assert process.stderr.read() == ""


def test_long_work_shows_progress_on_a_terminal(folder: Path, environment: dict[str, str]) -> None:
    """After a second of silence a terminal is told which nodes are at work; the line is taken away again."""
    keyboard, screen = pty.openpty()
    command = [sys.executable, "-m", "penguiflow", "run", "flows:sleeping", "x"]
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=screen, stderr=screen)
    os.close(screen)
    shown = b""
    until = time.monotonic() + 20
    while b"at work: sleep 1" not in shown and time.monotonic() < until:
        if select.select([keyboard], [], [], 0.1)[0]:
            shown += os.read(keyboard, 4096)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    shown += os.read(keyboard, 4096)
    os.close(keyboard)
    assert b"begun" in shown
    assert b"at work: sleep 1" in shown
    assert shown.rstrip().endswith(b"\x1b[Kpenguiflow: cancelled by Ctrl-C")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["secrets", "x"], "what node 'hide' gave can't be shown: ValueError: not for your eyes"),
        (["secrets", "x", "--json"], "what node 'hide' gave can't be shown: ValueError: not for your eyes"),
        (["halves", "x", "--json"], "what node 'halve' gave can't be shown: "),
    ],
)
def test_what_can_not_be_shown_is_said(command: Command, arguments: list[str], line: str) -> None:
    """The run has worked, its output can't be written: one line says whose it is and why."""
    done = command("run", f"flows:{arguments[0]}", *arguments[1:])
    assert (done.stdout, done.returncode) == ("", 1)
    assert done.stderr.startswith(f"penguiflow: {line}")
    assert "TaskGroup" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_text_that_no_encoding_knows_is_shown_to_people(command: Command) -> None:
    assert command("run", "flows:halves", "x").stdout == "\\ud800x\n"


def in_shell(folder: Path, environment: dict[str, str], line: str) -> "subprocess.CompletedProcess[str]":
    """Run one line of a shell, in which `penguiflow` is the command."""
    return subprocess.run(
        ["sh", "-c", f'penguiflow() {{ "{sys.executable}" -m penguiflow "$@"; }}; {line}'],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("flow", ["flow", "lengths"])
def test_a_closed_standard_input_is_said(folder: Path, environment: dict[str, str], flow: str) -> None:
    done = in_shell(folder, environment, f"penguiflow run flows:{flow} - <&-")
    assert (done.stdout, done.returncode) == ("", 2)
    assert done.stderr == "penguiflow: there is no input: standard input is closed\n"


@pytest.mark.parametrize("flow", ["flow", "lengths"])
def test_a_standard_input_that_can_not_be_read_is_said(
    folder: Path, environment: dict[str, str], flow: str
) -> None:
    done = in_shell(folder, environment, f"penguiflow run flows:{flow} - 0>written")
    assert (done.stdout, done.returncode) == ("", 2)
    assert done.stderr == "penguiflow: standard input can't be read: Bad file descriptor\n"


@pytest.mark.parametrize("rest", ["run flows:flow x", "draw flows:flow", "check flows:flow", "demo"])
def test_a_closed_standard_output_is_said(folder: Path, environment: dict[str, str], rest: str) -> None:
    done = in_shell(folder, environment, f"penguiflow {rest} >&-")
    assert done.returncode == 141
    assert done.stderr == "penguiflow: nothing can be shown: standard output is closed\n"


def test_a_closed_standard_error_hurts_nobody(folder: Path, environment: dict[str, str]) -> None:
    """What is said there is lost; it does not turn up in the output."""
    assert in_shell(folder, environment, "penguiflow run flows:flow x 2>&-").stdout == "X \n"
    done = in_shell(folder, environment, "penguiflow run flows:division 0 2>&-")
    assert (done.stdout, done.returncode) == ("", 1)


@pytest.mark.parametrize(
    ("flow", "problem"),
    [
        ("flow", "the input does not fit: entry 'words' takes text, and it is not UTF-8: "),
        ("lengths", "line 2 of the input does not fit: entry 'lines' takes text, and it is not UTF-8: "),
        ("both --lines", "line 2 of the input does not fit: entry 'words' takes text, and it is not UTF-8: "),
    ],
)
def test_input_that_is_no_text_is_status_2(
    folder: Path, environment: dict[str, str], flow: str, problem: str
) -> None:
    """The same bytes are the same mistake, read at once or line by line."""
    done = in_shell(folder, environment, f"printf 'a\\n\\377\\n' | penguiflow run flows:{flow} -")
    assert done.returncode == 2
    assert done.stderr == f"penguiflow: {problem}invalid start byte\n"


def test_a_line_that_does_not_fit_is_told_by_its_number(command: Command) -> None:
    done = command("run", "flows:division", "-", "--lines", stdin="4\nfour\n")
    assert done.returncode == 2
    assert done.stderr.startswith("penguiflow: line 2 of the input does not fit: entry 'divide' takes int: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", ["--json flows:flow x", "flows:flow --json x", "flows:flow x --json"])
def test_options_may_stand_anywhere(command: Command, arguments: str) -> None:
    done = command("run", *arguments.split())
    assert (json.loads(done.stdout)["payload"], done.stderr) == ("X ", "")
