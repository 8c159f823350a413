"""Options: the limits that a flow is opened with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from .journal import Journal
from .observe import Observer
from .payloads import Migrate
from .policy import measured, why_not_plain


@dataclass(frozen=True, slots=True)
class Options:
    """The limits of a runtime; `Flow.open` says what they mean."""

    window: int = 128
    window_bytes: int | None = None
    sizer: Callable[[Any], int] | None = None
    max_runs: int | None = None
    hop_limit: int = 1000
    cleanup_timeout: float = 1.0
    observers: tuple[Observer, ...] = ()
    watchdog: float | None = None
    journal: Journal | None = None
    recover: bool = True
    migrate: Migrate | None = None

    def __post_init__(self) -> None:
        for name in ("window", "window_bytes", "max_runs", "hop_limit"):
            value = getattr(self, name)
            optional = name in ("window_bytes", "max_runs")
            if value is None and optional:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"open({name}={value!r}): a whole number of at least 1 is needed")
        if self.sizer is not None:
            problem = why_not_plain(self.sizer)
            if problem:
                raise ValueError(f"open(sizer=…): it {problem}")
            object.__setattr__(self, "sizer", partial(measured, self.sizer, "open()", "", ""))
        if self.watchdog is not None and not _is_some_seconds(self.watchdog):
            raise ValueError(f"open(watchdog={self.watchdog!r}): seconds, more than 0, or None")
        if not self.cleanup_timeout >= 0:
            raise ValueError(f"open(cleanup_timeout={self.cleanup_timeout!r}): seconds, not less than 0")
        self._check_durability()
        for observer in self.observers:
            interval = getattr(observer, "interval", None)
            if interval is not None and not _is_some_seconds(interval):
                text = f"its interval is {interval!r}: seconds, more than 0, are needed, or None"
                raise ValueError(f"open(observers=[{observer!r}]): {text}")

    def _check_durability(self) -> None:
        journal = self.journal
        is_journal = not isinstance(journal, type) and callable(getattr(journal, "append", None))
        if journal is not None and not is_journal:
            raise TypeError(
                f"open(journal={journal!r}): a journal is needed, such as SQLiteJournal('runs.db') of "
                "penguiflow.journals, or None"
            )
        if not isinstance(self.recover, bool):
            raise TypeError(f"open(recover={self.recover!r}): it is True or False")
        if self.migrate is not None and not callable(self.migrate):
            raise TypeError(f"open(migrate={self.migrate!r}): a function is needed, of a place and its JSON")


def _is_some_seconds(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0
