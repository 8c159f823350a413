"""Raised: what is kept of an exception.

Owns how one becomes words. Invariant: the exception itself, with all that its frames hold, is not kept; its
text may fail, and is cut where it is long.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator

from penguiflow.whereabouts import is_users

from ..records import ErrorRecord

MOST_CAUSES = 8
LONGEST_TEXT = 2000


def record(error: BaseException) -> ErrorRecord:
    """Keep the class of an error, its text, its causes, and where the code of a node raised it."""
    chain = list(_chain(error))
    where = next((found for one in chain if (found := _where(one))), "")
    causes = tuple(f"{type(one).__name__}: {_text(one)}".removesuffix(": ") for one in chain[1:])
    return ErrorRecord(type(error).__name__, _text(error), causes, where)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Give an error and what it comes from, nearest first."""
    seen: set[int] = set()
    waiting = [error]
    while waiting and len(seen) <= MOST_CAUSES:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        if one.__cause__ is not None:
            waiting.append(one.__cause__)
        elif one.__context__ is not None and not one.__suppress_context__:
            waiting.append(one.__context__)


def _where(error: BaseException) -> str:
    """Name the innermost line of a user's code that an error has passed."""
    found = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        code = frame.f_code
        if is_users(code.co_filename):
            found = f"{code.co_filename}:{line} in {code.co_qualname}"
    return found


def _text(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:
        return ""  # its class still says something
    if isinstance(error, BaseExceptionGroup):  # its members stand side by side: none is the cause of another
        members = (f"{type(one).__name__}: {_text(one)}" for one in error.exceptions[:MOST_CAUSES])
        text = f"{text}: {'; '.join(members)}"
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"


def brief(error: BaseException | None) -> str:
    """Write an error on one line; nothing where there is none."""
    if error is None:
        return ""
    kept = record(error)
    return f"{kept.kind}: {kept.text}".removesuffix(": ")
