"""Drawings are the same in every process, and no name breaks out of its label."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from penguiflow.draw import dot, mermaid, svg
from penguiflow.errors import StepError
from penguiflow.items import Gathered, Message, Spread, StreamMarker
from penguiflow.node import node, source
from penguiflow.plan import Plan, build_plan
from penguiflow.wiring import Wirable, edge

DRAWINGS: tuple[Callable[[Plan], str], ...] = (mermaid, dot, svg)
NASTY = (
    'say "hi"',
    "<script>&amp;",
    "a]b[c)d(e{f}g|h",
    "back\\slash\\n \\N",
    "two\nlines\ttab",
    "#35; #quot; %% end",
    "naïve 文字 🐧",
    "; --> x",
    "]]> --",
    "bell\x07\x00\x85\ud800\ufffe",
    "`**bold**`",
    "'",
)


class Nested(Wirable):
    """A flow as wiring sees it."""

    def __init__(self, name: str, *wires: Any) -> None:
        self.name = name
        self.wires = wires
        self.plan = build_plan(name, wires)


def item(name: str) -> Any:
    async def anything(x): ...

    return node(anything, name=name)


def is_urgent(x: object) -> bool:
    return True


@source
async def ticks() -> AsyncIterator[int]:
    yield 1


@node
async def start(question: Message[str]) -> str: ...


@node
async def fold(x: StreamMarker[Any]) -> str: ...


@node
def shout(x: str) -> str:
    return x.upper()


@node
async def parts(x: str) -> Spread[str]: ...


@node
async def together(x: Gathered[str]) -> str: ...


@node
async def both(shout: str, other: str | None) -> str: ...


@node
async def rescue(error: StepError) -> str: ...


def of_all_kinds() -> Plan:
    """A flow with every kind of node and edge."""
    other = item("other")
    inner = Nested("inner <flow>", item("x") >> Nested("innermost", item("y")))
    return build_plan(
        "all kinds",
        [
            start >> [shout, other] >> both,
            start >> edge(on_error=True) >> rescue,
            other >> edge(capacity=7, overflow="drop_oldest", when=is_urgent) >> inner >> item("end"),
            other >> edge(feedback=True, when=lambda x: x) >> start,
            start >> parts >> together,
            shout >> edge(partition=len, capacity_bytes=9) >> [item("left"), item("right")],
            shout >> edge(balance=True, overflow="merge", merge=max) >> item("free"),
            ticks >> fold,
        ],
    )


def of_names(*names: str) -> Plan:
    """A flow whose node, nested flow and condition have each of some names."""
    wires = []
    for number, name in enumerate(names):

        def condition(x: object) -> bool:
            return True

        condition.__name__ = name
        wires.append(item(name) >> edge(when=condition) >> Nested(f"{name} {number}", item(name)))
    return build_plan(names[0], wires)


def test_mermaid() -> None:
    """Every kind of node and edge has its form."""
    plan = build_plan("qa", [start >> shout, start >> edge(on_error=True) >> rescue])
    assert mermaid(plan) == (
        "flowchart LR\n"
        '    n0(("input"))\n'
        '    n1["start"]\n'
        '    n2("shout")\n'
        '    n3["rescue"]\n'
        '    out(("output"))\n'
        "    n0 --> n1\n"
        "    n1 --> n2\n"
        '    n1 -.->|"on error"| n3\n'
        "    n2 --> out\n"
        "    n3 --> out\n"
        "    linkStyle 2 stroke:#c0392b,color:#c0392b\n"
    )


def test_dot() -> None:
    """Every kind of node and edge has its form."""
    nested = Nested("in", shout)
    plan = build_plan("qa", [start >> edge(capacity=2) >> nested, nested >> edge(feedback=True) >> start])
    assert dot(plan) == (
        'digraph "qa" {\n'
        "    rankdir=LR;\n"
        '    label="qa";\n'
        '    node [fontname="sans-serif"];\n'
        '    edge [fontname="sans-serif", fontsize=10];\n'
        '    n0 [label="input", shape=circle];\n'
        '    n1 [label="start", shape=box];\n'
        "    subgraph cluster_1 {\n"
        '        label="in";\n'
        '        n2 [label="shout", shape=box, style="rounded"];\n'
        "    }\n"
        "    n0 -> n1;\n"
        '    n1 -> n2 [label="capacity 2"];\n'
        '    n2 -> n1 [label="feedback", style=dotted, constraint=false];\n'
        "}\n"
    )


def test_options_are_written_on_edges() -> None:
    """What is not a default is said."""
    assert sorted(re.findall(r'\|"(.*?)"\|', mermaid(of_all_kinds()))) == [
        "balance, merge max",
        "feedback, when …",
        "on error",
        "partition len, 9 bytes",
        "partition len, 9 bytes",
        "when is_urgent, capacity 7, drop_oldest",
    ]


def test_drawings_are_the_same_in_every_process() -> None:
    """No address, hash or order of sets gets into a drawing: two processes give the same bytes."""
    program = (
        "import sys, test_draw as t\n"
        "for plan in (t.of_all_kinds(), t.of_names(*t.NASTY)):\n"
        "    for draw in t.DRAWINGS:\n"
        "        sys.stdout.buffer.write(draw(plan).encode())\n"
    )
    here = Path(__file__).parent
    outputs = []
    for seed in ("0", "1", "4711"):
        environment = os.environ | {
            "PYTHONHASHSEED": seed,
            "PYTHONPATH": os.pathsep.join([str(here), str(here.parent)]),
        }
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, check=True, timeout=60
        )
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1] == outputs[2]
    own = "".join(draw(plan) for plan in (of_all_kinds(), of_names(*NASTY)) for draw in DRAWINGS)
    assert outputs[0] == own.encode()


@pytest.mark.parametrize("name", NASTY)
def test_mermaid_escapes(name: str) -> None:
    """In a label there is nothing but letters, blanks, numbers of characters and line breaks."""
    for line in mermaid(of_names(name)).splitlines():
        for label in re.findall(r'"(.*)"', line):
            plain = re.sub(r"#\d+;|<br/>", "", label)
            assert not set(plain) & set("\"'#;<>&[](){}|\\`*%\n\t\x00\x07")
    text = mermaid(of_names(name))
    assert text.count('"') % 2 == 0
    assert text.encode()


@pytest.mark.parametrize("name", NASTY)
def test_dot_escapes(name: str) -> None:
    """A quoted text ends where it should, and reads back as the name."""
    text = dot(of_names(name))
    rest = re.sub(r'"(?:[^"\\]|\\.)*"', '""', text)
    assert rest.count('"') % 2 == 0
    assert not re.search(r"[<>&\\#`]", rest.replace("->", ""))
    assert text.encode()
    label = re.search(r'n1 \[label="((?:[^"\\]|\\.)*)"', text)
    assert label is not None
    shown = re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], label[1]).replace("&amp;", "&")
    printed = name.replace("\t", " ")
    if not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe]", printed):
        assert shown == printed


@pytest.mark.parametrize("name", NASTY)
def test_svg_escapes(name: str) -> None:
    """The picture is valid XML, and shows each name as it is."""
    root = ElementTree.fromstring(svg(of_names(name)))
    texts = ["".join(one.itertext()) for one in root.iter("{http://www.w3.org/2000/svg}text")]
    printed = name.replace("\n", "⏎").replace("\t", " ")
    if not re.search(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe]", printed):
        assert texts.count(printed) == 2
        assert f"when {printed}" in texts


def boxes_of(root: ElementTree.Element, kinds: str) -> list[tuple[float, ...]]:
    return [
        tuple(float(one.attrib[key]) for key in ("x", "y", "width", "height"))
        for one in root.iter("{http://www.w3.org/2000/svg}rect")
        if one.attrib["class"] in kinds.split()
    ]


def test_svg_boxes_stand_apart_within_the_picture() -> None:
    """No node covers another, and the picture holds them all."""
    root = ElementTree.fromstring(svg(of_all_kinds()))
    found = boxes_of(root, "pf-node pf-inline pf-source pf-end")
    assert len(found) > 10
    for number, (x, y, width, height) in enumerate(found):
        assert 0 <= x <= x + width <= float(root.attrib["width"])
        assert 0 <= y <= y + height <= float(root.attrib["height"])
        for ox, oy, owidth, oheight in found[number + 1 :]:
            assert x + width <= ox or ox + owidth <= x or y + height <= oy or oy + oheight <= y


def test_svg_styles_stay_in_the_picture() -> None:
    """In a notebook the picture shares its style sheets with the page: every rule is bound to the picture."""
    style = re.search(r"<style>(.*?)</style>", svg(of_all_kinds()))
    assert style is not None
    assert all(rule.startswith(".pf-flow .pf-") for rule in style[1].split("}") if rule)


def test_long_names_are_cut_in_the_picture() -> None:
    """A box does not grow without end."""
    root = ElementTree.fromstring(svg(build_plan("x", [item("n" * 500)])))
    assert float(root.attrib["width"]) < 1000


@pytest.mark.parametrize("draw", DRAWINGS)
def test_flows_without_entry_or_exit(draw: Callable[[Plan], str]) -> None:
    """A source alone, and a loop alone, can be drawn."""
    a = item("a")
    drawn = draw(build_plan("x", [ticks]))
    assert ("output" in drawn, "input" in drawn) == (True, False)
    assert "output" not in draw(build_plan("x", [a >> edge(feedback=True) >> a]))
