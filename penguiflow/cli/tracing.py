"""`penguiflow trace`, `penguiflow top` and `penguiflow run --trace`: what a trace store tells, in a terminal.

Owns how the two commands find the store and the run, and what of a store is printed. What a run looks like,
the wing `telemetry` knows; how a screen is drawn again and again, `screen`.
"""

import argparse
import json
import os
import re
import sys
import time
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

from penguiflow import Flow
from penguiflow.cli.errors import CommandError
from penguiflow.cli.listing import as_json, follow_runs, list_runs
from penguiflow.cli.running import show
from penguiflow.cli.screen import Screen, coloured, say_all, width
from penguiflow.cli.top import show_top
from penguiflow.observe import Observer, RunStarted
from penguiflow.telemetry import TraceStore
from penguiflow.telemetry.records import UNDER_WAY, RunTrace
from penguiflow.telemetry.spans.otlp import over_otlp
from penguiflow.telemetry.store.reading import EmptyStoreError, StoreReader, TraceStoreError, open_store
from penguiflow.telemetry.views.causes import why
from penguiflow.telemetry.views.page import page
from penguiflow.telemetry.views.waterfall import waterfall
from penguiflow.telemetry.views.wording import (
    clean,
    seconds,
)

DEFAULT_STORE = "runs.db"
VARIABLE = "PENGUIFLOW_TRACE"

STATUSES = "running paused interrupted done failed cancelled expired lost".split()

PERIOD_SECONDS = 0.5
"""How often a store is looked at where something is followed."""


# -- run --trace


class _Ids:
    """An observer that takes note of which runs there are."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def observe(self, event: object) -> None:
        """Keep the id of a run that begins."""
        if isinstance(event, RunStarted) and not event.part:
            self.ids.append(event.run_id)


def run_observed(
    flow: Flow, payload: Any, store: Path | None, collector: str | None, *, json: bool = False
) -> None:
    """Run a flow as `show` does, and let its runs be seen: in a trace store, by a collector, by nobody.

    Args:
        flow: the flow.
        payload: its input.
        store: the file of the trace store.
        collector: where spans are sent to over OTLP.
        json: one item per line, as JSON.
    """
    with ExitStack() as stack:
        observers: list[Observer] = []
        if collector is not None:
            observers.append(_over_otlp(collector, stack))
        if store is None:
            show(flow, payload, json=json, observers=observers)
        else:
            _run_traced(flow, payload, store, observers, json=json)


def _over_otlp(url: str, stack: ExitStack) -> Observer:
    """Give what sends spans to a collector, until the stack is left."""
    if not url.startswith(("http://", "https://")):
        raise CommandError(f"--otlp {url!r}: the URL of a collector is needed: http://HOST:4318/v1/traces")
    try:
        return stack.enter_context(over_otlp(url))
    except ImportError as error:
        raise CommandError(str(error)) from error


def _run_traced(flow: Flow, payload: Any, path: Path, others: list[Observer], *, json: bool = False) -> None:
    """Keep traces of the runs, and say at the end what they are called."""
    _check_store(path)
    store, seen = TraceStore(path), _Ids()
    try:
        show(flow, payload, json=json, observers=(*others, store, seen))
    finally:
        if seen.ids:
            runs = ("run " if len(seen.ids) == 1 else "runs ") + ", ".join(seen.ids[:5])
            runs += f" and {len(seen.ids) - 5} more" if len(seen.ids) > 5 else ""
            how = "traced in" if not store.lost else "could not be traced whole in"
            print(f"penguiflow: {runs} {how} {path}", file=sys.stderr)


def _check_store(path: Path) -> None:
    """Refuse, before anything runs, a file that can't become a store: whoever asks for a trace wants one."""
    if not path.parent.is_dir():
        raise CommandError(
            f"there is no folder {str(path.parent)!r} for the trace store {path.name!r}; make it first"
        )
    if path.exists():
        try:
            open_store(path).close()
        except EmptyStoreError:
            return
        except TraceStoreError as error:
            raise CommandError(str(error)) from error


# -- trace


def add_commands(commands: Any, common: argparse.ArgumentParser, output: argparse.ArgumentParser) -> None:
    """Tell the parser of the command line about `trace` and `top`."""
    trace = commands.add_parser(
        "trace", parents=[output, common], help="list the runs of a trace store, or show one"
    )
    trace.add_argument(
        "what",
        nargs="*",
        metavar="STORE/RUN",
        help="the store, the run (or the beginning of its id, or last), or both",
    )
    trace.add_argument(
        "--store", type=Path, metavar="FILE", help=f"the store; default: ${VARIABLE}, or {DEFAULT_STORE}"
    )
    trace.add_argument(
        "--follow", "-f", action="store_true", help="show it again as it goes on, until it ends or Ctrl-C"
    )
    trace.add_argument(
        "--all", action="store_true", help="show every step of the run, however many there are"
    )
    trace.add_argument("--why", action="store_true", help="say why the run is slow, failed or stuck")
    trace.add_argument("--html", type=Path, metavar="FILE", help="write the run as a page for a browser")
    listed = trace.add_argument_group("which runs are listed")
    listed.add_argument(
        "--since", type=_moment, metavar="AGO", help="begun since: 90s, 10m, 2h, 1d ago, or a date and time"
    )
    listed.add_argument("--until", type=_moment, metavar="AGO", help="begun before that")
    listed.add_argument("--status", choices=STATUSES)
    listed.add_argument("--node", help="that had a step of this node")
    listed.add_argument("--tenant")
    listed.add_argument("--flow")
    listed.add_argument("--longer", type=_duration, metavar="SECONDS", help="that took longer")
    listed.add_argument("--shorter", type=_duration, metavar="SECONDS", help="that took less")
    listed.add_argument("--limit", type=_number, default=50, metavar="N", help="how many at most (50)")
    trace.set_defaults(command=_trace)

    top = commands.add_parser("top", parents=[common], help="watch the runtimes that write a trace store")
    top.add_argument(
        "what", nargs="?", metavar="STORE", help=f"the store; default: ${VARIABLE}, or {DEFAULT_STORE}"
    )
    top.add_argument("--store", type=Path, metavar="FILE", help="the same")
    top.add_argument("--once", action="store_true", help="show one picture and end")
    top.set_defaults(command=_top)


def _trace(options: argparse.Namespace) -> None:
    say_all()
    path, run = _what(options.what, options.store)
    if run is None and (options.why or options.html):
        raise CommandError("--why and --html tell of one run: name it, or say last")
    if run is not None and (given := _filters(options)):
        raise CommandError(f"{', '.join(given)} choose among runs for the list; here one run is named: {run}")
    try:
        with open_store(path) as store:
            if run is not None:
                _show_run(store, run, options)
            elif options.follow:
                follow_runs(store, options)
            else:
                list_runs(store, options)
    except TraceStoreError as error:
        raise CommandError(str(error)) from error


def _filters(options: argparse.Namespace) -> list[str]:
    """Give which filters were given."""
    names = "since until status node tenant flow longer shorter".split()
    return [f"--{name}" for name in names if getattr(options, name) is not None]


def _what(words: list[str], store: Path | None) -> tuple[Path, str | None]:
    """Tell the store from the run: a store is a file, or is called so."""
    if len(words) > 2:
        raise CommandError(f"one store and one run can be named, and not {' '.join(words)!r}")
    stores = [word for word in words if word.endswith(".db") or Path(word).is_file()]
    if store is None and (len(words) == 2 or stores):
        found = stores[0] if stores else words[0]
        words = [word for index, word in enumerate(words) if index != words.index(found)]
        store = Path(found)
    if len(words) > 1:
        raise CommandError(f"--store names the store already, so {' '.join(words)!r} should be one run")
    store = store or Path(os.environ.get(VARIABLE) or DEFAULT_STORE)
    return store, words[0] if words else None


def _duration(text: str) -> float:
    """Read a number of seconds."""
    seconds = float(text)
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds


def _number(text: str) -> int:
    """Read a number of runs."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of runs; 1 is the least")
    return number


def _moment(text: str) -> float:
    """Read a time: so long ago, or a date."""
    units = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if found:
        return time.time() - float(found[1]) * units[found[2]]
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a time like 10m, 2h or 1d, nor a date like 2026-01-31T12:00"
        ) from None


# -- one run


def _show_run(store: StoreReader, run: str, options: argparse.Namespace) -> None:
    trace = store.trace(run)
    run = trace.summary.run_id  # `last` may mean another one soon
    if options.follow:
        trace = _follow(store, run, trace, options)
    if options.html:
        _write(options.html, page(trace))
    if options.why:
        sentences = [clean(sentence) for sentence in why(trace)]
        print(json.dumps(sentences, ensure_ascii=False) if options.json else "\n".join(sentences))
    elif options.json:
        print(as_json(trace))
    elif not options.html and not (options.follow and not sys.stdout.isatty()):
        print(_drawn(trace, options))


def _drawn(trace: RunTrace, options: argparse.Namespace) -> str:
    return waterfall(trace, width(), colour=coloured(sys.stdout), everything=options.all)


def _follow(store: StoreReader, run: str, trace: RunTrace, options: argparse.Namespace) -> RunTrace:
    """Show a run again and again until it ends, or until Ctrl-C; give it as it is then."""
    plainly = options.json or not sys.stdout.isatty()
    told = _Told()
    try:
        with Screen(plain=plainly) as screen:
            while trace.summary.status in UNDER_WAY:
                if not plainly:
                    screen.draw(_drawn(trace, options))
                elif not options.json:
                    told.tell(trace)
                if screen.wait(PERIOD_SECONDS):
                    break
                trace = store.trace(run)
    except KeyboardInterrupt:
        pass
    if plainly and not options.json:
        told.tell(trace)
        print(f"run {clean(run)} {trace.summary.status} after {seconds(trace.summary.seconds)}")
    return trace


class _Told:
    """Says of a run what has not been said before, a line each."""

    def __init__(self) -> None:
        self._told: set[tuple[object, ...]] = set()

    def tell(self, trace: RunTrace) -> None:
        """Print what is new."""
        news: list[tuple[float, str]] = []
        for step in trace.steps:
            key = (step.part, step.step, step.attempt)
            name = f"{clean(step.node)} ×{step.attempt}" if step.attempt > 1 else clean(step.node)
            news += self._news((*key, "begun"), step.started, f"{name} begun")
            if step.ended is not None:
                said = (
                    f": {clean(step.error.kind)}: {clean(step.error.text)}" if step.error is not None else ""
                )
                took = seconds(step.ended - step.started)
                news += self._news((*key, "ended"), step.ended, f"{name} {step.outcome} after {took}{said}")
        for pause in trace.pauses:
            news += self._news(("paused", pause.started), pause.started, "the run is paused")
            if pause.ended is not None:
                text = f"the pause is over after {seconds(pause.ended - pause.started)}"
                news += self._news(("resumed", pause.started), pause.ended, text)
        for at, text in sorted(news):
            print(f"+{at - trace.summary.started:.3f} s  {text}", flush=True)

    def _news(self, key: tuple[object, ...], at: float, text: str) -> list[tuple[float, str]]:
        if key in self._told:
            return []
        self._told.add(key)
        return [(at, text)]


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise CommandError(f"the page {str(path)!r} can't be written: {error.strerror}") from error
    print(path)


# -- top


def _top(options: argparse.Namespace) -> None:
    say_all()
    path, run = _what([options.what] if options.what else [], options.store)
    path = Path(run) if run is not None else path
    try:
        with open_store(path) as store:
            show_top(store, once=options.once)
    except TraceStoreError as error:
        raise CommandError(str(error)) from error
