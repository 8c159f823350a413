"""Invoke: how a node's function is called, as an onion that is built once.

Owns the layers around the function: the interruptible attempt with its clock, the restart of a step whose
input begins again, the retries. What a node does not use is not there. Invariant: an attempt is over, its
generator closed, before the next one begins. Retries are tenacity's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from tenacity import AsyncRetrying, RetryCallState, stop_after_attempt, wait_exponential, wait_random

from .context import Context
from .credit import Account
from .durable_steps import keep
from .errors import StepError, StreamClosed, is_verdict
from .items import Chunk
from .node import Gives, Takes
from .parking import absorb
from .policy import Retry
from .station import needs_check
from .step_watch import attempt_failed
from .threads import Errand, ThreadContext
from .waiting import Restarted, Stopped

if TYPE_CHECKING:
    from .station import Station
    from .step import Step

Invoke = Callable[["Step"], Awaitable[Any]]


def build(station: Station) -> Invoke:
    """Build the call of a node."""
    signature, policy = station.signature, station.policy
    if station.site.node is None:
        return partial(keep, _feed) if station.journaled else _feed
    if signature.gives is Gives.STREAM:
        call = partial(_give_stream, station)
    elif policy.thread:
        limiter: list[anyio.CapacityLimiter] = []
        call = partial(_in_thread, station, limiter)
    elif signature.is_async:
        call = partial(_give_value, station)
    else:
        call = partial(_give_value_at_once, station)
    timed = policy.timeout or policy.idle_timeout or policy.first_chunk_timeout
    if timed or policy.retry is not None or signature.takes in (Takes.STREAM, Takes.JOIN):
        call = partial(_attempt, call)
    if signature.takes in (Takes.STREAM, Takes.JOIN):
        call = partial(_restarting, call)
    if policy.retry is not None:
        call = partial(_retrying, call, policy.retry)
    if station.journaled:
        call = partial(keep, call)
    return call


def _arguments(station: Station, step: Step) -> dict[str, Any]:
    if station.signature.context is not None:
        step.facade = ThreadContext(step) if station.policy.thread else Context(step)
    return station.arguments(step.value, step.facade)


async def _give_value(station: Station, step: Step) -> Any:
    return await station.function(**_arguments(station, step))


async def _give_value_at_once(station: Station, step: Step) -> Any:
    try:
        return station.function(**_arguments(station, step))
    except StopIteration as exc:
        stopped = exc
    raise _failed(step, stopped)


async def _in_thread(station: Station, limiter: list[anyio.CapacityLimiter], step: Step) -> Any:
    """Run the function in a thread; a cancelled step waits for it, for the cleanup timeout at most.

    Where it is cancelled before the function has begun, the function is not called.
    """
    if not limiter:
        limiter.append(anyio.CapacityLimiter(station.places.limit))
    errand = Errand(partial(station.function, **_arguments(station, step)))
    try:
        result, stopped = await anyio.to_thread.run_sync(
            errand.run, abandon_on_cancel=True, limiter=limiter[0]
        )
    except step.run.pool.parking.cancelled:
        if not errand.give_up():
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(errand.over.wait, step.run.cleanup_timeout)
        raise
    if stopped is not None:
        raise _failed(step, stopped)
    return result


def _failed(step: Step, exc: BaseException) -> BaseException:
    """Make the error of a step whose function has raised what can't go through a coroutine."""
    return step.station.failed(step.run, exc, step.item, step.attempt)


async def _give_stream(station: Station, step: Step) -> None:
    """Drive a generator from its first step to the end of its ``aclose``, in one task (rule 3.9).

    The loop is that of sources: an envelope per payload, and nothing else while there is credit.
    """
    leg = step.default_leg()
    item = step.item
    plain = (
        step.lane is None
        and step.clock is None
        and type(leg.account) is Account
        and not leg.outlet.fails
        and not any(needs_check(edge) for edge in station.site.outs)
    )
    generator = station.function(**_arguments(station, step))
    promise = station.promise
    try:
        async for payload in generator:
            if type(payload) is not promise.expected:
                promise.check(payload)
            if plain and not leg.allow:
                step.replenish(leg)
                if not leg.allow:
                    await step.wait_for_credit(leg)
            if not plain or item._meta is not None or item._headers is not None:
                await step.emit_chunk(leg, payload)
                continue
            leg.allow -= 1
            chunk: Chunk[Any] = object.__new__(Chunk)
            chunk.payload = payload
            chunk.seq = leg.next_seq
            leg.next_seq += 1
            chunk.done = False
            chunk._heading = leg.heading
            chunk._ticket = leg.account
            chunk._tokens = ()
            chunk._meta = None
            chunk._headers = None
            if leg.buffer:
                leg.buffer.append(chunk)
            else:
                step.will_flush(leg, [chunk])
    except StreamClosed:
        if not leg.dead:
            raise
    finally:
        step.flush()
        step.told()
        await generator.aclose()


async def _feed(step: Step) -> None:
    """Send what a run's input gives, as a stream, under credit."""
    leg = step.default_leg()
    iterator = aiter(step.value)
    try:
        async for payload in iterator:
            await step.emit_chunk(leg, payload)
    except StreamClosed:
        if not leg.dead:
            raise
    finally:
        step.flush()
        step.told()
        if hasattr(iterator, "aclose"):
            await iterator.aclose()


async def _attempt(call: Invoke, step: Step) -> Any:
    """Make one attempt, which can be interrupted for a reason of its own."""
    parking = step.run.pool.parking
    clock = step.clock
    if clock is not None:
        clock.start()
    result = None
    step.attempting = True
    with parking.scope() as step.inner:
        try:
            result = await call(step)
        except BaseException:
            if step.reason is None or isinstance(step.reason, Stopped):
                raise
        finally:
            step.inner = None
            step.attempting = False
            if clock is not None:
                clock.stop()
    if step.reason is not None and not isinstance(step.reason, Stopped):
        reason, step.reason = step.reason, None
        await absorb(parking, step.task)
        raise reason
    return result


async def _restarting(call: Invoke, step: Step) -> Any:
    """Begin again whenever the input does (rule 1.5)."""
    while True:
        try:
            return await call(step)
        except Restarted:
            if step.lane is not None:
                raise  # a step on one pairing of a stream is dropped with it
            step.next_attempt()


async def _retrying(call: Invoke, policy: Retry, step: Step) -> Any:
    """Try again as the policy says."""
    _hold_back(step)
    retrying = AsyncRetrying(
        stop=stop_after_attempt(policy.attempts),
        wait=wait_exponential(multiplier=policy.backoff, max=policy.max_backoff)
        + wait_random(0, policy.jitter),
        retry=partial(_may_retry, policy, step),
        sleep=step.pause_between_attempts,
        reraise=True,
    )
    async for attempt in retrying:
        with attempt:
            if attempt.retry_state.attempt_number > 1:
                step.next_attempt()
                _hold_back(step)
                step.run.retried(step)
            return await call(step)
    raise AssertionError("tenacity ends with a result or raises")


def _may_retry(policy: Retry, step: Step, state: RetryCallState) -> bool:
    exc = state.outcome.exception() if state.outcome is not None else None
    if exc is not None and is_verdict(exc) and not isinstance(exc, StepError):
        return False
    if isinstance(exc, StepError) and not isinstance(exc.__cause__, Exception | None):
        return False  # a thread was told to end
    if not isinstance(exc, Exception) or step.attempts_spent or step.taken() or step.run.stopped:
        return False
    if not policy.wants(exc) or not step.run.may_retry(step.station, policy):
        return False
    attempt_failed(step, exc)
    step.forget_held()
    step.forget_letters()
    return True


def _hold_back(step: Step) -> None:
    """Keep what the attempt gives until it succeeded (rule 1.5); a stream of its own begins again instead."""
    step.held_letters = []
    if step.lane is not None:
        step.held = []
