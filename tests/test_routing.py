"""Which successors a value goes to: by type, condition, key and load, in declared order."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from penguiflow import CreditError, Flow, StepError, edge, node
from penguiflow.graph import Edge, Site
from penguiflow.routing import choose, full, stable_hash, unaccepted, wanted


@node
async def gives(x: int) -> int | str | None:
    return x


@node
async def numbers(x: int) -> int:
    return x


@node
async def texts(x: str) -> str:
    return x


@node
async def more(x: int) -> int:
    return x


@node
async def start(x: int) -> int:
    return x


class Road:
    """Something behind an edge with so much room."""

    def __init__(self, edge: Edge | None, room: int = 9) -> None:
        self.edge = edge
        self._room = room

    def room(self) -> int:
        """Say how many items can be sent."""
        return self._room

    def freedom(self) -> tuple[bool, int]:
        """Say how free the node behind is."""
        return self._room > 0, self._room

    def refuses(self, payload: Any) -> bool:
        """Say whether a payload would find no room, and may not wait."""
        return self._room <= 0


class Run:
    """A run that writes down why it failed."""

    id = "r1"

    def __init__(self) -> None:
        self.errors: list[BaseException] = []

    def fail(self, error: BaseException) -> None:
        """Write it down."""
        self.errors.append(error)


def site_of(flow: Flow, name: str) -> Site:
    """Give a node at its place in a flow."""
    return next(site for site in flow.plan.sites if site.name == name)


def chosen(flow: Flow, name: str, payload: Any, rooms: list[int] | None = None) -> list[str]:
    """Give the names of the successors that a payload goes to; nothing may fail."""
    site = site_of(flow, name)
    run = Run()
    roads = [Road(out, room) for out, room in zip(site.outs, rooms or [9] * len(site.outs), strict=True)]
    indices = choose(run, site, roads, payload)
    assert run.errors == []
    return [site.outs[index].target.name for index in indices]


def test_a_union_is_routed_by_type() -> None:
    """Each value goes to the successors that accept it, and to no other."""
    flow = Flow("types", gives >> [numbers, texts])
    assert [chosen(flow, "gives", value) for value in (1, "x", 0, "")] == [
        ["numbers"],
        ["texts"],
        ["numbers"],
        ["texts"],
    ]


def test_a_single_type_goes_to_all() -> None:
    """In declared order (rule 4.1)."""
    flow = Flow("all", start >> [numbers, more])
    assert chosen(flow, "start", 1) == ["numbers", "more"]
    assert chosen(Flow("turned", start >> [more, numbers]), "start", 1) == ["more", "numbers"]


def test_a_condition_that_nobody_meets_is_a_filter() -> None:
    """Conditions are looked at edge by edge; none met is no error."""
    flow = Flow(
        "when",
        start >> edge(when=lambda x: x > 5) >> numbers,
        start >> edge(when=lambda x: x % 2 == 0) >> more,
    )
    assert [chosen(flow, "start", x) for x in (8, 7, 2, 3)] == [
        ["numbers", "more"],
        ["numbers"],
        ["more"],
        [],
    ]


def test_the_same_key_goes_the_same_way() -> None:
    """A key has one branch, and it is always the same; every branch is somebody's."""
    flow = Flow("keys", start >> edge(partition=lambda x: x % 10) >> [numbers, more])
    ways = {x: chosen(flow, "start", x) for x in range(50)}
    assert all(ways[x] == ways[x % 10] for x in range(50))
    assert {name for way in ways.values() for name in way} == {"numbers", "more"}
    assert {len(way) for way in ways.values()} == {1}


def test_whoever_is_free_gets_it() -> None:
    """The branch with the most room, the first of them where several have as much."""
    flow = Flow("free", start >> edge(balance=True) >> [numbers, more])
    rooms = ([1, 0], [0, 1], [1, 1], [0, 0], [2, 5])
    assert [chosen(flow, "start", 1, room) for room in rooms] == [
        ["numbers"],
        ["more"],
        ["numbers"],
        ["numbers"],
        ["more"],
    ]


def test_one_of_a_group_and_all_others() -> None:
    """A fan-out by load beside a plain edge: one of the group, and the plain one, in declared order."""
    flow = Flow("mixed", start >> edge(balance=True) >> [numbers, more], start >> gives)
    assert chosen(flow, "start", 1, [0, 1, 9]) == ["more", "gives"]


def test_a_condition_that_raises_fails_the_run() -> None:
    """With one `StepError` that names the node, and the user's exception as its cause; nothing is sent."""

    def broken(x: int) -> bool:
        raise KeyError("missing")

    flow = Flow("broken", start >> edge(when=broken) >> numbers)
    site, run = site_of(flow, "start"), Run()
    assert choose(run, site, [Road(site.outs[0])], 1) == []
    (error,) = run.errors
    assert isinstance(error, StepError)
    assert isinstance(error.__cause__, KeyError)
    assert (error.run_id, error.node) == ("r1", "start")
    assert str(error) == (
        "run r1: a condition, key or type check on an edge out of start raised KeyError('missing')"
    )


def test_a_key_that_is_none_fails_the_run() -> None:
    """A key must be hashable; what is not is the author's error, told in the run."""
    flow = Flow("keys", start >> edge(partition=lambda x: [x]) >> [numbers, more])
    site, run = site_of(flow, "start"), Run()
    assert choose(run, site, [Road(out) for out in site.outs], 1) == []
    assert [type(error.__cause__) for error in run.errors] == [TypeError]


def test_the_reader_of_a_run_takes_all() -> None:
    """Behind an exit there is no edge, and no condition."""
    assert wanted(None, object())
    run = Run()
    site = site_of(Flow("exit", start), "start")
    assert choose(run, site, [Road(None)], None) == [0]


def test_what_nobody_accepts_is_named() -> None:
    """The text says what it was and who takes what; one taker, or no successors at all, is enough."""
    outs = site_of(Flow("types", gives >> [numbers, texts]), "gives").outs
    assert unaccepted(outs, 2.5) == (
        "no successor of gives accepts a float: numbers takes int, texts takes str"
    )
    assert [unaccepted(outs, value) for value in (1, "x")] == [None, None]
    assert unaccepted((), object()) is None


def test_a_full_edge_that_lets_nobody_wait() -> None:
    """The error names the edge, its capacity, the run, and who is too slow."""
    flow = Flow("full", start >> edge(capacity=3, overflow="fail") >> numbers)
    error = full(site_of(flow, "start").outs[0], "r1")
    assert isinstance(error, CreditError)
    assert str(error) == (
        "edge start→numbers is full (capacity 3, overflow='fail'); "
        "run r1 can't send faster than numbers reads"
    )


@pytest.mark.parametrize("payload", [None, 0, "", b"", False])
def test_conditions_see_what_is_empty(payload: Any) -> None:
    """No value is a sentinel: conditions decide about empty ones as about others (rule 1.7)."""

    @node
    async def opens(x):  # type: ignore[no-untyped-def]
        return x

    @node
    async def takes(x):  # type: ignore[no-untyped-def]
        return x

    flow = Flow("empty", opens >> edge(when=lambda x: not x) >> takes)
    assert chosen(flow, "opens", payload) == ["takes"]


def test_keys_part_alike_in_every_process() -> None:
    """A run that is taken up by another process is parted as before: hashes of text are not used."""
    script = (
        "from penguiflow.routing import stable_hash; print([stable_hash(k) for k in "
        "('a', b'b', 3, None, True, ('x', 1, ('y', None)))])"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1
    assert stable_hash(1) == stable_hash(1.0) == stable_hash(True)
