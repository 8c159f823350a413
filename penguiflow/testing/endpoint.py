"""An endpoint for a scripted model: it speaks HTTP as OpenAI-compatible providers do.

Owns as much of HTTP/1.1 as a client needs that asks for chat completions. Invariant: what it answers is what
the script says, in the script's time; the usage is the script's count. Knows nothing of real models.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from .models import ScriptedModel

MOST_HEADER_BYTES = 2**16

GONE = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, anyio.IncompleteRead)


@asynccontextmanager
async def serve_model(model: ScriptedModel, *, port: int = 0) -> AsyncIterator[str]:
    """Serve a scripted model to this machine, as long as the block lasts; gives the base URL.

    Args:
        model: is asked with the text of the last message.
        port: where; any free one by default.
    """

    async def serve(stream: SocketStream) -> None:
        incoming = BufferedByteReceiveStream(stream)
        async with stream:
            with suppress(*GONE):  # the client has left, which ends the script as well
                while True:
                    await _answer(model, stream, incoming)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}/v1"
        tasks.cancel_scope.cancel()


async def _answer(model: ScriptedModel, stream: SocketStream, incoming: BufferedByteReceiveStream) -> None:
    """Answer one request."""
    head = (await incoming.receive_until(b"\r\n\r\n", MOST_HEADER_BYTES)).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    body = await incoming.receive_exactly(int(headers.get("content-length", "0")))
    target = head[0].split(" ")[1]
    if target != "/v1/chat/completions":
        await _send(stream, "404 Not Found", {"error": {"message": f"there is nothing at {target}"}})
        return
    try:
        asked = json.loads(body)
        prompt = _text(asked["messages"][-1]["content"])
    except (ValueError, LookupError, TypeError):
        await _send(stream, "400 Bad Request", {"error": {"message": "that is no conversation"}})
        return
    if asked.get("stream"):
        await _stream(model, prompt, stream)
    else:
        await _say_all(model, prompt, stream)


async def _say_all(model: ScriptedModel, prompt: str, stream: SocketStream) -> None:
    try:
        text = await model.complete(prompt)
    except Exception as exc:
        await _send(stream, "500 Internal Server Error", {"error": {"message": str(exc)}})
        return
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    said = {"choices": [choice], "usage": _usage(model, prompt)}
    await _send(
        stream, "200 OK", {"id": "scripted", "object": "chat.completion", "model": "scripted", **said}
    )


async def _stream(model: ScriptedModel, prompt: str, stream: SocketStream) -> None:
    """Stream an answer; it is begun before the first token, as providers do."""
    head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    await stream.send(head.encode())
    answer = model.stream(prompt)
    try:
        async for token in answer:
            await _event(stream, _chunk({"content": token}, None))
        await _event(stream, _chunk({}, "stop"))
        await _event(stream, {**_chunk({}, None), "choices": [], "usage": _usage(model, prompt)})
        await _frame(stream, b"data: [DONE]\n\n")
    except GONE:
        raise
    except Exception as exc:
        await _event(stream, {"error": {"message": str(exc), "code": 500}})
    finally:
        await answer.aclose()  # type: ignore[attr-defined]  # it is a generator
    await stream.send(b"0\r\n\r\n")


def _chunk(delta: dict[str, Any], finish: str | None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "scripted", "object": "chat.completion.chunk", "model": "scripted", "choices": [choice]}


def _usage(model: ScriptedModel, prompt: str) -> dict[str, int]:
    asked, said = len(prompt.split()), len(model.script(prompt))
    return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}


def _text(content: Any) -> str:
    """Give the text of a message, which may have parts."""
    if isinstance(content, list):
        return " ".join(part.get("text", "") for part in content)
    return content or ""


async def _event(stream: SocketStream, said: dict[str, Any]) -> None:
    await _frame(stream, b"data: " + json.dumps(said).encode() + b"\n\n")


async def _frame(stream: SocketStream, data: bytes) -> None:
    await stream.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")


async def _send(stream: SocketStream, status: str, said: dict[str, Any]) -> None:
    body = json.dumps(said).encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    await stream.send(head.encode() + body)
