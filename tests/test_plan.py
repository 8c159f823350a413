"""A plan says where everything goes; what can't be carried out is said when it is built, with the names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Literal

import pytest

from penguiflow.checks import MOST_IN_A_ROW
from penguiflow.errors import GraphError, StepError, StepTimeout
from penguiflow.items import Chunk, ContextMarker, Gathered, Message, Spread, StreamMarker
from penguiflow.node import Node, Takes, node, source
from penguiflow.plan import GATHER, Edge, Plan, Site, build_plan
from penguiflow.wiring import Wirable, edge


class Nested(Wirable):
    """A flow as wiring sees it."""

    def __init__(self, name: str, *wires: Any) -> None:
        self.name = name
        self.wires = wires
        self.plan = build_plan(name, wires)


def item(name: str, **options: Any) -> Node[..., Any]:
    """Make a node that takes and gives anything, one by one."""

    async def anything(x): ...

    return node(anything, name=name, **options)


def typed(name: str, takes: Any, gives: Any, **options: Any) -> Node[..., Any]:
    """Make a node of given types."""

    async def fn(x): ...

    fn.__annotations__ = {"x": takes, "return": gives}
    return node(fn, name=name, **options)


def streaming(name: str, takes: Any = Any, gives: Any = Any) -> Node[..., Any]:
    """Make a node that yields."""

    async def fn(x):
        yield x

    fn.__annotations__ = {"x": takes, "return": AsyncIterator[gives]}
    return node(fn, name=name)


def join(name: str, *parameters: str, takes: Any = Any, gives: Any = Any) -> Node[..., Any]:
    """Make a join of nodes."""
    space: dict[str, Any] = {}
    exec(f"async def {name}({', '.join(parameters)}): ...", space)
    space[name].__annotations__ = dict.fromkeys(parameters, takes) | {"return": gives}
    return node(space[name])


def clock(name: str = "clock") -> Node[..., Any]:
    """Make a source of numbers."""

    async def ticks() -> AsyncIterator[int]:
        yield 1

    return source(ticks, name=name)


def plan_of(*wires: Any) -> Plan:
    return build_plan("flow", wires)


def at(plan: Plan, key: str) -> Site:
    return next(site for site in plan.sites if site.key == key)


def between(plan: Plan, name: str) -> Edge:
    return next(edge for edge in plan.edges if edge.name == name)


def keys(sites: Any) -> str:
    return " ".join(site.key for site in sites)


def ways(plan: Plan) -> list[str]:
    return [edge.name for edge in plan.edges]


def places(plan: Plan, edge: Edge) -> set[str]:
    return {f"{plan.sites[site].key}.{slot}" for site, slot in edge.reach}


# -- shape


def test_sites_are_in_order_and_numbered() -> None:
    """Behind each site come those that its forward edges lead to; numbers are places."""
    a, b, c, d = map(item, "abcd")
    plan = plan_of(c >> d, a >> [b, c], b >> edge(feedback=True) >> a)
    assert keys(plan.sites) == "input a c d b"
    assert [site.index for site in plan.sites] == [0, 1, 2, 3, 4]
    assert [one.index for one in plan.edges] == [0, 1, 2, 3, 4]
    assert ways(plan) == ["input→a", "c→d", "a→b", "a→c", "b→a"]
    assert (keys(plan.entries), keys(plan.exits), plan.has_tokens) == ("a", "d", False)
    assert repr(plan) == "<plan flow: 4 nodes, 5 edges>"


def test_edges_are_in_declared_order() -> None:
    """Branches are served in declared order (rule 4.1)."""
    a, b, c, d = map(item, "abcd")
    plan = plan_of(a >> c, a >> edge(feedback=True) >> a, a >> [d, b], a >> edge(on_error=True) >> item("e"))
    assert [one.name for one in at(plan, "a").outs] == ["a→c", "a→a", "a→d", "a→b"]
    assert [one.name for one in at(plan, "a").error_outs] == ["a→e"]
    assert [one.name for one in at(plan, "a").ins] == ["a→a", "input→a"]


def test_wires_that_share_nodes_are_one_graph() -> None:
    """The same node is the same site; what is said twice is there once."""
    a, b, c = map(item, "abc")
    wire = a >> b
    assert ways(plan_of(wire >> c, wire, a >> b >> c)) == ["input→a", "a→b", "b→c"]
    assert ways(plan_of([a, b], c)) == ["input→a", "input→b", "input→c"]


def plain(x: int) -> int:
    return x


def test_plain_functions_become_nodes() -> None:
    """A function is the same node wherever it stands; so is a bound method."""
    a, b = map(item, "ab")
    plan = plan_of(a >> plain, plain >> b)
    assert ways(plan) == ["input→a", "a→plain", "plain→b"]
    assert keys(plan_of(plain).sites) == "input plain"

    class Thing:
        async def work(self, x: int) -> int: ...

    thing = Thing()
    assert ways(plan_of(a >> thing.work, thing.work >> b)) == ["input→a", "a→work", "work→b"]


def test_entries_and_exits() -> None:
    """Only forward edges make a node no entry, only failures leave it an exit."""
    a, b, c = item("a"), item("b"), item("c")
    looped = plan_of(a >> b, b >> edge(feedback=True) >> a)
    assert (keys(looped.entries), keys(looped.exits)) == ("a", "")
    caught = plan_of(a >> edge(on_error=True) >> c)
    assert (keys(caught.entries), keys(caught.exits)) == ("a", "a c")
    itself = plan_of(a >> edge(on_error=True, feedback=True) >> a)
    assert (keys(itself.entries), keys(itself.exits)) == ("a", "a")
    ticking = plan_of(clock() >> a, b)
    assert (keys(ticking.sources), keys(ticking.entries), keys(ticking.exits)) == ("clock", "b", "a b")


def test_what_runs_on_the_edge() -> None:
    """A plain def needs no place of its own, unless something has to wait in front of it."""
    a, f = item("a"), node(lambda x: x, name="f")
    threaded = node(plain, thread=True)
    assert at(plan_of(a >> f), "f").is_inline
    assert not at(plan_of(a >> edge(overflow="drop_oldest") >> f), "f").is_inline
    assert not at(plan_of(a >> threaded), "plain").is_inline
    assert not at(plan_of(f >> a, a >> edge(feedback=True) >> f), "f").is_inline
    assert not at(plan_of(a), "a").is_inline


def test_nested_flows_are_flattened() -> None:
    """Entries take what comes in, exits give what goes out; paths tell where a site is."""
    a, b, c, d = map(item, "abcd")
    inner = Nested("inner", b >> c)
    outer = Nested("outer", a >> inner)
    plan = plan_of(d >> outer >> item("b"))
    assert keys(plan.sites) == "input d outer/a outer/inner/b outer/inner/c b"
    assert ways(plan)[1:] == [
        "outer/inner/b→outer/inner/c",
        "outer/a→outer/inner/b",
        "d→outer/a",
        "outer/inner/c→b",
    ]
    assert (keys(plan.entries), keys(plan.exits)) == ("d", "b")
    assert at(plan, "outer/a").path == ("outer", "a")


def test_the_same_node_in_two_flows_is_two_sites() -> None:
    """A node has no state: it may stand in a flow and in another within it."""
    a = item("a")
    assert keys(plan_of(a >> Nested("inner", a)).sites) == "input a inner/a"


def test_a_flow_shared_by_wires_is_one_part() -> None:
    """As with nodes, the same flow is the same part."""
    a, b, c = map(item, "abc")
    inner = Nested("inner", a)
    assert keys(plan_of(b >> inner, inner >> c).sites) == "input b inner/a c"


def test_failures_of_a_nested_flow_leave_it_from_everywhere() -> None:
    """An error edge behind a flow takes what nobody inside takes."""
    a, b, c, d = map(item, "abcd")
    inner = Nested("inner", a >> b, b >> edge(on_error=True) >> c)
    plan = plan_of(inner >> edge(on_error=True) >> [d, item("e")])
    assert [one.name for one in plan.edges if one.policy.on_error] == [
        "inner/b→inner/c",
        "inner/a→d",
        "inner/c→d",
        "inner/a→e",
        "inner/c→e",
    ]


def test_fan_outs_by_key_or_balance_are_groups() -> None:
    """All branches of one fan-out know each other, in order; each source has its own group."""
    a, b, c, d = map(item, "abcd")
    plan = plan_of([a, b] >> edge(partition=len) >> [c, d])
    groups = [one.group for one in at(plan, "a").outs]
    assert groups[0] is groups[1]
    assert groups[0] is not at(plan, "b").outs[0].group
    assert (groups[0].kind, groups[0].key, [one.name for one in groups[0].edges]) == (
        "partition",
        len,
        ["a→c", "a→d"],
    )
    assert between(plan_of(a >> edge(balance=True) >> b), "a→b").group.kind == "balance"


# -- types


def test_what_is_proven_is_not_checked() -> None:
    """Only what is not certain when the flow is built is left to the run."""
    plan = plan_of(typed("a", str, int) >> [typed("b", int, int), item("c")])
    assert [one.accepts for one in at(plan, "a").outs] == [None, None]
    door = between(plan, "input→a")
    assert (door.routed, door.expected, door.accepts("x"), door.accepts(1)) == (True, "str", True, False)


def test_unions_are_routed() -> None:
    """Each value goes to the successors that accept it."""
    plan = plan_of(
        typed("a", str, int | str | None) >> [typed("b", int, int), typed("c", str, int), item("d")]
    )
    b, c, d = at(plan, "a").outs
    assert [
        (one.routed, one.accepts and one.accepts(1), one.accepts and one.accepts("")) for one in (b, c, d)
    ] == [
        (True, True, False),
        (True, False, True),
        (False, None, None),
    ]


def test_what_is_emitted_is_checked() -> None:
    """The context can emit anything: `accepts` is there for it, and `proven` says that returns need none."""

    async def emitting(x: int, ctx: ContextMarker) -> int: ...

    one = between(plan_of(node(emitting) >> typed("b", int, int)), "emitting→b")
    assert (one.proven, one.accepts(1), one.accepts("")) == (True, True, False)


def test_types_inside_envelopes() -> None:
    """What is compared is the payload: of a stream each, of a spread its parts."""
    parts = typed("parts", str, Spread[int])
    plan = plan_of(
        streaming("a", str, str)
        >> typed("b", StreamMarker[str], str)
        >> parts
        >> typed("c", Message[int], int)
        >> typed("d", Gathered[int], int)
    )
    assert [one.accepts for one in plan.edges[1:]] == [None] * 4
    assert [one.expected for one in plan.edges[1:]] == ["Stream[str]", "str", "Message[int]", "Gathered[int]"]


def test_failures_are_routed_by_type() -> None:
    """A handler of timeouts only takes these."""
    a = item("a")
    plan = plan_of(a >> edge(on_error=True) >> [typed("b", StepError, int), typed("c", StepTimeout, int)])
    everything, timeouts = at(plan, "a").error_outs
    assert everything.accepts is None
    assert (timeouts.accepts(StepError("")), timeouts.accepts(StepTimeout(""))) == (False, True)


def test_literals_are_routed() -> None:
    """Each value of a literal goes where it is taken."""
    plan = plan_of(
        typed("a", str, Literal["x", "y"])
        >> [typed("b", Literal["x"], int), typed("c", Literal["y"], int), typed("d", str, int)]
    )
    b, c, d = at(plan, "a").outs
    assert [(one.routed, one.accepts and one.accepts("x")) for one in (b, c, d)] == [
        (True, True),
        (True, False),
        (False, None),
    ]


TYPE_ERRORS = [
    (
        (lambda: typed("a", str, Literal["x", "y"]) >> typed("b", Literal["x"], int)),
        r"a can give Literal\['y'\], and nobody",
    ),
    ((lambda: typed("a", str, int) >> typed("b", str, int)), "a→b: a gives int, but b takes str"),
    ((lambda: typed("a", str, list[int]) >> typed("b", list[str], int)), r"a gives list\[int\], but b takes"),
    (
        (lambda: typed("a", str, int | str) >> typed("b", int, int)),
        "a can give str, and nobody behind it takes that",
    ),
    (
        (lambda: typed("a", str, int | str) >> [typed("b", int, int), typed("c", bytes, int)]),
        "a→c: a gives int | str, but c takes bytes",
    ),
    ((lambda: typed("a", str, int) >> [typed("b", int, int), typed("c", str, int)]), "a→c"),
    ((lambda: typed("a", str, Spread[int]) >> typed("b", str, int)), "a gives int, but b takes str"),
    ((lambda: streaming("a", str, str | None) >> typed("b", str, int)), "a can give None"),
    ((lambda: streaming("a", str, int) >> typed("b", StreamMarker[str], int)), r"b takes Stream\[str\]"),
    (
        (lambda: item("a") >> edge(on_error=True) >> typed("b", int, int)),
        "carries a StepError, but b takes int",
    ),
    ((lambda: item("a") >> edge(on_error=True) >> typed("b", StreamMarker[Any], int)), "carries a StepError"),
    (
        (
            lambda: (
                typed("a", str, int | str)
                >> edge(balance=True)
                >> [typed("b", int | str, int), typed("c", int, int)]
            )
        ),
        "branches of its balance must take the same.* only one takes str",
    ),
    ((lambda: typed("a", str, int) >> edge(feedback=True) >> typed("b", str, int)), "a→b"),
]


@pytest.mark.parametrize(("build", "text"), TYPE_ERRORS)
def test_types_that_do_not_fit(build: Any, text: str) -> None:
    """A value that nobody accepts is an error when the flow is built, where it can be known."""
    with pytest.raises(GraphError, match=text):
        plan_of(build())


# -- streams


def test_who_hears_streams() -> None:
    """Streams go as far as nodes work chunk by chunk."""
    a, b, c = typed("a", Message[str], str), streaming("b", str, str), typed("c", str, str)
    d, e = typed("d", StreamMarker[str], str), typed("e", str, str)
    plan = plan_of(a >> b >> c >> d >> e)
    assert [(site.key, site.hears_streams, site.hears_messages) for site in plan.sites[1:]] == [
        ("a", True, True),
        ("b", False, True),
        ("c", True, False),
        ("d", True, False),
        ("e", False, True),
    ]


def test_only_messages_go_back() -> None:
    """A stream that could reach a feedback edge is an error (rule 2.7); a folded one is not."""
    a, b, c = item("a"), streaming("b"), typed("c", StreamMarker[Any], Any)
    with pytest.raises(GraphError, match=r"d→a: .*rule 2\.7.*d gives a stream"):
        plan_of(a >> b >> item("d") >> edge(feedback=True) >> a)
    assert plan_of(a >> b >> c >> edge(feedback=True) >> a)


STREAM_ERRORS = [
    (
        (lambda: streaming("a") >> typed("b", Message[str], str)),
        r"b takes Message\[str\] behind a stream; take Chunk, str",
    ),
    (
        (lambda: streaming("a") >> item("b") >> typed("c", Message, str)),
        r"c takes Message\[Any\] behind a stream",
    ),
    ((lambda: clock() >> typed("b", Message, str)), "behind a stream"),
    (
        (lambda: typed("a", Message, str) >> typed("b", Chunk[str], str)),
        r"b takes Chunk\[str\], but only messages",
    ),
    ((lambda: typed("a", Message, str) >> typed("b", StreamMarker[str], str)), "only messages come from a"),
    ((lambda: item("a") >> clock()), "clock is a source and takes nothing"),
]


@pytest.mark.parametrize(("build", "text"), STREAM_ERRORS)
def test_envelopes_that_never_come(build: Any, text: str) -> None:
    """What can only be wrong is said when the flow is built (design, section 12)."""
    with pytest.raises(GraphError, match=text):
        plan_of(build())


def test_what_may_come_is_no_error() -> None:
    """A run may be given a stream, and a context may emit one."""

    async def emitting(x: Message[int], ctx: ContextMarker) -> int: ...

    assert plan_of(typed("a", Chunk[str], str))
    assert plan_of(item("a") >> typed("b", Chunk[str], str))
    assert plan_of(node(emitting) >> typed("b", StreamMarker[int], str))


# -- joins


def test_a_join_pairs_what_descends_from_its_nearest_common_ancestor() -> None:
    """The dominator is the last site that all ways pass; feedback and error edges are ways, too."""
    a, b, c, d = map(item, "abcd")
    j = join("j", "b", "c")
    assert at(plan_of(d >> a >> [b, c] >> j), "j").join.dominator.key == "a"
    assert at(plan_of([b, c] >> j), "j").join.dominator.key == "input"
    assert at(plan_of(b >> c >> j, b >> j), "j").join.dominator.key == "b"
    assert (
        at(plan_of(d >> a >> [b, c] >> j, d >> item("e") >> edge(feedback=True) >> b), "j").join.dominator.key
        == "d"
    )
    caught = plan_of(a >> b >> j, b >> edge(on_error=True) >> c >> j)
    assert at(caught, "j").join.dominator.key == "b"


def test_slots_are_fed_by_name() -> None:
    """A parameter is fed by the predecessor of its name, a nested flow by its own."""
    a, b = item("a"), item("b")
    inner = Nested("inner", [item("x"), item("y")])
    plan = plan_of(a >> [b, inner] >> join("j", "inner", "b", takes=int))
    assert {one.name: (one.slot, one.expected) for one in at(plan, "j").ins} == {
        "b→j": (1, "int"),
        "inner/x→j": (0, "int"),
        "inner/y→j": (0, "int"),
    }


def test_joins_of_one_site_are_outermost_first() -> None:
    """What another one's output can reach comes before that."""
    a, b, c, d = map(item, "abcd")
    inner, outer = join("inner", "b", "c"), join("outer", "inner", "d")
    plan = plan_of(a >> [b, c, d], [b, c] >> inner, [inner, d] >> outer)
    assert [one.site.key for one in at(plan, "a").joins] == ["outer", "inner"]
    assert places(plan, between(plan, "a→b")) == {"inner.0", "outer.0"}
    assert places(plan, between(plan, "a→d")) == {"outer.1"}
    assert places(plan, between(plan, "inner→outer")) == {"outer.0"}
    assert places(plan, between(plan, "input→a")) == set()


def test_reach_ends_where_another_pairing_begins() -> None:
    """Who goes back through the dominator, or through the join, is not waited for."""
    a, b, c = map(item, "abc")
    j = join("j", "b", "c")
    plan = plan_of(a >> [b, c] >> j, b >> edge(feedback=True) >> a, j >> edge(feedback=True) >> c)
    assert places(plan, between(plan, "a→b")) == {"j.0"}
    assert places(plan, between(plan, "b→a")) == set()
    assert places(plan, between(plan, "b→j")) == {"j.0"}
    assert places(plan, between(plan, "j→c")) == {"j.1"}


def test_reach_counts_feedback_and_errors() -> None:
    """All that can still come counts."""
    a, b, c, d = map(item, "abcd")
    plan = plan_of(
        a >> [b, d] >> join("j", "b", "d"), d >> edge(feedback=True) >> c >> b, b >> edge(on_error=True) >> d
    )
    assert places(plan, between(plan, "d→c")) == {"j.0", "j.1"}
    assert places(plan, between(plan, "b→d")) == {"j.0", "j.1"}


def by_chunk(*wires: Any) -> bool:
    return at(plan_of(*wires), "j").join.by_chunk


def test_joins_by_chunk() -> None:
    """Where the ancestor gives a stream, and all works chunk by chunk, chunks are paired (rule 4.2)."""
    a, b, c, s = item("a"), item("b"), item("c"), streaming("s")
    j = join("j", "b", "c")
    assert by_chunk(s >> [b, c] >> j)
    assert by_chunk(a >> [b, c] >> j)  # a run may be given a stream
    assert not by_chunk(typed("a", Message, Any) >> [b, c] >> j)
    assert not by_chunk(s >> [typed("b", StreamMarker[Any], Any), c] >> j)
    assert not by_chunk(s >> [b, c] >> join("j", "b", "c", takes=StreamMarker[Any]))
    assert by_chunk(s >> [b, item("d") >> c] >> j)
    assert not by_chunk(s >> [b, typed("d", StreamMarker[Any], Any) >> streaming("c")] >> j)
    assert by_chunk(clock() >> [b, c] >> j)


def test_joins_by_chunk_are_nested() -> None:
    """A join that pairs chunk by chunk works chunk by chunk; one that does not, does not."""
    s, b, c, d = streaming("s"), item("b"), item("c"), item("d")
    inner = join("inner", "b", "c")
    assert by_chunk(s >> [b, c, d], [b, c] >> inner, [inner, d] >> join("j", "inner", "d"))
    whole = typed("b", StreamMarker[Any], Any)
    assert not by_chunk(s >> [whole, c, d], [whole, c] >> inner, [inner, d] >> join("j", "inner", "d"))


def test_a_join_by_chunk_gives_a_stream() -> None:
    """What is behind it hears a stream."""
    b, c = typed("b", str, str), typed("c", str, str)
    plan = plan_of(streaming("s", str, str) >> [b, c] >> join("j", "b", "c", gives=str) >> item("z"))
    assert (at(plan, "z").hears_streams, at(plan, "z").hears_messages) == (True, False)
    whole = plan_of(typed("a", Message, str) >> [item("b"), item("c")] >> join("j", "b", "c") >> item("z"))
    assert (at(whole, "z").hears_streams, at(whole, "z").hears_messages) == (False, True)


JOIN_ERRORS = [
    (
        (lambda: [item("a") >> [item("b"), item("c")] >> join("j", "b", "d")]),
        "c comes before it, but no parameter",
    ),
    ((lambda: [item("a") >> item("b") >> join("j", "b", "d", "e")]), "nothing named d, e comes before it"),
    ((lambda: [join("j", "a", "b")]), r"join j: nothing comes before it; each of its parameters \(a, b\)"),
    (
        (lambda: [clock("a") >> join("j", "a", "b"), item("b") >> join("j", "a", "b")]),
        "two parts are named 'j'",
    ),
]


@pytest.mark.parametrize(("build", "text"), JOIN_ERRORS)
def test_joins_that_can_not_be_fed(build: Any, text: str) -> None:
    """Every parameter needs the predecessor of its name, and the other way round."""
    with pytest.raises(GraphError, match=text):
        plan_of(*build())


def test_a_join_needs_a_common_ancestor() -> None:
    """Each source is a run of its own: what they give can't be paired."""
    j = join("j", "b", "c")
    with pytest.raises(GraphError, match="join j: what comes to b, c descends from no common item"):
        plan_of([clock() >> item("b"), item("c")] >> j)


def test_what_may_not_feed_a_join() -> None:
    """Failures and loops end before a join."""
    a, b, c, j = item("a"), item("b"), item("c"), join("j", "b", "c")
    with pytest.raises(GraphError, match="failures of b can't feed a join"):
        plan_of(a >> [b, c] >> j, b >> edge(on_error=True) >> j)
    with pytest.raises(GraphError, match="the feedback edge from b can't feed a join"):
        plan_of(a >> [b, c] >> j, b >> edge(feedback=True) >> j)


def test_rule_1_6_unordered_nodes_do_not_feed_joins_by_chunk() -> None:
    """Pairing needs the order of chunks."""
    b, c, j = item("b", ordered=False), item("c"), join("j", "b", "c")
    with pytest.raises(GraphError, match=r"b is ordered=False, and feeds the join j.*rule 1\.6"):
        plan_of(streaming("s") >> [b, c] >> j)
    assert plan_of(typed("a", Message, Any) >> [b, c] >> j)
    assert plan_of(b >> streaming("s") >> [item("d"), c] >> join("j", "d", "c"))


# -- gathers


def gathers(plan: Plan) -> dict[str, str]:
    return {site.key: keys(site.gathers) for site in plan.sites if site.gathers}


def test_a_spread_is_closed_by_its_gather() -> None:
    """Parts are gathered by the first gather behind, on every way."""
    s, w, g = typed("s", str, Spread[str]), typed("w", str, str), typed("g", Gathered[str], str)
    plan = plan_of(s >> w >> g)
    assert gathers(plan) == {"s": "g"}
    assert plan.has_tokens
    assert places(plan, between(plan, "w→g")) == {f"g.{GATHER}"}
    h = typed("h", Gathered[str], str)
    assert gathers(plan_of(s >> w >> [g, h])) == {"s": "g h"}


def test_spreads_nest() -> None:
    """Each spread has the gather that balances it."""
    s, t = typed("s", str, Spread[str]), typed("t", str, Spread[str])
    g, h = typed("g", Gathered[str], str), typed("h", Gathered[str], str)
    assert gathers(plan_of(s >> t >> typed("w", str, str) >> g >> h)) == {"s": "h", "t": "g"}
    assert gathers(plan_of(s >> g >> t >> h)) == {"s": "g", "t": "h"}


def test_untold_spreads_are_seen_in_the_code() -> None:
    """A node that does not say what it gives is matched by whether its code names Spread."""

    async def s(x):
        return Spread([x])

    async def t(x):
        return Spread([x])

    g, h = typed("g", Gathered[str], str), typed("h", Gathered[str], str)
    found = gathers(plan_of(node(s) >> node(t) >> item("w") >> g >> h))
    assert (found["s"], found["t"]) == ("h", "g")


def test_a_gather_needs_a_spread() -> None:
    """Where it is certain that no spread is open, it is an error; where it is not known, it is none."""
    a, g, h = typed("a", str, str), typed("g", Gathered[str], str), typed("h", Gathered[str], str)
    with pytest.raises(GraphError, match=r"g takes Gathered\[str\], but nothing before it returns a Spread"):
        plan_of(a >> g)
    with pytest.raises(GraphError, match="h takes Gathered"):
        plan_of(typed("s", str, Spread[str]) >> g >> h)
    assert plan_of(item("a") >> g)


# -- wrong graphs


def empty() -> Any:
    return []


GRAPH_ERRORS = [
    (empty, "flow 'flow': there is nothing to enter by, it is empty"),
    (
        lambda: [item("a"), item("a")],
        r"flow 'flow': two parts are named 'a'; rename one with node\(fn, name=…\)",
    ),
    (
        lambda: [Nested("a", item("x")), item("a")],
        "two parts are named 'a'",
    ),
    (
        lambda: [item("b") >> Nested("x", item("x")), Nested("x", item("x"))],
        r"rename one with flow.named\(…\)",
    ),
    (
        lambda: [(a := item("a")) >> (b := item("b")) >> a, b >> item("c")],
        "a → b → a is a cycle; close it with edge",
    ),
    (lambda: [(a := item("a")) >> a], "a → a is a cycle"),
    (
        lambda: [item("x") >> (a := item("a")) >> edge(on_error=True) >> item("b") >> a],
        "a → b → a is a cycle",
    ),
    (lambda: [(a := item("a")) >> (b := item("b")), a >> edge(capacity=1) >> b], "a → b is declared twice"),
    (lambda: [item("a") >> edge()], r"nothing on its right"),
    (lambda: [3], "3 is no node"),
    (lambda: [lambda x: x], "a lambda has no name"),
    (lambda: [item("a/b"), Nested("a", item("b"))], "two nodes have the path 'a/b'"),
    (lambda: [item("a") >> Nested("x", clock())], "x has nothing to enter by, so nothing can come before it"),
    (
        lambda: [Nested("x", (a := item("a")) >> edge(feedback=True) >> a) >> item("b")],
        "nothing comes out of x, so nothing can follow it",
    ),
    (
        lambda: [item("a") >> edge(balance=True) >> [item("b"), Nested("x", [item("c"), item("d")])]],
        r"x has several entries \(x/c, x/d\) and can't be one branch",
    ),
    (lambda: [Nested("x", (a := item("a")) >> a)], "flow 'x': a → a is a cycle"),
]


@pytest.mark.parametrize(("build", "text"), GRAPH_ERRORS)
def test_graphs_that_can_not_be(build: Any, text: str) -> None:
    """The error names the flow, the nodes and the remedy."""
    with pytest.raises(GraphError, match=text):
        plan_of(*build())


def test_flows_without_an_exit_are_legal() -> None:
    """What goes round, or is kept, needs no way out (design, section 12)."""
    a = item("a")
    assert plan_of(a >> edge(feedback=True) >> a).exits == ()


def test_the_root_is_no_node() -> None:
    """It stands behind the entries, and takes nothing; no node has its name, since observers go by names."""
    plan = plan_of(item("inputs") >> item("b"))
    assert (plan.root.node, plan.root.index, plan.root.signature.takes) == (None, 0, Takes.NOTHING)
    assert ways(plan) == ["input→inputs", "inputs→b"]
    assert repr(plan.root) == "<site input>"
    with pytest.raises(
        GraphError, match=r"a node is named 'input', as the run's own input is.*node\(…, name=…\)"
    ):
        plan_of(item("a") >> item("input"))


def test_a_node_of_a_nested_flow_has_its_path() -> None:
    """A nested flow may have the name of the input: its nodes are told apart by it."""
    assert ways(plan_of(Nested("input", item("a")))) == ["input→input/a"]


# -- nodes in a row


tokens = streaming("tokens")
whole = streaming("whole", StreamMarker[Any], Any)


def row(length: int, first: str = "a0", **options: Any) -> Any:
    """Make so many nodes in a row that work chunk by chunk."""
    wires: Any = item(first, **options)
    for number in range(1, length):
        wires = wires >> item(f"{first}{number}", **options)
    return wires


def test_how_far_a_stream_goes_on_chunk_by_chunk() -> None:
    """Up to a node that takes it whole; by the longest way."""
    plan = plan_of(tokens >> [item("b"), item("c") >> item("d")] >> item("e") >> whole >> item("f"))
    ahead = {site.key: site.ahead for site in plan.sites}
    assert ahead == {"input": 0, "tokens": 4, "b": 2, "c": 3, "d": 2, "e": 1, "whole": 0, "f": 1}


def test_too_many_nodes_in_a_row_for_a_stream() -> None:
    """What is told of a stream goes from one to the next in one turn, and Python goes only so deep."""
    plan_of(tokens >> row(MOST_IN_A_ROW))
    remedy = r"a0 is the first of 129 nodes in a row .* 128 is the most; .* takes Stream\[Any\] and yields"
    with pytest.raises(GraphError, match=remedy):
        plan_of(tokens >> row(MOST_IN_A_ROW + 1))
    plan_of(tokens >> row(MOST_IN_A_ROW) >> whole >> row(MOST_IN_A_ROW, "b"))


def test_messages_go_through_any_number_of_nodes() -> None:
    plan_of(item("first") >> row(400))
