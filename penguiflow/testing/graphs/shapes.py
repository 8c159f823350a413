"""The words for a random flow: what its nodes compute, how they are written, how they are joined.

Owns the description (`Shape`, `Road`, `Layout`) and the arithmetic of its nodes. Invariant: everything here
is a pure function of the description and the payload, so that the flow woven from it and the reference
evaluation can't disagree about a node, only about how items travel. Knows nothing of how a flow is run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

MODULUS = 9973
ROOT = "input"

Form = Literal[
    "async",  # async def … return
    "def",  # def … return
    "thread",  # def … return, in a thread
    "message",  # takes the Message
    "chunk",  # takes the Chunk
    "call",  # returns what ctx.call gives
    "map",  # returns what is made of ctx.map
    "yield",  # async def … yield
    "emit",  # ctx.emit
    "emit_chunk",  # ctx.emit_chunk to the step's own stream
    "open_stream",  # ctx.open_stream
    "shared",  # ctx.emit_chunk to a stream id that several steps write to
    "spread",  # returns a Spread
    "gather",  # takes Gathered
    "fold",  # a whole stream to one message
    "stream",  # a whole stream to a stream
    "take",  # the beginning of a stream to a stream
    "join",  # several parameters
    "route",  # returns Left | Right
    "enter",  # wraps into a Turn
    "work",  # does one Turn
    "decide",  # returns Turn (once more) or int (out of the loop)
    "pack",  # wraps into a Bag
    "unpack",  # yields what is in a Bag
    "handler",  # takes a StepError
]
Takes = Literal["int", "left", "right", "turn", "bag", "error"]

CHUNKWISE: frozenset[str] = frozenset(
    {"async", "def", "thread", "chunk", "call", "map", "yield", "emit", "emit_chunk", "route", "spread"}
    | {"pack", "unpack"}
)


@dataclass(frozen=True, slots=True)
class Left:
    """One half of what a router gives."""

    value: int


@dataclass(frozen=True, slots=True)
class Right:
    """The other half of what a router gives."""

    value: int


@dataclass(frozen=True, slots=True)
class Turn:
    """A value on its way round a loop, and how often it goes round once more."""

    value: int
    left: int


@dataclass(frozen=True, slots=True)
class Bag:
    """Values that an edge with ``overflow="merge"`` may put together."""

    values: tuple[int, ...]


class InjectedError(Exception):
    """What a node of a random flow raises; ``args[0]`` is the payload that it failed on."""


@dataclass(frozen=True, slots=True)
class Fault:
    """When a node fails: on payloads with ``payload % divisor == residue``.

    Args:
        divisor: 1 for every payload.
        residue: which payloads.
        after: how many parts a step emits before it fails.
        times: how many invocations on one payload fail; ``None`` for all.
    """

    divisor: int
    residue: int = 0
    after: int = 0
    times: int | None = None

    def hits(self, payload: int) -> bool:
        """Say whether the node fails on a payload."""
        return payload % self.divisor == self.residue


@dataclass(frozen=True, slots=True)
class Pause:
    """How long a step waits before it works: on every ``every``-th payload, turns of the loop or seconds."""

    every: int = 1
    turns: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class SlotShape:
    """One parameter of a join: named after the node before it; a whole stream, or one item."""

    name: str
    optional: bool
    stream: bool


@dataclass(frozen=True, slots=True)
class Shape:
    """One node.

    Args:
        name: its name in the flow that holds it.
        form: how its function is written.
        factor, term: what it computes: ``(factor * x + term) % MODULUS``.
        drops: ``(divisor, residue)`` of the payloads it gives nothing for.
        parts: how many it yields, emits or spreads: ``x % (parts + 1)``, or always ``parts`` where ``fixed``.
        also: whether a step that emits returns a value as well.
        numbered: whether a step on a chunk adds the chunk's seq.
        commutative: whether what it makes of a whole stream must not depend on its order.
        yields: whether a join or gather yields its result instead of returning it.
        nest: the names of the flows around it, outermost first.
        to: the two successors that ``ctx.emit(…, to=)`` chooses between.
        window: that of the streams it opens, where it gives one.
        timeout: in seconds; longer than anything takes.
        bare: whether its function has no annotations.
    """

    name: str
    form: Form
    takes: Takes = "int"
    factor: int = 1
    term: int = 0
    drops: tuple[int, int] | None = None
    parts: int = 1
    fixed: bool = False
    also: bool = False
    numbered: bool = False
    commutative: bool = True
    yields: bool = False
    streams: int = 1
    slots: tuple[SlotShape, ...] = ()
    nest: tuple[str, ...] = ()
    to: tuple[str, ...] = ()
    window: int | None = None
    timeout: float | None = None
    bare: bool = False
    concurrency: int = 16
    ordered: bool = True
    pause: Pause = Pause()
    fault: Fault | None = None
    attempts: int = 1

    @property
    def path(self) -> tuple[str, ...]:
        """The names of the flows around it, then its own."""
        return (*self.nest, self.name)

    @property
    def key(self) -> str:
        """Its path, joined by ``/``."""
        return "/".join(self.path)


@dataclass(frozen=True, slots=True)
class Road:
    """One edge.

    Args:
        when: the ``(divisor, residue)`` of the payloads that may take it.
        group: how one edge of a group is chosen; ``group_id`` tells the groups of one node apart.
    """

    source: str
    target: str
    capacity: int | None = None
    capacity_bytes: int | None = None
    overflow: str = "wait"
    when: tuple[int, int] | None = None
    feedback: bool = False
    on_error: bool = False
    group: Literal["partition", "balance"] | None = None
    group_id: int = 0


@dataclass(frozen=True, slots=True)
class Layout:
    """A whole flow: its nodes by name, its edges in declared order, and how it is run."""

    name: str
    shapes: dict[str, Shape]
    roads: tuple[Road, ...]
    streamed: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    def outs(self, name: str) -> list[Road]:
        """Give the forward and feedback edges out of a node."""
        return [road for road in self.roads if road.source == name and not road.on_error]

    def ins(self, name: str) -> list[Road]:
        """Give the edges into a node."""
        return [road for road in self.roads if road.target == name]

    def slot_name(self, road: Road) -> str:
        """Name the parameter of a join that an edge feeds: the node before it, or the flow that holds it."""
        source, target = self.shapes[road.source].path, self.shapes[road.target].path
        return next(mine for mine, its in zip(source, target, strict=False) if mine != its)

    def exits(self) -> list[str]:
        """Name the nodes whose items reach the reader of a run."""
        return [name for name in self.shapes if not self.outs(name)]

    def __str__(self) -> str:
        plain = Shape("", "async")
        lines = [f"flow {self.name}, input: {'a stream' if self.streamed else 'a message'}, {self.options}"]
        for shape in self.shapes.values():
            told = [
                f"{slot}={getattr(shape, slot)!r}"
                for slot in shape.__slots__
                if slot not in ("name", "form", "nest") and getattr(shape, slot) != getattr(plain, slot)
            ]
            lines.append(f"  {shape.key} [{shape.form}] {' '.join(told)}")
        lines += [f"  {_road_text(road)}" for road in self.roads]
        return "\n".join(lines)


def _road_text(road: Road) -> str:
    plain = Road("", "")
    told = [
        f"{slot}={getattr(road, slot)!r}"
        for slot in road.__slots__
        if slot not in ("source", "target") and getattr(road, slot) != getattr(plain, slot)
    ]
    return f"{road.source} → {road.target} {' '.join(told)}".rstrip()


def number(payload: Any) -> int:
    """Give the number that a payload of any of the types here stands for."""
    if isinstance(payload, int):
        return payload
    if isinstance(payload, Bag):
        return sum(payload.values)
    return int(payload.value)


def meets(when: tuple[int, int] | None, payload: Any) -> bool:
    """Say whether a payload meets the condition of an edge."""
    return when is None or number(payload) % when[0] == when[1]


def accepts(takes: Takes, payload: Any) -> bool:
    """Say whether a node that takes this accepts a payload."""
    kinds: dict[str, type] = {"int": int, "left": Left, "right": Right, "turn": Turn, "bag": Bag}
    return isinstance(payload, kinds.get(takes, Exception))


def mapped(shape: Shape, payload: Any, seq: int = 0) -> Any:
    """Compute what a node returns for one item; ``None`` where it drops it."""
    x = number(payload)
    if dropped(shape, x):
        return None
    if shape.form == "map":
        return folded(shape, [squared(part) for part in parts(shape, x)])
    value = (shape.factor * x + shape.term + (seq if shape.numbered else 0)) % MODULUS
    if shape.form == "route":
        return Left(value) if x % 2 else Right(value)
    if shape.form == "enter":
        return Turn(value, x % (shape.parts + 1))
    if shape.form == "work":
        return Turn(value, payload.left)
    if shape.form == "decide":
        return Turn(value, payload.left - 1) if payload.left > 0 else value
    if shape.form == "pack":
        return Bag((value,))
    return value


def squared(value: int) -> int:
    """Compute what ``ctx.map`` maps."""
    return value * value % MODULUS


def parts(shape: Shape, payload: Any) -> list[int]:
    """Compute what a node yields, emits or spreads for one item."""
    if shape.form == "unpack":
        return list(payload.values)
    x = number(payload)
    count = shape.parts if shape.fixed else x % (shape.parts + 1)
    return [(shape.factor * x + shape.term + 7 * index) % MODULUS for index in range(count)]


def shared_id(shape: Shape, payload: Any) -> str:
    """Name the stream that a step of a ``shared`` node writes to."""
    return f"{shape.name}#{number(payload) % 2}"


def successor(shape: Shape, value: int) -> str | None:
    """Name the successor that an emitted value is for."""
    return shape.to[value % len(shape.to)] if shape.to else None


def folded(shape: Shape, payloads: Iterable[int]) -> int:
    """Compute what a node makes of a whole stream, or of all parts of a spread."""
    total = shape.term
    for count, x in enumerate(payloads):
        total = (total + x * x + 1 if shape.commutative else total * 31 + x + count) % MODULUS
    return total


def restreamed(shape: Shape, payloads: Sequence[int]) -> list[int]:
    """Compute what a node that takes a stream yields for it."""
    given: list[int] = []
    total = shape.term
    for x in payloads:
        total = 0 if shape.commutative else (total + x) % MODULUS
        value = (shape.factor * x + shape.term + total) % MODULUS
        given += [value] * (x % 3 if shape.parts > 1 else 1)
    return given


def paired(shape: Shape, values: Sequence[Any]) -> int:
    """Compute the number that a join makes of its slots; a stream comes as the list of its payloads."""
    total = shape.term
    for position, value in enumerate(values):
        if isinstance(value, list):
            worth = sum(x * x + 1 for x in value)
        else:
            worth = 5 if value is None else number(value) + 11
        total += (position + 2) * worth
    return total % MODULUS


def dropped(shape: Shape, value: int) -> bool:
    """Say whether a node gives nothing for a number."""
    return shape.drops is not None and value % shape.drops[0] == shape.drops[1]
