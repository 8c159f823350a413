"""What providers send is understood wherever its bytes are cut; what can't be is an error with a name."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penguiflow.llm import (
    Logprob,
    ModelBusy,
    ModelCutOff,
    ModelError,
    ModelRefused,
    Prices,
    ReasoningDelta,
    RefusalDelta,
    Reply,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
    UsageDelta,
)
from penguiflow.llm.reading import Reading
from penguiflow.wire.sse import EventDecoder

from .provider import chunk, event, words


def understood(data: bytes, cuts: list[int] | None = None) -> tuple[list[Any], Reply]:
    """Read an answer whose bytes are cut at some places."""
    decoder, reading = EventDecoder(), Reading(Prices(input=1.0, output=2.0))
    edges = [0, *sorted({cut % (len(data) + 1) for cut in cuts or ()}), len(data)]
    deltas = [
        delta
        for start, end in pairwise(edges)
        for one in decoder.feed(data[start:end])
        for delta in reading.event(one.data)
    ]
    return deltas, reading.settled()


def call(index: Any, **said: Any) -> dict[str, Any]:
    """Write a piece of a tool call."""
    function = {key: said.pop(key) for key in ("name", "arguments") if key in said}
    return {"tool_calls": [{**({} if index is None else {"index": index}), **said, "function": function}]}


RICH = b"".join(
    [
        b": keep-alive\n\n",
        event(chunk({"role": "assistant", "reasoning_content": "H\u00f6m\u2026"})),
        b"event: ping\ndata: {}\n\n",
        event(chunk({"content": 'He said "h\u00e9\ud83d\udc27" \\ \n'})),
        b"data: "
        + json.dumps(chunk({"content": "\U0001f427 raw"}), ensure_ascii=False).encode()
        + b"\r\n\r\n",
        event(chunk(call(0, id="a", name="look_up", arguments=""))),
        event(chunk(call(0, arguments='{"ci'))),
        event(chunk(call(1, id="b", name="add", arguments='{"x": 1}'))),
        event(chunk(call(0, arguments='ty": "Tur\u00e5"}'))),
        event(chunk(finish="tool_calls")),
        event({**chunk(usage={"prompt_tokens": 10, "completion_tokens": 5}), "choices": []}),
        event(b"[DONE]"),
    ]
)


@given(st.lists(st.integers(0, len(RICH)), max_size=30))
def test_cuts_change_nothing(cuts: list[int]) -> None:
    """Inside of a character, of an escape, of a field's name: the deltas are the same."""
    assert understood(RICH, cuts) == understood(RICH)


def test_every_single_cut_changes_nothing() -> None:
    """Byte by byte, and cut once at each place."""
    expected = understood(RICH)
    assert understood(RICH, list(range(len(RICH)))) == expected
    assert all(understood(RICH, [cut]) == expected for cut in range(len(RICH)))


def test_deltas_come_to_the_reply() -> None:
    """Text, thoughts, calls put together from pieces, usage with its cost."""
    deltas, reply = understood(RICH)
    assert reply.text == "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))
    assert reply.text.endswith("\U0001f427 raw")
    assert reply.reasoning == "H\u00f6m\u2026"
    assert deltas[0] == ReasoningDelta(reply.reasoning)
    assert reply.tool_calls == [
        ToolCall("a", "look_up", '{"city": "Tur\u00e5"}'),
        ToolCall("b", "add", '{"x": 1}'),
    ]
    assert [delta.index for delta in deltas if isinstance(delta, ToolCallDelta)] == [0, 0, 1, 0]
    assert reply.usage == Usage(10, 5, cost=pytest.approx(20e-6))
    assert (reply.finish, reply.model, reply.id) == ("tool_calls", "m-1", "chatcmpl-1")
    assert isinstance(deltas[-1], UsageDelta)


@pytest.mark.parametrize(
    ("pieces", "calls"),
    [
        (  # calls that come whole, and are not counted
            [call(None, id="a", name="f", arguments="{}"), call(None, id="b", name="g", arguments="{}")],
            [ToolCall("a", "f", "{}"), ToolCall("b", "g", "{}")],
        ),
        (  # neither counted nor named
            [call(None, name="f", arguments={"x": 1}), call(None, name="f", arguments={"x": 2})],
            [ToolCall("call_0", "f", '{"x":1}'), ToolCall("call_1", "f", '{"x":2}')],
        ),
        (  # all of them are said to be the first one
            [
                call(0, id="a", name="f", arguments="{}"),
                call(0, id="b", name="g", arguments="{"),
                call(0, arguments="}"),
            ],
            [ToolCall("a", "f", "{}"), ToolCall("b", "g", "{}")],
        ),
        (  # the id comes again with every piece
            [call(0, id="a", name="f", arguments="{"), call(0, id="a", name="f", arguments="}")],
            [ToolCall("a", "f", "{}")],
        ),
        (  # pieces without an index go on with the last call
            [call(None, id="a", name="f", arguments="{"), call(None, arguments="}")],
            [ToolCall("a", "f", "{}")],
        ),
    ],
)
def test_calls_are_put_together_as_providers_send_them(pieces: list[Any], calls: list[ToolCall]) -> None:
    """Not all of them count, or name, the calls."""
    _, reply = understood(b"".join(event(chunk(piece)) for piece in pieces))
    assert reply.tool_calls == calls


def test_halves_of_a_character_are_put_together() -> None:
    """A penguin that was cut in two, each half an escape; a half without the other is no character."""
    halves = b"".join(event(chunk({"content": half})) for half in ("a\ud83d", "\udc27b", "\udc27", "c\ud83d"))
    deltas, reply = understood(halves)
    assert [delta.text for delta in deltas] == ["a", "\U0001f427b", "\ufffd", "c"]
    assert reply.text == "a\U0001f427b\ufffdc"


def test_logprobs_and_refusals() -> None:
    """How likely tokens were goes with their text."""
    said = chunk({"content": "hi"})
    said["choices"][0]["logprobs"] = {
        "content": [{"token": "hi", "logprob": -0.1, "top_logprobs": [{"token": "ho", "logprob": -3}]}]
    }
    deltas, reply = understood(event(said) + event(chunk({"refusal": "No."})))
    likely = Logprob("hi", -0.1, [("ho", -3.0)])
    assert deltas == [TextDelta("hi", [likely]), RefusalDelta("No.")]
    assert (reply.logprobs, reply.refusal) == ([likely], "No.")


def test_what_a_provider_says_of_the_cost_counts() -> None:
    """Before the prices; tokens from a cache have their own price."""
    usage = {
        "prompt_tokens": 1000,
        "completion_tokens": 100,
        "prompt_tokens_details": {"cached_tokens": 400},
        "completion_tokens_details": {"reasoning_tokens": 60},
    }
    reading = Reading(Prices(input=10, output=40, cached=1))
    reading.event(json.dumps(chunk(usage=usage)))
    assert reading.reply.usage == Usage(1000, 100, 400, 60, pytest.approx(0.0104))
    reading.event(json.dumps(chunk(usage={**usage, "cost": 0.5})))
    assert reading.reply.usage.cost == 0.5


@pytest.mark.parametrize(
    ("data", "error", "said"),
    [
        (b"{", ModelCutOff, "no JSON"),
        (b"[1]", ModelCutOff, "an object is needed"),
        (b'{"error": {"message": "boom", "code": 503}}', ModelBusy, r"\(503\): boom"),
        (b'{"error": "out of memory"}', ModelBusy, "out of memory"),
        (b'{"error": {"message": "too long", "code": "context_length_exceeded"}}', ModelRefused, "too long"),
        (b'{"error": {"message": "no such thing", "code": 404}}', ModelRefused, r"404.*base_url"),
    ],
)
def test_an_error_in_the_middle_has_what_came_before(data: bytes, error: type[ModelError], said: str) -> None:
    """Nothing is lost of what was said."""
    reading = Reading()
    reading.event(json.dumps(chunk({"content": "so far"})))
    with pytest.raises(error, match=said) as caught:
        reading.event(data.decode())
    assert caught.value.reply.text == "so far"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                "choices delta index content tool_calls function name arguments usage error".split()
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(st.lists(JSON, max_size=4), st.booleans())
def test_whatever_comes_is_understood_or_an_error_of_a_model(said: list[Any], is_whole: bool) -> None:
    """No JSON brings another exception out."""
    reading = Reading(Prices(1, 1))
    try:
        for one in said:
            if is_whole:
                reading.whole(json.dumps(one).encode())
            else:
                reading.event(json.dumps(one))
    except ModelError:
        pass
    reading.settled()


def test_the_usual_answer() -> None:
    """Each piece of text is one delta."""
    deltas, reply = understood(b"".join(words("a", "b")))
    assert deltas[:2] == [TextDelta("a"), TextDelta("b")]
    assert (reply.text, reply.finish) == ("ab", "stop")
    assert reply.message().content == "ab"
