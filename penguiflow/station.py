"""Stations: a node at work in a runtime, shared by all runs.

Owns the node's places, its counters, and how its function is called. Invariant: what depends on the node
alone is decided here, once, when the flow is opened; the hot loops only look it up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .analysis import names_streams
from .dispatch import Places
from .errors import StepError, described, is_verdict
from .items import Chunk, Item
from .node import Gives, Takes
from .promises import Promise

if TYPE_CHECKING:
    from .core import RunCore
    from .graph import Edge, Site
    from .invoke import Invoke
    from .measures import NodeMeasures
    from .policy import NodePolicy
    from .signature import Signature

BATCH = 256
"""At most so many chunks are worked through before the results are handed on."""

STEPS = 64
"""At most so many steps on chunks are done in one turn."""

BATCH_SECONDS = 0.0002
"""A batch of a node that does not wait should not take longer; slower nodes get smaller batches."""


@dataclass(frozen=True, slots=True)
class NodeStatistics:
    """What a node has done, and what it does now.

    Attributes:
        path: names of nested flows and of the node, joined by ``/``.
        concurrency: how many steps may be at work at the same time.
        active: how many are at work now (a step that waits for credit or input is not).
        waiting: how many lanes and steps wait for a place.
        steps: how many steps were begun (of nodes that work chunk by chunk: chunks).
        failures: how many failed for good.
        retries: how many were tried again.
        skipped_joins: how many pairings of a join were skipped for a silent slot.
    """

    path: str
    concurrency: int
    active: int
    waiting: int
    steps: int
    failures: int
    retries: int
    skipped_joins: int


class Station:
    """A node at work.

    Args:
        site: the node's place in the plan.
        journaled: whether there is a journal. What leaves the flow is written whatever the node says: its
            reader resumes by it.
    """

    __slots__ = (
        "batch",
        "emits",
        "failures",
        "fast",
        "function",
        "generates",
        "inline",
        "invoke",
        "is_inline",
        "journaled",
        "keeps",
        "measures",
        "named_edges",
        "only_way",
        "places",
        "policy",
        "promise",
        "retries",
        "sees_chunks",
        "signature",
        "site",
        "skipped",
        "steps",
        "takes_envelope",
    )

    failures: int
    retries: int
    skipped: int
    steps: int

    def __init__(self, site: Site, *, journaled: bool = False) -> None:
        signature, policy = site.signature, site.policy
        self.site: Site = site
        self.journaled: bool = journaled
        self.keeps: bool = journaled and (policy.durable or site.is_exit)
        self.signature: Signature = signature
        self.policy: NodePolicy = policy
        self.function: Callable[..., Any] = site.node.fn if site.node is not None else _no_function
        self.places: Places = Places(policy.concurrency if site.node is not None else UNLIMITED)
        self.steps = self.failures = self.retries = self.skipped = 0
        self.generates: bool = signature.gives is Gives.STREAM or site.node is None
        self.emits: bool = signature.gives is Gives.STREAM or signature.context is not None
        queued = any(edge.policy.feedback or edge.policy.overflow != "wait" for edge in site.ins)
        self.is_inline: bool = (
            site.is_inline and not queued and signature.context is None and not signature.may_spread
        ) and not self.keeps
        self.sees_chunks: bool = signature.takes is Takes.CHUNK or signature.context is not None
        self.fast: bool = self._is_fast()
        self.batch = 1 if self.fast else STEPS
        data = [edge for edge in site.ins if not edge.policy.feedback and not edge.policy.on_error]
        self.named_edges: tuple[Edge, ...] = tuple(edge for edge in data if names_streams(edge.source))
        self.only_way: Edge | None = only_way(site)
        self.promise: Promise = Promise(site)
        self.takes_envelope: bool = signature.takes in (Takes.CHUNK, Takes.MESSAGE)
        self.inline: Callable[[Any], Any] = self._inline_function()
        self.invoke: Invoke = None  # type: ignore[assignment]
        self.measures: NodeMeasures | None = None

    def _is_fast(self) -> bool:
        """Say whether chunks may pass through the bare loop."""
        signature, policy = self.signature, self.policy
        timed = policy.timeout or policy.idle_timeout or policy.first_chunk_timeout
        return (
            signature.is_async
            and signature.takes is Takes.ITEM
            and signature.gives is Gives.VALUE
            and signature.context is None
            and not signature.may_spread
            and not timed
            and policy.retry is None
            and policy.ordered
            and not any(needs_check(edge) for edge in self.site.outs)
            and not self.keeps
        )

    def _inline_function(self) -> Callable[[Any], Any]:
        """Give the function of a ``def`` node, over the payload or over the envelope."""
        function = self.function
        if not any(needs_check(edge) for edge in self.site.outs):
            return function
        return lambda item: self.verified(function(item))

    def verified(self, payload: Any) -> Any:
        """Raise ``TypeError`` where a result is accepted by no successor."""
        from_edges = self.site.outs
        if (
            payload is not None
            and from_edges
            and not any(edge.accepts is None or edge.accepts(payload) for edge in from_edges)
        ):
            takers = ", ".join(f"{edge.target.key} takes {edge.expected}" for edge in from_edges)
            raise TypeError(f"no successor of {self.site.key} accepts a {type(payload).__name__}: {takers}")
        return payload

    def arguments(self, value: Any, context: Any) -> dict[str, Any]:
        """Give the keyword arguments for the node's function."""
        signature = self.signature
        if signature.takes is Takes.JOIN:
            given = {slot.name: part for slot, part in zip(signature.slots, value, strict=True)}
        elif signature.parameter is None:
            given = {}
        else:
            given = {signature.parameter: value}
        if signature.context is not None:
            given[signature.context] = context
        return given

    def took(self, count: int, seconds: float) -> None:
        """Learn from a full batch how large the next one may be."""
        if seconds > BATCH_SECONDS:
            self.batch = max(1, int(count * BATCH_SECONDS / seconds))
        else:
            self.batch = min(BATCH, count * 2)

    def failed(
        self, run: RunCore, exc: BaseException, item: Any, attempt: int = 1, while_what: str = ""
    ) -> BaseException:
        """Make the one error that comes out of a failed step; the runtime's own errors stay as they are."""
        if is_verdict(exc):
            return exc
        self.failures += 1
        where, given = self.place(run, item, attempt)
        if while_what:
            where += f", {while_what}"
        error = StepError(f"node {self.site.key} failed in {where}: {described(exc)}", **given)
        error.__cause__ = exc
        return error

    def place(
        self, run: RunCore, item: Item[Any] | None, attempt: int, stream_id: str | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Say where a step is, in words and as options of a `StepError`.

        Args:
            run: the run.
            item: what the step works on: a chunk, or what stands for a message or a stream.
            attempt: which attempt.
            stream_id: the stream that it gives, where it works on none.
        """
        seq = item.seq if isinstance(item, Chunk) else None
        stream_id = (item._heading.stream_id if item is not None else None) or stream_id
        parts = [
            f"run {run.id}",
            f"stream {stream_id}" if stream_id else "",
            f"seq {seq}" if seq is not None else "",
        ]
        text = ", ".join(part for part in (*parts, f"attempt {attempt}") if part)
        given = {"run_id": run.id, "node": self.site.key, "stream_id": stream_id, "seq": seq}
        return text, {**given, "attempt": attempt}

    def statistics(self) -> NodeStatistics:
        """Give a snapshot."""
        return NodeStatistics(
            path=self.site.key,
            concurrency=self.places.limit,
            active=self.places.taken,
            waiting=len(self.places.waiting or ()),
            steps=self.steps,
            failures=self.failures,
            retries=self.retries,
            skipped_joins=self.skipped,
        )

    def __repr__(self) -> str:
        return f"<node {self.site.key} {self.places.taken}/{self.places.limit}>"


UNLIMITED = 1 << 60


def only_way(site: Site) -> Edge | None:
    """Give the one edge that every message which a node returns takes, if there is just one such edge."""
    if len(site.outs) != 1 or site.joins:
        return None
    edge = site.outs[0]
    policy = edge.policy
    plain = policy.overflow == "wait" and not policy.feedback and policy.when is None and edge.group is None
    return edge if plain and not needs_check(edge) and edge.slot is None else None


def needs_check(edge: Edge) -> bool:
    """Say whether what a node returns must be looked at before it takes an edge."""
    return edge.accepts is not None and not edge.proven


def _no_function() -> None:
    """Stand for the function of a run's input, which has none."""
