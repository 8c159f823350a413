"""The README is true: its code runs and prints what it shows, its pictures and tables are what we make."""

import json
import re
import subprocess
import sys
from pathlib import Path

from test_docs import FILE_NAME, MARK, blocks_of, commands_of, expectations, rules, run, script_of

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")


def test_the_code_prints_what_the_readme_shows(tmp_path: Path) -> None:
    blocks = blocks_of(README)
    code = [block for block in blocks if block.kind == "python"]
    script = tmp_path / "readme.py"
    script.write_text(script_of(code), encoding="utf-8")
    done = run([sys.executable, "-W", "error", str(script)], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    printed = [part.strip() for part in done.stdout.split(f"{MARK}\n")][: len(code)]
    said = expectations(blocks)
    assert [got for want, got in zip(said, printed, strict=True) if want is not None] == [
        want for want in said if want is not None
    ]


def test_the_commands_print_what_the_readme_shows(tmp_path: Path) -> None:
    for block in blocks_of(README):
        if block.lines and (name := FILE_NAME.match(block.lines[0])):
            (tmp_path / name[1]).write_text(block.text + "\n", encoding="utf-8")
        for command, said in commands_of(block) if block.kind == "console" else ():
            done = run(["sh", "-c", command], tmp_path)
            pattern = ".*".join(re.escape(part) for part in said.split("…"))
            assert re.fullmatch(pattern, (done.stdout + done.stderr).strip(), re.DOTALL), done


def test_the_picture_is_what_the_package_draws(tmp_path: Path) -> None:
    """After a change: `penguiflow draw examples/08_folder_questions.py:flow --format svg > docs/demo.svg`."""
    example = ROOT / "examples" / "08_folder_questions.py"
    done = run([sys.executable, "-m", "penguiflow", "draw", f"{example}:flow", "--format", "svg"], tmp_path)
    assert done.stdout == (ROOT / "docs" / "demo.svg").read_text(encoding="utf-8")


def test_the_set_up_is_two_commands() -> None:
    """`.ci/run` types both into a shell, on a copy of a clean checkout; here is seen that it finds them."""
    commands = [block.text for block in blocks_of(README) if block.kind == "sh"]
    assert [command.count("\n") for command in commands] == [0, 0]
    assert all(command.startswith("python3 -m venv .venv && ") for command in commands)
    assert commands[0].endswith("penguiflow demo")
    assert commands[1].endswith("pytest -q")
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "readme_command 'penguiflow demo'" in ci
    assert "readme_command 'pytest'" in ci


def test_the_table_of_guarantees_is_the_list_of_rules_in_force() -> None:
    told = re.findall(r"^\| (\d\.\d+) \|", TEXT, re.MULTILINE)
    in_force = [
        number for number, text in rules().items() if not text.strip().startswith("*Not yet in force.*")
    ]
    assert told == in_force


def test_our_column_beside_others_is_what_we_answer() -> None:
    """The other columns need the network: `python -m tests.peers` prints the whole table."""
    questions = ROOT / "tests" / "peers" / "questions.py"
    done = run([sys.executable, "-W", "error", str(questions), "on_penguiflow"], questions.parent)
    answers = json.loads(done.stdout)
    told = dict(re.findall(r"^\| (\S.+?) \| (.+?) \|", TEXT, re.MULTILINE))
    (version,) = re.findall(r"^\| \| penguiflow \(this one\) ([\d.]+) \|", TEXT, re.MULTILINE)
    assert answers == {"version": version} | {
        question: told.get(question) for question in answers if question != "version"
    }


def test_the_demo_is_as_short_as_the_readme_says() -> None:
    (said,) = re.findall(r"\[(\d+) lines\]\(examples/08_folder_questions\.py\)", TEXT)
    assert len((ROOT / "examples" / "08_folder_questions.py").read_text().splitlines()) == int(said)


def test_every_link_leads_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", TEXT)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_the_commands_that_prove_things_exist() -> None:
    """What the README tells to run answers to `--help`."""
    for module in ("tests.bench", "tests.peers"):
        assert f"python -m {module}" in TEXT
        done = subprocess.run(
            [sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
