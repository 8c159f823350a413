"""Drawing of a page: the flow of a run, with what its time went to at each node.

Owns the look of boxes and edges. Invariant: valid markup whatever the names are, and the same bytes for the
same trace. Where the boxes stand is `penguiflow.layout`'s business.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from html import escape

from penguiflow.durations import Waits
from penguiflow.labels import printable
from penguiflow.layout import Block, Name, Pair, arrange

from ..records import PartRecord, RunTrace
from .amounts import seconds
from .page_data import number
from .pauses import Idle
from .work import INPUT, READER

MOST_NODES = 80
MOST_EDGES = 300
MOST_FLOWS = 4
"""So many flows are drawn: that of the run, and those that its steps call."""

_HEIGHT = 50.0
_LONGEST = 28
_KINDS = ("source", "node", "credit")

Point = tuple[float, float]


class Spent:
    """What the steps and streams of one node took.

    Attributes:
        waits: seconds of source, node and credit: of its streams, or of its steps where it gave none.
        steps: how many attempts at steps.
        streams: how many streams.
        failed: how many attempts failed.
        seconds: from the first to the last, with what was between.
    """

    __slots__ = ("failed", "first", "last", "steps", "streamed", "streams", "waits")

    def __init__(self) -> None:
        self.waits: list[float] = [0.0, 0.0, 0.0]
        self.streamed: list[float] = [0.0, 0.0, 0.0]
        self.steps: int = 0
        self.streams: int = 0
        self.failed: int = 0

    @property
    def shown(self) -> list[float]:
        """The waits that say more: those of its steps, or of its streams where no step was kept."""
        return self.waits if sum(self.waits) > 0 else self.streamed


def spent_at(trace: RunTrace, numbers: set[int]) -> dict[str, Spent]:
    """Add up what the nodes of some parts took."""
    spent: dict[str, Spent] = defaultdict(Spent)
    idle = Idle(trace, number(trace.summary.started) + max(number(trace.summary.seconds), 0))
    for step in trace.steps:
        if step.part in numbers:
            one = spent[step.node]
            one.steps += 1
            one.failed += step.error is not None
            _add(one.waits, idle.waits(step))
    for stream in trace.streams:
        if stream.part in numbers:
            one = spent[stream.node]
            one.streams += 1
            one.failed += stream.error is not None and not one.steps
            _add(one.streamed, idle.waits(stream))
    return spent


def _add(sums: list[float], waits: Waits) -> None:
    for index, value in enumerate((waits.source, waits.node, waits.credit)):
        sums[index] += max(value, 0.0)


def drawings(trace: RunTrace) -> Iterator[str]:
    """Draw the flow of a run, and those that its steps call, each once."""
    flows: dict[str, list[PartRecord]] = {}
    for part in trace.parts:
        flows.setdefault(part.flow if part.part else "", []).append(part)
    for parts in list(flows.values())[:MOST_FLOWS]:
        yield _drawing(parts, spent_at(trace, {part.part for part in parts}))
    if len(flows) > MOST_FLOWS:
        yield f'<p class="note">{len(flows) - MOST_FLOWS} more flows were called.</p>'


def _drawing(parts: list[PartRecord], spent: dict[str, Spent]) -> str:
    first = parts[0]
    nodes = list(dict.fromkeys([*first.nodes, *(name for name in spent if name != INPUT)]))
    edges = list(dict.fromkeys(first.edges))
    called = (
        f" · called {len(parts)}×" if first.part and len(parts) > 1 else " · called" if first.part else ""
    )
    title = f"<figcaption>{text(first.flow)}{called}</figcaption>"
    if len(nodes) > MOST_NODES or len(edges) > MOST_EDGES:
        size = f"{len(nodes)} nodes and {len(edges)} edges"
        return f'<figure class="flow">{title}<p class="note">Not drawn: it has {size}.</p></figure>'
    picture = _Picture(nodes, edges, spent)
    return (
        f'<figure class="flow">{title}<div class="across">{"".join(picture.lines(first.flow))}</div></figure>'
    )


class _Picture:
    """One drawing in the making."""

    def __init__(self, nodes: list[str], edges: list[tuple[str, str]], spent: dict[str, Spent]) -> None:
        self.nodes = nodes
        self.spent = spent
        ends = [name for name in (INPUT, READER) if any(name in edge for edge in edges) and name not in nodes]
        self.ends = set(ends)
        order = [*([INPUT] if INPUT in ends else []), *nodes, *([READER] if READER in ends else [])]
        self.blocks: dict[Name, Block] = {
            name: Block(name, _wide(name, spent), self._high(name)) for name in order
        }
        self.edges = [(a, b) for a, b in edges if a in self.blocks and b in self.blocks]
        forward: dict[Pair, float] = {pair: 0.0 for pair in self.edges if pair[0] != pair[1]}
        self.top = Block("", 0.0, 0.0, list(self.blocks.values()))
        arrange(self.top, forward, title=0.0)
        self.bends: dict[Pair, list[Point]] = self.top.bends
        self.back = [(a, b) for a, b in self.edges if self.blocks[a].x >= self.blocks[b].x]

    def _high(self, name: str) -> float:
        return 26.0 if name in self.ends else _HEIGHT

    def lines(self, flow: str) -> Iterator[str]:
        """Give the parts of the picture."""
        width = self.top.width
        height = self.top.height + 14.0 * min(len(self.back), 6)
        yield (
            f'<svg width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" '
            f'role="group" aria-label="flow {text(flow)}">'
        )
        yield '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        yield 'markerUnits="userSpaceOnUse" orient="auto"><path class="tip" d="M0 0.5L7.5 4L0 7.5z"/>'
        yield "</marker></defs>"
        for pair in self.edges:
            back = pair in self.back
            path = self._loop(pair) if back else _curve(self._way(pair))
            yield f'<path class="{"way back" if back else "way"}" d="{path}" marker-end="url(#tip)"/>'
        whole = max((sum(one.shown) for one in self.spent.values()), default=0.0)
        for name, block in self.blocks.items():
            yield from self._end(block) if name in self.ends else self._node(str(name), block, whole)
        yield "</svg>"

    def _way(self, pair: Pair) -> list[Point]:
        start, end = self.blocks[pair[0]], self.blocks[pair[1]]
        bends = self.bends.get(pair, [])
        return [(start.x + start.width, start.middle), *bends, (end.x - 2, end.middle)]

    def _loop(self, pair: tuple[str, str]) -> str:
        """From the right side of one box down the gap behind it, and back below all boxes."""
        start, end = self.blocks[pair[0]], self.blocks[pair[1]]
        lane = min(self.back.index(pair), 5)
        floor, x, y = self.top.height - 8 + 14.0 * lane, start.x + start.width, start.middle + 12
        gap = max(one.x + one.width for one in self._column(start)) + 12 + 5 * lane
        down = f"M{x:.1f} {y:.1f}H{gap - 8:.1f}q8 0 8 8V{floor - 8:.1f}q0 8 -8 8"
        if any(one.y > end.y for one in self._column(end)):
            left = min(one.x for one in self._column(end)) - 16 - 5 * lane
            up = f"V{end.middle + 20:.1f}q0 -8 8 -8H{end.x - 2:.1f}"
        else:
            left = end.x + end.width / 2 - 12 + 10 * lane
            up = f"V{end.y + end.height + 2:.1f}"
        return f"{down}H{left + 8:.1f}q-8 0 -8 -8{up}"

    def _column(self, block: Block) -> list[Block]:
        right = block.x + block.width
        return [one for one in self.blocks.values() if one.x < right and one.x + one.width > block.x]

    def _end(self, block: Block) -> Iterator[str]:
        yield (
            f'<g class="end"><rect x="{block.x:.1f}" y="{block.y:.1f}" width="{block.width:.1f}" '
            f'height="{block.height:.1f}" rx="13"/><text x="{block.x + block.width / 2:.1f}" '
            f'y="{block.middle + 4:.1f}">{text(str(block.name))}</text></g>'
        )

    def _node(self, name: str, block: Block, whole: float) -> Iterator[str]:
        one = self.spent.get(name)
        failed = " failed" if one is not None and one.failed else ""
        said = _said(one)
        yield (
            f'<g class="box{failed}" data-node="{text(name)}" tabindex="0" role="button" '
            f'aria-label="show only {text(name)}: {text(said)}"><title>{text(name)}: {text(said)}</title>'
            f'<rect class="ground" x="{block.x:.1f}" y="{block.y:.1f}" width="{block.width:.1f}" '
            f'height="{block.height:.1f}" rx="7"/>'
            f'<text class="name" x="{block.x + 12:.1f}" y="{block.y + 19:.1f}">'
            f"{text(cut(name, _LONGEST))}</text>"
            f'<text class="said" x="{block.x + 12:.1f}" y="{block.y + 34:.1f}">{text(said)}</text>'
        )
        x, room = block.x + 12, block.width - 24
        yield f'<rect class="rail" x="{x:.1f}" y="{block.y + 40:.1f}" width="{room:.1f}" height="4" rx="2"/>'
        for kind, spent in zip(_KINDS, one.shown if one is not None else (), strict=False):
            wide = room * spent / whole if whole > 0 else 0.0
            if wide >= 0.1:
                place = f'x="{x:.1f}" y="{block.y + 40:.1f}" width="{wide:.1f}"'
                yield f'<rect class="{kind}" {place} height="4"/>'
                x += wide
        yield "</g>"


def _said(one: Spent | None) -> str:
    if one is None:
        return "not reached"
    steps = f"{one.steps} steps" if one.steps != 1 else "1 step"
    streams = f"{one.streams} streams" if one.streams != 1 else "1 stream"
    count = steps if one.steps else streams
    failed = f" · {one.failed} failed" if one.failed else ""
    return f"{seconds(sum(one.shown))} · {count}{failed}"


def _wide(name: str, spent: dict[str, Spent]) -> float:
    if name in (INPUT, READER) and name not in spent:
        return 64.0
    return max(112.0, 8.3 * len(cut(name, _LONGEST)) + 24, 5.9 * len(_said(spent.get(name))) + 24)


def _curve(points: list[Point]) -> str:
    x, y = points[0]
    path = [f"M{x:.1f} {y:.1f}"]
    for nx, ny in points[1:]:
        half = max((nx - x) / 2, 14.0)
        path.append(f"C{x + half:.1f} {y:.1f} {nx - half:.1f} {ny:.1f} {nx:.1f} {ny:.1f}")
        x, y = nx, ny
    return "".join(path)


def text(words: str) -> str:
    """Escape a text for HTML, and show what can't be printed."""
    return escape(printable(words).replace("\u2028", "⏎").replace("\u2029", "⏎"))


def cut(words: str, most: int) -> str:
    """Cut a text in the middle where it is too long: the ends of a path say more."""
    line = printable(words).replace("\n", "⏎")
    return line if len(line) <= most else f"{line[: most // 2 - 1]}…{line[-(most // 2) :]}"
