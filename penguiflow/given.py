"""Given: what callers hand over by name to runs and emissions, looked at before anything is done with it.

Owns the texts. Invariant: a wrong value is a `TypeError`, or a `ValueError` where only its kind is right,
that names the parameter; nothing was begun or emitted. Knows nothing of what the values mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from .items import Headers, Item
from .policy import why_not_plain
from .wiring import Wirable, Wire


def check_seconds_given(name: str, value: object, *, least: float | None = 0.0) -> None:
    """Refuse what is no number of seconds; ``None`` stands for no limit."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name}={value!r}: a number of seconds is needed, or None")
    if math.isnan(value) or (least is not None and value < least):
        raise ValueError(f"{name}={value!r}: a number of seconds, not less than 0, is needed")


def check_text(name: str, value: object) -> None:
    """Refuse what is neither a str nor ``None``."""
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{name}={value!r}: a str is needed, or None")


def check_count(name: str, value: object) -> None:
    """Refuse what is no whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}={value!r}: a whole number of at least 1 is needed")
    if value < 1:
        raise ValueError(f"{name}={value!r}: a whole number of at least 1 is needed")


def check_target(target: object) -> None:
    """Refuse what a step can't call."""
    if isinstance(target, Wire) or not (callable(target) or isinstance(target, Wirable)):
        raise TypeError(f"call(target={target!r}): a node, a flow or a function is needed")


def check_observers(observers: object) -> tuple[Any, ...]:
    """Give the observers; refuse what is no sequence of objects with ``observe``, each given once."""
    if not isinstance(observers, Iterable):
        raise TypeError(f"open(observers={observers!r}): a sequence of observers is needed")
    given = tuple(observers)
    for index, observer in enumerate(given):
        observe = getattr(observer, "observe", None)
        if not callable(observe):
            raise TypeError(
                f"open(observers=…): {observer!r} is no observer: it has no method observe(event)"
            )
        problem = why_not_plain(observe)
        if problem is not None:
            raise TypeError(f"open(observers=…): {observer!r}: its observe {problem}")
        if any(observer is other for other in given[:index]):
            raise ValueError(
                f"open(observers=…): {observer!r} is given twice, and would be told everything twice; "
                f"give it once"
            )
    return given


def check_inherited(headers: object, meta: object) -> None:
    """Refuse headers that are no `Headers` and metadata that is no dict."""
    if headers is not None and not isinstance(headers, Headers):
        raise TypeError(f"headers={headers!r}: a Headers is needed, or None; write: Headers(tenant=…)")
    if meta is not None and not isinstance(meta, dict):
        raise TypeError(f"meta={meta!r}: a dict is needed, or None")


def check_run_options(headers: object, deadline: object, run_id: object, meta: object) -> None:
    """Refuse options that no run can begin with."""
    check_seconds_given("deadline", deadline)
    check_text("run_id", run_id)
    if run_id == "":
        raise ValueError("run_id='': an id is not empty; leave it out to get a new one")
    check_inherited(headers, meta)


def check_chunk_options(
    parent: object = None,
    stream_id: object = None,
    seq: object = None,
    meta: object = None,
    timeout: object = None,
) -> None:
    """Refuse options that no chunk can be emitted with."""
    if parent is not None and not isinstance(parent, Item):
        raise TypeError(f"parent={parent!r}: a Message or Chunk is needed, or None")
    check_text("stream_id", stream_id)
    if seq is not None and (isinstance(seq, bool) or not isinstance(seq, int)):
        raise TypeError(f"seq={seq!r}: a whole number is needed, or None")
    check_inherited(None, meta)
    check_seconds_given("timeout", timeout, least=None)


def check_stream_options(stream_id: object, meta: object, window: Any) -> None:
    """Refuse options that no stream can be opened with."""
    check_text("stream_id", stream_id)
    check_inherited(None, meta)
    if window is not None and (isinstance(window, bool) or not isinstance(window, int)):
        raise TypeError(f"open_stream(window={window!r}): a whole number of at least 1 is needed, or None")
    if window is not None and window < 1:
        raise ValueError(f"open_stream(window={window}): a window is at least 1")
