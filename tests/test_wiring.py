"""What `>>` means: wires are values, lists stand beside each other, options stand between."""

from __future__ import annotations

from typing import Any

import pytest

from penguiflow.errors import GraphError
from penguiflow.node import node
from penguiflow.policy import EdgePolicy
from penguiflow.wiring import Pending, Wirable, Wire, as_wire, edge, part_name


def make(name: str) -> Any:
    return node(lambda x: x, name=name)


a, b, c, d = map(make, "abcd")


def plain(x: int) -> int:
    return x


def links(wire: Any) -> list[str]:
    return [f"{part_name(link.source)}→{part_name(link.target)}" for link in wire.links]


def names(parts: tuple[Any, ...]) -> str:
    return " ".join(map(part_name, parts))


@pytest.mark.parametrize(
    ("wire", "expected", "heads", "tails"),
    [
        (a >> b >> c, ["a→b", "b→c"], "a", "c"),
        (a >> [b, c] >> d, ["a→b", "a→c", "b→d", "c→d"], "a", "d"),
        ([a, b >> c] >> d, ["b→c", "a→d", "c→d"], "a b", "d"),
        ((a, b) >> c, ["a→c", "b→c"], "a b", "c"),
        (a >> [[b, c], d], ["a→b", "a→c", "a→d"], "a", "b c d"),
        (a >> plain >> b, ["a→plain", "plain→b"], "a", "b"),
        (plain >> a, ["plain→a"], "plain", "a"),
        ([plain, a] >> b, ["plain→b", "a→b"], "plain a", "b"),
        (a >> (b >> c), ["a→b", "b→c"], "a", "c"),
        (a >> (b >> edge(capacity=2)) >> c, ["a→b", "b→c"], "a", "c"),
        ([a, b] >> edge(capacity=2) >> c, ["a→c", "b→c"], "a b", "c"),
        (plain >> edge(capacity=2) >> c, ["plain→c"], "plain", "c"),
        (a >> b >> edge(feedback=True) >> a, ["a→b", "b→a"], "a", "a"),
        (a >> [b, b] >> c, ["a→b", "b→c"], "a", "c"),
    ],
)
def test_wires(wire: Any, expected: list[str], heads: str, tails: str) -> None:
    """Each end on the left is joined with each on the right, in order."""
    assert links(wire) == expected
    assert (names(wire.heads), names(wire.tails)) == (heads, tails)


def test_wires_are_values() -> None:
    """Going on from a wire does not change it."""
    wire = a >> b
    longer = wire >> c
    assert (links(wire), links(longer)) == (["a→b"], ["a→b", "b→c"])
    assert repr(longer) == "<wire of a, b, c>"
    assert isinstance(a.ends(), Wire)


def test_options_stand_between() -> None:
    """An edge's options hold for each edge that its `>>` makes, and for no other."""
    wire: Any = a >> edge(capacity=3, overflow="drop_oldest") >> [b, c] >> d
    assert [link.policy for link in wire.links] == [EdgePolicy(capacity=3, overflow="drop_oldest")] * 2 + [
        EdgePolicy()
    ] * 2
    pending = a >> edge(capacity=3)
    assert isinstance(pending, Pending)
    assert repr(pending) == "<a >> edge(…) >> ?>"


def test_branches_of_one_fan_out_know_each_other() -> None:
    """`partition=` and `balance=` make one group of all branches on the right."""
    wire: Any = a >> edge(balance=True) >> [b, c >> d]
    assert [link.bundle and names(link.bundle) for link in wire.links] == ["b c", "b c", None]


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: a >> 3, "3 is no node"),
        (lambda: 3 >> a, "3 is no node"),
        (lambda: a >> [], "an empty list can't be joined"),
        (lambda: edge() >> a, r"nothing on its left; write: a >> edge\(…\) >> b"),
        (lambda: a >> edge() >> edge(), "two edges in a row"),
        (lambda: as_wire(a >> edge()), r"needs something on its right|nothing on its right"),
        (lambda: as_wire(edge()), "stands between two nodes"),
        (lambda: a >> [b, edge()], "stands between two nodes"),
    ],
)
def test_what_can_not_be_joined(build: Any, text: str) -> None:
    """A wrong operand is named at once."""
    with pytest.raises(GraphError, match=text):
        build()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"capacity": 0}, "edge: capacity must be a whole number of at least 1, not 0"),
        ({"capacity": -1}, "capacity"),
        ({"capacity": 2.0}, "capacity"),
        ({"capacity_bytes": 0}, "capacity_bytes"),
        (
            {"overflow": "burst"},
            "overflow='burst' must be one of wait, drop_oldest, drop_newest, merge, fail",
        ),
        ({"overflow": "merge"}, "needs merge="),
        ({"merge": max}, "does nothing without overflow"),
        ({"sizer": len}, "does nothing without capacity_bytes"),
        ({"when": True}, "when must be a function"),
        ({"partition": "key"}, "partition must be a function"),
        ({"partition": len, "balance": True}, "exclude each other"),
        ({"feedback": True, "capacity": 64}, r"a feedback edge has no capacity \(rule 2.2\)"),
        ({"feedback": True, "capacity_bytes": 64}, r"\(rule 2.2\)"),
        ({"feedback": True, "overflow": "fail"}, r"\(rule 2.7\)"),
        ({"feedback": True, "balance": True}, "not with feedback"),
        ({"on_error": True, "partition": len}, "on_error"),
    ],
)
def test_options_that_make_no_sense(options: Any, text: str) -> None:
    """Options that contradict each other or can't be kept are errors."""
    with pytest.raises(GraphError, match=text):
        edge(**options)


def test_flows_are_told_by_their_wires() -> None:
    """Only what is made of wires is a flow."""
    assert Wirable().wires is None
    assert a.wires is None
