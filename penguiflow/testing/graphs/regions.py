"""Growing random flows: what fans in, loops, errors and drops.

Owns the pieces that need more than one node to make sense: joins, gathers, loops, handled errors, dropping
edges. Invariant: as in `pieces`; besides, a region that pairs or gathers asks of what grows inside that at
most one item comes out for each that goes in.
"""

from __future__ import annotations

from dataclasses import replace

from .growing import MOST, Grower, Need, Port
from .pieces import PIECES, grow, grow_filter, grow_fold, grow_map, messages_only, piece, roomy, whole
from .shapes import Fault, Form, SlotShape


def grow_branch(grower: Grower, root: Port, need: Need, kind: str, most: int) -> tuple[str, Port]:
    """Grow one branch of a join; gives the node at its end.

    ``kind`` says what has to come out: ``"item"``, ``"chunk"``, or ``"stream"`` for a whole stream.
    """
    port = grow(grower, root, need, grower.rng.randint(0, most))
    if kind == "item" or (port.messages and port.streams):
        port = as_messages(grower, port, need)
    if len(port.ends) != 1 or port.ends == root.ends:
        port = grow_map(grower, port, need)
    return port.ends[0], port


def as_messages(grower: Grower, port: Port, need: Need) -> Port:
    """Make sure that only messages come out, one for each stream."""
    if not port.streams:
        return port
    if port.messages:
        port = grower.after(grower.add("yield", port, parts=1, fixed=True), port, messages=False)
    return grow_fold(grower, port, need)


def slot_name(grower: Grower, source: str) -> str:
    """Name a join's parameter: the node before it, or the flow that holds it where the join is outside."""
    inner = grower.shapes[source].nest[len(grower.nest) :]
    return inner[0] if inner else source


def may_join(port: Port, need: Need) -> bool:
    """Say whether a join may grow behind a port."""
    return need.depth > 0 and not (port.broken or port.lossy) and not (port.messages and port.streams)


@piece("join", 5, lambda port, need: may_join(port, need) and port.messages and roomy(port, 3))
def grow_join(grower: Grower, port: Port, need: Need) -> Port:
    """Grow branches behind messages, and a join of what comes of each message."""
    root = grower.funnel(port)
    inner = replace(need, single=True, depth=need.depth - 1)
    many = grower.rng.choice([2, 2, 3]) if need.depth < 2 or grower.chance(0.9) else 12
    sources: list[str] = []
    streams: list[bool] = []
    if (
        root.ends != ("input",)
        and grower.chance(0.2)
        and not grower.shapes[root.ends[0]].nest[len(grower.nest) :]
    ):
        sources.append(root.ends[0])
        streams.append(False)
    while len(sources) < many:
        kind = "stream" if grower.chance(0.2) else "item"
        name, end = grow_branch(grower, root, inner, kind, 2 if many < 12 else 0)
        sources.append(name)
        streams.append(end.streams)
    return grow_meeting(grower, root, need, list(zip(sources, streams, strict=True)), port.volume)


@piece("chunk_join", 5, lambda port, need: may_join(port, need) and port.streams and roomy(port, 3))
def grow_chunk_join(grower: Grower, port: Port, need: Need) -> Port:
    """Grow branches behind streams, and a join that pairs chunk by chunk."""
    root = grower.funnel(port)
    inner = replace(need, chunkwise=True, depth=need.depth - 1)
    sources: list[str] = []
    while len(sources) < grower.rng.choice([2, 2, 3]):
        sources.append(grow_branch(grower, root, inner, "chunk", 2)[0])
    met = grow_meeting(grower, root, need, [(name, False) for name in sources], port.volume)
    return replace(met, messages=False, streams=True, exact=root.exact)


@piece("stream_join", 2, lambda port, need: may_join(port, need) and whole(port, need) and roomy(port, 3))
def grow_stream_join(grower: Grower, port: Port, need: Need) -> Port:
    """Grow branches behind streams, and a join of what comes of each stream as a whole."""
    root = grower.funnel(port)
    inner = replace(need, single=True, depth=0)
    streams = grower.chance(0.4)
    sources: list[str] = []
    for _ in range(2):
        if streams:
            sources.append(grow_branch(grower, root, replace(inner, chunkwise=True), "stream", 1)[0])
        else:
            start = grow(grower, root, replace(inner, chunkwise=True), 1) if grower.chance(0.3) else root
            folded = grow_fold(grower, grower.funnel(start), need)
            sources.append(grow_branch(grower, folded, inner, "item", 0)[0])
    return grow_meeting(grower, root, need, [(name, streams) for name in sources], port.volume)


def grow_meeting(
    grower: Grower, root: Port, need: Need, sources: list[tuple[str, bool]], volume: int
) -> Port:
    """Grow the join itself."""
    slots = tuple(SlotShape(slot_name(grower, s), grower.chance(0.5), stream) for s, stream in sources)
    yields = grower.chance(0.25) and not (need.single or need.chunkwise) and volume * 3 <= MOST
    drops = grower.residue(3, 6) if grower.chance(0.2) else None
    name = grower.add(
        "join", root, slots=slots, yields=yields, parts=2, fixed=grower.chance(0.5), drops=drops
    )
    for source, _ in sources:
        grower.connect(source, name)
    return grower.after(
        name,
        root,
        messages=not yields,
        streams=yields,
        exact=True,
        closable=False,
        volume=volume * (2 if yields else 1),
    )


@piece("chunk_spread", 3, lambda p, n: whole(p, n) and n == Need(depth=n.depth) and roomy(p, 4))
def grow_chunk_spread(grower: Grower, port: Port, need: Need) -> Port:
    """Grow a spread of each chunk of a stream, and mostly a gather; the stream goes on, and is empty."""
    if grower.faults == "retries":  # what has gone out as messages of a lower attempt can't be taken back
        return grow_map(grower, port, need)
    name = grower.add("spread", port, parts=grower.rng.randint(1, 4), fixed=grower.chance(0.5))
    end = grower.after(name, port, messages=True, volume=port.volume * 4, closable=False)
    if grower.chance(0.25):
        return end
    for _ in range(grower.rng.randint(0, 2)):
        end = grower.rng.choice([grow_map, grow_filter])(grower, end, need)
    gather = grower.add("gather", end, commutative=False)
    return grower.after(gather, port, messages=True, streams=False, exact=True, closable=False)


@piece("spread", 5, lambda p, n: messages_only(p, n) and not p.broken and n.depth > 0 and roomy(p, 4))
def grow_spread(grower: Grower, port: Port, need: Need) -> Port:
    """Grow a spread, what happens to its parts, and mostly a gather."""
    name = grower.add("spread", port, parts=grower.rng.randint(1, 4), fixed=grower.chance(0.5))
    inside = grower.after(name, port, volume=port.volume * 4)
    if not (need.single or need.spread) and grower.chance(0.25):
        return inside
    inner = replace(need, single=True, spread=True, depth=need.depth - 1)
    end = grow(grower, inside, inner, grower.rng.randint(0, 2))
    end = as_messages(grower, end, inner)
    yields = grower.chance(0.25) and not need.single
    gather = grower.add("gather", end, yields=yields, parts=2, commutative=False)
    return grower.after(
        gather,
        port,
        messages=not yields,
        streams=yields,
        exact=True,
        volume=port.volume * (2 if yields else 1),
    )


# -- loops, errors, drops


@piece("loop", 3, lambda port, need: messages_only(port, need) and not port.broken)
def grow_loop(grower: Grower, port: Port, need: Need) -> Port:
    """Grow a loop that each message goes round a few times."""
    entered = grower.after(grower.add("enter", port, parts=3), port, takes="turn")
    worked = grower.after(grower.add("work", entered), port, takes="turn")
    decided = grower.add("decide", worked)
    grower.connect(decided, worked.ends[0], feedback=True)
    left = grower.add("async", grower.after(decided, port))
    return grower.after(left, port)


@piece("on_error", 3, lambda port, need: not (port.broken or port.lossy or need.chunkwise))
def grow_on_error(grower: Grower, port: Port, need: Need) -> Port:
    """Grow a node that fails on some, and one that handles it."""
    by_chunk = port.streams
    if grower.faults is not None or (by_chunk and not (port.exact and port.closable and not port.messages)):
        return grow_filter(grower, port, need)
    if by_chunk and need != Need(depth=need.depth):
        return grow_filter(grower, port, need)
    form: Form = grower.rng.choice(["async", "async", "def", "yield"])
    if form == "yield" and (need.single or need.spread or need.sealed or not roomy(port, 3)):
        form = "async"
    fault = Fault(*grower.residue(2, 4), after=grower.rng.randint(0, 2))
    name = grower.add(form, port, fault=fault, parts=3)
    handler = grower.add("handler", replace(port, ends=(), takes="error", when=None))
    grower.connect(name, handler, on_error=True)
    streams = form == "yield" or by_chunk
    after = grower.after(
        name,
        port,
        messages=not streams,
        streams=streams,
        broken=streams,
        volume=port.volume * 3,
    )
    if not streams and (need.sealed or grower.chance(0.5)):
        return replace(after, ends=(name, handler))
    return after


@piece(
    "drop",
    8,
    lambda port, need: need == Need(depth=need.depth) and not port.broken and port.ends != ("input",),
)
def grow_drop(grower: Grower, port: Port, need: Need) -> Port:
    """Grow an edge that drops."""
    root = grower.funnel(port)
    name = grower.add("async", root)
    how = grower.rng.choice(["drop_oldest", "drop_newest"])
    capacity = grower.rng.randint(1, 3)
    grower.roads[-1] = replace(grower.roads[-1], overflow=how, capacity=capacity, capacity_bytes=None)
    return grower.after(name, root, lossy=True)


@piece("merge", 8, lambda p, n: whole(p, n) and n == Need(depth=n.depth) and p.exact)
def grow_merge(grower: Grower, port: Port, need: Need) -> Port:
    """Grow an edge that merges what waits on it."""
    packed = grower.after(grower.add("pack", port), port, takes="bag")
    name = grower.add("unpack", packed)
    capacity = grower.rng.randint(1, 3)
    grower.roads[-1] = replace(grower.roads[-1], overflow="merge", capacity=capacity, capacity_bytes=None)
    return grower.after(name, port)


__all__ = ["PIECES"]
