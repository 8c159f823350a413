"""Install each framework into an environment of its own, ask all of them the same questions, print the table.

Each runs in a process of its own: the public penguiflow has the very name of this package. Owns versions and
the table; what is asked stands in `questions.py`, how each framework is asked in the `on_….py` beside it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

PEERS = (
    ("penguiflow (this one)", "on_penguiflow", ("-e", str(ROOT))),
    ("LangGraph", "on_langgraph", ("langgraph",)),
    ("LlamaIndex workflows", "on_llamaindex", ("llama-index-workflows",)),
    ("pipecat", "on_pipecat", ("pipecat-ai",)),
    ("penguiflow (public)", "on_public_penguiflow", ("penguiflow",)),
)


def python_of(folder: Path, packages: tuple[str, ...]) -> Path:
    """Give the interpreter of an environment with the packages; an environment that is there is kept."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True)
    return python


def answers_of(python: Path, adapter: str) -> dict[str, str]:
    """Ask one framework everything."""
    done = subprocess.run(
        [python, "-W", "ignore", HERE / "questions.py", adapter],
        cwd=HERE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=120,
        check=True,
    )
    answers: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return answers


def main() -> None:
    """Print the answers as a Markdown table, one column per framework."""
    parser = argparse.ArgumentParser(prog="python -m tests.peers", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="keep the environments here for the next time")
    folder = parser.parse_args().folder or Path(tempfile.mkdtemp(prefix="penguiflow-peers-"))
    columns: list[tuple[str, dict[str, str]]] = []
    for name, adapter, packages in PEERS:
        print(f"asking {name} …", file=sys.stderr)
        columns.append((name, answers_of(python_of(folder / adapter, packages), adapter)))
    heads = [f"{name} {answers.pop('version')}" for name, answers in columns]
    print(f"| | {' | '.join(heads)} |")
    print(f"|---{'|---' * len(columns)}|")
    for question in columns[0][1]:
        print(f"| {question} | {' | '.join(answers[question] for _, answers in columns)} |")


if __name__ == "__main__":
    main()
