"""One trace of a request shows every stage, sent by the framework's own switch to a collector."""

import itertools
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from service.telemetry import STAGES
from tests import onnx_factory
from tests.e2e.server import PATIENCE_S, Server
from tests.pictures import by_pillow, smooth_gray

pytestmark = pytest.mark.e2e


class Collector(ThreadingHTTPServer):
    """Takes OTLP over HTTP and keeps the spans."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.spans: list[Span] = []
        self.complete = threading.Event()


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Collector)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/traces":
            request = ExportTraceServiceRequest.FromString(body)
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    self.server.spans += scope.spans
            if {span.name for span in self.server.spans} >= {*STAGES, "POST /colorize"}:
                self.server.complete.set()
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def test_one_trace_shows_every_stage(collector: Collector, tmp_path: Path) -> None:
    variables = {
        "FASTAPI_OTEL_AUTO_CONFIGURE": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_SERVICE_NAME": "photochrom",
    }
    server = Server(onnx_factory.write_model(tmp_path / "tiny.onnx"), tmp_path / "log", variables=variables)
    try:
        trace_id = "0af7651916cd43dd8448eb211c80319c"
        headers = {"Content-Type": "image/png", "traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
        picture = by_pillow(smooth_gray(48, 64), "PNG")
        assert server.client.post("/colorize", content=picture, headers=headers).status_code == 200
        assert collector.complete.wait(PATIENCE_S)
    finally:
        server.stop()
    ours = {span.name: span for span in collector.spans if span.trace_id.hex() == trace_id}
    assert set(ours) >= {*STAGES, "POST /colorize"}
    request = ours["POST /colorize"]
    for earlier, later in itertools.pairwise(STAGES):
        assert ours[earlier].start_time_unix_nano <= ours[later].start_time_unix_nano
    known = {span.span_id for span in ours.values()}
    for stage in STAGES:
        assert ours[stage].parent_span_id in known
        assert request.start_time_unix_nano <= ours[stage].start_time_unix_nano
        assert ours[stage].end_time_unix_nano <= request.end_time_unix_nano + 1_000_000
