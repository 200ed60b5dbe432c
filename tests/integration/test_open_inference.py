"""The routes of the Open Inference Protocol say what the others say, in the protocol's words."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from chroma.signature import INPUT_NAMES, KNOB_NAMES, OUTPUT_NAMES
from service.engine.session import Session
from service.http.app import create_app
from service.http.open_inference import ModelMetadata, ModelReady, ServerLive, ServerMetadata, ServerReady
from service.settings import Settings
from tests import onnx_factory

NAME = "tiny-0001"


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return onnx_factory.write_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


def make_client(model_path: Path) -> TestClient:
    # With keys: like the other health routes, these need none.
    return TestClient(create_app(Settings(model=model_path, device="cpu", threads=1, api_keys="a-key-not-sent-here")))


@pytest.fixture(scope="module")
def client(model_path: Path) -> Iterator[TestClient]:
    with make_client(model_path) as made:
        yield made


@pytest.fixture(scope="module")
def version(model_path: Path) -> str:
    return Session(model_path, device="cpu", threads=1).digest[:12]


def test_the_server_says_what_it_is(client: TestClient) -> None:
    assert client.get("/v2").json() == {
        "name": "photochrom",
        "version": client.get("/health").json()["version"],
        "extensions": [],
    }


def test_the_model_says_what_it_takes_and_gives(client: TestClient, version: str) -> None:
    told = client.get(f"/v2/models/{NAME}").json()
    assert told == client.get(f"/v2/models/{NAME}/versions/{version}").json()
    assert (told["name"], told["versions"], told["platform"]) == (NAME, [version], "onnx_onnxv1")
    shapes = {kind: {one["name"]: one["shape"] for one in told[kind]} for kind in ("inputs", "outputs")}
    assert {one["datatype"] for kind in shapes for one in told[kind]} == {"FP32"}
    assert shapes["inputs"] == {"lightness": [-1, -1, -1, 1], **{name: [-1] for name in KNOB_NAMES}}
    assert shapes["outputs"] == {
        "ab": [-1, -1, -1, 2],
        "ab_decoded": [-1, -1, -1, 2],
        "ab_logits": [-1, -1, -1, 313],
        "scene_logits": [-1, len(onnx_factory.SCENES)],
        "spread": [-1, -1, -1, 1],
    }
    assert set(shapes["inputs"]) == set(INPUT_NAMES)
    assert set(shapes["outputs"]) == set(OUTPUT_NAMES)


@pytest.mark.parametrize(
    "path",
    [
        "/v2/models/other",
        "/v2/models/other/ready",
        "/v2/models/other/versions/{version}",
        f"/v2/models/{NAME}/versions/1",
        f"/v2/models/{NAME}/versions/1/ready",
    ],
)
def test_an_unknown_model_is_a_problem(client: TestClient, version: str, path: str) -> None:
    answer = client.get(path.format(version=version))
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (404, "urn:photochrom:problem:not-found")
    assert answer.headers["content-type"] == "application/problem+json"
    assert NAME in problem["detail"]
    assert problem["error"] == problem["detail"]


def test_they_follow_the_other_health_routes(model_path: Path, version: str) -> None:
    ready = ("/v2/health/ready", f"/v2/models/{NAME}/ready", f"/v2/models/{NAME}/versions/{version}/ready")
    with make_client(model_path) as client:

        def statuses() -> tuple[int, int, set[int]]:
            return (
                client.get("/health/live").status_code,
                client.get("/v2/health/live").status_code,
                {client.get(path).status_code for path in ("/health/ready", *ready)},
            )

        assert statuses() == (200, 200, {200})
        assert client.get("/v2/health/live").json() == {"live": True}
        assert client.get("/v2/health/ready").json() == {"ready": True}
        assert client.get(ready[1]).json() == client.get(ready[2]).json() == {"name": NAME, "ready": True}
        pipeline = client.app.state.services.pipeline  # type: ignore[attr-defined]
        pipeline.draining = True
        assert statuses() == (200, 200, {503})
        assert client.get(ready[0]).json()["type"] == "urn:photochrom:problem:draining"
        pipeline.draining = False
        pipeline.batcher.close()
        assert statuses() == (503, 503, {503})
        assert client.get(f"/v2/models/{NAME}").status_code == 200


def test_tensors_are_not_taken(client: TestClient) -> None:
    """The interface is POST /colorize, with its limits."""
    answer = client.post(f"/v2/models/{NAME}/infer", json={"inputs": []})
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:photochrom:problem:not-found")
    answer = client.post("/v2/health/ready")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


def test_probes_do_not_fill_the_log(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "service"):
        client.get("/v2/health/ready")
        client.get("/v2/models/other")
    assert [record for record in caplog.records if record.message == "request"] == []


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/v2", ServerMetadata),
        ("/v2/health/live", ServerLive),
        ("/v2/health/ready", ServerReady),
        ("/v2/models/{name}", ModelMetadata),
        ("/v2/models/{name}/versions/{version}", ModelMetadata),
        ("/v2/models/{name}/ready", ModelReady),
        ("/v2/models/{name}/versions/{version}/ready", ModelReady),
    ],
)
def test_the_examples_are_answers(client: TestClient, version: str, path: str, shape: type) -> None:
    operation = client.get("/openapi.json").json()["paths"][path]["get"]
    example = operation["responses"]["200"]["content"]["application/json"]["example"]
    assert shape(**example)
    assert set(example) == set(client.get(path.format(name=NAME, version=version)).json())
    assert {parameter["in"] for parameter in operation.get("parameters", [])} <= {"path"}
