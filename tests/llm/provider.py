"""A provider whose every byte is scripted: it speaks HTTP/1.1 on a real socket, and sends what it is told to.

Each answer is a function of a `Line`, which says what goes out, in which pieces, and how it ends. What the
client asked is kept.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.abc import SocketAttribute, SocketStream


class Request:
    """What a client has asked."""

    def __init__(self, head: bytes, body: bytes) -> None:
        lines = head.decode("latin-1").split("\r\n")
        self.target = lines[0].split(" ")[1]
        self.headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        self.body: dict[str, Any] = json.loads(body or b"{}")


class Line:
    """A connection to one client, on which one answer goes out."""

    def __init__(self, stream: SocketStream, request: Request) -> None:
        self.stream = stream
        self.request = request

    async def head(self, status: str = "200 OK", kind: str = "text/event-stream", **headers: str) -> None:
        """Begin an answer in pieces."""
        lines = [f"HTTP/1.1 {status}", f"content-type: {kind}", "transfer-encoding: chunked"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.stream.send(("\r\n".join(lines) + "\r\n\r\n").encode())

    async def send(self, *pieces: bytes) -> None:
        """Send pieces, each in a frame of its own."""
        for piece in pieces:
            if piece:
                await self.stream.send(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")

    async def end(self) -> None:
        """End the answer; the connection stays."""
        await self.stream.send(b"0\r\n\r\n")

    async def left(self) -> None:
        """Wait until the client has gone."""
        try:
            while True:
                await self.stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return


Answer = Callable[[Line], Awaitable[None]]


class Provider:
    """A provider that gives scripted answers, one after the other, the last one again and again."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.requests: list[Request] = []
        self.connections = 0
        self.url = ""

    async def serve(self, stream: SocketStream) -> None:
        """Serve one client."""
        self.connections += 1
        rest = b""
        async with stream:
            while True:
                try:
                    request, rest = await self._request(stream, rest)
                except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                    return
                self.requests.append(request)
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                try:
                    await answer(Line(stream, request))
                except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                    return

    async def _request(self, stream: SocketStream, rest: bytes) -> tuple[Request, bytes]:
        while b"\r\n\r\n" not in rest:
            rest += await stream.receive()
        head, _, rest = rest.partition(b"\r\n\r\n")
        size = int(Request(head, b"").headers.get("content-length", "0"))
        while len(rest) < size:
            rest += await stream.receive()
        return Request(head, rest[:size]), rest[size:]


@asynccontextmanager
async def serving(*answers: Answer) -> AsyncIterator[Provider]:
    """Serve answers on a socket of this machine."""
    provider = Provider(*answers)
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(SocketAttribute.local_port)
    provider.url = f"http://127.0.0.1:{port}/v1"
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, provider.serve)
        yield provider
        tasks.cancel_scope.cancel()


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """Make one chunk of an answer."""
    choices = [{"index": 0, "delta": delta or {}, "finish_reason": finish}]
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "m-1", "choices": choices, **more}


def event(said: Any) -> bytes:
    """Write one event."""
    return b"data: " + (said if isinstance(said, bytes) else json.dumps(said).encode()) + b"\n\n"


USED = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


def words(*texts: str, usage: dict[str, Any] | None = USED, finish: str = "stop") -> list[bytes]:
    """Write an answer of some pieces of text."""
    events = [event(chunk({"role": "assistant", "content": ""}))]
    events += [event(chunk({"content": text})) for text in texts]
    events += [event(chunk(finish=finish))]
    if usage is not None:
        events += [event({**chunk(usage=usage), "choices": []})]
    return [*events, event(b"[DONE]")]


def saying(*texts: str, **how: Any) -> Answer:
    """Answer with some pieces of text."""
    return streaming(words(*texts, **how))


def streaming(pieces: Iterable[bytes]) -> Answer:
    """Answer with some pieces of bytes."""
    pieces = list(pieces)

    async def answer(line: Line) -> None:
        await line.head()
        await line.send(*pieces)
        await line.end()

    return answer


def failing(status: str, body: Any, **headers: str) -> Answer:
    """Answer with an error."""

    async def answer(line: Line) -> None:
        await line.head(status, "application/json" if not isinstance(body, bytes) else "text/html", **headers)
        await line.send(body if isinstance(body, bytes) else json.dumps(body).encode())
        await line.end()

    return answer


def whole(text: str | None, **message: Any) -> Answer:
    """Answer in one piece."""

    async def answer(line: Line) -> None:
        said = {
            "id": "chatcmpl-2",
            "model": "m-1",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text, **message},
                    "finish_reason": "stop",
                }
            ],
            "usage": USED,
        }
        await line.head(kind="application/json")
        await line.send(json.dumps(said).encode())
        await line.end()

    return answer


def broken(*pieces: bytes) -> Answer:
    """Send some pieces, and reset the connection."""

    async def answer(line: Line) -> None:
        await line.head()
        await line.send(*pieces)
        await line.stream.aclose()

    return answer


def stalled(*pieces: bytes, headers: bool = True) -> Answer:
    """Send some pieces, and nothing more, until the client has gone."""

    async def answer(line: Line) -> None:
        if headers:
            await line.head()
        await line.send(*pieces)
        await line.left()

    return answer
