"""Histories: the numbers of steps, and what is left of a run whose details are forgotten."""

from __future__ import annotations

import pytest
from test_fork import open_journal, recorded_run
from time_travel_flows import SHAPES, shape

from penguiflow import JournalError
from penguiflow.history import read_history
from penguiflow.journals import Retention, retain
from penguiflow.outcomes import outcome_of, same

pytestmark = [pytest.mark.anyio, pytest.mark.limit(20)]


@pytest.mark.parametrize("name", SHAPES)
async def test_steps_are_numbered_in_the_order_in_which_they_became_durable(name: str) -> None:
    """From 1, the same whenever it is read; who gives a stream comes before who works on it."""
    made, journal = shape(name), await open_journal()
    _, history = await recorded_run(made, journal)
    numbers = [step.number for step in history.steps]
    assert numbers == list(range(1, len(numbers) + 1))
    again = await read_history(journal, "it")
    assert [step.id for step in again.steps] == [step.id for step in history.steps]
    assert history.unsettled == []
    giver = {stream.stream_id: step.number for step in history.steps for stream in step.streams if step.key}
    workers = [step for step in history.steps if step.stream_id in giver]
    assert all(step.number > giver[step.stream_id] for step in workers)


async def test_what_a_step_gave_is_read_without_its_code() -> None:
    """Results, streams, state and errors, as plain data."""
    made, journal = shape("lanes"), await open_journal()
    _, history = await recorded_run(made, journal)
    words, _, numbered, whole = map(outcome_of, history.steps)
    assert [stream["chunks"] for stream in words["streams"]] == [["one", "two", "three"]]
    assert numbered["state"] == {"n": 3}
    assert whole == {"result": "1.ONE! 2.TWO! 3.THREE!"}
    made = shape("on_error")
    _, history = await recorded_run(made, await open_journal())
    assert "ValueError: no 5" in outcome_of(history.step(2))["error"]


async def test_called_flows_are_known_by_who_calls() -> None:
    """Each call is told from the others."""
    made, journal = shape("called"), await open_journal()
    _, history = await recorded_run(made, journal)
    callers = history.callers()
    inner = [step for step in history.steps if step.scope]
    assert len({step.scope for step in inner}) == 3
    assert {callers[step.scope].node for step in inner} == {"outer"}


async def test_of_a_compacted_run_is_shown_what_is_left() -> None:
    """What left the flow, without numbers; it can't be replayed or forked, and the error says so."""
    made, journal = shape("chain"), await open_journal()
    await recorded_run(made, journal)
    await retain(journal, Retention(details=0))
    history = await read_history(journal, "it")
    assert [(step.node, step.number, outcome_of(step)) for step in history.steps] == [
        ("say", 0, {"result": "it is 8"})
    ]
    with pytest.raises(JournalError, match=r"what run it did inside is forgotten \(Retention.details\)"):
        history.step(1)
    async with made.flow.open(journal=journal) as runtime:
        with pytest.raises(JournalError, match="can't be replayed or forked any more"):
            await runtime.fork("it", at_step=1)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [(1, 1, True), (1, 1.0, False), (1, True, False), (float("nan"), float("nan"), True), (b"a", "a", False)],
)
def test_what_counts_as_the_same(one: object, other: object, expected: bool) -> None:
    """What would be the same JSON."""
    assert same(one, other) is expected
