"""What a reader saw of a run, and how it differs from what was expected.

Owns the protocol that a reader may rely on (numbers without gaps, attempts that only grow, one opening and
one terminal) and the comparison with an `Expected`. Invariant: a comparison never guesses; whatever it
reports is wrong in every possible order of events. Knows nothing of how a run is driven.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

from penguiflow import Chunk, Message, StreamEnded, StreamOpened, StreamRestarted

from .expected import Expected, ExpectedStream

Mode = Literal["whole", "prefix", "subsequence"]
Key = tuple[str, str]  # an exit and a stream id


class Seen:
    """What a reader has got of one run, item by item.

    Args:
        events: whether the reader gets openings and terminals, too.
    """

    def __init__(self, events: bool = False) -> None:
        self.events: bool = events
        self.messages: dict[str, Counter[Any]] = {}
        self.streams: dict[Key, list[Any]] = {}
        self.attempts: dict[Key, int] = {}
        self.ended: dict[Key, StreamEnded] = {}
        self.wrong: list[str] = []
        self.count: int = 0

    def add(self, item: object) -> None:
        """Take note of the next item or event."""
        self.count += 1
        if isinstance(item, Message):
            self.messages.setdefault("/".join(item.path), Counter())[item.payload] += 1
        elif isinstance(item, Chunk):
            self._chunk(item)
        elif isinstance(item, StreamOpened):
            self._opened(item)
        elif isinstance(item, StreamRestarted):
            self._attempt(("/".join(item.path), item.stream_id), item.attempt)
        elif isinstance(item, StreamEnded):
            self._ended(item)
        else:
            self.wrong.append(f"a reader got {item!r}")

    def _chunk(self, chunk: Chunk[Any]) -> None:
        key = "/".join(chunk.path), chunk.stream_id
        if key in self.ended:
            self.wrong.append(f"{chunk!r} came after the terminal of its stream")
        if key not in self.streams:
            if self.events:
                self.wrong.append(f"{chunk!r} came before the opening of its stream")
            self.streams[key] = []
            self.attempts[key] = chunk.attempt
        if chunk.attempt > self.attempts[key] and self.events:
            self.wrong.append(f"{chunk!r} of attempt {chunk.attempt} came without a restart")
        if chunk.attempt != self.attempts[key]:
            self._attempt(key, chunk.attempt)
        if chunk.seq != len(self.streams[key]):
            self.wrong.append(f"{chunk!r} came where seq {len(self.streams[key])} was next")
        self.streams[key].append(chunk.payload)

    def _attempt(self, key: Key, attempt: int) -> None:
        if attempt <= self.attempts.get(key, 0):
            self.wrong.append(f"attempt {attempt} of {key} came after attempt {self.attempts.get(key)}")
        self.attempts[key] = attempt
        self.streams[key] = []

    def _opened(self, event: StreamOpened) -> None:
        key = "/".join(event.path), event.stream_id
        if key in self.streams:
            self.wrong.append(f"{key} was opened twice")
        self.streams[key] = []
        self.attempts[key] = event.attempt

    def _ended(self, event: StreamEnded) -> None:
        key = "/".join(event.path), event.stream_id
        if key not in self.streams:
            self.wrong.append(f"{key} ended before it was opened")
        if key in self.ended:
            self.wrong.append(f"{key} ended twice")
        got = len(self.streams.get(key, ()))
        if event.terminal == "done" and event.chunks != got:
            self.wrong.append(f"{key} ended with {event.chunks} chunks, but {got} came")
        self.ended[key] = event


def differences(expected: Expected, seen: Seen, mode: Mode = "whole") -> list[str]:
    """Tell what is wrong with what a reader got; an empty list where it is right.

    Args:
        expected: what the whole run gives.
        seen: what came.
        mode: ``"whole"``: exactly that. ``"prefix"``: the run was cut off; of each stream the beginning, of
            the messages some. ``"subsequence"``: some of both may have been dropped.
    """
    found = list(seen.wrong)
    for key in sorted({*expected.messages, *seen.messages}):
        found += _messages(
            key, expected.messages.get(key, Counter()), seen.messages.get(key, Counter()), mode
        )
    for key in sorted({*expected.streams, *(exit_ for exit_, _ in seen.streams)}):
        got = {stream_id: tuple(x) for (exit_, stream_id), x in seen.streams.items() if exit_ == key}
        wanted = expected.streams.get(key, [])
        if not seen.events or mode == "subsequence":
            got = {stream_id: x for stream_id, x in got.items() if x}
        if not seen.events:
            wanted = [stream for stream in wanted if stream.length]
        found += _streams(key, wanted, got, mode)
        if seen.events and mode == "whole":
            found += _terminals(key, wanted, seen)
    return found


def _messages(key: str, wanted: Counter[Any], got: Counter[Any], mode: Mode) -> list[str]:
    found = []
    if got - wanted:
        found.append(f"{key}: messages that were not expected: {sorted((got - wanted).elements(), key=repr)}")
    if mode == "whole" and wanted - got:
        found.append(f"{key}: messages that did not come: {sorted((wanted - got).elements(), key=repr)}")
    return found


def _terminals(key: str, wanted: Sequence[ExpectedStream], seen: Seen) -> list[str]:
    got = Counter(event.terminal for (exit_, _), event in seen.ended.items() if exit_ == key)
    right = Counter(stream.terminal for stream in wanted)
    if got == right:
        return []
    return [f"{key}: streams ended with {dict(got)}, expected {dict(right)}"]


def _streams(
    key: str, wanted: list[ExpectedStream], got: dict[str, tuple[Any, ...]], mode: Mode
) -> list[str]:
    found = []
    free = list(wanted)
    unmatched: list[tuple[str, tuple[Any, ...]]] = []
    for stream_id, payloads in got.items():
        named = next((s for s in free if s.stream_id == stream_id), None)
        if named is not None and matches(named, payloads, mode):
            free.remove(named)
        else:
            unmatched.append((stream_id, payloads))
    pairs = _assign([[matches(s, payloads, mode) for s in free] for _, payloads in unmatched])
    for (stream_id, payloads), match in zip(unmatched, pairs, strict=True):
        if match is None:
            found.append(f"{key}: stream {stream_id} was not expected: {list(payloads)}")
    left = [stream for index, stream in enumerate(free) if index not in pairs]
    if left and mode == "whole":
        found.append(f"{key}: streams that did not come: {[[list(t) for t in s.tracks] for s in left]}")
    return found


def _assign(fits: list[list[bool]]) -> list[int | None]:
    """Pair rows with columns that fit, as many as possible (augmenting paths)."""
    taken: dict[int, int] = {}

    def place(row: int, tried: set[int]) -> bool:
        for column, fit in enumerate(fits[row]):
            if fit and column not in tried:
                tried.add(column)
                if column not in taken or place(taken[column], tried):
                    taken[column] = row
                    return True
        return False

    for row in range(len(fits)):
        place(row, set())
    rows = {row: column for column, row in taken.items()}
    return [rows.get(row) for row in range(len(fits))]


def matches(stream: ExpectedStream, payloads: Sequence[Any], mode: Mode) -> bool:
    """Say whether payloads may be what a reader gets of a stream."""
    tracks = [track for track in stream.tracks if track]
    if mode == "whole" and len(payloads) != stream.length:
        return False
    if Counter(payloads) - Counter(payload for track in tracks for payload in track):
        return False
    if mode == "subsequence":
        return all(_keeps_order(track, payloads) for track in tracks) if len(tracks) == 1 else True
    return _interleaves(tracks, payloads)


def _keeps_order(track: Sequence[Any], payloads: Sequence[Any]) -> bool:
    """Say whether payloads are a subsequence of a track."""
    ahead = iter(track)
    return all(any(x == payload for x in ahead) for payload in payloads)


def _interleaves(tracks: Sequence[Sequence[Any]], payloads: Sequence[Any]) -> bool:
    """Say whether payloads are an interleaving of beginnings of the tracks.

    Tracks of one payload are taken as a multiset; the others are followed in all possible ways at once.
    """
    long = [track for track in tracks if len(track) > 1]
    single = Counter(track[0] for track in tracks if len(track) == 1)
    states: set[tuple[int, ...]] = {tuple(0 for _ in long)}
    for position, payload in enumerate(payloads):
        after: set[tuple[int, ...]] = set()
        for state in states:
            for index, track in enumerate(long):
                if state[index] < len(track) and track[state[index]] == payload:
                    after.add((*state[:index], state[index] + 1, *state[index + 1 :]))
            used = Counter(payloads[:position]) - Counter(
                x for track, count in zip(long, state, strict=True) for x in track[:count]
            )
            if used[payload] < single[payload]:
                after.add(state)
        states = after
        if len(states) > 2_000:
            return True  # too many ways to follow; the multiset has been compared
    return bool(states)
