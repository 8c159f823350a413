"""Promises: whether a node gives what its annotation says.

Owns the look at what comes out of a node whose annotation was compared with its successors when the flow was
built, and found to fit. Invariant: what is of the class that the annotation names costs one comparison; what
is not is looked at, and refused where no successor takes its class. Looks at classes only, not into
containers: the annotation is trusted with the rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from .checks import given
from .kinds import class_of, members, type_name
from .type_checks import PROMOTED

if TYPE_CHECKING:
    from .graph import Edge, Site


class Promise:
    """What a node says that it gives.

    Args:
        site: the node's place in the plan.
    """

    __slots__ = ("_accepted", "_site", "expected")

    def __init__(self, site: Site) -> None:
        kinds = [kind for kind in given(site.signature) if kind is not type(None)]
        only = class_of(kinds[0]) if len(kinds) == 1 else None
        self._site = site
        self._accepted = classes(site.outs)
        self.expected: type | None = only if isinstance(only, type) else None

    def check(self, payload: Any) -> None:
        """Raise ``TypeError`` where no successor takes the class of what was given, or nobody awaited it."""
        if type(payload) is CoroutineType:
            payload.close()
            raise TypeError(f"{self._site.key} gave a coroutine: await it, or write the node as `async def`")
        if self._accepted is None or isinstance(payload, self._accepted):
            return
        site = self._site
        kinds = given(site.signature)
        promised = (
            "" if Any in kinds else f", not the {' | '.join(map(type_name, kinds))} that it says it gives"
        )
        takers = ", ".join(f"{edge.target.key} takes {edge.expected}" for edge in site.outs)
        raise TypeError(f"{site.key} gave a {type(payload).__name__}{promised}: {takers}")


def classes(edges: Iterable[Edge]) -> tuple[type, ...] | None:
    """Give the classes of which one at least is taken by some edge; ``None`` where anything is."""
    found: set[type] = set()
    for edge in edges:
        for kind in members(edge.type):
            shape = class_of(kind)
            if shape is Any or not isinstance(shape, type):  # a class itself, since Python 3.11
                return None  # `Any`, a `Literal`: nothing that a class could tell
            found.update((shape, *PROMOTED.get(shape, ())))
    return tuple(found) or None
