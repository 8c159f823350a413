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
