"""Reports: what is told of streams, to the reader of a run and to observers.

Owns how a stream's opening, new attempts and end are described. Invariant: what only observers want to know
is there only where somebody observes.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from .items import StreamEnded, StreamOpened, StreamRestarted
from .observe import StepRetried

if TYPE_CHECKING:
    from .leg import Leg


def opening(leg: Leg) -> StreamOpened:
    """Describe the opening of a stream."""
    h, watch, of_run = leg.heading, leg.watch, leg.run.watch
    meta = copy.deepcopy(h.meta) if h.meta else {}
    where = (of_run.part, watch.step, watch.timing.began) if watch is not None and of_run is not None else ()
    return StreamOpened(h.run_id, leg.site.path, h.stream_id, h.attempt, h.headers.copy(), meta, *where)


def ending(leg: Leg, error: BaseException | None) -> StreamEnded:
    """Describe the end of a stream."""
    h, watch, of_run = leg.heading, leg.watch, leg.run.watch
    assert leg.terminal is not None
    came = (h.run_id, leg.site.path, h.stream_id, h.attempt, leg.terminal, error, leg.chunks, leg.gaps)
    if watch is None or of_run is None:
        return StreamEnded(*came)
    return StreamEnded(*came, of_run.part, watch.measured(leg.run.pool.parking.now()))


def restarted(leg: Leg, attempt: int) -> None:
    """Tell observers that a stream begins again, and with it the work of a node chunk by chunk."""
    run, watch, site, of_run = leg.run, leg.watch, leg.site, leg.run.watch
    assert watch is not None
    assert of_run is not None
    now = run.pool.parking.now()
    timing = watch.measured(now)
    lane = run.lanes.get((site.index, leg.stream_id))
    if lane is not None and getattr(lane, "out", None) is leg:
        ids = (run.id, site.key, attempt, of_run.part, watch.step, leg.stream_id)
        again = StepRetried(*ids, waits=timing.waits, ended=now, at=now)
        watch.span = of_run.tell_within(lane.context(), again)
    run.notify(
        StreamRestarted(run.id, site.path, leg.stream_id, attempt, of_run.part, leg.chunks, leg.gaps, timing)
    )
    watch.restart(now)
