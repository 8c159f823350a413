"""A scripted model: streams tokens the way a provider does, good days and bad ones.

Owns the script: what is said, how fast, and when it goes wrong. Invariant: the same arguments give the same
tokens, waits and failures, in every process and on every event loop. Knows nothing of flows.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Sequence

import anyio


class ModelError(Exception):
    """What a scripted model raises where its script says so."""


class ScriptedModel:
    """A model that says what it is told to.

    Args:
        answer: its tokens, or a function of the prompt that gives them; a text is split behind its spaces.
        latency: seconds before the first token.
        interval: seconds before each further token.
        jitter: each wait is changed by up to so many seconds, more or less, drawn from the seed.
        spike: seconds that a token takes longer now and then.
        spike_rate: how often, from 0 (never) to 1 (always).
        fail_at: the token, counted from 1, instead of which the stream fails; ``None`` for never.
        failures: how many streams fail there before one succeeds; ``None`` for all.
        error: what is raised; a `ModelError` where not given.
        seed: what chance is drawn from, together with the number of the stream.

    Attributes:
        prompts: what was asked, in order.
        tokens: how many tokens were taken by readers, over all streams.
        open: how many streams are being read.
        closed_early: how many streams were left before their end.
    """

    def __init__(
        self,
        answer: str | Sequence[str] | Callable[[str], str | Sequence[str]] = "It depends.",
        *,
        latency: float = 0.0,
        interval: float = 0.0,
        jitter: float = 0.0,
        spike: float = 0.0,
        spike_rate: float = 0.0,
        fail_at: int | None = None,
        failures: int | None = None,
        error: Exception | None = None,
        seed: int = 0,
    ) -> None:
        if min(latency, interval, jitter, spike, spike_rate) < 0 or spike_rate > 1:
            raise ValueError("waits can't be negative, and spike_rate is between 0 and 1")
        self.answer = answer
        self.latency = latency
        self.interval = interval
        self.jitter = jitter
        self.spike = spike
        self.spike_rate = spike_rate
        self.fail_at = fail_at
        self.failures = failures
        self.error = error
        self.seed = seed
        self.prompts: list[str] = []
        self.tokens: int = 0
        self.open: int = 0
        self.closed_early: int = 0

    def script(self, prompt: str) -> list[str]:
        """Give the tokens of the answer to a prompt."""
        answer = self.answer(prompt) if callable(self.answer) else self.answer
        if not isinstance(answer, str):
            return list(answer)
        words = answer.split(" ")
        return [f"{word} " for word in words[:-1]] + ([words[-1]] if words[-1] else [])

    def waits(self, count: int, stream: int = 0) -> list[float]:
        """Give the seconds before each of so many tokens, as the n-th stream (from 0) has them."""
        rng = random.Random(f"{self.seed}/{stream}")
        drawn = []
        for index in range(count):
            wait = self.interval if index else self.latency
            wait += rng.uniform(-self.jitter, self.jitter)
            if rng.random() < self.spike_rate:
                wait += self.spike
            drawn.append(max(0.0, wait))
        return drawn

    async def stream(self, prompt: str) -> AsyncIterator[str]:
        """Say the answer token by token. If cancelled or left, the rest is not said, and counted as such."""
        number = len(self.prompts)
        self.prompts.append(prompt)
        script = self.script(prompt)
        fails = self.fail_at is not None and (self.failures is None or number < self.failures)
        self.open += 1
        ended = False
        try:
            for index, wait in enumerate(self.waits(len(script) + 1, number)[: len(script)], 1):
                await anyio.sleep(wait)
                if fails and index == self.fail_at:
                    ended = True
                    raise self.error or ModelError(f"stream {number} failed at token {index}")
                self.tokens += 1
                yield script[index - 1]
            ended = True
            if fails and self.fail_at is not None and self.fail_at > len(script):
                raise self.error or ModelError(f"stream {number} failed at its end")
        finally:
            self.open -= 1
            self.closed_early += not ended

    async def complete(self, prompt: str) -> str:
        """Give the whole answer at once, after all its waits. If cancelled, the answer is lost."""
        return "".join([token async for token in self.stream(prompt)])
