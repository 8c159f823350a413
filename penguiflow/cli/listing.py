"""`penguiflow trace` without a run: the list of runs, and the news of them.

Owns what a line says of a run. Invariant: on a terminal a run takes one line; elsewhere nothing is cut off.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from penguiflow.cli.screen import coloured, width
from penguiflow.telemetry.records import UNDER_WAY, RunSummary, RunTrace
from penguiflow.telemetry.store.reading import StoreReader
from penguiflow.telemetry.views.wording import (
    CYAN,
    DIM,
    RED,
    Paint,
    clean,
    columns,
    fit,
    moment,
    number,
    seconds,
    shorten,
)

PERIOD_SECONDS = 0.5
"""How often the store is looked at."""


def list_runs(store: StoreReader, options: argparse.Namespace) -> None:
    """Print the runs that fit, the newest first."""
    runs = store.runs(since=options.since, limit=max(options.limit, 0) or None, **_filters(options))
    if options.json:
        for run in runs:
            print(as_json(run))
    elif runs:
        print("\n".join(_table(runs)))
    else:
        print(f"no such run in {store.path}")


def _table(runs: tuple[RunSummary, ...]) -> Iterator[str]:
    """Lay out runs in columns; on a terminal, no line is longer than it."""
    paint = Paint(coloured(sys.stdout))
    tenants = any(run.tenant is not None for run in runs)
    heads = [
        "run",
        "flow",
        "status",
        "started",
        "took",
        "steps",
        "streams",
        *(["tenant"] if tenants else []),
        "",
    ]
    rows = [heads, *(_cells(run, tenants) for run in runs)]
    wide = [max(columns(row[index]) for row in rows) for index in range(len(heads) - 1)]
    room = width() if sys.stdout.isatty() else 10**6
    for row, run in zip(rows, (None, *runs), strict=True):
        cells = [
            cell.rjust(wide[index]) if 4 <= index <= 6 else fit(cell, wide[index])
            for index, cell in enumerate(row[:-1])
        ]
        error = shorten(row[-1], max(room - sum(wide) - 2 * len(wide), 0))
        if run is None:
            yield paint("  ".join(cells), DIM).rstrip()
            continue
        cells[0], cells[2] = paint(cells[0], CYAN), paint.status(run.status, cells[2])
        yield "  ".join([*cells, paint(error, RED)]).rstrip()


def _cells(run: RunSummary, tenants: bool) -> list[str]:
    tenant = [clean(run.tenant) if run.tenant is not None else ""] if tenants else []
    return [
        clean(run.run_id),
        clean(run.flow),
        run.status,
        moment(run.started)[:-4],
        seconds(run.seconds),
        number(run.steps),
        number(run.streams),
        *tenant,
        clean(run.error),
    ]


def follow_runs(store: StoreReader, options: argparse.Namespace) -> None:
    """Print a line for each run that begins, and one when it has ended."""
    paint = Paint(coloured(sys.stdout))
    known: dict[tuple[str, float], RunSummary] = {}
    since = options.since if options.since is not None else time.time()
    filters = _filters(options) | {"status": None, "longer_than": None, "shorter_than": None}
    for run in store.runs(limit=None, **filters):
        if run.status in UNDER_WAY:
            since = min(since, run.started)
    try:
        while True:
            runs = store.runs(since=since, limit=None, **filters)
            for run in reversed(runs):
                before = known.get((run.run_id, run.started))
                if before is None or before.status != run.status:
                    known[run.run_id, run.started] = run
                    begins = before is None and run.status in UNDER_WAY
                    print(as_json(run) if options.json else _news(run, paint, begins), flush=True)
            live = [run.started for run in runs if run.status in UNDER_WAY]
            since = min(live, default=max((run.started for run in runs), default=since))
            known = {key: run for key, run in known.items() if key[1] >= since}
            time.sleep(PERIOD_SECONDS)
    except KeyboardInterrupt:
        return


def _news(run: RunSummary, paint: Paint, begins: bool) -> str:
    at = moment(run.started if begins else run.started + run.seconds)
    parts = [paint(at[11:], DIM), paint(clean(run.run_id), CYAN), clean(run.flow), paint.status(run.status)]
    if not begins:
        parts.append(seconds(run.seconds))
    return "  ".join([*parts, *([paint(clean(run.error), RED)] if run.error else [])])


def _filters(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "until": options.until,
        "status": options.status,
        "node": options.node,
        "tenant": options.tenant,
        "flow": options.flow,
        "longer_than": options.longer,
        "shorter_than": options.shorter,
    }


def as_json(record: RunSummary | RunTrace) -> str:
    """Give a record as one line of JSON."""
    return json.dumps(asdict(record), ensure_ascii=False, default=repr)
