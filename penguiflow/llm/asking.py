"""Asking: how a conversation is written for an OpenAI-compatible endpoint (chat completions).

Owns the JSON of a request. Source: the API reference of OpenAI, "Create chat completion".
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from typing import Any

from .messages import (
    Assistant,
    Audio,
    Image,
    Message,
    Part,
    System,
    Text,
    ToolCall,
    ToolResult,
    ToolSpec,
    User,
)


def written_messages(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Write a conversation."""
    return [_written(message) for message in messages]


def _written(message: Message) -> dict[str, Any]:
    match message:
        case System(content):
            return {"role": "system", "content": content}
        case User(content):
            parts = content if isinstance(content, str) else [_written_part(part) for part in content]
            return {"role": "user", "content": parts}
        case ToolResult(call_id, content):
            return {"role": "tool", "tool_call_id": call_id, "content": content}
        case Assistant(content, calls):
            said: dict[str, Any] = {"role": "assistant", "content": content or None}
            if calls:
                said["tool_calls"] = [_written_call(call) for call in calls]
            return said


def _written_part(part: Part) -> dict[str, Any]:
    match part:
        case Text(text):
            return {"type": "text", "text": text}
        case Audio(data, format):
            return {
                "type": "input_audio",
                "input_audio": {"data": b64encode(data).decode(), "format": format},
            }
        case Image():
            url = part.url or f"data:{part.media_type};base64,{b64encode(part.data).decode()}"
            said = {"url": url, "detail": part.detail} if part.detail else {"url": url}
            return {"type": "image_url", "image_url": said}


def _written_call(call: ToolCall) -> dict[str, Any]:
    # Providers refuse a conversation with arguments that are no JSON; nothing stands for none.
    function = {"name": call.name, "arguments": call.arguments or "{}"}
    return {"id": call.id, "type": "function", "function": function}


def written_tools(tools: Sequence[ToolSpec]) -> list[dict[str, Any]]:
    """Write what a model is told of tools."""
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
        }
        for tool in tools
    ]
