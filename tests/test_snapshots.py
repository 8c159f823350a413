"""What a runtime says of the flows that its steps call: each where it is called, nothing counted twice."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest
from plain_nodes import count, hop, total

from penguiflow import Context, Flow, StepError, node
from penguiflow.runtime import Runtime

pytestmark = [pytest.mark.anyio, pytest.mark.limit(10)]

fetch = Flow("fetch", hop)
search = Flow("search", count >> hop >> total)


class Measures:
    """Wants measures, and nothing else."""

    measures = True

    def follows(self, run: object) -> bool:
        return False

    def observe(self, event: object) -> None:
        pass


@node
async def asks(n: int, ctx: Context) -> int:
    """Search twice, and fetch once."""
    return int(await ctx.call(search, n)) + int(await ctx.call(search, n)) + int(await ctx.call(fetch, n))


@node
async def asks_again(n: int, ctx: Context) -> int:
    """Search once."""
    return int(await ctx.call(search, 3))


@node
async def deep(n: int, ctx: Context) -> int:
    """Call a flow that calls."""
    return int(await ctx.call(Flow("middle", asks_again), n))


def steps(runtime: Runtime) -> dict[tuple[str, ...], dict[str, int]]:
    """Give for each called flow how many steps its nodes have begun."""
    return {one.path: {each.path: each.steps for each in one.statistics().nodes} for one in runtime.called()}


async def test_called_flows_have_statistics_of_their_own() -> None:
    """What several steps and nodes call is one; its runs are the calls; the outer flow keeps its own."""
    async with Flow("f", asks >> asks_again).open() as runtime:
        assert runtime.called() == ()
        assert await runtime.call(4) == 3
        assert steps(runtime) == {
            ("f", "search"): {"count": 3, "hop": 4 + 4 + 3, "total": 3},
            ("f", "fetch"): {"hop": 1},
        }
        outer = runtime.statistics()
        assert (outer.flow, outer.started, outer.done) == ("f", 1, 1)
        assert [(one.path, one.steps) for one in outer.nodes] == [("asks", 1), ("asks_again", 1)]
        found = [one.statistics() for one in runtime.called()]
        assert [(one.flow, one.started, one.done, one.failed) for one in found] == [
            ("search", 3, 3, 0),
            ("fetch", 1, 1, 0),
        ]
        edges = {(edge.source, edge.target): edge.delivered for edge in found[0].edges}
        assert edges == {("input", "count"): 3, ("count", "hop"): 11, ("hop", "total"): 11}
        assert [one.measures() for one in runtime.called()] == [None, None]


async def test_what_called_flows_call_follows_them() -> None:
    """With the way that leads there; the same flow called from elsewhere is another one."""
    async with Flow("f", [deep, asks]).open() as runtime:
        async with runtime.run(2) as run:
            assert sorted([item.payload async for item in run]) == [3, 4]
        ways = [one.path for one in runtime.called()]
        assert sorted(ways) == [
            ("f", "fetch"),
            ("f", "middle"),
            ("f", "middle", "search"),
            ("f", "search"),
        ]
        assert ways[ways.index(("f", "middle")) + 1] == ("f", "middle", "search")
        assert len(set(runtime.called())) == 4
        assert set(runtime.called()) == set(runtime.called())
        (inner,) = [one for one in runtime.called() if one.path == ("f", "middle", "search")]
        assert inner.statistics().started == 1
        assert repr(inner) == "<called flow f → middle → search>"


async def test_a_flow_that_calls_itself() -> None:
    """Each level is one; together they have all the calls."""

    @node
    async def falls(n: int, ctx: Context) -> int:
        return int(await ctx.call(itself, n - 1)) if n else 7

    itself = Flow("itself", falls)
    async with itself.open() as runtime:
        assert await runtime.call(3) == 7
        assert [one.path for one in runtime.called()] == [("itself",) * depth for depth in (2, 3, 4)]
        assert [one.statistics().started for one in runtime.called()] == [1, 1, 1]


async def test_what_the_flows_of_a_runtime_share_is_counted_once() -> None:
    """Tasks, observers that failed; while calls are under way, their runs, steps and streams are theirs."""
    gate = anyio.Event()

    class Fails:
        def observe(self, event: object) -> None:
            raise RuntimeError

    @node
    async def holds(n: int) -> AsyncIterator[int]:
        yield n
        await gate.wait()

    inner = Flow("inner", holds)

    @node
    async def waits(n: int, ctx: Context) -> int:
        await ctx.call(inner, n)
        return n

    async with Flow("f", waits).open(observers=[Fails()]) as runtime:
        run = await runtime.start(1)
        await anyio.wait_all_tasks_blocked()
        (called,) = runtime.called()
        outer, found = runtime.statistics(), called.statistics()
        assert (outer.runs, outer.streams, outer.observer_errors) == (1, 0, 1)
        assert (found.runs, found.streams, found.observer_errors, found.workers) == (1, 1, 0, 0)
        assert outer.workers > 0
        assert [(one.node, one.run_id) for one in called.streams()] == [("holds", run.id)]
        assert runtime.streams() == ()
        assert [node.active for node in found.nodes] == [1]
        gate.set()
        assert await run.result() == 1
        found = called.statistics()
        assert (found.runs, found.streams, found.credit_out, found.places_taken, found.done) == (
            0,
            0,
            0,
            0,
            1,
        )


async def test_calls_that_fail_are_counted_where_they_fail() -> None:
    @node
    async def breaks(n: int) -> int:
        raise ValueError(n)

    @node
    async def tries(n: int, ctx: Context) -> int:
        try:
            return int(await ctx.call(breaks, n))
        except StepError:
            return 0

    async with Flow("f", tries).open() as runtime:
        assert await runtime.call(1) == 0
        (called,) = runtime.called()
        assert (called.path, called.statistics().failed) == (("f", "breaks"), 1)
        assert [one.failures for one in called.statistics().nodes] == [1]
        assert (runtime.statistics().failed, runtime.statistics().nodes[0].failures) == (0, 0)


async def test_called_flows_are_measured_where_measures_are_wanted() -> None:
    """Under their own names, each with its runs."""
    async with Flow("f", asks).open(observers=[Measures()]) as runtime:
        await runtime.call(4)
        found = {one.path: one.measures() for one in runtime.called()}
        measures = found["f", "search"]
        assert measures is not None
        assert (measures.flow, measures.seconds.count) == ("search", 2)
        assert {one.path: one.latency.count for one in measures.nodes} == {"count": 2, "hop": 8, "total": 2}
        outer = runtime.measures()
        assert outer is not None
        assert (outer.flow, outer.seconds.count, [one.path for one in outer.nodes]) == ("f", 1, ["asks"])
