"""Spans as a collector receives them, by OTLP over HTTP."""

import asyncio
import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from twinloop.service.watching import TelemetrySettings, Tracing

collected = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")


@pytest.fixture
def collector():
    """Address of a collector, and the spans that it got."""
    spans = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            for resource in collected.ExportTraceServiceRequest.FromString(body).resource_spans:
                spans.extend(span for scope in resource.scope_spans for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *parts):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", spans
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_slot_and_a_request_become_spans(collector):
    address, spans = collector
    tracing = Tracing(TelemetrySettings(endpoint=address), lambda: 17)
    for part, seconds in (("take", 0.001), ("slot", 0.02), ("paint", 0.003), ("act", 0.004)):
        tracing.observe(part, seconds)

    async def application(scope, receive, send):
        await send({"type": "http.response.start", "status": 404, "headers": []})

    async def send(message):
        pass

    asyncio.run(tracing.requests(application)({"type": "http", "method": "GET"}, None, send))
    tracing.close()
    named = {span.name: span for span in spans}
    assert set(named) == {"slot", "slot.take", "slot.slot", "slot.paint", "slot.act", "GET"}
    whole, inner = named["slot"], named["slot.slot"]
    assert inner.parent_span_id == whole.span_id and not whole.parent_span_id
    assert inner.end_time_unix_nano - inner.start_time_unix_nano == 20_000_000
    assert {entry.key: entry.value.int_value for entry in whole.attributes} == {"twinloop.slot": 17}
    status = {entry.key: entry.value.int_value for entry in named["GET"].attributes}
    assert status["http.response.status_code"] == 404


@pytest.mark.parametrize("path", ["/reports", "/system"])
def test_spans_name_the_route_whichever_way_it_is_served(collector, stage, path):
    address, spans = collector
    tracing = Tracing(TelemetrySettings(endpoint=address), lambda: 17)
    stage.app = tracing.requests(stage.app)
    stage.call("POST" if path == "/reports" else "GET", path, content=b"{}")
    tracing.close()
    assert [span.name.split()[1] for span in spans] == [path]
