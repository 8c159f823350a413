"""`penguiflow runs` and `penguiflow show`: what a journal has, without any flow's code.

Owns the two commands and the list. Invariant: on a terminal a run takes one line; elsewhere nothing is cut
off. What is shown of one run, `kept_view` knows.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, get_args

import anyio

from penguiflow.cli.kept import HELP, find, opened, said, tell_apart
from penguiflow.cli.kept_view import as_json, pictured
from penguiflow.cli.screen import coloured, say_all, width
from penguiflow.history import History, read_history
from penguiflow.journal import KeptStatus, RunRow
from penguiflow.telemetry.views.wording import (
    CYAN,
    DIM,
    Paint,
    clean,
    columns,
    fit,
    moment,
    number,
    seconds,
    shorten,
    size,
)

NUMBERS = (4, 5, 6)
"""The columns that are set to the right."""


def add_commands(commands: Any, common: argparse.ArgumentParser, output: argparse.ArgumentParser) -> None:
    """Tell the parser of the command line about `runs` and `show`."""
    runs = commands.add_parser("runs", parents=[output, common], help="list the durable runs of a journal")
    runs.add_argument("what", nargs="?", metavar="JOURNAL", help=HELP)
    runs.add_argument("--journal", metavar="FILE|URL", help="the same")
    runs.add_argument("--flow", help="only those of a flow")
    runs.add_argument("--status", choices=get_args(KeptStatus))
    runs.add_argument("--limit", type=_count, default=50, metavar="N", help="how many at most (50)")
    runs.set_defaults(command=_runs)

    show = commands.add_parser("show", parents=[output, common], help="show what a durable run has done")
    show.add_argument(
        "what",
        nargs="+",
        metavar="JOURNAL/RUN",
        help="the run (or the beginning of its id, or last), with the journal in front or not",
    )
    show.add_argument("--journal", metavar="FILE|URL", help=HELP)
    show.set_defaults(command=_show)


def _count(text: str) -> int:
    """Read a number of runs."""
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of runs; 1 is the least")
    return count


# -- runs


def _runs(options: argparse.Namespace) -> None:
    say_all()
    name, _ = tell_apart([], options.journal or options.what)
    rows = anyio.run(_rows_of, name, options)
    if options.json:
        for row in rows:
            print(json.dumps(asdict(row), ensure_ascii=False))
    elif rows:
        print("\n".join(_table(rows)))
    else:
        print(f"no such run in {name}")


async def _rows_of(name: str, options: argparse.Namespace) -> list[RunRow]:
    status = (options.status,) if options.status else ()
    async with opened(name) as journal:
        with said():
            return await journal.rows(flow=options.flow, status=status, limit=options.limit)


def _table(runs: list[RunRow]) -> Iterator[str]:
    paint = Paint(coloured(sys.stdout))
    heads = ["run", "flow", "status", "begun", "took", "records", "size", "owner"]
    if not any(run.owner for run in runs):
        heads[-1] = ""
    rows = [heads, *map(_cells, runs)]
    wide = [max(columns(row[index]) for row in rows) for index in range(len(heads))]
    room = width() if sys.stdout.isatty() else 10**6
    spare = room - sum(wide) - 2 * (len(wide) - 1)
    for index in (1, 0, 7):  # the columns that may be cut, the least wanted last
        if spare < 0:
            cut = min(-spare, max(0, wide[index] - 12))
            wide[index] -= cut
            spare += cut
    for row, run in zip(rows, (None, *runs), strict=True):
        cells = [
            cell.rjust(wide[index]) if index in NUMBERS else fit(cell, wide[index])
            for index, cell in enumerate(row)
        ]
        if run is None:
            yield paint(shorten("  ".join(cells).rstrip(), room), DIM)
            continue
        cells[0], cells[2] = paint(cells[0], CYAN), paint.status(run.status, cells[2])
        yield "  ".join(cells).rstrip()


def _cells(run: RunRow) -> list[str]:
    return [
        clean(run.run_id),
        clean(run.flow),
        run.status,
        moment(run.created)[:-4],
        seconds(run.updated - run.created),
        number(run.records),
        size(run.size_bytes),
        owner_name(run.owner),
    ]


def owner_name(owner: str) -> str:
    """Name who owns a run, as far as that can be read; see `penguiflow.processes`."""
    parts = owner.split("|")
    return f"process {clean(parts[1])}" if len(parts) == 4 else clean(owner)


# -- show


def _show(options: argparse.Namespace) -> None:
    say_all()
    name, run = tell_apart(options.what, options.journal)
    history = anyio.run(history_of, name, run or "last")
    if options.json:
        print(as_json(history))
    else:
        print("\n".join(pictured(history, width(), Paint(coloured(sys.stdout)))))


async def history_of(name: str, run: str) -> History:
    """Read what a journal has of a run. If cancelled, nothing has changed."""
    async with opened(name) as journal:
        with said():
            row = await find(journal, run)
            return await read_history(journal, row.run_id)
