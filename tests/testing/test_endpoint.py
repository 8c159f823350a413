"""A scripted model behind HTTP answers as a provider does, on its good days and on bad ones."""

from __future__ import annotations

import anyio
import httpx
import pytest

from penguiflow.llm import ChatModel, ModelBusy, ModelRefused, TextDelta, Usage
from penguiflow.testing import ScriptedModel, serve_model

pytestmark = [pytest.mark.anyio, pytest.mark.limit(20)]


async def test_the_script_is_what_is_said() -> None:
    """Token by token, or all at once; with the count of its tokens."""
    script = ScriptedModel(lambda prompt: f"You said {prompt}")
    async with serve_model(script) as url, ChatModel("any", base_url=url) as model:
        async with model.stream("hello there") as deltas:
            texts = [delta.text async for delta in deltas if isinstance(delta, TextDelta)]
        assert texts == ["You ", "said ", "hello ", "there"]
        assert deltas.reply.usage == Usage(2, 4)
        assert (await model.complete("hi")).text == "You said hi"
    assert script.prompts == ["hello there", "hi"]
    assert script.open == 0


async def test_who_leaves_ends_the_script() -> None:
    """The model stops to speak when nobody listens."""
    script = ScriptedModel("a b c d e f g h " * 1000, interval=0.001)
    async with serve_model(script) as url, ChatModel("any", base_url=url) as model:
        async with model.stream("hi") as deltas:
            async for _ in deltas:
                break
        with anyio.fail_after(5):
            while script.open:  # noqa: ASYNC110 - nobody is told
                await anyio.sleep(0.001)
    assert script.closed_early == 1
    assert script.tokens < 8000


async def test_a_script_that_fails_is_an_error() -> None:
    """In the middle of an answer, or instead of one."""
    script = ScriptedModel("a b c", fail_at=3)
    async with serve_model(script) as url, ChatModel("any", base_url=url, retry=None) as model:
        with pytest.raises(ModelBusy, match="failed at token 3") as caught:
            async with model.stream("hi") as deltas:
                async for _ in deltas:
                    pass
        assert caught.value.reply.text == "a b "
        with pytest.raises(ModelBusy, match=r"\(500\): stream 1 failed"):
            await model.complete("hi")


async def test_what_is_no_question_is_refused() -> None:
    """The connection stays."""
    async with serve_model(ScriptedModel("x")) as url, ChatModel("any", base_url=f"{url}/deeper") as lost:
        with pytest.raises(ModelRefused, match="there is nothing at /v1/deeper/chat/completions"):
            await lost.complete("hi")
        async with httpx.AsyncClient(base_url=url) as client:
            for body in (b"", b"{", b"[]", b'{"messages": []}', b'{"messages": [5]}'):
                assert (await client.post("chat/completions", content=body)).status_code == 400
