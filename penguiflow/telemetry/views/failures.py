"""Failures: which node a run failed at, with what, and where.

Owns how the first error is told from those that follow from it. Invariant: a pure function of the trace.
Knows nothing of time spent.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..records import ErrorRecord, RunTrace, StepRecord, StreamRecord

Failure = StepRecord | StreamRecord


def brief(error: ErrorRecord) -> str:
    """Write an error on one short line: of a failed step, what its node's code has raised."""
    if of_a_step(error):
        return _line(error.causes[0])
    text = " ".join(error.text.split())
    text = text if len(text) <= 160 else text[:159] + "…"
    return f"{error.kind}: {text}" if text else error.kind


def of_a_step(error: ErrorRecord) -> bool:
    """Say whether an error only tells which step has failed, and its cause why."""
    return error.kind == "StepError" and bool(error.causes)


def failures(trace: RunTrace) -> Iterator[str]:
    """Tell what a run failed with: the node, the attempt, the error, its causes, and where it was raised."""
    failed = failed_first(trace)
    error = next((part.error for part in trace.parts if part.error is not None), None)
    if failed is None or failed.error is None:
        said = brief(error) if error is not None else trace.summary.error or "nobody has said with what"
        nodes = ", ".join(dict.fromkeys(step.node for step in trace.steps if step.outcome == "error"))
        at = f" after errors of node {nodes}" if nodes else ", at none of its nodes, nor by the reader"
        yield f"The run failed{at}: {said}."
        return
    flow = next((part.flow for part in trace.parts if part.part == failed.part and failed.part), "")
    inner = f" of flow {flow}" if flow else ""
    at = f" at attempt {failed.attempt}" if failed.attempt > 1 else ""
    yield f"Node {failed.node}{inner} failed{at}: {brief(failed.error)}."
    deeper = failed.error.causes[of_a_step(failed.error) :]
    if deeper:
        causes = ", which was caused by ".join(_line(one) for one in deeper)
        yield f"That was caused by {causes}."
    if failed.error.where:
        yield f"It was raised at {_line(failed.error.where)}."
    if error is not None and brief(error) != brief(failed.error):
        yield f"So the run failed with {brief(error)}."


def failed_first(trace: RunTrace) -> Failure | None:
    """Give the innermost step or stream whose error the run failed with; one that was retried is none."""
    last: dict[tuple[int, int, str], Failure] = {}
    every: tuple[Failure, ...] = (*trace.streams, *trace.steps)
    for one in every:
        key = (one.part, one.step, one.node)
        if key not in last or one.attempt >= last[key].attempt:
            last[key] = one
    wrong = [one for one in last.values() if one.error is not None]
    run = trace.parts[0].error if trace.parts else None
    said = "" if run is None else "\n".join((brief(run), *map(_line, run.causes)))

    def rank(one: Failure) -> tuple[bool, int, float]:
        error = brief(one.error) if one.error is not None else ""
        return (error not in said, -one.part, one.ended if one.ended is not None else one.started)

    return min(wrong, key=rank, default=None)


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 200 else line[:199] + "…"
