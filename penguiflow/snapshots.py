"""Snapshots: what an engine and the flows that its steps call have counted, as statistics.

Owns how statistics are read of an engine. Invariants: reading changes nothing; what the flows of a runtime
share (tasks, observers) is counted once, so that sums over all of them are right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .statistics import EdgeStatistics, RuntimeStatistics, StreamStatistics

if TYPE_CHECKING:
    from .core import RunCore
    from .engine import Engine
    from .inbox import Meter
    from .leg import Leg
    from .measures import FlowMeasures


class CalledFlow:
    """A flow, or a node, that steps of a runtime call, see `Runtime.called`.

    However many steps of a flow call it, it is one; called from another flow as well, it is another one.

    Attributes:
        path: the names of the flows on the way: that of the runtime, that of the flow which a step there
            calls, and so on to this one.
    """

    __slots__ = ("_engine", "path")

    def __init__(self, engine: Engine, path: tuple[str, ...]) -> None:
        self._engine = engine
        self.path: tuple[str, ...] = path

    def statistics(self) -> RuntimeStatistics:
        """Give a snapshot; its runs are the calls. Tasks and observers are the runtime's, none of its own."""
        return statistics_of(self._engine, is_called=True)

    def streams(self) -> tuple[StreamStatistics, ...]:
        """Give the open streams."""
        return streams_of(self._engine)

    def measures(self) -> FlowMeasures | None:
        """Give what is recorded of the flow, its nodes and its edges; ``None`` where no observer wants it."""
        return self._engine.measures

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CalledFlow) and other._engine is self._engine

    def __hash__(self) -> int:
        return hash(id(self._engine))

    def __repr__(self) -> str:
        return f"<called flow {' → '.join(self.path)}>"


def called_by(engine: Engine) -> tuple[CalledFlow, ...]:
    """Give the flows that steps have called so far, each followed by those that its own steps have called."""
    found = []
    ahead: list[tuple[Engine, tuple[str, ...]]] = []
    ahead += [(child, (engine.flow.name,)) for child in reversed(engine.children())]
    while ahead:
        child, path = ahead.pop()
        path = (*path, child.flow.name)
        found.append(CalledFlow(child, path))
        ahead += [(one, path) for one in reversed(child.children())]
    return tuple(found)


def statistics_of(engine: Engine, *, is_called: bool = False) -> RuntimeStatistics:
    """Give a snapshot of a runtime, or of a flow that is called in one."""
    cores = list(engine.runs.values())
    owns_tasks = engine.was_opened and not is_called
    return RuntimeStatistics(
        flow=engine.flow.name,
        runs=len(cores),
        unread=sum(1 for core in cores if core.detached and not core.outbox.iterated),
        paused=sum(1 for core in cores if core.paused),
        waiting_runs=len(engine.queue),
        messages=sum(core.messages() for core in cores),
        streams=sum(len(core.legs) for core in cores),
        credit_out=sum(core.credit_out() for core in cores),
        places_taken=sum(station.places.taken for station in engine.stations),
        workers=len(engine.pool.workers) if owns_tasks else 0,
        observer_errors=0 if is_called else engine.observers.errors,
        nodes=tuple(station.statistics() for station in engine.stations[1:]),
        edges=tuple(_edge_statistics(meter) for meter in engine.meters),
        **engine.counts,
    )


def streams_of(engine: Engine) -> tuple[StreamStatistics, ...]:
    """Give the open streams of a flow."""
    return tuple(_stream_statistics(core, leg) for core in engine.runs.values() for leg in core.legs.values())


def _stream_statistics(core: RunCore, leg: Leg) -> StreamStatistics:
    account = leg.account
    return StreamStatistics(
        run_id=core.id,
        node=leg.site.key,
        stream_id=leg.stream_id,
        attempt=leg.heading.attempt,
        next_seq=leg.next_seq if leg.stamps or account is not None else leg.chunks,
        window=account.window if account is not None else 0,
        credit=account.free if account is not None else 0,
        in_flight=account.out if account is not None else 0,
        terminal=leg.terminal,
        waits=leg.watch.waits(core.pool.parking.now()) if leg.watch is not None else None,
        part=core.watch.part if core.watch is not None else 0,
    )


def _edge_statistics(meter: Meter) -> EdgeStatistics:
    edge = meter.edge
    return EdgeStatistics(
        source=edge.source.key,
        target=edge.target.key,
        capacity=edge.policy.capacity,
        waiting=meter.offered - meter.delivered - meter.dropped,
        most_waiting=meter.most,
        offered=meter.offered,
        delivered=meter.delivered,
        dropped=meter.dropped,
    )
