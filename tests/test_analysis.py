"""What is said about ways through a graph is what trying all ways shows."""

from __future__ import annotations

import random
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import pytest

from penguiflow.analysis import dominators
from penguiflow.errors import GraphError
from penguiflow.node import node
from penguiflow.plan import Edge, Plan, Site, build_plan
from penguiflow.signature import Takes
from penguiflow.wiring import edge


def item(name: str) -> Any:
    async def anything(x): ...

    return node(anything, name=name)


def join(name: str, parameters: Iterable[str]) -> Any:
    space: dict[str, Any] = {}
    exec(f"async def {name}({', '.join(parameters)}): ...", space)
    return node(space[name])


def random_plan(seed: int) -> Plan:
    """Build a random flow of up to ten nodes, with joins, feedback and error edges."""
    chance = random.Random(seed)
    nodes: list[Any] = []
    wires: list[Any] = []
    joins: set[str] = set()
    for number in range(chance.randint(2, 10)):
        name = f"n{number}"
        before = chance.sample(nodes, min(len(nodes), chance.randint(0, 3)))
        if len(before) > 1 and chance.random() < 0.6:
            made = join(name, [one.name for one in before])
            joins.add(name)
        else:
            made = item(name)
        wires += [[made], *(one >> made for one in before)]
        nodes.append(made)
    loose = [one for one in nodes if one.name not in joins]
    for _ in range(chance.randint(0, 2)):
        wires.append(chance.choice(nodes) >> edge(feedback=True) >> chance.choice(loose))
    for at in range(chance.randint(0, 2)):
        wires.append(chance.choice(nodes) >> edge(on_error=True) >> item(f"e{at}"))
    return build_plan(str(seed), wires)


SEEDS = range(300)


def reachable(start: Site, without: set[int]) -> set[int]:
    """Give the sites that can be reached from one, by ways that do not pass some."""
    found: set[int] = set()
    stack = [start]
    while stack:
        site = stack.pop()
        if site.index not in found and site.index not in without:
            found.add(site.index)
            stack += [edge.target for edge in site.all_outs]
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_dominators_are_what_can_not_be_avoided(seed: int) -> None:
    """Without its dominator a site can't be reached, and nothing nearer is needed by all ways."""
    plan = random_plan(seed)
    nearest = dominators(plan.sites)
    for site in plan.sites[1:]:
        needed = {
            one.index
            for one in plan.sites
            if one is not site and site.index not in reachable(plan.root, {one.index})
        }
        found = nearest[site.index]
        assert found is not None
        assert found.index in needed
        # all others that are needed come before the nearest one
        assert all(one == found.index or found.index not in reachable(plan.root, {one}) for one in needed)


def arrives(edge: Edge, target: Site, slot: int, stops: set[int]) -> bool:
    """Try whether an item that takes an edge can come to a slot."""
    seen: set[int] = set()
    stack = [edge]
    while stack:
        one = stack.pop()
        if one.target is target and one.slot == slot:
            return True
        if one.index not in seen and one.target.index not in stops:
            seen.add(one.index)
            stack += one.target.all_outs
    return False


@pytest.mark.parametrize("seed", SEEDS)
def test_reach_is_where_an_item_can_arrive(seed: int) -> None:
    """An edge lists a slot if and only if there is a way to it within one pairing."""
    plan = random_plan(seed)
    for site in plan.sites:
        if site.join is None:
            continue
        stops = {site.index, site.join.dominator.index}
        for slot in range(len(site.join.slots)):
            for one in plan.edges:
                assert ((site.index, slot) in one.reach) == arrives(one, site, slot, stops)


@pytest.mark.parametrize("seed", SEEDS)
def test_plans_keep_their_word(seed: int) -> None:
    """Order, indices, ends and the joins of a dominator are what they say."""
    plan = random_plan(seed)
    assert [site.index for site in plan.sites] == list(range(len(plan.sites)))
    assert [one.index for one in plan.edges] == list(range(len(plan.edges)))
    for one in plan.edges:
        assert one.policy.feedback or one.source.index < one.target.index
        assert one in one.source.all_outs
        assert one in one.target.ins
        assert (one.slot is None) == (one.target.signature.takes is not Takes.JOIN)
    for site in plan.sites:
        assert all(join.dominator is site and join.site.join is join for join in site.joins)
        indices = [join.site.index for join in site.joins]
        assert indices == sorted(indices, reverse=True)
    assert {site for site in plan.sites[1:] if not site.outs} == set(plan.exits)


@pytest.mark.parametrize("seed", range(100))
def test_any_graph_is_built_or_refused(seed: int) -> None:
    """Whatever is wired, the answer is a plan or a `GraphError`, never anything else."""
    chance = random.Random(seed)
    nodes = [item(f"n{at}") for at in range(5)]
    options = [{}, {"feedback": True}, {"on_error": True}, {"balance": True}]
    wires = [
        chance.choice(nodes) >> edge(**chance.choice(options)) >> chance.sample(nodes, chance.randint(1, 3))
        for _ in range(chance.randint(1, 8))
    ]
    with suppress(GraphError):
        assert build_plan("any", wires).entries
