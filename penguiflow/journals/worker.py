"""Worker: the one thread in which a store does what may take long.

Owns the thread and the jobs that wait for it. Invariant: jobs are done one after the other, in the order in
which they were asked for; jobs that may be merged and wait next to each other are done at once. A job whose
task is cancelled is withdrawn if it has not begun, else it is done in full. The thread lives from the first
job on, and ends with the one that closes the store.

Not a pool: a new thread per call costs more than the call, and a database file has one writer anyway.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar, cast

from .waking import Waiter, waiter, wake_all

T = TypeVar("T")
A = TypeVar("A")

MOST_MERGED = 256
MOST_MERGED_BYTES = 2**23


class Job:
    """Something for the thread to do.

    Args:
        do: what; its result is the job's.
        merged: what is asked for, where it may be merged with others.
        size_bytes: how much data that has.
    """

    __slots__ = ("_do", "done", "error", "merged", "result", "size_bytes", "waiting", "withdrawn")

    def __init__(self, do: Callable[[], Any] | None, merged: Any = None, size_bytes: int = 0) -> None:
        self._do = do
        self.merged = merged
        self.size_bytes = size_bytes
        self.waiting: Waiter = waiter()
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = False
        self.withdrawn = False

    def work(self) -> None:
        """Do it, in the thread."""
        assert self._do is not None
        try:
            self.result = self._do()
        except BaseException as error:  # it is raised where it was asked for
            self.error = error
        self.done = True


class Worker(Generic[A]):
    """A thread for one store.

    Args:
        name: what the thread is called.
        many: does what is asked for in several jobs at once; gives for each what went wrong, if anything.
        needed: whether the thread is needed when nothing is asked for at the moment.
    """

    def __init__(
        self, name: str, many: Callable[[Sequence[A]], Sequence[Exception | None]], needed: Callable[[], bool]
    ) -> None:
        self._name = name
        self._many = many
        self._needed = needed
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._asked = 0

    async def do(self, function: Callable[..., T], *args: Any) -> T:
        """Call a function in the thread. If cancelled, it is called in full or not at all."""
        job = Job(lambda: function(*args))
        self._ask(job)
        return cast("T", await self._outcome(job))

    async def do_surely(self, function: Callable[..., T], *args: Any) -> T:
        """Call a function in the thread. If cancelled, it is called all the same."""
        job = Job(lambda: function(*args))
        self._ask(job)
        await job.waiting.wait()
        return cast("T", self._of(job))

    async def merge(self, asked: A, size_bytes: int) -> None:
        """Do something in the thread, perhaps along with others. If cancelled, in full or not at all."""
        job = Job(None, asked, size_bytes)
        self._ask(job)
        await self._outcome(job)

    def soon(self, function: Callable[[], object]) -> None:
        """Call a function in the thread, and don't wait for it."""
        self._ask(Job(function))

    # -- the side of the tasks

    def _ask(self, job: Job) -> None:
        with self._lock:
            self._asked += 1
            self._jobs.put(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                self._thread.start()

    async def _outcome(self, job: Job) -> Any:
        try:
            await job.waiting.wait()
        except BaseException:
            job.withdrawn = True
            raise
        return self._of(job)

    def _of(self, job: Job) -> Any:
        if job.error is not None:
            try:
                raise job.error
            finally:
                job.error = None  # no cycle through the traceback
        return job.result

    # -- the side of the thread

    def _work(self) -> None:
        after: Job | None = None
        while True:
            job = after or self._jobs.get()
            after, count = None, 1
            if job.merged is None:
                if not job.withdrawn:
                    job.work()
                wake_all([job.waiting])
            else:
                jobs, after = self._gather(job)
                count = len(jobs)
                self._work_merged([job for job in jobs if not job.withdrawn])
                wake_all([job.waiting for job in jobs])
            with self._lock:
                self._asked -= count
                if not self._asked and not self._needed():
                    self._thread = None
                    return

    def _gather(self, job: Job) -> tuple[list[Job], Job | None]:
        """Take what waits behind a job and can be done along with it; give the next job too, if taken."""
        jobs, size_bytes = [job], job.size_bytes
        while len(jobs) < MOST_MERGED and size_bytes < MOST_MERGED_BYTES:
            try:
                following = self._jobs.get_nowait()
            except Empty:
                break
            if following.merged is None:
                return jobs, following
            jobs.append(following)
            size_bytes += following.size_bytes
        return jobs, None

    def _work_merged(self, jobs: Sequence[Job]) -> None:
        if not jobs:
            return
        errors: Sequence[BaseException | None]
        try:
            errors = self._many([job.merged for job in jobs])
        except BaseException as failure:  # it concerns all of them
            errors = [failure] * len(jobs)
        for job, error in zip(jobs, errors, strict=True):
            job.error = error
            job.done = True
