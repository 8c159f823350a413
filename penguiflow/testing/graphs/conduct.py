"""How the steps of a random flow behave, whatever they compute: when they wait and fail, what they check.

Owns the record of failures of one flow (`Conduct`) and the types that functions are annotated with.
Invariant: a step waits and fails as its shape says, and notices when it sees the context of another
run. Knows
nothing of the forms in which steps are written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import anyio
import anyio.lowlevel

from penguiflow import Context, StepError

from .shapes import Bag, InjectedError, Left, Right, Shape, Turn

TAKES: dict[str, Any] = {
    "int": int,
    "left": Left,
    "right": Right,
    "turn": Turn,
    "bag": Bag,
    "error": StepError,
}
GIVES: dict[str, Any] = {
    "route": Left | Right,
    "enter": Turn,
    "work": Turn,
    "decide": Turn | int,
    "pack": Bag,
}
TENANT: ContextVar[str | None] = ContextVar("TENANT", default=None)

Function = Callable[..., Any]


def annotated(
    function: Function, takes: Any, gives: Any, *, context: bool = False, bare: bool = False
) -> Function:
    """Give a step function the annotations that its form asks for."""
    hints: dict[str, Any] = {} if bare else {"x": takes, "return": gives}
    if context:
        hints["ctx"] = Context
    function.__annotations__ = hints
    return function


def gives(shape: Shape) -> Any:
    """Give the type of what a step returns."""
    kind = GIVES.get(shape.form, int)
    return kind | None if shape.drops is not None else kind


class Conduct:
    """How the steps of one flow behave."""

    def __init__(self) -> None:
        self.failed: Counter[tuple[str, int]] = Counter()

    async def pause(self, shape: Shape, x: int) -> None:
        """Wait as the shape says. If cancelled, nothing was done."""
        if x % shape.pause.every == 0:
            for _ in range(shape.pause.turns):
                await anyio.lowlevel.checkpoint()
            if shape.pause.seconds:
                await anyio.sleep(shape.pause.seconds)

    def trip(self, shape: Shape, x: int) -> None:
        """Fail, if the shape says so for this payload."""
        fault = shape.fault
        if fault is None or not fault.hits(x):
            return
        if fault.times is not None:
            key = shape.name, 0 if fault.divisor == 1 else x
            if self.failed[key] >= fault.times:
                return
            self.failed[key] += 1
        raise InjectedError(x)

    def check(self, item: Any) -> None:
        """See that a step knows the context variables of the place that started its run, and no others'."""
        around = TENANT.get()
        if around is not None and around != item.headers.tenant:
            raise AssertionError(f"rule 3.1: a step of {item.headers.tenant} sees the variable of {around}")

    def fails_after(self, shape: Shape) -> int:
        """Say how many parts a step emits before it may fail."""
        return shape.fault.after if shape.fault is not None else 0
