"""Outcomes: what a step gave, as plain data, and in what two executions of it differ.

Owns what counts as a difference: what was returned, emitted, remembered and raised. Attempts, times and the
order in which chunks were written are none. Invariant: payloads are read without the flow's code.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .history import StepHistory
from .kept import NOTHING, KeptLetter, KeptStep, KeptStream
from .payloads import BYTES, TYPED
from .recorded import told_headers

if TYPE_CHECKING:
    from .replaying import Replay, Replayed

Outcome = dict[str, Any]
"""What a step gave: its ``result``, ``messages``, ``parts``, ``streams``, ``state`` and ``error``, as far as
there are any."""


@dataclass(slots=True)
class Difference:
    """What a step gave, once and now; `penguiflow.kept.NOTHING` where it gave nothing of the kind."""

    what: str
    recorded: Any
    now: Any


def plain(kept: Any) -> Any:
    """Give an encoded payload as JSON, or bytes."""
    if type(kept) is not tuple:
        return kept
    mark = str(kept[0]).partition(" ")[0]
    if mark == TYPED:
        return json.loads(kept[1])[0]
    return bytes(kept[1]) if mark == BYTES else kept[1]


def outcome_of(step: StepHistory) -> Outcome:
    """Give what a step gave."""
    outcome: Outcome = {}
    kept = step.kept
    if kept is not None:
        outcome.update(_messages_of(kept))
    for piece in step.pieces.values():
        outcome.setdefault("messages", []).extend(map(_message, piece.letters))
        if piece.error is not None:
            outcome["error"] = str(piece.error)
    if not outcome.get("messages", True):
        del outcome["messages"]
    if step.streams:
        outcome["streams"] = [stream_of(step, stream) for stream in step.streams]
    if step.state:
        outcome["state"] = {key: plain(value) for key, value in step.state.items()}
    return outcome


def _messages_of(kept: KeptStep) -> Outcome:
    outcome: Outcome = {}
    if kept.letters:
        outcome["messages"] = [_message(letter) for letter in kept.letters]
    if kept.parts is not None:
        outcome["parts"] = [plain(part) for part in kept.parts]
    if kept.result is not NOTHING:
        outcome["result"] = plain(kept.result)
    if kept.error is not None:
        outcome["error"] = str(kept.error)
    return outcome


def _message(letter: KeptLetter) -> dict[str, Any]:
    told: dict[str, Any] = {"payload": plain(letter.payload)}
    if letter.to is not None:
        told["to"] = letter.to
    if letter.headers is not None:
        told["headers"] = told_headers(letter.headers)
    if letter.meta is not None:
        told["meta"] = letter.meta
    return told


def stream_of(step: StepHistory, stream: KeptStream) -> dict[str, Any]:
    """Give what a step wrote to a stream."""
    chunks = step.chunks_of(stream)
    told: dict[str, Any] = {
        "stream": stream.stream_id,
        "attempt": stream.attempt,
        "chunks": [plain(chunk.payload) for chunk in chunks],
        "terminal": stream.terminal,
    }
    if any(chunk.seq != number for number, chunk in enumerate(chunks, chunks[0].seq if chunks else 0)):
        told["seqs"] = [chunk.seq for chunk in chunks]
    extras = {
        str(chunk.seq): {
            **({"headers": told_headers(chunk.headers)} if chunk.headers is not None else {}),
            **({"meta": chunk.meta} if chunk.meta is not None else {}),
        }
        for chunk in chunks
        if chunk.headers is not None or chunk.meta is not None
    }
    if extras:
        told["extras"] = extras
    if stream.error is not None:
        told["error"] = str(stream.error)
    return told


def differences(recorded: StepHistory, now: StepHistory) -> list[Difference]:
    """Give in what two executions of a step differ."""
    return list(_differences(outcome_of(recorded), outcome_of(now)))


def _differences(recorded: Outcome, now: Outcome) -> Iterator[Difference]:
    for what in ("messages", "parts", "result", "error", "state"):
        one, other = recorded.get(what, NOTHING), now.get(what, NOTHING)
        if not same(one, other):
            yield Difference(what, one, other)
    mine = {told["stream"]: told for told in recorded.get("streams", ())}
    theirs = {told["stream"]: told for told in now.get("streams", ())}
    for stream_id in {**mine, **theirs}:
        yield from _stream_differences(stream_id, mine.get(stream_id, {}), theirs.get(stream_id, {}))


def _stream_differences(stream_id: str, one: Outcome, other: Outcome) -> Iterator[Difference]:
    if one.get("terminal") == other.get("terminal") == "cancelled":  # how far it came is chance
        count = min(len(one["chunks"]), len(other["chunks"]))
        one, other = ({**told, "chunks": told["chunks"][:count]} for told in (one, other))
    if other and other.get("terminal") is None:  # others may still have written to it
        other = {**other, "terminal": one.get("terminal")}
    for what in ("chunks", "seqs", "extras", "terminal", "error"):
        if not same(one.get(what, NOTHING), other.get(what, NOTHING)):
            yield Difference(f"{what} of {stream_id}", one.get(what, NOTHING), other.get(what, NOTHING))


def same(one: Any, other: Any) -> bool:
    """Say whether two values are the same as JSON: ``1`` and ``1.0`` are not, nor are ``1`` and ``True``."""
    if one is NOTHING or other is NOTHING:
        return one is other
    return as_json(one) == as_json(other)


def as_json(value: Any) -> str:
    """Write a value as JSON, bytes in base64, keys in order."""
    return json.dumps(value, sort_keys=True, default=_bytes)


def _bytes(value: Any) -> dict[str, str]:
    return {"base64": base64.b64encode(value).decode()}


@dataclass(slots=True)
class Compared:
    """A step as it was recorded and as it is now; ``None`` where it did not come about."""

    recorded: StepHistory | None
    now: StepHistory | None
    found: tuple[Difference, ...]
    counts: bool


@dataclass(slots=True)
class Comparison:
    """A replay beside its record.

    Args:
        steps: the steps, in the order of the record; those that are new behind them.
        recorded_end: how the recorded run has ended, ``None`` where it is not over.
        end: how the replay has ended, ``None`` where it was not to come to the end.
    """

    steps: list[Compared]
    recorded_end: dict[str, Any] | None
    end: dict[str, Any] | None

    @property
    def ends_differ(self) -> bool:
        """Whether both have come to an end of their own, and not to the same."""
        if self.end is None or self.recorded_end is None or not is_own_end(self.recorded_end):
            return False
        return any(self.end.get(what) != self.recorded_end.get(what) for what in ("status", "error"))

    @property
    def differs(self) -> bool:
        """Whether anything is not as it was."""
        return self.ends_differ or any(step.counts for step in self.steps)


def is_own_end(end: dict[str, Any] | None) -> bool:
    """Say whether a run has come to its end by itself."""
    return end is not None and end["status"] in ("done", "failed")


def compare(replay: Replay, replayed: Replayed) -> Comparison:
    """Lay a replay beside its record.

    Steps on one side only are no difference where that is chance: both runs have failed, so it depends on who
    was first; or the recorded one was ended from outside, or is not over.
    """
    now, recorded = replayed.now, replay.history
    ends = now.recorded.over, recorded.recorded.over
    both_failed = all(end is not None and end["status"] == "failed" for end in ends)
    settled_now = {step.id: step for step in now.steps}
    steps = []
    for step in replay.wanted:
        again = settled_now.get(step.id)
        found = tuple(differences(step, again)) if again is not None else ()
        steps.append(Compared(step, again, found, bool(found) or (again is None and not both_failed)))
    if replay.part in ("all", "from"):
        known = {step.id for step in recorded.steps}
        is_new = recorded.recorded.over is not None and recorded.recorded.over["status"] == "done"
        steps += [
            Compared(None, step, (), is_new)
            for step in now.steps
            if step.id in replayed.executed and step.id not in known
        ]
    return Comparison(steps, ends[1], ends[0] if replay.part in ("all", "from") else None)
