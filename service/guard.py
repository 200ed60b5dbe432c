"""The outermost ring: request ids, the upload limit, security headers, one log line a request, errors as problems.

Whatever goes wrong further in, known or not, the framework's own errors included, leaves as RFC 9457
``application/problem+json`` with a stable type and the request's id, and never with anything of the inside.
"""

import logging
import re
import time
import uuid
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import (
    InternalError,
    InvalidOption,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    RequestError,
    UploadTooLarge,
)
from service.schemas import Problem
from service.telemetry import Metrics, request_id

PROBLEM_TYPE: Final = "application/problem+json"
REQUEST_ID_PATTERN: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""Request ids that are taken over from the caller; others are replaced, since they end up in the log."""
UNMATCHED: Final = "unmatched"
"""Route label of requests that no route took."""
SECURITY_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""On every answer that does not have its own; the page has a wider policy."""
KNOWN_METHODS: Final = "GET, POST"
FACTS_KEY: Final = "photochrom.facts"
"""Where a connection's scope, and every copy the framework makes of it, holds more facts for the log line."""

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
    problem = Problem(
        type=error.type,
        title=error.title,
        status=error.status,
        detail=error.detail,
        request_id=request_id.get(),
        **error.facts,
    )
    return JSONResponse(problem.model_dump(), status_code=error.status, headers=error.headers, media_type=PROBLEM_TYPE)


class Guard:
    """ASGI middleware around everything else."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, max_upload_bytes: int) -> None:
        """Wrap an application.

        Args:
            app: what is inside.
            metrics: where to count.
            max_upload_bytes: largest request body.
        """
        self._app = app
        self._metrics = metrics
        self._max_upload_bytes = max_upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        headers = Headers(scope=scope)
        token = request_id.set(_request_id(headers.get("x-request-id")))
        scope[FACTS_KEY] = {}
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                answer = MutableHeaders(scope=message)
                answer["X-Request-ID"] = request_id.get()
                for name, value in SECURITY_HEADERS.items():
                    answer.setdefault(name, value)
            await send(message)

        try:
            await self._serve(scope, headers, receive, send_with_id, lambda: status)
        finally:
            took = round(time.perf_counter() - started, 4)
            route = getattr(scope.get("route"), "path", UNMATCHED)
            self._metrics.requests.labels(route, str(status or 499)).inc()
            self._metrics.request_duration.labels(route).observe(took)
            facts = {"method": scope["method"], "path": scope["path"], "status": status or 499, "seconds": took}
            facts |= scope[FACTS_KEY]
            quiet = route.startswith(("/health", "/metrics"))
            log.log(logging.DEBUG if quiet else logging.INFO, "request", extra={"facts": facts})
            request_id.reset(token)

    async def _serve(self, scope: Scope, headers: Headers, receive: Receive, send: Send, status: Any) -> None:
        try:
            self._check_length(headers.get("content-length"))
            await self._app(scope, self._limited(receive), send)
        except ClientDisconnect:
            return  # Nobody is left to answer.
        except Exception as error:
            if status():  # The answer is on its way: all that is left is to break the connection.
                raise
            if not isinstance(error, RequestError):
                log.exception("unexpected error")
                error = InternalError("The service could not finish this request; its log has the reason.")
            await refuse(scope, error, self._metrics)(scope, receive, send)

    def _check_length(self, length: str | None) -> None:
        """Refuse an upload that says it is too large, before a byte of it is read."""
        if length is not None and length.isdecimal() and int(length) > self._max_upload_bytes:
            raise self._too_large()

    def _limited(self, receive: Receive) -> Receive:
        """Refuse an upload that turns out to be too large while it is read."""
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_upload_bytes:
                raise self._too_large()
            return message

        return limited

    def _too_large(self) -> UploadTooLarge:
        limit = self._max_upload_bytes
        # The rest of the upload stays unread, so the connection cannot be used again.
        return UploadTooLarge(
            f"At most {limit} bytes are taken.", limit=limit, unit="bytes", headers={"Connection": "close"}
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
    if status == MethodNotAllowed.status:
        allowed = (error.headers or {}).get("Allow", KNOWN_METHODS) if isinstance(error, HTTPException) else ""
        return MethodNotAllowed(f"Allowed here: {allowed}.", headers={"Allow": allowed})
    if status < 500:
        return MalformedRequest(str(getattr(error, "detail", "The request cannot be parsed.")))
    return InternalError("The service could not finish this request; its log has the reason.")


def install(app: FastAPI, *, metrics: Metrics, max_upload_bytes: int) -> None:
    """Put the guard around an application, and make the framework's own errors problems too.

    Args:
        app: the application.
        metrics: where to count.
        max_upload_bytes: largest request body.
    """

    async def answer(request: Request, error: Exception) -> Response:
        return refuse(request.scope, _known_error(error), metrics)

    for kind in (RequestError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, answer)
    app.add_middleware(Guard, metrics=metrics, max_upload_bytes=max_upload_bytes)
