"""Replying: an answer of a model on its way to whoever reads it.

Owns the requests that one answer may need. Invariants: as long as nothing of it is out, a request that fails
in passing is made again; after that never, for text would be repeated: the error says what came. An answer
that does not fit the output that was asked for is asked for once more, and whoever reads is told to forget
it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import anyio
import httpx
from pydantic import ValidationError
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
    wait_exponential,
    wait_random,
)

from penguiflow import Retry

from .answering import Answering, Limits
from .deltas import Delta, OutputDelta, Reply, Restarted, TextDelta, Usage
from .errors import ModelError, OutputInvalid
from .outputs import Output
from .prices import Prices
from .reading import Reading

GROWTH = 1.05
"""What there is of an output is looked at when its text is so many times as long as the last time."""


@dataclass(slots=True)
class Patience:
    """How often to ask, and how long to wait; see `penguiflow.llm.ChatModel`."""

    retry: Retry | None
    retry_seconds: float
    first: float
    idle: float
    total: float
    repairs: int


@dataclass(slots=True)
class Asked:
    """What is asked.

    Args:
        body: the JSON of the request.
        output: what the answer is to fit.
    """

    body: dict[str, Any]
    output: Output | None

    def ask_for_output(self, how: str) -> None:
        """Ask for an answer that fits."""
        if self.output is None:
            return
        schema, is_strict = self.output.schema()
        if how == "schema":
            named = {"name": self.output.name, "schema": schema, "strict": is_strict}
            self.body["response_format"] = {"type": "json_schema", "json_schema": named}
            return
        if how == "json":
            self.body["response_format"] = {"type": "json_object"}
        words = f"Answer with JSON alone, of this JSON schema: {schema}"
        self.body["messages"] = [{"role": "system", "content": words}, *self.body["messages"]]

    def ask_again(self, text: str, problem: str) -> None:
        """Ask for an answer that fits better."""
        words = f"That does not fit: {problem}\nGive all of it again, as JSON alone."
        said = [{"role": "assistant", "content": text}, {"role": "user", "content": words}]
        self.body["messages"] = [*self.body["messages"], *said]


class ChatStream:
    """An answer on its way: see `penguiflow.llm.ChatModel.stream`.

    Args:
        asked: what is asked.
        connected: gives the connections.
        patience: how often to ask, and how long to wait.
        prices: what tokens cost.
    """

    def __init__(
        self,
        asked: Asked,
        connected: Callable[[], httpx.AsyncClient],
        patience: Patience,
        prices: Prices | None,
    ) -> None:
        self._asked = asked
        self._connected = connected
        self._patience = patience
        self._prices = prices
        self._reading = Reading(prices)
        self._answering: Answering | None = None
        self._ready: deque[Delta] = deque()
        self._over = False
        self._until = 0.0
        self._attempt = 1
        self._looked_at = 0
        self._before: Usage | None = None  # of answers that did not fit

    @property
    def reply(self) -> Reply:
        """What it has come to; all of it behind the last delta."""
        return self._reading.settled()

    async def __aenter__(self) -> ChatStream:
        """Ask, and wait for the first piece. If cancelled, the request is closed."""
        self._until = anyio.current_time() + self._patience.total
        await self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the request. If cancelled, it is ended all the same."""
        self._over = True
        await self._close()

    def __aiter__(self) -> ChatStream:
        """Give itself."""
        return self

    async def __anext__(self) -> Delta:
        """Give the next piece. If cancelled, the request is closed.

        Raises:
            ModelError: the answer was cut off, or does not fit.
        """
        while not self._ready:
            if self._over:
                raise StopAsyncIteration
            if await self._read():
                await self._finish()
        return self._ready.popleft()

    # -- asking

    async def _begin(self) -> None:
        """Ask until a first piece has come."""
        retry = self._patience.retry
        if retry is None:
            await self._try()
            return
        trying = AsyncRetrying(
            stop=stop_after_attempt(retry.attempts) | stop_before_delay(self._patience.retry_seconds),
            wait=_pause(retry),
            retry=retry_if_exception(
                lambda exc: isinstance(exc, ModelError) and exc.passing and retry.wants(exc)
            ),
            sleep=anyio.sleep,
            reraise=True,
        )
        async for attempt in trying:
            with attempt:
                await self._try()

    async def _try(self) -> None:
        patience = self._patience
        first = patience.first if self._asked.body.get("stream") else patience.total
        self._reading = Reading(self._prices)
        self._looked_at = 0
        self._answering = Answering(
            self._connected(), self._asked.body, self._reading, Limits(first, patience.idle, self._until)
        )
        try:
            await self._answering.open()
            has_ended = False
            while not self._ready and not has_ended:
                has_ended = await self._read()
        except BaseException:
            await self._close()
            raise
        if has_ended:
            await self._finish()

    async def _close(self) -> None:
        answering, self._answering = self._answering, None
        if answering is not None:
            with anyio.CancelScope(shield=True):
                await answering.close()

    # -- reading

    async def _read(self) -> bool:
        """Read what has come since; say whether that was the last."""
        assert self._answering is not None
        deltas = await self._answering.more()
        if deltas is None:
            return True
        self._ready += deltas
        if self._asked.output is not None and any(isinstance(delta, TextDelta) for delta in deltas):
            self._look(self._asked.output)
        return False

    def _look(self, output: Output) -> None:
        """See what there is of the output; not at every piece, for all of it is read each time."""
        text = self._reading.text()
        if len(text) > self._looked_at * GROWTH:
            self._looked_at = len(text)
            value = output.partial(text)
            if value is not None:
                self._ready.append(OutputDelta(value))

    async def _finish(self) -> None:
        """Conclude the answer, or ask for another one where it does not fit."""
        await self._close()
        reply = self.reply
        self._add_usage(reply)
        output = self._asked.output
        self._over = True
        if output is None or reply.tool_calls:
            return
        try:
            reply.output = output.read(reply.text)
        except ValidationError as exc:
            await self._repair(reply, _problem(exc))

    async def _repair(self, reply: Reply, problem: str) -> None:
        cut = {"length": "it was cut off, it is too long", "content_filter": "it was filtered"}.get(
            reply.finish, ""
        )
        if reply.refusal:
            cut = f"the model has refused: {reply.refusal}"
        if cut or self._attempt > self._patience.repairs:
            raise OutputInvalid(
                f"the answer does not fit the output that was asked for: {cut or problem}", reply=reply
            )
        self._attempt += 1
        self._over = False
        self._asked.ask_again(reply.text, problem)
        self._ready.append(Restarted(self._attempt, problem))
        ready = list(self._ready)
        self._ready.clear()
        try:
            await self._begin()
        finally:
            self._ready.extendleft(reversed(ready))

    def _add_usage(self, reply: Reply) -> None:
        """Count what the answers before have used: they are paid for, too."""
        usage, before = reply.usage, self._before
        if usage is not None and before is not None:
            costs = [cost for cost in (usage.cost, before.cost) if cost is not None]
            usage = Usage(
                usage.input + before.input,
                usage.output + before.output,
                usage.cached + before.cached,
                usage.reasoning + before.reasoning,
                sum(costs) if costs else None,
            )
        self._before = reply.usage = usage


def _pause(retry: Retry) -> Callable[[RetryCallState], float]:
    """Say how long to wait: as long as the provider wants, else as the policy says."""
    usual = wait_exponential(multiplier=retry.backoff, max=retry.max_backoff) + wait_random(0, retry.jitter)

    def pause(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome is not None else None
        wanted = error.retry_after if isinstance(error, ModelError) else None
        return usual(state) if wanted is None else wanted

    return pause


def _problem(error: ValidationError) -> str:
    """Say in a line each what does not fit."""
    lines = [
        f"{'.'.join(map(str, one['loc'])) or 'it'}: {one['msg']}"
        for one in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    return "; ".join(lines[:10])
