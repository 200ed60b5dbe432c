"""What can go wrong, as types; the HTTP layer turns each `RequestError` into an RFC 9457 problem.

::

    ServiceError
    |-- StartupError            the service cannot start; the text says what to do
    |   |-- ModelError          the model file is missing, broken or not ours
    |   |-- DeviceError         the device asked for does not work here
    |   |-- PrecisionError      the precision asked for does not work here, or changes the pictures
    |   |-- KeysError           the API keys cannot be read
    |   `-- SettingsError         a setting's name is misspelled, or its value does not work here
    `-- RequestError            one request fails; has a status and a stable name
        |-- MalformedRequest    400  the body cannot be parsed
        |-- Unauthorized        401  no API key, or a wrong one
        |-- NotFound            404
        |-- PictureNotKept      404  unknown, expired, evicted, of another key, or none are kept here
        |-- MethodNotAllowed    405
        |-- NotAcceptable       406  the caller takes no format that we write
        |-- UploadTooSlow       408  bytes a second
        |-- UploadTooLarge      413  bytes
        |-- PictureTooLarge     413  pixels, or a side
        |-- CostlyPicture       413  decoding it takes more than a picture of its size may
        |-- AnswerTooLarge      413  several pictures in one answer have too many bytes
        |-- TooLargeToKeep      413  no room for it among the kept pictures; it can be colored
        |-- UnsupportedPicture  415  not a picture, or of a kind we do not read
        |-- EmptyUpload         422
        |-- BrokenPicture       422  truncated or damaged
        |-- SeveralFrames       422  animation, or more than one page
        |-- InvalidOption       422  the query, or the form
        |-- UnfitFormat         422  the answer does not fit the format asked for
        |-- InternalError       500  ours
        |-- Overloaded          503  too much at once; says when to come back
        |-- OutOfMemory         503  there was too little memory for it; says when to come back
        |-- OutOfDisk           503  an upload or answer could not be spooled; says when to come back
        |-- Draining            503  stopping
        |-- Failing             503  broken inside; wants a restart
        `-- DeadlineExceeded    504

``docs/http.md`` lists the same names for those who call the service.
"""

from typing import ClassVar

TYPE_PREFIX = "urn:photochrom:problem:"
"""A problem's ``type`` is this and the error's name."""


class ServiceError(Exception):
    """Root of everything the service raises on purpose."""


class StartupError(ServiceError):
    """The service cannot start; the text says why and what to do."""


class ModelError(StartupError):
    """The model file is missing, broken, or not one of ours."""


class DeviceError(StartupError):
    """The device asked for does not work on this machine."""


class PrecisionError(StartupError):
    """The precision asked for does not work on this machine, or changes the pictures too much."""


class KeysError(StartupError):
    """The API keys cannot be read, or are no keys; the text never holds one."""


class SettingsError(StartupError):
    """A variable is nearly the name of a setting, opens the service by mistake, or names what cannot be used."""


class RequestError(ServiceError):
    """One request fails.

    Attributes:
        status: HTTP status.
        name: stable name, the end of the problem's ``type``; never changes once released.
        title: what the name means, the same for every occurrence.
        detail: what happened this time; never holds paths, code or other people's data.
        facts: more members of the problem, such as the limit that was hit; JSON values.
        headers: more response headers.
    """

    status: ClassVar[int] = 400
    name: ClassVar[str] = "bad-request"
    title: ClassVar[str] = "The request cannot be served"

    def __init__(self, detail: str, *, headers: dict[str, str] | None = None, **facts: object) -> None:
        """Keep what happened, and the facts that belong to it."""
        super().__init__(detail)
        self.detail = detail
        self.facts = facts
        self.headers = headers or {}

    @property
    def type(self) -> str:
        """The problem's ``type``: a URN."""
        return TYPE_PREFIX + self.name


class MalformedRequest(RequestError):
    """The body is not what its headers say."""

    status, name, title = 400, "malformed-request", "The request body cannot be parsed"


class Unauthorized(RequestError):
    """The service has API keys, and the request carries none of them."""

    status, name, title = 401, "unauthorized", "The request needs an API key"

    def __init__(self, detail: str) -> None:
        """Say how a key is sent."""
        super().__init__(detail, headers={"WWW-Authenticate": 'Bearer realm="photochrom"'})


class NotFound(RequestError):
    """No such route."""

    status, name, title = 404, "not-found", "There is nothing at this address"


class PictureNotKept(RequestError):
    """The service does not have that picture, or not any more, or not for this key."""

    status, name, title = 404, "picture-not-kept", "The picture is not kept here"

    def __init__(self, detail: str = "No such picture is kept here for you, or not any more: post it again.") -> None:
        """Say what to do; nobody else's caches may keep that either."""
        super().__init__(detail, headers={"Cache-Control": "no-store"})


class MethodNotAllowed(RequestError):
    """The route exists, but not for this method."""

    status, name, title = 405, "method-not-allowed", "This address does not take this method"


class NotAcceptable(RequestError):
    """The Accept header takes none of the formats that are written."""

    status, name, title = 406, "not-acceptable", "The answer has no format that the caller takes"


class UploadTooSlow(RequestError):
    """The body comes with fewer bytes a second than the service waits for."""

    status, name, title = 408, "upload-too-slow", "The upload comes too slowly"


class UploadTooLarge(RequestError):
    """The body has more bytes than the service takes."""

    status, name, title = 413, "upload-too-large", "The upload has too many bytes"


class PictureTooLarge(RequestError):
    """The picture has more pixels than the service takes."""

    status, name, title = 413, "picture-too-large", "The picture has too many pixels"


class CostlyPicture(RequestError):
    """Decoding it takes more memory or time than a picture of its size may."""

    status, name, title = 413, "picture-too-costly", "Decoding the picture costs more than one of its size may"


class AnswerTooLarge(RequestError):
    """The pictures of one answer have more bytes than the service puts into one."""

    status, name, title = 413, "answer-too-large", "The answer would have too many bytes"


class TooLargeToKeep(RequestError):
    """The picture, with what the network says of it, has more bytes than may be kept; `POST /colorize` takes it."""

    status, name, title = 413, "too-large-to-keep", "The picture takes more room than there is to keep it"


class UnsupportedPicture(RequestError):
    """The body is no picture, or of a kind the service does not read."""

    status, name, title = 415, "unsupported-picture", "The body is not a picture that can be read here"


class EmptyUpload(RequestError):
    """There is no body."""

    status, name, title = 422, "empty-upload", "There is no picture in the request"


class BrokenPicture(RequestError):
    """The picture starts well but cannot be decoded."""

    status, name, title = 422, "broken-picture", "The picture is truncated or damaged"


class SeveralFrames(RequestError):
    """An animation or a file of several pages."""

    status, name, title = 422, "several-frames", "The file holds more than one picture"


class InvalidOption(RequestError):
    """An option or a form field makes no sense."""

    status, name, title = 422, "invalid-option", "An option is unknown or out of range"


class UnfitFormat(RequestError):
    """The answer does not fit the format asked for."""

    status, name, title = 422, "unfit-format", "The format cannot hold a picture of this size or depth"


class InternalError(RequestError):
    """Our fault; the log has the rest under the request's id."""

    status, name, title = 500, "internal-error", "Something went wrong inside the service"


class Overloaded(RequestError):
    """Too much work at once."""

    status, name, title = 503, "overloaded", "The service has too much to do"

    def __init__(self, detail: str, *, retry_after_s: int, **facts: object) -> None:
        """Also say when it is worth trying again, in whole seconds."""
        super().__init__(detail, headers={"Retry-After": str(retry_after_s)}, retry_after_s=retry_after_s, **facts)


class OutOfMemory(RequestError):
    """The machine had too little memory at that moment; the picture is not at fault."""

    status, name, title = 503, "out-of-memory", "The service had too little memory"

    def __init__(self, detail: str = "There was too little memory for this picture; try again later.") -> None:
        """Ask to come back when others are done."""
        super().__init__(detail, headers={"Retry-After": "5"}, retry_after_s=5)


class OutOfDisk(RequestError):
    """The disk for large uploads and answers is full, or fails; the picture is not at fault."""

    status, name, title = 503, "out-of-disk", "The service had too little room on its disk"

    def __init__(self, detail: str = "The disk takes no more of this upload; try again later.") -> None:
        """Ask to come back when others are done."""
        super().__init__(detail, headers={"Retry-After": "5"}, retry_after_s=5)


class Draining(RequestError):
    """The service is stopping and takes no more work."""

    status, name, title = 503, "draining", "The service is stopping"

    def __init__(self, detail: str = "Another instance will answer; try again in a moment.") -> None:
        """Ask to come back in a second."""
        super().__init__(detail, headers={"Retry-After": "1"}, retry_after_s=1)


class Failing(RequestError):
    """The inference thread died or hangs; only a restart helps."""

    status, name, title = 503, "failing", "The service does not work any more"


class DeadlineExceeded(RequestError):
    """The picture was not done in time."""

    status, name, title = 504, "deadline-exceeded", "The picture was not done in time"


PROBLEMS: tuple[type[RequestError], ...] = (
    MalformedRequest,
    Unauthorized,
    NotFound,
    PictureNotKept,
    MethodNotAllowed,
    NotAcceptable,
    UploadTooSlow,
    UploadTooLarge,
    PictureTooLarge,
    CostlyPicture,
    AnswerTooLarge,
    TooLargeToKeep,
    UnsupportedPicture,
    EmptyUpload,
    BrokenPicture,
    SeveralFrames,
    InvalidOption,
    UnfitFormat,
    InternalError,
    Overloaded,
    OutOfMemory,
    OutOfDisk,
    Draining,
    Failing,
    DeadlineExceeded,
)
"""Every problem that the service can answer with."""
