"""The description of the service: pinned, and with an example for every status."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest
from starlette.testclient import TestClient

from service.http.answers import Health, Model, Probe
from service.http.app import create_app
from service.settings import Settings
from tests import onnx_factory

GOLDEN = Path(__file__).parents[1] / "golden" / "openapi.json"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    model = onnx_factory.write_model(tmp_path_factory.mktemp("model") / "tiny.onnx")
    with TestClient(create_app(Settings(model=model, device="cpu", threads=2))) as made:
        yield made


def test_the_description_is_the_pinned_one(client: TestClient, rewrite_golden: bool) -> None:
    """A change of the interface is made on purpose: `pytest --rewrite-golden` writes it anew."""
    description = client.get("/openapi.json").json()
    description["info"]["version"] = "pinned"
    if rewrite_golden:
        GOLDEN.write_text(json.dumps(description, indent=1, sort_keys=True) + "\n")
    assert description == json.loads(GOLDEN.read_text())


def test_operations_are_named_by_verbs(client: TestClient) -> None:
    """Generated clients have a function of this name."""
    names = [
        operation["operationId"]
        for methods in client.get("/openapi.json").json()["paths"].values()
        for operation in methods.values()
    ]
    assert len(names) == len(set(names))
    verbs = {"check", "colorize", "draw", "forget", "get", "keep", "list", "render"}
    assert {re.match("[a-z]+", name)[0] for name in names} == verbs  # type: ignore[index]


def test_problems_are_of_one_schema(client: TestClient) -> None:
    description = client.get("/openapi.json").json()
    assert set(description["components"]["schemas"]["Problem"]["required"]) >= {"type", "title", "status", "detail"}
    schemas = [
        json.dumps(response["content"]["application/problem+json"]["schema"])
        for methods in description["paths"].values()
        for operation in methods.values()
        for status, response in operation["responses"].items()
        if int(status) >= 400
    ]
    assert set(schemas) == {'{"$ref": "#/components/schemas/Problem"}'}


def test_generators_come_to_bytes_before_they_come_to_json(client: TestClient) -> None:
    """Some take the first type that they know; a picture that is parsed as JSON is an exception."""
    paths = client.get("/openapi.json").json()["paths"]
    for operation in (paths["/colorize"]["post"], paths["/pictures/{id}"]["get"]):
        kinds = list(operation["responses"]["200"]["content"])
        assert kinds.index("application/octet-stream") < kinds.index("application/json")


def test_the_server_is_where_the_description_is(client: TestClient) -> None:
    (server,) = client.get("/openapi.json").json()["servers"]
    for address in ("http://host/openapi.json", "https://host/behind/a/proxy/openapi.json"):
        assert urljoin(address, server["url"]) == address.removesuffix("openapi.json")


def test_every_status_has_an_example(client: TestClient) -> None:
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                for content in response.get("content", {}).values():
                    is_picture = content.get("schema", {}).get("format") == "binary"
                    assert is_picture or content.get("examples") or content.get("example"), f"{path} {status}"


@pytest.mark.parametrize(("path", "shape"), [("/health/live", Probe), ("/health", Health), ("/model", Model)])
def test_the_examples_are_answers(client: TestClient, path: str, shape: type) -> None:
    operation = client.get("/openapi.json").json()["paths"][path]["get"]
    example = operation["responses"]["200"]["content"]["application/json"]["example"]
    assert shape(**example)
    assert set(example) == set(client.get(path).json())
