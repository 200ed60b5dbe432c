"""What both clients share: how to ask, and when to ask again. No input or output."""

import itertools
import random
import time
from collections.abc import Generator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, TypedDict
from urllib.parse import quote

import httpx2

from service.client.answers import Kept
from service.client.errors import ClientError, InvalidRequest, Overloaded, Unreachable, error_of, place_of

Picture = bytes | bytearray | memoryview | str | PathLike[str] | BinaryIO
"""What `colorize` takes: the bytes of a picture file, its path, or a file that is open for reading bytes."""

CONNECT_TIMEOUT_S: Final = 10.0

FIRST_PAUSE_S: Final = 0.25
"""Before the second try, where the service does not say; doubles with every further one."""

LONGEST_PAUSE_S: Final = 30.0

JITTER: Final = 0.25
"""Up to this share is added to a pause at random, so that callers who were sent away together do not come back
together. Never less than the service asks for."""

Hints = str | Sequence[tuple[float, float, str | tuple[float, float]]]
"""Points whose color is known: x and y as shares of width and height from the top left, and a color, as `"#c03020"` or
as (a, b) in Lab units. Text goes to the service as it is."""


Tone = Literal["auto", "off"]


class _ColorOptions(TypedDict, total=False):
    look: Literal["natural", "warm", "vivid", "photochrom", "autochrome", "transparency"] | None
    mode: Literal["annealed", "regression", "fused", "argmax"] | None
    vividness: float | None
    temperature: float | None
    saturation: float | None
    enlargement: Literal["bilinear", "guided"] | None
    hints: Hints | None
    regions: str | Sequence[str] | None
    reference_strength: float | None
    format: Literal["png", "jpeg", "webp", "tiff", "json"] | None
    depth: Literal[8, 16] | None
    metadata: Literal["keep", "none"] | None
    note: bool | None


class ColorizeOptions(_ColorOptions, total=False):
    """How to color; what is left out, the service decides. docs/http.md says what each one means."""

    size: int | None
    tone: Tone | None
    variants: int | None
    page: int | None


class KeepOptions(TypedDict, total=False):
    """How to keep a picture: see ``POST /pictures``."""

    size: int | None
    tone: Tone | None
    page: int | None


class RenderOptions(_ColorOptions, total=False):
    """How to color a kept picture; what is left out, the service decides."""

    variant: int | None
    reference: str | None
    max_side: int | None


class BaseClient:
    """What both clients share: how to ask, when to ask again, what an answer means. No input or output."""

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None,
        timeout_s: float,
        deadline_s: float,
        max_answer_bytes: int,
        retries: int,
        max_wait_s: float,
        resend: bool,
    ) -> None:
        if not _is_address(url):
            raise ValueError(f"the address of the service looks like http://127.0.0.1:8000, not like {url!r}")
        if min(timeout_s, deadline_s, max_answer_bytes) <= 0 or retries < 0 or max_wait_s < 0:
            raise ValueError(
                "timeout_s, deadline_s and max_answer_bytes must be above 0, retries and max_wait_s not below"
            )
        if api_key is not None and (not api_key.isascii() or not api_key.isprintable() or " " in api_key):
            raise ValueError("the API key has characters that no header can carry")
        self._url = url.rstrip("/")
        self._deadline_s = deadline_s
        self._max_answer_bytes = max_answer_bytes
        self._retries = retries
        self._max_wait_s = max_wait_s
        self._resend = resend
        self._timeout = httpx2.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s))
        self._headers = {"User-Agent": "photochrom-client"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"

    def _body(self, request: httpx2.Request) -> "Body":
        return Body(request, max_bytes=self._max_answer_bytes, deadline_s=self._deadline_s)

    def _request(self, method: str, path: str, **given: Any) -> httpx2.Request:
        headers = self._headers | given.pop("headers", {})
        extensions = {"timeout": self._timeout.as_dict()}
        return httpx2.Request(method, self._url + path, headers=headers, extensions=extensions, **given)

    def _question(
        self, data: bytes, etag: str | None, reference: bytes | None, options: Mapping[str, Any]
    ) -> httpx2.Request:
        query = _query_of("colorize", options, ColorizeOptions.__annotations__)
        headers = {"Accept": "image/png, image/*;q=0.9"} | ({"If-None-Match": etag} if etag else {})
        if reference is None:
            headers["Content-Type"] = "application/octet-stream"
            return self._request("POST", "/colorize", content=data, params=query, headers=headers)
        files = {"image": ("image", data), "reference": ("reference", reference)}
        return self._request("POST", "/colorize", files=files, params=query, headers=headers)

    def _keep_question(self, data: bytes, options: Mapping[str, Any]) -> httpx2.Request:
        query = _query_of("keep", options, KeepOptions.__annotations__)
        headers = {"Content-Type": "application/octet-stream"}
        return self._request("POST", "/pictures", content=data, params=query, headers=headers)

    def _render_question(self, kept: Kept | str, etag: str | None, options: Mapping[str, Any]) -> httpx2.Request:
        query = _query_of("render", options, RenderOptions.__annotations__)
        headers = {"Accept": "image/png, image/*;q=0.9"} | ({"If-None-Match": etag} if etag else {})
        return self._request("GET", path_of(kept), params=query, headers=headers)

    def _colors_question(self, kept: Kept | str, x: float, y: float) -> httpx2.Request:
        return self._request("GET", path_of(kept, "/colors"), params={"x": f"{x:.6f}", "y": f"{y:.6f}"})

    def _attempts(
        self, request: httpx2.Request
    ) -> Generator[httpx2.Request | float, httpx2.Response | httpx2.RequestError | None, httpx2.Response]:
        """Yield requests, to be sent, and pauses, to be slept; return the good answer or raise the last error."""
        waited_s = 0.0
        for tried in itertools.count():
            outcome = yield request
            if isinstance(outcome, httpx2.Response) and (outcome.is_success or outcome.status_code == 304):
                return outcome
            error = error_of(outcome, request)
            pause_s = _pause_s(tried, error)
            if not isinstance(error, Overloaded | Unreachable) or tried >= self._retries:
                raise error
            if isinstance(error, Unreachable) and error.broke and request.method == "POST" and not self._resend:
                raise error
            if waited_s + pause_s > self._max_wait_s:
                raise error
            waited_s += pause_s
            yield pause_s
        raise AssertionError("unreachable")  # pragma: no cover


class Body:
    """What an answer holds, taken part by part: no more bytes and no longer than allowed."""

    def __init__(self, request: httpx2.Request, *, max_bytes: int, deadline_s: float) -> None:
        """Begin to count.

        Args:
            request: that is answered.
            max_bytes: most bytes, after any decompression.
            deadline_s: longest time from now to the last part, seconds.
        """
        self._request = request
        self._max_bytes = max_bytes
        self._ends = time.monotonic() + deadline_s
        self._data = bytearray()

    def add(self, part: bytes) -> None:
        """Take a part.

        Raises:
            InvalidRequest: the answer has too many bytes.
            ReadTimeout: it takes too long.
        """
        self._data += part
        if len(self._data) > self._max_bytes:
            raise InvalidRequest(f"{place_of(self._request)} answers with more than {self._max_bytes} bytes")
        if time.monotonic() > self._ends:
            raise self.late()

    def late(self) -> httpx2.ReadTimeout:
        """Return the error of an answer that takes too long."""
        return httpx2.ReadTimeout("the answer took too long", request=self._request)

    def response(self, head: httpx2.Response) -> httpx2.Response:
        """Return the whole answer.

        Args:
            head: the answer as it came, its body read.
        """
        # Neither holds any more: the body is in one piece, and decompressed.
        left_out = ("content-encoding", "content-length", "transfer-encoding")
        headers = [(name, value) for name, value in head.headers.multi_items() if name.lower() not in left_out]
        return httpx2.Response(head.status_code, headers=headers, content=bytes(self._data), request=self._request)


def _query_of(method: str, options: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, str]:
    if unknown := set(options) - known.keys():
        raise TypeError(f"{method}() has no option {', '.join(sorted(unknown))}")
    given = {name: value for name, value in options.items() if value is not None}
    if "hints" in given:
        given["hints"] = hints_text(given["hints"])
    if not isinstance(given.get("regions", ""), str):
        given["regions"] = ";".join(given["regions"])
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in given.items()}


def hints_text(hints: Hints) -> str:
    """Return hints as the HTTP interface has them.

    Args:
        hints: points and their colors.

    Returns:
        Such as `0.5,0.25,c03020;0.1,0.9,-12:30`.
    """
    if isinstance(hints, str):
        return hints
    entries = []
    for x, y, color in hints:
        text = color.removeprefix("#") if isinstance(color, str) else ":".join(f"{value:.4f}" for value in color)
        entries.append(f"{x:.6f},{y:.6f},{text}")
    return ";".join(entries)


def path_of(kept: Kept | str, rest: str = "") -> str:
    """Return the path of a kept picture, and what follows it."""
    return f"/pictures/{quote(kept.id if isinstance(kept, Kept) else kept, safe='')}{rest}"


def _is_address(url: str) -> bool:
    try:
        return url.startswith(("http://", "https://")) and httpx2.URL(url).host != ""
    except httpx2.InvalidURL:
        return False


def only_response(value: object) -> httpx2.Response:
    """Return a response, for the type checker."""
    assert isinstance(value, httpx2.Response)
    return value


def read_picture(picture: Picture) -> bytes:
    """Return all bytes, which a second try sends again.

    Raises:
        TypeError: the file is open for reading text.
        OSError: the file cannot be read.
    """
    if isinstance(picture, bytes | bytearray | memoryview):
        return bytes(picture)
    if isinstance(picture, str | PathLike):
        return Path(picture).read_bytes()
    data = picture.read()
    if not isinstance(data, bytes):
        raise TypeError("open the file for reading bytes: open(path, 'rb')")
    return data


def _pause_s(tried: int, error: ClientError) -> float:
    pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(tried, 30))
    asked_s = error.retry_after_s if isinstance(error, Overloaded) else None
    return max(pause_s, asked_s or 0.0) * (1 + random.uniform(0, JITTER))
