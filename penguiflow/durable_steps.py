"""Durable steps: how a step is begun, executed and concluded in a run with a journal.

Owns the order of what is written and what is done. Invariants: a settled step is repeated, not executed
(rule 5.2); one that delivers at most once is settled before it is executed, every other one when it is over;
what it has given goes on when that is durable (`transaction`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from .items import Spread
from .policy import Delivery
from .repeating import made_again, repeat, repeat_chunk
from .transaction import Transaction

if TYPE_CHECKING:
    from .step import Step

Call = Callable[["Step"], Awaitable[Any]]

Gate = Callable[[Call, "Step"], Call]
"""Is asked about each step that is executed; gives what is called, in its place."""


def begin_transaction(step: Step) -> Transaction:
    """Let the journal know a step; one that is settled already is not observed: it does nothing."""
    kept = Transaction(step, durable=step.station.keeps)
    if kept.known is not None and step.lane is None:
        step.watch = None
    return kept


async def keep(call: Call, step: Step) -> Any:
    """Call a node for a step, unless it is settled: then give what it gave.

    If cancelled, the step is.
    """
    kept = step.kept
    if kept is None:
        return await call(step)
    made = made_again(step) if step.lane is not None else None
    if made is not None:
        return await repeat_chunk(step, made)
    if kept.known is not None:
        return await repeat(step, kept.known)
    if not kept.durable:
        return await call(step)
    keeper = step.run.engine.keeper
    if keeper is not None and keeper.gate is not None:
        call = keeper.gate(call, step)
    await kept.begin()
    step.held_letters = []
    if step.station.policy.delivery is Delivery.AT_MOST_ONCE:
        return await call_once(call, step)
    return await call(step)


async def call_once(call: Call, step: Step) -> None:
    """Settle a step, then execute it: it is not executed again, whatever becomes of it.

    If cancelled, the step is, and is settled or not.
    """
    kept = step.kept
    assert kept is not None
    if step.lane is None:
        await kept.settle([], None)
    else:
        step.lane.out.done_with(kept.source, None)
        await kept.journal.durable()
    kept.durable = False
    result = await call(step)
    if result is not None or step.held_letters:
        raise TypeError(
            f"{step.station.site.key} gave something, and its delivery is at most once: what it gives would "
            "be lost in a crash; let it return None, and emit nothing"
        )


async def conclude(step: Step, result: Any) -> None:
    """Make what a step has given durable, and hand it on.

    If cancelled, it may be durable, and goes on then.
    """
    kept = step.kept
    assert kept is not None
    if step.held is not None:
        await step.let_go()
    letters, step.held_letters = step.held_letters or [], None
    if isinstance(result, Spread):
        if letters:
            await kept.send(letters)
        await kept.spread(step.run.parts_of(step, result))
        return
    if result is not None:
        step.station.promise.check(result)
    step.flush()
    if step.lane is None:
        if result is not None:
            step.run.check_accepted(step.station.site, result, None)
        await kept.settle(letters, result)
        return
    if letters:
        await kept.send(letters)
    if result is not None:
        step.return_chunk(result)
    if kept.elsewhere:
        step.flush()  # first: the step is settled by one record, the last
        step.lane.out.then_write(kept.told_elsewhere)
    else:
        step.lane.out.done_with(kept.source, step.state, kept.take_statements())
    step.commit_state()
