"""What a test of durable runs is about: a flow, what goes in, and the calls of its nodes.

Owns the record of calls. Invariant: a node of these flows says with `called` what it was called with, so that
the calls of all lives of a process can be compared with those of a life without end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from penguiflow import Flow

ALL_LIVES: Counter[tuple[Any, ...]] = Counter()
THIS_LIFE: Counter[tuple[Any, ...]] = Counter()


def called(*what: Any) -> int:
    """Take note of a call; says the how manieth of its kind it is in this life of the process."""
    ALL_LIVES[what] += 1
    THIS_LIFE[what] += 1
    return THIS_LIFE[what]


def forget_calls() -> None:
    """Begin with another run."""
    ALL_LIVES.clear()
    THIS_LIFE.clear()


@dataclass(frozen=True)
class Case:
    """A flow of some kind.

    Args:
        flow: the flow.
        payload: what goes in.
        options: what it is opened with.
        answer: the answer to each of its questions, by their text.
        repeats: whether messages of a cut-off attempt at a stream may stay beside those of the next one.
        loses: whether it gives some of what the uninterrupted run gives, and not always the same.
        idles: whether it is not sure what is called, but what comes out.
    """

    flow: Flow
    payload: Any
    options: dict[str, Any] = field(default_factory=dict)
    answer: Callable[[Any], Any] | None = None
    repeats: bool = False
    loses: bool = False
    idles: bool = False


CASES: dict[str, Case] = {}


def case(name: str, *parts: Any, payload: Any, **options: Any) -> None:
    """Add a flow to those that are cut at each record."""
    given = {key: options.pop(key) for key in ("answer", "repeats", "loses", "idles") if key in options}
    CASES[name] = Case(Flow(name, *parts), payload, options, **given)
