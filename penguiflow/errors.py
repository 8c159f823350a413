"""All errors of the package, in one tree.

::

    FlowError
    ├── GraphError                 a flow, node or edge is wrong, said when it is built
    ├── StepError                  a node failed; the user's exception is ``__cause__``
    │   └── StepTimeout            a node took longer than its ``timeout``
    ├── DeadlineExceeded           a run took longer than its deadline
    ├── RunCancelled               what a reader of a cancelled run gets
    ├── HopLimitExceeded           a run went round its feedback edges too often
    ├── RunRejected                a run was not admitted: closed, draining, wrong payload, id in use
    ├── StreamError
    │   ├── StreamClosed           emitting after the end, or to a stream that nobody reads any more
    │   ├── SequenceError          an explicit ``seq`` lower than the next one
    │   └── StreamIdle             no chunk in time (also a StepTimeout)
    ├── CreditError                a run is stuck, or an edge with ``overflow="fail"`` is full
    ├── JournalError               what was to be kept could not be kept or read
    ├── WireError
    │   ├── LocalProtocolError     we broke a rule of the protocol
    │   └── RemoteProtocolError    the peer did
    └── ConnectorError             a foreign system failed; its exception is ``__cause__``

What anyio already has a word for is reused: ``WouldBlock``, ``ClosedResourceError``, ``EndOfStream``.
"""


def described(error: BaseException) -> str:
    """Give the type and the text of an error; the type alone where its ``__str__`` fails."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__


class FlowError(Exception):
    """The root of everything that this package raises by itself."""


class GraphError(FlowError):
    """A flow, a node or an edge is wrong; the text names it and the remedy."""


class StepError(FlowError):
    """A node failed; what it raised is ``__cause__``.

    ``run_id``, ``node`` (its path, joined by ``/``), ``stream_id`` and ``seq`` (of the chunk or stream it
    worked on, else ``None``) and ``attempt`` (counted from 1) say where.
    """

    def __init__(
        self,
        text: str,
        *,
        run_id: str = "",
        node: str = "",
        stream_id: str | None = None,
        seq: int | None = None,
        attempt: int = 1,
    ) -> None:
        super().__init__(text)
        self.run_id = run_id
        self.node = node
        self.stream_id = stream_id
        self.seq = seq
        self.attempt = attempt


class StepTimeout(StepError):
    """A node took longer than its ``timeout`` allows; waiting for credit, input or a place does not count."""


class DeadlineExceeded(FlowError):
    """A run took longer than its deadline allows; every kind of waiting counts."""


class RunCancelled(FlowError):
    """The run was cancelled; nothing more of it is delivered."""


class HopLimitExceeded(FlowError):
    """The messages of one run passed feedback edges more often than ``hop_limit`` allows."""


class RunRejected(FlowError):
    """The runtime did not admit a run; nothing of it was started."""


class StreamError(FlowError):
    """Something is wrong with one stream."""


class StreamClosed(StreamError):
    """The stream has ended, or nobody reads it any more: nothing can be emitted to it."""


class SequenceError(StreamError):
    """An explicit ``seq`` is lower than the next one of its stream."""


class StreamIdle(StreamError, StepTimeout):
    """A step gave no chunk within its ``first_chunk_timeout`` or ``idle_timeout``."""


class CreditError(FlowError):
    """A run can't go on by itself any more, or an edge that may not wait is full; the text says who waits."""


class JournalError(FlowError):
    """What was to be kept durably could not be written, or what was kept can't be read."""


class WireError(FlowError):
    """A protocol was broken on a connection."""


class LocalProtocolError(WireError):
    """This side broke a rule of the protocol."""


class RemoteProtocolError(WireError):
    """The peer broke a rule of the protocol."""


class ConnectorError(FlowError):
    """A foreign system failed; its own exception is ``__cause__``."""


def is_verdict(error: BaseException) -> bool:
    """Say whether the runtime itself has said something about a step, which stands however often it is tried.

    What happens on connections to others is no such thing, though it has names in this tree: a node that
    meets it has failed, and may be tried again.
    """
    return isinstance(error, FlowError) and not isinstance(error, ConnectorError | WireError)
