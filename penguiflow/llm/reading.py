"""Reading: how an answer of an OpenAI-compatible endpoint (chat completions) is understood.

Owns the way from its JSON to deltas and a reply, whole or piece by piece. Invariant: whatever JSON comes, it
is either understood or a `ModelError`; nothing that came is told twice. Knows no connection. Source: the API
reference of OpenAI, "The chat completion chunk object"; and where others differ, what they send.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic_core import to_json

from .deltas import (
    Delta,
    Logprob,
    ReasoningDelta,
    RefusalDelta,
    Reply,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageDelta,
)
from .errors import ModelBusy, ModelCutOff, ModelError, ModelRefused
from .messages import ToolCall
from .prices import Prices

DONE = "[DONE]"

BUSY = (408, 409, 425, 429, 500, 502, 503, 504, 529)
"""Statuses after which it may be well a little later."""

PASSING = ("rate_limit_exceeded", "server_error", "overloaded_error", "timeout")
LASTING = ("insufficient_quota", "context_length_exceeded", "invalid_request_error")
"""Codes that say more than the status: a quota that is used up has that of a limit, and does not pass."""

MOST_TEXT = 500
"""So many characters of a provider's error are told."""


class Reading:
    """Understands one answer.

    Args:
        prices: what tokens cost.

    Attributes:
        reply: what it has come to.
        over: whether the provider has said that this is all.
    """

    def __init__(self, prices: Prices | None = None) -> None:
        self.reply: Reply = Reply()
        self.over: bool = False
        self._prices = prices
        self._half = ""
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._arguments: list[list[str]] = []
        self._indices: dict[int, int] = {}  # of tool calls, by what the provider counts

    def event(self, data: str) -> list[Delta]:
        """Understand the data of one event.

        Raises:
            ModelError: it is none, or says that something went wrong.
        """
        if data.strip() == DONE:
            self.over = True
            return []
        try:
            said = json.loads(data)  # and not pydantic's: what one escape has of a pair is no error here
        except (ValueError, RecursionError) as exc:
            raise self._no_answer(f"an event is no JSON ({exc})", data) from None
        return list(self._chunk(said, data))

    def whole(self, body: bytes) -> list[Delta]:
        """Understand an answer that came in one piece.

        Raises:
            ModelError: it is none.
        """
        try:
            said = json.loads(body)
        except (ValueError, RecursionError) as exc:
            raise self._no_answer(f"it is no JSON ({exc})", body.decode("utf-8", "replace")) from None
        deltas = list(self._chunk(said, str(said), part="message"))
        self.over = True
        return deltas

    def settled(self) -> Reply:
        """Give the reply with all that has come."""
        reply = self.reply
        reply.text, reply.reasoning = "".join(self._text), "".join(self._reasoning)
        for call, arguments in zip(reply.tool_calls, self._arguments, strict=True):
            call.arguments = "".join(arguments)
        return reply

    def text(self) -> str:
        """Give the text that has come."""
        return "".join(self._text)

    def _chunk(self, said: Any, data: str, part: str = "delta") -> Iterator[Delta]:
        if not isinstance(said, dict):
            raise self._no_answer("an object is needed", data)
        if said.get("error"):
            raise refusal(0, said, reply=self.settled())
        self.reply.model = _text(said.get("model")) or self.reply.model
        self.reply.id = _text(said.get("id")) or self.reply.id
        choices = said.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict) and choice.get("index", 0) == 0:  # we ask for one answer
                yield from self._choice(choice, part)
        if isinstance(said.get("usage"), dict):
            self.reply.usage = usage_in(said["usage"], self._prices)
            yield UsageDelta(self.reply.usage)

    def _choice(self, choice: dict[str, Any], part: str) -> Iterator[Delta]:
        delta = choice.get(part)
        if isinstance(delta, dict):
            yield from self._words(delta, choice)
            calls = delta.get("tool_calls")
            for call in calls if isinstance(calls, list) else ():
                if isinstance(call, dict):
                    yield self._call(call)
        self.reply.finish = _text(choice.get("finish_reason")) or self.reply.finish

    def _words(self, delta: dict[str, Any], choice: dict[str, Any]) -> Iterator[Delta]:
        thought = _text(delta.get("reasoning_content")) or _text(delta.get("reasoning"))
        if thought:
            self._reasoning.append(thought)
            yield ReasoningDelta(thought)
        text, logprobs = self._paired(_text(delta.get("content"))), logprobs_in(choice.get("logprobs"))
        if text or logprobs:
            self._text.append(text)
            self.reply.logprobs += logprobs or ()
            yield TextDelta(text, logprobs)
        refused = _text(delta.get("refusal"))
        if refused:
            self.reply.refusal += refused
            yield RefusalDelta(refused)

    def _paired(self, text: str) -> str:
        """Put the halves of a character together that came in two pieces, each as an escape of its own."""
        if not self._half and text.isascii():
            return text
        text, self._half = self._half + text, ""
        if "\ud800" <= text[-1:] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

    def _call(self, said: dict[str, Any]) -> ToolCallDelta:
        """Understand a piece of a tool call."""
        function = said.get("function")
        function = function if isinstance(function, dict) else {}
        call_id, name = _text(said.get("id")), _text(function.get("name"))
        index = self._known(said.get("index"), call_id, name)
        if index is None:
            index = len(self._arguments)
            self.reply.tool_calls.append(ToolCall(call_id or f"call_{index}", name))
            self._arguments.append([])
            if isinstance(said.get("index"), int):
                self._indices[said["index"]] = index
        call = self.reply.tool_calls[index]
        call.name = call.name or name
        arguments = function.get("arguments")
        piece = to_json(arguments).decode() if isinstance(arguments, dict) else _text(arguments)
        self._arguments[index].append(piece)
        return ToolCallDelta(index, call.id, call.name, piece)

    def _known(self, said: Any, call_id: str, name: str) -> int | None:
        """Give which call a piece belongs to; ``None`` where it begins one.

        Pieces belong together by their index. Some providers leave that out, and send calls whole; some count
        no further than 0, and tell calls apart by their ids only.
        """
        if isinstance(said, int):
            found = self._indices.get(said)
        else:
            found = len(self._arguments) - 1 if self._arguments and not (call_id or name) else None
        if found is not None and call_id and call_id != self.reply.tool_calls[found].id:
            return None
        return found

    def _no_answer(self, problem: str, data: str) -> ModelCutOff:
        text = f"what came is no answer of a model: {problem}: {shortened(data)!r}"
        return ModelCutOff(text, reply=self.settled(), passing=True)


def refusal(
    status: int, said: Any, *, reply: Reply | None = None, retry_after: float | None = None
) -> ModelError:
    """Make the error that a provider's own error stands for.

    Args:
        status: the status of the response; 0 where the error came in the middle of an answer.
        said: its body: JSON, or text.
        reply: what came before.
        retry_after: for how long the provider wants to be left alone.
    """
    error = said.get("error", said) if isinstance(said, dict) else said
    code, text = "", error
    if isinstance(error, dict):
        text = error.get("message") or error
        code = str(error.get("code") or error.get("type") or "")
        status = status or code_of(error.get("code")) or code_of(error.get("status"))
    is_passing = (not status or status in BUSY or code in PASSING) and code not in LASTING
    kind = ModelBusy if is_passing else ModelRefused
    where = f"the provider says ({status})" if status else "the provider says"
    return kind(
        f"{where}: {shortened(str(text)) or 'nothing'}{_advice(status, code)}",
        reply=reply,
        status=status,
        code=code,
        passing=is_passing,
        retry_after=retry_after,
    )


def _advice(status: int, code: str) -> str:
    if status in (401, 403):
        return "; see the key: api_key=…, or OPENAI_API_KEY"
    if status == 404 or code == "model_not_found":
        return "; see the name of the model, and base_url=… (most end in /v1)"
    return ""


def usage_in(said: dict[str, Any], prices: Prices | None) -> Usage:
    """Understand what was used; what it cost is what the provider says, else what the prices say."""
    ins, outs = said.get("prompt_tokens_details"), said.get("completion_tokens_details")
    usage = Usage(
        _count(said.get("prompt_tokens")),
        _count(said.get("completion_tokens")),
        _count(ins.get("cached_tokens")) if isinstance(ins, dict) else 0,
        _count(outs.get("reasoning_tokens")) if isinstance(outs, dict) else 0,
    )
    cost = said.get("cost")
    if isinstance(cost, int | float) and not isinstance(cost, bool):
        usage.cost = float(cost)
    elif prices is not None:
        usage.cost = prices.of(usage)
    return usage


def logprobs_in(said: Any) -> list[Logprob] | None:
    """Understand how likely tokens were, if that is said."""
    content = said.get("content") if isinstance(said, dict) else None
    if not isinstance(content, list):
        return None
    return [
        Logprob(
            _text(one.get("token")),
            float(one["logprob"]),
            [
                (_text(top.get("token")), float(top["logprob"]))
                for top in one.get("top_logprobs") or ()
                if isinstance(top, dict) and isinstance(top.get("logprob"), int | float)
            ],
        )
        for one in content
        if isinstance(one, dict) and isinstance(one.get("logprob"), int | float)
    ]


def code_of(said: Any) -> int:
    """Give the status of HTTP that a provider tells in the middle of an answer; 0 where that is none."""
    if isinstance(said, str) and said.isdecimal():
        said = int(said)
    return said if isinstance(said, int) and 400 <= said < 600 else 0


def shortened(text: str) -> str:
    """Give the beginning of a text."""
    return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}…"


def _text(said: Any) -> str:
    return said if isinstance(said, str) else ""


def _count(said: Any) -> int:
    return said if isinstance(said, int) and not isinstance(said, bool) and said > 0 else 0
