"""The lives of a process: each takes up what the last one has left in the store, and dies at some record.

Owns a run over all of its lives, its reader, and what must hold in each life: nothing settled is done again,
nothing leaks, the reader's positions go on. What comes out is compared by whoever knows what is right.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from fuzz.cut_store import CutStore, Executions, batches_of, recorded_runs

from penguiflow import Chunk, FlowError, Interrupt, JournalError, Message, StreamOpened, StreamRestarted
from penguiflow.journals import MemoryJournal
from penguiflow.testing import imbalances

from .cases import ALL_LIVES, THIS_LIFE, Case, forget_calls

RUN = "run"


@dataclass
class Outcome:
    """What a run gives: messages by node, last attempts of streams, and how it ends."""

    messages: dict[str, Counter[Any]] = field(default_factory=dict)
    streams: dict[tuple[str, str], list[Any]] = field(default_factory=dict)
    error: str = ""

    def add(self, item: Any) -> None:
        """Take one more item or event."""
        if isinstance(item, Message):
            self.messages.setdefault(item.node, Counter())[item.payload] += 1
        elif isinstance(item, Chunk):
            self.streams[item.node, item.stream_id].append(item.payload)
        elif isinstance(item, StreamOpened | StreamRestarted):
            self.streams["/".join(item.path), item.stream_id] = []

    def comparable(self, case: Case) -> Any:
        """Give what must be the same in each telling."""
        named = {"even", "odd"}
        streams = {
            key: Counter(given) if key[1] in named else given  # several writers: any order of them is right
            for key, given in self.streams.items()
        }
        kept = self.messages
        if case.repeats:
            kept = {name: Counter(set(messages)) for name, messages in kept.items()}
        if case.flow.name.startswith(("unordered", "branches")):
            streams = {key: Counter(given) for key, given in streams.items()}
        if case.flow.name in ("balance",):
            kept = {"show": Counter()}  # who works on what is not sure: see how many there are
            streams = {("", ""): sum(map(len, self.messages.values()))}
        return kept, streams, self.error


def told_error(error: FlowError | None) -> str:
    """Give an error without what differs from life to life."""
    return "" if error is None else re.sub(r"attempt \d+", "attempt N", f"{type(error).__name__}: {error}")


@contextmanager
def quietly() -> Iterator[None]:
    """Let a process die without a word in the log."""
    logger = logging.getLogger("penguiflow")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


class Lives:
    """One run of a flow, in one store.

    Args:
        case: the flow.
    """

    def __init__(self, case: Case) -> None:
        self.case = case
        self.store = MemoryJournal()
        self.executions = Executions()
        self.items: list[Any] = []
        self.over = False
        self.wrong: list[str] = []
        forget_calls()

    async def live(self, appends: int | None = None, batch: int = 1) -> int:
        """Let a process live for so many appends, or until the run is over; gives how many it has made."""
        THIS_LIFE.clear()
        await self.store.open()
        journal = CutStore(self.store, appends)
        known = await recorded_runs(self.store)
        with quietly(), batches_of(batch), self.executions.watched(known), anyio.fail_after(20):
            async with self.case.flow.open(journal=journal, **self.case.options) as runtime:
                try:
                    await self._read(runtime, begun=RUN in known)
                    self.over = True
                except JournalError:
                    if not journal.dead:
                        raise
                except FlowError:
                    self.over = True
            self.wrong += imbalances(runtime.statistics())
        return journal.taken

    async def _read(self, runtime: Any, *, begun: bool) -> None:
        if begun:
            after = self.items[-1].position if self.items else None
            run = await runtime.attach(RUN, after=after)
        else:
            run = await runtime.start(self.case.payload, run_id=RUN)
        async for item in run.events():
            if isinstance(item, Interrupt):
                await self._answer(runtime, item)
            elif isinstance(item, Message | Chunk):
                self.items.append(item)

    async def _answer(self, runtime: Any, question: Interrupt) -> None:
        assert self.case.answer is not None
        try:
            await runtime.answer(RUN, question.token, self.case.answer(question.question))
        except JournalError as error:
            if "has its answer already" not in str(error):
                raise

    async def outcome(self) -> Outcome:
        """Read the run from the start, with its positions (rule 5.3)."""
        outcome, positions, error = Outcome(), [], None
        async with self.case.flow.open(journal=self.store, recover=False) as runtime:
            try:
                async for item in (await runtime.attach(RUN)).events():
                    outcome.add(item)
                    if isinstance(item, Message | Chunk):
                        positions.append(item.position)
            except FlowError as raised:
                error = raised
        outcome.error = told_error(error)
        places = [tuple(map(int, position.split("."))) for position in positions]
        if places != sorted(set(places)):
            self.wrong.append(f"positions do not ascend: {positions}")
        if [item.position for item in self.items] != positions:
            self.wrong.append(f"the reader got {[i.position for i in self.items]} of {positions}")
        return outcome

    def blamed(self) -> list[str]:
        """Give what was wrong in any life."""
        return self.wrong + self.executions.wrong


@dataclass(frozen=True)
class Uncut:
    """What a life without end gives: how many appends it makes, what comes out, what is called."""

    appends: int
    outcome: Any
    calls: frozenset[Any]


async def uncut(case: Case, batch: int = 1) -> Uncut:
    """Run a flow to its end in one life. If cancelled, so is the run."""
    lives = Lives(case)
    appends = await lives.live(batch=batch)
    calls = frozenset(ALL_LIVES)
    outcome = (await lives.outcome()).comparable(case)
    assert lives.over
    assert lives.blamed() == []
    return Uncut(appends, outcome, calls)


async def check_lives(case: Case, want: Uncut, *cuts: int, batch: int = 1) -> list[int]:
    """Let the process die behind so many appends in each life but the last; compare with the uncut one.

    Gives how many appends each life has made. If cancelled, so is the run.
    """
    lives = Lives(case)
    made = [await lives.live(appends, batch) for appends in (*cuts, None)]
    assert lives.over
    outcome = (await lives.outcome()).comparable(case)
    where = f"cut behind {cuts}"
    assert lives.blamed() == [], f"{where}: {lives.blamed()}"
    if case.loses:
        assert set(outcome[1]) == set(want.outcome[1]), f"{where}: {outcome} of {want.outcome}"
        return made
    assert outcome == want.outcome, f"{where}:\n{outcome}\n{want.outcome}"
    left = want.calls - frozenset(ALL_LIVES)
    assert not left or case.idles, f"{where}: {left} was never done"
    return made
