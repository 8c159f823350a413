"""Fault injection: functions and async iterables that fail, stall, drop, duplicate or are cancelled.

Owns the wrappers. Invariant: up to the n-th call (of a function) or item (of a generator or an async
iterable) a wrapper is exactly what it wraps, and it keeps its name, signature and form, so that a flow treats
it alike. Each wrapper counts for itself, over all runs; `cancelling` counts the checkpoints of each call.
Knows nothing of flows.

What can be wrapped: the function of a node (``async def`` that returns or yields, or ``def``), a `Node`
(gives a node of the same name and policy), or an async iterable.
"""

from __future__ import annotations

import functools
import inspect
import math
import typing
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import fields
from typing import Any, TypeVar

import anyio

from penguiflow import Node, Spread, node

from .checkpoints import Strike

AnyNode = Node[..., Any]
Target = TypeVar("Target")


class Fault:
    """One fault: what happens, and at which call or item.

    Args:
        kind: ``"fail"``, ``"stall"``, ``"drop"`` or ``"duplicate"``.
        at: which call or item, counted from 1.
        error: what is raised.
        seconds: how long it stalls.
    """

    def __init__(
        self, kind: str, at: int, error: BaseException | None = None, seconds: float = math.inf
    ) -> None:
        _counted_from_1(at)
        self.kind = kind
        self.at = at
        self.error = error
        self.seconds = seconds
        self.seen: int = 0

    def due(self) -> bool:
        """Count one more call or item; say whether it is the one."""
        self.seen += 1
        return self.seen == self.at

    def strike(self) -> None:
        """Raise, where the fault is a failure."""
        if self.kind == "fail":
            raise self.error if self.error is not None else RuntimeError(f"injected at {self.at}")

    async def happen(self) -> None:
        """Raise or stall. If cancelled, nothing else has happened."""
        self.strike()
        if self.kind == "stall":
            await anyio.sleep(self.seconds)

    def copies(self) -> int:
        """Say how many of the item go on."""
        return {"drop": 0, "duplicate": 2}.get(self.kind, 1)


def failing(target: Target, *, at: int = 1, error: BaseException | None = None) -> Target:
    """Raise at the n-th call or instead of the n-th item.

    Args:
        target: a node, a node function or an async iterable.
        at: which call or item, counted from 1.
        error: what is raised; a RuntimeError where not given.
    """
    return typing.cast("Target", _wrapped(target, Fault("fail", at, error)))


def stalling(target: Target, *, at: int = 1, seconds: float = math.inf) -> Target:
    """Wait before the n-th call or item, for ever where no time is given.

    Args:
        target: a node, a node function (not a plain ``def``) or an async iterable.
        at: which call or item, counted from 1.
        seconds: how long.
    """
    return typing.cast("Target", _wrapped(target, Fault("stall", at, seconds=seconds)))


def dropping(target: Target, *, at: int = 1) -> Target:
    """Give nothing for the n-th call, or leave out the n-th item.

    Args:
        target: a node, a node function or an async iterable.
        at: which call or item, counted from 1.
    """
    return typing.cast("Target", _wrapped(target, Fault("drop", at)))


def duplicating(target: Target, *, at: int = 1) -> Target:
    """Give the n-th item twice; a function that returns gives two messages (a `Spread`) at its n-th call.

    A node that gathers takes those two for a spread of their own.

    Args:
        target: a node, a node function or an async iterable.
        at: which call or item, counted from 1.
    """
    return typing.cast("Target", _wrapped(target, Fault("duplicate", at)))


def cancelling(target: Target, *, at: int = 1) -> Target:
    """Let each call cancel itself at its n-th checkpoint: a cancellation that nobody asked for comes out.

    A call with fewer checkpoints completes. A checkpoint is cancelled as by `cancel_at_every_checkpoint`.

    Args:
        target: a node or an ``async def`` node function that returns.
        at: which checkpoint of each call, counted from 1.
    """
    if isinstance(target, Node):
        return typing.cast("Target", _renewed(target, cancelling(target.fn, at=at)))
    if not inspect.iscoroutinefunction(target):
        raise TypeError(f"only an async function that returns can cancel itself, not {target!r}")
    _counted_from_1(at)
    function: Callable[..., Any] = target

    @functools.wraps(function)
    async def step(*args: Any, **kwargs: Any) -> Any:
        strike = Strike(at)
        for result in await strike.run(function(*args, **kwargs)):
            return result
        if strike.told is not None:
            raise strike.told

    return typing.cast("Target", step)


# -- wrapping


def _counted_from_1(at: int) -> None:
    if at < 1:
        raise ValueError(f"calls, items and checkpoints are counted from 1, not from {at}")


def _renewed(target: AnyNode, function: Callable[..., Any]) -> AnyNode:
    """Make a node of the same name and policy around another function."""
    policy = {field.name: getattr(target.policy, field.name) for field in fields(target.policy)}
    if not (
        inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function) or policy["thread"]
    ):
        policy = {}
    return node(function, name=target.name, **policy)


def _wrapped(target: Any, fault: Fault) -> Any:
    """Wrap whatever it is, in its own form."""
    if isinstance(target, Node):
        if target.is_source:
            raise TypeError(f"wrap the async iterable that source {target.name!r} reads, not the source")
        return _renewed(target, _wrapped(target.fn, fault))
    if inspect.isasyncgenfunction(target):
        return _generator(target, fault)
    if inspect.iscoroutinefunction(target):
        return _coroutine(target, fault)
    if isinstance(target, AsyncIterable):
        return _items(target, fault)
    if callable(target):
        if fault.kind == "stall":
            raise TypeError(f"a plain def can't wait: {target!r}; make it async, or stall the node before it")
        return _plain(target, fault)
    raise TypeError(f"neither a node, a function nor an async iterable: {target!r}")


async def _items(items: AsyncIterable[Any], fault: Fault) -> AsyncGenerator[Any, None]:
    """Pass items on, with the fault at its place. If cancelled, the item at hand is lost."""
    try:
        async for item in items:
            if not fault.due():
                yield item
                continue
            await fault.happen()
            for _ in range(fault.copies()):
                yield item
    finally:
        if isinstance(items, AsyncGenerator):
            await items.aclose()


def _generator(function: Callable[..., Any], fault: Fault) -> Callable[..., Any]:
    @functools.wraps(function)
    async def step(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        async with aclosing(_items(function(*args, **kwargs), fault)) as items:
            async for item in items:
                yield item

    return _hinted(step, function, fault)


def _coroutine(function: Callable[..., Any], fault: Fault) -> Callable[..., Any]:
    @functools.wraps(function)
    async def step(*args: Any, **kwargs: Any) -> Any:
        if not fault.due():
            return await function(*args, **kwargs)
        await fault.happen()
        return _times(await function(*args, **kwargs), fault.copies())

    return _hinted(step, function, fault)


def _plain(function: Callable[..., Any], fault: Fault) -> Callable[..., Any]:
    @functools.wraps(function)
    def step(*args: Any, **kwargs: Any) -> Any:
        if not fault.due():
            return function(*args, **kwargs)
        fault.strike()
        return _times(function(*args, **kwargs), fault.copies())

    return _hinted(step, function, fault)


def _times(result: Any, copies: int) -> Any:
    """Give a result never, once or twice."""
    if copies == 0 or result is None:
        return None
    return result if copies == 1 else Spread([result, result])


def _hinted(step: Callable[..., Any], function: Callable[..., Any], fault: Fault) -> Callable[..., Any]:
    """Keep the signature; where the result may be dropped or doubled, say so."""
    signature = inspect.signature(function)
    gives = signature.return_annotation
    changes = fault.kind in ("drop", "duplicate") and not inspect.isasyncgenfunction(function)
    if changes and gives is not inspect.Signature.empty:
        signature = signature.replace(return_annotation=_changed(function, fault))
    step.__signature__ = signature  # type: ignore[attr-defined]
    return step


def _changed(function: Callable[..., Any], fault: Fault) -> Any:
    """Give the type of a result that may be dropped or doubled; anything, where it can't be resolved."""
    around = inspect.getclosurevars(inspect.unwrap(function)).nonlocals
    try:
        gives = typing.get_type_hints(function, localns=dict(around))["return"]
    except NameError:
        return Any
    if gives is Any:
        return Any
    return gives | None if fault.kind == "drop" else gives | Spread[gives]  # type: ignore[valid-type]
