"""SQLite files, looked at before SQLite does.

Owns how a file that is no database is told. Invariant: what is there is never written to before it was looked
at; a file that is empty, or not there, is one to be made.
"""

from __future__ import annotations

from pathlib import Path

MAGIC = b"SQLite format 3\0"


def check_file(path: Path, what: str, error: type[Exception]) -> None:
    """Raise an error of a class where a file is not what it should be: ``"a journal"``.

    Raises:
        OSError: it can't be read.
    """
    if not path.exists():
        return
    if path.is_dir():
        raise error(f"{str(path)!r} is a folder, and not {what}; name a file in it")
    with path.open("rb") as file:
        head = file.read(len(MAGIC))
    if head and head != MAGIC:
        raise error(
            f"{str(path)!r} is not {what}, and not a database at all; it is left as it is: name another file"
        )
