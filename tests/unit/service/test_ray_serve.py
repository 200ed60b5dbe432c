"""service.http.ray_serve without Ray: what Ray's server says becomes a problem, and the configuration fits."""

import asyncio
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
import yaml
from starlette.types import ASGIApp, Receive, Scope, Send

from service.engine import models
from service.engine.fair_queue import more_time_s
from service.http import ray_serve as ray_app
from service.http.ray_serve import NAME, OPTIONS, Proxy, Replica, application, middlewares
from service.pictures.size_limits import SizeLimits
from service.settings import Precision, Settings
from tests import onnx_factory

CONFIG = Path(__file__).parents[3] / "docker" / "ray-serve.yaml"
LIMIT = 1000


def answers(status: int, content_type: str, body: bytes = b"said by Ray", **headers: str) -> ASGIApp:
    async def server(_: Scope, __: Receive, send: Send) -> None:
        pairs = [(b"content-type", content_type.encode())]
        pairs += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": body})

    return server


async def reads_all(scope: Scope, receive: Receive, send: Send) -> None:
    """As Ray's: takes what comes, and gives up when its caller has left."""
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message["body"])
        if not message["more_body"]:
            break
    await answers(200, "text/plain", str(size).encode())(scope, receive, send)


def ask(server: ASGIApp, path: str = "/colorize", content: Any = b"", **headers: str) -> httpx2.Response:
    async def call() -> httpx2.Response:
        transport = httpx2.ASGITransport(Proxy(server, limits=SizeLimits(50, LIMIT)))
        async with httpx2.AsyncClient(transport=transport, base_url="http://ray") as client:
            return await client.post(path, content=content, headers=headers)

    return asyncio.run(call())


async def silent(_: Scope, receive: Receive, __: Send) -> None:
    """A replica died before it answered: Ray sends nothing at all."""
    await receive()


@pytest.mark.parametrize(
    ("server", "status", "name", "retry_after"),
    [
        (answers(503, "text/plain", retry_after="2"), 503, "overloaded", "2"),
        (answers(429, "text/plain; charset=utf-8"), 503, "overloaded", "2"),
        (answers(408, "text/plain"), 504, "deadline-exceeded", None),
        (answers(404, "text/plain"), 404, "not-found", None),
        (answers(500, "text/plain"), 500, "internal-error", None),
        (silent, 503, "overloaded", "1"),
    ],
)
def test_what_ray_says_is_a_problem(server: ASGIApp, status: int, name: str, retry_after: str | None) -> None:
    answer = ask(server, **{"X-Request-ID": "mine"})
    assert (answer.status_code, answer.headers.get("Retry-After")) == (status, retry_after)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    problem = answer.json()
    assert (problem["type"], problem["status"]) == (f"urn:photochrom:problem:{name}", status)
    assert problem["request_id"] == "mine"
    assert answer.headers.get_list("X-Request-ID") == ["mine"]
    assert "said by Ray" not in answer.text


@pytest.mark.parametrize(
    ("status", "content_type"), [(200, "image/png"), (200, "text/plain"), (422, "application/problem+json")]
)
def test_what_a_replica_says_is_left_alone(status: int, content_type: str) -> None:
    answer = ask(answers(status, content_type, b"whole", x_request_id="twice"), **{"X-Request-ID": "mine"})
    assert (answer.status_code, answer.headers["Content-Type"], answer.content) == (status, content_type, b"whole")
    assert answer.headers.get_list("X-Request-ID") == ["mine"]


def test_rays_own_addresses_are_left_alone() -> None:
    answer = ask(answers(503, "text/plain", b"draining"), "/-/healthz")
    assert (answer.status_code, answer.text) == (503, "draining")


@pytest.mark.parametrize("path", ["/-/", "/-/x", "/-/healthz/x", "/-/routes/"])
def test_what_only_looks_like_them_has_limits_too(path: str) -> None:
    assert ask(reads_all, path, bytes(LIMIT + 1)).status_code == 413
    assert ask(answers(503, "text/plain"), path).headers["Content-Type"] == "application/problem+json"


def test_nobody_switches_rays_deadline_off() -> None:
    seen: list[bytes] = []

    async def server(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend(name for name, _ in scope["headers"])
        await answers(200, "image/png")(scope, receive, send)

    ask(server, **{"X-Request-Timeout-Seconds": "0", "X-Request-Disconnect-Disabled": "?1", "X-API-Key": "a key"})
    assert b"x-api-key" in seen
    assert not {name for name in seen if name.startswith((b"x-request-timeout", b"x-request-disconnect"))}


def test_everyone_knows_the_same_request_id() -> None:
    seen: list[bytes] = []

    async def server(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend(value for name, value in scope["headers"] if name == b"x-request-id")
        await answers(200, "image/png")(scope, receive, send)

    answer = ask(server, **{"X-Request-ID": "not a good one"})
    assert seen == [answer.headers["X-Request-ID"].encode()]
    assert seen != [b"not a good one"]


def in_pieces(count: int, size: int) -> Callable[[], Any]:
    async def pieces() -> Any:
        for _ in range(count):
            yield bytes(size)

    return pieces


def test_uploads_up_to_the_limit_go_through() -> None:
    assert ask(reads_all, content=bytes(LIMIT)).text == str(LIMIT)
    assert ask(reads_all, content=in_pieces(10, LIMIT // 10)()).text == str(LIMIT)


@pytest.mark.parametrize("content", [lambda: bytes(LIMIT + 1), in_pieces(11, LIMIT // 10)])
def test_larger_uploads_do_not(content: Callable[[], Any]) -> None:
    answer = ask(reads_all, content=content())
    assert answer.status_code == 413
    assert answer.json()["type"] == "urn:photochrom:problem:upload-too-large"
    assert answer.json()["limit"] == LIMIT
    assert "50 megapixels and 0.001 MB" in answer.json()["detail"]


def test_a_caller_who_left_gets_no_answer() -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/colorize", "headers": []}
    asyncio.run(Proxy(silent, limits=SizeLimits(50, LIMIT))(scope, receive, send))
    assert sent == []


def test_the_limit_is_the_services_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHOTOCHROM_MAX_UPLOAD_BYTES", "123")
    monkeypatch.setenv("PHOTOCHROM_MAX_MEGAPIXELS", "7")
    (middleware,) = middlewares()
    assert middleware.cls is Proxy
    assert middleware.kwargs == {"limits": SizeLimits(7, 123)}


@pytest.mark.parametrize("is_alive", [True, False])
def test_a_replica_is_well_as_long_as_its_inference_thread(is_alive: bool) -> None:
    class Thing:
        def __init__(self, **attributes: Any) -> None:
            self.__dict__.update(attributes)

    replica = Replica()
    batcher = Thing(is_alive=lambda _: is_alive)
    replica.app = Thing(state=Thing(services=Thing(pipeline=Thing(batcher=batcher))))
    if is_alive:
        asyncio.run(replica.check_health())
    else:
        with pytest.raises(ray_app.Failing):
            asyncio.run(replica.check_health())


@pytest.mark.parametrize("holds", ["float32", "int8"])
def test_replicas_compute_in_what_the_file_holds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, holds: Precision
) -> None:
    context = SimpleNamespace(get_assigned_resources=lambda: {"CPU": 2.0})
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(get_runtime_context=lambda: context))
    monkeypatch.setenv("PHOTOCHROM_PRECISION", "auto")
    monkeypatch.setenv("PHOTOCHROM_MODEL", str(onnx_factory.write_model(tmp_path / "model.onnx", precision=holds)))
    monkeypatch.setattr(models, "find_faster", lambda *_, **__: pytest.fail("each would choose for itself"))

    async def scene() -> None:
        app = ray_app._build()
        async with app.router.lifespan_context(app):
            session = app.state.services.pipeline.session
            assert (session.precision, session.threads) == (holds, 2)
            await app.state.reload()

    asyncio.run(scene())


def test_the_configuration_names_what_is_there_and_repeats_its_defaults() -> None:
    config = yaml.safe_load(CONFIG.read_text())
    (named,) = config["applications"]
    assert named["import_path"] == f"{application.__module__}:{application.__name__}"
    (deployment,) = named["deployments"]
    assert deployment.pop("name") == NAME
    assert deployment == OPTIONS
    assert config["http_options"]["host"] == "127.0.0.1"
    longest_s = Settings().deadline_s + more_time_s(Settings().max_megapixels)
    assert config["http_options"]["request_timeout_s"] > longest_s


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is installed here")
def test_without_ray_it_cannot_be_made() -> None:
    with pytest.raises(ImportError, match="ray"):
        application({})
