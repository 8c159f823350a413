"""One trace over two processes: where a request of a node goes, the trace goes on (W3C Trace Context)."""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import anyio
import httpx
import pytest
from opentelemetry.propagate import inject
from opentelemetry.trace import SpanKind

from penguiflow import Context, Flow, Headers, node

from .otel import Traced, id_of, traced_by

pytestmark = [pytest.mark.anyio, pytest.mark.limit(30)]


@node
def answer(question: str) -> str:
    """Answer."""
    return question.upper()


class Service(ThreadingHTTPServer):
    """Another process, as far as a trace can tell: its flow has its own tracer, in its own event loop."""

    daemon_threads = True

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        super().__init__(("127.0.0.1", 0), Asked)
        self.url = f"http://127.0.0.1:{self.server_port}/"
        self.checks = traced_by(caplog)
        self.traced: Traced = next(self.checks)
        self.headers: list[dict[str, str]] = []

    async def serve(self, question: str, headers: dict[str, str]) -> str:
        """Run the flow for one request."""
        flow = Flow("service", answer)
        async with flow.open(observers=[self.traced.observer]) as runtime:
            return str(await runtime.call(question, headers=Headers(extra=dict(headers))))


class Asked(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Service

    def do_POST(self) -> None:
        question = self.rfile.read(int(self.headers["content-length"])).decode()
        known = ("traceparent", "tracestate")
        headers = {name: self.headers[name] for name in known if self.headers[name]}
        self.server.headers.append(headers)
        body = anyio.run(partial(self.server.serve, question, headers)).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def service(caplog) -> Iterator[Service]:
    """The other side."""
    with Service(caplog) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
        assert list(server.checks) == []


@pytest.fixture
def traced(caplog):
    yield from traced_by(caplog)


def by_span(ctx: Context) -> dict[str, str]:
    return ctx.span.headers()


def by_opentelemetry(ctx: Context) -> dict[str, str]:
    carrier: dict[str, str] = {}
    inject(carrier)
    return carrier


@pytest.mark.parametrize("headers_of", [by_span, by_opentelemetry])
async def test_a_trace_goes_on_in_another_process(traced: Traced, service: Service, headers_of: Any) -> None:
    """The other run is a child of the step that asked, in the same trace; tracestate comes with it."""

    @node
    async def asks(question: str, ctx: Context) -> str:
        async with httpx.AsyncClient() as client:
            response = await client.post(service.url, content=question, headers=headers_of(ctx))
        return response.text

    origin = Headers(
        extra={
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "tracestate": "vendor=a,other=b",
        }
    )
    async with Flow("f", asks).open(observers=[traced.observer]) as runtime:
        assert await runtime.call("why", headers=origin) == "WHY"
    step, there = traced.one("step asks"), service.traced.one("run service")
    assert there.parent.span_id == id_of(step)
    assert there.parent.is_remote
    assert there.kind is SpanKind.CONSUMER
    assert traced.traces() == service.traced.traces() == {"4bf92f3577b34da6a3ce929d0e0e4736"}
    assert service.headers[0]["tracestate"] == "vendor=a,other=b"
    assert there.context.trace_state.to_header() == "vendor=a,other=b"
    assert ("run service", "step answer") in service.traced.tree()


async def test_many_requests_at_once_keep_to_their_steps(traced: Traced, service: Service) -> None:
    """Each of many steps side by side finds its own child on the other side."""

    @node
    async def asks(question: str, ctx: Context) -> str:
        async with httpx.AsyncClient() as client:
            return (await client.post(service.url, content=question, headers=ctx.span.headers())).text

    async with Flow("f", asks).open(observers=[traced.observer]) as runtime:
        async with anyio.create_task_group() as tasks:
            for i in range(8):
                tasks.start_soon(runtime.call, f"why {i}")
    steps = {id_of(span): span.context.trace_id for span in traced.all("step asks")}
    there = {span.parent.span_id: span.context.trace_id for span in service.traced.all("run service")}
    assert there == steps
    assert len(there) == 8


async def test_without_a_tracer_the_trace_is_handed_on(service: Service) -> None:
    """Where nobody traces on this side, the other one is a child of whoever began."""

    @node
    async def asks(question: str, ctx: Context) -> str:
        async with httpx.AsyncClient() as client:
            return (await client.post(service.url, content=question, headers=ctx.span.headers())).text

    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with Flow("f", asks).open() as runtime:
        await runtime.call("why", headers=Headers(extra={"traceparent": parent}))
    assert service.headers == [{"traceparent": parent}]
    assert service.traced.one("run service").parent.span_id == 0x00F067AA0BA902B7
