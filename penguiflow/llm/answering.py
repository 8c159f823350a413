"""Answering: one request over HTTP, and the answer to it as it comes.

Owns one response. Invariants: it is closed when the answer is over, broken or left, whatever happens; every
error of the connection is a `ModelError` that has what came before; nothing waits longer than it may.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import anyio
import httpx
from pydantic_core import from_json

from penguiflow.errors import RemoteProtocolError, described
from penguiflow.wire.sse import MOST_BYTES, EventDecoder

from .deltas import Delta
from .errors import ModelCutOff, ModelError, ModelTimeout, ModelUnreachable
from .reading import Reading, refusal

MOST_ERROR_BYTES = 2**16
DRAIN_SECONDS = 0.1


@dataclass(slots=True)
class Limits:
    """How long to wait, in seconds.

    Args:
        first: for the first piece.
        idle: for each further one.
        until: for all of it, on the clock of the event loop.
    """

    first: float
    idle: float
    until: float


class Answering:
    """One request and the answer to it.

    Args:
        client: the connections.
        body: what is asked.
        reading: understands the answer.
        limits: how long to wait.
    """

    def __init__(
        self, client: httpx.AsyncClient, body: Mapping[str, Any], reading: Reading, limits: Limits
    ) -> None:
        self.reading: Reading = reading
        self._client = client
        self._body = body
        self._limits = limits
        self._decoder = EventDecoder()
        self._response: httpx.Response | None = None
        self._pieces: AsyncIterator[bytes] | None = None
        self._due = 0.0  # when the next delta is to be here
        self._begun = False
        self._broken: ModelError | None = None

    async def open(self) -> None:
        """Ask. If cancelled, the connection is closed.

        Raises:
            ModelError: the provider can't be reached, or says no.
        """
        self._due = anyio.current_time() + self._limits.first
        with self._translated():
            request = self._client.build_request("POST", "chat/completions", json=self._body)
            self._response = await self._client.send(request, stream=True)
            self._pieces = self._response.aiter_bytes()
            if self._response.status_code != 200:
                raise await self._refused(self._response)

    async def more(self) -> list[Delta] | None:
        """Give what has come since; nothing may have, of what is told. ``None`` where all has come.

        If cancelled, the connection is closed.

        Raises:
            ModelError: the connection broke, or what came is no answer.
        """
        assert self._response is not None
        assert self._pieces is not None
        if self._broken is not None:
            raise self._broken
        if self.reading.over:
            await _drain(self._pieces)
            return None
        if "json" in self._response.headers.get("content-type", ""):  # the endpoint can't stream
            with self._translated():
                return self.reading.whole(await self._read_all(MOST_BYTES))
        with self._translated():
            piece = await anext(self._pieces, None)
        if piece is None:
            self._check_end()
            return None
        deltas = self._understood(piece)
        if deltas:
            self._begun = True
            self._due = anyio.current_time() + self._limits.idle
        return deltas

    def _understood(self, piece: bytes) -> list[Delta]:
        """Give what a piece says; what is wrong in it comes out behind what is right before that."""
        deltas: list[Delta] = []
        try:
            for event in self._decoder.feed(piece):
                deltas += self.reading.event(event.data)
        except RemoteProtocolError as exc:
            text = f"what came is no answer of a model: {exc}"
            self._broken = ModelCutOff(text, reply=self.reading.settled())
            self._broken.__cause__ = exc
        except ModelError as exc:
            self._broken = exc
        if self._broken is not None and not deltas:
            raise self._broken
        return deltas

    async def close(self) -> None:
        """Give the connection back, or close it where more would come. If cancelled, it is closed."""
        pieces, self._pieces = self._pieces, None
        response, self._response = self._response, None
        if pieces is not None:
            await _unwind(pieces)
        if response is not None:
            await response.aclose()

    def _check_end(self) -> None:
        """See whether that was all."""
        if not self.reading.over and not self.reading.reply.finish:
            raise ModelCutOff(
                "the answer was cut off: the provider has ended it without saying why",
                reply=self.reading.settled(),
                passing=True,
            )

    async def _refused(self, response: httpx.Response) -> ModelError:
        body = await self._read_all(MOST_ERROR_BYTES, cut=True)
        key = self._client.headers.get("authorization", "").removeprefix("Bearer ")
        text = body.decode("utf-8", "replace")
        said: Any = text.replace(key, "…") if key else text  # some providers repeat it
        with suppress(ValueError):  # it may be a page of a proxy
            said = from_json(said)
        if isinstance(said, list) and len(said) == 1:
            said = said[0]
        return refusal(response.status_code, said, retry_after=retry_after(response.headers))

    async def _read_all(self, most_bytes: int, *, cut: bool = False) -> bytes:
        """Read all that comes, but no more than so much."""
        assert self._pieces is not None
        body = bytearray()
        async for piece in self._pieces:
            body += piece
            if len(body) > most_bytes:
                if cut:
                    break
                raise ModelCutOff(f"an answer of more than {most_bytes} bytes has come")
        return bytes(body[:most_bytes])

    def _late(self) -> str:
        """Say which of the times is up."""
        if self._limits.until <= self._due:
            return "the time for all of the answer is up (timeout=…)"
        if self._begun:
            return f"nothing came for {self._limits.idle:g} s (idle_timeout=…)"
        return f"no answer began within {self._limits.first:g} s (first_token_timeout=…)"

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Wait for so long, and let errors be those of models."""
        settled, seconds = self.reading.settled, min(self._due, self._limits.until) - anyio.current_time()
        try:
            with anyio.fail_after(seconds):
                yield
        except TimeoutError:
            raise ModelTimeout(self._late(), reply=settled(), passing=True) from None
        except httpx.TransportError as exc:
            where = f"{self._client.base_url.host}:{self._client.base_url.port or 'default port'}"
            text = (
                f"there is no connection to {where}" if self._response is None else "the connection was lost"
            )
            raise ModelUnreachable(f"{text} ({described(exc)})", reply=settled(), passing=True) from exc
        except httpx.DecodingError as exc:
            raise ModelCutOff(f"what came can't be unpacked ({described(exc)})", reply=settled()) from exc


async def _drain(pieces: AsyncIterator[bytes]) -> None:
    """Read the end of a response whose answer is over, so that its connection can be used again.

    If that takes longer than it is worth, or breaks, the connection is closed.
    """
    with anyio.move_on_after(DRAIN_SECONDS), suppress(httpx.HTTPError):
        async for _ in pieces:
            pass


async def _unwind(pieces: AsyncIterator[bytes]) -> None:
    """End the generators inside of one another through which a response comes, by cancelling who reads them.

    Else they would be left to the garbage collector, of which trio warns.
    """
    with anyio.CancelScope() as scope, suppress(httpx.HTTPError):
        scope.cancel()
        async for _ in pieces:
            pass  # of what is there already


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Say for how many seconds a provider wants to be left alone (RFC 9110, 10.2.3), if it says so."""
    milliseconds = headers.get("retry-after-ms", "")
    if milliseconds.isdecimal():
        return int(milliseconds) / 1000
    said = headers.get("retry-after", "").strip()
    if said.isdecimal():
        return float(said)
    try:
        at = parsedate_to_datetime(said)
    except ValueError:
        return None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())
