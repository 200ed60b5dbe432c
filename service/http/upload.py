"""The body of a request -> the files in it."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from types import TracebackType
from typing import Final, Self

from fastapi import Request
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from service.engine.spool import Incoming
from service.errors import (
    EmptyUpload,
    InvalidOption,
    MalformedRequest,
    UnsupportedPicture,
)
from service.http.guard import INCOMING_KEY
from service.pictures.spooled import FileData, SpooledFile
from service.telemetry import Stages

RAW_TYPES: Final = ("application/octet-stream", "")
"""Besides image/*: content types under which a body counts as the bytes of a picture."""

FILE_FIELD: Final = "image"
"""Name of the field of a multipart form that holds the picture."""

REFERENCE_FIELD: Final = "reference"
"""Name of the field that may hold a photograph whose palette is followed."""

MAX_FORM_FIELDS: Final = 8
"""Form fields that are read before the form is refused; more than one is refused anyway, but by name."""


class Upload:
    """The files of a request; those on the disk are closed when it is left, but for what is kept."""

    def __init__(self, files: dict[str, FileData]) -> None:
        """Take files over, by the names of their fields."""
        self._files = files
        self._kept: FileData = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for data in self._files.values():
            if isinstance(data, SpooledFile) and data is not self._kept:
                data.close()

    def __getitem__(self, field: str) -> FileData:
        """Return the file of a field."""
        return self._files[field]

    def get(self, field: str) -> FileData | None:
        """Return the file of a field; None where there is none."""
        return self._files.get(field)

    def keep(self, field: str) -> None:
        """Leave the file of a field open: somebody has taken it over."""
        self._kept = self._files[field]


async def receive_files(request: Request, stages: Stages, *fields: str) -> Upload:
    """Return the files of a request by the names of their fields, and count the time."""
    with stages.measure("read"):
        return Upload(await _read_upload(request, fields))


async def _read_upload(request: Request, fields: tuple[str, ...]) -> dict[str, FileData]:
    """Return the bytes of the picture, from a raw body, or of the files of a form, by their fields' names."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type.startswith("image/") or media_type in RAW_TYPES:
        return {FILE_FIELD: await _read_body(request)}
    if media_type != "multipart/form-data":
        raise UnsupportedPicture(
            "Send the picture as the body with a Content-Type of image/* (curl: -H 'Content-Type: image/jpeg' "
            "--data-binary @photo.jpg), or as the file field 'image' of a multipart form (curl: -F image=@photo.jpg)."
        )
    try:
        async with aclosing(request.stream()) as stream:
            parser = _FormParser(
                request.headers,
                stream,
                request.scope[INCOMING_KEY],
                max_files=len(fields),
                max_fields=MAX_FORM_FIELDS,
            )
            form = await parser.parse()
    except MultiPartException as error:
        raise MalformedRequest(error.message) from error
    try:
        return await _files(form, fields)
    finally:
        await form.close()


async def _read_body(request: Request) -> FileData:
    incoming: Incoming = request.scope[INCOMING_KEY]()
    try:
        async with aclosing(request.stream()) as stream:
            async for part in stream:
                await incoming.add(part)
        return await incoming.finish()
    finally:
        incoming.close()


class _FormFile(UploadFile):
    """A file of a form that goes where those of other requests go."""

    def __init__(self, incoming: Incoming, plain: UploadFile) -> None:
        super().__init__(plain.file, filename=plain.filename, headers=plain.headers)
        self.incoming = incoming

    async def write(self, data: bytes) -> None:
        await self.incoming.add(data)

    async def close(self) -> None:
        self.incoming.close()
        await super().close()


class _FormParser(MultiPartParser):
    def __init__(
        self,
        headers: Headers,
        stream: AsyncGenerator[bytes, None],
        make: Callable[[], Incoming],
        *,
        max_files: int,
        max_fields: int,
    ) -> None:
        super().__init__(headers, stream, max_files=max_files, max_fields=max_fields)
        self._make = make

    def on_headers_finished(self) -> None:
        super().on_headers_finished()
        if self._current_part.file is not None:
            self._current_part.file = _FormFile(self._make(), self._current_part.file)
            self._files_to_close_on_error.append(self._current_part.file.incoming)  # type: ignore[arg-type]  # It only has to close.


async def _files(form: FormData, fields: tuple[str, ...]) -> dict[str, FileData]:
    """Return the files of a form by name; the first field is needed."""
    found: dict[str, _FormFile] = {}
    for name, value in form.multi_items():
        if name not in fields:
            raise InvalidOption(
                f"The form has the file fields {' and '.join(map(repr, fields))}; options go into the query of the "
                "address.",
                errors=[{"option": name[:64], "reason": "not a field of the form"}],
            )
        if not isinstance(value, _FormFile):
            raise InvalidOption(
                f"The field {name!r} must be a file (curl: -F {name}=@photo.jpg, with the @).",
                errors=[{"option": name, "reason": "not a file"}],
            )
        if name in found:
            raise MalformedRequest(f"The form has the field {name!r} twice.")
        found[name] = value
    if FILE_FIELD not in found:
        raise EmptyUpload(f"The form lacks its file field {FILE_FIELD!r}.")
    finished: dict[str, FileData] = {}
    try:
        for name, file in found.items():
            finished[name] = await file.incoming.finish()
    except BaseException:
        with Upload(finished):
            raise
    return finished
