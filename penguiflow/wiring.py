"""Wiring: what ``a >> b`` means.

Owns the operators. Invariant: a `Wire` is an immutable value; joining wires makes a new one, and parts that
two wires share are the same parts. Knows nothing of functions, types or checks: that begins when a flow is
built of wires.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .errors import GraphError
from .overflow import Overflow
from .policy import DEFAULT_CAPACITY, FEEDBACK_IS_UNBOUNDED, EdgePolicy

Part = Any
"""A node, a flow, or a plain function that becomes a node when a flow is built."""


class Wirable:
    """What can stand on either side of ``>>``.

    A flow sets ``wires`` to what it is made of; for everything else it is ``None``.
    """

    __slots__ = ()

    wires: tuple[Any, ...] | None = None

    def ends(self) -> Wire:
        """Give the wire that this is by itself."""
        return Wire((self,), (self,), (self,), ())

    def __rshift__(self, right: Any) -> Any:
        """Join what is on the right behind this."""
        return _join(self.ends(), right)

    def __rrshift__(self, left: Any) -> Any:
        """Join this behind a list or a plain function."""
        return _join(as_wire(left), self)


class Link:
    """One ``>>`` between two parts; compared by identity."""

    __slots__ = ("bundle", "policy", "source", "target")

    def __init__(
        self, source: Part, target: Part, policy: EdgePolicy, bundle: tuple[Part, ...] | None
    ) -> None:
        self.source: Part = source
        self.target: Part = target
        self.policy: EdgePolicy = policy
        self.bundle: tuple[Part, ...] | None = bundle
        """With ``partition=`` or ``balance=``: all branches, in order."""


class Wire(Wirable):
    """Parts and the links between them, with the ends that further ``>>`` hang on."""

    __slots__ = ("heads", "links", "parts", "tails")

    def __init__(
        self,
        heads: tuple[Part, ...],
        tails: tuple[Part, ...],
        parts: tuple[Part, ...],
        links: tuple[Link, ...],
    ) -> None:
        self.heads: tuple[Part, ...] = heads
        self.tails: tuple[Part, ...] = tails
        self.parts: tuple[Part, ...] = parts
        self.links: tuple[Link, ...] = links

    def ends(self) -> Wire:
        """Give the wire itself."""
        return self

    def __repr__(self) -> str:
        return f"<wire of {', '.join(part_name(part) for part in _once(self.parts))}>"


class Pending:
    """A wire that ends in an edge, and needs something on its right."""

    __slots__ = ("policy", "wire")

    def __init__(self, wire: Wire, policy: EdgePolicy) -> None:
        self.wire: Wire = wire
        self.policy: EdgePolicy = policy

    def __rshift__(self, right: Any) -> Wire:
        """Join what is on the right behind the edge."""
        if isinstance(right, EdgeOptions | Pending):
            raise GraphError(
                f"{self!r}: two edges in a row; put a node between them, or all options in one edge()"
            )
        return _link(self.wire, as_wire(right), self.policy)

    def __repr__(self) -> str:
        return f"<{', '.join(part_name(part) for part in self.wire.tails)} >> edge(…) >> ?>"


class EdgeOptions:
    """What `edge` gives; it stands between two parts."""

    __slots__ = ("policy",)

    def __init__(self, policy: EdgePolicy) -> None:
        self.policy: EdgePolicy = policy

    def __rshift__(self, right: Any) -> Any:
        raise GraphError("edge(…) has nothing on its left; write: a >> edge(…) >> b")

    def __rrshift__(self, left: Any) -> Pending:
        """Begin an edge behind a list or a plain function."""
        return Pending(as_wire(left), self.policy)

    def __repr__(self) -> str:
        return f"<edge {self.policy!r}>"


def edge(
    *,
    capacity: int | None = None,
    overflow: Overflow = "wait",
    when: Callable[[Any], bool] | None = None,
    capacity_bytes: int | None = None,
    sizer: Callable[[Any], int] | None = None,
    merge: Callable[[Any, Any], Any] | None = None,
    partition: Callable[[Any], Any] | None = None,
    balance: bool = False,
    feedback: bool = False,
    on_error: bool = False,
) -> EdgeOptions:
    """Give an edge options: ``a >> edge(capacity=16) >> b``.

    Args:
        capacity: how many items of one run (of chunks: of one stream) may wait on the edge; 64 by default.
        overflow: what a full edge does: ``wait``, ``drop_oldest``, ``drop_newest``, ``merge`` or ``fail``.
        when: only payloads for which this is true take the edge; with ``on_error``, only such failures (it is
            given the `StepError`). A plain function.
        capacity_bytes: how many bytes may wait; one larger item passes alone.
        sizer: measures a payload in bytes, a whole number, for ``capacity_bytes``.
        merge: makes one payload of the newest that waits and the one that comes, with ``overflow="merge"``.
        partition: gives a payload's key; of several branches, the same key always takes the same one.
        balance: of several branches, each item takes one that is free.
        feedback: closes a loop; never full, bounded by the run's hop limit.
        on_error: carries the `StepError` of a failed step, and nothing else. A failure that takes no such
            edge ends the run.
    """
    if feedback and capacity is not None:
        raise GraphError(f"edge: {FEEDBACK_IS_UNBOUNDED}")
    return EdgeOptions(
        EdgePolicy(
            capacity=DEFAULT_CAPACITY if capacity is None else capacity,
            overflow=overflow,
            when=when,
            capacity_bytes=capacity_bytes,
            sizer=sizer,
            merge=merge,
            partition=partition,
            balance=balance,
            feedback=feedback,
            on_error=on_error,
        )
    )


def as_wire(what: Any) -> Wire:
    """Give the wire of a node, flow, wire, plain function, or list of these."""
    if isinstance(what, Wirable):
        return what.ends()
    if isinstance(what, list | tuple):
        return _beside([as_wire(one) for one in what])
    if isinstance(what, Pending):
        raise GraphError(f"{what!r}: the edge has nothing on its right; write: a >> edge(…) >> b")
    if isinstance(what, EdgeOptions):
        raise GraphError("edge(…) stands between two nodes; write: a >> edge(…) >> b")
    if callable(what):
        return Wire((what,), (what,), (what,), ())
    raise GraphError(f"{what!r} is no node; give a node, a function, a flow, or a list of these")


def part_name(part: Part) -> str:
    """Give the name that a part goes by in error texts."""
    return str(getattr(part, "name", None) or getattr(part, "__name__", None) or type(part).__name__)


def _join(left: Wire, right: Any) -> Wire | Pending:
    if isinstance(right, EdgeOptions):
        return Pending(left, right.policy)
    if isinstance(right, Pending):
        return Pending(_link(left, right.wire, EdgePolicy()), right.policy)
    return _link(left, as_wire(right), EdgePolicy())


def _link(left: Wire, right: Wire, policy: EdgePolicy) -> Wire:
    bundle = right.heads if policy.balance or policy.partition is not None else None
    links = tuple(Link(tail, head, policy, bundle) for tail in left.tails for head in right.heads)
    return Wire(
        left.heads, right.tails, _once(left.parts + right.parts), _once(left.links + links + right.links)
    )


def _beside(wires: list[Wire]) -> Wire:
    if not wires:
        raise GraphError("an empty list can't be joined; leave it out, or put a node into it")
    return Wire(
        _once(sum((wire.heads for wire in wires), ())),
        _once(sum((wire.tails for wire in wires), ())),
        _once(sum((wire.parts for wire in wires), ())),
        _once(sum((wire.links for wire in wires), ())),
    )


def _once(many: tuple[Any, ...]) -> tuple[Any, ...]:
    """Keep the first of each, by identity."""
    return tuple({id(one): one for one in many}.values())
