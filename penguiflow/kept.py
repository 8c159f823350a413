"""Kept: what is known of steps, streams and questions from their records.

Owns the words. Invariant: payloads in them are encoded as they were written. Knows not how records are read
(`recorded`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .errors import StepError
from .items import Headers, Terminal

NOTHING: Any = object()
"""Where a step returned nothing."""


@dataclass(slots=True)
class KeptLetter:
    """A message that a step gave beside its result, or a part of a spread; its payload is encoded."""

    payload: Any
    to: str | None = None
    headers: Headers | None = None
    meta: dict[str, Any] | None = None


@dataclass(slots=True)
class KeptStep:
    """What is known of a step.

    Args:
        key: the step.
        node: the path of its node, behind that of the flow it is called in.
        seq: the last record that tells of it.
        attempt: which attempt has settled it.
        settled: whether it is over; else only what it has sent on is known.
        letters: what it gave beside its result, in order.
        parts: the parts of its spread, where it returned one.
        result: what it returned, encoded.
        error: what it failed with.
        read: how many chunks of each of its input streams it has taken, and whether to their end.
        seqs: the records of the letters and parts, in order.
    """

    key: str
    node: str
    seq: int
    attempt: int = 1
    settled: bool = False
    letters: list[KeptLetter] = field(default_factory=list)
    parts: list[Any] | None = None
    result: Any = NOTHING
    error: StepError | None = None
    read: list[tuple[int, bool]] = field(default_factory=list)
    seqs: list[int] = field(default_factory=list)

    def durable_since(self, index: int) -> int | None:
        """Give the record of one of the messages that it gave, where there is one."""
        if index < len(self.seqs):
            return self.seqs[index]
        return self.seq if self.settled else None


@dataclass(slots=True)
class KeptChunk:
    """A chunk as it left its node.

    ``index`` counts the chunks of the attempt; ``source`` is what it was made of, where the node works chunk
    by chunk, or the key of its writer, where there may be several.
    """

    payload: Any
    seq: int
    index: int
    source: int | str | None = None
    done: bool = False
    headers: Headers | None = None
    meta: dict[str, Any] | None = None


@dataclass(slots=True)
class KeptStream:
    """What is known of one attempt at a stream.

    Args:
        node: the path of the node that gives it.
        stream_id: the stream.
        attempt: the last attempt.
        seq: the record that opened its first attempt.
        key: the step that gives it; ``""`` for a node that works chunk by chunk.
        above: the attempt of the stream that such a node works on.
        options: how it was opened.
        chunks: what left.
        processed: of such a node, the numbers of the chunks that it is done with.
        terminal: how it ended, if it has.
        error: what it failed with.
        earlier: the attempt before, where the node works chunk by chunk, or several steps write.
        opened: the record that opened this attempt.
    """

    node: str
    stream_id: str
    attempt: int
    seq: int
    key: str = ""
    above: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    chunks: list[KeptChunk] = field(default_factory=list)
    processed: set[int | str] = field(default_factory=set)
    terminal: Terminal | None = None
    error: StepError | None = None
    earlier: KeptStream | None = None
    opened: int = 0

    _by_source: dict[int | str, list[KeptChunk]] | None = None

    def made_of(self, source: int | str) -> list[KeptChunk]:
        """Give what was made of a chunk, or written by a step."""
        if self._by_source is None:
            self._by_source = {}
            for chunk in self.chunks:
                if chunk.source is not None:
                    self._by_source.setdefault(chunk.source, []).append(chunk)
        return self._by_source.get(source, [])

    def made_before(self, source: int | str, above: int) -> list[KeptChunk] | None:
        """Give what was made of a chunk that the node is done with; ``None`` where it is not.

        A number tells a chunk from others of one attempt ``above``; a name does so from all there are.
        """
        for stream in self.attempts():
            if source in stream.processed and (stream.above == above or isinstance(source, str)):
                return stream.made_of(source)
        return None

    def attempts(self) -> Iterator[KeptStream]:
        """Give this attempt, and those before it."""
        stream: KeptStream | None = self
        while stream is not None:
            yield stream
            stream = stream.earlier

    def made_by(self, step: KeptStep) -> list[KeptChunk]:
        """Give what a settled step has written, in the attempt that it was settled in."""
        for stream in self.attempts():
            if stream.opened < step.seq:
                return stream.made_of(step.key)
        return []

    def writers(self) -> set[Any]:
        """Give the steps that have opened it, or written to it, in any attempt."""
        found = {chunk.source for stream in self.attempts() for chunk in stream.chunks}
        return (found | {self.key}) - {None}

    def is_whole(self) -> bool:
        """Say whether nothing has left that was made of a chunk which the node was not done with."""
        return all(chunk.source is None or chunk.source in self.processed for chunk in self.chunks)


@dataclass(slots=True)
class KeptQuestion:
    """A question that a step has asked; see `penguiflow.Context.interrupt`.

    ``place`` says which of the step's questions it is, the same in every execution; ``token`` is told to
    people, differs from run to run, and can't be guessed.
    """

    token: str
    place: str
    node: str
    key: str
    question: Any
    asked: float
    expires: float | None = None
    problem: str = ""
