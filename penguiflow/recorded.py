"""Recorded runs: what the records of a run say, read back.

Owns the meaning of records on the way back: which steps are settled and what they gave, which streams there
were, what was asked. Invariant: payloads stay encoded until somebody wants them; what the flow of today does
not know is kept, and never looked at. Knows no run that lives.

A step is known by its key, a digest of the node and of its input's identity, the same in every execution.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import JournalError, StepError
from .items import Headers, Interrupt
from .journal import Record
from .kept import NOTHING, KeptChunk, KeptLetter, KeptQuestion, KeptStep, KeptStream
from .payloads import lift
from .sealed import Blobs
from .sealing import unsealed


class Recorded:
    """What is known of a run.

    Args:
        run_id: the run.
    """

    def __init__(self, run_id: str) -> None:
        self.run_id: str = run_id
        self.seq: int = 0
        self.begun: dict[str, Any] = {}
        self.input: Any = NOTHING
        self.steps: dict[str, KeptStep] = {}
        self.streams: dict[tuple[str, str], KeptStream] = {}
        self.questions: dict[str, KeptQuestion] = {}  # by their token
        self.places: dict[str, KeptQuestion] = {}  # the same, by which of a step's they are
        self.answers: dict[str, bytes] = {}  # by the token of the question
        self.state: dict[str, dict[str, Any]] = {}
        self.over: dict[str, Any] | None = None
        self.parked: int = 0  # the last record by which it left memory
        self.waits: frozenset[str] = frozenset()  # the questions with which it did
        self.born: dict[str, int] = {"input": 1}  # messages that recorded steps gave, with the record
        self._resumes: list[int] = []
        self._streams_by_step: dict[str, list[KeptStream]] | None = None

    def add(self, record: Record) -> None:
        """Learn of one more record.

        Raises:
            JournalError: it is not whole, not the next one, or makes no sense.
        """
        where = f"record {record.seq} of run {self.run_id}"
        if record.seq != self.seq + 1:
            raise JournalError(f"{where} is there, but record {self.seq + 1} is missing")
        body, blobs = unsealed(record)
        self.seq = record.seq
        read = READERS.get(record.kind)
        if read is None:
            raise JournalError(f"{where} is of an unknown kind, {record.kind!r}")
        try:
            read(self, record.seq, body, blobs)
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise JournalError(f"{where}, of kind {record.kind!r}, makes no sense: {exc!r}") from exc

    def attempt_since(self, seq: int) -> int:
        """Say as which attempt something is begun whose input is durable since a record.

        It may have begun each time that the run was taken up before; a fork is taken up to begin.
        """
        return 1 + sum(resumed > seq for resumed in self._resumes["forked" in self.begun :])

    def resumed(self, seq: int) -> None:
        """Take note that the run is taken up again, by a record of that number."""
        self._resumes.append(seq)

    def hear(self, posts: Mapping[str, bytes]) -> None:
        """Learn of the answers that were left for the run."""
        for token in self.questions:
            answer = posts.get(f"answer {token}")
            if answer is not None:
                self.answers[token] = answer

    def open_questions(self) -> list[KeptQuestion]:
        """Give the questions that wait for an answer: those of steps that are not settled.

        Of a run outside of memory these are what it waited for when it left: others were asked before, by
        executions that came to something else.
        """
        is_parked = self.seq == self.parked
        return [
            question
            for token, question in self.questions.items()
            if token not in self.answers
            and (token in self.waits or not is_parked)
            and not (question.key in self.steps and self.steps[question.key].settled)
        ]

    def may_go_on(self) -> bool:
        """Say whether a run that has left memory can go on.

        There is an answer to what it waits for; or one came while it left, and something of it went on.
        """
        return self.seq > self.parked or not self.waits.isdisjoint(self.answers)

    def streams_of(self, key: str) -> list[KeptStream]:
        """Give the streams that a step has opened, or has written to, in order."""
        if self._streams_by_step is None:
            self._streams_by_step = {}
            for stream in sorted(self.streams.values(), key=lambda stream: stream.seq):
                for writer in stream.writers() if stream.key else {""}:
                    if isinstance(writer, str):
                        self._streams_by_step.setdefault(writer, []).append(stream)
        return self._streams_by_step.get(key, [])

    def is_written_again(self, stream: KeptStream) -> bool:
        """Say whether somebody who wrote to a shared stream is executed again, or has not repeated it all."""
        for key in stream.writers():
            step = self.steps.get(key)
            if step is None or not step.settled or len(stream.made_of(key)) < len(stream.made_by(step)):
                return True
        return False

    # -- kinds of records

    def _begun(self, seq: int, body: dict[str, Any], blobs: Blobs) -> None:
        self.begun = body
        if "input" in body:
            self.input = lift(body["input"], blobs)

    def _resumed(self, seq: int, body: dict[str, Any], blobs: Blobs) -> None:
        self.resumed(seq)

    def _step(self, seq: int, body: dict[str, Any], blobs: Blobs) -> None:
        step = self._sent(seq, body, blobs)
        step.settled = True
        if "result" in body:
            step.result = lift(body["result"], blobs)
        if "error" in body:
            step.error = error_of(body["error"])
        if "processed" in body:
            stream = self.streams.get((body["node"], body["stream"]))
            source = body["processed"]
            if stream is not None and (stream.above == body["above"] or isinstance(source, str)):
                stream.processed.add(source)
        self._keep_state(body, blobs)

    def _sent(self, seq: int, body: dict[str, Any], blobs: Blobs) -> KeptStep:
        key = body["key"]
        step = self.steps.get(key)
        if step is None:
            step = self.steps[key] = KeptStep(key, body["node"], seq)
        step.seq = seq
        step.attempt = body.get("attempt", 1)
        step.read = [(taken, bool(to_its_end)) for taken, to_its_end in body.get("read", ())]
        step.letters += letters_in(body, blobs)
        step.seqs += [seq] * (len(body.get("letters", ())) + len(body.get("parts", ())))
        if "parts" in body:
            step.parts = [*(step.parts or ()), *(lift(part, blobs) for part in body["parts"])]
        return step

    def _keep_state(self, body: dict[str, Any], blobs: Blobs) -> None:
        if "state" not in body:
            return
        kept = self.state.setdefault(body["node"], {})
        kept.update({key: lift(said, blobs) for key, said in body["state"].items()})
        for key in body.get("forgotten", ()):
            kept.pop(key, None)

    def _opened(self, seq: int, body: dict[str, Any], blobs: Blobs) -> None:
        node, stream_id, attempt = body["node"], body["stream"], body["attempt"]
        before = self.streams.pop((node, stream_id), None)
        stream = KeptStream(node, stream_id, attempt, seq, body.get("key", ""), body.get("above", 0), body)
        if before is not None:
            stream.seq = before.seq
            stream.earlier = before if not stream.key or body.get("explicit") else None
        stream.opened = seq
        self.streams[node, stream_id] = stream

    def _chunks(self, seq: int, body: dict[str, Any], blobs: Blobs) -> None:
        stream = self.streams[body["node"], body["stream"]]
        if stream.attempt != body["attempt"]:
            return
        stream.chunks += chunks_in(body, blobs, len(stream.chunks))
        stream.processed.update(body.get("processed", ()))
        self._keep_state(body, blobs)

    def _ended(self, seq: int, body: dict[str, Any], blobs: Blobs) -> None:
        stream = self.streams[body["node"], body["stream"]]
        stream.terminal = body["terminal"]
        if "error" in body:
            stream.error = error_of(body["error"])

    def _asked(self, seq: int, body: dict[str, Any], blobs: Blobs) -> None:
        question = question_in(body)
        self.questions[question.token] = question
        self.places[question.place] = question

    def _parked(self, seq: int, body: dict[str, Any], blobs: Blobs) -> None:
        self.parked, self.waits = seq, frozenset(body.get("waits", ()))

    def _over(self, seq: int, body: dict[str, Any], blobs: Blobs) -> None:
        self.over = body


READERS = {
    "begun": Recorded._begun,
    "resumed": Recorded._resumed,
    "step": Recorded._step,
    "sent": Recorded._sent,
    "opened": Recorded._opened,
    "chunks": Recorded._chunks,
    "ended": Recorded._ended,
    "asked": Recorded._asked,
    "parked": Recorded._parked,
    "over": Recorded._over,
}
"""What to make of a record, by its kind."""


def question_in(body: dict[str, Any]) -> KeptQuestion:
    """Give the question that a record tells of."""
    return KeptQuestion(
        body["token"],
        body.get("place", ""),
        body["node"],
        body["key"],
        body["question"],
        body["asked"],
        body.get("expires"),
        body.get("problem", ""),
    )


def interrupt_of(run_id: str, question: KeptQuestion) -> Interrupt:
    """Give a question as its readers see it."""
    path = tuple(question.node.split("/"))
    return Interrupt(
        run_id, path, question.token, question.question, question.asked, question.expires, question.problem
    )


def letters_in(body: dict[str, Any], blobs: Blobs) -> list[KeptLetter]:
    """Give the messages that a record of a step tells of, beside its result."""
    return [
        KeptLetter(
            lift(letter["payload"], blobs),
            letter.get("to"),
            headers_of(letter.get("headers")),
            letter.get("meta"),
        )
        for letter in body.get("letters", ())
    ]


def chunks_in(body: dict[str, Any], blobs: Blobs, first: int) -> list[KeptChunk]:
    """Give the chunks that a record tells of; ``first`` is the index of the first."""
    sources, seqs, extras = body.get("sources"), body.get("seqs", {}), body.get("extras", {})
    done, number = body.get("done", ()), body["seq"]
    found = []
    for index, said in enumerate(body.get("items", ())):
        number = seqs.get(str(index), number)
        source = sources[index] if sources else None
        chunk = KeptChunk(lift(said, blobs), number, first + index, source, index in done)
        extra = extras.get(str(index), {})
        chunk.headers, chunk.meta = headers_of(extra.get("headers")), extra.get("meta")
        found.append(chunk)
        number += 1
    return found


def error_of(said: dict[str, Any]) -> StepError:
    """Give the error of a step back; its cause is known by its text only."""
    return StepError(
        said["text"],
        run_id=said.get("run", ""),
        node=said.get("node", ""),
        stream_id=said.get("stream"),
        seq=said.get("seq"),
        attempt=said.get("attempt", 1),
    )


def headers_of(said: dict[str, Any] | None) -> Headers | None:
    """Give headers back."""
    if said is None:
        return None
    return Headers(said.get("tenant"), said.get("topic"), said.get("priority", 0), said.get("extra", {}))


def told_headers(headers: Headers) -> dict[str, Any]:
    """Write headers down; what is as by default is left out."""
    said: dict[str, Any] = {}
    if headers.tenant is not None:
        said["tenant"] = headers.tenant
    if headers.topic is not None:
        said["topic"] = headers.topic
    if headers.priority:
        said["priority"] = headers.priority
    if headers.extra:
        said["extra"] = headers.extra
    return said
