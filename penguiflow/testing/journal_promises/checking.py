"""Checking: all promises, one after the other, each on a store of its own.

Owns the list of promises. Invariant: each is checked on an empty store, so that a broken one hides no other
behind it; the stores are closed, whatever happens.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from penguiflow.journal import Journal

from . import appending, cancelling, forgetting, leasing, leaving, naming, reading
from .saying import Place

Promise = Callable[[Place], Awaitable[None]]

PROMISES: tuple[Promise, ...] = (
    *appending.PROMISES,
    *naming.PROMISES,
    *reading.PROMISES,
    *leasing.PROMISES,
    *leaving.PROMISES,
    *forgetting.PROMISES,
    *cancelling.PROMISES,
)


async def check_journal(
    make: Callable[[], Journal], *, reopen: Callable[[Journal], Journal] | None = None
) -> None:
    """Hold a store to all that `penguiflow.journal.Journal` promises.

    It takes a few seconds, since leases have to run out.

    Args:
        make: gives a store that is not open, and empty, whenever it is called.
        reopen: for stores that keep more than their object does: gives another object, not open, for what
            such a one has kept, while that is open or after it was closed.

    Raises:
        AssertionError: a promise is broken; the text says which one, what was promised, and what was found.

    If cancelled, the store that is being checked is closed.
    """
    for promise in PROMISES:
        journal = make()
        await journal.open()
        try:
            await promise(Place(journal, reopen))
        except Exception as broken:
            what = " ".join((promise.__doc__ or "").split())
            found = str(broken) if isinstance(broken, AssertionError) else f"it raised {broken!r}"
            raise AssertionError(f"{journal!r} breaks a promise. {what} But here: {found}") from broken
        finally:
            with anyio.CancelScope(shield=True):
                await journal.close()
