"""Where a suspended step waits: the innermost line of its user's code, on both event loops."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator, Generator
from pathlib import Path
from typing import Any

import anyio
import pytest

import penguiflow
from penguiflow import Flow, Retry, node
from penguiflow.whereabouts import frames_of, is_users, whereabouts

pytestmark = [pytest.mark.anyio, pytest.mark.limit(10)]


async def sleeps() -> None:
    await anyio.sleep_forever()


async def outer() -> None:
    await sleeps()


async def gives() -> AsyncIterator[int]:
    yield 1
    await sleeps()


async def loops() -> None:
    async for _ in gives():
        pass


@contextlib.asynccontextmanager
async def enters() -> AsyncIterator[None]:
    await sleeps()
    yield


async def in_a_context() -> None:
    async with enters():
        pass


async def leaves() -> None:
    generator = gives()
    await anext(generator)
    await generator.asend(None)


class Awaited:
    def __await__(self) -> Generator[Any, Any, None]:
        return (yield from sleeps().__await__())


async def awaits_an_object() -> None:
    await Awaited()


class Odd:
    """Says that it has everything, and means nothing by it."""

    def __getattr__(self, name: str) -> Any:
        return self

    def __await__(self) -> Any:
        return Stopping()


class Stopping:
    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        return None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("close", "throw", "send"):
            raise AttributeError(name)
        return self


def suspended(coroutine: Any) -> Any:
    """Run a coroutine by hand, up to where it waits for the first time."""
    coroutine.send(None)
    return coroutine


@pytest.mark.parametrize("code", [sleeps, outer, loops, in_a_context, leaves, awaits_an_object])
async def test_the_innermost_line_of_the_user_is_found(code: Any) -> None:
    """Through coroutines, generators, context managers, and what has an ``__await__``."""
    found: list[Any] = []

    @node
    async def works(i: int) -> int:
        await code()
        return i

    async with Flow("f", works).open() as runtime:
        await runtime.start(1)
        await anyio.sleep(0.01)
        found = list(runtime.diagnose()[0].sentences)
    assert "awaiting sleep_forever at test_whereabouts.py:" in found[0]
    assert "in sleeps: `await anyio.sleep_forever()`" in found[0]


@pytest.mark.parametrize("options", [{}, {"timeout": 60}, {"retry": Retry(attempts=2)}, {"concurrency": 2}])
@pytest.mark.parametrize("by_chunk", [False, True])
async def test_whatever_is_between_is_not_the_users(options: dict[str, Any], by_chunk: bool) -> None:
    """Workers, attempts, retries, scopes: these are ours, and the libraries' that we use."""

    async def two() -> AsyncIterator[int]:
        yield 1
        yield 2

    @node(**options)
    async def works(i: int) -> int:
        await sleeps()
        return i

    async with Flow("f", works).open() as runtime:
        await runtime.start(two() if by_chunk else 1)
        await anyio.sleep(0.01)
        assert "in sleeps: `await" in str(runtime.diagnose()[0])


def test_what_can_not_be_seen_is_not_made_up() -> None:
    """No user's code, nothing suspended, or objects that are not what they say."""
    assert whereabouts(None) is None
    assert whereabouts(anyio.sleep) is None
    assert whereabouts(Odd()) is None
    assert list(frames_of(Odd())) == []

    async def odd() -> None:
        await Odd()

    coroutine = suspended(odd())
    found = whereabouts(coroutine)
    assert found is not None
    assert (found.function.split(".")[-1], found.code, found.awaits) == ("odd", "await Odd()", "")
    coroutine.close()


def test_how_it_reads() -> None:
    """File, line, function, and the text of the line, where there is one."""
    namespace: dict[str, Any] = {}
    code = "import types\n@types.coroutine\ndef s():\n    yield\nasync def f():\n    await s()\n"
    exec(compile(code, "nowhere.py", "exec"), namespace)
    coroutine = suspended(namespace["f"]())
    assert str(whereabouts(coroutine)) == "at nowhere.py:4 in s"
    coroutine.close()


@pytest.mark.parametrize(
    ("file", "users"),
    [
        (__file__, True),
        ("/home/somebody/flows/app.py", True),
        ("<string>", True),
        (penguiflow.flow.__file__, False),
        (anyio.__file__, False),
        (contextlib.__file__, False),
        ("<frozen importlib._bootstrap>", False),
        (str(Path(penguiflow.__file__).parent / "examples" / "01.py"), True),
        (sys.modules["asyncio"].__file__ if "asyncio" in sys.modules else contextlib.__file__, False),
    ],
)
def test_whose_code_it_is(file: str, users: bool) -> None:
    """Neither ours, nor Python's, nor that of what is installed; but the examples are a user's."""
    assert is_users(file) is users
