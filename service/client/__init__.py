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

import time
from contextlib import closing
from types import TracebackType
from typing import Any, Self, Unpack

import httpx2

from service.client.answers import JSON_TYPE, ZIP_TYPE, Answer, Kept, answer_of, colors_of, json_of, kept_of
from service.client.asynchronous import AsyncClient
from service.client.errors import (
    ClientError,
    InvalidRequest,
    NotKept,
    Overloaded,
    RefusedPicture,
    ServerError,
    TimedOut,
    TooLarge,
    Unauthorized,
    Unreachable,
)
from service.client.requests import (
    BaseClient,
    ColorizeOptions,
    Hints,
    KeepOptions,
    Picture,
    RenderOptions,
    hints_text,
    only_response,
    path_of,
    read_picture,
)

__all__ = [
    "JSON_TYPE",
    "ZIP_TYPE",
    "Answer",
    "AsyncClient",
    "Client",
    "ClientError",
    "ColorizeOptions",
    "Hints",
    "InvalidRequest",
    "KeepOptions",
    "Kept",
    "NotKept",
    "Overloaded",
    "Picture",
    "RefusedPicture",
    "RenderOptions",
    "ServerError",
    "TimedOut",
    "TooLarge",
    "Unauthorized",
    "Unreachable",
    "hints_text",
]


class Client(BaseClient):
    """Calls a service and waits for its answer; may be used by several threads at once."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        timeout_s: float = 90,
        deadline_s: float = 300,
        max_answer_bytes: int = 1 << 30,
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
            deadline_s: longest time from the request of one try to the end of its answer, seconds.
            max_answer_bytes: most bytes that are taken of an answer.
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
            deadline_s=deadline_s,
            max_answer_bytes=max_answer_bytes,
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
        **options: Unpack[ColorizeOptions],
    ) -> Answer:
        """Have a picture colored; the further keywords are those of `ColorizeOptions`.

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
        palette = None if reference is None else read_picture(reference)
        return answer_of(self._ask(self._question(read_picture(picture), etag, palette, options)))

    def keep(self, picture: Picture, **options: Unpack[KeepOptions]) -> Kept:
        """Have a picture kept for a while, to `render` it without another inference; see `KeepOptions`.

        Args:
            picture: the bytes of a file, its path, or an open file; a color photograph can be a reference for others.

        Returns:
            What is kept.

        Raises:
            ClientError: the service did not keep it; `NotKept` when it keeps nothing at all.
            OSError: the file cannot be read.
        """
        return kept_of(self._ask(self._keep_question(read_picture(picture), options)))

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
        return answer_of(self._ask(self._render_question(kept, etag, options)))

    def confidence(self, kept: Kept | str) -> Answer:
        """Have drawn where the network is sure of a kept picture: a gray PNG, 255 is sure.

        Args:
            kept: what `keep` gave, or its id.

        Raises:
            NotKept: the service has it no more.
            ClientError: the service did not draw it.
        """
        return answer_of(self._ask(self._request("GET", path_of(kept, "/confidence"))))

    def colors(self, kept: Kept | str, x: float, y: float) -> list[tuple[str, float]]:
        """Return the colors that the network finds plausible at a place of a kept picture, the likeliest first.

        Args:
            kept: what `keep` gave, or its id.
            x: from the left border, 0, to the right one, 1, of the upright picture.
            y: from the top, 0, to the bottom, 1.

        Returns:
            ("#rrggbb", how probable it and what looks like it is, [0, 1]); no two look alike.

        Raises:
            NotKept: the service has it no more.
            ClientError: the service did not say.
        """
        return colors_of(self._ask(self._colors_question(kept, x, y)))

    def forget(self, kept: Kept | str) -> None:
        """Have the service let a kept picture go at once.

        Args:
            kept: what `keep` gave, or its id.

        Raises:
            NotKept: the service has it no more.
            ClientError: the service did not do it.
        """
        self._ask(self._request("DELETE", path_of(kept)))

    def model(self) -> dict[str, Any]:
        """Return what the model file says of itself; needs the key where there is one.

        Raises:
            ClientError: the service did not say.
        """
        return json_of(self._ask(self._request("GET", "/model")))

    def health(self) -> dict[str, Any]:
        """Return the service's summary of its own state.

        Raises:
            ClientError: the service did not say.
        """
        return json_of(self._ask(self._request("GET", "/health")))

    def ready(self) -> bool:
        """Return whether pictures may be sent now; False as well when nobody answers. Tries once."""
        outcome = self._send(self._request("GET", "/health/ready"))
        return isinstance(outcome, httpx2.Response) and outcome.is_success

    def _ask(self, request: httpx2.Request) -> httpx2.Response:
        attempts = self._attempts(request)
        step = next(attempts)
        while True:
            outcome: httpx2.Response | httpx2.RequestError | None = None
            if isinstance(step, httpx2.Request):
                outcome = self._send(step)
            else:
                time.sleep(step)
            try:
                step = attempts.send(outcome)
            except StopIteration as end:
                return only_response(end.value)

    def _send(self, request: httpx2.Request) -> httpx2.Response | httpx2.RequestError:
        body = self._body(request)
        try:
            with closing(self._http.send(request, stream=True)) as response:
                for part in response.iter_bytes():
                    body.add(part)
        except httpx2.RequestError as error:
            return error
        return body.response(response)
