"""Options that exist are valid; what makes no sense is a `ValueError` that names it."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from penguiflow import Flow, node
from penguiflow.options import Options


def test_the_defaults_are_those_of_the_contract() -> None:
    """Window 128, hop limit 1,000, cleanup timeout 1 s, no limit to runs, no bytes, nobody watching."""
    assert Options() == Options(
        window=128,
        window_bytes=None,
        sizer=None,
        max_runs=None,
        hop_limit=1000,
        cleanup_timeout=1.0,
        observers=(),
    )


@pytest.mark.parametrize("name", ["window", "window_bytes", "max_runs", "hop_limit"])
@pytest.mark.parametrize("value", [0, -1, 1.0, 2.5, True, False, "3", float("nan")])
def test_counts_that_make_no_sense(name: str, value: Any) -> None:
    """The text names the option, what it was, and what it must be."""
    with pytest.raises(ValueError, match="a whole number of at least 1 is needed") as caught:
        Options(**{name: value})
    assert str(caught.value) == f"open({name}={value!r}): a whole number of at least 1 is needed"


@pytest.mark.parametrize("name", ["window", "hop_limit"])
def test_limits_that_must_be_there(name: str) -> None:
    """`None` is "no limit" only where that is offered: windows and hops are always bounded (2.2, 2.7)."""
    with pytest.raises(ValueError, match=rf"open\({name}=None\)"):
        Options(**{name: None})  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("-inf")])
def test_cleanup_timeouts_that_make_no_sense(value: float) -> None:
    """It is a number of seconds, not less than nothing."""
    with pytest.raises(ValueError, match=r"open\(cleanup_timeout=.*seconds, not less than 0"):
        Options(cleanup_timeout=value)


@pytest.mark.parametrize("value", [0, -1, 0.0, float("nan"), float("-inf"), True, "3", [1]])
def test_watchdogs_that_make_no_sense(value: Any) -> None:
    """It is some seconds, or there is none."""
    with pytest.raises(ValueError, match=r"open\(watchdog=.*seconds, more than 0, or None"):
        Options(watchdog=value)
    assert Options(watchdog=0.1).watchdog == 0.1


def test_the_least_of_everything() -> None:
    """One is enough of all counts, and a cleanup may be given no time at all (rule 2.5)."""
    options = Options(window=1, window_bytes=1, max_runs=1, hop_limit=1, cleanup_timeout=0)
    assert (options.window, options.window_bytes, options.max_runs, options.hop_limit) == (1, 1, 1, 1)
    assert options.cleanup_timeout == 0


def test_options_do_not_change() -> None:
    """What a runtime was opened with stays."""
    with pytest.raises(FrozenInstanceError):
        Options().window = 3  # type: ignore[misc]


def test_opening_checks_at_once() -> None:
    """`flow.open` refuses before anything is started: it needs no event loop for that."""

    @node
    async def same(x: int) -> int:
        return x

    with pytest.raises(ValueError, match=r"open\(window=0\)"):
        Flow("options", same).open(window=0)
