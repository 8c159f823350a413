"""Picture: a flow as an SVG, for notebooks and documents.

Owns the look of the drawing. Invariant: valid XML by itself, the same bytes in every process, and readable on
light and dark grounds. Knows nothing of runs; where things stand is `layout`'s business.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from .graph import Edge, Plan, Site
from .labels import OUTPUT, Box, Kind, boxes, edge_words, kind_of, printable
from .layout import PAD, TITLE, Block, Name, Pair, arrange

Point = tuple[float, float]

LANE = 26.0
"""How much room a way back needs at the bottom."""

_HEIGHT = 34.0
_LONGEST = 48
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", chr(34): "&quot;"})
_LOOK = {
    "": "fill:none;stroke:#64748b;stroke-width:1.4",
    "feedback": "stroke-dasharray:2 4",
    "error": "stroke:#c0392b;stroke-dasharray:6 4",
    "text": "font:13px system-ui,sans-serif;fill:#1f2a37;text-anchor:middle;dominant-baseline:central",
    "title": "text-anchor:start;font-size:12px;fill:#64748b",
    "label": "font-size:11px;fill:#475569;stroke:#fff;stroke-width:3px;paint-order:stroke",
    "frame": "fill:#94a3b8;fill-opacity:.12;stroke:#94a3b8",
    "node": "fill:#eef4ff;stroke:#3b6fb6",
    "inline": "fill:#f3f7f0;stroke:#6b9b52",
    "join": "fill:#fdf3e1;stroke:#c98a1b",
    "gather": "fill:#fdf3e1;stroke:#c98a1b",
    "stream": "fill:#e5f6f5;stroke:#2a938c",
    "source": "fill:#f2ecfa;stroke:#7d55b0",
    "end": "fill:#f2ecfa;stroke:#7d55b0",
}
# styles are bound to the picture's own class: an SVG inside a page shares its style sheets with the page
_STYLE = "".join(f".pf-flow .pf-{name or 'edge'}{{{look}}}" for name, look in _LOOK.items())
_MARKERS = "".join(
    f'<marker id="pf-{name}" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="8" markerHeight="8" '
    f'markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L8 4L0 8z" fill="{color}"/></marker>'
    for name, color in (("grey", "#64748b"), ("red", "#c0392b"))
)


def svg(plan: Plan) -> str:
    """Draw a flow as an SVG."""
    drawing = _Drawing(plan)
    return "\n".join([*drawing.lines(), ""])


class _Drawing:
    """One picture in the making."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.labels: dict[Name, str] = {}
        self.kinds: dict[Name, Kind] = {}
        self.blocks: dict[Name, Block] = {}
        self.frames: list[Block] = []
        top = self._box(boxes(plan), "flow")
        self.frames.pop()
        if plan.entries:
            top.inside.insert(0, self._node(plan.root.index, plan.root.name, "end"))
        if plan.exits:
            top.inside.append(self._node(OUTPUT, OUTPUT, "end"))
        self.top = top
        room: dict[Pair, float] = {(site.index, OUTPUT): 0.0 for site in plan.exits}
        for edge in plan.edges:
            if not edge.policy.feedback:
                pair = (edge.source.index, edge.target.index)
                room[pair] = max(room.get(pair, 0.0), _width(_line(edge_words(edge))))
        arrange(top, room, title=0.0)
        self.bends: dict[Pair, list[tuple[float, float]]] = dict(top.bends)
        for frame in self.frames:
            self.bends.update(frame.bends)
        self.loops = [edge for edge in plan.edges if edge.policy.feedback]

    def _box(self, box: Box, name: str) -> Block:
        inside = [
            self._node(part.index, part.name, kind_of(part))
            if isinstance(part, Site)
            else self._box(part, f"{name}/{at}")
            for at, part in enumerate(box.parts)
        ]
        self.labels[name] = _line(box.name)
        block = Block(name, _width(self.labels[name]) + 2 * PAD, 0.0, inside)
        self.frames.append(block)
        return block

    def _node(self, name: Name, label: str, kind: Kind) -> Block:
        self.labels[name], self.kinds[name] = _line(label), kind
        room = 44.0 if kind in ("join", "stream", "source") else 28.0
        self.blocks[name] = Block(name, max(56.0, _width(self.labels[name]) + room), _HEIGHT)
        return self.blocks[name]

    def lines(self) -> Iterator[str]:
        """Give the lines of the document."""
        width, height = self.top.width, self.top.height + LANE * len(self.loops)
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="pf-flow" width="{width:.0f}" '
            f'height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
            f"aria-label={_attribute(self.plan.name)}>"
        )
        yield f"<style>{_STYLE}</style><defs>{_MARKERS}</defs>"
        for frame in reversed(self.frames):
            yield (
                f'<rect class="pf-frame" x="{frame.x:.1f}" y="{frame.y:.1f}" width="{frame.width:.1f}" '
                f'height="{frame.height:.1f}" rx="8"/>'
            )
            yield _written(frame.x + 10, frame.y + TITLE / 2 + 3, self.labels[frame.name], "title")
        for edge in self.plan.edges:
            yield _curve(self._points(edge), _look(edge), edge.policy.feedback)
        for site in self.plan.exits:
            yield _curve(self._way(site.index, OUTPUT), "edge", False)
        for name, block in self.blocks.items():
            yield _shape(block, self.kinds[name])
            yield _written(block.x + block.width / 2, block.middle, self.labels[name])
        for edge in self.plan.edges:
            if said := _line(edge_words(edge)):
                x, y = _halfway(self._points(edge))
                yield _written(x, y - 9, said, "label")
        yield "</svg>"

    def _points(self, edge: Edge) -> list[Point]:
        if edge.policy.feedback:
            return self._loop(edge)
        return self._way(edge.source.index, edge.target.index)

    def _way(self, source: Name, target: Name) -> list[Point]:
        """From the right side of one box to the left side of the other, past what is between."""
        start, end = self.blocks[source], self.blocks[target]
        bends = self.bends.get((source, target), [])
        return [(start.x + start.width, start.middle), *bends, (end.x - 2, end.middle)]

    def _loop(self, edge: Edge) -> list[Point]:
        """From below one box to below the other, in a lane of its own at the bottom."""
        start, end = self.blocks[edge.source.index], self.blocks[edge.target.index]
        lane = self.top.height + LANE * (self.loops.index(edge) + 0.5)
        left, right = end.x + end.width / 2 - 9, start.x + start.width / 2 + 9
        return [(right, start.y + start.height), (right, lane), (left, lane), (left, end.y + end.height + 2)]


def _look(edge: Edge) -> str:
    words = ["edge"]
    if edge.policy.on_error:
        words.append("error")
    if edge.policy.feedback:
        words.append("feedback")
    return " ".join(words)


def _curve(points: list[Point], look: str, straight: bool) -> str:
    x, y = points[0]
    path = [f"M{x:.1f} {y:.1f}"]
    for nx, ny in points[1:]:
        half = max((nx - x) / 2, 18.0)
        bend = "" if straight else f"{x + half:.1f} {y:.1f} {nx - half:.1f} {ny:.1f} "
        path.append(f"{'L' if straight else 'C'}{bend}{nx:.1f} {ny:.1f}")
        x, y = nx, ny
    classes = " ".join(f"pf-{word}" for word in look.split())
    marker = "pf-red" if "error" in look else "pf-grey"
    return f'<path class="{classes}" d="{"".join(path)}" marker-end="url(#{marker})"/>'


def _halfway(points: list[Point]) -> Point:
    (ax, ay), (bx, by) = points[(len(points) - 1) // 2], points[len(points) // 2]
    return (ax + bx) / 2, (ay + by) / 2


def _shape(block: Block, kind: Kind) -> str:
    x, y, right, bottom, middle = (
        block.x,
        block.y,
        block.x + block.width,
        block.y + block.height,
        block.middle,
    )
    look = f'class="pf-{kind}"'
    if kind == "join":
        corners = [
            (x, middle),
            (x + 14, y),
            (right - 14, y),
            (right, middle),
            (right - 14, bottom),
            (x + 14, bottom),
        ]
    elif kind == "stream":
        corners = [(x + 10, y), (right, y), (right - 10, bottom), (x, bottom)]
    else:
        radius = {"inline": 10, "source": 17, "end": 17}.get(kind, 3)
        whole = f'y="{y:.1f}" height="{block.height:.1f}" rx="{radius}"'
        shape = f'<rect {look} x="{x:.1f}" width="{block.width:.1f}" {whole}/>'
        inner = f'<rect {look} x="{x + 5:.1f}" width="{block.width - 10:.1f}" {whole}/>'
        return shape + (inner if kind == "gather" else "")
    return f'<polygon {look} points="{" ".join(f"{px:.1f},{py:.1f}" for px, py in corners)}"/>'


def _written(x: float, y: float, text: str, look: str = "") -> str:
    classes = f"pf-text pf-{look}" if look else "pf-text"
    return f'<text class="{classes}" x="{x:.1f}" y="{y:.1f}">{_escaped(text)}</text>'


def _attribute(text: str) -> str:
    return f'"{_escaped(_line(text))}"'


def _escaped(text: str) -> str:
    """Write a text as XML does; the standard library's way loads the names of all entities of HTML."""
    return text.translate(_ENTITIES)


def _line(text: str) -> str:
    """Make one line of a text, and cut it where it is too long for a box."""
    line = printable(text).replace("\n", "⏎")
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def _width(text: str) -> float:
    """Guess how wide a text is, in pixels."""
    return sum(13.5 if unicodedata.east_asian_width(one) in "WF" else 7.4 for one in text)
