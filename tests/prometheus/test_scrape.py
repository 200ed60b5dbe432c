"""A real Prometheus scrapes the real service while requests of every kind come: nothing that is asked for is missing.

What every alert needs to fire is promtool's to test, since it need not wait.
"""

import math
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from tests import monitoring, onnx_factory
from tests.e2e.server import PATIENCE_S, Server
from tests.monitoring import PROMETHEUS, load
from tests.pictures import by_pillow, smooth_gray

GRAY = by_pillow(smooth_gray(48, 64), "PNG")
KEY = "a-key-that-is-long-enough"
MOST_BYTES = 1_000_000
SENT_BYTES = 600_000
ROOM_FOR_ONE = 250_000
"""Bytes of kept pictures: for one of the tiny model's, not for two."""
SETTINGS = {
    "api_keys": KEY,
    "max_upload_bytes": MOST_BYTES,
    "max_held_bytes": MOST_BYTES,
    "deadline_s": 3,
    "kept_bytes": ROOM_FOR_ONE,
}
VARIABLES = {"instance": ".*", "__rate_interval": "5m"}
MAY_BE_ZERO = {
    "Alerts that fire A",
    "Waiting A",
    "Requests that wait for their turn A",
    "Megapixels worked on A",
    "Bytes of uploads and answers A",
    "Bytes of uploads and answers C",
    "Pictures that wait for the network A",
}
"""What a service shows that nobody happens to use just then."""


class Prometheus:
    """A running Prometheus with the project's configuration, but that it looks every second, and at the given port."""

    def __init__(self, folder: Path, *, service: int) -> None:
        config = dict(load(PROMETHEUS / "prometheus.yml"))
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(PROMETHEUS / name) for name in config["rule_files"]]
        (scrape,) = config["scrape_configs"]
        kept = {name: value for name, value in scrape.items() if name != "dns_sd_configs"}
        # What the look-up of the name `cpu.` would have found.
        found = {"targets": [f"127.0.0.1:{service}"], "labels": {"__meta_dns_name": "cpu."}}
        config["scrape_configs"] = [kept | {"static_configs": [found]}]
        file, self.log = folder / "prometheus.yml", folder / "log"
        file.write_text(yaml.safe_dump(config))
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = [
            "prometheus",
            f"--config.file={file}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        with self.log.open("wb") as stream:
            self.process = subprocess.Popen(command, cwd=folder, stdout=stream, stderr=stream)
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S)
        self.until(self._is_ready)

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return bool(self.client.get("/-/ready").status_code == 200)
        except httpx2.TransportError:
            return False

    def ask(self, path: str, **parameters: str) -> Any:
        answer = self.client.get(f"/api/v1/{path}", params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return the labels and the value of each series that an expression gives now."""
        return [(found["metric"], float(found["value"][1])) for found in self.ask("query", query=expression)["result"]]

    def until(self, condition: Callable[[], object]) -> None:
        for _ in range(10 * PATIENCE_S):
            if condition():
                return
            time.sleep(0.1)
        raise AssertionError("it did not come to that: " + self.log.read_text())

    def stop(self) -> None:
        self.client.close()
        self.process.terminate()
        self.process.wait(PATIENCE_S)


def send_slowly(port: int) -> socket.socket:
    """Announce an upload, send most of it, and then no more."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
    head = ("POST /colorize HTTP/1.1", "Host: x", f"X-API-Key: {KEY}", "Content-Type: image/png")
    connection.sendall("\r\n".join((*head, "Content-Length: 700000", "", "")).encode() + bytes(SENT_BYTES))
    return connection


def halt_decoding(server: Server) -> None:
    """Stop the idle workers, so that the next picture is not done in time; each ends with it."""

    def children(process: int) -> list[int]:
        return [int(each) for each in Path(f"/proc/{process}/task/{process}/children").read_text().split()]

    for fork_server in children(server.process.pid):
        for worker in children(fork_server):
            os.kill(worker, signal.SIGSTOP)


def overload(server: Server) -> None:
    """Fill the service with one slow upload, so that another one is refused; let time run out, and leave once."""
    slow = send_slowly(server.port)
    server.until("photochrom_held_bytes", SENT_BYTES)
    refused = server.client.post("/colorize", content=bytes(500_000), headers={"Content-Type": "image/png"})
    assert refused.status_code == 503
    assert slow.recv(12) == b"HTTP/1.1 408"
    slow.close()
    halt_decoding(server)
    assert server.client.post("/colorize", content=GRAY, headers={"Content-Type": "image/png"}).status_code == 504
    server.until("photochrom_held_bytes", 0)
    left = server.metric('photochrom_cancelled_total{where="read"}')
    leaves = send_slowly(server.port)
    server.until("photochrom_held_bytes", SENT_BYTES)
    leaves.close()
    server.until('photochrom_cancelled_total{where="read"}', left + 1)


def send_every_kind(server: Server) -> None:
    """Send a request of each kind, and check that each is answered as meant."""
    client, png = server.client, {"Content-Type": "image/png"}

    def colorize(query: str = "", content: bytes = GRAY, **headers: str) -> Any:
        return client.post(f"/colorize{query}", content=content, headers=png | headers)

    first = colorize()
    assert first.status_code == 200
    assert colorize(**{"If-None-Match": first.headers["etag"]}).status_code == 304
    for query in ("?format=jpeg", "?format=json", "?variants=3", "?hints=0.5,0.5,c03020", "?size=128"):
        assert colorize(query).status_code == 200
    assert client.post("/colorize", files={"image": ("p.png", GRAY), "reference": ("r.png", GRAY)}).status_code == 200
    for _ in range(2):
        kept = client.post("/pictures", content=GRAY, headers=png)
        assert kept.status_code == 201
    place = f"/{kept.headers['location']}"
    for path in (place, f"{place}?variant=2", f"{place}/confidence"):
        assert client.get(path).status_code == 200
    assert client.delete(place).status_code == 204
    assert client.get(place).status_code == 404
    assert client.post("/pictures", content=GRAY, headers=png).status_code == 201
    for path in ("/", "/health", "/health/live", "/health/ready", "/model", "/openapi.json", "/metrics"):
        assert client.get(path).status_code == 200
    assert client.get("/nowhere").status_code == 404
    assert client.get("/colorize").status_code == 405
    assert client.get("/model", headers={"X-API-Key": "another-key-of-some-length"}).status_code == 401
    assert colorize(Accept="text/html").status_code == 406
    assert colorize(content=bytes(MOST_BYTES + 1)).status_code == 413
    assert colorize(content=b"no picture").status_code == 415
    assert colorize("?vividness=9").status_code == 422
    assert colorize(content=GRAY[:-40]).status_code == 422


@dataclass(frozen=True)
class Watched:
    """A service in use, and the Prometheus that watches it."""

    server: Server
    prometheus: Prometheus


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """What there is after the service was started twice, used, overloaded, left by callers, and used again."""
    folder = tmp_path_factory.mktemp("service")
    model = onnx_factory.write_model(folder / "tiny.onnx")
    server = Server(model, folder / "first.log", **SETTINGS)
    prometheus = Prometheus(tmp_path_factory.mktemp("prometheus"), service=server.port)
    try:
        prometheus.until(lambda: prometheus.query("photochrom_ready == 1"))
        server.stop()
        server = Server(model, folder / "second.log", port=server.port, **SETTINGS)
        server.client.headers["X-API-Key"] = KEY
        prometheus.until(lambda: prometheus.query("changes(process_start_time_seconds[5m]) > 0"))
        send_every_kind(server)
        overload(server)
        # A series is born with the first answer of its kind: how fast it grows is seen from the next one on.
        prometheus.until(lambda: prometheus.query('photochrom_requests_total{code="504"}'))
        send_every_kind(server)
        overload(server)
        prometheus.until(lambda: prometheus.query('photochrom_requests_total{code="504"} == 2'))
        prometheus.until(lambda: prometheus.query('photochrom:picture_requests:rate5m{code="504"} > 0'))
        yield Watched(server, prometheus)
    finally:
        server.stop()
        prometheus.stop()


def test_the_target_is_up_and_named_as_the_rules_expect(watched: Watched) -> None:
    (target,) = watched.prometheus.ask("targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
    assert target["labels"] == {"job": "photochrom", "instance": f"127.0.0.1:{watched.server.port}", "device": "cpu"}
    instances = watched.prometheus.ask("label/instance/values", **{"match[]": "photochrom_ready"})
    assert instances == [target["labels"]["instance"]]


@pytest.mark.parametrize("place", monitoring.queries())
def test_every_query_of_the_dashboard_returns_data(place: str, watched: Watched) -> None:
    found = watched.prometheus.query(monitoring.substitute(monitoring.queries()[place], VARIABLES))
    values = [value for _, value in found if math.isfinite(value)]
    assert values
    assert place in MAY_BE_ZERO or max(values) > 0


@pytest.mark.parametrize("name", monitoring.records())
def test_every_recording_rule_makes_its_series(name: str, watched: Watched) -> None:
    found = watched.prometheus.query(name)
    assert found
    assert {label for labels, _ in found for label in labels} == monitoring.records()[name] | {"__name__"}
    assert any(value > 0 for _, value in found)


def test_every_rule_evaluates_and_no_alert_fires(watched: Watched) -> None:
    rules = [rule for group in watched.prometheus.ask("rules")["groups"] for rule in group["rules"]]
    assert len(rules) == len(monitoring.rules())
    assert {(rule["health"], rule.get("lastError", "")) for rule in rules} == {("ok", "")}
    states = {rule["name"]: rule["state"] for rule in rules if rule["type"] == "alerting"}
    assert set(states) == set(monitoring.alerts())
    assert "firing" not in states.values()
    assert states["PhotochromUnavailable"] == states["PhotochromErrors"] == states["PhotochromOnCpu"] == "inactive"


def test_prometheus_has_nothing_to_complain_of(watched: Watched) -> None:
    assert not [line for line in watched.prometheus.log.read_text().splitlines() if "level=error" in line]


def test_a_service_that_goes_away_is_noticed(tmp_path: Path) -> None:
    """Within the alert's own patience: until then it is pending."""
    server = Server(onnx_factory.write_model(tmp_path / "tiny.onnx"), tmp_path / "service.log")
    prometheus = Prometheus(tmp_path, service=server.port)

    def state() -> str:
        groups = prometheus.ask("rules")["groups"]
        (rule,) = (rule for group in groups for rule in group["rules"] if rule["name"] == "PhotochromUnavailable")
        return str(rule["state"])

    try:
        prometheus.until(lambda: prometheus.query("photochrom_ready == 1") and state() == "inactive")
        server.stop()
        prometheus.until(lambda: prometheus.query('up{job="photochrom"} == 0') and state() == "pending")
        assert prometheus.query("photochrom_ready") == []
    finally:
        server.stop()
        prometheus.stop()
