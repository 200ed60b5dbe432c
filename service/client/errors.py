"""What a request can fail by, as types, and how an answer tells which; the tree stands in `service.client`."""

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx2

TYPE_PREFIX: Final = "urn:photochrom:problem:"


class ClientError(Exception):
    """A request failed.

    Attributes:
        status: HTTP status; None where there was no answer.
        type: stable name of the problem, such as `picture-too-large`; empty where the answer had none.
        title: what the type means.
        detail: what happened this time.
        request_id: under which the service's log has the request; may be empty.
        facts: the other members of the problem, such as `limit` and `unit`.
    """

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        type: str = "",
        title: str = "",
        request_id: str = "",
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.type = type
        self.title = title
        self.request_id = request_id
        self.facts: Mapping[str, Any] = facts or {}


class RefusedPicture(ClientError):
    """The picture cannot be colored: it is broken, an animation, or no picture at all."""


class TooLarge(ClientError):
    """The picture has more bytes or pixels than this service takes; `facts` has `limit` and `unit`."""


class InvalidRequest(ClientError):
    """An option is unknown or out of range, or the address is not that of a Photochrom service."""


class Unauthorized(ClientError):
    """The service wants an API key, and got none or a wrong one."""


class NotKept(ClientError):
    """The service does not have that picture, or not any more, or not for this key: `keep` it again."""


class Overloaded(ClientError):
    """The service still had too much to do, or was stopping or failing, at the last try.

    Attributes:
        retry_after_s: when the service says it is worth trying again, seconds; None when it does not say.
    """

    retry_after_s: float | None = None


class TimedOut(ClientError):
    """The picture was not done in time, there or for us."""


class Unreachable(ClientError):
    """No connection to the service, or it broke, at the last try.

    Attributes:
        broke: there was a connection, and it broke before the answer was whole.
    """

    broke: bool = False


class ServerError(ClientError):
    """Something is broken at the service, or between it and here."""


_BY_TYPE: Final[Mapping[str, type[ClientError]]] = {
    "unsupported-picture": RefusedPicture,
    "empty-upload": RefusedPicture,
    "broken-picture": RefusedPicture,
    "several-frames": RefusedPicture,
    "picture-too-costly": RefusedPicture,
    "unfit-format": InvalidRequest,
    "picture-not-kept": NotKept,
}

_BY_STATUS: Final[Mapping[int, type[ClientError]]] = {
    401: Unauthorized,
    403: Unauthorized,
    408: TimedOut,
    413: TooLarge,
    415: RefusedPicture,
    429: Overloaded,
    503: Overloaded,
    504: TimedOut,
}


def place_of(request: httpx2.Request) -> str:
    """Return the address without what may be secret in it."""
    return f"{request.url.scheme}://{request.url.netloc.decode()}"


def error_of(outcome: httpx2.Response | httpx2.RequestError | None, request: httpx2.Request) -> ClientError:
    """Return the error that an answer, or the lack of one, means."""
    place = place_of(request)
    if isinstance(outcome, httpx2.Response):
        return _refusal_of(outcome, place)
    # A connection that cannot be made in time is no picture that takes long.
    if isinstance(outcome, httpx2.TimeoutException) and not isinstance(outcome, httpx2.ConnectTimeout):
        return TimedOut(f"{place} did not answer in time")
    error = Unreachable(f"no connection to {place}: {str(outcome) or type(outcome).__name__}")
    error.broke = isinstance(outcome, httpx2.ReadError | httpx2.WriteError | httpx2.RemoteProtocolError)
    return error


def _refusal_of(response: httpx2.Response, place: str) -> ClientError:
    """Read the problem in an answer; proxies send errors of their own, with any body or none."""
    status = response.status_code
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        problem = {}
    name = str(problem.get("type", "")).removeprefix(TYPE_PREFIX)
    kind = _BY_TYPE.get(name) or _BY_STATUS.get(status) or (InvalidRequest if status < 500 else ServerError)
    if response.is_redirect:
        detail = f"{place} sends callers on to {response.headers.get('Location', 'nowhere')}: call that address"
    else:
        detail = str(problem.get("detail") or f"{place} answered {status} {response.reason_phrase}")
    error = kind(
        detail,
        status=status,
        type=name,
        title=str(problem.get("title", "")),
        request_id=str(problem.get("request_id") or response.headers.get("X-Request-ID", "")),
        facts={key: problem[key] for key in problem.keys() - {"type", "title", "status", "detail", "request_id"}},
    )
    if isinstance(error, Overloaded):
        error.retry_after_s = _seconds_of(response.headers.get("Retry-After", ""))
    return error


def _seconds_of(retry_after: str) -> float | None:
    """Return the seconds that a Retry-After header means: a number, or a date (RFC 9110, section 10.2.3)."""
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None
