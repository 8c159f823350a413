"""Random flows of all kinds of nodes, each with its reference evaluation.

`graph` is the way in; `shapes` has the words, `growing`, `pieces` and `regions` grow a description, `steps`
and `weaving` make a flow of it, `topology` and `reference` say what it gives, `comparing` compares.
"""

from .comparing import Seen, differences
from .expected import Expected, ExpectedStream
from .graph import KINDS, RandomGraph, random_graph
from .shapes import InjectedError

__all__ = [
    "KINDS",
    "Expected",
    "ExpectedStream",
    "InjectedError",
    "RandomGraph",
    "Seen",
    "differences",
    "random_graph",
]
