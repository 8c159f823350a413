"""What the items of a run look like on a terminal: to people, or as JSON.

Owns the text, not its writing. Invariant: every payload that comes in goes out once, in the order of its
stream; text of two streams never shares a line.
"""

from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json

from penguiflow import Chunk, Message, StreamEnded, StreamOpened, StreamRestarted

Event = Message[Any] | Chunk[Any] | StreamOpened | StreamEnded | StreamRestarted
Place = tuple[str, tuple[str, ...], str]
"""A run, the path of a node, and a stream (empty for messages)."""

WIDTH = 80
"""How much text of a stream is held back, in characters, while others are shown beside it."""


def as_json(event: Event) -> str:
    """Give one item as one line of JSON, and nothing for what is no item."""
    if not isinstance(event, Message | Chunk):
        return ""
    fields: dict[str, Any] = {"kind": "message" if isinstance(event, Message) else "chunk"}
    if isinstance(event, Message):
        fields |= {"id": event.id}
    else:
        fields |= {
            "stream_id": event.stream_id,
            "seq": event.seq,
            "attempt": event.attempt,
            "done": event.done,
        }
    fields |= {
        "payload": event.payload,
        "node": event.node,
        "path": event.path,
        "run_id": event.run_id,
        "trace_id": event.trace_id,
        "headers": event.headers,
        "meta": event.meta,
    }
    return _json(fields) + "\n"


@dataclass(slots=True)
class _Stream:
    label: str
    held: str = ""


class Readable:
    """Show text as it comes; where several streams run side by side, show whole lines with their names.

    Args:
        named: say of everything which node it comes from (for flows with several exits).
    """

    def __init__(self, *, named: bool) -> None:
        self._named = named
        self._streams: dict[Place, _Stream] = {}
        self._places: set[Place] = set()
        self._half_line: Place | None = None

    @property
    def at_line_start(self) -> bool:
        """Whether the last line is ended."""
        return self._half_line is None

    def __call__(self, event: Event) -> str:
        """Give the text to write for one event; it may be empty."""
        match event:
            case StreamOpened():
                self._stream(event)
                return ""
            case StreamRestarted():
                stream = self._stream(event)
                stream.held = ""
                return f"{self.end_line()}[{stream.label} starts again, attempt {event.attempt}]\n"
            case StreamEnded():
                return self._ended(event)
            case Chunk(payload=str() as text):
                return self._text(event, text)
            case _:
                return self._line(event, readable(event.payload))

    def end_line(self) -> str:
        """Give what ends a line that was begun."""
        begun, self._half_line = self._half_line, None
        return "" if begun is None else "\n"

    def _text(self, chunk: Chunk[Any], text: str) -> str:
        place, stream = _place(chunk), self._stream(chunk)
        if len(self._streams) > 1 and self._half_line != place:
            *lines, stream.held = (stream.held + text).split("\n")
            if len(stream.held) > WIDTH and " " in stream.held:
                line, _, stream.held = stream.held.rpartition(" ")
                lines.append(line)
            return "".join(self._line(chunk, line) for line in lines)
        text, stream.held = stream.held + text, ""
        if not text:
            return ""
        start = "" if self._half_line == place else self.end_line() + self._name(chunk)
        self._half_line = None if text.endswith("\n") else place
        return start + text

    def _ended(self, event: StreamEnded) -> str:
        place = _place(event)
        stream = self._streams.pop(place, None)
        if self._half_line == place:
            return self.end_line()
        return self._line(event, stream.held) if stream is not None and stream.held else ""

    def _line(self, event: Event, text: str) -> str:
        return f"{self.end_line()}{self._name(event)}{text}\n"

    def _name(self, event: Event) -> str:
        place = _place(event)
        self._places.add(place)
        named = self._named or sum(bool(known[2]) for known in self._places) > 1
        return f"[{self._label(place)}] " if named else ""

    def _label(self, place: Place) -> str:
        name = "/".join(place[1])
        others = any(known[1] == place[1] and known[2] not in ("", place[2]) for known in self._places)
        return f"{name} {place[2]}" if others and place[2] else name

    def _stream(self, event: StreamOpened | StreamRestarted | Chunk[Any]) -> _Stream:
        place = _place(event)
        self._places.add(place)
        if place not in self._streams:
            self._streams[place] = _Stream(self._label(place))
        return self._streams[place]


def readable(payload: Any) -> str:
    """Show a payload to people: text as it is, bytes as text where they are text, everything else as JSON."""
    if isinstance(payload, str):
        return payload
    if isinstance(payload, bytes | bytearray | memoryview):
        return bytes(payload).decode(errors="backslashreplace")
    return _json(payload)


def _json(value: Any) -> str:
    return to_json(value, fallback=repr, bytes_mode="base64", inf_nan_mode="strings").decode()


def _place(event: Event) -> Place:
    return (event.run_id, event.path, "" if isinstance(event, Message) else event.stream_id)
