"""The waterfall and the board: text that fits the terminal, tells the truth, and can't be abused."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penguiflow.durations import Waits
from penguiflow.telemetry.records import (
    ErrorRecord,
    EventRecord,
    PartRecord,
    RunSummary,
    RunTrace,
    StepRecord,
    StreamRecord,
)
from penguiflow.telemetry.store.live import LiveEdge, LiveNode, LiveRuntime, LiveStream
from penguiflow.telemetry.views.bars import Axis, Bar, longest_silence
from penguiflow.telemetry.views.board import board
from penguiflow.telemetry.views.waterfall import waterfall
from penguiflow.telemetry.views.wording import Paint, clean, columns, fit, seconds, shorten, size

ERROR = ErrorRecord("ValueError", "no", ("KeyError: 'x'",), "/app/flows.py:12 in rank")
PLAIN = Paint(False)


def step(
    number: int, node: str = "rank", started: float = 0.0, took: float = 1.0, **more: object
) -> StepRecord:
    """Make a step that was at work all the time."""
    values: dict[str, object] = {
        "part": 0,
        "step": number,
        "node": node,
        "attempt": 1,
        "stream_id": None,
        "started": 1000 + started,
        "ended": 1000 + started + took,
        "queued": 0.0,
        "outcome": "done",
        "waits": Waits(node=took),
    }
    return StepRecord(**(values | more))  # type: ignore[arg-type]


def stream(number: int, started: float = 0.0, took: float = 1.0, **more: object) -> StreamRecord:
    """Make a stream of a step."""
    values: dict[str, object] = {
        "part": 0,
        "step": number,
        "node": "rank",
        "stream_id": f"rank-{number}",
        "attempt": 1,
        "started": 1000 + started,
        "ended": 1000 + started + took,
        "terminal": "done",
        "chunks": 3,
        "bytes": 12,
        "gaps": 0,
        "drops": 0,
        "first_chunk": 0.1,
        "waits": Waits(source=took / 2, node=took / 4, credit=took / 4),
        "timeline": (
            took / 4,
            ((took / 4, 0, 0, 0), (took / 4, 0, 0, 1), (0, took / 4, 0, 0), (0, 0, took / 4, 2)),
        ),
    }
    return StreamRecord(**(values | more))  # type: ignore[arg-type]


def trace(
    steps: list[StepRecord],
    streams: list[StreamRecord] | None = None,
    error: ErrorRecord | None = None,
    parts: tuple[PartRecord, ...] = (),
    **more: object,
) -> RunTrace:
    """Make a trace of a run of four seconds."""
    values: dict[str, object] = {
        "run_id": "ab12",
        "flow": "answers",
        "trace_id": "t" * 32,
        "status": "failed" if error else "done",
        "started": 1000.0,
        "seconds": 4.0,
        "tenant": None,
        "steps": len(steps),
        "streams": len(streams or ()),
        "error": "",
    }
    summary = RunSummary(**(values | more))  # type: ignore[arg-type]
    root = PartRecord(0, "answers", None, 1000.0, 1004.0, summary.status, (), (), error)
    return RunTrace(summary, (root, *parts), tuple(steps), tuple(streams or ()))


def bar_of(text: str, label: str) -> str:
    """Give the line that begins with a label."""
    return next(line for line in text.splitlines() if line.strip().startswith(label))


def test_bars_stand_where_the_time_was() -> None:
    """A step of the second quarter of the run is drawn in the second quarter of the axis."""
    text = waterfall(trace([step(1, "rank", 1.0, 1.0)]), 66)
    line = bar_of(text, "rank")
    bar = line[6:56]
    assert bar.strip() == "█" * len(bar.strip())
    assert abs(bar.index("█") - len(bar) / 4) <= 1
    assert abs(len(bar.strip()) - len(bar) / 4) <= 1
    assert line.endswith("1.00 s")


def test_a_stream_is_drawn_by_what_it_waited_for() -> None:
    """Half of it for input, a quarter at work, a quarter without credit, the first chunk marked."""
    line = bar_of(waterfall(trace([step(1)], [stream(1, 0.0, 4.0, first_chunk=1.9)]), 110), "rank-1")
    assert re.search(r"·{10,}◆·*█{10,}░{10,}", line)
    assert abs(line.count("█") - line.count("░")) <= 1
    assert abs(line.count("·") - 2 * line.count("█")) <= 3


def test_the_numbers_of_a_stream() -> None:
    text = waterfall(trace([step(1)], [stream(1, gaps=1, drops=2)]), 120)
    assert "first chunk 100 ms · 3 chunks · 12 B · 1 gap · 2 dropped · longest silence 500 ms" in text, text
    assert "source 500 ms · node 250 ms · credit 250 ms" in text


def test_attempts_and_errors() -> None:
    """Each attempt has its line; an error is told whole once, with its causes and its place."""
    first = step(1, took=0.5, outcome="error", error=ERROR)
    second = step(1, started=1.0, attempt=2, outcome="error", error=ERROR)
    text = waterfall(trace([first, second], error=ERROR), 100)
    assert text.count("✗ ValueError: no") == 1
    assert "  ← KeyError: 'x'" in text
    assert "  at /app/flows.py:12 in rank" in text
    assert text.count("✗ ValueError, see above") == 2
    assert bar_of(text, "rank ×2").count("✗") == 1


def test_streams_belong_to_their_attempts() -> None:
    """Also one that was begun again before the next attempt was: its number tells."""
    steps = [step(1, took=0.5, outcome="error"), step(1, started=1.0, attempt=2)]
    streams = [stream(1, 0.1, 0.4, terminal="restarted"), stream(1, 0.5, 1.0, attempt=2)]
    lines = waterfall(trace(steps, streams), 100).splitlines()
    order = [line.split()[0:2] for line in lines if line.startswith(("rank", "  rank-1"))]
    assert [words[0] + (words[1] if "×" in words[1] else "") for words in order] == [
        "rank",
        "rank-1",
        "rank×2",
        "rank-1×2",
    ]


def test_what_a_step_calls_is_below_it() -> None:
    inner = PartRecord(3, "inner", (0, 1), 1000.1, 1000.9, "done", (), ())
    text = waterfall(trace([step(1), step(1, "deep", 0.2, 0.5, part=3)], parts=(inner,)), 100)
    lines = [line for line in text.splitlines() if line.startswith(("rank", "  calls inner", "    deep"))]
    assert len(lines) == 3


def test_large_runs_stay_readable() -> None:
    """Of many steps of a node the first, the slowest and the failed are shown, and how many are not."""
    steps = [step(number, started=number / 200, took=0.01) for number in range(1, 501)]
    steps[300] = step(301, started=1.5, took=2.0)
    steps[400] = step(401, started=2.0, took=0.01, outcome="error", error=ERROR)
    text = waterfall(trace(steps), 100)
    assert len(text.splitlines()) < 40
    assert "2.00 s" in text
    assert "✗ ValueError: no" in text
    assert "… 494 more steps of node rank" in text
    whole = waterfall(trace(steps), 100, everything=True)
    assert sum(line.startswith("rank ") for line in whole.splitlines()) == 500
    assert "more steps" not in whole


def test_what_belongs_to_steps_that_were_not_kept() -> None:
    """Their streams, and what they called, are shown all the same."""
    inner = PartRecord(3, "inner", (0, 9), 1000.1, 1000.9, "done", (), ())
    text = waterfall(trace([], [stream(7)], parts=(inner,)), 100)
    assert "rank-7" in text
    assert "calls inner" in text


def test_an_empty_run() -> None:
    text = waterfall(trace([], seconds=0.0, status="running"), 80)
    assert "no step has begun yet" in text
    assert "has taken 0 s" in text


def test_events_of_a_step() -> None:
    events = (
        EventRecord(1000.0, "attributes", {"model": "small"}),
        EventRecord(1000.5, "retry", {"seq": 1, "error": "OSError: x"}),
        EventRecord(1000.6, "retry", {"seq": 2, "error": "OSError: x"}),
        EventRecord(1000.6, "drop", {"edge": "a→b", "reason": "drop_oldest", "count": 7}),
        EventRecord(1000.7, "asked", {"tokens": 3}),
    )
    text = waterfall(trace([step(1, events=events)]), 100)
    assert "• model=small" in text
    assert "↻ 2 chunks tried again: OSError: x" in text
    assert "⤓ 7 dropped at a→b (drop_oldest)" in text
    assert "• +700 ms asked tokens=3" in text
    assert "↻" in bar_of(text, "rank")


HOSTILE = st.text(alphabet=st.sampled_from("ab \x1b[2J\n\r\t\x07汉字é́\u202e/…"), max_size=60)


@given(HOSTILE, HOSTILE, st.integers(min_value=40, max_value=160))
def test_nothing_from_outside_moves_the_cursor_or_the_margin(name: str, said: str, width: int) -> None:
    """Whatever nodes, errors and tenants are called: no control characters, and no line is too wide."""
    error = ErrorRecord(name, said, (said,), said)
    events = (EventRecord(1000.1, name, {said: said}),)
    drawn = trace(
        [step(1, name, outcome="error", error=error, events=events), step(2, said)],
        [stream(1, stream_id=said), stream(0, stream_id=name)],
        error=error,
        tenant=said,
        run_id=name or "r",
        flow=said,
    )
    for line in waterfall(drawn, width).split("\n"):
        assert not any(char in line for char in "\x1b\r\x07\t\u202e")
    wide = [line for line in waterfall(drawn, width).split("\n") if columns(line) > width]
    assert wide == []


def test_colours_are_only_there_when_wanted() -> None:
    """With them the text is the same."""
    drawn = trace([step(1, outcome="error", error=ERROR)], [stream(1)], error=ERROR)
    plain, colour = waterfall(drawn, 100), waterfall(drawn, 100, colour=True)
    assert "\x1b" not in plain
    assert "\x1b[31m" in colour
    assert re.sub(r"\x1b\[[0-9;]*m", "", colour) == plain


@given(
    st.floats(0, 5),
    st.floats(0, 5),
    st.integers(1, 200),
    st.lists(st.tuples(*[st.floats(0, 0.1)] * 3, st.integers(0, 3)), max_size=64),
)
def test_bars_are_as_wide_as_their_axis(
    start: float, took: float, width: int, parts: list[tuple[float, float, float, int]]
) -> None:
    """And what took any time at all has a character."""
    axis = Axis(100.0, 4.0, width)
    bar = Bar(axis)
    bar.timeline(100 + start, 100 + start + took, (0.1, tuple(parts)))
    assert len(bar.text(PLAIN)) == width
    bar.fill(100 + start, 100 + start + took, "━")
    assert len(bar.text(PLAIN)) == width
    assert "━" in bar.text(PLAIN)


def test_silence_is_between_chunks() -> None:
    parts = ((0, 0, 0, 0), (0, 0, 0, 1), (0, 0, 0, 0), (0, 0, 0, 0), (0, 0, 0, 2), (0, 0, 0, 0))
    assert longest_silence((0.5, parts)) == 1.5
    assert longest_silence((0.5, parts[:2])) is None
    assert longest_silence(None) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 s"),
        (0.0000012, "1 µs"),
        (0.00099, "990 µs"),
        (0.0009996, "1.0 ms"),
        (0.0042, "4.2 ms"),
        (0.9991, "999 ms"),
        (0.9996, "1.00 s"),
        (2.0, "2.00 s"),
        (99.9, "99.9 s"),
        (99.99, "1 min 39 s"),
        (3725.0, "62 min 5 s"),
        (7325.0, "2 h 2 min"),
    ],
)
def test_durations(value: float, text: str) -> None:
    assert seconds(value) == text


def test_sizes_and_widths() -> None:
    """Sizes with their unit; letters that take two places, or none, are counted as such."""
    assert [size(value) for value in (0, 1023, 1024, 5 * 2**20, 2**40)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "5.0 MiB",
        "1024 GiB",
    ]
    assert columns("汉字") == 4
    assert columns(fit("汉字汉字", 5)) == 5
    assert fit("a long name", 5) == "a …me"
    assert shorten("a long name", 5) == "a lo…"
    assert clean("a\x1b[2J\nb") == "a�[2J b"


def live(name: str = "answers") -> LiveRuntime:
    """Make a picture."""
    return LiveRuntime(
        pid=12,
        flow=name,
        at=0.0,
        silent=0.1,
        runs=2,
        waiting_runs=1,
        started=9,
        failed=1,
        open_streams=30,
        nodes=(
            LiveNode(name, 2, 2, 3, 100, 12.0, 0.01, 0.2, 0, 1),
            LiveNode("b", 0, 16, 0, 0, 0.0, None, None, 0, 0),
        ),
        edges=(LiveEdge(name, "b", 64, 64, 64, 100, 12.0, 5),),
        streams=tuple(LiveStream("run", name, f"s-{number}", 0, 128, 128, 7) for number in range(20)),
        diagnosis=(("run", (f"Node {name} is slow.", "It is.")),),
    )


def test_the_board() -> None:
    """Nodes, edges, streams without credit, and who waits for whom; what does not fit is counted."""
    text = board([live()], 120)
    head = text.splitlines()[0]
    assert head.startswith("flow answers · pid 12 · 2 live runs · 1 wait to begin · 9 begun · 1 failed · 30 ")
    assert re.search(r"answers +▰▰▰▰▰▰▰▰ 2/2 +3 +100 +12\.0/s +10 ms +200 ms", text)
    assert re.search(r"answers → b +▰▰▰▰▰▰▰▰ 64/64 +64 +100 +12\.0/s +5", text)
    assert "▱▱▱▱▱▱▱▱ 0/128" in text
    assert "… 15 more open streams" in text
    assert "Node answers is slow." in text


def test_paused_runs_are_counted() -> None:
    """Where there are any."""
    assert "paused" not in board([live()], 120)
    assert " · 1 wait to begin · 2 paused · 9 begun" in board([replace(live(), paused_runs=2)], 120)


def test_a_runtime_that_is_held_up() -> None:
    held = replace(live(), silent=9.0)
    assert "no news for 9.00 s: its event loop is held up" in board([held], 120)


@given(HOSTILE, st.integers(min_value=60, max_value=200))
def test_the_board_fits(name: str, width: int) -> None:
    text = board([live(name)], width)
    lines = text.split("\n")
    assert all(columns(line) <= width for line in lines[1:]), lines
    assert not any(char in text for char in "\x1b\r\x07\t\u202e")
