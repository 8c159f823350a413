"""A chat model against a provider on a real socket: what goes right, and everything that goes wrong."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from email.utils import formatdate
from typing import Any

import anyio
import pytest
from pydantic import BaseModel

from penguiflow import Context, Flow, Retry, StepError, node
from penguiflow.llm import (
    Assistant,
    Audio,
    ChatModel,
    Image,
    ModelBusy,
    ModelCutOff,
    ModelError,
    ModelRefused,
    ModelTimeout,
    ModelUnreachable,
    OutputDelta,
    OutputInvalid,
    Reply,
    Restarted,
    System,
    Text,
    TextDelta,
    ToolCall,
    ToolResult,
    ToolSpec,
    Usage,
    User,
)

from .provider import (
    Answer,
    Line,
    Provider,
    broken,
    chunk,
    event,
    failing,
    saying,
    serving,
    stalled,
    streaming,
    whole,
    words,
)

pytestmark = [pytest.mark.anyio, pytest.mark.limit(30)]

KEY = "sk-secret-0123456789"
QUICK = Retry(attempts=3, backoff=0.001, max_backoff=0.002, jitter=0.0)


def chat(provider: Provider, **options: Any) -> ChatModel:
    """Make a model of a provider."""
    return ChatModel("m", base_url=provider.url, api_key=KEY, **{"retry": QUICK, **options})


async def told(model: ChatModel, prompt: Any = "hi", **options: Any) -> tuple[list[Any], Reply]:
    """Read an answer to its end."""
    async with model, model.stream(prompt, **options) as deltas:
        told = [delta async for delta in deltas]
        return told, deltas.reply


async def text_before(model: ChatModel, error: type[ModelError], said: str) -> list[str]:
    """Read an answer until it fails; gives the text that came."""
    texts: list[str] = []
    async with model:
        with pytest.raises(error, match=said) as caught:
            async with model.stream("hi") as deltas:
                async for delta in deltas:
                    texts += [delta.text] if isinstance(delta, TextDelta) else []
    assert caught.value.reply.text == "".join(texts)
    return texts


# -- what is asked, and answered


async def test_an_answer_comes_piece_by_piece() -> None:
    """And its usage, which was asked for."""
    async with serving(saying("He", "llo")) as provider:
        deltas, reply = await told(chat(provider, options={"temperature": 0}), options={"max_tokens": 5})
    assert [delta.text for delta in deltas if isinstance(delta, TextDelta)] == ["He", "llo"]
    assert (reply.text, reply.finish, reply.usage) == ("Hello", "stop", Usage(7, 3))
    (request,) = provider.requests
    assert request.target == "/v1/chat/completions"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.body == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0,
        "max_tokens": 5,
    }


async def test_a_whole_conversation_is_written_down() -> None:
    """Pictures, sounds, calls and their results."""
    call = ToolCall("c1", "look", '{"at": "it"}')
    prompt = [
        System("Be brief."),
        User(
            [
                Text("What is this?"),
                Image(data=b"png"),
                Image(url="http://x/y", detail="low"),
                Audio(b"wav"),
            ]
        ),
        Assistant("Let me see.", [call, ToolCall("c2", "look")]),
        ToolResult("c1", "a penguin"),
        Assistant("A penguin."),
    ]
    async with serving(saying("x")) as provider:
        tools = [ToolSpec("look", "Look at something.")]
        await told(chat(provider), prompt, tools=tools, tool_choice="auto", logprobs=2)
    body = provider.requests[0].body
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,cG5n"}},
                {"type": "image_url", "image_url": {"url": "http://x/y", "detail": "low"}},
                {"type": "input_audio", "input_audio": {"data": "d2F2", "format": "wav"}},
            ],
        },
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "it"}'}},
                {"id": "c2", "type": "function", "function": {"name": "look", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "a penguin"},
        {"role": "assistant", "content": "A penguin."},
    ]
    assert body["tools"][0]["function"]["name"] == "look"
    assert (body["tool_choice"], body["logprobs"], body["top_logprobs"]) == ("auto", True, 2)


async def test_a_whole_answer_comes_in_one_piece() -> None:
    """`complete` asks for no stream; an endpoint that can't stream is read as well."""
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    async with serving(whole("Hello", tool_calls=[call])) as provider:
        async with chat(provider) as model:
            reply = await model.complete("hi")
        assert (reply.text, reply.usage) == ("Hello", Usage(7, 3))
        assert reply.tool_calls == [ToolCall("a", "f", "{}")]
        assert "stream" not in provider.requests[0].body
        deltas, again = await told(chat(provider))
        assert (deltas[0], again) == (TextDelta("Hello"), reply)


async def test_connections_are_used_again() -> None:
    """One after the other, three answers need one."""
    async with serving(saying("x")) as provider, chat(provider) as model:
        for _ in range(3):
            async with model.stream("hi") as deltas:
                assert [delta async for delta in deltas]
        assert (len(provider.requests), provider.connections) == (3, 1)


# -- leaving


async def left_after(leave: Any, *pieces: bytes) -> bool:
    """Say whether a provider that has more to say sees at once that its client has left."""
    seen = anyio.Event()

    async def answer(line: Line) -> None:
        await line.head()
        await line.send(*pieces)
        await line.left()
        seen.set()

    async with serving(answer) as provider, chat(provider) as model:
        await leave(model)
        with anyio.move_on_after(5):
            await seen.wait()
    return seen.is_set()


async def test_who_leaves_an_answer_closes_the_connection() -> None:
    """By a break, by an error."""

    async def by_break(model: ChatModel) -> None:
        async with model.stream("hi") as deltas:
            async for _ in deltas:
                break

    async def by_error(model: ChatModel) -> None:
        with pytest.raises(KeyError):
            async with model.stream("hi") as deltas:
                async for _ in deltas:
                    raise KeyError("mine")

    assert await left_after(by_break, *words("a")[:2])
    assert await left_after(by_error, *words("a")[:2])


@pytest.mark.parametrize("pieces", [(), words("a")[:2]], ids=["before the first piece", "behind it"])
async def test_cancelling_closes_the_connection(pieces: tuple[bytes, ...]) -> None:
    """Whatever was waited for."""

    async def by_cancelling(model: ChatModel) -> None:
        with anyio.move_on_after(0.2):
            async with model.stream("hi") as deltas:
                async for _ in deltas:
                    pass

    assert await left_after(by_cancelling, *pieces)


async def test_cancelling_a_run_closes_the_connection() -> None:
    """The request of a node that streams ends with its run."""

    async def by_run(model: ChatModel) -> None:
        @node
        async def ask(prompt: str) -> AsyncIterator[str]:
            async with model.stream(prompt) as deltas:
                async for delta in deltas:
                    if isinstance(delta, TextDelta):
                        yield delta.text

        async with Flow("chat", ask).open() as runtime, runtime.run("hi") as run:
            async for said in run:
                assert said.payload == "a"
                await run.cancel()
                break

    assert await left_after(by_run, *words("a")[:2])


# -- what goes wrong


async def test_a_request_that_gave_nothing_is_made_again() -> None:
    """After an error that passes, a lost connection, and as long as the provider says."""
    busy = failing("429 Too Many Requests", {"error": {"message": "slow down"}}, retry_after="0")
    async with serving(busy, broken(), saying("x")) as provider:
        _, reply = await told(chat(provider))
    assert (reply.text, len(provider.requests)) == ("x", 3)


@pytest.mark.parametrize(
    "header",
    [{"retry_after_ms": "300"}, {"retry_after": "1"}, {"retry_after": "a date"}],
    ids=["milliseconds", "seconds", "a date"],
)
async def test_what_the_provider_says_of_how_long_to_wait_counts(header: dict[str, str]) -> None:
    """Before our own pauses, which are of milliseconds here."""
    if header == {"retry_after": "a date"}:
        header = {"retry_after": formatdate(time.time() + 2, usegmt=True)}
    busy = failing("503 Service Unavailable", {"error": {"message": "later"}}, **header)
    async with serving(busy, saying("x")) as provider:
        began = time.monotonic()
        await told(chat(provider))
    assert time.monotonic() - began >= 0.25


async def test_nobody_waits_longer_than_he_may() -> None:
    """A provider that wants an hour is told of at once."""
    busy = failing("429 Too Many Requests", {"error": {"message": "come back"}}, retry_after="3600")
    async with serving(busy) as provider:
        with pytest.raises(ModelBusy, match=r"\(429\): come back") as caught:
            await told(chat(provider, retry_seconds=5.0))
    assert (caught.value.retry_after, len(provider.requests)) == (3600.0, 1)


async def test_attempts_are_counted() -> None:
    """Then the last error comes out; without a policy, the first."""
    down = failing("500 Internal Server Error", b"<html>oops</html>")
    async with serving(down) as provider:
        with pytest.raises(ModelBusy, match=r"\(500\): <html>oops"):
            await told(chat(provider))
        assert len(provider.requests) == 3
        with pytest.raises(ModelBusy):
            await told(chat(provider, retry=None))
        assert len(provider.requests) == 4


CUT = words("so ", "far")[:3]


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (broken(*CUT), ModelUnreachable, "the connection was lost"),
        (streaming(CUT), ModelCutOff, "cut off: the provider has ended it without saying why"),
        (streaming([*CUT, event({"error": {"message": "gpu on fire"}})]), ModelBusy, "gpu on fire"),
        (streaming([*CUT, b"data: {\n\n"]), ModelCutOff, "no JSON"),
        (stalled(*CUT), ModelTimeout, r"nothing came for 0\.3 s \(idle_timeout=…\)"),
        (streaming([b"".join([*CUT, b"data: {\n\n"])]), ModelCutOff, "no JSON"),
    ],
    ids=["reset", "ended", "an error", "no JSON", "stalled", "no JSON behind text in one piece"],
)
async def test_text_that_is_out_is_never_repeated(answer: Answer, error: type[ModelError], said: str) -> None:
    """The error comes out, with what came; nobody asks again."""
    async with serving(answer) as provider:
        assert await text_before(chat(provider, idle_timeout=0.3), error, said) == ["so ", "far"]
        assert len(provider.requests) == 1


async def test_an_end_without_its_mark_is_an_end() -> None:
    """Some leave ``[DONE]`` out; why it has stopped is said before."""
    async with serving(streaming(words("x")[:-1])) as provider:
        _, reply = await told(chat(provider))
    assert reply.text == "x"


@pytest.mark.parametrize("headers", [True, False], ids=["after the head", "before it"])
async def test_a_first_piece_that_does_not_come_is_asked_for_again(headers: bool) -> None:
    """And a model that never says anything is a timeout."""
    async with serving(stalled(b": hello\n\n" if headers else b"", headers=headers)) as provider:
        with pytest.raises(ModelTimeout, match=r"no answer began within 0\.2 s \(first_token_timeout=…\)"):
            await told(chat(provider, first_token_timeout=0.2))
        assert len(provider.requests) == 3


async def test_all_of_it_has_a_limit_too() -> None:
    """However many pieces come."""

    async def drip(line: Line) -> None:
        await line.head()
        while True:
            await line.send(event(chunk({"content": "x"})))
            await anyio.sleep(0.05)

    async with serving(drip) as provider:
        assert len(await text_before(chat(provider, timeout=0.5), ModelTimeout, "time for all")) >= 2


async def test_comments_are_no_answer() -> None:
    """A provider that says that it is still there has not said anything."""

    async def hum(line: Line) -> None:
        await line.head()
        while True:
            await line.send(b": processing\n\n")
            await anyio.sleep(0.02)

    async with serving(hum) as provider:
        with pytest.raises(ModelTimeout, match="no answer began"):
            await told(chat(provider, first_token_timeout=0.2, retry=None))


async def test_what_comes_behind_the_end_is_not_waited_for() -> None:
    """A provider that keeps the connection open when all is said costs a moment, and no answer."""
    async with serving(stalled(*words("x"))) as provider:
        began = time.monotonic()
        _, reply = await told(chat(provider))
    assert reply.text == "x"
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            failing("401 Unauthorized", {"error": {"message": f"Incorrect API key provided: {KEY}"}}),
            r"\(401\): Incorrect API key provided: …; see the key: api_key",
        ),
        (
            failing("404 Not Found", {"error": {"message": "no model m", "code": "model_not_found"}}),
            r"\(404\): no model m; see the name of the model, and base_url",
        ),
        (failing("400 Bad Request", [{"error": {"message": "no such thing"}}]), r"\(400\): no such thing"),
        (failing("422 Unprocessable", {"detail": "bad"}), r"\(422\).*bad"),
        (failing("429 Too Many", {"error": {"message": "pay", "code": "insufficient_quota"}}), "pay"),
    ],
    ids=["a wrong key", "an unknown model", "a list", "another body", "no money"],
)
async def test_a_no_is_a_no(answer: Answer, said: str) -> None:
    """Asked once, told with what to do; the key is not in it, whoever repeats it."""
    async with serving(answer) as provider:
        with pytest.raises(ModelRefused, match=said) as caught:
            await told(chat(provider))
    assert KEY not in str(caught.value)
    assert len(provider.requests) == 1


async def test_nobody_at_home() -> None:
    """The error says where that was."""
    model = ChatModel("m", base_url="http://127.0.0.1:9/v1", retry=None)
    with pytest.raises(ModelUnreachable, match=r"there is no connection to 127\.0\.0\.1:9"):
        await told(model)


async def test_an_answer_without_end_is_refused() -> None:
    """What is kept of an event is bounded."""

    async def flood(line: Line) -> None:
        await line.head()
        for _ in range(20):
            await line.send(b"x" * 2**20)
        await line.left()

    async with serving(flood) as provider:
        with pytest.raises(ModelCutOff, match="more than 16777216 bytes"):
            await told(chat(provider))


# -- outputs


class Weather(BaseModel):
    """What it is like outside."""

    city: str
    degrees: int


async def test_an_output_grows_and_is_validated() -> None:
    """Fields that have not come are ``None``; the reply has the whole one."""
    pieces = ['{"ci', 'ty": "Os', 'lo", "degr', 'ees": -', "3}"]
    async with serving(saying(*pieces)) as provider:
        deltas, reply = await told(chat(provider), output=Weather)
    seen = [delta.value for delta in deltas if isinstance(delta, OutputDelta)]
    assert [(value.city, value.degrees) for value in seen] == [
        (None, None),
        ("Os", None),
        ("Oslo", None),
        ("Oslo", None),
        ("Oslo", -3),
    ]
    assert reply.output == Weather(city="Oslo", degrees=-3)
    asked = provider.requests[0].body["response_format"]["json_schema"]
    assert (asked["name"], asked["strict"]) == ("Weather", True)
    assert asked["schema"]["required"] == ["city", "degrees"]
    assert asked["schema"]["additionalProperties"] is False


@pytest.mark.parametrize("how", ["json", "none"])
async def test_without_a_mode_of_its_own_the_schema_is_told_in_words(how: Any) -> None:
    """And a fence around the answer is taken away."""
    async with serving(saying('```json\n{"city": "Oslo",', ' "degrees": 1}\n```')) as provider:
        _, reply = await told(chat(provider, schemas=how), output=Weather)
    assert reply.output == Weather(city="Oslo", degrees=1)
    body = provider.requests[0].body
    assert "degrees" in body["messages"][0]["content"]
    assert body.get("response_format") == ({"type": "json_object"} if how == "json" else None)


async def test_an_answer_that_does_not_fit_is_asked_for_again() -> None:
    """Whoever reads is told to forget it; both are paid for."""
    async with serving(saying('{"city": 7}'), saying('{"city": "Oslo", "degrees": 1}')) as provider:
        deltas, reply = await told(chat(provider), output=Weather)
    (again,) = [delta for delta in deltas if isinstance(delta, Restarted)]
    assert again.attempt == 2
    assert "degrees: Field required" in again.problem
    assert reply.output == Weather(city="Oslo", degrees=1)
    assert reply.usage == Usage(14, 6)
    at = deltas.index(again)
    assert [delta.text for delta in deltas[at:] if isinstance(delta, TextDelta)] == [reply.text]
    first, second = (request.body["messages"] for request in provider.requests)
    assert second[:-2] == first
    assert second[-2] == {"role": "assistant", "content": '{"city": 7}'}
    assert "degrees: Field required" in second[-1]["content"]


@pytest.mark.parametrize(
    ("answer", "said", "asked"),
    [
        (saying("I'd rather not"), "Invalid JSON", 2),
        (saying('{"city": "Os', finish="length"), "cut off, it is too long", 1),
        (streaming([event(chunk({"refusal": "No."}, "stop")), event(b"[DONE]")]), "has refused: No", 1),
    ],
    ids=["no JSON", "too long", "refused"],
)
async def test_an_answer_that_never_fits_is_an_error(answer: Answer, said: str, asked: int) -> None:
    """With what was said; where it makes no sense, it is not asked for again."""
    async with serving(answer) as provider:
        with pytest.raises(OutputInvalid, match=said) as caught:
            await told(chat(provider), output=Weather)
    assert len(provider.requests) == asked
    assert caught.value.reply.finish


async def test_what_is_no_object_is_wrapped_in_one() -> None:
    """Providers want an object at the root."""
    async with serving(saying('{"value": [{"city": "Oslo", ', '"degrees": 1}]}')) as provider:
        deltas, reply = await told(chat(provider), output=list[Weather])
    assert reply.output == [Weather(city="Oslo", degrees=1)]
    assert any(isinstance(delta, OutputDelta) and delta.value[0].city == "Oslo" for delta in deltas)
    assert (await whole_output()).output == 7


async def whole_output() -> Reply:
    """Ask for a number, in one piece."""
    async with serving(whole('{"value": 7}')) as provider, chat(provider) as model:
        return await model.complete("how many?", output=int)


async def test_calls_come_before_the_output() -> None:
    """A model that wants to call something has not answered yet."""
    call = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}
    answer = streaming([event(chunk({"tool_calls": [call]}, "tool_calls")), event(b"[DONE]")])
    async with serving(answer) as provider:
        _, reply = await told(chat(provider), output=Weather, tools=[ToolSpec("f")])
    assert (reply.output, reply.tool_calls) == (None, [ToolCall("a", "f", "{}")])


# -- in a flow


async def test_a_step_that_is_tried_again_begins_its_stream_again() -> None:
    """Text of two answers is never glued together (rule 1.5)."""
    async with serving(broken(*CUT), saying("all ", "of it")) as provider, chat(provider) as model:

        @node(retry=Retry(attempts=2, on=ModelError, backoff=0.0, jitter=0.0))
        async def ask(prompt: str, ctx: Context) -> AsyncIterator[str]:
            async with model.stream(prompt) as deltas:
                async for delta in deltas:
                    if isinstance(delta, TextDelta):
                        yield delta.text

        async with Flow("chat", ask).open() as runtime, runtime.run("hi") as run:
            assert await run.text() == "all of it"


async def test_a_model_that_fails_fails_its_step() -> None:
    """With the model's own error as the cause."""
    async with serving(failing("400 Bad", {"error": {"message": "no"}})) as provider, chat(provider) as model:

        @node
        async def ask(prompt: str) -> str:
            return (await model.complete(prompt)).text

        with pytest.raises(StepError, match="no") as caught:
            await Flow("chat", ask).call("hi")
        assert isinstance(caught.value.__cause__, ModelRefused)


# -- what it is made with


async def test_the_environment_says_what_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Model, place and key."""
    async with serving(saying("x")) as provider:
        monkeypatch.setenv("OPENAI_MODEL", "mine")
        monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        await told(ChatModel())
        monkeypatch.delenv("OPENAI_API_KEY")
        await told(ChatModel("other"))
    first, second = provider.requests
    assert (first.body["model"], second.body["model"]) == ("mine", "other")
    assert first.headers["authorization"] == f"Bearer {KEY}"
    assert "authorization" not in second.headers


async def test_the_key_is_nowhere_to_be_seen(caplog: pytest.LogCaptureFixture) -> None:
    """Not in a ``repr``, and in no library's log."""
    caplog.set_level(logging.DEBUG)
    async with serving(saying("x")) as provider:
        model = chat(provider)
        await told(model)
    assert KEY not in repr(model)
    assert KEY not in caplog.text
    assert not any(KEY in repr(value) for value in vars(model).values())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model": ""}, "which model"),
        ({"base_url": "localhost:8000"}, "a URL is needed"),
        ({"base_url": "ftp://x/v1"}, "a URL is needed"),
        ({"timeout": 0}, r"ChatModel\(timeout=0\)"),
        ({"idle_timeout": "1"}, r"idle_timeout='1'"),
        ({"schemas": "strict"}, r"schemas='strict'"),
        ({"repairs": -1}, r"repairs=-1"),
        ({"connections": 0}, r"connections=0"),
        ({"retry": 3}, r"retry=3"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], said: str) -> None:
    """With what was given."""
    with pytest.raises((ValueError, TypeError), match=said):
        ChatModel(**{"model": "m", **options})


@pytest.mark.parametrize("prompt", [[], ["hi"], 5, [{"role": "user", "content": "hi"}]], ids=repr)
async def test_what_is_no_conversation_is_refused(prompt: Any) -> None:
    """Before anything is asked."""
    with pytest.raises((TypeError, ValueError), match="a conversation"):
        ChatModel("m").stream(prompt)


async def test_an_output_that_is_no_type_is_refused() -> None:
    """Before anything is asked."""
    with pytest.raises(TypeError, match="output="):
        ChatModel("m").stream("hi", output=lambda: 1)
