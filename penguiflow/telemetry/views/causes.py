"""Causes: why a run was slow, failed or is stuck, in sentences.

Owns the words. Invariant: a pure function of the trace; the first sentence is the verdict and names the
culprit. The walk that finds it is `blame`'s business.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ..records import EventRecord, RunTrace, StepRecord
from .amounts import percent, seconds
from .blame import THE_READER, Blame, Charge, Hop, Kind, is_source
from .failures import brief, failures
from .outside import Outside
from .pauses import Idle
from .work import INPUT, Place, Work, Works

SHORT_SECONDS = 0.005
"""A run that took no longer is not judged."""

DOMINATES = 0.4
"""Whoever is charged with less of a run than this does not dominate it."""

MOST_HOPS = 7
"""So many links of a chain are told; of a longer one, the middle is left out."""

OVER = ("done", "failed", "cancelled", "expired", "lost", "interrupted")

_HINTS: dict[Kind, str] = {
    "node": "Look at the code of {culprit}: what it waits for outside is charged to it. If its steps could "
    "run side by side, give it more places with concurrency=; within one stream that takes ordered=False.",
    "queue": "Give {culprit} more places with concurrency=, or balance its work over several nodes.",
    "again": "See why the attempts of {culprit} fail, and bound what they may cost with Retry(attempts=, "
    "backoff=, max_backoff=).",
    "source": "The flow was ready for more: see what {culprit} waits for.",
    "reader": "The flow is faster than its reader: take chunks sooner, or let the slow work of the reader go "
    "on elsewhere; a larger window only hides it.",
    "unread": "See why {culprit} does not begin, and whether all its places are taken.",
    "unknown": "No record is there for this time: nothing of the run was at work, or its records were left "
    "out.",
}


def why(trace: RunTrace) -> tuple[str, ...]:
    """Name the cause of how a run went: the verdict, the chain from its reader to the cause, and a hint."""
    works = Works(trace)
    return (*_status(trace, works), *_slow(trace, works), *_left_out(trace))


# -- how it ended


def _status(trace: RunTrace, works: Works) -> Iterator[str]:
    """Say how a run ended, if not well, or what its process says of it."""
    summary = trace.summary
    took = seconds(works.now - summary.started)
    if summary.status == "failed" or (summary.status == "lost" and _failed(trace)):
        yield from failures(trace)
    if summary.status == "cancelled":
        yield f"The run was cancelled after {took}; {_at_work(trace, 'cancelled')}."
    elif summary.status == "expired":
        yield f"The run did not keep its deadline: it expired after {took}; {_at_work(trace, 'cancelled')}."
    elif summary.status == "interrupted":
        yield (
            f"The run left memory {took} after it began, to wait for an answer; "
            f"{_at_work(trace, 'cancelled')}. It goes on when it is answered (Runtime.interrupts, "
            "Runtime.answer), as a run of its own here."
        )
    elif summary.status == "lost":
        yield (
            f"The run is lost: the process that had it is gone, {took} after it began; {_at_work(trace, '')}."
        )
        if trace.diagnosis:
            yield f"The last that its process said of it: {' '.join(trace.diagnosis)}"
    elif summary.status not in OVER:
        yield from trace.diagnosis
        paused = summary.status == "paused"
        how = f"began {took} ago, and is paused" if paused else f"is {summary.status} since {took}"
        yield f"The run {how}; {_at_work(trace, '')}."


def _failed(trace: RunTrace) -> bool:
    return any(part.error is not None for part in trace.parts)


def _at_work(trace: RunTrace, outcome: str) -> str:
    """Say which nodes had steps that ended so; none, for those that are under way."""
    names = [step.node for step in trace.steps if step.outcome == outcome]
    names += [stream.node for stream in trace.streams if stream.terminal == outcome]
    nodes = list(dict.fromkeys(names))
    if not nodes:
        return "no node was at work, and what the reader did is not known"
    more = f" and {len(nodes) - 5} more" if len(nodes) > 5 else ""
    return f"under way {'was' if outcome else 'is'} node {', node '.join(nodes[:5])}{more}"


def _left_out(trace: RunTrace) -> Iterator[str]:
    if trace.left_out:
        records = "record of the run was" if trace.left_out == 1 else "records of the run were"
        yield f"{trace.left_out} {records} not kept, for want of room: what is said here is said without."


# -- where its time went


def _slow(trace: RunTrace, works: Works) -> Iterator[str]:
    """Say what took the time: what held the run up from outside, or who in it did."""
    outside = Outside(trace, works.idle, trace.summary.status in OVER)
    blame = Blame(works)
    most = max(blame.charges.items(), key=lambda item: item[1].total, default=None)
    if outside.dominates(DOMINATES, most[1].total if most is not None else 0.0):
        rest = works.now - trace.summary.started - works.idle.seconds
        told = most is not None and most[1].total >= SHORT_SECONDS
        yield from outside.verdict(_most(*most, rest, works) if most is not None and told else "")
        return
    yield from _slowness(trace, works, blame)
    yield from outside.sentences()


def _most(place: Place, charge: Charge, rest: float, works: Works) -> str:
    took = f"{seconds(charge.total)} ({percent(charge.total, rest)})"
    return f"Of the other {seconds(rest)}, {took} went to {_called(place, works)}."


def _slowness(trace: RunTrace, works: Works, blame: Blame) -> Iterator[str]:
    whole = works.now - trace.summary.started
    if not trace.steps and not trace.streams:
        yield "Nothing is known of what its nodes and the reader did: no step and no stream was recorded."
        return
    late = trace.summary.read
    if late >= SHORT_SECONDS and late >= DOMINATES * (whole + late):
        over = f"the run was over after {seconds(whole)}"
        yield f"The reader was slow: {over}, and the reader had taken the last of it {seconds(late)} later."
        yield "What was left then fitted into the windows: nothing in the run waited for its reader."
        yield _HINTS["reader"].format(culprit="the reader")
        return
    ranked = sorted(blame.charges.items(), key=lambda item: (-item[1].total, item[0]))
    if not ranked:
        yield "Where its time went, to a node or to the reader, can't be said: too little of it was recorded."
        return
    place, charge = ranked[0]
    if whole < SHORT_SECONDS:
        yield (
            f"Nothing was slow: the run took {seconds(whole)}, most of it "
            f"({percent(charge.total, whole)}) for {_called(place, works)}."
        )
        return
    if charge.total < DOMINATES * whole:
        most = [
            f"{_called(one, works)} {percent(its.total, whole)} ({seconds(its.total)})"
            for one, its in ranked[:3]
        ]
        yield f"Nothing dominates: of {seconds(whole)} went to {', to '.join(most)}."
        yield "No single change makes this run much faster; begin with the first of these."
        return
    yield _verdict(place, charge, blame, whole, trace)
    yield from _chain(blame, place, works)
    yield from _attempts(place, trace, charge.kind, works.idle)
    hint = "source" if _gives(place, charge.kind, blame) else charge.kind
    yield _HINTS[hint].format(culprit=_called(place, works))


def _gives(place: Place, kind: Kind, blame: Blame) -> bool:
    """Say whether a node is slow as what others wait for, rather than at work on what it was given."""
    fed = any(hop.place == place and hop.via == "fed" for hop in blame.hops)
    return kind == "source" or (kind == "node" and fed and is_source(blame.works, place))


def _verdict(place: Place, charge: Charge, blame: Blame, whole: float, trace: RunTrace) -> str:
    """Say in one line who took most of the time, and how much of what."""
    kind, works = charge.kind, blame.works
    amount, work = charge.most[kind]
    spent, name = seconds(charge.seconds[kind]), _called(place, works)
    was = "was" if trace.summary.status in OVER else "is"
    if kind == "reader":
        if amount > work.credit * 1.001:
            after = f"{spent} went by after {_told(work, works)} had ended"
            return f"The reader {was} slow: of {seconds(whole)} that the run took, {after}."
        who = "The reader" if place == THE_READER else f"Node {place[1]}, the reader of what it calls,"
        return (
            f"{who} {was} slow: of {seconds(work.seconds)} that {_told(work, works)} took, "
            f"{seconds(amount)} were waits for its credit."
        )
    if place[1] == INPUT and work.node != INPUT:
        late = f"came to {_called(work.place, works)} for the last time {spent} after the run began"
        return f"The source {was} slow: the run's own input {late}."
    if place[1] == INPUT:
        return f"The source {was} slow: the run's own input took {seconds(work.seconds)} for {_chunks(work)}."
    if _gives(place, kind, blame):
        return (
            f"The source {was} slow: {name} gave {_chunks(work)} in {seconds(work.seconds)}, "
            f"{spent} of it before they were there."
        )
    count = len(works.at(place))
    times = f" in {count} steps" if count > 1 else ""
    share = f"of {seconds(whole)} that the run took, {spent} ({percent(charge.seconds[kind], whole)})"
    if kind == "queue":
        queued = sum(one.queued >= 0.001 for one in works.at(place))
        full = f"it had no free place for {queued} of {count} steps"
        return f"Node {name[5:]} {was} slow: {share} went by in its queue: {full}."
    tries = _tries_of_chunks(place, trace) if kind == "again" else None
    if tries is not None:
        return f"Node {name[5:]} {was} slow: {share} went into {tries}."
    if kind == "again":
        return (
            f"Node {name[5:]} {was} slow: {share} went to attempts that failed, and pauses after them{times}."
        )
    if kind == "unread":
        return f"Node {name[5:]} takes nothing: for {spent}, {_told(work, works)} waited for its credit."
    if kind == "unknown":
        return f"Nothing {was} at work: {share} are without a record, before {name} began."
    return f"Node {name[5:]} {was} slow: {share} went by in its own code{times}."


def _chain(blame: Blame, place: Place, works: Works) -> Iterator[str]:
    """Tell the way from the reader to the culprit."""
    hops: list[Hop] = []
    for hop in blame.hops:
        if hop.work is not None or hop.place == place:
            hops.append(hop)
        if hop.place == place:
            break
    skipped = len(hops) - MOST_HOPS
    if skipped > 0:
        hops = hops[: MOST_HOPS - 3] + hops[-3:]
    for index, hop in enumerate(hops):
        if skipped > 0 and index == MOST_HOPS - 3:
            yield f"Then come {skipped} more nodes of the same kind."
        yield _link(hop, works)


def _link(hop: Hop, works: Works) -> str:
    if hop.work is None:
        return (
            "It waited for the credit of the reader."
            if hop.place == THE_READER
            else f"What it had waited for {_called(hop.place, works)}."
        )
    lead = {
        "end": "Last under way is" if hop.work.open else "What ended last was",
        "came": "Before, there was",
        "fed": "Its input came from",
        "taken": "What it had was taken by",
        "called": "What it called ended with",
    }[hop.via]
    return f"{lead} {_told(hop.work, works)}: {_shares(hop.work)}."


def _shares(work: Work) -> str:
    """Say how the time of a work divides."""
    whole = work.seconds
    named = [
        ("waits for input", work.source),
        ("its own code", work.node_time),
        ("waits for a place", work.queued),
        ("failed attempts and pauses", work.again),
        ("waits for credit", work.credit),
        ("paused", work.paused),
    ]
    told = [f"{percent(spent, whole)} {name}" for name, spent in named if whole > 0 and spent >= 0.01 * whole]
    return f"{seconds(whole)}, {', '.join(told)}" if told else seconds(whole)


def _attempts(place: Place, trace: RunTrace, kind: Kind, idle: Idle) -> Iterator[str]:
    """Tell of the attempts at the steps of a node, where that says something."""
    steps = [step for step in trace.steps if (step.part, step.node) == place]
    if kind in ("reader", "source") or not steps:
        return
    number = len({step.step for step in steps})
    again = [event for step in steps if step.stream_id for event in step.events if event.name == "retry"]
    retries = len(steps) - number + sum(step.retries for step in steps if step.stream_id)
    if retries:
        once = "1 step" if number == 1 else f"{number} steps"
        yield f"Node {place[1]} had {number + retries} attempts at {once}{_reasons(steps, again)}."
    waited = [idle.queued(step) for step in steps if step.attempt == 1]
    queued = sum(waited)
    if kind == "queue" or (number > 1 and queued > 0):
        longest = max(waited, default=0.0)
        mean = seconds(queued / number)
        yield f"Its steps waited {mean} for a free place on average, {seconds(longest)} at most."


def _tries_of_chunks(place: Place, trace: RunTrace) -> str | None:
    """Say at how many chunks a node has failed first, and with what last; ``None`` where it was at none."""
    steps = [step for step in trace.steps if (step.part, step.node) == place]
    told = [event for step in steps for event in step.events if event.name == "retries"]
    if not told or len({(step.part, step.step) for step in steps}) < len(steps):
        return None  # whole attempts have failed as well
    counts = [event.attributes.get("chunks") for event in told]
    chunks = sum(count for count in counts if isinstance(count, int))
    error = max(told, key=lambda event: event.at).attributes.get("error")
    last = f"; the last error was {error}" if error else ""
    return (
        f"failed tries of {'1 chunk' if chunks == 1 else f'{chunks} chunks'} and the waits between them{last}"
    )


def _reasons(steps: list[StepRecord], again: list[EventRecord]) -> str:
    """Say what attempts have failed with: those of steps, and those at a chunk."""
    errors = [brief(step.error) for step in steps if step.error is not None]
    errors += [str(event.attributes["error"]) for event in again if event.attributes.get("error")]
    counts = Counter(errors)
    if not counts:
        return ""
    least = "at least " if len(again) < sum(step.retries for step in steps if step.stream_id) else ""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    told = [f"{'once' if count == 1 else f'{count} times'} with {text}" for text, count in ranked[:2]]
    return f", and failed {least}{', '.join(told)}"


# -- names


def _called(place: Place, works: Works) -> str:
    part, node = place
    if place == THE_READER:
        return "the reader"
    if node == INPUT:
        return "the run's own input"
    inner = f" of flow {works.parts[part].flow}" if part and part in works.parts else ""
    return f"node {node}{inner}"


def _told(work: Work, works: Works) -> str:
    name = _called(work.place, works)
    if work.stream_id:
        return f"stream {work.stream_id} of {name}"
    return f"step {work.step} of {name}" if work.step else f"a step of {name}"


def _chunks(work: Work) -> str:
    if not work.stream_id:
        return "what it gave"
    return "1 chunk" if work.chunks == 1 else f"{work.chunks} chunks"
