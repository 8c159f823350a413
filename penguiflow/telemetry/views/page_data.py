"""Data of a page: a trace as the page's script reads it.

Owns the short form of records. Invariant: what it gives is JSON that can stand inside a ``script`` element,
whatever is in the trace, and the same trace gives the same bytes. Knows nothing of how it is shown.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable

from ..records import ErrorRecord, EventRecord, RunTrace, StepRecord, StreamRecord
from .pauses import Idle

DEEPEST = 6
"""So deep attributes are shown."""

LONGEST = 4000
"""So many characters of a text are shown."""


def data(trace: RunTrace) -> str:
    """Write a trace as JSON. Times are seconds since the run began."""
    short = _Short(trace)
    written = json.dumps(short.whole(), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return written.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def number(value: object, digits: int = 6) -> float | int:
    """Give a number that JSON has, rounded."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return 0
    rounded = round(float(value), digits)
    return int(rounded) if rounded == int(rounded) else rounded


class _Short:
    """A trace with each name and each error kept once."""

    def __init__(self, trace: RunTrace) -> None:
        self.trace = trace
        self.start = float(number(trace.summary.started))
        self.idle = Idle(trace, self.start + max(number(trace.summary.seconds), 0))
        self.names: dict[str, int] = {}
        self.errors: dict[ErrorRecord, int] = {}

    def whole(self) -> dict[str, object]:
        trace = self.trace
        parts = [
            [
                part.part,
                _text(part.flow),
                None if part.caller is None else [*map(number, part.caller)],
                self._since(part.started),
                self._until(part.started, part.ended),
                _text(part.status),
                self._error(part.error),
            ]
            for part in trace.parts
        ]
        steps = [self._step(step) for step in trace.steps]
        streams = [self._stream(stream) for stream in trace.streams]
        return {
            "seconds": number(trace.summary.seconds),
            "parts": parts,
            "steps": steps,
            "streams": streams,
            "pauses": [self._span(*self.idle.times(pause)) for pause in self.idle.pauses],
            "idle": [self._span(start, end) for start, end in self.idle.spans],
            "names": [_text(name) for name in self.names],
            "errors": [
                [_text(e.kind), _text(e.text), [_text(cause) for cause in e.causes], _text(e.where)]
                for e in self.errors
            ],
        }

    def _step(self, step: StepRecord) -> list[object]:
        return [
            step.part,
            step.step,
            self._name(step.node),
            step.attempt,
            None if step.stream_id is None else self._name(step.stream_id),
            self._since(step.started),
            self._until(step.started, step.ended),
            number(self.idle.queued(step)),
            _text(step.outcome),
            *self._waits(step),
            self._error(step.error),
            [self._event(event) for event in step.events],
        ]

    def _stream(self, stream: StreamRecord) -> list[object]:
        timeline = None
        if stream.timeline is not None and stream.timeline[0] > 0:
            width, buckets = stream.timeline
            timeline = [
                number(width),
                [number(one) for bucket in buckets for one in (*bucket, 0, 0, 0, 0)[:4]],
            ]
        return [
            stream.part,
            stream.step,
            self._name(stream.node),
            stream.attempt,
            self._name(stream.stream_id),
            self._since(stream.started),
            self._until(stream.started, stream.ended),
            _text(stream.terminal),
            *self._waits(stream),
            number(stream.chunks),
            None if stream.bytes is None else number(stream.bytes),
            number(stream.gaps),
            number(stream.drops),
            None if stream.first_chunk is None else number(stream.first_chunk),
            timeline,
            self._error(stream.error),
        ]

    def _span(self, start: float, end: float) -> list[object]:
        return [self._since(start), self._until(start, end)]

    def _waits(self, one: StepRecord | StreamRecord) -> list[float | int]:
        waits = self.idle.waits(one)
        return _three((waits.source, waits.node, waits.credit))

    def _event(self, event: EventRecord) -> list[object]:
        said = {_text(str(name)): _plain(value, DEEPEST) for name, value in event.attributes.items()}
        return [self._since(event.at), _text(event.name), said]

    def _since(self, moment: float) -> float | int:
        return number(moment - self.start)

    def _until(self, started: float, ended: float | None) -> float | int | None:
        return None if ended is None else max(number(ended - started), 0)

    def _name(self, name: str) -> int:
        return self.names.setdefault(name, len(self.names))

    def _error(self, error: ErrorRecord | None) -> int | None:
        return None if error is None else self.errors.setdefault(error, len(self.errors))


def _three(values: Iterable[float]) -> list[float | int]:
    return [max(number(value), 0) for value in values]


def _text(text: str) -> str:
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"


def _plain(value: object, deep: int) -> object:
    """Give an attribute as JSON has it; of what it has not, the type."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return value if abs(value) < 2**53 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if deep and isinstance(value, dict):
        return {_text(str(name)): _plain(one, deep - 1) for name, one in value.items()}
    if deep and isinstance(value, list | tuple):
        return [_plain(one, deep - 1) for one in value[:200]]
    return f"<{type(value).__name__}>"
