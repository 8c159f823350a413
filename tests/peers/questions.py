"""What every framework is asked. A script: `python questions.py on_langgraph` prints the answers as JSON.

An adapter has `VERSION`, and two functions. `stream(step, attempts)` runs an async generator function
`step` as a step of the framework that streams, tried up to so many times, and gives its items to a reader;
closing it is what a reader does who leaves. `branches(fast, after_fast, slow)` runs `fast`, then
`after_fast`, beside `slow`. An adapter that can't do one of them raises `NotThere`, with the reason. Only
the standard library is used here: none of the packages has anything in common.
"""

import asyncio
import importlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any


class NotThere(Exception):
    """The framework has no such thing; the text says what it has."""


async def leave_early(adapter: Any) -> str:
    """How much is made in the half second after a reader has left its loop?"""
    made = 0

    async def step() -> AsyncIterator[str]:
        nonlocal made
        for _ in range(2000):
            made += 1
            yield "x"
            await asyncio.sleep(0.005)

    async with aclosing(adapter.stream(step, 1)) as items:
        async for _ in items:
            break
    before = made
    await asyncio.sleep(0.5)
    return "makes nothing more" if made - before <= 1 else "goes on"


async def fail_midway(adapter: Any) -> str:
    """What does a reader get when the step raises after three items?"""

    async def step() -> AsyncIterator[str]:
        for _ in range(3):
            yield "x"
        raise ValueError("broken")

    got = 0
    try:
        async with asyncio.timeout(3), aclosing(adapter.stream(step, 1)) as items:
            async for _ in items:
                got += 1
    except TimeoutError:
        return f"{got} items, then waits for ever"
    except Exception as error:
        return f"{got} items, then {type(error).__name__}"
    return f"{got} items, then a clean end"


async def slow_reader(adapter: Any) -> str:
    """How far does a step that need not wait get ahead of a reader who stops after the first item?"""
    made = 0

    async def step() -> AsyncIterator[str]:
        nonlocal made
        for _ in range(5000):
            made += 1
            yield "x"
            await asyncio.sleep(0)

    async with aclosing(adapter.stream(step, 1)) as items:
        async for _ in items:
            await asyncio.sleep(1)
            break
    return "all 5000 items" if made == 5000 else f"{made - 1} items"


async def retry_midway(adapter: Any) -> str:
    """What text does a reader put together when the step fails after "ab" and succeeds with "abc"?"""
    attempts = 0

    async def step() -> AsyncIterator[str]:
        nonlocal attempts
        attempts += 1
        for letter in "ab":
            yield letter
        if attempts == 1:
            raise ConnectionError("broken")
        yield "c"

    text = ""
    async with asyncio.timeout(10), aclosing(adapter.stream(step, 3)) as items:
        async for item in items:
            text = item if item.startswith("all of it: ") else text + item
    return f"`{text.removeprefix('all of it: ')}`"


async def slow_sibling(adapter: Any) -> str:
    """Does the node behind a fast branch wait for a slow branch beside it?"""
    started = time.monotonic()
    behind_fast = 0.0

    async def fast() -> None:
        return

    async def after_fast() -> None:
        nonlocal behind_fast
        behind_fast = time.monotonic() - started

    async def slow() -> None:
        await asyncio.sleep(0.5)

    async with asyncio.timeout(10):
        await adapter.branches(fast, after_fast, slow)
    return "waits for it" if behind_fast > 0.4 else "goes on"


QUESTIONS = (
    ("a reader leaves its loop: the step", leave_early),
    ("a step raises after 3 items: the reader gets", fail_midway),
    ("the reader stops: a step that never waits gets ahead by", slow_reader),
    ("a step fails after `ab`, its retry gives `abc`: the text", retry_midway),
    ("the node behind a fast branch, beside a slow one", slow_sibling),
)


async def main(adapter: Any) -> None:
    """Ask everything and print the answers as the last line."""
    answers = {"version": adapter.VERSION}
    for text, ask in QUESTIONS:
        try:
            answers[text] = await ask(adapter)
        except NotThere as reason:
            answers[text] = str(reason)
    print(json.dumps(answers), flush=True)
    os._exit(0)  # what a framework leaves behind at the end is not asked for, and may hold up this process


if __name__ == "__main__":
    # The adapters import this file by its name: they are to see the same NotThere.
    sys.modules["questions"] = sys.modules["__main__"]
    asyncio.run(main(importlib.import_module(sys.argv[1])))
