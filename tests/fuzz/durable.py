"""Trials of the fifth kind: runs with a journal, whose process dies, once or more often, at any record.

Owns the lives of a trial: each opens the flow anew on what the last one has left. Invariant: the last life is
not cut off; then every run is compared with its reference, every reader's items with their positions.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio

from penguiflow import Chunk, Headers, Message, Runtime, StepError, StreamError
from penguiflow.errors import FlowError, JournalError
from penguiflow.journals import MemoryJournal
from penguiflow.testing import Expected, RandomGraph, Seen, differences, imbalances
from penguiflow.testing.graphs.conduct import TENANT

from .cut_store import CutStore, Executions, batches_of, recorded_runs

LIMIT = 3000.0  # virtual seconds; where every task waits, time jumps there at once


@dataclass
class Reader:
    """Whoever reads a run, over all lives: he goes on behind the last item that he has."""

    number: int
    begun: bool = False
    over: bool = False
    lives: int = 0
    items: list[Any] = field(default_factory=list)
    error: FlowError | None = None

    @property
    def run_id(self) -> str:
        return f"run{self.number}"

    @property
    def after(self) -> str | None:
        """Where he goes on."""
        return self.items[-1].position if self.items else None


@dataclass
class DurableTrial:
    """The runs of one flow in one store, and what is wrong with them."""

    graph: RandomGraph
    rng: random.Random
    store: MemoryJournal = field(default_factory=MemoryJournal)
    executions: Executions = field(default_factory=Executions)
    wrong: list[str] = field(default_factory=list)
    readers: list[Reader] = field(default_factory=list)

    async def live(self, appends: int | None) -> None:
        """Let a process work on the runs, until it dies or they are over. If cancelled, it is cut off."""
        journal = CutStore(self.store, appends)
        known = await recorded_runs(self.store)
        with self.executions.watched(known):
            async with self.graph.flow().open(**self.graph.options, journal=journal) as runtime:
                async with anyio.create_task_group() as group:
                    for reader in self.readers:
                        if not reader.over:
                            group.start_soon(self._read, runtime, journal, reader)
                while runtime.statistics().runs and not journal.dead:  # noqa: ASYNC110  # the end is read before it is told of
                    await anyio.sleep(1)
                if not journal.dead:
                    self.wrong += imbalances(runtime.statistics())
            self.wrong += [f"closed: {text}" for text in imbalances(runtime.statistics())]

    async def _read(self, runtime: Runtime, journal: CutStore, reader: Reader) -> None:
        TENANT.set(f"tenant{reader.number}")
        try:
            await self._read_on(runtime, reader)
            reader.over = True
        except JournalError as error:
            if not journal.dead:
                self.blame(reader, [f"a store that works raised {error!r}"])
        except FlowError as error:
            reader.over, reader.error = True, error
        except Exception as error:
            self.blame(reader, [f"{type(error).__name__} came out: {error!r}"])

    async def _read_on(self, runtime: Runtime, reader: Reader) -> None:
        payload, headers = self.graph.payload(reader.number), Headers(tenant=TENANT.get())
        if reader.begun:
            reader.lives += 1
            run = await runtime.attach(reader.run_id, after=reader.after)
            await self._take(run, reader)
        elif self.rng.random() < 0.5:
            run = await runtime.start(self.graph.fed(payload), run_id=reader.run_id, headers=headers)
            reader.begun = True
            await self._take(run, reader)
        else:
            fed = self.graph.fed(payload)
            async with runtime.run(fed, run_id=reader.run_id, headers=headers) as run:
                reader.begun = True
                await self._take(run, reader)

    async def _take(self, run: Any, reader: Reader) -> None:
        async for item in run.events():
            if isinstance(item, Message | Chunk):
                reader.items.append(item)
                if not item.position:
                    self.blame(reader, [f"{item!r} has no position (rule 5.3)"])

    def blame(self, reader: Reader, what: Sequence[str]) -> None:
        """Keep what is wrong with a run."""
        self.wrong += [f"{reader.run_id}: {text}" for text in what]

    # -- afterwards

    async def compare(self) -> None:
        """Read every run once more, from the start, and compare. If cancelled, nothing has changed."""
        async with self.graph.flow().open(journal=self.store, recover=False) as runtime:
            for reader in self.readers:
                seen, items, error = Seen(events=True), [], None
                try:
                    async for item in (await runtime.attach(reader.run_id)).events():
                        seen.add(item)
                        if isinstance(item, Message | Chunk):
                            items.append(item)
                except FlowError as raised:
                    error = raised
                self._compare(reader, seen, error)
                self._compare_items(reader, items)

    def _compare(self, reader: Reader, seen: Seen, error: FlowError | None) -> None:
        expected = self.graph.expected(self.graph.payload(reader.number))
        if (type(error), str(error)) != (type(reader.error), str(reader.error)):
            self.blame(reader, [f"ended with {reader.error!r}, and is read with {error!r}"])
        cut_off = self.graph.layout.streamed and reader.lives and "was cut off" in str(error)
        if not cut_off:
            self.blame(reader, wrong_error(error, expected.trips))
        mode: Any = "prefix" if expected.trips or cut_off else "whole"
        if reader.lives:
            forgive_repetition(expected, seen)
        found = differences(expected, seen, mode)
        if reader.lives and self._can_repeat():
            found = [text for text in found if not is_surplus(text, expected, seen)]
        self.blame(reader, found)

    def _can_repeat(self) -> bool:
        """Say whether steps on chunks make messages: those of an attempt that was cut off go on."""
        return any(shape.form in ("emit", "spread") for shape in self.graph.layout.shapes.values())

    def _compare_items(self, reader: Reader, items: list[Any]) -> None:
        """See that whoever went on behind a position has got each item once (rule 5.3)."""
        got, all_ = [told(item) for item in reader.items], [told(item) for item in items]
        if got != (all_[: len(got)] if reader.error is not None else all_):
            self.blame(reader, [f"a reader who resumed got {got}, one who read it all {all_} (rule 5.3)"])
        places = [tuple(map(int, item.position.split("."))) for item in items]
        if places != sorted(set(places)):
            self.blame(reader, [f"positions do not ascend: {places} (rule 5.3)"])


def forgive_repetition(expected: Expected, seen: Seen) -> None:
    """Take out of what was seen what an attempt at a stream has left behind that its process did not end.

    What steps on the chunks of such an attempt have emitted as messages is given again by those of the next
    one, which are others; a stream that the step had ended itself begins again behind its end.
    """
    for key, messages in seen.messages.items():
        wanted = expected.messages.get(key, Counter())
        for payload in messages:
            if wanted[payload]:
                messages[payload] = min(messages[payload], wanted[payload])
    again = {stream for (_, stream), attempt in seen.attempts.items() if attempt > 1}
    late = ("after the terminal of its stream", "ended twice")
    seen.wrong = [
        text
        for text in seen.wrong
        if not (any(stream in text for stream in again) and any(what in text for what in late))
    ]


def is_surplus(text: str, expected: Expected, seen: Seen) -> bool:
    """Say whether a complaint is about more streams at an exit than there should be, or the same twice."""
    exit_ = text.partition(":")[0]
    given = [payloads for (key, _), payloads in seen.streams.items() if key == exit_]
    more = len(given) > len(expected.streams.get(exit_, ())) or len(set(map(tuple, given))) < len(given)
    return more and (" was not expected: " in text or ": streams ended with " in text)


def told(item: Any) -> tuple[Any, ...]:
    """Give what tells an item from others."""
    own = (item.stream_id, item.attempt, item.seq) if isinstance(item, Chunk) else ()
    return item.position, "/".join(item.path), item.payload, item.headers.tenant, *own


def wrong_error(error: FlowError | None, trips: set[str]) -> list[str]:
    """Tell what is wrong with the error that a run has ended with."""
    if error is None:
        return [f"no error came out, though {sorted(trips)} fail"] if trips else []
    if isinstance(error, StepError) and not isinstance(error, StreamError) and error.node in trips:
        return []
    return [f"{error!r} came out, expected a failure of {sorted(trips)}"]


@contextmanager
def silent() -> Iterator[None]:
    """Let nobody hear that a process dies: it is meant to."""
    logger = logging.getLogger("penguiflow")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


async def durable_attempt(graph: RandomGraph, numbers: Sequence[int]) -> list[str]:
    """Run the runs of one trial, in several lives; tell what is wrong. If cancelled, so are they."""
    rng = random.Random(f"{graph.seed}/durable")
    trial = DurableTrial(graph, rng, readers=[Reader(number) for number in numbers])
    await trial.store.open()
    cuts = [int(rng.expovariate(1 / rng.choice([5, 30, 100]))) for _ in range(rng.choice([0, 1, 1, 2, 2, 5]))]
    try:
        with silent(), batches_of(rng.choice([1, 1, 1, 3, 1000])), anyio.fail_after(LIMIT):
            for appends in (*cuts, None):
                await trial.live(appends)
            await trial.compare()
    except TimeoutError:
        left = [reader.run_id for reader in trial.readers if not reader.over]
        trial.wrong.append(f"hangs: everything waits, {left} are not over")
    trial.wrong += trial.executions.wrong
    return trial.wrong
