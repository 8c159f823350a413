"""SSE: server-sent events, as they come in.

Owns the grammar of ``text/event-stream`` (WHATWG HTML, 9.2.6). Invariant: the same bytes give the same
events, wherever they are cut, and what is kept of one that is not over is bounded. Knows nothing of HTTP.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from penguiflow.errors import RemoteProtocolError

MOST_BYTES = 16 * 2**20
"""How large an event may be, unless it is said otherwise."""

MARK = b"\xef\xbb\xbf"
LINE = re.compile(rb"\r\n|\n|\r")


@dataclass(slots=True)
class Event:
    """One event.

    Args:
        data: its text.
        kind: its type; ``message`` where none is said.
        id: the last id that was said, of this event or one before.
        retry: how many milliseconds to wait before coming again, where the server has said so.
    """

    data: str
    kind: str = "message"
    id: str = ""
    retry: int | None = None


class EventDecoder:
    """Reads events from bytes that come in pieces.

    Args:
        most_bytes: how large an event may be.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._rest = bytearray()
        self._searched = 0
        self._begun = False
        self._skips_newline = False  # the other half of a line end may come
        self._data: list[bytes] = []
        self._size_bytes = 0
        self._kind = ""
        self._id = ""
        self._retry: int | None = None

    def feed(self, piece: bytes) -> Iterator[Event]:
        """Give the events that end in one more piece.

        Raises:
            RemoteProtocolError: an event is too large.
        """
        if self._skips_newline and piece:
            piece = piece.removeprefix(b"\n")
            self._skips_newline = False
        self._rest += piece
        self._skip_mark()
        for line in self._lines():
            if line:
                self._take(line)
            elif self._data:
                yield self._event()
            else:
                self._kind = ""
        if self._size_bytes + len(self._rest) > self._most_bytes:
            raise RemoteProtocolError(f"an event of more than {self._most_bytes} bytes has come")

    def _skip_mark(self) -> None:
        """Leave out the byte order mark that may be in front of all."""
        if not self._begun and not MARK.startswith(self._rest):
            self._begun = True
            if self._rest.startswith(MARK):
                del self._rest[: len(MARK)]
                self._searched = 0

    def _lines(self) -> Iterator[bytes]:
        """Give the lines that are whole."""
        start = 0
        for end in LINE.finditer(self._rest, self._searched):
            yield bytes(self._rest[start : end.start()])
            start = end.end()
        self._skips_newline = start == len(self._rest) and self._rest.endswith(b"\r")
        del self._rest[:start]
        self._searched = len(self._rest)

    def _take(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._size_bytes += len(value) + 1
        elif name == b"event":
            self._kind = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit() and len(value) < 10:
            self._retry = int(value)

    def _event(self) -> Event:
        text = b"\n".join(self._data).decode("utf-8", "replace")
        event = Event(text, self._kind or "message", self._id, self._retry)
        self._data, self._size_bytes, self._kind = [], 0, ""
        return event
