"""Errors as RFC 9457 problems: the one place where their bodies are made."""

from typing import Final

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from service.errors import RequestError

PROBLEM_TYPE: Final = "application/problem+json"

SECURITY_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""On every answer that does not have its own; the page has a wider policy."""


class Problem(BaseModel):
    """An error, as RFC 9457 has it; further members, such as ``limit`` and ``unit``, depend on the type."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="Stable name of the problem: a URN.")
    title: str = Field(description="What the type means.")
    status: int = Field(description="The HTTP status again.")
    detail: str = Field(description="What happened this time.")
    request_id: str = Field(description="The `X-Request-ID` of the answer, to find it in the log.")


def problem_of(error: RequestError, request_id: str) -> Problem:
    """Return the body that an error has.

    Args:
        error: what went wrong.
        request_id: of the request.
    """
    return Problem(
        type=error.type,
        title=error.title,
        status=error.status,
        detail=error.detail,
        request_id=request_id,
        **error.facts,
    )


def problem_response(error: RequestError, request_id: str) -> JSONResponse:
    """Return the answer that an error gives, with the error's own headers.

    Args:
        error: what went wrong.
        request_id: of the request.
    """
    body = problem_of(error, request_id).model_dump()
    return JSONResponse(body, status_code=error.status, headers=error.headers, media_type=PROBLEM_TYPE)
