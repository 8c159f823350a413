"""Random flows: repeatable, legal, and of all kinds."""

from collections import Counter
from typing import get_args

import pytest

from penguiflow.testing import KINDS, random_graph
from penguiflow.testing.graphs.regions import PIECES
from penguiflow.testing.graphs.shapes import Form

SEEDS = range(150)


def test_the_same_seed_gives_the_same_flow() -> None:
    """Truth: description, payloads and expectation depend on the seed only."""
    for seed in SEEDS:
        one, two = random_graph(seed), random_graph(seed)
        assert str(one) == str(two)
        assert one.payload(0) == two.payload(0)
        assert one.expected(one.payload(1)) == two.expected(two.payload(1))


def test_payloads_differ_between_runs() -> None:
    """Truth: the runs of one flow are told apart by what goes in."""
    assert len({str(random_graph(1).payload(run)) for run in range(10)}) == 10


@pytest.mark.parametrize("faults", [None, "failures", "retries"])
def test_each_flow_is_legal(faults: str | None) -> None:
    """Truth: what is grown can be built; no GraphError."""
    for seed in SEEDS:
        random_graph(seed, {*KINDS, "drop", "merge", "thread"}, faults=faults).flow()  # type: ignore[arg-type]


def test_all_forms_grow() -> None:
    """Truth: no form of node is missing from a few hundred seeds."""
    forms: Counter[str] = Counter()
    for seed in range(400):
        graph = random_graph(seed, PIECES)
        forms.update(shape.form for shape in graph.layout.shapes.values())
    assert set(forms) == set(get_args(Form))


def test_wide_fan_outs_nested_flows_and_tight_limits_grow() -> None:
    """Truth: fan-outs of up to 100, flows in flows, windows and capacities of 1 to 3."""
    graphs = [random_graph(seed) for seed in range(400)]
    widest = max(Counter(road.source for road in graph.layout.roads).most_common(1)[0][1] for graph in graphs)
    assert widest > 50
    assert any(len(shape.nest) > 1 for graph in graphs for shape in graph.layout.shapes.values())
    assert {graph.options["window"] for graph in graphs} == {1, 2, 3, 128}
    assert {road.capacity for graph in graphs for road in graph.layout.roads} == {None, 1, 2, 3}


def test_only_the_kinds_that_are_asked_for_grow() -> None:
    """Truth: kinds= narrows the choice; an unknown kind is named."""
    forms = {shape.form for seed in SEEDS for shape in random_graph(seed, {"map"}).layout.shapes.values()}
    assert forms <= {"async", "message", "chunk", "yield"}
    with pytest.raises(ValueError, match="unknown kinds \\['magic'\\]"):
        random_graph(0, {"magic"})


def test_failures_hit_in_most_flows() -> None:
    """Truth: with faults="failures", most runs have something to fail on."""
    graphs = [random_graph(seed, faults="failures") for seed in SEEDS]
    hit = sum(bool(graph.expected(graph.payload(run)).trips) for graph in graphs for run in range(3))
    assert hit > len(SEEDS)
