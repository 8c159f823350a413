"""Names: what spans, their attributes and their events are called.

Owns every name that PenguiFlow gives to OpenTelemetry, with its unit and its meaning. Invariant: what is told
is in `NAMES`, under its own prefix ``penguiflow.``, but for what the semantic conventions have a word for
already. Knows neither who tells nor when. Attributes of GenAI (``gen_ai.…``) are none of ours: whoever calls
a model says them on ``ctx.span``.

Words of the conventions are those of opentelemetry-semantic-conventions 0.66b2: ``error.type`` and
``exception.…`` are stable there, ``messaging.…`` is in development. They stand here as plain texts, because
that package is a part of the SDK which has no promise of stability.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["span", "attribute", "event"]

SECONDS = "s"

# spans

RUN_SPAN = "run {flow}"
STEP_SPAN = "step {node}"
STREAM_SPAN = "stream {node}"

# attributes of runs

RUN_ID = "penguiflow.run.id"
RUN_PART = "penguiflow.run.part"
RUN_STATUS = "penguiflow.run.status"
RUN_DROPS = "penguiflow.run.drops"
RUN_WAIT_ADMISSION = "penguiflow.run.wait.admission"
RUN_PAUSED = "penguiflow.run.paused"
FLOW = "penguiflow.flow"
TENANT = "penguiflow.tenant"
TOPIC = "penguiflow.topic"

# attributes of steps and streams

NODE = "penguiflow.node"
ATTEMPT = "penguiflow.attempt"
STREAM_ID = "penguiflow.stream.id"

STEP_NUMBER = "penguiflow.step.number"
STEP_OUTCOME = "penguiflow.step.outcome"
STEP_RETRIES = "penguiflow.step.retries"
STEP_WAIT_QUEUE = "penguiflow.step.wait.queue"
STEP_WAIT_SOURCE = "penguiflow.step.wait.source"
STEP_WAIT_NODE = "penguiflow.step.wait.node"
STEP_WAIT_CREDIT = "penguiflow.step.wait.credit"
STEP_AGAIN = "penguiflow.step.again"

STREAM_CHUNKS = "penguiflow.stream.chunks"
STREAM_TERMINAL = "penguiflow.stream.terminal"
STREAM_FIRST_CHUNK = "penguiflow.stream.time_to_first_chunk"
STREAM_WAIT_SOURCE = "penguiflow.stream.wait.source"
STREAM_WAIT_NODE = "penguiflow.stream.wait.node"
STREAM_WAIT_CREDIT = "penguiflow.stream.wait.credit"
STREAM_BYTES = "penguiflow.stream.bytes"
STREAM_GAPS = "penguiflow.stream.gaps"
STREAM_DROPS = "penguiflow.stream.drops"
STREAM_RATE = "penguiflow.stream.chunks_per_second"

# attributes of events

EDGE = "penguiflow.edge"
CHUNK_SEQ = "penguiflow.chunk.seq"
DROP_REASON = "penguiflow.drop.reason"

# events

PAUSED = "paused"
RESUMED = "resumed"
RETRY = "retry"
DROP = "drop"
FIRST_CHUNK = "first chunk"
EXCEPTION = "exception"

# the semantic conventions

ERROR_TYPE = "error.type"
EXCEPTION_TYPE = "exception.type"
EXCEPTION_MESSAGE = "exception.message"
EXCEPTION_STACKTRACE = "exception.stacktrace"
MESSAGING_SYSTEM = "messaging.system"
MESSAGING_DESTINATION = "messaging.destination.name"
MESSAGING_OPERATION = "messaging.operation.type"
MESSAGING_COUNT = "messaging.batch.message_count"

SYSTEM = "penguiflow"
"""The value of ``messaging.system``."""

# what else is said in attributes, beside the words of `penguiflow.items` and `penguiflow.observe`

RESTARTED = "restarted"
"""Terminal of a stream, and outcome of a step, of which another attempt followed without an error of its
own."""

ABANDONED = "abandoned"
"""Outcome of a step that was still cleaning up when its run was over."""


@dataclass(frozen=True, slots=True)
class Name:
    """One name, as the documentation tells it.

    Attributes:
        name: how it is written.
        kind: what is called so.
        unit: of its value: ``s`` for seconds, ``By`` for bytes, ``{chunk}`` and the like for what is counted;
            empty for texts, and where there is no value.
        meaning: one line.
    """

    name: str
    kind: Kind
    unit: str
    meaning: str


NAMES: tuple[Name, ...] = (
    Name(RUN_SPAN, "span", "", "a run, or a flow that a step calls; ``{flow}`` is its name"),
    Name(STEP_SPAN, "span", "", "one attempt at a step; ``{node}`` is the path of its node"),
    Name(
        STREAM_SPAN, "span", "", "one attempt at a stream; ``{node}`` is the path of the node that gives it"
    ),
    Name(RUN_ID, "attribute", "", "id of the run, on every span"),
    Name(RUN_PART, "attribute", "", "number of a flow that a step calls; 0 is the run itself"),
    Name(RUN_STATUS, "attribute", "", "how the run ended: done, failed, cancelled, expired or interrupted"),
    Name(
        RUN_DROPS,
        "attribute",
        "{item}",
        "how much a policy dropped that belonged to no open stream, if anything",
    ),
    Name(
        RUN_WAIT_ADMISSION,
        "attribute",
        SECONDS,
        "how long the run had waited to be admitted before its span begins, if it had to",
    ),
    Name(
        RUN_PAUSED,
        "attribute",
        SECONDS,
        "how long the run was paused, if it was; waits of its steps and streams have that in them",
    ),
    Name(FLOW, "attribute", "", "name of the flow"),
    Name(TENANT, "attribute", "", "on whose behalf the run is, where its headers say so"),
    Name(TOPIC, "attribute", "", "what the run is about, where its headers say so"),
    Name(NODE, "attribute", "", "path of the node, its names joined by ``/``"),
    Name(
        ATTEMPT,
        "attribute",
        "",
        "which attempt at the step or stream it is, from 1; of a retry: which one begins",
    ),
    Name(STREAM_ID, "attribute", "", "id of the stream; on a step: of the one it works on chunk by chunk"),
    Name(STEP_NUMBER, "attribute", "", "number of the step in the run, from 1"),
    Name(STEP_OUTCOME, "attribute", "", "how it ended: done, error, cancelled, restarted or abandoned"),
    Name(
        STEP_RETRIES,
        "attribute",
        "{retry}",
        "how often a chunk was tried again, where the node works chunk by chunk",
    ),
    Name(STEP_WAIT_QUEUE, "attribute", SECONDS, "how long the input had waited before the step began"),
    Name(STEP_WAIT_SOURCE, "attribute", SECONDS, "how long the step waited for input that had not come"),
    Name(
        STEP_WAIT_NODE, "attribute", SECONDS, "how long the step was in its own code, or waited for a place"
    ),
    Name(
        STEP_WAIT_CREDIT, "attribute", SECONDS, "how long the step waited for credit, or for room behind it"
    ),
    Name(
        STEP_AGAIN,
        "attribute",
        SECONDS,
        "how much of the time in its own code went into failed tries of chunks and the waits after, if any",
    ),
    Name(STREAM_CHUNKS, "attribute", "{chunk}", "how many chunks the attempt had"),
    Name(STREAM_TERMINAL, "attribute", "", "how it ended: done, error, cancelled, expired or restarted"),
    Name(STREAM_FIRST_CHUNK, "attribute", SECONDS, "how long it took to the first chunk, if one came"),
    Name(STREAM_WAIT_SOURCE, "attribute", SECONDS, "how long the stream waited for its source"),
    Name(
        STREAM_WAIT_NODE,
        "attribute",
        SECONDS,
        "how long the stream waited for its node's code, or for a place",
    ),
    Name(STREAM_WAIT_CREDIT, "attribute", SECONDS, "how long the stream waited for its consumer's credit"),
    Name(STREAM_BYTES, "attribute", "By", "size of its payloads, where they are text (in UTF-8) or bytes"),
    Name(STREAM_GAPS, "attribute", "{chunk}", "how many numbers were skipped, if any"),
    Name(STREAM_DROPS, "attribute", "{chunk}", "how many of its chunks a policy dropped, if any"),
    Name(STREAM_RATE, "attribute", "{chunk}/s", "chunks per second from opening to end"),
    Name(EDGE, "attribute", "", "on a drop: the edge, as ``source→target``"),
    Name(CHUNK_SEQ, "attribute", "", "on a drop or a retry: number of the chunk in its stream"),
    Name(DROP_REASON, "attribute", "", "on a drop: the policy, or the command, that it was dropped by"),
    Name(PAUSED, "event", "", "the run was paused"),
    Name(RESUMED, "event", "", "the run went on; one that ends while it is paused does not"),
    Name(RETRY, "event", "", "the step, or the work on one chunk, is tried again"),
    Name(DROP, "event", "", "a policy dropped a chunk of the stream, or a message of the run"),
    Name(FIRST_CHUNK, "event", "", "the first chunk of the stream went out"),
    Name(EXCEPTION, "event", "", "an exception, once in a trace, where it happened"),
    Name(ERROR_TYPE, "attribute", "", "class of the error, on every span that failed of it, and on a retry"),
    Name(EXCEPTION_TYPE, "attribute", "", "class of the exception"),
    Name(EXCEPTION_MESSAGE, "attribute", "", "what the exception says"),
    Name(EXCEPTION_STACKTRACE, "attribute", "", "its stack trace, with what caused it"),
    Name(MESSAGING_SYSTEM, "attribute", "", "``penguiflow``"),
    Name(MESSAGING_DESTINATION, "attribute", "", "of a run its flow, of a step or a stream its node"),
    Name(MESSAGING_OPERATION, "attribute", "", "``process`` on runs and steps, ``send`` on streams"),
    Name(MESSAGING_COUNT, "attribute", "{chunk}", "on a stream: how many chunks it had"),
)
"""All names of spans, of their attributes and of their events."""
