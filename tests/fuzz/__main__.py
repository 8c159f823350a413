"""Run the fuzzers for longer: ``python -m tests.fuzz --seeds 5000 [--kind KIND] [--first N]``."""

from __future__ import annotations

import argparse
import logging
import sys
import time

from .harness import BACKENDS, batch, progress, report
from .shrinking import shrink_first
from .trial import TRIALS, Kind


def main() -> int:
    """Run the trials that are asked for; gives 1 where one fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, help="how many seeds of each kind")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--kind", choices=TRIALS, help="only this kind")
    parser.add_argument("--shrink", action="store_true", help="make the flow of the first failure smaller")
    parser.add_argument("--most", type=int, default=5, help="stop a kind after so many failures are shown")
    given = parser.parse_args()
    logging.getLogger("penguiflow").addFilter(is_news)
    if given.shrink:
        return shrink_first(given.kind or "values", given.first, given.seeds)
    failed = 0
    for kind in [given.kind] if given.kind else TRIALS:
        failed += run_kind(kind, given.first, given.seeds, given.most)
    return 1 if failed else 0


def is_news(record: logging.LogRecord) -> bool:
    """Say whether a record tells anything new: that observers fail is a part of the trials."""
    return not str(record.msg).startswith("observer ")


def run_kind(kind: Kind, first: int, count: int, most: int) -> int:
    """Run one kind; gives how many seeds fail."""
    began = time.perf_counter()
    failed = 0
    done = 0
    for position, backend in enumerate(BACKENDS):
        seeds = [seed for seed in range(first, first + count) if seed % 2 == position]

        def told(seed: int, found: list[str], backend: str = backend) -> None:
            nonlocal failed, done
            done += 1
            if found:
                failed += 1
                if failed <= most:
                    print(report(kind, backend, seed, found), flush=True)
            if done % 25 == 0 or done == count:
                progress(done, count, failed)

        batch(kind, backend, seeds, told)
    progress(done, count, failed, end="\r")
    print(f"{kind}: {done} seeds, {failed} failed, {time.perf_counter() - began:.1f} s", file=sys.stderr)
    return failed


if __name__ == "__main__":
    sys.exit(main())
