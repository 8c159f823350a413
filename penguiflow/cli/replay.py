"""`penguiflow replay`: a recorded run, executed again by the code of today.

Owns the command, and how what differs is shown. The recorded run is read once; the replay goes on in a
journal in memory. What is executed, `penguiflow.replaying` decides.
"""

import argparse
import sys
from collections.abc import Iterator
from typing import Any

import anyio
from pydantic_core import to_json

from penguiflow.cli.debugging import Debugger
from penguiflow.cli.errors import CommandError
from penguiflow.cli.kept import HELP, name_of, said
from penguiflow.cli.kept_runs import history_of
from penguiflow.cli.kept_view import Names, shown, shown_chunks, told_outcome
from penguiflow.cli.lookup import load_flow
from penguiflow.cli.screen import coloured, say_all, width
from penguiflow.flow import Flow
from penguiflow.history import History, StepHistory
from penguiflow.journals import MemoryJournal
from penguiflow.kept import NOTHING
from penguiflow.outcomes import Compared, Comparison, Difference, compare, outcome_of
from penguiflow.replaying import Part, Replay, Replayed
from penguiflow.telemetry.views.wording import (
    CYAN,
    DIM,
    GREEN,
    RED,
    YELLOW,
    Paint,
    clean,
    columns,
    counted,
    fit,
    shorten,
)

DAY = 86_400.0
"""So much longer a run may take in which somebody looks around."""

CONTEXT = 12
"""So many characters are shown before the first one that differs."""


def add_commands(
    commands: Any,
    of_flow: argparse.ArgumentParser,
    common: argparse.ArgumentParser,
    output: argparse.ArgumentParser,
) -> None:
    """Tell the parser of the command line about `replay`."""
    replay = commands.add_parser(
        "replay",
        parents=[of_flow, output, common],
        help="execute a recorded run again, and show what differs",
    )
    replay.add_argument("run", metavar="RUN", help="the run, or the beginning of its id, or last")
    replay.add_argument("--journal", metavar="FILE|URL", help=HELP)
    part = replay.add_mutually_exclusive_group()
    part.add_argument("--step", type=int, metavar="N", help="execute step N only, with the input that it had")
    part.add_argument("--until", type=int, metavar="N", help="execute the steps 1 to N, and stop")
    part.add_argument(
        "--from", type=int, dest="since", metavar="N", help="say what would be executed from step N on"
    )
    replay.add_argument(
        "--with-code", action="store_true", help="with --from: execute it, by the code of today"
    )
    replay.add_argument(
        "--pdb", action="store_true", help="enter the debugger in the function of step N (not of all)"
    )
    replay.set_defaults(command=_replay)


def _replay(options: argparse.Namespace) -> int:
    say_all()
    part, number = _part(options)
    flow = load_flow(options.flow)
    history = anyio.run(history_of, name_of(options.journal), options.run)
    try:
        with said():
            replay = Replay(history, part, number)
    except ValueError as error:
        raise CommandError(f"{error}; penguiflow show lists them") from error
    if part == "from" and not options.with_code:
        _announce(replay, options)
        return 0
    debugger = Debugger(history.step(number).id) if options.pdb else None
    if debugger is not None:
        replay = Replay(history, part, number, debugger.around, DAY)
    _warn(replay)
    replayed = anyio.run(_executed, replay, flow)
    if debugger is not None and debugger.left:
        print("penguiflow: the debugger was left: nothing is compared", file=sys.stderr)
        return 1
    if debugger is not None and not debugger.entered:
        print(f"penguiflow: step {number} did not come about", file=sys.stderr)
    elif debugger is not None and debugger.problem:
        print(f"penguiflow: {debugger.problem}", file=sys.stderr)
    comparison = compare(replay, replayed)
    if options.json:
        print(_as_json(replay, comparison))
    else:
        report = _Report(replay, comparison, width(), Paint(coloured(sys.stdout)))
        print("\n".join(report.lines()))
    _tell_question(replayed)
    return int(comparison.differs)


def _warn(replay: Replay) -> None:
    """Say what is about to happen."""
    steps, run = replay.wanted, clean(replay.history.run_id)
    callers = replay.callers(steps[0]) if replay.part == "step" else []
    which = f"step {steps[0].number}" if len(steps) == 1 else f"{len(steps)} steps"
    which = " and ".join(
        [f"{which} of run {run}", *(f"{Names(replay.history).of(step)}" for step in callers)]
    )
    is_one = len(steps) == 1 and not callers
    what = "is executed again: what it does" if is_one else "are executed again: what they do"
    print(f"penguiflow: {which} {what} outside of the flow happens again", file=sys.stderr, flush=True)


def _part(options: argparse.Namespace) -> tuple[Part, int]:
    if options.with_code and options.since is None:
        raise CommandError("--with-code goes with --from N: it says that what follows is executed")
    parts: tuple[tuple[Part, int | None], ...] = (
        ("step", options.step),
        ("until", options.until),
        ("from", options.since),
    )
    for part, number in parts:
        if number is not None:
            if options.pdb and part == "from" and not options.with_code:
                raise CommandError("--pdb executes a step: add --with-code to --from N, or use --step N")
            return part, number
    if options.pdb:
        raise CommandError("--pdb looks at one step: name it with --step N, --until N or --from N")
    return "all", 0


async def _executed(replay: Replay, flow: Flow) -> Replayed:
    scratch = MemoryJournal()
    await scratch.open()
    try:
        with said():
            return await replay.run(flow, scratch)
    finally:
        await scratch.close()


def _tell_question(replayed: Replayed) -> None:
    question = replayed.question
    if question is not None:
        node = Names(replayed.now).of(next(step for step in replayed.now.all() if question in step.questions))
        text = f"node {node} asks {shown(question.question)}, and no answer to it is recorded"
        print(f"penguiflow: the replay ends here: {text}", file=sys.stderr)


def _announce(replay: Replay, options: argparse.Namespace) -> None:
    """Say what would be executed."""
    names = Names(replay.history)
    steps = [(step.number, names.of(step)) for step in replay.wanted]
    if options.json:
        fields = [{"step": number, "node": name} for number, name in steps]
        print(to_json({"run_id": replay.history.run_id, "would_execute": fields}).decode())
        return
    print(f"{counted(len(steps), 'step')} would be executed with --with-code, and what follows from them:")
    for number, name in steps:
        print(f"{number:>4}  {name}")


class _Report:
    """What differs, as text.

    Args:
        replay: what was executed.
        comparison: what came of it.
        room: how long a line may be.
        paint: colours.
    """

    def __init__(self, replay: Replay, comparison: Comparison, room: int, paint: Paint) -> None:
        self._replay = replay
        self._history: History = replay.history
        self._comparison = comparison
        self._room = room
        self._paint = paint
        self._names = Names(replay.history)

    def lines(self) -> Iterator[str]:
        """Give the lines."""
        yield shorten(self._head(), self._room)
        all_of_it = self._replay.part == "step"
        for step in self._comparison.steps:
            if step.found or step.recorded is None or step.now is None or all_of_it:
                yield ""
                yield from self._step(step)
        if self._comparison.ends_differ:
            yield ""
            yield from self._ends()

    def _head(self) -> str:
        steps = self._comparison.steps
        count = sum(step.now is not None for step in steps)
        differing = sum(step.counts for step in steps)
        what = f"run {clean(self._history.run_id)} · {counted(count, 'step')} executed again"
        if not self._comparison.differs:
            return f"{what} · nothing differs"
        return f"{what} · {differing} {'differs' if differing == 1 else 'differ'}"

    def _step(self, step: Compared) -> Iterator[str]:
        told = step.recorded or step.now
        assert told is not None
        number = str(told.number) if step.recorded is not None else "new"
        attempt = "" if step.counts or step.found else "  as recorded"
        name = self._paint(self._names.of(told), CYAN)
        if step.now is None:
            yield f"{number:>4}  {name}  {self._paint('did not come about this time', YELLOW)}"
        elif step.recorded is None:
            yield f"{number:>4}  {name}  {self._paint('is not in the record', YELLOW)}"
            yield from self._same(step.now, "now")
        elif step.found:
            yield f"{number:>4}  {name}"
            for difference in step.found:
                yield from self._difference(difference)
        else:
            yield f"{number:>4}  {name}{self._paint(attempt, GREEN)}"
            yield from self._same(step.now, "")

    def _same(self, step: StepHistory, when: str) -> Iterator[str]:
        lines = told_outcome(outcome_of(step)) or [("gave", "nothing")]
        wide = max(columns(what) for what, _ in lines)
        for what, text in lines:
            head = f"      {fit(what, wide)}  {when + '  ' if when else ''}"
            yield head + shorten(text, max(self._room - columns(head), 8))

    def _difference(self, difference: Difference) -> Iterator[str]:
        what = clean(difference.what)
        once, now = _text(difference.recorded), _text(difference.now)
        texts = _from_where_they_differ(once, now, self._room - 18)
        yield f"      {what}"
        for when, text, colour in zip(("recorded", "now"), texts, (RED, GREEN), strict=True):
            cut = shorten(text, max(self._room - 18, 8))
            yield f"        {self._paint(f'{when:8}', DIM)}  {self._paint(cut, colour)}"

    def _ends(self) -> Iterator[str]:
        ends = (self._comparison.recorded_end, self._comparison.end)
        yield "      the end of the run"
        for when, end, colour in zip(("recorded", "now"), ends, (RED, GREEN), strict=True):
            assert end is not None
            text = f"{end['status']}: {clean(end['error']['text'])}" if "error" in end else end["status"]
            cut = shorten(text, max(self._room - 18, 8))
            yield f"        {self._paint(f'{when:8}', DIM)}  {self._paint(cut, colour)}"


def _text(value: Any) -> str:
    if value is NOTHING:
        return "nothing"
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        return f"{shown_chunks(value)} ({counted(len(value), 'chunk')})"
    return shown(value)


def _from_where_they_differ(one: str, other: str, room: int) -> list[str]:
    """Cut off what two long texts begin with in common, but for some characters."""
    if max(columns(one), columns(other)) <= room:
        return [one, other]
    same = next((i for i, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), 0)
    if same <= 2 * CONTEXT:
        return [one, other]
    return [f"…{text[same - CONTEXT :]}" for text in (one, other)]


def _as_json(replay: Replay, comparison: Comparison) -> str:
    names = Names(replay.history)
    steps = []
    for step in comparison.steps:
        told = step.recorded or step.now
        assert told is not None
        fields: dict[str, Any] = {
            "step": told.number if step.recorded is not None else None,
            "node": names.of(told),
            "differs": step.counts,
            "recorded": outcome_of(step.recorded) if step.recorded is not None else None,
            "now": outcome_of(step.now) if step.now is not None else None,
            "differences": [difference.what for difference in step.found],
        }
        steps.append(fields)
    told_all = {
        "run_id": replay.history.run_id,
        "part": replay.part,
        "number": replay.number or None,
        "differs": comparison.differs,
        "steps": steps,
        "recorded_end": comparison.recorded_end,
        "end": comparison.end,
    }
    return to_json(told_all, fallback=repr, bytes_mode="base64", inf_nan_mode="strings").decode()
