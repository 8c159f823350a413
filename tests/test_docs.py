"""The documentation is true: every block runs and prints what the page says, and the site builds cleanly.

A page is executed as one script in a fresh process. In the script every line keeps the number it has on the
page (what is no code becomes an empty line), so that a traceback names the line to mend. Kinds of block:

- ``python``: code; all blocks of a page share one namespace. A first line like ``# shop.py`` also writes the
  block to that file. A page that defines ``test_…`` functions is handed to pytest too.
- ``text`` directly after it: what the block prints, exactly.
- ``console``: each line that begins with ``$ `` is typed into a shell in the page's folder, the lines below
  are what it prints, standard error last (``…`` stands for anything).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import penguiflow

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
FENCE = re.compile(r"^```(\S*)")
FILE_NAME = re.compile(r"^# ([\w/]+\.(?:py|md|txt))$")
MARK = "\x1e"


@dataclass(frozen=True)
class Block:
    """A fenced block: ``kind`` is the word after the fence, ``line`` the number of its first line of text."""

    kind: str
    line: int
    lines: tuple[str, ...]
    follows: int

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def blocks_of(page: Path) -> list[Block]:
    """Find the fenced blocks of a page; ``follows`` is the line of the last text before each."""
    found: list[Block] = []
    opened: tuple[str, int] | None = None
    inside: list[str] = []
    last_text = 0
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fence = FENCE.match(line)
        if fence and opened is None:
            opened, inside = (fence[1], number + 1), []
        elif fence and opened is not None:
            found.append(Block(opened[0], opened[1], tuple(inside), last_text))
            opened, last_text = None, number
        elif opened is not None:
            inside.append(line)
        elif line.strip():
            last_text = number
    assert opened is None, f"{page}: the block that begins in line {opened[1]} is never closed"
    return found


def script_of(blocks: list[Block]) -> str:
    """Give the page's code as one script with the page's line numbers; a mark is printed after each block."""
    lines: list[str] = []
    for block in blocks:
        lines += [""] * (block.line - 1 - len(lines))
        lines += [*block.lines, f'print("{MARK}", flush=True)']
    return "\n".join(lines) + "\n"


def expectations(blocks: list[Block]) -> list[str | None]:
    """Give what each ``python`` block shall print, or ``None`` where the page doesn't say."""
    expected: list[str | None] = []
    for index, block in enumerate(blocks):
        if block.kind != "python":
            continue
        after = blocks[index + 1] if index + 1 < len(blocks) else None
        closing = block.line + len(block.lines)
        shown = after is not None and after.kind == "text" and after.follows == closing
        expected.append(after.text.strip() if shown and after is not None else None)
    return expected


def run(command: list[str], folder: Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    paths = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    known = [str(ROOT), str(folder), os.environ.get("PYTHONPATH", "")]
    changed = {
        "PATH": os.pathsep.join(paths),
        "PYTHONPATH": os.pathsep.join(filter(None, known)),
        "PYTHONIOENCODING": "utf-8",
        "COLUMNS": "88",
    }
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **changed}, capture_output=True, text=True, timeout=timeout
    )


def ids(page: Path) -> str:
    return str(page.relative_to(DOCS))


def with_kind(kind: str, pattern: str = "") -> list[Path]:
    """Give the pages with a block of that kind in which the pattern is found."""
    blocks = {page: blocks_of(page) for page in PAGES}
    return [
        page for page in PAGES if any(b.kind == kind and re.search(pattern, b.text) for b in blocks[page])
    ]


@pytest.mark.parametrize("page", with_kind("python"), ids=ids)
def test_the_code_of_a_page_runs_and_prints_what_the_page_says(page: Path, tmp_path: Path) -> None:
    """A reader who copies the blocks of a page in order sees what the page shows."""
    blocks = blocks_of(page)
    code = [block for block in blocks if block.kind == "python"]
    script = tmp_path / f"{page.stem.replace('-', '_')}_page.py"
    script.write_text(script_of(code), encoding="utf-8")
    done = run([sys.executable, "-W", "error", str(script)], tmp_path)
    assert done.returncode == 0, f"{page}\n{done.stdout}\n{done.stderr}"
    printed = [part.strip() for part in done.stdout.split(MARK + "\n")][: len(code)]
    wrong = {
        f"{ids(page)}:{block.line}": (said, got)
        for block, said, got in zip(code, expectations(blocks), printed, strict=True)
        if said is not None and said != got
    }
    assert wrong == {}


@pytest.mark.parametrize("page", with_kind("python", r"(?m)^(async )?def test_"), ids=ids)
def test_the_tests_on_a_page_pass(page: Path, tmp_path: Path) -> None:
    """Tests that a page shows are found, and pass, on every event loop that the page names."""
    code = [block for block in blocks_of(page) if block.kind == "python"]
    script = tmp_path / f"test_{page.stem.replace('-', '_')}.py"
    script.write_text(script_of(code), encoding="utf-8")
    options = ["-q", "-W", "error", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", "-c", os.devnull]
    done = run([sys.executable, "-m", "pytest", *options, str(script)], tmp_path)
    assert done.returncode == 0, f"{page}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", with_kind("console"), ids=ids)
def test_the_commands_of_a_page_print_what_the_page_says(page: Path, tmp_path: Path) -> None:
    """A reader who types the commands of a page in order sees what the page shows."""
    for block in blocks_of(page):
        name = FILE_NAME.match(block.lines[0]) if block.lines else None
        if name:
            target = tmp_path / name[1]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.text + "\n", encoding="utf-8")
        if block.kind == "console":
            for command, said in commands_of(block):
                done = run(["sh", "-c", command], tmp_path)
                got = (done.stdout + done.stderr).strip()
                pattern = ".*".join(re.escape(part) for part in said.split("…"))
                where = f"{ids(page)}:{block.line}: {command}"
                assert re.fullmatch(pattern, got, re.DOTALL), f"{where}\nsaid:\n{said}\ngot:\n{got}"


def commands_of(block: Block) -> list[tuple[str, str]]:
    """Split a ``console`` block into commands and what each prints."""
    found: list[tuple[str, list[str]]] = []
    for line in block.lines:
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return [(command, "\n".join(said).strip()) for command, said in found]


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    """References, anchors, docstrings and the table of contents hold together."""
    options = ["-W", "--keep-going", "-q", "-E", "-b", "html"]
    done = run([sys.executable, "-m", "sphinx", *options, str(DOCS), str(tmp_path)], ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "index.html").exists()


def test_every_public_name_is_in_the_reference() -> None:
    """What can be imported can be looked up."""
    reference = "\n".join(page.read_text(encoding="utf-8") for page in (DOCS / "reference").glob("*.md"))
    documented = set(re.findall(r"^\.\. auto\w+:: penguiflow\.(\w+)$", reference, re.MULTILINE))
    assert set(penguiflow.__all__) - documented == set()


def rules() -> dict[str, str]:
    """Give the text below each rule's heading in rules.md, by the rule's number."""
    parts = re.split(r"^### (\d\.\d+)\b", (DOCS / "rules.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_rule_in_force_names_the_tests_that_protect_it() -> None:
    """A rule without a test is a wish: each has tests where its page says, but for those not in force yet."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "tests" / "rules").rglob("test_*.py"):
        for part, rule in re.findall(r"def test_rule_(\d)_(\d+)_\w+\(", path.read_text(encoding="utf-8")):
            found.setdefault(f"{part}.{rule}", set()).add(path.relative_to(ROOT).as_posix())
    said = {number: set(re.findall(r"`(tests/rules/\w+\.py)`", text)) for number, text in rules().items()}
    in_force = {
        number for number, text in rules().items() if not text.strip().startswith("*Not yet in force.*")
    }
    assert {number: files for number, files in said.items() if files} == found
    assert set(found) == in_force


def test_every_rule_has_its_intent() -> None:
    """Each rule says in one line what it is for."""
    assert [number for number, text in rules().items() if text.count("*Intent:*") != 1] == []
