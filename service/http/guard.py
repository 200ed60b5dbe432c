"""The outermost ring: request ids, the upload limit, security headers, one log line a request, errors as problems.

Whatever goes wrong further in, known or not, the framework's own errors included, leaves as RFC 9457
``application/problem+json`` with a stable type and the request's id, and never with anything of the inside.
"""

import asyncio
import logging
import math
import re
import time
import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import (
    InternalError,
    InvalidOption,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    OutOfMemory,
    Overloaded,
    RequestError,
    UploadTooLarge,
)
from service.http.problems import SECURITY_HEADERS, problem_response
from service.telemetry import Metrics, request_id

REQUEST_ID_PATTERN: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""Request ids that are taken over from the caller; others are replaced, since they end up in the log."""

UNMATCHED: Final = "unmatched"
"""Route label of requests that no route took."""

CLIENT_LEFT: Final = 499
"""Status in metrics and log of a request whose caller left before the answer; nginx made the number up."""

DROPPED_BYTES: Final = 1 << 20
"""What is left of a refused upload is read and dropped up to this; of a larger one the connection ends."""

LINGER_S: Final = 2.0
"""How long a connection that ends still listens, so that the caller gets to read the answer (RFC 9112, section 9.6)."""

PIECE_BYTES: Final = 1 << 18
"""Answers are handed over in pieces of this size."""

FACTS_KEY: Final = "photochrom.facts"
"""Where a connection's scope, and every copy the framework makes of it, holds more facts for the log line."""

HOLD_KEY: Final = "photochrom.hold"
"""Where a connection's scope holds the function that counts what its answer takes in memory while it is made."""

log = logging.getLogger(__name__)


def refuse(scope: Scope, error: RequestError, metrics: Metrics) -> Response:
    """Return an error as an RFC 9457 problem, count it, and leave its name for the log line.

    Args:
        scope: of the connection.
        error: what went wrong.
        metrics: where to count.

    Returns:
        The response, with the error's own headers.
    """
    metrics.rejected.labels(error.name).inc()
    scope[FACTS_KEY]["problem"] = error.name
    return problem_response(error, request_id.get())


class Guard:
    """ASGI middleware around everything else."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, max_upload_bytes: int, max_held_bytes: int) -> None:
        """Wrap an application.

        Args:
            app: what is inside.
            metrics: where to count.
            max_upload_bytes: largest request body.
            max_held_bytes: most bytes of uploads and answers in memory at once.
        """
        self._app = app
        self._metrics = metrics
        self.max_upload_bytes = max_upload_bytes
        self.max_held_bytes = max(max_held_bytes, max_upload_bytes)
        self.held_bytes = 0
        metrics.held_bytes.set_function(lambda: self.held_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        headers = Headers(scope=scope)
        method = scope["method"]
        if method == "HEAD":  # As GET; the server below knows the method too, and leaves the content out.
            scope = {**scope, "method": "GET"}
        token = request_id.set(_request_id(headers.get("x-request-id")))
        scope[FACTS_KEY] = {}
        exchange = _Exchange(self, headers, receive, send)
        scope[HOLD_KEY] = exchange.hold
        try:
            await self._serve(scope, exchange)
        finally:
            self.held_bytes -= exchange.held_bytes
            took = round((exchange.answered or time.perf_counter()) - started, 4)
            route = getattr(scope.get("route"), "path", UNMATCHED)
            status = exchange.status or CLIENT_LEFT
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.request_duration.labels(route).observe(took)
            facts = {"method": method, "path": scope["path"], "status": status, "seconds": took}
            facts |= scope[FACTS_KEY]
            quiet = route.startswith(("/health", "/metrics", "/v2"))
            log.log(logging.DEBUG if quiet else logging.INFO, "request", extra={"facts": facts})
            request_id.reset(token)

    async def _serve(self, scope: Scope, exchange: "_Exchange") -> None:
        try:
            exchange.check_announced()
            await self._app(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            return  # Nobody is left to answer.
        except Exception as error:
            if exchange.status:  # The answer is on its way: all that is left is to break the connection.
                raise
            if isinstance(error, MemoryError):
                log.exception("out of memory")
                error = OutOfMemory()
            elif not isinstance(error, RequestError):
                log.exception("unexpected error")
                error = InternalError("The service could not finish this request; its log has the reason.")
            await refuse(scope, error, self._metrics)(scope, exchange.receive, exchange.send)


class _Exchange:
    """One request and its answer, seen from outside: counts what they hold in memory, and parts from the caller well.

    Attributes:
        status: of the answer; 0 before there is one.
        answered: `time.perf_counter` of when the answer had been handed over; None before.
        held_bytes: of the request and the answer.
    """

    def __init__(self, guard: Guard, headers: Headers, receive: Receive, send: Send) -> None:
        self.status = 0
        self.answered: float | None = None
        self.held_bytes = 0
        self._guard = guard
        self._receive = receive
        self._send = send
        length = headers.get("content-length", "")
        chunked = "transfer-encoding" in headers
        self._conflicts = chunked and bool(length)
        self._announced = math.inf if chunked else int(length) if length.isdecimal() else 0
        self._received = 0
        self._is_read = self._announced == 0
        self._closes = False

    def check_announced(self) -> None:
        """Refuse an upload that says it is too large, before a byte of it is read."""
        if self._conflicts:
            # Whoever stands in between may have taken the other for the end of this request (RFC 9112, section 6.1).
            raise MalformedRequest("Content-Length and Transfer-Encoding contradict each other: send one of them.")
        if self._announced < math.inf:
            self._check(int(self._announced), int(self._announced))

    async def receive(self) -> Message:
        """Take a part of the upload, or refuse to: one that is too large may have been announced as a smaller one."""
        message = await self._receive()
        if message["type"] == "http.request":
            new = len(message.get("body", b""))
            self._received += new
            self._is_read = not message.get("more_body", False)
            self._check(self._received, new)
            self._hold(new)
        return message

    async def send(self, message: Message) -> None:
        """Hand over a part of the answer: a large one in pieces, so that a caller who takes none can be left."""
        if message["type"] == "http.response.start":
            self._start(message)
            await self._send(message)
            return
        body, is_last = memoryview(message.get("body", b"")), not message.get("more_body", False)
        self._hold(len(body))
        while len(body) > PIECE_BYTES:
            await self._send({"type": message["type"], "body": bytes(body[:PIECE_BYTES]), "more_body": True})
            body = body[PIECE_BYTES:]
        waits = is_last and self._closes
        await self._send({"type": message["type"], "body": bytes(body), "more_body": waits or not is_last})
        if is_last:
            self.answered = time.perf_counter()
        if waits:
            await self._linger()
            await self._send({"type": message["type"], "body": b"", "more_body": False})

    def _start(self, message: Message) -> None:
        self.status = message["status"]
        answer = MutableHeaders(scope=message)
        answer["X-Request-ID"] = request_id.get()
        for name, value in SECURITY_HEADERS.items():
            answer.setdefault(name, value)
        # The server reads and drops what is left of an upload to use the connection again: not for any price.
        self._closes = self._conflicts or (not self._is_read and self._announced - self._received > DROPPED_BYTES)
        if self._closes:
            answer["Connection"] = "close"

    async def _linger(self) -> None:
        """Drop what still comes for a moment: closing on unread bytes could cost the caller the answer."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while not self._is_read:
                    message = await self._receive()
                    self._is_read = not message.get("more_body", False)

    def hold(self, count: int) -> None:
        """Count bytes that an answer in the making takes; a negative number gives them back.

        Raises:
            Overloaded: more bytes would be in memory than may.
        """
        self._check_held(count)
        self._hold(count)

    def _hold(self, count: int) -> None:
        self.held_bytes += count
        self._guard.held_bytes += count

    def _check(self, upload: int, new: int) -> None:
        limit = self._guard.max_upload_bytes
        if upload > limit:
            raise UploadTooLarge(f"At most {limit} bytes are taken.", limit=limit, unit="bytes")
        self._check_held(new)

    def _check_held(self, new: int) -> None:
        limit = self._guard.max_held_bytes
        if new > 0 and self._guard.held_bytes + new > limit:
            raise Overloaded(
                "Too many bytes are in memory; try again later.", retry_after_s=1, limit=limit, unit="bytes"
            )


def _request_id(given: str | None) -> str:
    return given if given and REQUEST_ID_PATTERN.fullmatch(given) else uuid.uuid4().hex


def _known_error(error: Exception) -> RequestError:
    """Turn what the framework raises into one of our errors."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, RequestValidationError):
        problems = [
            {"option": ".".join(str(part) for part in item["loc"][1:]), "reason": item["msg"]}
            for item in error.errors()
        ]
        first = problems[0] if problems else {"option": "request", "reason": "not understood"}
        return InvalidOption(f"{first['option']}: {first['reason']}.", errors=problems)
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == NotFound.status:
        return NotFound("No route has this path; GET /openapi.json lists them.")
    if status < 500:
        return MalformedRequest(str(getattr(error, "detail", "The request cannot be parsed.")))
    return InternalError("The service could not finish this request; its log has the reason.")


def _methods_of(routes: Iterable[BaseRoute], scope: Scope) -> str:
    """Return the methods that some route takes for a path; the framework names those of the first route alone."""
    methods: set[str] = set()
    for route in routes:
        if isinstance(route, Route) and route.matches(scope)[0] is not Match.NONE:
            methods |= route.methods or set()
    if "GET" in methods:
        methods.add("HEAD")
    return ", ".join(sorted(methods))


def install(
    app: FastAPI, *, routes: Sequence[BaseRoute], metrics: Metrics, max_upload_bytes: int, max_held_bytes: int
) -> None:
    """Put the guard around an application, and make the framework's own errors problems too.

    Args:
        app: the application.
        routes: that it includes.
        metrics: where to count.
        max_upload_bytes: largest request body.
        max_held_bytes: most bytes of uploads and answers in memory at once.
    """

    async def answer(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException) and error.status_code == MethodNotAllowed.status:
            allowed = _methods_of((*app.routes, *routes), request.scope)
            error = MethodNotAllowed(f"Allowed here: {allowed}.", headers={"Allow": allowed})
        return refuse(request.scope, _known_error(error), metrics)

    for kind in (RequestError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, answer)
    app.add_middleware(Guard, metrics=metrics, max_upload_bytes=max_upload_bytes, max_held_bytes=max_held_bytes)
