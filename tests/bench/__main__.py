"""``python -m tests.bench``: measure the rows, print the table, write the JSON, fail on a missed floor.

Each row has a process of its own: what one row's peers bring into memory is not the next one's burden.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from .measure import FULL, QUICK
from .processes import apart
from .report import as_json, machine, outcome_of, status, table
from .table import ROWS


def parser() -> argparse.ArgumentParser:
    """Build the command line."""
    names = ", ".join(row.name for row in ROWS)
    command = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__, epilog=f"rows: {names}"
    )
    command.add_argument("--quick", action="store_true", help="fewer rounds, smaller sizes")
    command.add_argument(
        "--only",
        metavar="NAME",
        action="append",
        choices=[row.name for row in ROWS],
        help="only this row (may be given several times)",
    )
    command.add_argument("--json", metavar="FILE", type=Path, help="write the table as JSON too")
    command.add_argument("--no-fail", action="store_true", help="exit with 0 although a floor is missed")
    return command


def show_progress(text: str) -> None:
    """Say on a terminal what is being measured."""
    if sys.stderr.isatty():
        print(f"\r{text:<30}\r", end="", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks and give the exit status."""
    options = parser().parse_args(arguments)
    scale = QUICK if options.quick else FULL
    outcomes = []
    for row in ROWS:
        if options.only and row.name not in options.only:
            continue
        show_progress(f"… {row.name}")
        outcomes.append(apart(outcome_of, row, scale))
    show_progress("")
    place = machine()
    print(table(outcomes))
    print(
        f"\nPython {place['python']}, {place['system']}, {place['cores']} cores, load {place['load']}; "
        f"median of {scale.rounds} rounds, lowest and highest beside it"
    )
    if options.json:
        options.json.write_text(
            json.dumps(as_json(outcomes, scale), indent=2, ensure_ascii=False) + "\n", "utf-8"
        )
    return 0 if options.no_fail else status(outcomes)


if __name__ == "__main__":
    sys.exit(main())
