"""Steering: how a run obeys commands.

Owns what a command does to a run, and who hears it. Invariant (rule 2.6): a command needs no credit and
overtakes data. How streams open and end, `core` knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .control import Controls
from .items import Chunk, Control, Drop
from .traffic import Traffic

if TYPE_CHECKING:
    from .leg import Leg
    from .step import Step


class Steering(Traffic):
    """A run as something that is commanded."""

    __slots__ = ()

    listeners: tuple[tuple[str, Controls], ...]

    def listen(self, step: Step) -> Controls:
        """Let a step hear the commands for its node."""
        controls = Controls(self.pool.parking)
        self.listeners = (*self.listeners, (step.station.site.key, controls))
        return controls

    def control(self, control: Control) -> None:
        """Carry a command out, and let the nodes hear it."""
        for key, controls in list(self.listeners):
            if control.node is None or control.node in (key, key.rsplit("/", 1)[-1]):
                controls.deliver(control)
        if control.kind == "cancel":
            self._cancel(control)
        elif control.kind == "pause":
            self.pause()
        elif control.kind == "resume":
            self.resume()
        elif control.kind == "flush":
            self._flush(control)

    def _cancel(self, control: Control) -> None:
        if control.stream_id is None and control.node is None:
            self.stop(str(control.payload or ""))
            return
        for leg in list(self.legs.values()):
            if control.stream_id in (None, leg.stream_id) and control.node in (
                None,
                leg.site.key,
                leg.site.name,
            ):
                self._cancel_stream(leg)
        if self.busy == 0:
            self.at_rest()

    def _cancel_stream(self, leg: Leg) -> None:
        leg.end("cancelled")
        leg.cut()

    def _flush(self, control: Control) -> None:
        """Let everything go on that the runtime holds back; or drop what waits, and report it."""
        for account in self.windows():
            account.grant()
        for engagement in list(self.engaged):
            engagement.flush_held()
        if isinstance(control.payload, dict) and control.payload.get("discard"):
            for lane in [*self.lanes.values(), *self.mail.values()]:
                for inbox in lane.inboxes:
                    self._discard(inbox)
                lane.finish_if_over()
            for mail in self.mail.values():
                mail.rest()
        if self.busy == 0:
            self.at_rest()

    def _discard(self, inbox: Any) -> None:
        for item in inbox.items:
            seq = item.seq if isinstance(item, Chunk) else None
            stream_id = item.stream_id if isinstance(item, Chunk) else None
            self.dropped(Drop(inbox.edge.name, stream_id, seq, "flush"))
        inbox.purge()
