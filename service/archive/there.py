"""Photographs colored by a running service."""

import asyncio
import io
import math
from collections import Counter
from typing import Final

from PIL import Image

from service.archive.looks import UNNAMED, Looks
from service.archive.run import ColoredFile
from service.client import ZIP_TYPE, AsyncClient
from service.client.errors import ClientError, Unreachable
from service.client.requests import ColorizeOptions
from service.errors import RequestError
from service.pictures.answer_formats import MEDIA_TYPES, OutputFormat
from service.pictures.header import Header
from service.pictures.probe import probe

MAX_SENT: Final = 3
"""A picture over which the connection to the service breaks so often is what ends the service."""


class There:
    """Has a service color.

    A picture may be what ends the service, and others under way at that moment lose their connection as well. So each
    of them is sent again when the service is back, with nothing else under way: the innocent ones come through.
    """

    def __init__(
        self,
        client: AsyncClient,
        options: ColorizeOptions,
        output_format: OutputFormat,
        *,
        reference: bytes | None = None,
        looks: Looks | None = None,
    ) -> None:
        """Keep what is the same for all pictures.

        Args:
            client: of the service; does not send a picture again over which the connection broke.
            options: how to color.
            output_format: of the answers.
            reference: the file of a color photograph whose palette is followed.
            looks: how single photographs are colored instead.
        """
        self._looks = looks
        self._reference = reference
        self._client = client
        self._options: ColorizeOptions = {**options, "format": output_format}
        self._media_type = MEDIA_TYPES[output_format]
        self._alone = asyncio.Lock()
        self._by: Counter[str] = Counter()

    async def __call__(self, data: bytes) -> ColoredFile:
        """Color one file.

        Raises:
            Unreachable: the service is not there.
            ClientError: the service did not color it, answered with another format, or its connection broke over this
                picture `MAX_SENT` times.
        """
        async with self._alone:
            pass
        if (colored := await self._send(data)) is not None:
            return colored
        async with self._alone:
            for _ in range(MAX_SENT - 1):
                await self._await_return()
                if (colored := await self._send(data)) is not None:
                    return colored
            await self._await_return()
        raise ClientError(
            f"the connection to the service broke {MAX_SENT} times over this picture; its log may say why",
            type="connection-lost",
        )

    def computed_otherwise(self) -> str:
        """Say in words that not all answers were computed alike; empty where they were.

        A service may take up another model, or another precision when it has just started; several may share a name.
        """
        if len(self._by) < 2:
            return ""
        counts = ", ".join(f"{count} by {by}" for by, count in self._by.most_common())
        return f"not all photographs were computed alike: {counts}; --overwrite colors them again"

    async def _await_return(self) -> None:
        """Ask something small, with all the patience of the client: a service that ended takes a while to come back.

        Raises:
            Unreachable: it did not come back.
            ClientError: it is not what it was.
        """
        await self._client.model()

    async def _send(self, data: bytes) -> ColoredFile | None:
        """Send a picture once; return None when the connection broke over it."""
        try:
            return await self._color(data)
        except Unreachable as error:
            if error.broke:
                return None
            raise

    async def _color(self, data: bytes) -> ColoredFile:
        look = self._looks.find(data) if self._looks else None
        options, reference, notes = self._options, self._reference, tuple[str, ...]()
        if look is not None and self._looks is not None:
            options = look.asked_like(options)
            reference = self._looks.references[look.reference] if look.reference else None
        elif self._looks is not None:
            notes = (UNNAMED,)
        if reference is None:
            answer = await self._client.colorize(data, **options)
        else:
            answer = await self._client.colorize(data, reference=reference, **options)
        count = options.get("variants") or 1
        expected = self._media_type if count == 1 else ZIP_TYPE
        if answer.media_type != expected:
            raise ClientError(f"the service answered with {answer.media_type} instead of {expected}")
        pictures = answer.pictures()
        if len(pictures) != count:
            raise ClientError(
                f"the service answered with {len(pictures)} pictures instead of {count}", type="bad-answer"
            )
        if look is not None:
            pictures = pictures[-1:]  # Of several versions, the one that the look is of.
        for picture in pictures:
            await asyncio.to_thread(_check, data, picture)
        self._by[" in ".join(filter(None, (answer.model, answer.precision)))] += 1
        return ColoredFile(pictures[0], answer.scene, notes, tuple(pictures[1:]), look.digest if look else "")


def _check(question: bytes, answer: bytes) -> None:
    """Refuse what is no whole picture of the size that was sent: it would be stored as the answer.

    Raises:
        ClientError: it is none.
    """
    try:
        header = probe(answer, max_megapixels=math.inf)
        # By Pillow, whose limit is none: OpenCV's is this machine's, and a service may take larger pictures.
        with Image.open(io.BytesIO(answer)) as image:
            image.load()
    except (RequestError, OSError, ValueError, SyntaxError) as error:
        raise ClientError("the service's answer is no picture that can be read", type="bad-answer") from error
    try:
        asked = probe(question, max_megapixels=math.inf)
    except RequestError:
        return  # A service may read what we do not.
    if header.upright_size != asked.upright_size:
        raise ClientError(
            f"the service's answer has {_size(header)} px, the photograph {_size(asked)}", type="bad-answer"
        )


def _size(header: Header) -> str:
    return "{} x {}".format(*header.upright_size)
