"""Policies: what may be said about a node, an edge or a retry, beside its function.

Owns their defaults and their limits. Invariant: a policy that exists is valid; a wrong one is a `GraphError`
with the remedy. Knows nothing of functions or graphs.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from pydantic_core import to_json

from .errors import GraphError, StepError
from .hints import outermost
from .overflow import OVERFLOWS, Overflow

DEFAULT_CAPACITY = 64
DEFAULT_CONCURRENCY = 16
DEFAULT_MAX_PARTS = 100_000

RetryOn = type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool]


def check_count(what: str, value: object) -> None:
    """Refuse what is no whole number of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise GraphError(f"{what} must be a whole number of at least 1, not {value!r}")


def check_seconds(what: str, value: object, *, zero: bool = False) -> None:
    """Refuse what is no number of seconds above zero (or of at least zero)."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
    if is_number and (value > 0 or (zero and value == 0)):  # type: ignore[operator]
        return
    limit = "of at least 0" if zero else "above 0"
    raise GraphError(f"{what} must be a number of seconds {limit}, not {value!r}")


def check_switch(what: str, value: object) -> None:
    """Refuse what is neither ``True`` nor ``False``."""
    if not isinstance(value, bool):
        raise GraphError(f"{what} must be True or False, not {value!r}")


def why_not_plain(function: object) -> str | None:
    """Say why a function that is called on the way of items can't be; ``None`` where it can."""
    if not callable(function):
        return f"must be a function, not {function!r}"
    form = outermost(function)
    if inspect.iscoroutinefunction(form):
        return f"is a coroutine function ({_name(function)}), which nobody would await; write a plain def"
    if inspect.isasyncgenfunction(form) or inspect.isgeneratorfunction(form):
        return f"is a generator ({_name(function)}), which nobody would iterate; write a plain def"
    return None


def _name(function: object) -> str:
    return str(getattr(function, "__name__", None) or type(function).__name__)


def _check_on(on: object) -> None:
    kinds = on if isinstance(on, tuple) else (on,)
    if all(isinstance(kind, type) and issubclass(kind, Exception) for kind in kinds):
        return
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, BaseException) and not issubclass(kind, Exception):
            raise GraphError(
                f"Retry: on={kind.__name__} is no Exception: it ends a step and is never tried again; name "
                "subclasses of Exception"
            )
    if isinstance(on, type | tuple) or not callable(on):
        raise GraphError(
            f"Retry: on={on!r} must be an exception class, a tuple of them, or a function that is given the "
            "exception and says whether to try again"
        )
    problem = why_not_plain(on)
    if problem is not None:
        raise GraphError(f"Retry: on {problem}")


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and when a failed step is tried again.

    Args:
        attempts: how often in all, the first try included.
        on: which exceptions: a subclass of ``Exception``, several, or a predicate on the exception. If the
            predicate raises, that fails the step, and the node's own exception is its ``__context__``.
        backoff: seconds before the second attempt; doubled before each further one.
        max_backoff: no pause is longer, in seconds.
        jitter: up to so many seconds are added to each pause at random.
        budget: how many retries all steps of the node in one run may use together; ``None``: no limit.
    """

    attempts: int = 3
    on: RetryOn = (Exception,)
    backoff: float = 0.05
    max_backoff: float = 5.0
    jitter: float = 0.05
    budget: int | None = None

    def __post_init__(self) -> None:
        check_count("Retry: attempts (the first try counts)", self.attempts)
        for name in ("backoff", "max_backoff", "jitter"):
            check_seconds(f"Retry: {name}", getattr(self, name), zero=True)
        if self.budget is not None and self.budget != 0:
            check_count("Retry: a budget other than 0 or None", self.budget)
        _check_on(self.on)

    def wants(self, error: Exception) -> bool:
        """Say whether an exception is one to try again after.

        What the predicate raises itself comes out of the step, with the exception it was asked about as its
        ``__context__``.
        """
        if isinstance(self.on, type | tuple):
            return isinstance(error, self.on)
        try:
            return bool(self.on(error))
        except Exception as broken:
            broken.__context__ = error
            raise


class Resume(Enum):
    """What a streaming step does that was cut off by the end of its process."""

    RESTART = "restart"
    """Its stream begins again, as the next attempt."""
    CONTINUE = "continue"
    """Its stream goes on behind the chunks that are out: for nodes that give the same again, which is
    verified."""


class Delivery(Enum):
    """How often what a step does outside is done, where the runtime has a journal."""

    AT_MOST_ONCE = "at most once"
    """The step is settled before it is executed: a crash may lose what it does, and never repeats it. It can
    give nothing."""
    AT_LEAST_ONCE = "at least once"
    """The step is settled when it is over: a crash may repeat what it does, and never loses it."""
    EFFECTIVELY_ONCE = "effectively once"
    """The same, and the outside takes repetitions for what they are: by `Context.key`, which is the same in
    each of them, or because it is written in the journal's own transaction (`Context.also`)."""


@dataclass(frozen=True, slots=True)
class NodePolicy:
    """How a node works.

    Args:
        concurrency: how many of its steps may work at a time, over all runs.
        timeout: seconds an attempt may work; waiting does not count.
        first_chunk_timeout: seconds until the first chunk that a step gives.
        idle_timeout: seconds between two chunks that a step gives.
        retry: whether and how failed steps are tried again.
        ordered: whether the chunks of a stream leave in the order in which they came.
        thread: whether a plain function works in a thread of its own.
        max_parts: how many parts a gather takes over at most.
        durable: whether its steps are written to the runtime's journal, if there is one.
        resume: what a streaming step does that was cut off.
        delivery: how often what its steps do outside is done.
    """

    concurrency: int = DEFAULT_CONCURRENCY
    timeout: float | None = None
    first_chunk_timeout: float | None = None
    idle_timeout: float | None = None
    retry: Retry | None = None
    ordered: bool = True
    thread: bool = False
    max_parts: int = DEFAULT_MAX_PARTS
    durable: bool = True
    resume: Resume = Resume.RESTART
    delivery: Delivery = Delivery.AT_LEAST_ONCE

    def check(self, who: str) -> None:
        """Refuse values that make no sense, naming the node."""
        check_count(f"{who}: concurrency", self.concurrency)
        check_count(f"{who}: max_parts", self.max_parts)
        check_switch(f"{who}: ordered", self.ordered)
        check_switch(f"{who}: thread", self.thread)
        check_switch(f"{who}: durable", self.durable)
        if not isinstance(self.resume, Resume):
            raise GraphError(f"{who}: resume={self.resume!r} must be Resume.RESTART or Resume.CONTINUE")
        if not isinstance(self.delivery, Delivery):
            raise GraphError(f"{who}: delivery={self.delivery!r} must be one of Delivery's three")
        for name in ("timeout", "first_chunk_timeout", "idle_timeout"):
            if getattr(self, name) is not None:
                check_seconds(f"{who}: {name}", getattr(self, name))
        if self.retry is not None and not isinstance(self.retry, Retry):
            raise GraphError(f"{who}: retry must be a Retry(...), not {self.retry!r}")


@dataclass(frozen=True, slots=True)
class EdgePolicy:
    """How an edge carries; see `edge` for what the options mean."""

    capacity: int = DEFAULT_CAPACITY
    overflow: Overflow = "wait"
    when: Callable[[Any], bool] | None = None
    capacity_bytes: int | None = None
    sizer: Callable[[Any], int] | None = None
    merge: Callable[[Any, Any], Any] | None = None
    partition: Callable[[Any], Any] | None = None
    balance: bool = False
    feedback: bool = False
    on_error: bool = False

    def __post_init__(self) -> None:
        check_count("edge: capacity", self.capacity)
        if self.capacity_bytes is not None:
            check_count("edge: capacity_bytes", self.capacity_bytes)
        if self.overflow not in OVERFLOWS:
            raise GraphError(f"edge: overflow={self.overflow!r} must be one of {', '.join(OVERFLOWS)}")
        for name in ("when", "sizer", "merge", "partition"):
            value = getattr(self, name)
            problem = why_not_plain(value) if value is not None else None
            if problem is not None:
                raise GraphError(f"edge: {name} {problem}")
        for name in ("balance", "feedback", "on_error"):
            check_switch(f"edge: {name}", getattr(self, name))
        self._check_together()

    def _check_together(self) -> None:
        if self.overflow == "merge" and self.merge is None:
            raise GraphError(
                'edge: overflow="merge" needs merge=, a function of the older and the newer payload'
            )
        if self.merge is not None and self.overflow != "merge":
            raise GraphError('edge: merge= does nothing without overflow="merge"')
        if self.sizer is not None and self.capacity_bytes is None:
            raise GraphError("edge: sizer= does nothing without capacity_bytes=")
        if self.partition is not None and self.balance:
            raise GraphError("edge: partition= and balance=True exclude each other; choose one")
        if self.on_error and (self.partition is not None or self.balance):
            raise GraphError("edge: on_error=True carries failures; partition= and balance=True are for data")
        if self.feedback and (self.partition is not None or self.balance):
            raise GraphError(
                "edge: partition= and balance=True share items out among branches; not with feedback=True"
            )
        if self.feedback and (self.capacity != DEFAULT_CAPACITY or self.capacity_bytes is not None):
            raise GraphError(f"edge: {FEEDBACK_IS_UNBOUNDED}")
        if self.feedback and self.overflow != "wait":
            raise GraphError(
                f"edge: overflow={self.overflow!r} with feedback=True: it is never full (rule 2.7)"
            )


FEEDBACK_IS_UNBOUNDED = (
    "a feedback edge has no capacity (rule 2.2), it is bounded by the hop limit of the run; "
    "leave capacity= and capacity_bytes= out, and give hop_limit= to open()"
)


def measured(sizer: Callable[[Any], int], where: str, run_id: str, node: str, payload: Any) -> int:
    """Ask a user's sizer for the size of a payload.

    Raises:
        StepError: it raised, which is the cause, or gave no size; the text names it and where it stands.
    """
    text = f"{f'run {run_id}: ' if run_id else ''}the sizer {_name(sizer)} of {where}"
    try:
        size = sizer(payload)
    except Exception as exc:
        raise StepError(f"{text} raised {exc!r}", run_id=run_id, node=node) from exc
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        wanted = "a whole number of bytes, at least 0, is needed"
        raise StepError(f"{text} gave {size!r}; {wanted}", run_id=run_id, node=node)
    return size


def payload_size_bytes(payload: Any) -> int:
    """Give the size of a payload: of bytes their length, of a str its UTF-8, of anything else its JSON."""
    if isinstance(payload, bytes | bytearray):
        return len(payload)
    if isinstance(payload, memoryview):
        return payload.nbytes
    if isinstance(payload, str):
        return len(payload.encode("utf-8", "surrogatepass"))
    try:
        return len(to_json(payload, fallback=str, bytes_mode="base64"))
    except (ValueError, TypeError):  # what has no JSON (circular, lone surrogates) is measured as it is shown
        return len(repr(payload).encode("utf-8", "surrogatepass"))
