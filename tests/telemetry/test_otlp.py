"""A real round trip: spans leave by OTLP over HTTP, and a collector reads from the bytes what was meant."""

import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

import penguiflow
from penguiflow import Flow, StepError, Stream, node
from penguiflow.telemetry.spans.observer import OpenTelemetry

pytestmark = [pytest.mark.anyio, pytest.mark.limit(30)]


class Collector(ThreadingHTTPServer):
    """Takes what exporters post to ``/v1/traces``, and reads it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Receiver)
        self.requests: list[ExportTraceServiceRequest] = []
        self.url = f"http://127.0.0.1:{self.server_port}/v1/traces"

    def spans(self) -> dict[str, Span]:
        """The spans that have come, by name."""
        return {
            span.name: span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        }


class Receiver(BaseHTTPRequestHandler):
    """Answers one exporter."""

    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        assert (self.path, self.headers["content-type"]) == ("/v1/traces", "application/x-protobuf")
        self.server.requests.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector that listens."""
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@node
async def words(n: int) -> AsyncIterator[str]:
    """Yield as many words; fail at none."""
    for _ in range(n):
        yield "word"
    if n == 0:
        raise ValueError("no words")


@node
async def joined(stream: Stream[str]) -> str:
    """Put them together."""
    return " ".join([word async for word in stream])


async def sent(collector: Collector, run: Any) -> None:
    """Send the spans of a run to a collector."""
    provider = TracerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=collector.url, compression=Compression.NoCompression, timeout=5)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    async with Flow("f", words >> joined).open(
        observers=[OpenTelemetry(tracer_provider=provider)]
    ) as runtime:
        await run(runtime)
    await anyio.to_thread.run_sync(provider.shutdown)


def test_the_command_line_sends_spans(collector: Collector, tmp_path: Path) -> None:
    """`run --otlp URL` sends them before it ends; a collector that is away costs the run nothing."""
    lines = [
        "from penguiflow import Flow, node",
        "@node",
        "async def loud(text: str) -> str:",
        "    return text.upper()",
        "flow = Flow('f', loud)",
    ]
    (tmp_path / "loud.py").write_text("\n".join(lines), encoding="utf-8")
    command = [sys.executable, "-m", "penguiflow", "run", "loud:flow", "go", "--otlp"]
    sent = subprocess.run([*command, collector.url], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (sent.returncode, sent.stdout.strip()) == (0, "GO")
    assert set(collector.spans()) == {"run f", "step loud"}
    away = subprocess.run(
        [*command, "http://127.0.0.1:9/v1/traces"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (away.returncode, away.stdout.strip()) == (0, "GO")
    wrong = subprocess.run([*command, "nowhere"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (wrong.returncode, wrong.stdout) == (2, "")


def said(span: Span, name: str) -> Any:
    """The value of an attribute, as its own type."""
    (found,) = [entry.value for entry in span.attributes if entry.key == name]
    return getattr(found, found.WhichOneof("value") or "")


async def test_spans_arrive_at_a_collector(collector: Collector) -> None:
    """Ids, parents, times and attributes are read back from the protobuf as they were."""
    runs: list[Any] = []

    async def once(runtime: Any) -> None:
        async with runtime.run(3, run_id="r") as run:
            assert await run.result() == "word word word"
        runs.append(run)

    await sent(collector, once)
    spans = collector.spans()
    assert set(spans) == {"run f", "step words", "stream words", "step joined"}
    run, step, stream = spans["run f"], spans["step words"], spans["stream words"]
    assert {span.trace_id.hex() for span in spans.values()} == {runs[0].trace_id}
    assert run.parent_span_id == b""
    assert {len(span.span_id) for span in spans.values()} == {8}
    assert step.parent_span_id == run.span_id == spans["step joined"].parent_span_id
    assert stream.parent_span_id == step.span_id
    assert said(stream, "penguiflow.stream.chunks") == 3
    assert said(stream, "penguiflow.stream.bytes") == 12
    assert said(stream, "penguiflow.run.id") == "r"
    names = [f"penguiflow.stream.wait.{word}" for word in ("source", "node", "credit")]
    waited = [said(stream, name) for name in names]
    assert {type(value) for value in waited} == {float}
    duration = (stream.end_time_unix_nano - stream.start_time_unix_nano) / 1e9
    assert sum(waited) == pytest.approx(duration, abs=3e-9)
    assert [event.name for event in stream.events] == ["first chunk"]
    assert run.start_time_unix_nano <= step.start_time_unix_nano <= stream.start_time_unix_nano
    assert run.status.code == Status.STATUS_CODE_UNSET
    (resource,) = collector.requests[0].resource_spans
    assert {entry.key: entry.value.string_value for entry in resource.resource.attributes} == {
        "service.name": "shop"
    }
    (scope,) = resource.scope_spans
    assert (scope.scope.name, scope.scope.version) == ("penguiflow", penguiflow.__version__)


async def test_an_error_arrives_at_a_collector(collector: Collector) -> None:
    """Status, class and stack trace come over, the exception once."""

    async def once(runtime: Any) -> None:
        with pytest.raises(StepError):
            await runtime.call(0)

    await sent(collector, once)
    spans = collector.spans()
    recorded = [(name, event) for name, span in spans.items() for event in span.events]
    ((name, event),) = [(name, event) for name, event in recorded if event.name == "exception"]
    assert name == "step words"
    details = {entry.key: entry.value.string_value for entry in event.attributes}
    assert (details["exception.type"], details["exception.message"]) == ("ValueError", "no words")
    assert "raise ValueError" in details["exception.stacktrace"]
    for name in ("run f", "step words", "stream words"):
        assert spans[name].status.code == Status.STATUS_CODE_ERROR
        assert said(spans[name], "error.type") == "ValueError"


@pytest.mark.parametrize("processor", [BatchSpanProcessor, SimpleSpanProcessor])
async def test_a_collector_that_is_down_hurts_no_run(processor: Any, caplog) -> None:
    """Results come, the observer is not silenced; who exports says in its own log that nobody listens."""
    with Collector() as closed:
        url = closed.url
    provider = TracerProvider(shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=url, timeout=0.2)
    provider.add_span_processor(processor(exporter))
    observer = OpenTelemetry(tracer_provider=provider)
    async with Flow("f", words >> joined).open(observers=[observer]) as runtime:
        assert await runtime.call(2) == "word word"
        assert runtime.statistics().observer_errors == 0
    assert observer.errors == 0
    await anyio.to_thread.run_sync(exporter.shutdown)
    await anyio.to_thread.run_sync(provider.shutdown)
