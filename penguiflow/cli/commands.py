"""The commands and their options; what they say when something is wrong, and with which exit status.

0: done. 1: the run failed, what it gave can't be shown, the flow can't be built, or a replay differs from its
record. 2: the command can't be carried out as it was written. 130: Ctrl-C, but for what goes on until then
(`top`, `trace --follow`). 141: whoever read the output has gone, or there is no output. Each error is one
line on standard error; a traceback comes with `--traceback` only.
"""

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from penguiflow import __version__
from penguiflow.cli import demo as demonstration
from penguiflow.cli import kept_runs, replay
from penguiflow.cli.errors import CommandError, one_line
from penguiflow.cli.inputs import payload
from penguiflow.cli.lookup import load_flow
from penguiflow.cli.report import report
from penguiflow.cli.tracing import add_commands, run_observed
from penguiflow.draw import dot, mermaid, svg
from penguiflow.errors import RunRejected
from penguiflow.plan import Plan

DRAWINGS: tuple[tuple[str, Callable[[Plan], str]], ...] = (("mermaid", mermaid), ("dot", dot), ("svg", svg))


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command line and give its exit status."""
    if sys.stderr is None:  # closed by whoever started us: what is said there is lost
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    options = _parser().parse_args(arguments)
    if sys.stdout is None:
        return _ended(141, "nothing can be shown: standard output is closed", False)
    try:
        return options.command(options) or 0
    except KeyboardInterrupt:
        return _ended(130, "cancelled by Ctrl-C", options.traceback)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (CommandError, RunRejected) as error:
        return _ended(2, one_line(error), options.traceback)
    except Exception as error:
        return _ended(1, one_line(error), options.traceback)


def _ended(status: int, line: str, with_traceback: bool) -> int:
    if with_traceback:
        traceback.print_exc()
    print(f"penguiflow: {line}", file=sys.stderr)
    return status


def _run(options: argparse.Namespace) -> None:
    flow = load_flow(options.flow)
    given = payload(flow, options.input, lines=options.lines)
    run_observed(flow, given, options.trace, options.otlp, json=options.json)


def _draw(options: argparse.Namespace) -> None:
    print(dict(DRAWINGS)[options.format](load_flow(options.flow).plan).rstrip("\n"))


def _check(options: argparse.Namespace) -> None:
    print(report(load_flow(options.flow)))


def _demo(options: argparse.Namespace) -> None:
    demonstration.demo(options.folder, options.question, json=options.json)


class _Intermixed(argparse.ArgumentParser):
    """A parser of one command, whose options may stand anywhere between its arguments.

    Plain argparse takes an argument that may be left out as left out when an option comes before it.
    """

    _within = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse the options first, the arguments then; the base class asks here for each of the two."""
        if self._within:
            return super().parse_known_args(args, namespace)
        self._within = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._within = False


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="penguiflow", description="Streaming flows on the command line.")
    parser.add_argument(
        "--version", action="version", version=f"penguiflow {__version__}", help="show the version and end"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Intermixed)
    common = _Intermixed(add_help=False)
    common.add_argument("--traceback", action="store_true", help="show where an error comes from")
    of_flow = _Intermixed(add_help=False)
    of_flow.add_argument(
        "flow",
        metavar="module:flow",
        help="a module in this folder or on the path, or a .py file, and the name of a flow in it",
    )
    output = _Intermixed(add_help=False)
    output.add_argument("--json", action="store_true", help="one item per line, as JSON")

    run = commands.add_parser("run", parents=[of_flow, output, common], help="run a flow and show its output")
    run.add_argument(
        "input",
        nargs="?",
        metavar="INPUT",
        help="text, or JSON where the flow takes no text; - for standard input",
    )
    run.add_argument("--lines", action="store_true", help="each line of the input is a chunk of one stream")
    run.add_argument("--trace", type=Path, metavar="FILE", help="keep what happened in a trace store")
    run.add_argument("--otlp", metavar="URL", help="send spans to a collector, …:4318/v1/traces, over HTTP")
    run.set_defaults(command=_run)

    draw = commands.add_parser("draw", parents=[of_flow, common], help="draw a flow")
    draw.add_argument("--format", choices=[name for name, _ in DRAWINGS], default="mermaid")
    draw.set_defaults(command=_draw)

    check = commands.add_parser("check", parents=[of_flow, common], help="build a flow and say what is in it")
    check.set_defaults(command=_check)

    demo = commands.add_parser(
        "demo", parents=[output, common], help="answer a question about a folder of texts"
    )
    demo.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="default: our own docs")
    demo.add_argument("question", nargs="?", metavar="QUESTION", default=demonstration.QUESTION)
    demo.set_defaults(command=_demo)

    add_commands(commands, common, output)
    kept_runs.add_commands(commands, common, output)
    replay.add_commands(commands, of_flow, common, output)
    return parser
