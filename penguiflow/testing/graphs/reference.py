"""The reference evaluation of a random flow: what must come out, computed without the package.

Owns the meaning of a layout. Invariant: purely sequential and total: nodes are worked off in the order of the
graph, each with everything that can reach it, so that joins and gathers see all they wait for. Each item
carries its *lineage* (which item of which node it descends from) and the spreads that it is a part of; joins
pair by the first, gathers collect by the second. Knows nothing of credit, time, or the engine.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from typing import Any, Literal

from .expected import Expected, ExpectedStream
from .flowing import Arrived, Atom, Flowing, Lineage, merged
from .shapes import (
    ROOT,
    InjectedError,
    Layout,
    Road,
    Shape,
    accepts,
    dropped,
    folded,
    mapped,
    meets,
    number,
    paired,
    parts,
    restreamed,
    shared_id,
    successor,
)
from .topology import Topology

EMITTERS = ("emit", "emit_chunk", "open_stream", "shared")


def evaluate(layout: Layout, payload: Any, topology: Topology | None = None) -> Expected:
    """Compute what one run of a flow gives.

    Args:
        layout: the flow.
        payload: what goes in; where the input is a stream, the list of its payloads.
        topology: the analysed layout, to save analysing it again.
    """
    return Evaluation(layout, topology or Topology(layout)).run(payload)


class Evaluation:
    """One run, evaluated."""

    def __init__(self, layout: Layout, topology: Topology) -> None:
        self.layout = layout
        self.topology = topology
        self.fresh: Iterator[int] = itertools.count()
        self.arrived: dict[str, Arrived] = {}
        self.instances: dict[str, list[tuple[int, Atom]]] = {}
        self.given: dict[str, list[Atom | Flowing]] = {name: [] for name in topology.names}
        self.messages: dict[str, Counter[Any]] = {}
        self.streams: dict[str, dict[Hashable, list[Flowing]]] = {}
        self.trips: set[str] = set()

    def run(self, payload: Any) -> Expected:
        """Send a payload in and work off everything that comes of it."""
        if self.layout.streamed:
            origin = Flowing("input", [], {}, ())
            self.give_stream(ROOT, origin, [[Atom(x, {}, ()) for x in payload]])
        else:
            self.give_message(ROOT, payload, Atom(payload, {}, ()))
        while self.arrived:
            name = min(self.arrived, key=self.topology.rank.__getitem__)
            self.work(self.layout.shapes[name], self.arrived.pop(name))
        return Expected(
            self.messages,
            {exit_: [self.expected(s) for s in found.values()] for exit_, found in self.streams.items()},
            self.trips,
        )

    @staticmethod
    def expected(writers: list[Flowing]) -> ExpectedStream:
        """Describe a stream as a reader sees it."""
        stream = merged(writers[0].sid, writers)
        tracks = tuple(tuple(atom.payload for atom in track) for track in stream.tracks)
        return ExpectedStream(tracks, stream.terminal, stream.named)

    # -- giving

    def roads(self, name: str, payload: Any, to: str | None = None) -> list[Road]:
        """Pick the edges that a payload takes out of a node."""
        picked: list[Road] = []
        grouped: set[int] = set()
        for road in self.layout.outs(name):
            takes = self.layout.shapes[road.target].takes
            if not accepts(takes, payload) or not meets(road.when, payload) or (to and road.target != to):
                continue
            if road.group is not None:  # which of them is not ours to know: they all do the same
                if road.group_id in grouped:
                    continue
                grouped.add(road.group_id)
            picked.append(road)
        return picked

    def inbox(self, name: str) -> Arrived:
        """Give what waits for a node, which is worked off when its turn comes."""
        return self.arrived.setdefault(name, Arrived())

    def give_message(self, name: str, payload: Any, parent: Atom, to: str | None = None) -> None:
        """Send a message out of a node."""
        atom = Atom(payload, {**parent.lineage, name: next(self.fresh)}, parent.spreads)
        self.given[name].append(atom)
        if name in self.layout.shapes and not self.layout.outs(name):
            self.messages.setdefault(self.layout.shapes[name].key, Counter())[payload] += 1
        for road in self.roads(name, payload, to):
            self.inbox(road.target).messages.append((road, atom))

    def give_stream(
        self,
        name: str,
        origin: Flowing,
        tracks: Iterable[Iterable[Atom]],
        terminal: Literal["done", "error"] = "done",
    ) -> None:
        """Send a stream out of a node; an atom is one chunk of it, with the lineage of its origin."""
        chunks = [
            [Atom(a.payload, {**a.lineage, name: next(self.fresh)}, a.spreads) for a in t] for t in tracks
        ]
        ends = "error" if origin.terminal == "error" else terminal
        lineage = {**origin.lineage, name: next(self.fresh)}
        stream = Flowing(origin.sid, chunks, lineage, origin.spreads, ends, origin.named)
        self.given[name].append(stream)
        outs = self.layout.outs(name)
        if name in self.layout.shapes and not outs:
            exit_ = self.streams.setdefault(self.layout.shapes[name].key, {})
            exit_.setdefault(stream.sid, []).append(stream)
        for road in outs:
            passing = [[atom for atom in track if road in self.roads(name, atom.payload)] for track in chunks]
            branch = Flowing(stream.sid, passing, lineage, stream.spreads, ends, stream.named)
            self.inbox(road.target).streams.setdefault(stream.sid, []).append((road, branch))

    def new_stream(self, name: str, parent: Atom, payloads: Iterable[Any]) -> None:
        """Send a stream out of a step on a message."""
        origin = Flowing(("stream", next(self.fresh)), [], parent.lineage, parent.spreads)
        self.give_stream(name, origin, [[Atom(x, parent.lineage, parent.spreads) for x in payloads]])

    def trip(self, shape: Shape, on: int, parent: Atom) -> bool:
        """Say whether a step ends in an error that an edge takes; note the one that no edge takes."""
        fault = shape.fault
        if fault is None or fault.times is not None or not fault.hits(on):
            return False
        handlers = [road for road in self.layout.roads if road.source == shape.name and road.on_error]
        if not handlers:
            self.trips.add(shape.key)
            return False
        error = InjectedError(on)
        for road in handlers:
            atom = Atom(error, {**parent.lineage, shape.name: next(self.fresh)}, parent.spreads)
            self.inbox(road.target).messages.append((road, atom))
        return True

    # -- working

    def work(self, shape: Shape, arrived: Arrived) -> None:
        """Work off everything that has come to a node."""
        if shape.form == "gather":
            self.gather(shape, arrived)
        elif shape.form == "join":
            self.join(shape, arrived)
        elif shape.form == "shared":
            self.share(shape, [atom for _, atom in arrived.messages])
        else:
            for _, atom in arrived.messages:
                self.on_message(shape, atom)
            for sid, writers in arrived.streams.items():
                self.on_stream(shape, merged(sid, [stream for _, stream in writers]))

    def on_message(self, shape: Shape, atom: Atom) -> None:
        """Work off one message."""
        payload = atom.payload
        if isinstance(payload, InjectedError):
            payload = payload.args[0]
        tripped = self.trip(shape, number(payload), atom)
        if tripped and shape.form != "yield":
            return
        form = shape.form
        if form in ("yield", "unpack"):
            given = parts(shape, payload)
            if tripped and shape.fault is not None:
                origin = Flowing(("stream", next(self.fresh)), [], atom.lineage, atom.spreads)
                track = [Atom(x, atom.lineage, atom.spreads) for x in given[: shape.fault.after]]
                self.give_stream(shape.name, origin, [track], "error")
            else:
                self.new_stream(shape.name, atom, given)
        elif form == "emit_chunk":
            if given := parts(shape, payload):
                self.new_stream(shape.name, atom, given)
        elif form == "open_stream":
            for index in range(shape.streams):
                self.new_stream(shape.name, atom, [x + index for x in parts(shape, payload)])
        elif form == "emit":
            for value in parts(shape, payload):
                self.give_message(shape.name, value, atom, successor(shape, value))
        elif form == "spread":
            self.spread(shape, atom)
        if form not in ("yield", "unpack", "spread", "open_stream") and (shape.also or form not in EMITTERS):
            value = mapped(shape, payload)
            if value is not None:
                self.give_message(shape.name, value, atom)

    def on_stream(self, shape: Shape, stream: Flowing) -> None:
        """Work off one stream, as a whole or chunk by chunk."""
        payloads = stream.payloads()
        if shape.form in ("fold", "stream", "take"):
            whole = Atom(None, stream.lineage, stream.spreads)
            for payload in payloads:
                self.trip(shape, number(payload), whole)
            if shape.form == "fold":
                self.give_message(shape.name, folded(shape, payloads), whole)
            else:
                self.give_restreamed(shape, stream, whole)
            return
        terminal: Literal["done", "error"] = "done"
        tracks: list[list[Atom]] = []
        taken = stream.tracks if shape.ordered else [[atom] for track in stream.tracks for atom in track]
        for track in taken:
            out: list[Atom] = []
            for seq, atom in enumerate(track):
                values, tripped = self.on_chunk(shape, atom, seq)
                out += [Atom(value, atom.lineage, atom.spreads) for value in values]
                if tripped:
                    terminal = "error"
                    break
            tracks.append(out)
        self.give_stream(shape.name, stream, tracks, terminal)

    def give_restreamed(self, shape: Shape, stream: Flowing, whole: Atom) -> None:
        """Give what a node that takes a stream yields for it: a stream of its own."""
        origin = Flowing(("stream", next(self.fresh)), [], stream.lineage, stream.spreads)
        tracks: list[list[Atom]] = []
        for track in stream.tracks:
            taken = [atom.payload for atom in track]
            if shape.form == "take":
                given = [mapped(shape, x) for x in taken[: shape.parts]]
            else:
                given = restreamed(shape, taken)
            tracks.append([Atom(x, whole.lineage, whole.spreads) for x in given])
        self.give_stream(shape.name, origin, tracks)

    def on_chunk(self, shape: Shape, atom: Atom, seq: int) -> tuple[list[Any], bool]:
        """Work off one chunk: what goes on in its stream, and whether the step failed."""
        tripped = self.trip(shape, number(atom.payload), atom)
        given: list[Any] = []
        if shape.form in ("yield", "unpack", "emit_chunk"):
            given = parts(shape, atom.payload)
            if tripped and shape.fault is not None:
                return given[: shape.fault.after], True
        if tripped:
            return [], True
        if shape.form == "emit":
            for value in parts(shape, atom.payload):
                self.give_message(shape.name, value, atom, successor(shape, value))
        elif shape.form == "spread":
            self.spread(shape, atom)
        if shape.also or shape.form not in (*EMITTERS, "yield", "unpack", "spread"):
            value = mapped(shape, atom.payload, seq)
            given += [] if value is None else [value]
        return given, False

    def spread(self, shape: Shape, atom: Atom) -> None:
        """Give the parts of a spread, and tell the gathers that wait for them."""
        instance = next(self.fresh)
        for name in self.topology.gathers(shape.name):
            self.instances.setdefault(name, []).append((instance, atom))
            self.inbox(name)
        for index, value in enumerate(parts(shape, atom.payload)):
            part = Atom(value, atom.lineage, (*atom.spreads, (instance, index)))
            self.give_message(shape.name, value, part)

    def share(self, shape: Shape, atoms: list[Atom]) -> None:
        """Give the streams that several steps of one node write to."""
        tracks: dict[str, list[tuple[Atom, list[Atom]]]] = {}
        for atom in atoms:
            self.trip(shape, number(atom.payload), atom)
            if given := parts(shape, atom.payload):
                track = [Atom(x, atom.lineage, atom.spreads) for x in given]
                tracks.setdefault(shared_id(shape, atom.payload), []).append((atom, track))
        for stream_id, writers in tracks.items():
            flowing = [Flowing(stream_id, [t], a.lineage, a.spreads, "done", stream_id) for a, t in writers]
            origin = merged(stream_id, flowing)
            self.give_stream(shape.name, origin, origin.tracks)

    # -- fan-in

    def gather(self, shape: Shape, arrived: Arrived) -> None:
        """Collect the parts of each spread that has been told of."""
        for instance, parent in self.instances.pop(shape.name, []):
            found = sorted(
                (atom.spreads[-1][1], position, atom)
                for position, (_, atom) in enumerate(arrived.messages)
                if atom.spreads and atom.spreads[-1][0] == instance
            )
            value = folded(shape, [number(atom.payload) for _, _, atom in found])
            self.trip(shape, value, parent)
            self.conclude(shape, value, parent)

    def conclude(self, shape: Shape, value: int, parent: Atom) -> None:
        """Give the result of a join or gather as its form says: returned or yielded."""
        if shape.yields:
            self.new_stream(shape.name, parent, [] if dropped(shape, value) else parts(shape, value))
        elif not dropped(shape, value):
            self.give_message(shape.name, value, parent)

    def join(self, shape: Shape, arrived: Arrived) -> None:
        """Pair what has come, by what it descends from."""
        root = self.topology.dominator(shape.name)
        by_chunk = self.topology.pairs_chunks(shape.name)
        slots: dict[int, dict[str, Any]] = {}

        def fill(road: Road, lineage: Lineage, value: Any) -> None:
            if root in lineage:  # else an error's handler: it descends from nothing that the dominator gave
                slot = slots.setdefault(lineage[root], {})
                assert road.source not in slot, f"two items in slot {road.source} of {shape.name}"
                slot[road.source] = value

        for road, atom in arrived.messages:
            fill(road, atom.lineage, atom.payload)
        for road, stream in [arrival for found in arrived.streams.values() for arrival in found]:
            if by_chunk:
                for atom in [atom for track in stream.tracks for atom in track]:
                    fill(road, atom.lineage, atom.payload)
            else:
                fill(road, stream.lineage, stream.payloads())
        for item in self.given[root]:
            if isinstance(item, Flowing) and by_chunk:
                self.join_chunks(shape, item, slots)
            else:
                parent = Atom(None, item.lineage, item.spreads)
                value = self.pair(shape, slots.get(item.lineage[root], {}), parent)
                if value is not None:
                    self.conclude(shape, value, parent)

    def pair(self, shape: Shape, filled: dict[str, Any], parent: Atom) -> int | None:
        """Compute a join's number from its slots; ``None`` where it does not run."""
        by_name = {self.layout.slot_name(road): road.source for road in self.layout.ins(shape.name)}
        if not filled or any(not s.optional and by_name[s.name] not in filled for s in shape.slots):
            return None
        value = paired(shape, [filled.get(by_name[slot.name]) for slot in shape.slots])
        self.trip(shape, value, parent)
        return value

    def join_chunks(self, shape: Shape, stream: Flowing, slots: dict[int, dict[str, Any]]) -> None:
        """Give the stream of a join that pairs chunk by chunk, in the order of the dominator's stream."""
        root = self.topology.dominator(shape.name)
        tracks: list[list[Atom]] = []
        for track in stream.tracks:
            out: list[Atom] = []
            for chunk in track:
                value = self.pair(shape, slots.get(chunk.lineage[root], {}), chunk)
                if value is None or dropped(shape, value):
                    continue
                given = parts(shape, value) if shape.yields else [value]
                out += [Atom(x, chunk.lineage, chunk.spreads) for x in given]
            tracks.append(out)
        self.give_stream(shape.name, stream, tracks)
