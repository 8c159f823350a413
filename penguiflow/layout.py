"""Layout: where the boxes of a drawing stand.

Owns a small layered layout, from left to right. Invariant: it is a pure function of what it is given, in that
order; boxes do not overlap, and a nested box holds all that is in it. Knows nothing of flows and of formats.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

GAP_X = 56.0
GAP_Y = 22.0
PAD = 18.0
TITLE = 20.0
SWEEPS = 8

Name = Hashable
Pair = tuple[Name, Name]


@dataclass(slots=True)
class Block:
    """A box, or a nested drawing with boxes of its own; ``x`` and ``y`` are its upper left corner."""

    name: Name
    width: float
    height: float
    inside: list[Block] = field(default_factory=list)
    x: float = 0.0
    y: float = 0.0
    bends: dict[Pair, list[tuple[float, float]]] = field(default_factory=dict)

    @property
    def middle(self) -> float:
        """Its vertical middle."""
        return self.y + self.height / 2

    def names(self) -> set[Name]:
        """Give its own name and those of all that is inside."""
        found = {self.name}
        for block in self.inside:
            found |= block.names()
        return found

    def move(self, x: float, y: float) -> None:
        """Move it and all that is inside."""
        self.x += x
        self.y += y
        self.bends = {pair: [(px + x, py + y) for px, py in points] for pair, points in self.bends.items()}
        for block in self.inside:
            block.move(x, y)


def arrange(block: Block, pairs: Mapping[Pair, float], title: float = TITLE) -> None:
    """Place all that is inside a block, level by level, and make it as large as that needs.

    Args:
        block: what is to be arranged.
        pairs: who comes before whom, and how much room a label between them needs.
        title: height of the block's own title.
    """
    for inner in block.inside:
        if inner.inside:
            arrange(inner, pairs)
    owner = {name: index for index, inner in enumerate(block.inside) for name in inner.names()}
    lifted = [
        (owner[a], owner[b], (a, b)) for a, b in pairs if a in owner and b in owner and owner[a] != owner[b]
    ]
    layers = _Layers(block.inside, lifted, pairs)
    layers.place()
    block.bends = layers.bends()
    shift = PAD - min((one.y for one in layers.cells), default=0.0) + title
    for inner in block.inside:
        inner.move(PAD, shift)
    block.bends = {pair: [(x + PAD, y + shift) for x, y in points] for pair, points in block.bends.items()}
    bottoms = [inner.y + inner.height for inner in block.inside] + [
        y for points in block.bends.values() for _, y in points
    ]
    block.width = max(block.width, max((inner.x + inner.width for inner in block.inside), default=0.0) + PAD)
    block.height = max(bottoms, default=0.0) + PAD


@dataclass(slots=True, eq=False)
class _Cell:
    """One place in a layer: a block, or a bend of an edge that passes by."""

    block: Block | None
    width: float
    height: float
    rank: int
    x: float = 0.0
    y: float = 0.0
    before: list[_Cell] = field(default_factory=list)
    after: list[_Cell] = field(default_factory=list)

    @property
    def middle(self) -> float:
        return self.y + self.height / 2


class _Layers:
    """The layers of one block."""

    def __init__(
        self, blocks: Sequence[Block], lifted: Sequence[tuple[int, int, Pair]], room: Mapping[Pair, float]
    ) -> None:
        self.blocks = blocks
        self.chains: dict[Pair, list[_Cell]] = {}
        ranks = _ranks(len(blocks), [(a, b) for a, b, _ in lifted])
        own = [
            _Cell(block, block.width, block.height, rank) for block, rank in zip(blocks, ranks, strict=True)
        ]
        self.cells = list(own)
        passing: dict[tuple[int, int], list[_Cell]] = {}
        for a, b, pair in lifted:
            if ranks[a] >= ranks[b]:
                continue
            if (a, b) not in passing:
                passing[a, b] = self._chain(own[a], own[b])
            self.chains[pair] = passing[a, b]
        self.gaps = [GAP_X] * (max(ranks, default=-1) + 1)
        for a, b, pair in lifted:
            if ranks[b] == ranks[a] + 1:
                self.gaps[ranks[a]] = max(self.gaps[ranks[a]], room[pair] + GAP_X / 2)
        self.layers: list[list[_Cell]] = [[] for _ in range(max(ranks, default=-1) + 1)]
        for cell in self.cells:
            self.layers[cell.rank].append(cell)

    def _chain(self, start: _Cell, end: _Cell) -> list[_Cell]:
        bends = [_Cell(None, 0.0, 6.0, rank) for rank in range(start.rank + 1, end.rank)]
        self.cells += bends
        chain = [start, *bends, end]
        for left, right in pairwise(chain):
            left.after.append(right)
            right.before.append(left)
        return bends

    def place(self) -> None:
        """Order each layer by its neighbours, then let all cells drift to the middle of theirs."""
        for sweep in range(SWEEPS):
            forward = sweep % 2 == 0
            for layer in self.layers if forward else reversed(self.layers):
                places = {id(cell): at for one in self.layers for at, cell in enumerate(one)}
                layer.sort(
                    key=lambda cell: _mean([places[id(n)] for n in _near(cell, forward)], places[id(cell)])
                )
        x = 0.0
        for layer, gap in zip(self.layers, self.gaps, strict=True):
            widest = max((cell.width for cell in layer), default=0.0)
            y = 0.0
            for cell in layer:
                cell.x, cell.y = x + (widest - cell.width) / 2, y
                y += cell.height + GAP_Y
            x += widest + gap
        self._drift()
        for cell in self.cells:
            if cell.block is not None:
                cell.block.move(cell.x - cell.block.x, cell.y - cell.block.y)

    def _drift(self) -> None:
        for sweep in range(2 * SWEEPS):
            forward = sweep % 2 == 0
            for layer in self.layers if forward else reversed(self.layers):
                _settle(
                    layer, [_mean([n.middle for n in _near(cell, forward)], cell.middle) for cell in layer]
                )

    def bends(self) -> dict[Pair, list[tuple[float, float]]]:
        """Give for each edge where it passes the layers between."""
        return {
            pair: [(c.x + c.width / 2, c.middle) for c in chain]
            for pair, chain in self.chains.items()
            if chain
        }


def _near(cell: _Cell, forward: bool) -> list[_Cell]:
    near, other = (cell.before, cell.after) if forward else (cell.after, cell.before)
    return near or other


def _mean(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def _settle(layer: list[_Cell], wanted: Sequence[float]) -> None:
    """Move cells as near to where they want to be as their order and size allow.

    Neighbours that would overlap form a group, which stands at the mean of what its members want.
    """
    groups: list[tuple[list[_Cell], float, float]] = []  # cells, wanted top, height
    for cell, middle in zip(layer, wanted, strict=True):
        cells, top, height = [cell], middle - cell.height / 2, cell.height
        while groups and groups[-1][1] + groups[-1][2] + GAP_Y > top:
            others, other_top, other_height = groups.pop()
            count, more = len(others), len(cells)
            shifted = top - other_height - GAP_Y
            top = (other_top * count + shifted * more) / (count + more)
            cells, height = others + cells, other_height + GAP_Y + height
        groups.append((cells, top, height))
    for cells, top, _ in groups:
        for cell in cells:
            cell.y = top
            top += cell.height + GAP_Y


def _ranks(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """Give each block the length of the longest way to it; ways back do not count."""
    after: list[list[int]] = [[] for _ in range(count)]
    for a, b in pairs:
        if b not in after[a]:
            after[a].append(b)
    order: list[int] = []
    state = [0] * count  # 0 new, 1 under way, 2 done
    kept: list[list[int]] = [[] for _ in range(count)]
    for start in range(count):
        stack = [(start, 0)]
        while stack:
            at, step = stack.pop()
            if step == 0 and state[at]:
                continue
            state[at] = 1
            while step < len(after[at]) and state[after[at][step]]:
                if state[after[at][step]] == 2:
                    kept[at].append(after[at][step])
                step += 1
            if step < len(after[at]):
                kept[at].append(after[at][step])
                stack += [(at, step + 1), (after[at][step], 0)]
            else:
                state[at] = 2
                order.append(at)
    ranks = [0] * count
    for at in reversed(order):
        for other in kept[at]:
            ranks[other] = max(ranks[other], ranks[at] + 1)
    return ranks
