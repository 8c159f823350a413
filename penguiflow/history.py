"""Histories: what a run has done, step by step, as its journal tells.

Owns the numbers of steps. Invariant: steps are numbered from 1 in the order in which they became durable, the
same whenever the run is read again; a step that gives a stream comes before those that work on that. What a
node does on one stream chunk by chunk is one step, settled when the stream has ended (rule 3.1). The input is
no step, nor is a stream at a node that nothing of it came to. Knows no flow: only what is recorded.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import JournalError
from .journal import Journal, Record, RunRow
from .kept import KeptChunk, KeptQuestion, KeptStep, KeptStream
from .payloads import lift
from .recorded import Recorded
from .retention import COMPACTED
from .run_journal import digest
from .sealed import Blobs
from .sealing import unsealed

RECORDS_AT_ONCE = 1000

SCOPE = re.compile(r"(?:[0-9a-f]{24}\.[0-9a-f]{12}/)*")
"""What stands in front of the nodes of called flows, see `penguiflow.run_journal`."""

INPUT = "input"
"""The name of what feeds a flow; no node is called so."""

StepId = tuple[str, str]
"""A step: ``""`` and its key, or the node and the stream that it works on chunk by chunk."""


@dataclass(slots=True, eq=False)
class StepHistory:
    """What is recorded of a step.

    Args:
        node: the path of its node, behind the scope of the call that it belongs to.
        key: which step it is; ``""`` where a node works chunk by chunk.
        stream_id: the stream that such a node works on.
        number: its number, from 1; 0 where it is not settled, or is none.
        since: the first record that tells of it.
        settled: the record that settled it; 0 where it isn't.
        kept: what it gave as messages.
        pieces: what it gave as messages, chunk by chunk.
        streams: what it gave as streams.
        state: what it has its node remember.
        questions: what it has asked.
    """

    node: str
    key: str = ""
    stream_id: str = ""
    number: int = 0
    since: int = 0
    settled: int = 0
    kept: KeptStep | None = None
    pieces: dict[str, KeptStep] = field(default_factory=dict)
    streams: list[KeptStream] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)
    questions: list[KeptQuestion] = field(default_factory=list)

    @property
    def id(self) -> StepId:
        """Which step it is."""
        return ("", self.key) if self.key else (self.node, self.stream_id)

    @property
    def scope(self) -> str:
        """The call that it belongs to; ``""`` for none."""
        return scope_of(self.node)

    @property
    def is_input(self) -> bool:
        """Whether it feeds a flow, and is no step of a node."""
        return self.node.removeprefix(self.scope) == INPUT

    @property
    def did_nothing(self) -> bool:
        """Whether it is a stream at a node to which nothing came, and which gave nothing."""
        given = any(stream.chunks or stream.processed or stream.error for stream in self.streams)
        return not self.key and not given and not self.pieces

    @property
    def attempt(self) -> int:
        """Which attempt has settled it."""
        attempts = [stream.attempt for stream in self.streams if not self.key]
        return self.kept.attempt if self.kept is not None and self.key else max(attempts, default=1)

    def chunks_of(self, stream: KeptStream) -> list[KeptChunk]:
        """Give what it wrote to a stream, which others may have written to as well."""
        return stream.made_of(self.key) if stream.options.get("explicit") and self.key else stream.chunks


class History:
    """What is recorded of a run.

    Args:
        run_id: the run.
        row: what its journal knows without the records.
    """

    def __init__(self, run_id: str, row: RunRow | None = None) -> None:
        self.run_id: str = run_id
        self.row: RunRow | None = row
        self.compacted: bool = False  # what it did inside is forgotten
        self.recorded: Recorded = Recorded(run_id)
        self.records: list[Record] = []
        self.resumes: list[tuple[int, str]] = []  # the records that tell of it, and who has taken it up
        self.asked: dict[str, int] = {}  # the record of each question, by its token
        self._steps: dict[StepId, StepHistory] = {}
        self._lane_of: dict[str, StepId] = {}  # of keys of steps on single chunks
        self._ended: dict[tuple[str, str], int] = {}
        self._opened: dict[tuple[str, str], int] = {}
        self._numbered: list[StepHistory] | None = None

    def add(self, record: Record) -> None:
        """Learn of one more record.

        Raises:
            JournalError: it is not whole, or not the next one.
        """
        if self.compacted:
            self.recorded.seq = record.seq - 1
        self.recorded.add(record)
        self.records.append(record)
        body, blobs = unsealed(record)
        self._numbered = None
        if record.kind in ("step", "sent"):
            self._learn_step(record, body, blobs)
        elif record.kind in ("opened", "chunks", "ended"):
            self._learn_stream(record, body, blobs)
        elif record.kind == "asked":
            self.asked[body["token"]] = record.seq
        elif record.kind == "resumed":
            self.resumes.append((record.seq, body.get("owner", "")))

    def _learn_step(self, record: Record, body: dict[str, Any], blobs: Blobs) -> None:
        kept = self.recorded.steps[body["key"]]
        if "stream" in body:  # a step on one chunk
            which = self._lane_of[body["key"]] = (body["node"], body["stream"])
            lane = self._step(which, body["node"], record.seq)
            lane.pieces[body["key"]] = kept
            if "letters" not in body and "parts" not in body:
                lane.state.update(state_in(body, blobs))
            return
        step = self._step(("", body["key"]), body["node"], record.seq)
        step.kept = kept
        if record.kind == "step":
            step.settled = record.seq
            for part in ("letters", "parts"):
                for said in body.get(part, ()):
                    lift(said["payload"] if part == "letters" else said, blobs)
            if "result" in body:
                lift(body["result"], blobs)
            step.state.update(state_in(body, blobs))

    def _learn_stream(self, record: Record, body: dict[str, Any], blobs: Blobs) -> None:
        place = (body["node"], body["stream"])
        if record.kind == "opened":
            self._opened.setdefault(place, record.seq)
            self._ended.pop(place, None)
        elif record.kind == "ended":
            self._ended[place] = record.seq
        elif "state" in body:
            step = self._step(place, body["node"], record.seq)
            for said in body.get("items", ()):
                lift(said, blobs)
            step.state.update(state_in(body, blobs))

    def _step(self, which: StepId, node: str, seq: int) -> StepHistory:
        step = self._steps.get(which)
        if step is None:
            key, stream_id = (which[1], "") if not which[0] else ("", which[1])
            step = self._steps[which] = StepHistory(node, key, stream_id, since=seq)
        return step

    # -- steps

    @property
    def steps(self) -> list[StepHistory]:
        """The settled steps, in the order of their numbers."""
        if self._numbered is None:
            self._settle_streams()
            self._numbered = self._number()
        return self._numbered

    @property
    def unsettled(self) -> list[StepHistory]:
        """The steps that have given or asked something and are not settled."""
        known = set(map(id, self.steps))
        return [
            step
            for step in self._steps.values()
            if id(step) not in known and not step.is_input and not (step.did_nothing and not step.questions)
        ]

    def all(self) -> Iterable[StepHistory]:
        """Give all that there is, the input and what did nothing too."""
        assert self.steps is not None
        return self._steps.values()

    def step(self, number: int) -> StepHistory:
        """Give the step of a number.

        Raises:
            ValueError: there is none.
            JournalError: what the run did is forgotten.
        """
        self.check_whole()
        if not 1 <= number <= len(self.steps):
            has = f"1 to {len(self.steps)}" if self.steps else "none that is settled"
            raise ValueError(f"run {self.run_id} has no step {number}: it has {has}")
        return self.steps[number - 1]

    def check_whole(self) -> None:
        """Raise `JournalError` where it is forgotten what the run did inside."""
        if self.compacted:
            raise JournalError(
                f"what run {self.run_id} did inside is forgotten (Retention.details): it can't be replayed "
                "or forked any more"
            )

    def find(self, which: StepId) -> StepHistory | None:
        """Give a step, if there is anything of it."""
        assert self.steps is not None
        return self._steps.get(which)

    def writers_of(self, stream: KeptStream) -> list[StepHistory]:
        """Give who wrote to a stream that steps have opened, or who works on it chunk by chunk."""
        if not stream.key:
            return [self._step((stream.node, stream.stream_id), stream.node, stream.seq)]
        keys = {stream.key, *(chunk.source for chunk in stream.chunks if isinstance(chunk.source, str))}
        found = {self._writer(key, stream).id: self._writer(key, stream) for key in keys}
        return list(found.values())

    def _writer(self, key: str, stream: KeptStream) -> StepHistory:
        return self._step(self._lane_of.get(key, ("", key)), stream.node, stream.seq)

    def _settle_streams(self) -> None:
        """Lay the streams and the questions to their steps; one that works on a stream ends with it."""
        streams = sorted(self.recorded.streams.values(), key=lambda stream: stream.seq)
        for step in self._steps.values():
            step.streams, step.questions = [], []
        for stream in streams:
            place = (stream.node, stream.stream_id)
            for writer in self.writers_of(stream):
                writer.streams.append(stream)
                writer.since = min(writer.since, self._opened[place])
                if not stream.key:
                    writer.settled = self._ended.get(place, 0)
        for question in self.recorded.questions.values():
            which = self._lane_of.get(question.key, ("", question.key))
            self._step(which, question.node, self.asked[question.token]).questions.append(question)

    def _number(self) -> list[StepHistory]:
        order = self._order()
        settled = []
        for step in self._steps.values():
            step.number = 0
            if order[step.id][0] < math.inf and not step.is_input and not step.did_nothing:
                settled.append(step)
        settled.sort(key=lambda step: order[step.id])
        for number, step in enumerate(settled, 1):
            step.number = 0 if self.compacted else number
        return settled

    def _order(self) -> dict[StepId, tuple[float, int]]:
        """Say when each step became durable: not before those whose streams it works on."""
        nodes: dict[str, set[str]] = {}
        for step in self._steps.values():
            nodes.setdefault(step.scope, set()).add(step.node)
        order = {step.id: (float(step.settled or math.inf), step.settled) for step in self._steps.values()}
        for stream in self.recorded.streams.values():
            if not stream.key:
                continue
            last = max(order[maker.id][0] for maker in self.writers_of(stream))
            for node in nodes[scope_of(stream.node)]:
                for which in ((node, stream.stream_id), ("", reader_key(node, stream.stream_id))):
                    if which in order and (last < math.inf or which[0]):
                        order[which] = (max(last, order[which][0]), order[which][1])
        return order

    # -- calls

    def callers(self) -> dict[str, StepHistory]:
        """Give the step behind the scope of each called flow, as far as it is known."""
        steps, scopes = dict(self._by_key()), {scope for step in self.all() for scope in scopes_of(step.node)}
        called = {scope: scope.rsplit("/", 2)[-2].partition(".")[0] for scope in scopes}
        return {scope: steps[key] for scope, key in called.items() if key in steps}

    def _by_key(self) -> Iterator[tuple[str, StepHistory]]:
        for step in self.all():
            if step.key:
                yield step.key, step
        for key, which in self._lane_of.items():
            if which in self._steps:
                yield key, self._steps[which]


def scope_of(node: str) -> str:
    """Give the scope in front of a node."""
    found = SCOPE.match(node)
    return found[0] if found is not None else ""


def reader_key(node: str, stream_id: str) -> str:
    """Give the key of the step of a node that takes a stream as a whole."""
    return digest(node, "stream", stream_id)


def state_in(body: dict[str, Any], blobs: Blobs) -> dict[str, Any]:
    """Give what a record has a node remember; what is before it in the record is taken out already."""
    kept = {key: lift(said, blobs) for key, said in body.get("state", {}).items()}
    return {**kept, **dict.fromkeys(body.get("forgotten", ()))}


def scopes_of(node: str) -> Iterator[str]:
    """Give the scopes in front of a node, one inside the other."""
    parts = scope_of(node).split("/")[:-1]
    for count in range(1, len(parts) + 1):
        yield "/".join(parts[:count]) + "/"


async def read_history(journal: Journal, run_id: str) -> History:
    """Read all that a journal has of a run.

    Raises:
        JournalError: it has none, or can't read it.

    If cancelled, nothing has changed.
    """
    row = await journal.row(run_id)
    if row is None:
        raise JournalError(f"the journal has no run {run_id!r}")
    history = History(run_id, row)
    history.compacted = COMPACTED in await _posts(journal, run_id)
    while True:
        records = await journal.read(run_id, history.recorded.seq, RECORDS_AT_ONCE)
        for record in records:
            history.add(record)
        if len(records) < RECORDS_AT_ONCE:
            break
    if not history.recorded.begun:
        raise JournalError(f"{journal!r} has no run {run_id!r}, or not its beginning")
    history.recorded.hear(await _posts(journal, run_id))  # behind the records: what was asked may be answered
    return history


async def _posts(journal: Journal, run_id: str) -> Mapping[str, bytes]:
    """Give what was left for a run. If cancelled, nothing has changed."""
    return (await journal.posts([run_id])).get(run_id, {})
