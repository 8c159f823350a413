"""Node logs: what a node's code says in the log, and where it says it.

Owns what is added to a record. Invariant: a record that nobody wants costs no more than with any other
logger; what is added is as it is at the moment of the record.
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from .items import Chunk
from .observe import SPAN

if TYPE_CHECKING:
    from .step import Step


class StepLog(logging.LoggerAdapter[logging.Logger]):
    """The logger of a node, for one of its steps.

    Args:
        logger: the node's.
        step: the step.
    """

    def __init__(self, logger: logging.Logger, step: Step) -> None:
        super().__init__(logger, None)
        self._step = step

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Add where a record comes from; what the caller gives in ``extra`` comes on top."""
        kwargs["extra"] = {**place_of(self._step), **(kwargs.get("extra") or {})}
        return msg, kwargs


def step_log(step: Step) -> StepLog:
    """Give the logger of a step."""
    name = step.station.site.key.replace("/", ".")
    return StepLog(logging.getLogger(f"penguiflow.node.{name}"), step)


def place_of(step: Step) -> dict[str, Any]:
    """Say where a step is, as attributes of a record."""
    item, span = step.item, SPAN.get()
    stream_id = item._heading.stream_id or (step.out.stream_id if step.out is not None else None)
    return {
        "run_id": step.run.id,
        "node": step.station.site.key,
        "attempt": step.attempt,
        "stream_id": stream_id,
        "seq": item.seq if isinstance(item, Chunk) else None,
        "trace_id": span.trace_id if span is not None else step.run.trace_id,
        "span_id": span.span_id if span is not None else None,
    }
