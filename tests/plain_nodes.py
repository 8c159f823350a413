"""Nodes that do as little as a test of something else needs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio

from penguiflow import Stream, node


def named(name: str, seconds: float = 0.0, **options: Any) -> Any:
    """Make a node that hands on, and takes its time."""

    async def work(i: int) -> int:
        await anyio.sleep(seconds)
        return i

    return node(work, name=name, **options)


@node
async def hop(i: int) -> int:
    """Hand on."""
    return i


@node
def plain(i: int) -> int:
    """Hand on at once."""
    return i


@node
async def count(n: int) -> AsyncIterator[int]:
    """Yield 0 to n - 1."""
    for i in range(n):
        yield i


@node
async def total(stream: Stream[int]) -> int:
    """Sum up."""
    return sum([i async for i in stream])


@node
async def echo(stream: Stream[int]) -> AsyncIterator[int]:
    """Yield what comes."""
    async for i in stream:
        yield i


async def numbers(n: int, seconds: float = 0.0) -> AsyncIterator[int]:
    """Give some numbers."""
    for i in range(n):
        if seconds:
            await anyio.sleep(seconds)
        yield i
