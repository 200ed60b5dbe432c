"""Lets callers with a key in, and says who calls."""

import re
import time
from collections import Counter
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated, Final

from fastapi import Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from service.engine.job import Caller
from service.errors import InvalidOption
from service.http.auth import KEY_HEADER
from service.http.guard import FACTS_KEY
from service.http.services import services_of

PORT: Final = re.compile(r"(?<=[\]\d]):\d+$")
"""A port behind an address of IPv4, or of IPv6 in brackets, as some proxies write it."""

_BEARER = HTTPBearer(auto_error=False, description="An API key, where the operator has set some.")

_KEY = APIKeyHeader(name=KEY_HEADER, auto_error=False, description="The same, in a header of its own.")


async def require_key(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
    key: Annotated[str | None, Security(_KEY)],
) -> None:
    """Let a caller with a key in; runs before anything of the request but its head is looked at.

    Asynchronous although it waits for nothing: anything else FastAPI would run in a thread, behind busy ones.

    Raises:
        Unauthorized: keys are needed, and the request carries none of them.
    """
    fingerprint = services_of(request).keys.admit(bearer.credentials if bearer else None, key)
    if fingerprint:
        request.scope[FACTS_KEY]["key"] = fingerprint


async def refuse_repeats(request: Request) -> None:
    """Refuse an option that is given twice: whichever counted, somebody would have meant the other.

    Raises:
        InvalidOption: the query names an option more than once.
    """
    for name, times in Counter(name for name, _ in request.query_params.multi_items()).items():
        if times > 1:
            raise InvalidOption(f"{name}: given {times} times.", errors=[{"option": name, "reason": "given twice"}])


def owner_of(request: Request) -> str:
    """Return the fingerprint of the caller's API key; empty where none is needed."""
    return str(request.scope[FACTS_KEY].get("key", ""))


def caller_of(request: Request) -> Caller:
    """Return who asks, by API key or else by address, and how long that waits from now on."""
    settings = services_of(request).settings
    name = owner_of(request) or _network_of(_address_of(request, settings.client_header))
    return Caller(name, time.monotonic() + settings.deadline_s)


def _address_of(request: Request, header: str) -> str:
    """Return where a request comes from: as a trusted proxy says, or the other end of the connection."""
    told = ",".join(request.headers.getlist(header)) if header else ""
    return told.rpartition(",")[2].strip() or (request.client.host if request.client else "")


def _network_of(address: str) -> str:
    """Return an address; of IPv6 its first half, since one subscriber has all addresses that share it (RFC 6177)."""
    has_port = address.startswith("[") or address.count(":") == 1
    host = (PORT.sub("", address) if has_port else address).strip("[]")
    try:
        parsed = ip_address(host)
    except ValueError:
        return address[:64]
    if isinstance(parsed, IPv4Address) or parsed.ipv4_mapped:
        return str(parsed if isinstance(parsed, IPv4Address) else parsed.ipv4_mapped)
    return str(IPv6Address(int(parsed) >> 64 << 64))
