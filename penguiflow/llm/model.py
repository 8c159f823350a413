"""Models: what agents and nodes need of one.

Owns the protocol, so that whatever speaks it can stand where a `ChatModel` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from .deltas import Delta, Reply
from .messages import Prompt, ToolSpec


class Deltas(Protocol):
    """An answer on its way: ``async for delta in deltas``."""

    @property
    def reply(self) -> Reply:
        """What it has come to; all of it behind the last delta."""

    def __aiter__(self) -> Deltas:
        """Give itself."""

    async def __anext__(self) -> Delta:
        """Give the next piece. If cancelled, it may be lost."""


class Model(Protocol):
    """A model that can be asked."""

    @property
    def name(self) -> str:
        """What it is called."""

    def stream(
        self, prompt: Prompt, *, tools: Sequence[ToolSpec] = (), output: Any = None
    ) -> AbstractAsyncContextManager[Deltas]:
        """Ask, and give the answer as it comes; leaving it ends the request.

        Args:
            prompt: a conversation, or a text to ask.
            tools: what may be called.
            output: the type that the answer is to fit: a pydantic model, or what else pydantic knows. The
                deltas have an `OutputDelta` as it grows, and the reply has it.
        """
