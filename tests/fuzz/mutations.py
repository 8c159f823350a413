"""Mutations of the engine: one call of one function goes wrong in each trial.

Owns the mutations and the run of trials under one of them: ``python -m tests.fuzz.mutations NAME [SEEDS]``
prints how many trials slipped, and how many of them were found wrong. It is a process of its own because an
engine that is broken may leave its event loop in any state.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from penguiflow.credit import Account
from penguiflow.dispatch import Places
from penguiflow.leg import Leg

from . import harness
from .harness import BACKENDS, batch
from .trial import Kind

BUSY = 1.0  # seconds: a broken engine may compute without end …
STILL = 4.0  # … or wait


def never(method: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """Leave the call out."""


def twice(method: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """Do it twice."""
    method(*args, **kwargs)
    method(*args, **kwargs)


@dataclass(frozen=True)
class Mutation:
    """What goes wrong: the n-th call of a method in each trial is done in another way."""

    owner: type
    method: str
    wrong: Callable[..., Any]
    at: int


MUTATIONS = {
    "lost-credit": Mutation(Account, "home", never, 5),
    "double-release": Mutation(Places, "release", twice, 3),
    "skipped-terminal": Mutation(Leg, "end", never, 2),
}


class Slip:
    """A method under a mutation; counts its calls in one trial."""

    def __init__(self, mutation: Mutation) -> None:
        self.mutation = mutation
        self.method = getattr(mutation.owner, mutation.method)
        self.calls = 0

    def install(self) -> None:
        """Put the mutation in place, for the rest of the process."""

        def called(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            if self.calls == self.mutation.at:
                return self.mutation.wrong(self.method, *args, **kwargs)
            return self.method(*args, **kwargs)

        setattr(self.mutation.owner, self.mutation.method, called)

    def slipped(self) -> bool:
        """Say whether it has gone wrong since it was last asked."""
        calls, self.calls = self.calls, 0
        return calls >= self.mutation.at


def hunt(name: str, kind: Kind, seeds: int) -> dict[str, int]:
    """Run trials under a mutation; gives how many slipped, and how many of them were found."""
    slip = Slip(MUTATIONS[name])
    slip.install()
    harness.BUSY, harness.STILL = BUSY, STILL
    counts = {"trials": 0, "slipped": 0, "found": 0}

    def told(seed: int, what: list[str]) -> None:
        slipped = slip.slipped()
        counts["trials"] += 1
        counts["slipped"] += slipped
        counts["found"] += slipped and bool(what)

    for position, backend in enumerate(BACKENDS):
        batch(kind, backend, range(position, seeds, 2), told)
    return counts


if __name__ == "__main__":
    logging.disable()
    print(json.dumps(hunt(sys.argv[1], "values", int(sys.argv[2]) if len(sys.argv) > 2 else 60)))
