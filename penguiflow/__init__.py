"""PenguiFlow: a streaming-first runtime for LLM agent flows and real-time pipelines.

Write nodes as ordinary functions, join them with ``>>`` to a `Flow`, open it, and read its runs::

    flow = Flow("qa", retrieve >> answer >> redact)
    async with flow.open() as runtime, runtime.run("why?") as run:
        async for item in run:
            print(item.payload, end="")
"""

from anyio import ClosedResourceError, EndOfStream, WouldBlock

from .context import Context
from .errors import (
    ConnectorError,
    CreditError,
    DeadlineExceeded,
    FlowError,
    GraphError,
    HopLimitExceeded,
    JournalError,
    LocalProtocolError,
    RemoteProtocolError,
    RunCancelled,
    RunRejected,
    SequenceError,
    StepError,
    StepTimeout,
    StreamClosed,
    StreamError,
    StreamIdle,
    WireError,
)
from .feeding import Positioned, Source
from .flow import Flow
from .graph import Edge
from .items import (
    Chunk,
    Control,
    Drop,
    Gathered,
    Headers,
    Interrupt,
    Message,
    Spread,
    StreamEnded,
    StreamOpened,
    StreamRestarted,
)
from .node import Node, node, source
from .observe import Observer
from .policy import Delivery, Resume, Retry
from .run import Run
from .runtime import Runtime
from .statistics import EdgeStatistics, NodeStatistics, RunStatistics, RuntimeStatistics, StreamStatistics
from .stream import Stream
from .wiring import edge

__version__ = "0.1.0"

__all__ = [
    "Chunk",
    "ClosedResourceError",
    "ConnectorError",
    "Context",
    "Control",
    "CreditError",
    "DeadlineExceeded",
    "Delivery",
    "Drop",
    "Edge",
    "EdgeStatistics",
    "EndOfStream",
    "Flow",
    "FlowError",
    "Gathered",
    "GraphError",
    "Headers",
    "HopLimitExceeded",
    "Interrupt",
    "JournalError",
    "LocalProtocolError",
    "Message",
    "Node",
    "NodeStatistics",
    "Observer",
    "Positioned",
    "RemoteProtocolError",
    "Resume",
    "Retry",
    "Run",
    "RunCancelled",
    "RunRejected",
    "RunStatistics",
    "Runtime",
    "RuntimeStatistics",
    "SequenceError",
    "Source",
    "Spread",
    "StepError",
    "StepTimeout",
    "Stream",
    "StreamClosed",
    "StreamEnded",
    "StreamError",
    "StreamIdle",
    "StreamOpened",
    "StreamRestarted",
    "StreamStatistics",
    "WireError",
    "WouldBlock",
    "edge",
    "node",
    "source",
]
