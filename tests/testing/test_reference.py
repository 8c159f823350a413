"""The reference evaluation, against results computed by hand."""

from collections import Counter
from typing import Any

import pytest

from penguiflow.testing import Expected, ExpectedStream
from penguiflow.testing.graphs.reference import evaluate
from penguiflow.testing.graphs.shapes import Fault, Layout, Road, Shape, SlotShape


def layout(*shapes: Shape, roads: str, streamed: bool = False, **options: Road) -> Layout:
    """Describe a flow: roads as ``"input>a a>b"``; those given by name replace plain ones."""
    plain = [Road(*pair.split(">")) for pair in roads.split()]
    special = {(road.source, road.target): road for road in options.values()}
    kept = [special.pop((road.source, road.target), road) for road in plain]
    return Layout("hand", {s.name: s for s in shapes}, (*kept, *special.values()), streamed)


def messages(**found: list[int]) -> dict[str, Counter[Any]]:
    return {name: Counter(payloads) for name, payloads in found.items()}


def stream(*tracks: tuple[int, ...], terminal: Any = "done", stream_id: str | None = None) -> ExpectedStream:
    return ExpectedStream(tracks, terminal, stream_id)


def plus(name: str, term: int, **given: Any) -> Shape:
    return Shape(name, given.pop("form", "async"), term=term, **given)


def test_a_message_passes_maps() -> None:
    """Truth: (5 + 1) + 2 = 8."""
    flow = layout(plus("a", 1), plus("b", 2, form="def"), roads="input>a a>b")
    assert evaluate(flow, 5) == Expected(messages(b=[8]))


def test_a_filter_gives_nothing() -> None:
    """Truth: what is divisible by 3 is dropped; a stream goes on without it."""
    shape = plus("a", 0, drops=(3, 0))
    assert evaluate(layout(shape, roads="input>a"), 6) == Expected()
    flow = layout(shape, roads="input>a", streamed=True)
    assert evaluate(flow, [1, 3, 4, 6, 8]) == Expected({}, {"a": [stream((1, 4, 8))]})


def test_yield_makes_a_stream_of_a_message_and_a_flat_map_of_a_stream() -> None:
    """Truth: three parts of 5 are 5, 12, 19; of a stream, each chunk's parts follow each other."""
    shape = Shape("a", "yield", parts=3, fixed=True)
    assert evaluate(layout(shape, roads="input>a"), 5) == Expected({}, {"a": [stream((5, 12, 19))]})
    flow = layout(Shape("a", "yield", parts=2), roads="input>a", streamed=True)
    assert evaluate(flow, [3, 1, 2]) == Expected({}, {"a": [stream((1, 2, 9))]})


def test_a_stream_that_stays_empty_is_a_stream() -> None:
    """Truth: a generator without yields gives an empty stream, an emitter without emissions none."""
    assert evaluate(layout(Shape("a", "yield", parts=1), roads="input>a"), 2) == Expected(
        {}, {"a": [stream()]}
    )
    assert evaluate(layout(Shape("a", "emit_chunk", parts=1), roads="input>a"), 2) == Expected()


def test_a_fold_keeps_the_order() -> None:
    """Truth: ((0 · 31 + 2 + 0) · 31 + 3 + 1) = 66."""
    flow = layout(Shape("a", "fold", commutative=False), roads="input>a", streamed=True)
    assert evaluate(flow, [2, 3]) == Expected(messages(a=[66]))


def test_seq_counts_from_zero() -> None:
    """Truth: a chunk's number is its place in its stream."""
    flow = layout(Shape("a", "chunk", numbered=True), roads="input>a", streamed=True)
    assert evaluate(flow, [10, 10, 10]) == Expected({}, {"a": [stream((10, 11, 12))]})


def test_where_branches_of_a_stream_meet_each_keeps_its_order() -> None:
    """Truth: two writers, two tracks."""
    flow = layout(plus("a", 1), plus("b", 2), plus("c", 0), roads="input>a input>b a>c b>c", streamed=True)
    assert evaluate(flow, [1, 5]) == Expected({}, {"c": [stream((2, 6), (3, 7))]})


def test_a_router_goes_by_type() -> None:
    """Truth: odd numbers go left, even ones right."""
    flow = layout(
        Shape("r", "route"),
        plus("a", 10, takes="left"),
        plus("b", 20, takes="right"),
        roads="input>r r>a r>b",
        streamed=True,
    )
    assert evaluate(flow, [1, 2, 3]) == Expected({}, {"a": [stream((11, 13))], "b": [stream((22,))]})


def test_a_condition_that_nobody_meets_is_a_filter() -> None:
    """Truth: only multiples of 2 pass the edge; the stream is there all the same."""
    flow = layout(
        plus("a", 0), plus("b", 0), roads="input>a a>b", streamed=True, only=Road("a", "b", when=(2, 0))
    )
    assert evaluate(flow, [1, 2, 3, 4]) == Expected({}, {"b": [stream((2, 4))]})
    assert evaluate(flow, [1, 3]) == Expected({}, {"b": [stream()]})


def test_a_join_pairs_messages() -> None:
    """Truth: 2 · (6 + 11) + 3 · (7 + 11) = 88."""
    slots = (SlotShape("a", False, False), SlotShape("b", False, False))
    flow = layout(
        plus("a", 1), plus("b", 2), Shape("j", "join", slots=slots), roads="input>a input>b a>j b>j"
    )
    assert evaluate(flow, 5) == Expected(messages(j=[88]))


@pytest.mark.parametrize(("optional", "result"), [(True, messages(j=[2 * 17 + 3 * 5])), (False, {})])
def test_a_silent_branch_is_none_or_skips_the_join(optional: bool, result: dict[str, Counter[Any]]) -> None:
    """Truth (4.3): None where the parameter allows it, else the join does not run."""
    slots = (SlotShape("a", False, False), SlotShape("b", optional, False))
    flow = layout(
        plus("a", 1),
        plus("b", 2, drops=(5, 0)),
        Shape("j", "join", slots=slots),
        roads="input>a input>b a>j b>j",
    )
    assert evaluate(flow, 5) == Expected(result)


def test_a_join_whose_branches_are_all_silent_is_silent() -> None:
    """Truth (4.3): it does not run, though both slots are optional."""
    slots = (SlotShape("a", True, False), SlotShape("b", True, False))
    flow = layout(
        plus("a", 1, drops=(5, 0)),
        plus("b", 2, drops=(5, 0)),
        Shape("j", "join", slots=slots),
        roads="input>a input>b a>j b>j",
    )
    assert evaluate(flow, 5) == Expected()


def test_a_join_pairs_chunk_by_chunk_in_order() -> None:
    """Truth (4.2): one chunk per slot gives the ancestor's stream; silence leaves a chunk out."""
    slots = (SlotShape("a", False, False), SlotShape("b", False, False))
    flow = layout(
        plus("a", 0),
        plus("b", 0, drops=(2, 0)),
        Shape("j", "join", slots=slots),
        roads="input>a input>b a>j b>j",
        streamed=True,
    )
    expected = tuple(5 * (x + 11) for x in (1, 3, 5))
    assert evaluate(flow, [1, 2, 3, 4, 5]) == Expected({}, {"j": [stream(expected)]})


def test_a_join_of_folds_pairs_whole_streams() -> None:
    """Truth (4.2): behind folds, what pairs is what became of one stream."""
    slots = (SlotShape("a", False, False), SlotShape("b", False, False))
    flow = layout(
        Shape("g", "yield", parts=2, fixed=True),
        Shape("a", "fold"),
        Shape("b", "fold", term=1),
        Shape("j", "join", slots=slots),
        roads="input>g g>a g>b a>j b>j",
    )
    total = 1 + 1 + 64 + 1
    assert evaluate(flow, 1) == Expected(messages(j=[2 * (total + 11) + 3 * (total + 12)]))


def test_a_join_of_streams_takes_them_whole() -> None:
    """Truth: a slot for a stream is fed by the whole stream, worth the sum of x² + 1."""
    slots = (SlotShape("g", False, True), SlotShape("b", True, False))
    flow = layout(
        Shape("g", "yield", parts=2, fixed=True),
        plus("b", 0, drops=(1, 0)),
        Shape("j", "join", slots=slots),
        roads="input>g input>b g>j b>j",
    )
    assert evaluate(flow, 1) == Expected(messages(j=[2 * (2 + 65) + 3 * 5]))


def test_a_gather_takes_the_parts_of_the_innermost_spread() -> None:
    """Truth (4.4): two spreads inside one; three gathers run."""
    flow = layout(
        Shape("s", "spread", parts=2, fixed=True),
        Shape("t", "spread", parts=2, fixed=True, factor=2),
        Shape("g", "gather"),
        Shape("h", "gather"),
        roads="input>s s>t t>g g>h",
    )
    first, second = [(2 * x) ** 2 + 1 + (2 * x + 7) ** 2 + 1 for x in (1, 8)]
    assert evaluate(flow, 1) == Expected(messages(h=[(first**2 + 1 + second**2 + 1) % 9973]))


def test_an_empty_spread_gives_an_empty_gather() -> None:
    """Truth: the gather runs with no parts, also where all were filtered."""
    gather = Shape("g", "gather", term=42)
    flow = layout(Shape("s", "spread", parts=1), gather, roads="input>s s>g")
    assert evaluate(flow, 2) == Expected(messages(g=[42]))
    filtered = layout(
        Shape("s", "spread", parts=1, fixed=True), plus("a", 0, drops=(1, 0)), gather, roads="input>s s>a a>g"
    )
    assert evaluate(filtered, 2) == Expected(messages(g=[42]))


def test_a_loop_ends() -> None:
    """Truth: 7 goes round 7 % 4 = 3 times more, plus the first time: 7 + 4 · 10 = 47."""
    flow = layout(
        Shape("enter", "enter", parts=3),
        Shape("work", "work", takes="turn", term=10),
        Shape("decide", "decide", takes="turn"),
        plus("out", 0),
        roads="input>enter enter>work work>decide decide>out",
        again=Road("decide", "work", feedback=True),
    )
    assert evaluate(flow, 7) == Expected(messages(out=[47]))


def test_an_error_edge_takes_the_failure() -> None:
    """Truth: the handler gets what failed; of a stream the beginning is there, and it ends with error."""
    failing = Shape("a", "async", fault=Fault(3, 0))
    handler = Shape("h", "handler", takes="error", term=100)
    edge = Road("a", "h", on_error=True)
    assert evaluate(layout(failing, handler, roads="input>a", edge=edge), 6) == Expected(messages(h=[106]))
    flow = layout(failing, handler, roads="input>a", edge=edge, streamed=True)
    assert evaluate(flow, [1, 2, 3, 4]) == Expected(
        messages(h=[103]), {"a": [stream((1, 2), terminal="error")]}
    )


def test_a_failure_that_no_edge_takes_is_told() -> None:
    """Truth: the result is that without the failure; who fails is named."""
    flow = layout(plus("a", 1, fault=Fault(2, 0)), plus("b", 0), roads="input>a a>b")
    assert evaluate(flow, 6) == Expected(messages(b=[7]), trips={"a"})
    assert evaluate(flow, 7) == Expected(messages(b=[8]))


def test_steps_share_a_stream_by_its_id() -> None:
    """Truth (1.1): one stream per id, a track per writer."""
    flow = layout(
        Shape("s", "spread", parts=3, fixed=True), Shape("e", "shared", parts=2), roads="input>s s>e"
    )
    assert evaluate(flow, 1) == Expected(
        {}, {"e": [stream((1,), stream_id="e#1"), stream((8, 15), stream_id="e#0")]}
    )


def test_an_early_reader_takes_the_beginning() -> None:
    """Truth: two of four."""
    flow = layout(Shape("t", "take", parts=2), roads="input>t", streamed=True)
    assert evaluate(flow, [1, 2, 3, 4]) == Expected({}, {"t": [stream((1, 2))]})


def test_to_names_the_successor() -> None:
    """Truth: of 4 and 11, the even one goes to a, the odd one to b."""
    flow = layout(
        Shape("e", "emit", parts=2, fixed=True, to=("a", "b")),
        plus("a", 0),
        plus("b", 0),
        roads="input>e e>a e>b",
    )
    assert evaluate(flow, 4) == Expected(messages(a=[4], b=[11]))
