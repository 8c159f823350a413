"""Messages: what is said to a model, and what it says.

Owns their shape. Invariant: a conversation is plain data that pydantic knows, so it can be a payload, be kept
in a journal and come back as it was. Knows not how any provider writes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(slots=True)
class Text:
    """A part of a message that is text."""

    text: str


@dataclass(slots=True)
class Image:
    """A picture: where it is, or what it is.

    Args:
        url: where it is.
        data: its bytes.
        media_type: what these are.
        detail: how closely to look, where the provider knows that.
    """

    url: str = ""
    data: bytes = b""
    media_type: str = "image/png"
    detail: Literal["", "auto", "low", "high"] = ""

    def __post_init__(self) -> None:
        """Refuse what shows nothing, or two things."""
        if bool(self.url) == bool(self.data):
            raise ValueError("Image(…): give url= or data=, one of them")


@dataclass(slots=True)
class Audio:
    """A sound.

    Args:
        data: its bytes.
        format: what these are: ``wav``, ``mp3`` or what else the provider knows.
    """

    data: bytes
    format: str = "wav"


Part = Text | Image | Audio


@dataclass(slots=True)
class ToolCall:
    """What a model wants to have called.

    Args:
        id: names the call; its result says which one it answers.
        name: the tool.
        arguments: their JSON, as the model wrote it: it may be none.
    """

    id: str
    name: str
    arguments: str = ""


@dataclass(slots=True)
class System:
    """What the model is to be."""

    content: str


@dataclass(slots=True)
class User:
    """What is asked."""

    content: str | list[Part]


@dataclass(slots=True)
class Assistant:
    """What the model has said, and what it wants to have called."""

    content: str = ""
    tool_calls: list[ToolCall] = field(default_factory=list)


@dataclass(slots=True)
class ToolResult:
    """What a call gave.

    Args:
        call_id: the call.
        content: what it gave, or what went wrong.
    """

    call_id: str
    content: str


Message = System | User | Assistant | ToolResult
"""One message of a conversation."""

Prompt = str | Sequence[Message]
"""A conversation; a text alone is what a user asks."""


@dataclass(slots=True)
class ToolSpec:
    """What a model is told of a tool.

    Args:
        name: letters, digits, ``_`` and ``-``.
        description: what it is good for.
        parameters: the JSON schema of its arguments, an object.
    """

    name: str
    description: str = ""
    parameters: dict[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})


def conversation(prompt: Prompt) -> list[Message]:
    """Give a prompt as messages.

    Raises:
        TypeError: it is none.
    """
    if isinstance(prompt, str):
        return [User(prompt)]
    if not isinstance(prompt, Sequence):
        raise TypeError(f"a prompt is a text or a conversation, not {prompt!r}")
    messages: list[Any] = list(prompt)
    for message in messages:
        if not isinstance(message, Message):
            raise TypeError(
                f"a conversation has messages (System, User, Assistant, ToolResult), not {message!r}"
            )
    if not messages:
        raise ValueError("a conversation has at least one message")
    return messages
