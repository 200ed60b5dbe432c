"""The HTTP service as a Ray Serve application: the same app, on as many replicas as there is work for.

::

    serve run docker/ray-serve.yaml

`application` is what the configuration names; docs/ray.md has the rest. `middlewares` goes around Ray's own HTTP
server, so that what that one answers by itself (full queues, lost replicas, time that is up) is a problem as everywhere
else. Ray is imported by `application` alone.
"""

import uuid
from typing import TYPE_CHECKING, Any, Final

from service.errors import DeadlineExceeded, Failing, InternalError, NotFound, Overloaded, RequestError

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.middleware import Middleware
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from service.pictures.size_limits import SizeLimits

NAME: Final = "Photochrom"
"""Of the deployment; the configuration changes its options under this name."""

RETRY_AFTER_S: Final = 2
"""When to come back after a full queue, whole seconds: Ray does not know how long the queue takes."""

LOST_RETRY_AFTER_S: Final = 1
"""When to come back after a replica died under a request: another one is there, or will be."""

RAYS_OWN: Final = ("/-/healthz", "/-/routes")
"""Paths that Ray's HTTP server answers about itself; all others, whatever they begin with, go to a replica."""

RAYS_SWITCHES: Final = ("x-request-timeout-seconds", "x-request-disconnect-disabled")
"""Headers by which a caller could switch off Ray's own deadline, and have work done that nobody waits for."""

OPTIONS: Final[dict[str, Any]] = {
    # Ray's own limit, before a replica: more would wait in the replica's line, where no other replica can take them.
    "max_ongoing_requests": 4,
    # Of each HTTP server (one a node), not of the cluster.
    "max_queued_requests": 64,
    "backpressure_config": {"status_code": Overloaded.status, "retry_after_s": RETRY_AFTER_S},
    "autoscaling_config": {
        "min_replicas": 1,
        "max_replicas": 4,
        "target_ongoing_requests": 2,
        "upscale_delay_s": 10,
        "downscale_delay_s": 300,
    },
    # The network runs on so many threads; `num_gpus` may be a fraction.
    "ray_actor_options": {"num_cpus": 2},
    "health_check_period_s": 10,
    "health_check_timeout_s": 30,
    "graceful_shutdown_timeout_s": 30,
}
"""Options of the deployment where the configuration gives none."""


def application(_: dict[str, str]) -> Any:
    """Make the application that Ray Serve runs; settings come from the environment of the replicas, not as arguments.

    Returns:
        A `ray.serve.Application`.

    Raises:
        ImportError: Ray is not installed.
    """
    from ray import serve

    return serve.deployment(serve.ingress(_build)(Replica), name=NAME, **OPTIONS).bind()


class Replica:
    """What Ray makes of each replica; `serve.ingress` gives it the HTTP part.

    Attributes:
        app: of this replica.
    """

    app: "FastAPI"

    async def check_health(self) -> None:
        """Tell Ray whether to keep this replica; the same answer as ``GET /health/live``.

        Raises:
            Failing: the inference thread died or hangs.
        """
        from service.http.operation import STALL_S

        if not self.app.state.services.pipeline.batcher.is_alive(STALL_S):
            raise Failing("The inference thread has died or hangs.")


def _build() -> "FastAPI":
    """Make the application of one replica, with as many threads as Ray gave it cores."""
    import ray

    from service.http.app import create_app
    from service.logs import configure_logging
    from service.settings import Settings

    settings = Settings()
    configure_logging(level=settings.log_level, log_format=settings.log_format)
    if not settings.threads:
        cores = ray.get_runtime_context().get_assigned_resources().get("CPU", 1)
        settings = settings.model_copy(update={"threads": max(int(cores), 1)})
    # Each replica would choose for itself, and the same picture get two answers.
    return create_app(settings, looks_for_faster=False)


def middlewares() -> list["Middleware"]:
    """Return what goes around Ray's HTTP server: `RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH` names this function."""
    from starlette.middleware import Middleware

    from service.pictures.size_limits import SizeLimits
    from service.settings import Settings

    return [Middleware(Proxy, limits=SizeLimits.of(Settings()))]


class Proxy:
    """ASGI middleware around Ray's HTTP server: its own answers become problems, and uploads end at the limit."""

    def __init__(self, app: "ASGIApp", *, limits: "SizeLimits") -> None:
        """Wrap Ray's HTTP server.

        Args:
            app: what is inside.
            limits: of a picture; Ray itself would hold a request body of any size in memory.
        """
        self._app = app
        self._limits = limits

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Serve one connection."""
        if scope["type"] != "http" or scope["path"] in RAYS_OWN:
            await self._app(scope, receive, send)
            return
        exchange = _ProxiedExchange(scope, receive, send, self._limits)
        if not exchange.is_too_large:
            await self._app(scope, exchange.receive, exchange.send)
        await exchange.finish()


class _ProxiedExchange:
    """One request and its answer, as Ray's HTTP server sees them.

    Attributes:
        is_too_large: whether the body is, or says it is, larger than it may be.
    """

    def __init__(self, scope: "Scope", receive: "Receive", send: "Send", limits: "SizeLimits") -> None:
        from starlette.datastructures import MutableHeaders

        from service.http.guard import REQUEST_ID_PATTERN

        headers = MutableHeaders(scope=scope)
        length = headers.get("content-length", "")
        self.is_too_large = length.isdecimal() and int(length) > limits.max_bytes
        # Known before anyone else makes one up, so that Ray's log, the service's, and the answer have the same.
        given = headers.get("x-request-id", "")
        self._request_id = given if REQUEST_ID_PATTERN.fullmatch(given) else uuid.uuid4().hex
        headers["x-request-id"] = self._request_id
        for switch in RAYS_SWITCHES:
            del headers[switch]
        self._scope, self._receive, self._send, self._limits = scope, receive, send, limits
        self._received = 0
        self._replaced: Message | None = None
        self._reason = b""
        self._started = self._left = False

    async def receive(self) -> "Message":
        """Take a part of the upload; one that turns out too large ends as if its caller had left."""
        message = await self._receive()
        self._received += len(message.get("body", b""))
        if self._received > self._limits.max_bytes:
            self.is_too_large = True
            return {"type": "http.disconnect"}
        self._left = self._left or message["type"] == "http.disconnect"
        return message

    async def send(self, message: "Message") -> None:
        """Hand over a part of a replica's answer; hold back what Ray's HTTP server says itself: it is plain text."""
        if message["type"] == "http.response.start":
            headers = dict(message["headers"])
            if message["status"] >= 400 and headers.get(b"content-type", b"").startswith(b"text/plain"):
                self._replaced = message
            # Ray adds the header that the replica has set already.
            kept = [(name, value) for name, value in message["headers"] if name.lower() != b"x-request-id"]
            message = {**message, "headers": [*kept, (b"x-request-id", self._request_id.encode())]}
        if self._replaced is not None:
            return
        self._started = True
        await self._send(message)

    async def finish(self) -> None:
        """Answer where no replica has."""
        if self._started or (self._left and not self.is_too_large):
            return
        await _problem(self._error(), self._request_id)(self._scope, self._receive, self._send)

    def _error(self) -> RequestError:
        if self.is_too_large:
            return self._limits.too_many_bytes()
        status = 0 if self._replaced is None else self._replaced["status"]
        if status == 404:
            return NotFound("No application of this cluster has this path.")
        if status == 408:
            return DeadlineExceeded("The cluster did not answer in time.")
        if status in (429, 503):
            return Overloaded("The cluster has no room for this now; try again later.", retry_after_s=RETRY_AFTER_S)
        if status:
            return InternalError("The cluster could not finish this request; its log has the reason.")
        return Overloaded("The replica at work on this was lost; try again.", retry_after_s=LOST_RETRY_AFTER_S)


def _problem(error: RequestError, request_id: str) -> "ASGIApp":
    """Return an error as a problem, with the headers that the guard would set."""
    from service.http.problems import SECURITY_HEADERS, problem_response

    answer = problem_response(error, request_id)
    for name, value in {**SECURITY_HEADERS, "X-Request-ID": request_id}.items():
        answer.headers.setdefault(name, value)
    return answer
