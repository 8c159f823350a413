"""Whereabouts: where in its user's code a suspended step waits.

Owns the walk from a coroutine to what it awaits. Invariant: it looks, and changes nothing; what can't be
found is said as such. Knows nothing of runs.
"""

from __future__ import annotations

import gc
import linecache
import os
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import AsyncGeneratorType, CoroutineType, FrameType
from typing import Any

from .pool import Worker

DRIVER = Worker._drive.__code__
"""The code that stands between a worker's task and a job's coroutine."""

MOST_FRAMES = 200
"""So deep is looked at most."""

WRAPPERS = ("async_generator_asend", "async_generator_athrow", "coroutine_wrapper")
"""What stands in front of code that is awaited, by the names that Python has for it."""

PACKAGE = str(Path(__file__).parent) + os.sep
EXAMPLES = PACKAGE + "examples" + os.sep
OTHERS = tuple(
    {path for name, path in sysconfig.get_paths().items() if name.endswith("lib") or name == "stdlib"}
)


@dataclass(slots=True)
class Whereabouts:
    """Where code waits.

    Attributes:
        file: the file's name, without its folder.
        line: its line.
        function: the function's name.
        code: the text of the line.
        awaits: what is called there, as far as it can be seen.
    """

    file: str
    line: int
    function: str
    code: str
    awaits: str

    def __str__(self) -> str:
        where = f"at {self.file}:{self.line} in {self.function}"
        return f"{where}: `{self.code}`" if self.code else where


def is_users(file: str) -> bool:
    """Say whether a file is neither ours nor that of Python or an installed package."""
    if file.startswith(EXAMPLES):
        return True  # they travel with the package, and are a user's code all the same
    return not file.startswith(("<frozen", PACKAGE, *OTHERS))


def whereabouts(coroutine: Any) -> Whereabouts | None:
    """Say where the innermost code of a user waits; ``None`` where none can be seen."""
    frames = list(frames_of(coroutine))
    mine = [index for index, frame in enumerate(frames) if is_users(frame.f_code.co_filename)]
    if not mine:
        return None
    frame = frames[mine[-1]]
    below = frames[mine[-1] + 1 :]
    awaits = below[0].f_code.co_qualname if below else ""
    code = frame.f_code
    text = linecache.getline(code.co_filename, frame.f_lineno).strip()
    return Whereabouts(Path(code.co_filename).name, frame.f_lineno, code.co_qualname, text, awaits)


def frames_of(coroutine: Any) -> Iterator[FrameType]:
    """Give the frames of a suspended coroutine, from the outermost to the innermost."""
    awaited = coroutine
    for _ in range(MOST_FRAMES):
        if awaited is None:
            return
        frame = _first(awaited, ("cr_frame", "gi_frame", "ag_frame"))
        if isinstance(frame, FrameType):
            yield frame
        awaited = (
            _first(awaited, ("cr_await", "gi_yieldfrom", "ag_await")) or _behind(awaited) or _driven(frame)
        )


def _first(thing: Any, names: tuple[str, ...]) -> Any:
    return next((getattr(thing, name) for name in names if getattr(thing, name, None) is not None), None)


def _driven(frame: FrameType | None) -> Any:
    """Give the coroutine that the driver of a worker resumes by hand, see `pool`."""
    if isinstance(frame, FrameType) and frame.f_code is DRIVER:
        return frame.f_locals.get("coroutine")
    return None


def _behind(thing: Any) -> Any:
    """Give the code behind a step of an ``async for``, or an ``__await__``: no attribute tells it."""
    if type(thing).__name__ not in WRAPPERS:
        return None
    kinds = (AsyncGeneratorType, CoroutineType)
    return next((found for found in gc.get_referents(thing) if isinstance(found, kinds)), None)
