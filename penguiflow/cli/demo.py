"""`penguiflow demo`: questions about a folder, answered by the flow in `examples/08_folder_questions.py`.

Owns the defaults and the errors of that command; the work is the example's own, loaded from the very file
that a reader of the examples sees.
"""

import os
from pathlib import Path

from penguiflow.cli.errors import CommandError
from penguiflow.cli.lookup import load_file, shipped
from penguiflow.cli.running import show

QUESTION = "What happens to a stream whose reader has gone?"


def demo(folder: Path | None, question: str, *, json: bool = False) -> None:
    """Answer a question about the text and Markdown files of a folder; by default, of this project's docs."""
    example = load_file(shipped("examples") / "08_folder_questions.py")
    folder = shipped("docs") if folder is None else folder
    _check(folder)
    if not any(example.documents_in(folder)):
        raise CommandError(f"there is no text or Markdown file in {str(folder)!r}")
    if not json:
        print(f"{folder}: {question}\n", flush=True)
    show(example.flow, example.Question(folder, question), json=json)


def _check(folder: Path) -> None:
    if not folder.exists():
        raise CommandError(f"there is no folder {str(folder)!r}")
    if not folder.is_dir():
        raise CommandError(f"{str(folder)!r} is a file; the demo reads a folder")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise CommandError(f"the folder {str(folder)!r} can't be read: permission denied")
