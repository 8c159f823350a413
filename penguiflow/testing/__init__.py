"""Testing a flow: probes, virtual time, faults, a scripted model, and random flows with their results.

Everything here stands on the public API of the package; the pytest fixture is in `fixtures`.
"""

from .checkpoints import cancel_at_every_checkpoint, count_checkpoints
from .clock import VirtualLoop, virtual_backend
from .conservation import assert_conserved, imbalances
from .endpoint import serve_model
from .faults import cancelling, dropping, duplicating, failing, stalling
from .graphs import (
    KINDS,
    Expected,
    ExpectedStream,
    InjectedError,
    RandomGraph,
    Seen,
    differences,
    random_graph,
)
from .journal_promises import check_journal
from .models import ModelError, ScriptedModel
from .probes import GateProbe, SinkProbe, SourceProbe

__all__ = [
    "KINDS",
    "Expected",
    "ExpectedStream",
    "GateProbe",
    "InjectedError",
    "ModelError",
    "RandomGraph",
    "ScriptedModel",
    "Seen",
    "SinkProbe",
    "SourceProbe",
    "VirtualLoop",
    "assert_conserved",
    "cancel_at_every_checkpoint",
    "cancelling",
    "check_journal",
    "count_checkpoints",
    "differences",
    "dropping",
    "duplicating",
    "failing",
    "imbalances",
    "random_graph",
    "serve_model",
    "stalling",
    "virtual_backend",
]
