"""Chat: a model behind an OpenAI-compatible endpoint.

Owns what such a model is asked with, its connections, and how often it is asked again. Invariants: a request
is tried again only as long as nothing of its answer is out; who leaves an answer closes its connection; the
key is in no error, log or ``repr``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Literal

import anyio.lowlevel
import httpx
from pydantic import SecretStr

from penguiflow import Retry

from .asking import written_messages, written_tools
from .deltas import Reply
from .messages import Prompt, ToolSpec, conversation
from .outputs import Output
from .prices import Prices
from .replying import Asked, ChatStream, Patience

OPENAI_URL = "https://api.openai.com/v1"

Schemas = Literal["schema", "json", "none"]


class ChatModel:
    """A model behind an OpenAI-compatible endpoint: OpenAI, vLLM, Ollama, llama.cpp, LiteLLM and the like.

    ``async with model.stream(...) as deltas`` gives the answer as it comes, ``await model.complete(...)`` the
    whole. Connections are pooled per event loop; ``async with model`` closes them in the end, or `aclose`.

    Args:
        model: what the provider calls it; by default what ``OPENAI_MODEL`` says.
        base_url: where it is, mostly with ``/v1`` at the end; by default what ``OPENAI_BASE_URL`` says, else
            OpenAI.
        api_key: by default what ``OPENAI_API_KEY`` says; an endpoint of your own may need none.
        options: what else is asked, as the endpoint knows it: ``{"temperature": 0, "max_tokens": 500}``.
        headers: more headers of each request.
        prices: what tokens cost, where the provider does not say what an answer has cost.
        retry: how often and when a request is tried again that gave nothing; ``None``: never. What the
            provider says of how long to wait (``Retry-After``) comes before its own pauses.
        retry_seconds: for how long it is tried again at most, waits included.
        connect_timeout: seconds until there is a connection.
        first_token_timeout: seconds until the first piece of an answer.
        idle_timeout: seconds between two pieces of it.
        timeout: seconds for all of it.
        schemas: how an output is asked for: by the provider's own ``"schema"`` mode, by its mode for
            ``"json"``, or by words alone (``"none"``). What comes is validated in each case.
        repairs: how often an answer that does not fit is asked to be given again.
        connections: how many there may be at a time.

    Raises:
        ValueError, TypeError: there is no model, or an option makes no sense.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        base_url: str | None = None,
        api_key: str | SecretStr | None = None,
        options: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        prices: Prices | None = None,
        retry: Retry | None = Retry(attempts=4, backoff=0.5, max_backoff=20.0, jitter=0.25),  # noqa: B008 - frozen
        retry_seconds: float = 60.0,
        connect_timeout: float = 10.0,
        first_token_timeout: float = 120.0,
        idle_timeout: float = 60.0,
        timeout: float = 600.0,
        schemas: Schemas = "schema",
        repairs: int = 1,
        connections: int = 100,
    ) -> None:
        name = model or os.environ.get("OPENAI_MODEL", "")
        if not name:
            raise ValueError("ChatModel(): which model? Give model=…, or set OPENAI_MODEL")
        self.name: str = name
        self._url = _checked_url(base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI_URL)
        key = api_key if api_key is not None else os.environ.get("OPENAI_API_KEY", "")
        self._key = key if isinstance(key, SecretStr) else SecretStr(key)
        self._options = dict(options or {})
        self._headers = dict(headers or {})
        self._prices = prices
        seconds = {
            "retry_seconds": retry_seconds,
            "connect_timeout": connect_timeout,
            "first_token_timeout": first_token_timeout,
            "idle_timeout": idle_timeout,
            "timeout": timeout,
        }
        for option, value in seconds.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise ValueError(f"ChatModel({option}={value!r}): a number of seconds above 0 is needed")
        for option, count, least in (("repairs", repairs, 0), ("connections", connections, 1)):
            if isinstance(count, bool) or not isinstance(count, int) or count < least:
                raise ValueError(
                    f"ChatModel({option}={count!r}): a whole number of at least {least} is needed"
                )
        if retry is not None and not isinstance(retry, Retry):
            raise TypeError(f"ChatModel(retry={retry!r}): a Retry is needed, or None")
        if schemas not in ("schema", "json", "none"):
            raise ValueError(f'ChatModel(schemas={schemas!r}): it is "schema", "json" or "none"')
        self._patience = Patience(retry, retry_seconds, first_token_timeout, idle_timeout, timeout, repairs)
        self._connect_timeout = connect_timeout
        self._schemas = schemas
        self._connections = connections
        self._client: anyio.lowlevel.RunVar[httpx.AsyncClient] = anyio.lowlevel.RunVar(f"chat {id(self)}")

    def __repr__(self) -> str:
        return f"<ChatModel {self.name} at {self._url.host}>"

    def stream(
        self,
        prompt: Prompt,
        *,
        tools: Sequence[ToolSpec] = (),
        output: Any = None,
        tool_choice: str | Mapping[str, Any] | None = None,
        logprobs: int | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> ChatStream:
        """Ask, and give the answer as it comes: ``async with model.stream(...) as deltas``.

        It is entered when the first piece has come. Leaving it closes the request, at once.

        Args:
            prompt: a conversation, or a text to ask.
            tools: what may be called.
            output: the type that the answer is to fit.
            tool_choice: ``"auto"``, ``"none"``, ``"required"``, or what else the endpoint knows.
            logprobs: how many likely tokens to tell for each token, with how likely they were; 0: only its
                own.
            options: what else is asked, before the options of the model.

        Raises:
            TypeError, ValueError: the prompt is no conversation, the output no type.
            ModelError: on entering or reading it, see `penguiflow.llm.errors`.
        """
        wanted = {**_wanted(tools, tool_choice, logprobs), **(options or {})}
        return self._answer(prompt, output, wanted, stream=True)

    async def complete(
        self,
        prompt: Prompt,
        *,
        tools: Sequence[ToolSpec] = (),
        output: Any = None,
        tool_choice: str | Mapping[str, Any] | None = None,
        logprobs: int | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Reply:
        """Ask, and give the whole answer, which comes in one piece; see `stream`.

        If cancelled, the request is closed.
        """
        wanted = {**_wanted(tools, tool_choice, logprobs), **(options or {})}
        async with self._answer(prompt, output, wanted, stream=False) as deltas:
            async for _ in deltas:
                pass
        return deltas.reply

    async def aclose(self) -> None:
        """Close the connections of this event loop. If cancelled, they are closed all the same."""
        client = self._client.get(None)
        if client is not None:
            self._client.set(None)  # type: ignore[arg-type]
            with anyio.CancelScope(shield=True):
                await client.aclose()

    async def __aenter__(self) -> ChatModel:
        """Give itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self.aclose()

    def _answer(self, prompt: Prompt, output: Any, wanted: Mapping[str, Any], *, stream: bool) -> ChatStream:
        """Put together what is asked: what this question wants comes before the options of the model."""
        body = {**self._options, "model": self.name, "messages": written_messages(conversation(prompt))}
        if stream:
            body["stream"] = True
            body.setdefault("stream_options", {"include_usage": True})
        asked = Asked(body, None if output is None else Output(output))
        asked.ask_for_output(self._schemas)
        asked.body.update(wanted)
        return ChatStream(asked, self._connected, self._patience, self._prices)

    def _connected(self) -> httpx.AsyncClient:
        """Give the connections of this event loop."""
        client = self._client.get(None)
        if client is None:
            key = self._key.get_secret_value()
            authorization = {"Authorization": f"Bearer {key}"} if key else {}
            client = httpx.AsyncClient(
                base_url=self._url,
                headers={**authorization, **self._headers},
                timeout=httpx.Timeout(None, connect=self._connect_timeout),
                limits=httpx.Limits(
                    max_connections=self._connections, max_keepalive_connections=self._connections
                ),
            )
            self._client.set(client)
        return client


def _wanted(
    tools: Sequence[ToolSpec], tool_choice: str | Mapping[str, Any] | None, logprobs: int | None
) -> dict[str, Any]:
    wanted: dict[str, Any] = {}
    if tools:
        wanted["tools"] = written_tools(tools)
    if tool_choice is not None:
        wanted["tool_choice"] = tool_choice
    if logprobs is not None:
        wanted["logprobs"] = True
        if logprobs:
            wanted["top_logprobs"] = logprobs
    return wanted


def _checked_url(url: str) -> httpx.URL:
    """Give a URL to which paths can be added.

    Raises:
        ValueError: it is none.
    """
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError) as exc:
        raise ValueError(f"ChatModel(base_url=…): it can't be read ({exc})") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError(f"ChatModel(base_url={url!r}): a URL is needed, such as http://localhost:8000/v1")
    return parsed
