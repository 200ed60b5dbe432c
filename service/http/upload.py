"""The body of a request -> the files in it."""

from contextlib import aclosing
from typing import Final

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from service.errors import (
    EmptyUpload,
    InvalidOption,
    MalformedRequest,
    UnsupportedPicture,
)
from service.http.services import services_of
from service.telemetry import Stages

RAW_TYPES: Final = ("application/octet-stream", "")
"""Besides image/*: content types under which a body counts as the bytes of a picture."""

FILE_FIELD: Final = "image"
"""Name of the field of a multipart form that holds the picture."""

REFERENCE_FIELD: Final = "reference"
"""Name of the field that may hold a photograph whose palette is followed."""

MAX_FORM_FIELDS: Final = 8
"""Form fields that are read before the form is refused; more than one is refused anyway, but by name."""


async def receive_files(request: Request, stages: Stages, *fields: str) -> dict[str, bytes]:
    """Return the files of a request by the names of their fields, and count the time."""
    with stages.measure("read"):
        return await _read_upload(request, services_of(request).settings.max_upload_bytes, fields)


async def _read_upload(request: Request, max_bytes: int, fields: tuple[str, ...]) -> dict[str, bytes]:
    """Return the bytes of the picture, from a raw body, or of the files of a form, by their fields' names."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type.startswith("image/") or media_type in RAW_TYPES:
        return {FILE_FIELD: await request.body()}
    if media_type != "multipart/form-data":
        raise UnsupportedPicture(
            "Send the picture as the body with a Content-Type of image/* (curl: -H 'Content-Type: image/jpeg' "
            "--data-binary @photo.jpg), or as the file field 'image' of a multipart form (curl: -F image=@photo.jpg)."
        )
    try:
        async with aclosing(request.stream()) as stream:
            parser = MultiPartParser(request.headers, stream, max_files=len(fields), max_fields=MAX_FORM_FIELDS)
            parser.spool_max_size = max_bytes  # Nothing of it goes to the disk, which may be full or read-only.
            form = await parser.parse()
    except MultiPartException as error:
        raise MalformedRequest(error.message) from error
    try:
        return await _files(form, fields)
    finally:
        await form.close()


async def _files(form: FormData, fields: tuple[str, ...]) -> dict[str, bytes]:
    """Return the files of a form by name; the first field is needed."""
    found: dict[str, bytes] = {}
    for name, value in form.multi_items():
        if name not in fields:
            raise InvalidOption(
                f"The form has the file fields {' and '.join(map(repr, fields))}; options go into the query of the "
                "address.",
                errors=[{"option": name[:64], "reason": "not a field of the form"}],
            )
        if not isinstance(value, UploadFile):
            raise InvalidOption(
                f"The field {name!r} must be a file (curl: -F {name}=@photo.jpg, with the @).",
                errors=[{"option": name, "reason": "not a file"}],
            )
        if name in found:
            raise MalformedRequest(f"The form has the field {name!r} twice.")
        found[name] = await value.read()
    if FILE_FIELD not in found:
        raise EmptyUpload(f"The form lacks its file field {FILE_FIELD!r}.")
    return found
