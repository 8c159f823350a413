"""Runs that were paused, or waited to be admitted: who is blamed, what is said, what is shown."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penguiflow.telemetry.records import PauseRecord, RunTrace
from penguiflow.telemetry.views.blame import Blame
from penguiflow.telemetry.views.causes import why
from penguiflow.telemetry.views.page import page
from penguiflow.telemetry.views.pauses import Idle
from penguiflow.telemetry.views.waterfall import waterfall
from penguiflow.telemetry.views.wording import columns
from penguiflow.telemetry.views.work import Works

from .browser import CHROMIUM, Browser, browser
from .test_causes import runs
from .traces import T0, line, part, step, stream, trace


def pause(start: float, end: float | None, number: int = 0) -> PauseRecord:
    return PauseRecord(number, T0 + start, None if end is None else T0 + end)


def waited(run: RunTrace, before: float) -> RunTrace:
    return replace(run, summary=replace(run.summary, waited=before))


def paused_chain(*pauses: PauseRecord, status: str = "done", end: float | None = 2.5) -> RunTrace:
    """A generator and a node that works chunk by chunk: half a second of work, two of them paused."""
    length = 2.5 if end is None else end
    steps = [
        step("words", 0.0, end, (0.0, 0.5, length - 0.5)),
        step("rank", 0.0, end, (0.3, 0.2, length - 0.5), step=2, stream_id="answer-1"),
    ]
    streams = [
        stream("words", 0.0, end, (0.0, 0.5, length - 0.5), timeline=None),
        stream("rank", 0.0, end, (0.3, 0.2, length - 0.5), step=2, timeline=None),
    ]
    parts = [part(0, line("words", "rank"), 0.0, end, status=status)]
    return trace(parts, steps, streams, length, status, pauses=pauses)


def test_a_run_that_was_paused_says_so_first() -> None:
    """Not that its reader, its source or a node was slow; and what took the rest."""
    said = why(paused_chain(pause(0.5, 2.5)))
    assert said[0] == "The run was paused for 2.0 s (80 % of its time), from 0.50 s on, and was not resumed."
    said = why(paused_chain(pause(0.4, 2.4)))
    assert said[0] == "The run was paused for 2.0 s (80 % of its time), from 0.40 s on."
    assert said[1] == "See who paused the run, and why it was not resumed sooner."
    assert said[2] == "Of the other 0.50 s, 0.30 s (60 %) went to node words."
    assert not any("reader" in sentence or "source" in sentence for sentence in said)


def test_a_pause_at_the_start_is_no_queue() -> None:
    """The node had a place; its input waited for the run to go on."""
    steps = [step("one", 2.0, 2.3, queued=2.0), step("two", 2.3, 2.5, step=2)]
    run = trace([part(0, line("one", "two"), 0.0, 2.5)], steps, [], 2.5)
    assert "its queue" in why(run)[0]
    run = replace(run, pauses=(pause(0.0, 2.0),))
    said = why(run)
    assert said[0] == "The run was paused for 2.0 s (80 % of its time), from its start on."
    assert said[-1] == "Of the other 0.50 s, 0.30 s (60 %) went to node one."
    assert not any("free place" in sentence for sentence in said)


def test_a_queue_that_is_longer_than_the_pause_is_one() -> None:
    """Only what was paused is taken off, also where the steps are told of one by one."""
    steps = [step("one", 3.0, 3.1, queued=3.0), step("one", 3.1, 3.2, step=2, queued=3.1)]
    run = trace([part(0, line("one"), 0.0, 3.2)], steps, [], 3.2, pauses=(pause(0.5, 1.5),))
    said = why(run)
    assert said[0].startswith("Node one was slow: of 3.2 s that the run took, 2.1 s (66 %) went by in its ")
    assert "Its steps waited 2.0 s for a free place on average, 2.1 s at most." in said
    assert said[-1] == "The run was paused for 1.0 s (31 % of its time), from 0.50 s on."


def test_code_that_was_at_work_meanwhile_is_not_excused() -> None:
    """It would have taken as long without the pause, and the pause is told behind it."""
    steps = [step("model", 0.0, 10.0), step("after", 10.0, 10.1, step=2)]
    run = trace([part(0, line("model", "after"), 0.0, 10.1)], steps, [], 10.1, pauses=(pause(2.0, 9.0),))
    said = why(run)
    assert said[0].startswith("Node model was slow: of 10.1 s that the run took, 10.0 s")
    assert said[-2:] == (
        "The run was paused for 7.0 s (69 % of its time), from 2.0 s on.",
        "For 7.0 s of that, code that was at work already went on.",
    )
    longer = [step("model", 0.0, 3.0), step("after", 9.0, 9.1, step=2, queued=6.0)]
    run = trace([part(0, line("model", "after"), 0.0, 9.1)], longer, [], 9.1, pauses=(pause(2.0, 9.0),))
    said = why(run)
    assert said[0].startswith("The run was paused for 7.0 s (77 %")
    assert said[1] == "For 1.0 s of that, code that was at work already went on."
    assert said[-1].startswith("Of the other 3.1 s, 3.0 s (97 %) went to node model")


def test_between_two_steps_nothing_was_at_work_for_a_reason() -> None:
    """A gap is not without a record where the run was paused."""
    steps = [step("one", 0.0, 1.0), step("two", 2.8, 4.0, step=2)]
    run = trace([part(0, line("one", "two"), 0.0, 4.0)], steps, [], 4.0, pauses=(pause(1.0, 2.8),))
    blame = Blame(Works(run))
    assert {place[1]: round(charge.total, 6) for place, charge in blame.charges.items()} == {
        "one": 1.0,
        "two": 1.2,
    }


def test_short_pauses_are_told_behind_the_cause() -> None:
    steps = [step("one", 0.0, 2.0)]
    run = trace([part(0, line("one"), 0.0, 3.0)], steps, [], 3.0)
    times = replace(run, pauses=(pause(2.0, 2.2), pause(2.5, 2.8)))
    said = why(times)
    assert said[0].startswith("Node one was slow: of 3.0 s")
    assert said[-1] == (
        "The run was paused 2 times, for 0.50 s in all (17 % of its time), for the first time from 2.0 s on."
    )
    assert why(replace(run, pauses=(pause(2.0, 2.001),))) == why(run)


def test_a_run_that_is_paused_says_for_how_long() -> None:
    """The word of its process comes first, if it has said one."""
    run = paused_chain(pause(0.5, None), status="paused", end=None)
    run = replace(run, steps=(), streams=run.streams[:1])
    first, second, *_ = why(run)
    assert first == "The run began 2.5 s ago, and is paused; under way is node words."
    assert second == "The run has been paused for 2.0 s (80 % of its time), from 0.50 s on."
    told = why(replace(run, diagnosis=("The run is paused, for 1.9 s now.",)))
    assert told[:2] == ("The run is paused, for 1.9 s now.", first)


def test_a_run_that_waited_to_be_admitted() -> None:
    """Where that took longest it is the cause, else it is told behind it."""
    run = trace([part(0, line("one"), 0.0, 0.4)], [step("one", 0.0, 0.4)], [], 0.4)
    assert why(waited(run, 3.2)) == (
        "The run waited 3.2 s to be admitted (89 % of 3.6 s in all): max_runs= let no more runs be live.",
        "Let more runs be live at once with max_runs=, make them shorter, or begin fewer at the same time.",
        "Of the other 0.40 s, 0.40 s (100 %) went to node one.",
    )
    assert why(waited(run, 0.1)) == (
        *why(run),
        "The run waited 0.10 s to be admitted (20 % of 0.50 s in all): max_runs= let no more runs be live.",
    )
    assert why(waited(run, 0.001)) == why(run)
    assert why(waited(trace([], seconds=0.1), 3.0))[0].startswith("The run waited 3.0 s")


def test_the_longer_of_both_comes_first() -> None:
    run = paused_chain(pause(0.4, 2.4))
    assert why(waited(run, 1.9))[0].startswith("The run was paused")
    assert why(waited(run, 1.9))[2].startswith("The run waited 1.9 s")
    assert why(waited(run, 2.1))[0].startswith("The run waited 2.1 s")
    assert why(waited(run, 2.1))[2].startswith("The run was paused")


@st.composite
def paused_runs(draw: st.DrawFn) -> RunTrace:
    """Runs with pauses anywhere, one behind the other; the last may be open."""
    run = draw(runs())
    times = sorted(draw(st.lists(st.integers(0, 1000), unique=True, max_size=6)))
    pauses = [pause(start / 100, end / 100) for start, end in zip(times[::2], times[1::2], strict=False)]
    if len(times) % 2:
        pauses.append(pause(times[-1] / 100, None))
    status = draw(st.sampled_from([run.summary.status, "paused"]))
    summary = replace(run.summary, waited=draw(st.sampled_from([0.0, 0.3, 30.0])), status=status)
    return replace(run, pauses=tuple(pauses), summary=summary)


@given(paused_runs())
@settings(max_examples=300, deadline=None)
def test_no_paused_second_is_charged_to_anybody(run: RunTrace) -> None:
    """Whatever the pauses are: what is charged and what was idle are the run, at most; and all is shown."""
    works = Works(run)
    assert 0 <= works.idle.seconds <= 10.001
    charged = sum(charge.total for charge in Blame(works).charges.values())
    assert charged + works.idle.seconds <= 10.001
    for one in (*run.steps, *run.streams):
        waits = works.idle.waits(one)
        assert min(waits.source, waits.node, waits.credit) >= 0
        assert waits.source <= one.waits.source + 1e-9
        assert (waits.node, waits.credit <= one.waits.credit + 1e-9) == (one.waits.node, True)
    assert why(run) == why(run)
    assert all(columns(line) <= 90 for line in waterfall(run, 90).split("\n"))
    assert page(run) == page(run)


def test_a_timeline_says_what_was_waited_for_in_a_pause() -> None:
    """The reader was slow before it; a step, without a timeline, is taken to have waited for credit."""
    width = 0.1
    parts = tuple((0.0, 0.0, 0.1, 1.0) if index < 10 else (0.1, 0.0, 0.0, 1.0) for index in range(20))
    whole = stream("words", 0.0, 2.0, (1.0, 0.0, 1.0), timeline=(width, parts))
    bare = step("words", 0.0, 2.0, (1.0, 0.0, 1.0))
    idle = Idle(trace([], seconds=2.0, pauses=(pause(1.2, 1.8),)), T0 + 2.0)
    assert (idle.waits(whole).source, idle.waits(whole).credit) == pytest.approx((0.4, 1.0))
    assert (idle.waits(bare).source, idle.waits(bare).credit) == pytest.approx((1.0, 0.4))


# -- what is shown


def test_the_waterfall_shows_pauses() -> None:
    """A line of their own, over bars that rest meanwhile, whose waits are told without them."""
    text = waterfall(waited(paused_chain(pause(0.5, 2.3)), 1.5), 100)
    lines = text.split("\n")
    assert "waited 1.50 s before, to be admitted" in text
    (own,) = [line for line in lines if line.startswith("paused")]
    assert own.endswith("1.80 s")
    (axis,) = [line for line in lines if re.fullmatch(r" +0 +1\.25 s +2\.50 s", line)]
    assert own.count("‖") / len(axis.lstrip()) == pytest.approx(1.8 / 2.5, abs=0.05)
    assert sum(line.count("‖") == own.count("‖") for line in lines) == 5
    assert "source 0 s · node 500 ms · credit 200 ms · paused 1.80 s" in text
    assert lines[-1].endswith("‖ paused")
    assert "paused" not in waterfall(paused_chain(), 100)
    still = waterfall(paused_chain(pause(0.5, None), status="paused", end=None), 100)
    (own,) = [line for line in still.split("\n") if line.startswith("paused")]
    assert own.rstrip().endswith("▸    2.00 s")
    assert "has taken 2.50 s" in still


def test_a_page_shows_pauses() -> None:
    """Facts in its head, and data for its script; without a pause it has none of it."""
    text = page(waited(paused_chain(pause(0.5, 1.5), pause(2.0, 2.2)), 1.5))
    assert "<dt>paused</dt><dd>1.2 s (2 times)</dd>" in text
    assert "<dt>waited before, to be admitted</dt><dd>1.5 s</dd>" in text
    assert '<i class="swatch pause">' in text
    found = re.search(r'id="trace">(.*?)</script>', text)
    assert found is not None
    data = json.loads(found[1])
    assert data["pauses"] == data["idle"] == [[0.5, 1], [2, 0.2]]
    assert data["steps"][0][9:12] == pytest.approx([0.0, 0.5, 0.8])
    plain = page(paused_chain())
    assert not any(word in plain for word in ("<dt>paused", "to be admitted</dt>", '"swatch pause"'))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as one:
        yield one


@pytest.mark.skipif(CHROMIUM is None, reason="there is no browser")
def test_pauses_are_hatched(chromium: Browser, tmp_path: Path) -> None:
    """Behind all rows, and over bars, which have none of their own colours there."""

    def at_work(start: float, end: float, name: str) -> int:
        """Count pixels in the colour of work in a part of a canvas."""
        return int(
            chromium.value(
                f"(() => {{ const c = document.getElementById('{name}'), w = c.width - 12; "
                "const d = c.getContext('2d')"
                f".getImageData(w * {start}, 0, w * {end - start}, c.height).data; let n = 0; "
                "for (let i = 0; i < d.length; i += 4) n += d[i + 3] > 200 && d[i + 2] - d[i] > 90; "
                "return n; })()"
            )
        )

    path = tmp_path / "run.html"
    for pauses, hidden in (((), False), ((pause(0.25, 2.25),), True)):
        path.write_text(page(paused_chain(*pauses)), encoding="utf-8")
        chromium.open(path.as_uri())
        assert chromium.complaints() == []
        for name in ("bars", "overview"):
            assert at_work(0.0, 0.09, name) > 100
            assert (at_work(0.12, 0.88, name) == 0) is hidden, name
    chromium.value("document.getElementById('scroll').focus()")
    chromium.key("ArrowDown")
    chromium.wait("document.body.classList.contains('with-panel')")
    assert "run paused" in chromium.text("#panel")
