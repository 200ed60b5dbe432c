"""The service on Ray Serve: the same bytes as without, and nothing that was answered is lost, whatever dies."""

import asyncio
import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from service.client import AsyncClient
from tests import onnx_factory
from tests.e2e.server import Server
from tests.pictures import by_pillow, smooth_gray
from tests.ray.nodes import COMMANDS, PATIENCE_S, ROOT, Node, Nodes, free_port, running, until

REPLICA = "ray::ServeReplica:photochrom:Photochrom"
"""Title of a replica's process."""
MAX_UPLOAD_BYTES = 4_000_000
SMALL = by_pillow(smooth_gray(120, 90), "PNG")
LARGE = by_pillow(smooth_gray(1500, 1500), "JPEG")
"""Takes long enough for requests to meet."""


@dataclass
class Served:
    """A running application.

    Attributes:
        address: of its HTTP server.
        node: that it runs on.
    """

    address: str
    node: Node

    def replicas(self) -> list[int]:
        return self.node.processes(REPLICA)

    def ready(self) -> bool:
        try:
            return httpx2.get(f"{self.address}/health/ready", timeout=PATIENCE_S).status_code == 200
        except httpx2.TransportError:
            return False

    def settle(self) -> None:
        """Wait until there is one replica, as at the start, and it answers."""
        until(lambda: len(self.replicas()) == 1 and self.ready(), "one replica")


def configured(port: int, model: Path) -> dict[str, Any]:
    """Return docker/ray-serve.yaml for a small machine in a hurry."""
    config = yaml.safe_load((ROOT / "docker" / "ray-serve.yaml").read_text())
    config["http_options"]["port"] = port
    (application,) = config["applications"]
    application["runtime_env"]["env_vars"] |= {
        "PHOTOCHROM_MODEL": str(model),
        "PHOTOCHROM_DEVICE": "cpu",
        "PHOTOCHROM_DEADLINE_S": "120",
    }
    (deployment,) = application["deployments"]
    deployment["max_ongoing_requests"] = 2
    deployment["max_queued_requests"] = 4
    deployment["ray_actor_options"]["num_cpus"] = 1
    deployment["autoscaling_config"] |= {
        "max_replicas": 2,
        "target_ongoing_requests": 1,
        "upscale_delay_s": 1,
        "downscale_delay_s": 3,
        "metrics_interval_s": 1,
        "look_back_period_s": 2,
    }
    config["http_options"]["request_timeout_s"] = 150
    return config


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return onnx_factory.write_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="module")
def started(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("serve")
    config = folder / "serve.yaml"
    port = free_port()
    config.write_text(yaml.safe_dump(configured(port, model)))
    log = folder / "serve.log"
    with running() as nodes:
        nodes.environment["PHOTOCHROM_MAX_UPLOAD_BYTES"] = str(MAX_UPLOAD_BYTES)
        served = Served(f"http://127.0.0.1:{port}", nodes.add(cpus=2))
        with log.open("wb") as stream, _deployed(nodes, config, stream) as process:
            until(lambda: process.poll() is not None or served.ready(), "serve run")
            assert process.poll() is None, log.read_text()
            yield served
            process.kill()


def _deployed(nodes: Nodes, config: Path, stream: Any) -> "subprocess.Popen[bytes]":
    arguments = [COMMANDS / "serve", "run", "--address", nodes.address, config]
    return subprocess.Popen(arguments, cwd=ROOT, env=nodes.environment, stdout=stream, stderr=stream)


@pytest.fixture
def served(started: Served) -> Served:
    started.settle()
    return started


def test_the_bytes_are_those_of_the_plain_service(served: Served, model: Path, tmp_path: Path) -> None:
    plain = Server(model, tmp_path / "log", threads=1)
    try:
        for data in (SMALL, (ROOT / "tests" / "data" / "astronaut.jpg").read_bytes()):
            for query in ("", "?vividness=1", "?format=jpeg", "?format=webp", "?variants=2"):
                right = plain.post(data, query)
                answer = httpx2.post(f"{served.address}/colorize{query}", content=data, timeout=PATIENCE_S)
                assert (answer.status_code, answer.content) == (200, right.content)
                assert answer.headers["Content-Type"] == right.headers["Content-Type"]
                assert answer.headers["ETag"] == right.headers["ETag"]
    finally:
        plain.stop()


def test_answers_carry_one_request_id(served: Served) -> None:
    answer = httpx2.get(f"{served.address}/nowhere", headers={"X-Request-ID": "mine"}, timeout=PATIENCE_S)
    assert answer.status_code == 404
    assert answer.headers.get_list("X-Request-ID") == ["mine"]
    assert answer.json()["request_id"] == "mine"
    made_up = httpx2.get(f"{served.address}/health", headers={"X-Request-ID": "no good"}, timeout=PATIENCE_S)
    (request_id,) = made_up.headers.get_list("X-Request-ID")
    assert request_id
    assert request_id != "no good"


@pytest.mark.parametrize("in_chunks", [False, True])
def test_uploads_end_at_the_limit(served: Served, in_chunks: bool) -> None:
    async def send() -> httpx2.Response:
        async def chunks() -> Any:
            for _ in range(10):
                yield bytes(1_000_000)

        async with httpx2.AsyncClient(timeout=PATIENCE_S) as client:
            content = chunks() if in_chunks else bytes(10_000_000)
            return await client.post(f"{served.address}/colorize", content=content)

    answer = asyncio.run(send())
    assert answer.status_code == 413
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["type"], problem["limit"]) == ("urn:photochrom:problem:upload-too-large", MAX_UPLOAD_BYTES)


def test_overload_is_a_problem_that_says_when_to_come_back(served: Served) -> None:
    async def flood() -> list[httpx2.Response]:
        async with httpx2.AsyncClient(base_url=served.address, timeout=PATIENCE_S) as client:
            return await asyncio.gather(*(client.post("/colorize", content=LARGE) for _ in range(40)))

    answers = asyncio.run(flood())
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) == {200, 503}
    assert len({answer.content for answer in answers if answer.status_code == 200}) == 1
    for answer in answers:
        if answer.status_code == 503:
            assert int(answer.headers["Retry-After"]) >= 1
            assert answer.headers["Content-Type"] == "application/problem+json"
            problem = answer.json()
            assert problem["type"] == "urn:photochrom:problem:overloaded"
            assert problem["request_id"] == answer.headers["X-Request-ID"]
            assert problem["retry_after_s"] == int(answer.headers["Retry-After"])


async def keep_asking(address: str, tasks: int, until_done: Any) -> int:
    """Send pictures from several callers until told to stop; return how many were answered."""
    answered = 0

    async def call(client: AsyncClient) -> None:
        nonlocal answered
        while not until_done():
            await client.colorize(LARGE)
            answered += 1

    async with AsyncClient(address, retries=30, max_wait_s=PATIENCE_S, timeout_s=PATIENCE_S) as client:
        await asyncio.gather(*(call(client) for _ in range(tasks)))
    return answered


def test_load_brings_a_second_replica_and_quiet_takes_it_away(served: Served) -> None:
    assert len(served.replicas()) == 1

    async def ask() -> int:
        async with asyncio.timeout(PATIENCE_S):
            return await keep_asking(served.address, 5, lambda: len(served.replicas()) == 2)

    assert asyncio.run(ask()) > 0
    assert len(served.replicas()) == 2
    served.settle()


def test_a_killed_replica_loses_no_answered_request(served: Served) -> None:
    """Without retries every answer is whole, or a problem that asks to come again; with the client's, all come."""
    right = httpx2.post(f"{served.address}/colorize", content=LARGE, timeout=PATIENCE_S).content
    seen: Counter[int | str] = Counter()

    async def raw(client: httpx2.AsyncClient) -> None:
        try:
            answer = await client.post("/colorize", content=LARGE)
        except httpx2.TransportError as error:  # Cut off in the middle of its answer.
            seen[type(error).__name__] += 1
            return
        seen[answer.status_code] += 1
        if answer.status_code == 200:
            assert answer.content == right
        else:
            assert answer.headers["Content-Type"] == "application/problem+json", answer.text
            assert int(answer.headers["Retry-After"]) >= 1
            assert json.loads(answer.content)["type"] == "urn:photochrom:problem:overloaded"

    async def scene() -> list[bytes]:
        async with (
            httpx2.AsyncClient(base_url=served.address, timeout=PATIENCE_S) as plain,
            AsyncClient(served.address, retries=30, max_wait_s=PATIENCE_S, timeout_s=PATIENCE_S) as client,
        ):
            patient = [asyncio.create_task(client.colorize(LARGE)) for _ in range(6)]
            others = [asyncio.create_task(raw(plain)) for _ in range(2)]
            await asyncio.wait(patient, return_when=asyncio.FIRST_COMPLETED)
            killed = served.replicas()
            for replica in killed:
                os.kill(replica, signal.SIGKILL)
            others += [asyncio.create_task(raw(plain)) for _ in range(4)]
            answers = [answer.data for answer in await asyncio.gather(*patient)]
            await asyncio.gather(*others)
            assert killed
            assert not set(killed) & set(served.replicas())
            return answers

    assert asyncio.run(scene()) == [right] * 6
    assert sum(seen.values()) == 6
    assert seen[200] + seen[503] >= 5, seen
    served.settle()
    again = httpx2.post(f"{served.address}/colorize", content=LARGE, timeout=PATIENCE_S)
    assert (again.status_code, again.content) == (200, right)
