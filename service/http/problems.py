"""Errors as RFC 9457 problems: the one place where their bodies are made."""

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

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
