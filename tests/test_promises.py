"""A node gives what its annotation says, or its run fails and says what came instead."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from penguiflow import Context, Flow, Spread, StepError, node

pytestmark = [pytest.mark.anyio, pytest.mark.limit(5)]


@node
async def takes(x: int) -> int:
    """Add one."""
    return x + 1


@node
async def lies(n: int) -> int:
    """Give a text."""
    return "text"  # type: ignore[return-value]


@node
def lies_inline(n: int) -> int:
    """Give a text, on the edge."""
    return "text"  # type: ignore[return-value]


@node
async def lies_in_a_stream(n: int) -> AsyncIterator[int]:
    """Give a number, and then a text."""
    yield 1
    yield "text"  # type: ignore[misc]


@node
async def lies_in_a_spread(n: int) -> Spread[int]:
    """Give a number and a text, as parts."""
    return Spread([1, "text"])  # type: ignore[list-item]


@node
async def lies_with_context(n: int, ctx: Context) -> int | None:
    """Give a text, from a node that could emit."""
    return "text"  # type: ignore[return-value]


@node
async def numbers(n: int) -> AsyncIterator[int]:
    """Yield 0 to n - 1."""
    for i in range(n):
        yield i


@pytest.mark.parametrize(
    "liar",
    [lies, lies_inline, lies_in_a_stream, lies_in_a_spread, lies_with_context],
    ids=lambda one: one.name,
)
@pytest.mark.parametrize("behind", ["a message", "a stream"])
async def test_what_no_successor_takes_does_not_get_there(liar: Any, behind: str) -> None:
    """Though the annotation was compared with the successors when the flow was built."""
    first = numbers if behind == "a stream" else node(takes.fn, name="first")
    with pytest.raises(StepError) as caught:
        await Flow("f", first >> liar >> takes).call(2)
    assert caught.value.node == liar.name
    assert "gave a str" in str(caught.value)
    assert "takes takes int" in str(caught.value)


async def test_a_join_does_not_get_it_either() -> None:
    """Its slots are successors like others."""

    @node
    async def both(lies: int, takes: int) -> int:
        return lies + takes

    with pytest.raises(StepError, match="lies gave a str, not the int that it says it gives"):
        await Flow("f", node(takes.fn, name="first") >> [lies, takes] >> both).call(1)


@pytest.mark.parametrize(("kind", "value"), [(float, 1), (int, True), (object, "text"), (Any, 2)])
async def test_what_python_takes_for_granted_is_taken(kind: Any, value: Any) -> None:
    """A whole number is a float, a bool is an int, and everything is an object."""

    async def gives(n: int):
        return value

    async def gets(x):
        return x

    gives.__annotations__["return"] = kind
    gets.__annotations__["x"] = kind
    assert await Flow("f", node(gives) >> node(gets)).call(1) == value


async def test_an_exit_may_give_anything_but_a_coroutine() -> None:
    """Nobody behind it can take offence; a coroutine that nobody awaited is a mistake everywhere."""

    @node
    def forgets(n: int):
        return takes.fn(n)

    assert await Flow("f", lies).call(1) == "text"
    with pytest.raises(StepError, match="forgets gave a coroutine: await it"):
        await Flow("f", forgets).call(1)
