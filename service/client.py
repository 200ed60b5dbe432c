"""Calls a running service from Python: `Client`, and `AsyncClient` for asyncio.

    with Client("http://127.0.0.1:8000") as client:
        answer = client.colorize("photo.jpg", vividness=0.8, format="jpeg")
    Path("color.jpg").write_bytes(answer.data)

Both try again where that helps, no longer than asked, and turn every failure into one of these::

    ClientError
    |-- RefusedPicture    the picture cannot be colored: broken, an animation, no picture at all
    |-- TooLarge          it can, but not here: too many bytes or pixels
    |-- InvalidRequest    an option is unknown or out of range, or the address is no Photochrom service
    |-- Unauthorized      no API key, or a wrong one
    |-- NotKept           the service does not have that picture, or not any more: `keep` it again
    |-- Overloaded        still too much to do, or stopping or failing, after the last try
    |-- TimedOut          not done in time
    |-- Unreachable       no connection, or it broke, after the last try
    `-- ServerError       something is broken there

Importing this needs neither the model nor anything that runs it.
"""

import asyncio
import io
import itertools
import json
import random
import time
import zipfile
from base64 import b64decode
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Literal, Self, TypedDict, Unpack
from urllib.parse import quote, unquote

import httpx2

Picture = bytes | bytearray | memoryview | str | PathLike[str] | BinaryIO
"""What `colorize` takes: the bytes of a picture file, its path, or a file that is open for reading bytes."""

TYPE_PREFIX: Final = "urn:photochrom:problem:"
CONNECT_TIMEOUT_S: Final = 10.0
FIRST_PAUSE_S: Final = 0.25
"""Before the second try, where the service does not say; doubles with every further one."""
LONGEST_PAUSE_S: Final = 30.0
JITTER: Final = 0.25
"""Up to this share is added to a pause at random, so that callers who were sent away together do not come back
together. Never less than the service asks for."""


ZIP_TYPE: Final = "application/zip"
JSON_TYPE: Final = "application/json"

Hints = str | Sequence[tuple[float, float, str | tuple[float, float]]]
"""Points whose color is known: x and y as shares of width and height from the top left, and a color, as `"#c03020"` or
as (a, b) in Lab units. Text goes to the service as it is."""


class _ColorOptions(TypedDict, total=False):
    mode: Literal["annealed", "regression", "fused", "argmax"] | None
    vividness: float | None
    temperature: float | None
    saturation: float | None
    enlargement: Literal["bilinear", "guided"] | None
    hints: Hints | None
    reference_strength: float | None
    format: Literal["png", "jpeg", "webp", "json"] | None


class Options(_ColorOptions, total=False):
    """How to color; what is left out, the service decides. docs/http.md says what each one means."""

    size: int | None
    variants: int | None


class RenderOptions(_ColorOptions, total=False):
    """How to color a kept picture; what is left out, the service decides."""

    variant: int | None
    reference: str | None
    max_side: int | None


@dataclass(frozen=True)
class Answer:
    """A picture in color.

    Attributes:
        data: the file; empty when `unchanged`.
        media_type: `image/png`, `image/jpeg` or `image/webp`, `application/zip` for several variants, or
            `application/json`; empty when `unchanged`.
        etag: names this answer, as it stood in the header; give it back to `colorize` to ask for news only.
        unchanged: the answer that the given `etag` names still holds, and was not sent again.
        scene: what the network takes the picture for.
        model: run that the model comes from.
        request_id: under which the service's log has this request.
        timing_ms: what the service spent on each stage, milliseconds.
    """

    data: bytes = field(repr=False)
    media_type: str
    etag: str = ""
    unchanged: bool = False
    scene: str = ""
    model: str = ""
    request_id: str = ""
    timing_ms: Mapping[str, float] = field(default_factory=dict)

    def pictures(self) -> list[bytes]:
        """Return the files of all variants, the ordinary one first; none when `unchanged`.

        Raises:
            InvalidRequest: the answer is no whole ZIP file, or not the JSON of such a service.
        """
        if self.unchanged:
            return []
        try:
            if self.media_type == JSON_TYPE:
                return [b64decode(picture["data"]) for picture in json.loads(self.data)["pictures"]]
            if self.media_type != ZIP_TYPE:
                return [self.data]
            with zipfile.ZipFile(io.BytesIO(self.data)) as archive:
                return [archive.read(name) for name in archive.namelist()]
        except (zipfile.BadZipFile, ValueError, KeyError, TypeError) as error:
            raise InvalidRequest("the pictures in the answer cannot be read") from error

    def facts(self) -> dict[str, Any]:
        """Return what a JSON answer tells: `scene`, `palette`, `confidence` and so on; empty for any other."""
        told = json.loads(self.data) if self.media_type == JSON_TYPE else {}
        return {name: value for name, value in told.items() if name != "pictures"}


@dataclass(frozen=True)
class Kept:
    """A picture that the service keeps for a while, with what its network says of it.

    Attributes:
        id: names it; opens it to the same API key.
        width: of the upright picture, px.
        height: likewise.
        scenes: what the network takes it for, and how probable that is, the likeliest first.
        confidence: how sure the network is of its colors, mean over the picture, [0, 1].
        expires_in_s: how long it stays after it was last used, unless the room is needed, seconds.
        model: run that the model comes from.
    """

    id: str
    width: int
    height: int
    scenes: tuple[tuple[str, float], ...]
    confidence: float
    expires_in_s: float
    model: str = ""


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


class _Base:
    """What both clients share: how to ask, when to ask again, what an answer means. No input or output."""

    def __init__(
        self, url: str, *, api_key: str | None, timeout_s: float, retries: int, max_wait_s: float, resend: bool
    ) -> None:
        if not _is_address(url):
            raise ValueError(f"the address of the service looks like http://127.0.0.1:8000, not like {url!r}")
        if timeout_s <= 0 or retries < 0 or max_wait_s < 0:
            raise ValueError("timeout_s must be above 0, retries and max_wait_s not below")
        if api_key is not None and (not api_key.isascii() or not api_key.isprintable() or " " in api_key):
            raise ValueError("the API key has characters that no header can carry")
        self._url = url.rstrip("/")
        self._retries = retries
        self._max_wait_s = max_wait_s
        self._resend = resend
        self._timeout = httpx2.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s))
        self._headers = {"User-Agent": "photochrom-client"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"

    def _request(self, method: str, path: str, **given: Any) -> httpx2.Request:
        headers = self._headers | given.pop("headers", {})
        extensions = {"timeout": self._timeout.as_dict()}
        return httpx2.Request(method, self._url + path, headers=headers, extensions=extensions, **given)

    def _question(
        self, data: bytes, etag: str | None, reference: bytes | None, options: Mapping[str, Any]
    ) -> httpx2.Request:
        query = _query_of("colorize", options, Options.__annotations__)
        headers = {"Accept": "image/png, image/*;q=0.9"} | ({"If-None-Match": etag} if etag else {})
        if reference is None:
            headers["Content-Type"] = "application/octet-stream"
            return self._request("POST", "/colorize", content=data, params=query, headers=headers)
        files = {"image": ("image", data), "reference": ("reference", reference)}
        return self._request("POST", "/colorize", files=files, params=query, headers=headers)

    def _keep_question(self, data: bytes, size: int | None) -> httpx2.Request:
        query = {} if size is None else {"size": str(size)}
        headers = {"Content-Type": "application/octet-stream"}
        return self._request("POST", "/pictures", content=data, params=query, headers=headers)

    def _render_question(self, kept: Kept | str, etag: str | None, options: Mapping[str, Any]) -> httpx2.Request:
        query = _query_of("render", options, RenderOptions.__annotations__)
        headers = {"Accept": "image/png, image/*;q=0.9"} | ({"If-None-Match": etag} if etag else {})
        return self._request("GET", _path_of(kept), params=query, headers=headers)

    def _converse(
        self, request: httpx2.Request
    ) -> Generator[httpx2.Request | float, httpx2.Response | httpx2.RequestError | None, httpx2.Response]:
        """Yield requests, to be sent, and pauses, to be slept; return the good answer or raise the last error."""
        waited_s = 0.0
        for tried in itertools.count():
            outcome = yield request
            if isinstance(outcome, httpx2.Response) and (outcome.is_success or outcome.status_code == 304):
                return outcome
            error = _error_of(outcome, request)
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


class Client(_Base):
    """Calls a service and waits for its answer; may be used by several threads at once."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        timeout_s: float = 60,
        retries: int = 4,
        max_wait_s: float = 60,
        resend: bool = True,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        """Remember how to call; the first request connects.

        Args:
            url: of the service, without the path of a route.
            api_key: where the service wants one.
            timeout_s: longest silence of the service within one try, seconds.
            retries: most further tries after one that was turned away (503, 429) or found no connection.
            max_wait_s: longest time spent on the pauses between them, seconds.
            resend: whether a picture is sent again over which the connection broke; it may be what ended the service.
            transport: how to reach the service, if not over the network; for tests.

        Raises:
            ValueError: the address or the key cannot be one, or a number is negative.
        """
        super().__init__(
            url,
            api_key=api_key,
            timeout_s=timeout_s,
            retries=retries,
            max_wait_s=max_wait_s,
            resend=resend,
        )
        self._http = httpx2.Client(transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connections."""
        self._http.close()

    def colorize(
        self,
        picture: Picture,
        *,
        etag: str | None = None,
        reference: Picture | None = None,
        **options: Unpack[Options],
    ) -> Answer:
        """Have a picture colored; the further keywords are those of `Options`.

        Args:
            picture: the bytes of a file, its path, or an open file.
            etag: of an answer to the same question; if it still holds, it is not sent again.
            reference: a color photograph whose palette is followed.

        Returns:
            The picture in color; several variants as a ZIP file, see `Answer.pictures`.

        Raises:
            ClientError: the service did not color it; see the tree on top of this module.
            OSError: the file cannot be read.
        """
        palette = None if reference is None else _read(reference)
        return _answer_of(self._ask(self._question(_read(picture), etag, palette, options)))

    def keep(self, picture: Picture, *, size: int | None = None) -> Kept:
        """Have a picture kept for a while, to `render` it without another inference.

        Args:
            picture: the bytes of a file, its path, or an open file; a color photograph can be a reference for others.
            size: inference size, px; None means the model's own.

        Returns:
            What is kept.

        Raises:
            ClientError: the service did not keep it; `NotKept` when it keeps nothing at all.
            OSError: the file cannot be read.
        """
        return _kept_of(self._ask(self._keep_question(_read(picture), size)))

    def render(self, kept: Kept | str, *, etag: str | None = None, **options: Unpack[RenderOptions]) -> Answer:
        """Have a kept picture colored; the further keywords are those of `RenderOptions`.

        Args:
            kept: what `keep` gave, or its id.
            etag: of an answer to the same question; if it still holds, it is not sent again.

        Returns:
            The picture in color.

        Raises:
            NotKept: the service has it no more.
            ClientError: the service did not color it; see the tree on top of this module.
        """
        return _answer_of(self._ask(self._render_question(kept, etag, options)))

    def confidence(self, kept: Kept | str) -> Answer:
        """Have drawn where the network is sure of a kept picture: a gray PNG, 255 is sure.

        Args:
            kept: what `keep` gave, or its id.

        Raises:
            NotKept: the service has it no more.
            ClientError: the service did not draw it.
        """
        return _answer_of(self._ask(self._request("GET", _path_of(kept, "/confidence"))))

    def forget(self, kept: Kept | str) -> None:
        """Have the service let a kept picture go at once.

        Args:
            kept: what `keep` gave, or its id.

        Raises:
            NotKept: the service has it no more.
            ClientError: the service did not do it.
        """
        self._ask(self._request("DELETE", _path_of(kept)))

    def model(self) -> dict[str, Any]:
        """Return what the model file says of itself; needs the key where there is one.

        Raises:
            ClientError: the service did not say.
        """
        return _json_of(self._ask(self._request("GET", "/model")))

    def health(self) -> dict[str, Any]:
        """Return the service's summary of its own state.

        Raises:
            ClientError: the service did not say.
        """
        return _json_of(self._ask(self._request("GET", "/health")))

    def ready(self) -> bool:
        """Return whether pictures may be sent now; False as well when nobody answers. Tries once."""
        outcome = self._send(self._request("GET", "/health/ready"))
        return isinstance(outcome, httpx2.Response) and outcome.is_success

    def _ask(self, request: httpx2.Request) -> httpx2.Response:
        talk = self._converse(request)
        step = next(talk)
        while True:
            outcome: httpx2.Response | httpx2.RequestError | None = None
            if isinstance(step, httpx2.Request):
                outcome = self._send(step)
            else:
                time.sleep(step)
            try:
                step = talk.send(outcome)
            except StopIteration as end:
                return _only_response(end.value)

    def _send(self, request: httpx2.Request) -> httpx2.Response | httpx2.RequestError:
        try:
            return self._http.send(request)
        except httpx2.RequestError as error:
            return error


class AsyncClient(_Base):
    """The same for asyncio; a task that is canceled lets go of its connection, and the service then of its work."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        timeout_s: float = 60,
        retries: int = 4,
        max_wait_s: float = 60,
        resend: bool = True,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        """Remember how to call; the first request connects.

        Args:
            url: of the service, without the path of a route.
            api_key: where the service wants one.
            timeout_s: longest silence of the service within one try, seconds.
            retries: most further tries after one that was turned away (503, 429) or found no connection.
            max_wait_s: longest time spent on the pauses between them, seconds.
            resend: whether a picture is sent again over which the connection broke; it may be what ended the service.
            transport: how to reach the service, if not over the network; for tests.

        Raises:
            ValueError: the address or the key cannot be one, or a number is negative.
        """
        super().__init__(
            url,
            api_key=api_key,
            timeout_s=timeout_s,
            retries=retries,
            max_wait_s=max_wait_s,
            resend=resend,
        )
        self._http = httpx2.AsyncClient(transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the connections."""
        await self._http.aclose()

    async def colorize(
        self,
        picture: Picture,
        *,
        etag: str | None = None,
        reference: Picture | None = None,
        **options: Unpack[Options],
    ) -> Answer:
        """Have a picture colored; the further keywords are those of `Options`.

        Args:
            picture: the bytes of a file, its path, or an open file.
            etag: of an answer to the same question; if it still holds, it is not sent again.
            reference: a color photograph whose palette is followed.

        Returns:
            The picture in color; several variants as a ZIP file, see `Answer.pictures`.

        Raises:
            ClientError: the service did not color it; see the tree on top of this module.
            OSError: the file cannot be read.
        """
        palette = None if reference is None else await asyncio.to_thread(_read, reference)
        data = await asyncio.to_thread(_read, picture)
        return _answer_of(await self._ask(self._question(data, etag, palette, options)))

    async def keep(self, picture: Picture, *, size: int | None = None) -> Kept:
        """Have a picture kept for a while, to `render` it without another inference.

        Args:
            picture: the bytes of a file, its path, or an open file; a color photograph can be a reference for others.
            size: inference size, px; None means the model's own.

        Returns:
            What is kept.

        Raises:
            ClientError: the service did not keep it; `NotKept` when it keeps nothing at all.
            OSError: the file cannot be read.
        """
        data = await asyncio.to_thread(_read, picture)
        return _kept_of(await self._ask(self._keep_question(data, size)))

    async def render(self, kept: Kept | str, *, etag: str | None = None, **options: Unpack[RenderOptions]) -> Answer:
        """Have a kept picture colored; the further keywords are those of `RenderOptions`.

        Args:
            kept: what `keep` gave, or its id.
            etag: of an answer to the same question; if it still holds, it is not sent again.

        Returns:
            The picture in color.

        Raises:
            NotKept: the service has it no more.
            ClientError: the service did not color it; see the tree on top of this module.
        """
        return _answer_of(await self._ask(self._render_question(kept, etag, options)))

    async def confidence(self, kept: Kept | str) -> Answer:
        """Have drawn where the network is sure of a kept picture: a gray PNG, 255 is sure.

        Args:
            kept: what `keep` gave, or its id.

        Raises:
            NotKept: the service has it no more.
            ClientError: the service did not draw it.
        """
        return _answer_of(await self._ask(self._request("GET", _path_of(kept, "/confidence"))))

    async def forget(self, kept: Kept | str) -> None:
        """Have the service let a kept picture go at once.

        Args:
            kept: what `keep` gave, or its id.

        Raises:
            NotKept: the service has it no more.
            ClientError: the service did not do it.
        """
        await self._ask(self._request("DELETE", _path_of(kept)))

    async def model(self) -> dict[str, Any]:
        """Return what the model file says of itself; needs the key where there is one.

        Raises:
            ClientError: the service did not say.
        """
        return _json_of(await self._ask(self._request("GET", "/model")))

    async def health(self) -> dict[str, Any]:
        """Return the service's summary of its own state.

        Raises:
            ClientError: the service did not say.
        """
        return _json_of(await self._ask(self._request("GET", "/health")))

    async def ready(self) -> bool:
        """Return whether pictures may be sent now; False as well when nobody answers. Tries once."""
        outcome = await self._send(self._request("GET", "/health/ready"))
        return isinstance(outcome, httpx2.Response) and outcome.is_success

    async def _ask(self, request: httpx2.Request) -> httpx2.Response:
        talk = self._converse(request)
        step = next(talk)
        while True:
            outcome: httpx2.Response | httpx2.RequestError | None = None
            if isinstance(step, httpx2.Request):
                outcome = await self._send(step)
            else:
                await asyncio.sleep(step)
            try:
                step = talk.send(outcome)
            except StopIteration as end:
                return _only_response(end.value)

    async def _send(self, request: httpx2.Request) -> httpx2.Response | httpx2.RequestError:
        try:
            return await self._http.send(request)
        except httpx2.RequestError as error:
            return error


def _query_of(method: str, options: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, str]:
    if unknown := set(options) - known.keys():
        raise TypeError(f"{method}() has no option {', '.join(sorted(unknown))}")
    given = {name: value for name, value in options.items() if value is not None}
    if "hints" in given:
        given["hints"] = hints_text(given["hints"])
    return {name: str(value) for name, value in given.items()}


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


def _path_of(kept: Kept | str, rest: str = "") -> str:
    return f"/pictures/{quote(kept.id if isinstance(kept, Kept) else kept, safe='')}{rest}"


def _kept_of(response: httpx2.Response) -> Kept:
    told = _json_of(response)
    try:
        return Kept(
            id=str(told["id"]),
            width=int(told["width"]),
            height=int(told["height"]),
            scenes=tuple((str(scene["name"]), float(scene["probability"])) for scene in told["scene"]),
            confidence=float(told["confidence"]["mean"]),
            expires_in_s=float(told["expires_in_s"]),
            model=str(told["model"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidRequest(
            f"{_place(response.request)} does not say what it keeps: is this a Photochrom service?",
            status=response.status_code,
        ) from error


def _is_address(url: str) -> bool:
    try:
        return url.startswith(("http://", "https://")) and httpx2.URL(url).host != ""
    except httpx2.InvalidURL:
        return False


def _only_response(value: object) -> httpx2.Response:
    assert isinstance(value, httpx2.Response)
    return value


def _read(picture: Picture) -> bytes:
    """Return all bytes, which a second try sends again."""
    if isinstance(picture, bytes | bytearray | memoryview):
        return bytes(picture)
    if isinstance(picture, str | PathLike):
        return Path(picture).read_bytes()
    data = picture.read()
    if not isinstance(data, bytes):
        raise TypeError("open the file for reading bytes: open(path, 'rb')")
    return data


def _answer_of(response: httpx2.Response) -> Answer:
    headers = response.headers
    unchanged = response.status_code == 304
    media_type = headers.get("Content-Type", "").partition(";")[0]
    query = response.request.url.params
    expected = ("image/", JSON_TYPE) if query.get("format") == "json" else ("image/", ZIP_TYPE)
    if not unchanged and not media_type.startswith(expected):
        raise InvalidRequest(
            f"{_place(response.request)} answers with {media_type or 'nothing'}, not with a picture: "
            "is this a Photochrom service?",
            status=response.status_code,
        )
    return Answer(
        data=response.content,
        media_type="" if unchanged else media_type,
        etag=headers.get("ETag", ""),
        unchanged=unchanged,
        scene=unquote(headers.get("X-Photochrom-Scene", "")),
        model=unquote(headers.get("X-Photochrom-Model", "")),
        request_id=headers.get("X-Request-ID", ""),
        timing_ms=_timing_ms(headers.get("Server-Timing", "")),
    )


def _timing_ms(header: str) -> dict[str, float]:
    """Parse `infer;dur=12.5, encode;dur=3`; what does not read so is left out."""
    timing = {}
    for entry in header.split(","):
        name, _, value = entry.strip().partition(";dur=")
        try:
            timing[name] = float(value)
        except ValueError:
            continue
    return timing


def _json_of(response: httpx2.Response) -> dict[str, Any]:
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise InvalidRequest(
            f"{_place(response.request)} does not answer with JSON: is this a Photochrom service?",
            status=response.status_code,
        )
    return answer


def _place(request: httpx2.Request) -> str:
    """Return the address without what may be secret in it."""
    return f"{request.url.scheme}://{request.url.netloc.decode()}"


def _error_of(outcome: httpx2.Response | httpx2.RequestError | None, request: httpx2.Request) -> ClientError:
    place = _place(request)
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


def _pause_s(tried: int, error: ClientError) -> float:
    pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(tried, 30))
    asked_s = error.retry_after_s if isinstance(error, Overloaded) else None
    return max(pause_s, asked_s or 0.0) * (1 + random.uniform(0, JITTER))
