"""Drawings of a flow: Mermaid and DOT as texts, SVG as a picture.

Owns the formats of texts and their escaping. Invariant: the same flow gives the same bytes in every process,
and no name can break out of its label. Knows nothing of runs.
"""

from __future__ import annotations

from collections.abc import Iterator

from .graph import Edge, Plan, Site
from .labels import OUTPUT, Box, Kind, boxes, edge_words, kind_of, printable
from .picture import svg

__all__ = ["dot", "mermaid", "svg"]

_RED = "#c0392b"

_MERMAID_SHAPES: dict[Kind, tuple[str, str]] = {
    "end": ("((", "))"),
    "source": ("([", "])"),
    "inline": ("(", ")"),
    "join": ("{{", "}}"),
    "gather": ("[[", "]]"),
    "stream": ("[/", "/]"),
    "node": ("[", "]"),
}
_DOT_SHAPES: dict[Kind, str] = {
    "end": "shape=circle",
    "source": "shape=cds",
    "inline": 'shape=box, style="rounded"',
    "join": "shape=hexagon",
    "gather": "shape=box, peripheries=2",
    "stream": "shape=parallelogram",
    "node": "shape=box",
}


def mermaid(plan: Plan) -> str:
    """Draw a flow as a Mermaid flowchart."""
    lines = ["flowchart LR"]
    if plan.entries:
        lines.append(f"    {_mermaid_node(plan.root)}")
    lines += _mermaid_box(boxes(plan), 1, [0])
    if plan.exits:
        lines.append(f'    out(("{OUTPUT}"))')
    styles = []
    for number, edge in enumerate(plan.edges):
        words = _mermaid_text(edge_words(edge))
        arrow = "-.->" if edge.policy.feedback or edge.policy.on_error else "-->"
        label = f'|"{words}"|' if words else ""
        lines.append(f"    n{edge.source.index} {arrow}{label} n{edge.target.index}")
        if edge.policy.on_error:
            styles.append(f"    linkStyle {number} stroke:{_RED},color:{_RED}")
    lines += [f"    n{site.index} --> out" for site in plan.exits]
    return "\n".join([*lines, *styles, ""])


def _mermaid_box(box: Box, depth: int, counter: list[int]) -> Iterator[str]:
    indent = "    " * depth
    for part in box.parts:
        if isinstance(part, Site):
            yield f"{indent}{_mermaid_node(part)}"
        else:
            counter[0] += 1
            yield f'{indent}subgraph g{counter[0]}["{_mermaid_text(part.name)}"]'
            yield from _mermaid_box(part, depth + 1, counter)
            yield f"{indent}end"


def _mermaid_node(site: Site) -> str:
    begin, end = _MERMAID_SHAPES[kind_of(site)]
    return f'n{site.index}{begin}"{_mermaid_text(site.name)}"{end}'


def _mermaid_text(text: str) -> str:
    """Write all that could mean something to Mermaid, Markdown or HTML as the number of its character."""
    return "".join(map(_mermaid_character, printable(text)))


def _mermaid_character(character: str) -> str:
    if character == "\n":
        return "<br/>"
    if character.isalnum() or character in " _-.,:…→" or ord(character) > 0x7F:
        return character
    return f"#{ord(character)};"


def dot(plan: Plan) -> str:
    """Draw a flow in the language of Graphviz."""
    lines = [
        f"digraph {_dot_text(plan.name)} {{",
        "    rankdir=LR;",
        f"    label={_dot_text(plan.name)};",
        '    node [fontname="sans-serif"];',
        '    edge [fontname="sans-serif", fontsize=10];',
    ]
    if plan.entries:
        lines.append(f"    {_dot_node(plan.root)}")
    lines += _dot_box(boxes(plan), 1, [0])
    if plan.exits:
        lines.append(f'    out [label="{OUTPUT}", {_DOT_SHAPES["end"]}];')
    lines += [f"    n{edge.source.index} -> n{edge.target.index}{_dot_options(edge)};" for edge in plan.edges]
    lines += [f"    n{site.index} -> out;" for site in plan.exits]
    return "\n".join([*lines, "}", ""])


def _dot_box(box: Box, depth: int, counter: list[int]) -> Iterator[str]:
    indent = "    " * depth
    for part in box.parts:
        if isinstance(part, Site):
            yield f"{indent}{_dot_node(part)}"
        else:
            counter[0] += 1
            yield f"{indent}subgraph cluster_{counter[0]} {{"
            yield f"{indent}    label={_dot_text(part.name)};"
            yield from _dot_box(part, depth + 1, counter)
            yield f"{indent}}}"


def _dot_node(site: Site) -> str:
    return f"n{site.index} [label={_dot_text(site.name)}, {_DOT_SHAPES[kind_of(site)]}];"


def _dot_options(edge: Edge) -> str:
    options = []
    if words := edge_words(edge):
        options.append(f"label={_dot_text(words)}")
    if edge.policy.on_error:
        options += ["style=dashed", f'color="{_RED}"', f'fontcolor="{_RED}"']
    elif edge.policy.feedback:
        options += ["style=dotted", "constraint=false"]
    return f" [{', '.join(options)}]" if options else ""


def _dot_text(text: str) -> str:
    """Quote a text; Graphviz reads backslashes and entities also within quotes."""
    escaped = printable(text).replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")
    return '"' + escaped.replace("\n", "\\n") + '"'
