"""Growing random flows: single nodes, and what fans out.

Owns one function per kind of piece: which ports it may grow behind, and what it makes of them. Invariant: a
piece asks only what `Port` and `Need` tell, so that pieces nest freely. `grow` strings them together. What
fans in again is in `regions`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from .growing import MOST, Grower, Need, Port
from .shapes import Form

Build = Callable[[Grower, Port, Need], Port]
Fits = Callable[[Port, Need], bool]


@dataclass(frozen=True, slots=True)
class Piece:
    """One kind of piece: how often it is drawn, where it fits, how it grows."""

    weight: int
    fits: Fits
    build: Build


PIECES: dict[str, Piece] = {}


def piece(kind: str, weight: int, fits: Fits) -> Callable[[Build], Build]:
    """Enter a function into the list of pieces."""

    def enter(build: Build) -> Build:
        PIECES[kind] = Piece(weight, fits, build)
        return build

    return enter


def grow(grower: Grower, port: Port, need: Need, pieces: int) -> Port:
    """Grow a few pieces behind a port; gives where they end."""
    for _ in range(pieces):
        fitting = [kind for kind in sorted(grower.kinds & PIECES.keys()) if PIECES[kind].fits(port, need)]
        if not fitting:
            break
        kind = grower.rng.choices(fitting, [PIECES[kind].weight for kind in fitting])[0]
        port = PIECES[kind].build(grower, port, need)
    return port


def whole(port: Port, need: Need) -> bool:
    """Say whether a node may take the stream as a whole."""
    return port.streams and not (port.messages or port.broken or port.lossy or need.chunkwise)


def messages_only(port: Port, need: Need) -> bool:
    """Say whether only messages come, none of them lost before."""
    return port.messages and not (port.streams or port.lossy)


def roomy(port: Port, factor: int) -> bool:
    """Say whether a port may carry that many times more."""
    return port.volume * factor <= MOST


# -- single nodes


@piece("map", 8, lambda port, need: True)
def grow_map(grower: Grower, port: Port, need: Need) -> Port:
    """Grow a node that gives one for one."""
    forms: list[Form] = ["async"]
    only_streams = port.streams and not port.messages
    if only_streams and port.takes == "int":
        forms.append("chunk")
        if not port.broken:
            forms.append("yield")
    if messages_only(port, need) and port.takes == "int":
        forms.append("message")
    form = grower.rng.choice(forms)
    numbered = form == "chunk" and port.exact and port.dense and not port.lossy and grower.chance(0.5)
    bare = form == "async" and port.takes == "int" and port.when is None and grower.chance(0.1)
    name = grower.add(form, port, numbered=numbered, bare=bare, parts=1, fixed=True)
    return grower.after(name, port)


@piece("def", 5, lambda port, need: True)
def grow_def(grower: Grower, port: Port, need: Need) -> Port:
    """Grow a plain function."""
    drops = grower.residue(3, 6) if grower.chance(0.2) else None
    return grower.after(grower.add("def", port, drops=drops), port)


@piece("thread", 1, lambda port, need: True)
def grow_thread(grower: Grower, port: Port, need: Need) -> Port:
    """Grow a plain function that works in a thread."""
    return grower.after(grower.add("thread", port), port)


@piece("call", 2, lambda port, need: not port.broken)
def grow_call(grower: Grower, port: Port, need: Need) -> Port:
    """Grow a node that calls a flow, or maps over parts."""
    form: Form = grower.rng.choice(["call", "map"])
    return grower.after(grower.add(form, port, parts=3, commutative=False), port)


@piece("filter", 3, lambda port, need: True)
def grow_filter(grower: Grower, port: Port, need: Need) -> Port:
    """Grow a node that gives nothing for some."""
    form: Form = grower.rng.choice(["async", "async", "def"])
    return grower.after(grower.add(form, port, drops=grower.residue(3, 6)), port)


@piece("unordered", 2, lambda port, need: port.streams and not (need.chunkwise or port.broken or port.lossy))
def grow_unordered(grower: Grower, port: Port, need: Need) -> Port:
    """Grow a node that works on several chunks of a stream at a time."""
    name = grower.add("async", port, ordered=False, concurrency=grower.rng.randint(2, 3))
    return grower.after(name, port, exact=False)


@piece("flat", 8, lambda port, need: not need.chunkwise and roomy(port, 4))
def grow_flat(grower: Grower, port: Port, need: Need) -> Port:
    """Grow a node that yields: a stream of a message, a flat map of a stream."""
    form: Form = grower.rng.choice(["yield", "yield", "emit_chunk"])
    if port.broken or (form == "emit_chunk" and port.lossy):
        form = "yield"
    name = grower.add(form, port, parts=grower.rng.randint(2, 4), fixed=grower.chance(0.6))
    closable = port.closable and form == "yield"
    return grower.after(name, port, messages=False, streams=True, volume=port.volume * 4, closable=closable)


@piece("emit", 3, lambda port, need: not (need.single or need.chunkwise or port.broken) and roomy(port, 3))
def grow_emit(grower: Grower, port: Port, need: Need) -> Port:
    """Grow a node that emits messages."""
    if port.streams and (grower.faults == "retries" or port.lossy):
        return grow_map(grower, port, need)
    also = grower.chance(0.4)
    name = grower.add("emit", port, parts=2, fixed=grower.chance(0.5), also=also)
    # an emitter behind a stream ends with it, so that a stream goes on even where nothing is in it
    return grower.after(name, port, messages=True, volume=port.volume * 3, closable=False)


@piece("open_stream", 3, lambda port, need: messages_only(port, need) and roomy(port, 6))
def grow_opener(grower: Grower, port: Port, need: Need) -> Port:
    """Grow a node that opens streams."""
    streams = 1 if need.single else grower.rng.randint(1, 2)
    window = grower.rng.choice([None, 1, 2])
    name = grower.add("open_stream", port, parts=3, streams=streams, window=window)
    return grower.after(name, port, messages=False, streams=True, volume=port.volume * 6, closable=False)


@piece("shared", 2, lambda p, n: messages_only(p, n) and not (n.single or n.spread) and roomy(p, 2))
def grow_shared(grower: Grower, port: Port, need: Need) -> Port:
    """Grow a node whose steps write to common streams."""
    name = grower.add("shared", port, parts=2)
    return grower.after(
        name, port, messages=False, streams=True, exact=False, volume=port.volume * 2, closable=False
    )


@piece("fold", 4, whole)
def grow_fold(grower: Grower, port: Port, need: Need) -> Port:
    """Grow a node that makes one message of a stream."""
    return grower.after(
        grower.add("fold", port), port, messages=True, streams=False, exact=True, closable=True
    )


@piece("stream", 4, lambda port, need: whole(port, need) and roomy(port, 2))
def grow_stream(grower: Grower, port: Port, need: Need) -> Port:
    """Grow a node that makes a stream of a stream."""
    name = grower.add("stream", port, parts=grower.rng.randint(1, 2))
    return grower.after(name, port, volume=port.volume * 2)


@piece("take", 4, lambda port, need: whole(port, need) and port.closable and port.exact)
def grow_take(grower: Grower, port: Port, need: Need) -> Port:
    """Grow a node that leaves a stream early."""
    if grower.faults is not None:
        return grow_stream(grower, port, need)
    return grower.after(grower.add("take", port, parts=grower.rng.randint(1, 3)), port)


# -- fan-out


@piece("tee", 3, lambda port, need: not need.sealed and roomy(port, 2))
def grow_tee(grower: Grower, port: Port, need: Need) -> Port:
    """Grow an exit on the side."""
    if whole(port, need) and grower.chance(0.4):
        grow_fold(grower, port, need)
    else:
        grow_map(grower, port, need)
    return replace(port, closable=False) if port.streams else port


@piece("diamond", 4, lambda p, n: not (n.single or n.chunkwise or p.broken or p.lossy) and roomy(p, 3))
def grow_diamond(grower: Grower, port: Port, need: Need) -> Port:
    """Grow branches that get the same and meet again."""
    inner = replace(need, depth=need.depth - 1)
    branches = [
        grow(grower, grow_map(grower, port, need), inner, grower.rng.randint(0, 2))
        for _ in range(grower.rng.randint(2, 3))
    ]
    met = grower.meet(branches, port)
    return replace(met, exact=met.exact and not met.streams, closable=False)


@piece(
    "fan",
    1,
    lambda p, n: not (n.single or n.chunkwise or p.broken or p.lossy or n.depth < 2) and roomy(p, 20),
)
def grow_fan(grower: Grower, port: Port, need: Need) -> Port:
    """Grow a wide fan-out, up to 100 branches of one node each."""
    widest = min(100, MOST // max(port.volume, 1))
    forms: list[Form] = ["async", "def"]
    root = grower.funnel(port)
    names = [grower.add(grower.rng.choice(forms), root) for _ in range(grower.rng.randint(10, widest))]
    if need.sealed or grower.chance(0.5):
        ports = [grower.after(name, root) for name in names]
        met = grower.meet(ports, port)
        return replace(met, exact=not met.streams, closable=False)
    return grower.after(names[0], root, closable=not root.streams)


@piece("route", 3, lambda port, need: not (port.broken or port.lossy))
def grow_route(grower: Grower, port: Port, need: Need) -> Port:
    """Grow a router by type, with a branch for each type."""
    drops = grower.residue(3, 6) if grower.chance(0.3) else None
    router = grower.after(grower.add("route", port, drops=drops), port, dense=False)
    # a stream that parts stays one stream only where both branches work chunk by chunk
    inner = replace(need, depth=need.depth - 1, chunkwise=need.chunkwise or (need.single and port.streams))
    branches = []
    for takes in ("left", "right"):
        first = grower.add(grower.rng.choice(["async", "def"]), replace(router, takes=takes))
        branches.append(grow(grower, grower.after(first, router), inner, grower.rng.randint(0, 1)))
    met = grower.meet(branches, port)
    return replace(met, exact=met.exact and not met.streams)


@piece("when", 3, lambda port, need: not (port.broken or port.when))
def grow_when(grower: Grower, port: Port, need: Need) -> Port:
    """Grow a condition: a filter on an edge, or two branches of which each item takes one."""
    root = grower.funnel(port)
    if root.ends == ("input",):
        root = grow_map(grower, root, need)
    if grower.chance(0.5) or port.lossy:
        return grow_map(grower, replace(root, when=grower.residue(2, 3), dense=False), need)
    branches = [grow_map(grower, replace(root, when=(2, rest), dense=False), need) for rest in (0, 1)]
    met = grower.meet(branches, port)
    return replace(met, exact=met.exact and not met.streams)


@piece("to", 2, lambda port, need: messages_only(port, need) and not port.broken)
def grow_to(grower: Grower, port: Port, need: Need) -> Port:
    """Grow an emitter that names the successor of each message."""
    single = need.single
    emitter = grower.add("emit", port, parts=1 if single else 2, fixed=single or grower.chance(0.5))
    behind = grower.after(emitter, port, volume=port.volume * (1 if single else 2))
    names = [grower.add(grower.rng.choice(["async", "def"]), behind) for _ in range(2)]
    grower.shapes[emitter] = replace(grower.shapes[emitter], to=tuple(names))
    return grower.meet([grower.after(name, behind) for name in names], port)


@piece("group", 2, lambda port, need: messages_only(port, need) and not port.broken)
def grow_group(grower: Grower, port: Port, need: Need) -> Port:
    """Grow branches that do the same, one of which is chosen by key or by load."""
    root = grower.funnel(port)
    if root.ends == ("input",):
        root = grower.after(grower.add("async", root), root)
    hows: list[Literal["partition", "balance"]] = ["partition", "balance"]
    how = grower.rng.choice(hows)
    names = [grower.add("async", root, sound=True, factor=3, term=1) for _ in range(3)]
    grower.roads = [
        replace(road, group=how, group_id=len(grower.shapes), capacity=None, capacity_bytes=None)
        if road.target in names
        else road
        for road in grower.roads
    ]
    met = grower.meet([grower.after(name, root) for name in names], root)
    return grower.after(grower.add("async", met), met)


@piece("nest", 2, lambda port, need: need.depth > 0 and not port.lossy)
def grow_nest(grower: Grower, port: Port, need: Need) -> Port:
    """Grow a flow inside the flow."""
    grower.flows += 1
    grower.nest = (*grower.nest, f"sub{grower.flows}")
    inner = replace(need, sealed=True, depth=need.depth - 1)
    if need.single or need.chunkwise or port.broken or grower.chance(0.7):
        start = grow_map(grower, port, need)
    else:
        starts = [grow_map(grower, port, need) for _ in range(2)]
        start = grower.meet(starts, port)
        start = replace(start, exact=start.exact and not start.streams)
    end = grow(grower, start, inner, grower.rng.randint(1, 2))
    grower.nest = grower.nest[:-1]
    return end
