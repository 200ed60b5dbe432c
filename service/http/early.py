"""Answers that begin before they are done: the top of a large picture is on its way while the rest is made."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from service.engine.outlet import Outlet
from service.http.waiting import cancel_on_disconnect

Head = Callable[[str], tuple[dict[str, str], str]]
"""From the scene of a picture to the headers of the answer, and its media type."""


class Early:
    """An answer that may begin early, from the first look at its question on.

    Attributes:
        outlet: takes the picture.
        head: of the answer; to be set before the picture is made, and to give new headers each time.
    """

    def __init__(self, outlet: Outlet) -> None:
        """Begin without a head."""
        self.outlet = outlet
        self.head: Head = lambda _: ({}, "")

    async def answer(self, work: Coroutine[Any, Any, Response]) -> Response:
        """Return what the work gives, or, once it has begun to fill the outlet, what is sent while it goes on.

        Args:
            work: begins at once.

        Raises:
            Exception: what the work raises before that.
        """
        making = asyncio.create_task(work)
        making.add_done_callback(self._end)
        try:
            either: set[asyncio.Future[Any]] = {making, self.outlet.begun}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            making.cancel()
            raise
        # Whatever has failed by now can still be said in words.
        if not self.outlet.begun.done() or (making.done() and (making.cancelled() or making.exception())):
            return making.result()
        headers, media_type = self.head(self.outlet.scene)
        return _InParts(self.outlet, making, headers=headers, media_type=media_type)

    def late(self) -> Response:
        """Return the answer that the outlet has taken, now that it is done."""
        headers, media_type = self.head(self.outlet.scene)
        headers["Content-Length"] = str(self.outlet.size)
        return _Done(self.outlet.parts(), headers=headers, media_type=media_type)

    def _end(self, making: asyncio.Task[Response]) -> None:
        self.outlet.finish(ClientDisconnect() if making.cancelled() else making.exception())


class _Done(StreamingResponse):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as ASGI has it
        await cancel_on_disconnect(receive, self.stream_response(send))


class _InParts(StreamingResponse):
    def __init__(self, outlet: Outlet, making: asyncio.Task[Response], **said: Any) -> None:
        super().__init__(outlet.parts(), **said)
        self._making = making

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as ASGI has it
        try:
            await cancel_on_disconnect(receive, self.stream_response(send))
        finally:
            self._making.cancel()
