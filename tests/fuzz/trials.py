"""The kinds of trials: values, failures, cancels, retries; the fifth, ``durable``, has a module of its own.

Owns what each of them expects. Invariant: a trial ends, and with the conservation check. Does not know how
trials are collected.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio

from penguiflow import Run, RunCancelled, StepError, StreamClosed
from penguiflow.testing import InjectedError, RandomGraph, Seen, differences, imbalances
from penguiflow.testing.graphs.conduct import TENANT

from .cuts import CUTS
from .durable import durable_attempt
from .ledger import Ledger
from .trial import LONG, RUNS, Kind, Trial, loses, uses_threads
from .watching import Deaf, Faint, count_while, pause_and_resume

QUIET = 200.0  # virtual seconds, in which all steps of a run end
LIMIT = 3000.0  # virtual seconds; where every task waits, time jumps there at once

# -- values and retries


async def whole_run(trial: Trial, number: int) -> None:
    """Read one run to its end and compare."""
    graph = trial.graph
    rng = random.Random(f"{graph.seed}/reader/{number}")
    payload = graph.payload(number)
    seen = trial.seen(rng)
    if graph.layout.streamed and rng.random() < 0.5:
        async with trial.runtime.session(headers=trial.headers()) as run:
            trial.runs.append(run)
            await read_fed(trial, run, payload, seen, rng)
    else:
        async with trial.start(payload, deadline=rng.choice([None, LONG])) as run:
            trial.runs.append(run)
            await trial.read(run, seen, rng)
    mode: Any = "subsequence" if loses(graph) and any(r.statistics().dropped for r in trial.runs) else "whole"
    trial.blame(number, differences(graph.expected(payload), seen, mode))


async def read_fed(trial: Trial, run: Run, payloads: list[Any], seen: Seen, rng: random.Random) -> None:
    """Read a two-way run while another task feeds it. If cancelled, what was read is seen."""
    error: Exception | None = None

    async def feed() -> None:
        try:
            for payload in payloads:
                await run.send(payload)
            trial.wrong += await quiet_credit(trial, run)
            await run.end_input()
        except (StreamClosed, RunCancelled):
            return  # the flow has left its input, or is over: the reader will know

    async with anyio.create_task_group() as group:
        group.start_soon(feed)
        try:
            await trial.read(run, seen, rng)
        except Exception as raised:
            error = raised
            group.cancel_scope.cancel()
    if error is not None:
        raise error


async def quiet_credit(trial: Trial, run: Run) -> list[str]:
    """Wait until nothing moves in a run whose input is open; tell the credit that is out then (rule 2.3).

    If cancelled, nothing was changed.
    """
    forms = {shape.form for shape in trial.graph.layout.shapes.values()}
    if uses_threads(trial.graph) or "shared" in forms:  # a stream that nobody ends holds what it rides on
        return []
    await anyio.sleep(QUIET)
    statistics = run.statistics()
    if statistics.credit_out == 0 or statistics.status != "running":
        return []
    return [f"a quiet run has credit out (rule 2.3): {statistics}"]


def drops_reported(trial: Trial) -> list[str]:
    """Compare the drops that runs report with those that edges count (rule 2.9)."""
    reported = Counter(drop.edge for run in trial.runs for drop in run.statistics().drops)
    shapes = trial.graph.layout.shapes
    dropping = {
        f"{shapes[road.source].key}→{shapes[road.target].key}"
        for road in trial.graph.layout.roads
        if road.overflow != "wait"
    }
    edges = {f"{e.source}→{e.target}": e.dropped for e in trial.runtime.statistics().edges}
    counted = {name: dropped for name, dropped in edges.items() if dropped and name in dropping}
    # what a reader leaves behind when it leaves early is counted as dropped, too, but by no policy
    if any(shape.form == "take" or shape.fault is not None for shape in shapes.values()):
        counted = {name: min(count, reported[name]) for name, count in counted.items() if reported[name]}
    return [] if reported == counted else [f"drops: edges count {counted}, runs report {dict(reported)}"]


# -- failures


async def failing_run(trial: Trial, number: int) -> None:
    """Read one run of a flow whose nodes fail; exactly one StepError comes out, behind a beginning."""
    graph = trial.graph
    rng = random.Random(f"{graph.seed}/reader/{number}")
    payload = graph.payload(number)
    expected = graph.expected(payload)
    seen = trial.seen(rng)
    error: Exception | None = None
    async with trial.start(payload) as run:
        try:
            await trial.read(run, seen, rng)
        except Exception as raised:
            error = raised
    trial.blame(number, differences(expected, seen, "prefix" if expected.trips else "whole"))
    trial.blame(number, wrong_error(error, expected.trips))


def wrong_error(error: Exception | None, trips: set[str]) -> list[str]:
    """Tell what is wrong with the error that came out of a run whose nodes fail."""
    if error is None:
        return [f"no error came out, though {sorted(trips)} fail"] if trips else []
    if type(error) is not StepError:
        return [f"{type(error).__name__} came out: {error!r}, caused by {error.__cause__!r}"]
    found = (
        [] if error.node in trips else [f"{error.node} failed, expected one of {sorted(trips)}: {error!r}"]
    )
    if not isinstance(error.__cause__, InjectedError):
        found.append(f"the cause of {error!r} is {error.__cause__!r}")
    return found


# -- cancels


async def cut_run(trial: Trial, number: int) -> None:
    """Cut one run off, in one of many ways; what came is a beginning, and the others do not notice."""
    graph = trial.graph
    rng = random.Random(f"{graph.seed}/cut/{number}")
    if number == graph.seed % RUNS:
        await whole_run(trial, number)
        return
    how = rng.choice(CUTS)
    payload = graph.payload(number)
    seen = trial.seen(rng)
    await how(trial, payload, seen, rng)
    mode: Any = "subsequence" if loses(graph) else "prefix"
    trial.blame(
        number, [f"{how.__name__}: {text}" for text in differences(graph.expected(payload), seen, mode)]
    )


# -- one trial

RUNNERS: dict[Kind, Callable[[Trial, int], Awaitable[None]]] = {
    "values": whole_run,
    "retries": whole_run,
    "failures": failing_run,
    "cancels": cut_run,
}


async def attempt(kind: Kind, graph: RandomGraph, numbers: Sequence[int] = range(RUNS)) -> list[str]:
    """Run the runs of one trial and tell what is wrong. If cancelled, so are they."""
    if kind == "durable":
        return await durable_attempt(graph, numbers)
    trial: Trial | None = None
    rng = random.Random(f"{graph.seed}/trial")
    deaf: list[str] = []
    observers = [Faint(rng.randint(1, 20))] if rng.random() < 0.3 else []
    ledger = Ledger(timelines=rng.random() < 0.5, measures=rng.random() < 0.3)
    observers += [o for o in (ledger, Deaf(deaf)) if rng.random() < 0.5]
    try:
        with anyio.fail_after(LIMIT):
            async with graph.flow().open(**graph.options, observers=observers) as runtime:
                trial = Trial(graph, rng, runtime)
                await run_all(kind, trial, numbers)
            trial.wrong += [f"closed: {text}" for text in imbalances(runtime.statistics())]
            trial.wrong += ledger.left() + deaf
    except TimeoutError:
        found = ["hangs: everything waits"]
        if trial is not None:
            found += [repr(run.statistics()) for run in trial.runs] + [repr(trial.runtime.statistics())]
        return found
    return trial.wrong


async def run_all(kind: Kind, trial: Trial, numbers: Sequence[int]) -> None:
    """Run the runs of a trial at once, and check that nothing is lost. If cancelled, so are they."""
    async with anyio.create_task_group() as beside:
        if trial.rng.random() < 0.3 and not uses_threads(trial.graph):
            beside.start_soon(count_while, trial.runtime, trial.wrong)
        if trial.rng.random() < 0.2 and kind != "failures":
            beside.start_soon(pause_and_resume, trial.runtime, trial.rng)
        async with anyio.create_task_group() as group:
            for number in numbers:
                group.start_soon(guarded, trial, RUNNERS[kind], number)
        beside.cancel_scope.cancel()
    trial.wrong += imbalances(trial.runtime.statistics())
    if kind == "values":
        trial.wrong += drops_reported(trial)


async def guarded(trial: Trial, runner: Callable[[Trial, int], Awaitable[None]], number: int) -> None:
    """Run one run, as a tenant of its own; whatever it raises is wrong. If cancelled, so is the run."""
    TENANT.set(f"tenant{number}")
    try:
        await runner(trial, number)
    except Exception as error:
        cause = f", caused by {error.__cause__!r}" if error.__cause__ else ""
        trial.blame(number, [f"{type(error).__name__} came out: {error!r}{cause}"])
