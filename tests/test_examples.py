"""Every example runs as a newcomer would run it, and prints what its docstring says."""

import ast
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
TELLING = [path for path in EXAMPLES if "It prints::" in path.read_text()]


def run(path: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run one example in a process of its own, with warnings as errors."""
    search = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-W", "error", str(path), *arguments],
        env={**os.environ, "PYTHONPATH": search},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def promised(path: Path) -> str:
    """Give what the docstring says that the example prints."""
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    return textwrap.dedent(text.partition("It prints::\n\n")[2]).strip("\n") + "\n"


@pytest.mark.parametrize("path", TELLING, ids=lambda path: path.stem)
def test_an_example_prints_what_it_says(path: Path) -> None:
    done = run(path)
    assert (done.stdout, done.stderr, done.returncode) == (promised(path), "", 0)


def test_the_folder_example_quotes_and_cites(tmp_path: Path) -> None:
    """Sentences come from the files as they are, with the file and the line; nothing else is claimed."""
    (tmp_path / "birds").mkdir()
    (tmp_path / "birds" / "penguins.md").write_text(
        "# Penguins\n\nBirds.\n\nA penguin swims, and it can't fly. Its nest is made of stones.\n"
    )
    (tmp_path / "cats.txt").write_text("A cat sleeps for most of the day.\n")
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG penguins nest here")
    example = ROOT / "examples" / "08_folder_questions.py"

    done = run(example, str(tmp_path), "What is the nest of a penguin made of?")
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout == (
        "No model was asked; the files say:\n\n"
        "- Its nest is made of stones. [1]\n"
        "- A penguin swims, and it can't fly. [1]\n\n"
        "[1] birds/penguins.md, line 5\n"
    )

    done = run(example, str(tmp_path), "zebra?")
    assert done.stdout == "No model was asked; the files say nothing on that.\n"


def test_the_folder_example_quotes_without_marks(tmp_path: Path) -> None:
    """What makes Markdown of a text is taken away; what only looks like it stays."""
    (tmp_path / "a.md").write_text(
        "Birds\n=====\n\n"
        "> # Penguins\n> *Intent:* a penguin __never__ flies, ***not once***.\n"
        "> It *swims\n> well* at 2 * 3 knots.\n\n"
        "2. The [penguin](https://example.org/p) has snake_case_feet and `*args`, `**kwargs` too.\n"
    )
    done = run(ROOT / "examples" / "08_folder_questions.py", str(tmp_path), "penguin swims")
    assert sorted(line for line in done.stdout.splitlines() if line.startswith("- ")) == [
        "- It swims well at 2 * 3 knots. [1]",
        "- Penguins Intent: a penguin never flies, not once. [1]",
        "- The penguin has snake_case_feet and `*args`, `**kwargs` too. [2]",
    ]


def test_all_examples_are_tested() -> None:
    """A new example can't be forgotten here."""
    others = [path.name for path in EXAMPLES if path not in TELLING]
    assert others == ["08_folder_questions.py"]
    assert [path.name[:2] for path in EXAMPLES] == [f"{number:02}" for number in range(1, len(EXAMPLES) + 1)]


def test_the_demo_is_short_enough_to_be_read() -> None:
    assert len((ROOT / "examples" / "08_folder_questions.py").read_text().splitlines()) < 150
