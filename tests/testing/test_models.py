"""The scripted model says what it is told, when it is told."""

import anyio
import pytest

from penguiflow.testing import ModelError, ScriptedModel
from penguiflow.testing.fixtures import virtual_clock as anyio_backend  # noqa: F401

pytestmark = pytest.mark.limit(100_000)  # virtual seconds


async def said(model: ScriptedModel, prompt: str = "why?") -> list[str]:
    return [token async for token in model.stream(prompt)]


async def test_an_answer_is_split_into_tokens() -> None:
    """Truth: nothing is lost; a list is taken as it is, a function gets the prompt."""
    assert await said(ScriptedModel("It depends on you.")) == ["It ", "depends ", "on ", "you."]
    assert await said(ScriptedModel(["a", "", "b"])) == ["a", "", "b"]
    assert await said(ScriptedModel(lambda prompt: prompt.upper()), "hey you") == ["HEY ", "YOU"]
    assert await ScriptedModel("a b  c ").complete("") == "a b  c "
    assert await said(ScriptedModel("")) == []


async def test_waits_are_kept() -> None:
    """Truth: latency before the first token, the interval before each other."""
    model = ScriptedModel(["a", "b", "c"], latency=2, interval=0.5)
    began = anyio.current_time()
    times = [round(anyio.current_time() - began, 6) async for _ in model.stream("why?")]
    assert times == [2, 2.5, 3]


def test_chance_comes_from_the_seed() -> None:
    """Truth: the same seed, the same waits; each stream has its own; jitter and spikes stay in bounds."""
    one = ScriptedModel(latency=1, interval=1, jitter=0.5, spike=10, spike_rate=0.2, seed=7)
    two = ScriptedModel(latency=1, interval=1, jitter=0.5, spike=10, spike_rate=0.2, seed=7)
    assert one.waits(100) == two.waits(100)
    assert one.waits(100, 1) != one.waits(100, 2)
    waits = one.waits(1000)
    spikes = [wait for wait in waits if wait >= 10.5]
    assert all(0.5 <= wait <= 1.5 or 10.5 <= wait <= 11.5 for wait in waits)
    assert 100 < len(spikes) < 300


async def test_failures_come_where_the_script_says() -> None:
    """Truth: the tokens before it are said; after so many failures a stream succeeds."""
    model = ScriptedModel(["a", "b", "c"], fail_at=2, failures=2)
    for _ in range(2):
        stream = model.stream("why?")
        assert await anext(stream) == "a"
        with pytest.raises(ModelError, match="failed at token 2"):
            await anext(stream)
    assert await said(model) == ["a", "b", "c"]
    assert model.prompts == ["why?"] * 3
    with pytest.raises(LookupError, match="mine"):
        await said(ScriptedModel("a", fail_at=9, error=LookupError("mine")))


async def test_leaving_early_is_counted() -> None:
    """Truth: who burns tokens for nobody is seen."""
    model = ScriptedModel(["a", "b", "c"])
    stream = model.stream("why?")
    async for _ in stream:
        assert model.open == 1
        break
    await stream.aclose()  # type: ignore[attr-defined]
    assert (model.open, model.closed_early, model.tokens) == (0, 1, 1)
    await said(model)
    assert (model.open, model.closed_early, model.tokens) == (0, 1, 4)


def test_nonsense_is_refused() -> None:
    """Truth: no negative waits, no rates beyond 1."""
    with pytest.raises(ValueError, match="spike_rate is between 0 and 1"):
        ScriptedModel(spike_rate=2)
    with pytest.raises(ValueError, match="can't be negative"):
        ScriptedModel(latency=-1)
