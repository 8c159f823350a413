"""Why a run was slow, failed or is stuck: the first sentence names the culprit, and nothing makes it loop."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penguiflow.telemetry.records import ErrorRecord, EventRecord, RunTrace
from penguiflow.telemetry.views.amounts import seconds
from penguiflow.telemetry.views.blame import Blame
from penguiflow.telemetry.views.causes import why
from penguiflow.telemetry.views.work import Works

from .traces import T0, agent_run, fan_out, line, live_run, many_steps, part, step, stream, trace


def verdict(run: RunTrace) -> str:
    return why(run)[0]


# -- slow


def test_a_generator_at_the_beginning_is_a_slow_source() -> None:
    run = trace(
        [part(0, line("tokens", "redact"), 0, 5)],
        [step("tokens", 0, 5, (0, 4.9, 0.1)), step("redact", 0.01, 5, (4.8, 0.1, 0.09), step=2)],
        [
            stream("tokens", 0.005, 5, (0, 4.9, 0.095)),
            stream("redact", 0.01, 5, (4.8, 0.1, 0.09), step=2),
        ],
        5,
    )
    said = why(run)
    assert said[0].startswith("The source was slow: node tokens gave 40 chunks in 5.0 s")
    assert said[1].startswith(
        "What ended last was stream answer-1 of node redact: 5.0 s, 96 % waits for input"
    )
    assert said[2].startswith("Its input came from stream answer-1 of node tokens")
    assert "see what node tokens waits for" in said[-1]


def test_a_source_node_that_waits_outside_is_a_slow_source() -> None:
    run = trace(
        [part(0, [("feed", "clean"), ("clean", "reader")], 0, 4)],
        streams=[
            stream("feed", 0, 4, (3.9, 0.1, 0)),
            stream("clean", 0, 4, (3.8, 0.2, 0), step=2),
        ],
        seconds=4,
    )
    assert verdict(run).startswith("The source was slow: node feed gave 40 chunks in 4.0 s")


def test_the_input_of_the_run_is_a_slow_source() -> None:
    run = trace(
        [part(0, line("upper"), 0, 3)],
        streams=[
            stream("input", 0, 3, (2.95, 0, 0.05), step=0),
            stream("upper", 0, 3, (2.9, 0.05, 0.05), step=1),
        ],
        seconds=3,
    )
    assert verdict(run) == "The source was slow: the run's own input took 3.0 s for 40 chunks."


def test_a_slow_node_in_the_middle_is_found_through_those_behind_it() -> None:
    names = ("tokens", "rank", "redact", "count")
    run = trace(
        [part(0, line(*names), 0, 6)],
        streams=[
            stream("tokens", 0, 5.9, (0, 0.4, 5.5)),
            stream("rank", 0, 5.95, (0.4, 5.5, 0.05), step=2),
            stream("redact", 0, 6, (5.9, 0.1, 0), step=3),
            stream("count", 0, 6, (5.95, 0.05, 0), step=4),
        ],
        seconds=6,
    )
    said = why(run)
    assert said[0].startswith("Node rank was slow: of 6.0 s that the run took, ")
    assert [line.split(":")[0].split(" ")[-1] for line in said[1:4]] == ["count", "redact", "rank"]
    assert "concurrency=" in said[-1]


def test_messages_are_followed_back_in_time() -> None:
    """The exit's own step is quick; what took long was over before it began."""
    run = trace(
        [part(0, line("load", "rank", "answer"), 0, 5.2)],
        [
            step("load", 0, 1, step=1),
            step("rank", 1, 5, step=2),
            step("answer", 5, 5.1, step=3),
        ],
        seconds=5.1,
    )
    said = why(run)
    assert said[0].startswith("Node rank was slow: of 5.1 s that the run took, 4.0 s (78 %)")
    assert said[2].startswith("Before, there was step 2 of node rank")


def test_a_slow_reader_behind_nodes_that_pass_chunks_on() -> None:
    run = trace(
        [part(0, line("tokens", "inline", "redact"), 0, 2.1)],
        streams=[
            stream("tokens", 0, 2.0, (0, 0.1, 1.9)),
            stream("redact", 0, 2.1, (0.1, 0.1, 1.9), step=3),
        ],
        seconds=2.1,
    )
    said = why(run)
    assert said[0] == (
        "The reader was slow: of 2.1 s that stream answer-1 of node redact took, "
        "1.9 s were waits for its credit."
    )
    assert "reader" in said[-1]


def test_a_consumer_that_takes_the_stream_whole() -> None:
    """The exit gave a message at the end; its node read the stream slowly, and the generator waited."""
    run = trace(
        [part(0, line("tokens", "summarise"), 0, 4)],
        [
            step("tokens", 0, 3.9, (0, 0.2, 3.7)),
            step("summarise", 0.01, 4, (0.2, 3.79, 0), step=2),
        ],
        [stream("tokens", 0, 3.9, (0, 0.2, 3.7))],
        4,
    )
    assert verdict(run).startswith("Node summarise was slow: of 4.0 s that the run took, 3.8 s")


def test_the_credit_of_an_inner_stream_leads_to_the_busy_node_downstream() -> None:
    """The generator ended last because a side branch without exit took its chunks slowly."""
    edges = [("input", "tokens"), ("tokens", "shown"), ("shown", "reader"), ("tokens", "keep")]
    run = trace(
        [part(0, edges, 0, 5)],
        streams=[
            stream("tokens", 0, 5, (0, 0.2, 4.8)),
            stream("shown", 0, 5, (0.1, 0.1, 4.8), step=2),
            stream("keep", 0, 5, (0.1, 4.9, 0), step=3),
        ],
        seconds=5,
    )
    assert verdict(run).startswith(("Node keep was slow", "The reader was slow"))
    quick = trace(
        run.parts,
        streams=[run.streams[0], stream("shown", 0, 5, (4.8, 0.2, 0), step=2), run.streams[2]],
        seconds=5,
    )
    assert verdict(quick).startswith("Node keep was slow")


def test_queueing_names_the_node_without_a_free_place() -> None:
    steps = [step("load", 0, 0.1)]
    steps += [step("rank", 0.1 + 0.5 * n, 0.6 + 0.5 * n, step=2 + n, queued=0.5 * n) for n in range(10)]
    steps.append(step("gather", 5.1, 5.11, step=20))
    run = trace([part(0, line("load", "rank", "gather"), 0, 5.11)], steps, seconds=5.11)
    said = why(run)
    assert said[0].startswith(
        "Node rank was slow: of 5.1 s that the run took, 4.5 s (88 %) went by in its queue"
    )
    assert "no free place" in said[0]
    assert any("2.2 s for a free place on average, 4.5 s at most" in line for line in said)
    assert "concurrency=" in said[-1]


def test_a_storm_of_retries() -> None:
    error = ErrorRecord("ConnectError", "refused")
    steps = [step("call", n, n + 0.2, attempt=n + 1, error=error) for n in range(5)]
    steps.append(step("call", 5, 5.4, attempt=6, events=(EventRecord(T0 + 5, "retry", {}),)))
    run = trace([part(0, line("call"), 0, 5.4)], steps, seconds=5.4)
    said = why(run)
    assert said[0].startswith("Node call was slow: of 5.4 s that the run took, 5.0 s (93 %) went to attempts")
    assert "Node call had 6 attempts at 1 step, and failed 5 times with ConnectError: refused." in said
    assert "Retry(" in said[-1]


def test_loops_add_up_and_end() -> None:
    edges = [("input", "llm"), ("llm", "tool"), ("tool", "llm"), ("llm", "reader"), ("llm", "llm")]
    steps = []
    for turn in range(400):
        steps.append(step("llm", turn, turn + 0.8, step=2 * turn + 1))
        steps.append(step("tool", turn + 0.8, turn + 1, step=2 * turn + 2))
    steps.append(step("llm", 400, 400.8, step=9999))
    run = trace([part(0, edges, 0, 400.8)], steps, seconds=400.8)
    assert verdict(run).startswith(
        "Node llm was slow: of 401 s that the run took, 321 s (80 %) went by in its own code in 401 steps"
    )


def test_streams_that_feed_each_other_do_not_loop() -> None:
    edges = [("input", "a"), ("a", "b"), ("b", "a"), ("b", "reader"), ("a", "a")]
    for waits in ((2.9, 0.05, 0.05), (0.05, 0.05, 2.9), (0.0, 0.0, 0.0)):
        streams = [stream("a", 0, 3, waits), stream("b", 0, 3, waits, step=2)]
        assert why(trace([part(0, edges, 0, 3)], streams=streams, seconds=3))


def test_a_flow_that_is_called_is_looked_into() -> None:
    parts = [
        part(0, line("ask", "answer"), 0, 5),
        part(1, line("fetch", "parse"), 1, 4.5, flow="search", caller=(0, 2)),
    ]
    steps = [
        step("ask", 0, 1, step=1),
        step("answer", 1, 5, step=2),
        step("fetch", 1, 4.3, step=1, part=1),
        step("parse", 4.3, 4.5, step=2, part=1),
    ]
    said = why(trace(parts, steps, seconds=5))
    assert said[0].startswith("Node fetch of flow search was slow: of 5.0 s that the run took, 3.3 s")
    assert any(
        line.startswith("What it called ended with step 2 of node parse of flow search") for line in said
    )


def test_calls_that_call_each_other_end() -> None:
    parts = [
        part(0, line("a"), 0, 5),
        part(1, line("b"), 0, 5, caller=(2, 1)),
        part(2, line("c"), 0, 5, caller=(1, 1)),
        part(3, line("d"), 0, 5, caller=(3, 1)),
    ]
    steps = [step(name, 0, 5, part=number) for number, name in enumerate("abcd")]
    assert "node a" in verdict(trace(parts, steps, seconds=5)).lower()


# -- not slow


def test_balanced_runs_say_so() -> None:
    names = ("a", "b", "c", "d")
    steps = [step(name, n, n + 1, step=n + 1) for n, name in enumerate(names)]
    said = why(trace([part(0, line(*names), 0, 4)], steps, seconds=4))
    assert said[0] == (
        "Nothing dominates: of 4.0 s went to node a 25 % (1.0 s), "
        "to node b 25 % (1.0 s), to node c 25 % (1.0 s)."
    )


def test_short_runs_are_not_judged() -> None:
    run = trace([part(0, line("a"), 0, 0.002)], [step("a", 0, 0.002)], seconds=0.002)
    assert why(run) == ("Nothing was slow: the run took 2.0 ms, most of it (100 %) for node a.",)


def test_an_empty_trace_says_what_it_does_not_know() -> None:
    assert why(trace([])) == (
        "Nothing is known of what its nodes and the reader did: no step and no stream was recorded.",
    )
    assert len(why(trace([part(0, [], 0, 1)], seconds=1, left_out=3))) == 2


def test_without_edges_the_last_to_end_counts() -> None:
    run = trace([part(0, [], 0, 3)], [step("one", 0, 0.1), step("two", 0.1, 3, step=2)], seconds=3)
    assert verdict(run).startswith("Node two was slow")


# -- ended badly, or not at all


def test_a_failed_run_names_node_attempt_error_causes_and_place() -> None:
    error = ErrorRecord(
        "LookupError", "no index", ("KeyError: 'orders'", "OSError: gone"), "tools.py:7 in look"
    )
    run_error = ErrorRecord("StepError", "node look failed", ("LookupError: no index",))
    steps = [
        step("plan", 0, 1, error=ErrorRecord("Busy", "try again")),
        step("plan", 1, 2, attempt=2),
        step("look", 2, 2.1, step=2, error=ErrorRecord("Busy", "at first")),
        step("look", 2.2, 2.3, step=2, attempt=2, error=error),
        step("late", 2, 2.2, step=3, error=ErrorRecord("Cancelled", "with the others")),
    ]
    parts = [part(0, line("plan", "look"), 0, 2.3, status="failed", error=run_error)]
    said = why(trace(parts, steps, seconds=2.3, status="failed"))
    assert said[:3] == (
        "Node look failed at attempt 2: LookupError: no index.",
        "That was caused by KeyError: 'orders', which was caused by OSError: gone.",
        "It was raised at tools.py:7 in look.",
    )
    assert not any(sentence.startswith("So the run failed") for sentence in said)


def test_a_run_that_failed_without_a_step() -> None:
    error = ErrorRecord("CreditError", "nobody can go on")
    parts = [part(0, line("a"), 0, 1, status="failed", error=error)]
    said = verdict(trace(parts, [step("a", 0, 1)], seconds=1, status="failed"))
    assert said.startswith("The run failed")
    assert "CreditError: nobody can go on" in said


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("cancelled", "The run was cancelled after 2.0 s; under way was node b."),
        ("expired", "The run did not keep its deadline: it expired after 2.0 s; under way was node b."),
    ],
)
def test_runs_that_were_ended_from_outside(status: str, words: str) -> None:
    steps = [step("a", 0, 1), step("b", 1, 2, step=2, outcome="cancelled")]
    run = trace([part(0, line("a", "b"), 0, 2, status=status)], steps, seconds=2, status=status)
    assert verdict(run) == words


def test_a_lost_run_says_what_was_at_work() -> None:
    steps = [step("a", 0, 1), step("b", 1, None, step=2)]
    said = why(trace([part(0, line("a", "b"), 0, None)], steps, seconds=9, status="lost"))
    assert said[0].startswith("The run is lost: the process that had it is gone, 9.0 s after it began")
    assert "node b" in said[0]
    assert said[1].startswith("Node b was slow")


def test_of_a_run_that_is_under_way_its_process_speaks_first() -> None:
    run = live_run()
    said = why(run)
    assert said[0] == run.diagnosis[0]
    assert said[1].startswith("The run is running since 3.0 s; under way is node tokens, node redact")
    assert said[2].startswith("The reader is slow: of 3.0 s that stream answer-1 of node redact took, 2.4 s")


def test_open_steps_without_waits_are_charged_to_their_node() -> None:
    run = trace([part(0, line("a", "b"), 0, None)], [step("a", 0, 1), step("b", 1, None, step=2)], seconds=60)
    assert verdict(trace(run.parts, run.steps, seconds=60)).startswith("Node b was slow")


# -- any run


NAMES = "abcde"
ENDS = st.sampled_from(["input", *NAMES])


@st.composite
def runs(draw: st.DrawFn) -> RunTrace:
    """Runs whose times fit together, on any graph, cycles and calls included."""
    number = st.integers(0, 1000).map(lambda value: value / 100)
    edges = draw(st.lists(st.tuples(ENDS, st.sampled_from([*NAMES, "reader"])), max_size=10))
    parts = [part(0, edges, 0, draw(st.sampled_from([10.0, None])))]
    for index in range(1, draw(st.integers(1, 3))):
        caller = (draw(st.integers(0, 2)), draw(st.integers(1, 4)))
        start = draw(number) / 2
        parts.append(part(index, edges, start, start + 4, caller=caller))
    steps, streams = [], []
    for _ in range(draw(st.integers(0, 12))):
        number_of_part = draw(st.integers(0, len(parts) - 1))
        began, ended = [
            (at or T0 + 10) - T0 for at in (parts[number_of_part].started, parts[number_of_part].ended)
        ]
        start = began + draw(number) * (ended - began) / 10
        length = draw(number) * (ended - start) / 10
        split = sorted([draw(number) / 10, draw(number) / 10])
        waits = (length * split[0], length * (split[1] - split[0]), length * (1 - split[1]))
        where = {"part": number_of_part, "step": draw(st.integers(1, 4))}
        attempt = draw(st.sampled_from([1, 1, 2]))
        end = draw(st.sampled_from([start + length, start + length, None]))
        node = draw(st.sampled_from(NAMES))
        if draw(st.booleans()):
            queued = min(draw(number), start - began)
            steps.append(step(node, start, end, waits, queued=queued, attempt=attempt, **where))
        else:
            name = draw(st.sampled_from(["one", "two"]))
            streams.append(stream(node, start, end, waits, stream_id=name, attempt=attempt, **where))
    status = draw(st.sampled_from(["done", "failed", "running", "lost", "cancelled", "expired"]))
    return trace(parts, steps, streams, 10, status)


@given(runs())
@settings(max_examples=300, deadline=None)
def test_any_run_is_told_and_no_second_is_charged_twice(run: RunTrace) -> None:
    said = why(run)
    assert "node" in said[0].lower() or "reader" in said[0] or "source" in said[0]
    assert why(run) == said
    blame = Blame(Works(run))
    assert sum(charge.total for charge in blame.charges.values()) <= 10.001


# -- whole runs


def test_the_verdicts_on_runs_as_they_happen() -> None:
    assert verdict(agent_run()).startswith("Node plan was slow: of 6.5 s")
    assert verdict(fan_out()).startswith("Node rank was slow: of 3.")


def test_ten_thousand_steps_are_judged_quickly() -> None:
    run = many_steps(10_000)
    start = time.perf_counter()
    first = why(run)
    assert time.perf_counter() - start < 5
    assert first == why(run)


def test_how_durations_are_written() -> None:
    given = [0.0004, 0.0042, 0.042, 0.12, 1.94, 12.34, 123.4]
    assert [seconds(value) for value in given] == "0.4 ms,4.2 ms,42 ms,0.12 s,1.9 s,12.3 s,123 s".split(",")
