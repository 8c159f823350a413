"""What is recorded of a durable run, as text and as JSON.

Owns the words, the columns and the names of fields. Invariant: a line of text is no longer than told, and
nothing that comes out of the journal can move the cursor; JSON has everything.
"""

import json
from collections.abc import Iterator
from typing import Any

from pydantic_core import to_json

from penguiflow.history import History, StepHistory
from penguiflow.interrupts import answer_in
from penguiflow.kept import NOTHING, KeptQuestion
from penguiflow.outcomes import Outcome, outcome_of, plain
from penguiflow.telemetry.views.wording import (
    CYAN,
    DIM,
    RED,
    YELLOW,
    Paint,
    clean,
    columns,
    counted,
    fit,
    moment,
    seconds,
    shorten,
    size,
    wrapped,
)

LATE = {"late": True}
"""Stands for an answer where there was none in time."""


# -- payloads


def shown(value: Any) -> str:
    """Write a payload on one line: JSON, or bytes as Python writes them."""
    if isinstance(value, bytes):
        return repr(value)
    if isinstance(value, str):
        return clean_json(json.dumps(value, ensure_ascii=False))
    return clean_json(to_json(value, fallback=repr, inf_nan_mode="constants", bytes_mode="base64").decode())


def clean_json(text: str) -> str:
    """Leave out what a terminal would obey; spaces stay as they are."""
    return "".join(char if char.isprintable() else "�" for char in text)


def shown_chunks(chunks: list[Any]) -> str:
    """Write what a stream has carried: as one text, where it is text."""
    if chunks and all(isinstance(chunk, str) for chunk in chunks):
        return shown("".join(chunks))
    return ", ".join(map(shown, chunks))


def answer_of(history: History, question: KeptQuestion) -> Any:
    """Give the answer to a question, `NOTHING` where there is none yet."""
    data = history.recorded.answers.get(question.token)
    if data is None:
        return NOTHING
    answer = answer_in(data, history.run_id)
    return LATE if answer is NOTHING else answer


# -- names


class Names:
    """How the steps of a run are called: those of called flows behind who calls."""

    def __init__(self, history: History) -> None:
        self._callers = history.callers()

    def of(self, step: StepHistory) -> str:
        """Name a step's node."""
        caller = self._callers.get(step.scope)
        name = clean(step.node.removeprefix(step.scope))
        if caller is not None:
            return f"{self.of(caller)} > {name}"
        return f"(called) {name}" if step.scope else name


# -- as text


Line = tuple[str, str]
"""What a step did, and with what."""


def told(history: History, step: StepHistory) -> list[Line]:
    """Say what a step did, a line each."""
    lines: list[Line] = []
    for question in step.questions:
        lines.append(("asked", shown(question.question)))
        answer = answer_of(history, question)
        late = "none in time" if answer is LATE else shown(answer) if answer is not NOTHING else "none yet"
        lines.append(("answer", late))
    lines += told_outcome(outcome_of(step))
    return lines or [("gave", "nothing")] if step.settled else lines


def told_outcome(outcome: Outcome) -> list[Line]:
    """Say what a step gave, a line each."""
    lines: list[Line] = []
    for message in outcome.get("messages", ()):
        to = f" to {clean(message['to'])}" if "to" in message else ""
        lines.append((f"message{to}", shown(message["payload"])))
    if "parts" in outcome:
        parts = outcome["parts"]
        lines.append((counted(len(parts), "part"), ", ".join(map(shown, parts[:100]))))
    streams = outcome.get("streams", ())
    lines += [(_told_stream(stream), shown_chunks(stream["chunks"][:1000])) for stream in streams]
    if "result" in outcome:
        lines.append(("result", shown(outcome["result"])))
    for key, value in outcome.get("state", {}).items():
        lines.append((f"state {clean(key)}", shown(value)))
    if "error" in outcome:
        lines.append(("failed", clean(outcome["error"])))
    return lines


def _told_stream(stream: dict[str, Any]) -> str:
    text = counted(len(stream["chunks"]), "chunk")
    if stream["terminal"] is None:
        return f"{text} so far"
    return text if stream["terminal"] == "done" else f"{text}, {stream['terminal']}"


def pictured(history: History, room: int, paint: Paint) -> Iterator[str]:
    """Write what is recorded of a run, in lines of so many characters at most."""
    yield from _head(history, room, paint)
    names = Names(history)
    unsettled = history.unsettled
    rows = [(step, told(history, step)) for step in [*history.steps, *unsettled]]
    wide = [max((columns(_name(names, step)) for step, _ in rows), default=0)]
    wide.append(max((columns(what) for _, lines in rows for what, _ in lines), default=0))
    wide[0] = min(wide[0], max(room // 3, 8))
    wide[1] = min(wide[1], max(room // 4, 8))
    resumes = [seq for seq, _ in history.resumes]
    last = 0
    for index, (step, lines) in enumerate(rows):
        if index == len(history.steps) and not history.compacted:
            yield ""
            yield paint("not settled:", YELLOW)
        for seq in [seq for seq in resumes if last < seq <= step.settled]:
            is_fork = seq == resumes[0] and "forked" in history.recorded.begun
            yield paint(f"{'':4}  {'executed from here on' if is_fork else 'taken up again'}", DIM)
        last = max(last, step.settled)
        yield from _rows(step, _name(names, step), lines, wide, room, paint)
    yield ""
    yield from _end(history, room, paint)


def _name(names: Names, step: StepHistory) -> str:
    return f"{names.of(step)} ×{step.attempt}" if step.attempt > 1 else names.of(step)


def _rows(
    step: StepHistory, name: str, lines: list[Line], wide: list[int], room: int, paint: Paint
) -> Iterator[str]:
    number = str(step.number) if step.number else ""
    head = f"{number:>4}  {paint(fit(name, wide[0]), CYAN)}"
    rest = max(room - 4 - 2 - wide[0] - 2 - wide[1] - 2, 8)
    for what, text in lines or [("", "")]:
        cut = shorten(text, rest)
        body = f"{paint(fit(what, wide[1]), DIM)}  {paint(cut, RED) if what == 'failed' else cut}"
        yield f"{head}  {body}".rstrip()
        head = " " * (4 + 2 + wide[0])


def _head(history: History, room: int, paint: Paint) -> Iterator[str]:
    row, begun = history.row, history.recorded.begun
    assert row is not None
    parts = [
        f"run {paint(clean(history.run_id), CYAN)}",
        f"flow {clean(row.flow)}",
        paint.status(row.status),
        f"begun {moment(row.created)[:-4]}",
        seconds(row.updated - row.created),
        f"{counted(row.records, 'record')}, {size(row.size_bytes)}",
    ]
    yield from wrapped(parts, room, " · ")
    forked = begun.get("forked")
    if forked is not None:
        yield paint(shorten(f"forked from run {clean(forked['run'])} at step {forked['step']}", room), DIM)
    for what in ("headers", "meta"):
        if begun.get(what):
            yield paint(shorten(f"{what} {shown(begun[what])}", room), DIM)
    if history.compacted:
        yield paint("what it did inside is forgotten; what left the flow is here", YELLOW)
    to = f" to {clean(begun['to'])}" if "to" in begun else ""
    yield shorten(f"input{to}  {_input(history)}", room)
    yield ""


def _input(history: History) -> str:
    if history.recorded.input is not NOTHING:
        return shown(plain(history.recorded.input))
    for step in history.all():
        if step.is_input and not step.scope:
            told_streams = outcome_of(step)["streams"]
            return f"{_told_stream(told_streams[0])}  {shown_chunks(told_streams[0]['chunks'][:1000])}"
    return "none yet"


def _end(history: History, room: int, paint: Paint) -> Iterator[str]:
    over, row = history.recorded.over, history.row
    if over is None:
        waits = [question for step in history.unsettled for question in step.questions]
        open_ones = [question for question in waits if question.token not in history.recorded.answers]
        owned = "somebody works on it" if row is not None and row.owner else "nobody works on it"
        text = f"{counted(len(open_ones), 'question')} without an answer" if open_ones else owned
        yield paint(f"not over: {text}", YELLOW)
        for question in open_ones:
            yield shorten(f"  token {question.token}: {shown(question.question)}", room)
        return
    said = over.get("error", {})
    yield paint.status(over["status"]) + (f": {shorten(clean(said['text']), room - 12)}" if said else "")


# -- as JSON


def as_json(history: History) -> str:
    """Write everything that is recorded of a run as one line of JSON."""
    row, begun, recorded = history.row, history.recorded.begun, history.recorded
    assert row is not None
    names = Names(history)
    streams = [step for step in history.all() if step.is_input and not step.scope]
    fields: dict[str, Any] = {
        "run_id": history.run_id,
        "flow": row.flow,
        "status": row.status,
        "created": row.created,
        "updated": row.updated,
        "records": row.records,
        "size_bytes": row.size_bytes,
        "owner": row.owner,
        "trace_id": begun["trace"],
        "form": begun["form"],
        **{name: begun[name] for name in ("to", "headers", "meta", "deadline", "forked") if name in begun},
        "input": plain(recorded.input) if recorded.input is not NOTHING else None,
        "input_streams": [stream for step in streams for stream in outcome_of(step).get("streams", ())],
        "resumed": [{"record": seq, "owner": owner} for seq, owner in history.resumes],
        "steps": [_step_fields(history, step, names) for step in history.steps],
        "not_settled": [_step_fields(history, step, names) for step in history.unsettled],
        "end": recorded.over,
    }
    return to_json(fields, fallback=repr, bytes_mode="base64", inf_nan_mode="strings").decode()


def _step_fields(history: History, step: StepHistory, names: Names) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "step": step.number or None,
        "node": step.node.removeprefix(step.scope),
        "name": names.of(step),
        "key": step.key or None,
        "stream": step.stream_id or None,
        "attempt": step.attempt,
        "record": step.settled or None,
        "gave": outcome_of(step),
    }
    if step.questions:
        fields["questions"] = [_question_fields(history, question) for question in step.questions]
    return fields


def _question_fields(history: History, question: KeptQuestion) -> dict[str, Any]:
    answer = answer_of(history, question)
    return {
        "token": question.token,
        "question": question.question,
        "asked": question.asked,
        "expires": question.expires,
        "problem": question.problem or None,
        "answered": answer is not NOTHING,
        "answer": None if answer is NOTHING else answer,
    }
