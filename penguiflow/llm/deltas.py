"""Deltas: what comes from a model, piece by piece, and what it comes to.

Owns their shape. Invariant: all of them are plain data; put together in order, the deltas of a stream are its
`Reply`. Knows not how any provider writes them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .messages import Assistant, ToolCall

FINISHES = ("stop", "length", "tool_calls", "content_filter")
"""Why a model has stopped, where it is one of the usual reasons."""


@dataclass(slots=True)
class Logprob:
    """How likely a token was.

    Args:
        token: the token.
        logprob: the logarithm of its probability.
        top: other tokens that were likely, with theirs.
    """

    token: str
    logprob: float
    top: list[tuple[str, float]] = field(default_factory=list)


@dataclass(slots=True)
class TextDelta:
    """More text of the answer; with how likely its tokens were, if that was asked for."""

    text: str
    logprobs: list[Logprob] | None = None


@dataclass(slots=True)
class ReasoningDelta:
    """More of what the model thinks before it answers."""

    text: str


@dataclass(slots=True)
class RefusalDelta:
    """More of why the model does not answer."""

    text: str


@dataclass(slots=True)
class ToolCallDelta:
    """More of a tool call.

    Args:
        index: which call of the answer, counted from 0.
        id: names the call.
        name: the tool.
        arguments: more of the JSON of its arguments.
    """

    index: int
    id: str
    name: str
    arguments: str = ""


@dataclass(slots=True)
class Usage:
    """How many tokens were used, and what they cost.

    Args:
        input: tokens of the conversation; those from a cache are among them.
        output: tokens of the answer; those of its reasoning are among them.
        cached: tokens of the conversation that came from a cache.
        reasoning: tokens of the answer that nobody reads.
        cost: in the currency of the prices; ``None`` where these are not known.
    """

    input: int = 0
    output: int = 0
    cached: int = 0
    reasoning: int = 0
    cost: float | None = None


@dataclass(slots=True)
class UsageDelta:
    """What has been used so far, all in all."""

    usage: Usage


@dataclass(slots=True)
class OutputDelta:
    """What the output that was asked for looks like so far: fields that have not come are ``None``.

    Args:
        value: an instance of a class with the fields of the output, each of which may be ``None``.
    """

    value: Any


@dataclass(slots=True)
class Restarted:
    """The answer did not fit the output that was asked for, and is given once more: forget what came before.

    Args:
        attempt: the answer that begins, counted from 1.
        problem: what was wrong with the one before.
    """

    attempt: int
    problem: str


Delta = TextDelta | ReasoningDelta | RefusalDelta | ToolCallDelta | UsageDelta | OutputDelta | Restarted
"""What comes from a model, piece by piece."""


@dataclass(slots=True)
class Reply:
    """What a model has said, as far as it is known.

    Args:
        text: the answer.
        reasoning: what it thought before.
        refusal: why it does not answer.
        tool_calls: what it wants to have called.
        finish: why it has stopped (see `FINISHES`); empty while it has not.
        usage: what it has cost; ``None`` where the provider does not say.
        output: the output that was asked for, if one was.
        model: the model, as the provider calls it.
        id: the answer, as the provider calls it.
        logprobs: how likely its tokens were, if that was asked for.
    """

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    tool_calls: list[ToolCall] = field(default_factory=list)
    finish: str = ""
    usage: Usage | None = None
    output: Any = None
    model: str = ""
    id: str = ""
    logprobs: list[Logprob] = field(default_factory=list)

    def message(self) -> Assistant:
        """Give it as a message of the conversation that goes on."""
        return Assistant(self.text, list(self.tool_calls))
