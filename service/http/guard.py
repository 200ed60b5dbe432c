"""The outermost ring: request ids, the upload limit, security headers, one log line a request, errors as problems.

Whatever goes wrong further in, known or not, the framework's own errors included, leaves as RFC 9457
``application/problem+json`` with a stable type and the request's id, and never with anything of the inside.
"""

import logging
import re
import time
import uuid
from collections.abc import Iterable, Sequence
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from service.engine.byte_budget import ByteBudget
from service.errors import (
    InternalError,
    InvalidOption,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    OutOfMemory,
    RequestError,
)
from service.http.exchange import Exchange
from service.http.problems import problem_response
from service.logs import request_id
from service.telemetry import Metrics

REQUEST_ID_PATTERN: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""Request ids that are taken over from the caller; others are replaced, since they end up in the log."""

UNMATCHED: Final = "unmatched"
"""Route label of requests that no route took."""

CLIENT_LEFT: Final = 499
"""Status in metrics and log of a request whose caller left before the answer; nginx made the number up."""

FACTS_KEY: Final = "photochrom.facts"
"""Where a connection's scope, and every copy the framework makes of it, holds more facts for the log line."""

OUTLET_KEY: Final = "photochrom.outlet"
"""Where a connection's scope holds the function that makes a way out for its picture: see `Exchange.outlet`."""

INCOMING_KEY: Final = "photochrom.incoming"
"""Where it holds the function that makes a place for a file of its upload: see `Exchange.incoming`."""

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

    def __init__(self, app: ASGIApp, *, metrics: Metrics, budget: ByteBudget) -> None:
        """Wrap an application.

        Args:
            app: what is inside.
            metrics: where to count.
            budget: for all requests and answers.
        """
        self._app = app
        self._metrics = metrics
        self._budget = budget

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
        exchange = Exchange(self._budget, scope, receive, send)
        scope[OUTLET_KEY] = exchange.outlet
        scope[INCOMING_KEY] = exchange.incoming
        try:
            await self._serve(scope, exchange)
        finally:
            exchange.close()
            if exchange.was_slow:
                self._metrics.slow.inc()
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

    async def _serve(self, scope: Scope, exchange: Exchange) -> None:
        try:
            exchange.check_announced()
            await self._app(scope, exchange.receive, exchange.send)
        except ClientDisconnect:  # Nobody is left to answer.
            if exchange.is_in_parts and not exchange.was_slow:
                exchange.status = CLIENT_LEFT
        except Exception as error:
            # The answer is on its way: all that is left is to break the connection.
            if exchange.status and not (exchange.is_in_parts and exchange.can_break):
                raise
            known = _typed(error)
            problem = refuse(scope, known, self._metrics)
            if exchange.is_in_parts:
                log.warning("an answer broke off", extra={"facts": {"detail": known.detail}})
                exchange.status = known.status
                await exchange.break_off()
            else:
                await problem(scope, exchange.receive, exchange.send)


def _typed(error: Exception) -> RequestError:
    """Return one of our errors for whatever was raised; what is none of ours goes into the log."""
    if isinstance(error.__cause__, RequestError):  # So the framework says it of one raised when an answer has begun.
        return error.__cause__
    if isinstance(error, MemoryError):
        log.exception("out of memory")
        return OutOfMemory()
    if not isinstance(error, RequestError):
        log.exception("unexpected error")
        return InternalError("The service could not finish this request; its log has the reason.")
    return error


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


def install(app: FastAPI, *, routes: Sequence[BaseRoute], metrics: Metrics, budget: ByteBudget) -> None:
    """Put the guard around an application, and make the framework's own errors problems too.

    Args:
        app: the application.
        routes: that it includes.
        metrics: where to count.
        budget: of bytes, for all requests and answers.
    """

    async def answer(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException) and error.status_code == MethodNotAllowed.status:
            allowed = _methods_of((*app.routes, *routes), request.scope)
            error = MethodNotAllowed(f"Allowed here: {allowed}.", headers={"Allow": allowed})
        return refuse(request.scope, _known_error(error), metrics)

    for kind in (RequestError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, answer)
    app.add_middleware(Guard, metrics=metrics, budget=budget)
