"""Conditional requests (RFC 9110, section 13): answers that the caller has already."""

from fastapi import Request


def has_already(request: Request, tag: str) -> bool:
    """Return whether the caller names this entity tag in If-None-Match, in however many lines, or any with `*`."""
    return _names(",".join(request.headers.getlist("if-none-match")), tag)


def _names(if_none_match: str, tag: str) -> bool:
    """Return whether an If-None-Match header names the entity tag (RFC 9110, section 13.1.2)."""
    named = [candidate.strip().removeprefix("W/") for candidate in if_none_match.split(",")]
    return "*" in named or f'"{tag}"' in named
