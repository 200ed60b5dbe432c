"""HTTP in, HTTP out: every route of the service."""

import asyncio
import time
from collections.abc import Coroutine
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import quote

import onnxruntime
from fastapi import APIRouter, Query, Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive

from service.accept import Wanted, choose_answer
from service.auth import KEY_HEADER, ApiKeys
from service.colorizer import Options
from service.errors import (
    TYPE_PREFIX,
    AnswerTooLarge,
    BrokenPicture,
    DeadlineExceeded,
    Draining,
    EmptyUpload,
    Failing,
    InvalidOption,
    MalformedRequest,
    NotAcceptable,
    NotFound,
    Overloaded,
    PictureNotKept,
    PictureTooLarge,
    RequestError,
    SeveralFrames,
    TooLargeToKeep,
    Unauthorized,
    UnfitFormat,
    UnsupportedPicture,
    UploadTooLarge,
)
from service.guard import FACTS_KEY, HOLD_KEY, PROBLEM_TYPE
from service.images import MEDIA_TYPES, READABLE, READABLE_TYPES, SUFFIXES
from service.parcel import JSON_TYPE, ZIP_TYPE, pack_json, pack_zip
from service.pipeline import Inspected, Job, Pipeline, Result
from service.posteriors import KeptPicture
from service.schemas import (
    ColorizeQuery,
    Confidence,
    Health,
    KeepQuery,
    Kept,
    Model,
    Probe,
    Problem,
    RenderQuery,
    Scene,
    Told,
)
from service.settings import Settings
from service.telemetry import Stages

T = TypeVar("T")

_BEARER = HTTPBearer(auto_error=False, description="An API key, where the operator has set some.")
_KEY = APIKeyHeader(name=KEY_HEADER, auto_error=False, description="The same, in a header of its own.")

STALL_S: Final = 60.0
"""An inference that runs for longer than this hangs, and liveness says so."""
RAW_TYPES: Final = ("application/octet-stream", "")
"""Besides image/*: content types under which a body counts as the bytes of a picture."""
FILE_FIELD: Final = "image"
"""Name of the field of a multipart form that holds the picture."""
REFERENCE_FIELD: Final = "reference"
"""Name of the field that may hold a photograph whose palette is followed."""
PAGE_TYPES: Final = {
    "index.html": "text/html; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""The files of the page; no others are served."""
PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy of the page: nothing runs, shows or connects but what this service itself serves."""
NO_STORE: Final = {"Cache-Control": "no-store"}
MAX_FORM_FIELDS: Final = 8
"""Form fields that are read before the form is refused; more than one is refused anyway, but by name."""

router = APIRouter()


@dataclass(frozen=True)
class PageFile:
    """A file of the page.

    Attributes:
        data: its content.
        media_type: of it.
        tag: its entity tag.
    """

    data: bytes
    media_type: str
    tag: str


@dataclass(frozen=True, eq=False)
class Services:
    """What the routes work with; ``app.state.services``.

    Attributes:
        settings: the operator's.
        keys: that let callers in.
        pipeline: the loaded model and its threads.
        page: the files of the page, by name.
        version: of this program.
        started: `time.monotonic` of the start, seconds.
    """

    settings: Settings
    keys: ApiKeys
    pipeline: Pipeline
    page: dict[str, PageFile]
    version: str
    started: float


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


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
    fingerprint = _services(request).keys.admit(bearer.credentials if bearer else key)
    if fingerprint:
        request.scope[FACTS_KEY]["key"] = fingerprint


def _problem_responses(*errors: type[RequestError]) -> dict[int | str, dict[str, Any]]:
    """Describe for OpenAPI how a route can fail: one entry a status, one example a problem."""
    responses: dict[int | str, dict[str, Any]] = {}
    for error in errors:
        entry = responses.setdefault(
            error.status,
            {"description": "", "content": {PROBLEM_TYPE: {"schema": Problem.model_json_schema(), "examples": {}}}},
        )
        entry["description"] = "; ".join(part for part in (entry["description"], error.title) if part)
        entry["content"][PROBLEM_TYPE]["examples"][error.name] = {
            "value": {
                "type": TYPE_PREFIX + error.name,
                "title": error.title,
                "status": error.status,
                "detail": (error.__doc__ or "").strip(),
                "request_id": "8d3f0c1e5b6a4f7c9e2d1a0b3c4d5e6f",
            }
        }
        if error in (Overloaded, Draining):
            entry["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait."}}
    return responses


def json_answers(example: dict[str, Any], *errors: type[RequestError]) -> dict[int | str, dict[str, Any]]:
    """Describe for OpenAPI a route that answers with JSON, and by which errors it can fail.

    Args:
        example: of an answer.
        *errors: what the route can fail by.

    Returns:
        What FastAPI takes as a route's `responses`.
    """
    return {200: {"content": {"application/json": {"example": example}}}, **_problem_responses(*errors)}


_PROBE: Final = {"status": "ok"}
_HEALTH: Final = {
    "status": "ok",
    "version": "1.0.0",
    "model": "default",
    "model_sha256": "8a6f53b0c7d94e21a5f0b3c8d7e6f5a49382716054fedcba9876543210abcdef",
    "provider": "CPUExecutionProvider",
    "onnxruntime": "1.32.0",
    "threads": 2,
    "inflight_megapixels": 12.5,
    "waiting_requests": 0,
    "queue_depth": 1,
    "uptime_s": 3600.5,
}
_MODEL: Final = {
    "run_id": "default",
    "recipe": "default",
    "created": "2026-11-23",
    "license": "Weights: Apache-2.0, without warranty.",
    "parameters": 8300000,
    "size": 192,
    "scenes": ["indoor", "outdoor"],
    "vividness_curve": [[0, 1, 0, 1, 1], [0.5, 0.6, 0.75, 5, 1.1], [1, 0.6, 1, 8, 1.3]],
    "prior": [0.25, 0.75],
    "scores": {"date": "2026-11-23"},
    "tolerances": {"ab_logits": 0.001},
    "precision": "float32",
    "signature_version": 1,
    "bins_sha256": "3b1f0d9c8e7a6b5c4d3e2f1a0b9c8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c",
    "sha256": _HEALTH["model_sha256"],
    "provider": "CPUExecutionProvider",
}
_METRICS: Final = """# HELP photochrom_ready 1 while the service takes pictures.
# TYPE photochrom_ready gauge
photochrom_ready 1.0
"""
_BINARY: Final = {"type": "string", "format": "binary"}
_SCENES: Final = [{"name": "outdoor", "probability": 0.91}, {"name": "indoor", "probability": 0.09}]
_TOLD: Final = {
    "width": 640,
    "height": 480,
    "model": "default",
    "scene": _SCENES,
    "palette": [{"hex": "#7d8fa6", "share": 0.62}, {"hex": "#5b5a3c", "share": 0.38}],
    "confidence": {"mean": 0.71},
    "pictures": [{"variant": 1, "media_type": "image/png", "data": "iVBORw0KGgo="}],
}
_KEPT: Final = {
    "id": "mXr2Ff3dQm2nq0Jt7bK1Zw",
    "width": 640,
    "height": 480,
    "megapixels": 0.3072,
    "model": "default",
    "scene": _SCENES,
    "confidence": {"mean": 0.71},
    "expires_in_s": 900,
}


def _body(*fields: str) -> dict[str, Any]:
    """Describe for OpenAPI a body that is a picture, or a form with files, of which the first is needed."""
    form = {
        "type": "object",
        "required": [fields[0]],
        "properties": {name: _BINARY for name in fields},
        "additionalProperties": False,
    }
    return {
        "requestBody": {
            "required": True,
            "description": f"A photograph: {', '.join(sorted(READABLE))}.",
            "content": {
                **{media_type: {"schema": _BINARY} for media_type in READABLE_TYPES},
                "application/octet-stream": {"schema": _BINARY},
                "multipart/form-data": {"schema": form},
            },
        }
    }


_PICTURE_CONTENT: Final[dict[str, Any]] = {
    **{media_type: {"schema": _BINARY} for media_type in MEDIA_TYPES.values()},
    JSON_TYPE: {"schema": {"$ref": "#/components/schemas/Told"}, "example": _TOLD},
}
_PICTURE_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "model": Told,
        "description": "The photograph in color, at its own size; `format`, or else `Accept`, chooses the media type.",
        "content": _PICTURE_CONTENT,
        "headers": {
            name: {"schema": {"type": "string"}, "description": text}
            for name, text in (
                ("ETag", "Names this answer: the same picture, options and model give the same one."),
                ("Vary", "`Accept`, since it chooses the format where `format` does not."),
                ("Server-Timing", "Milliseconds, one entry a stage."),
                ("X-Request-ID", "As sent by the caller, or a new one."),
                ("X-Photochrom-Model", "Run that the model comes from."),
                ("X-Photochrom-Scene", "Most likely scene, percent-encoded."),
            )
        },
    },
    304: {"description": "The caller has this answer already: its ETag was in If-None-Match."},
}
_COLORIZE_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    **_PICTURE_ANSWERS,
    200: {
        **_PICTURE_ANSWERS[200],
        "content": {**_PICTURE_CONTENT, ZIP_TYPE: {"schema": _BINARY}},
    },
    **_problem_responses(
        MalformedRequest,
        Unauthorized,
        NotAcceptable,
        UploadTooLarge,
        PictureTooLarge,
        AnswerTooLarge,
        UnsupportedPicture,
        EmptyUpload,
        BrokenPicture,
        SeveralFrames,
        InvalidOption,
        UnfitFormat,
        Overloaded,
        Draining,
        Failing,
        DeadlineExceeded,
    ),
}


@router.post(
    "/colorize",
    description="Color a black-and-white photograph; the answer has its size and its lightness.",
    response_class=Response,
    responses=_COLORIZE_RESPONSES,
    openapi_extra=_body(FILE_FIELD, REFERENCE_FIELD),
    dependencies=[Security(require_key)],
    tags=["pictures"],
)
async def colorize(request: Request, query: Annotated[ColorizeQuery, Query()]) -> Response:
    """Answer a photograph with its color version.

    Raises:
        DeadlineExceeded: it took longer than the deadline, upload included.
        NotAcceptable: the caller takes no format that is written here.
        ClientDisconnect: the caller left.
        RequestError: see `Pipeline.inspect` and `Pipeline.run`.
    """
    # The body is not a parameter: FastAPI would read all of it before this function could refuse the request.
    # Whatever the head of a request is refused for, it is refused for before a byte of the body is read.
    services = _services(request)
    wanted = _choose(request, query)
    services.pipeline.admission.refuse_when_full()
    stages = Stages()

    async def work() -> Response:
        upload = await _upload(request, stages, FILE_FIELD, REFERENCE_FIELD)
        job = Job(upload[FILE_FIELD], query.to_options(), wanted.picture, wanted.is_json, upload.get(REFERENCE_FIELD))
        return await _unless_gone(request.receive, _colorize(services.pipeline, request, job, stages))

    return await _in_time(services, stages, work())


async def _in_time(services: Services, stages: Stages, work: Coroutine[Any, Any, T]) -> T:
    """Return what the work gives, and count how long its stages took.

    Raises:
        DeadlineExceeded: it took longer than the deadline.
    """
    deadline_s, metrics = services.settings.deadline_s, services.pipeline.metrics
    try:
        async with asyncio.timeout(deadline_s):
            try:
                return await work
            except ClientDisconnect:
                metrics.cancelled.labels(stages.current).inc()
                raise
    except TimeoutError:
        raise DeadlineExceeded(
            f"The picture was not done within {deadline_s:g} seconds; it was at the stage {stages.current!r}.",
            limit=deadline_s,
            unit="s",
            stage=stages.current,
        ) from None
    finally:
        for stage, seconds in stages.seconds.items():
            metrics.stage_duration.labels(stage).observe(seconds)


def _choose(request: Request, query: ColorizeQuery | RenderQuery) -> Wanted:
    """Return what the answer is made of: `format` wins over the Accept header."""
    accept = ",".join(request.headers.getlist("accept"))
    chosen = query.picture_format()
    if chosen:
        return Wanted(chosen, is_json=False)
    if query.format == "json":
        with suppress(NotAcceptable):
            return Wanted(choose_answer(accept).picture, is_json=True)
        return Wanted("png", is_json=True)
    return choose_answer(accept, packed=isinstance(query, ColorizeQuery) and query.variants > 1)


async def _colorize(pipeline: Pipeline, request: Request, job: Job, stages: Stages) -> Response:
    inspected = await _inspect(pipeline, job, stages)
    headers = _headers(pipeline, inspected.tag)
    if _has_already(request, inspected.tag):
        return Response(status_code=304, headers=headers)
    result = await pipeline.run(job, inspected, stages, request.scope[HOLD_KEY])
    return await _answer(request, job, result, stages, headers)


async def _inspect(pipeline: Pipeline, job: Job, stages: Stages) -> Inspected:
    arrived = pipeline.admission.expect()
    try:
        return await pipeline.inspect(job, stages)
    finally:
        arrived()


def _headers(pipeline: Pipeline, tag: str) -> dict[str, str]:
    return {"ETag": f'"{tag}"', "Vary": "Accept", "X-Photochrom-Model": quote(pipeline.session.stamp.run_id)}


async def _answer(request: Request, job: Job, result: Result, stages: Stages, headers: dict[str, str]) -> Response:
    """Return the one picture, or all that belongs into the answer in one file."""
    media_type = MEDIA_TYPES[job.output_format]
    headers = headers | {"Server-Timing": stages.server_timing(), "X-Photochrom-Scene": quote(result.scene)}
    if not job.is_packed:
        return Response(result.pictures[0][1], media_type=media_type, headers=headers)
    held = sum(len(data) for _, data in result.pictures)
    if job.tells:
        data = await asyncio.to_thread(pack_json, result.facts, result.pictures, media_type)
        media_type = JSON_TYPE
    else:
        data = await asyncio.to_thread(pack_zip, result.pictures, SUFFIXES[job.output_format])
        media_type = ZIP_TYPE
        headers["Content-Disposition"] = 'attachment; filename="variants.zip"'
    request.scope[HOLD_KEY](-held)  # From here on the answer itself counts.
    return Response(data, media_type=media_type, headers=headers)


async def _upload(request: Request, stages: Stages, *fields: str) -> dict[str, bytes]:
    with stages.measure("read"):
        return await _read_upload(request, _services(request).settings.max_upload_bytes, fields)


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


async def _unless_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Return what the work gives; cancel it when the client leaves, which FastAPI itself does not notice.

    Whoever waits is let go at once; what runs in a thread just then ends in the background.
    """
    task = asyncio.create_task(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())  # Errors of strays are nobody's.
    gone = asyncio.create_task(_wait_for_disconnect(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        gone.cancel()
        task.cancel()


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _has_already(request: Request, tag: str) -> bool:
    return _names(request.headers.get("if-none-match", ""), tag)


def _names(if_none_match: str, tag: str) -> bool:
    """Return whether an If-None-Match header names the entity tag (RFC 9110, section 13.1.2)."""
    return f'"{tag}"' in (candidate.strip().removeprefix("W/") for candidate in if_none_match.split(","))


# -------------------------------------------------------------------------------------------------------- kept pictures

_RENDER_PROBLEMS: Final = (
    Unauthorized,
    PictureNotKept,
    NotAcceptable,
    AnswerTooLarge,
    BrokenPicture,
    InvalidOption,
    UnfitFormat,
    Overloaded,
    DeadlineExceeded,
)


def _caller(request: Request) -> str:
    """Return the fingerprint of the caller's API key; empty where none is needed."""
    return str(request.scope[FACTS_KEY].get("key", ""))


@router.post(
    "/pictures",
    status_code=201,
    description="Keep a photograph for a while, with what the network says of it, to make color versions of it without "
    "another inference; a color photograph can serve as reference.",
    response_class=Response,
    responses={
        201: {
            "model": Kept,
            "description": "It is kept.",
            "content": {JSON_TYPE: {"example": _KEPT}},
            "headers": {"Location": {"schema": {"type": "string"}, "description": "Of the picture, relative."}},
        },
        **_problem_responses(
            MalformedRequest,
            Unauthorized,
            PictureNotKept,
            UploadTooLarge,
            PictureTooLarge,
            TooLargeToKeep,
            UnsupportedPicture,
            EmptyUpload,
            BrokenPicture,
            SeveralFrames,
            InvalidOption,
            Overloaded,
            Draining,
            Failing,
            DeadlineExceeded,
        ),
    },
    openapi_extra=_body(FILE_FIELD),
    dependencies=[Security(require_key)],
    tags=["pictures"],
)
async def keep(request: Request, query: Annotated[KeepQuery, Query()]) -> Response:
    """Keep a photograph for `GET /pictures/{id}`.

    Raises:
        PictureNotKept: nothing is kept here at all.
        DeadlineExceeded: it took longer than the deadline, upload included.
        ClientDisconnect: the caller left.
        RequestError: see `Pipeline.inspect` and `Pipeline.keep`.
    """
    services = _services(request)
    pipeline = services.pipeline
    pipeline.kept.check_on()
    pipeline.admission.refuse_when_full()
    stages = Stages()

    async def work() -> KeptPicture:
        upload = await _upload(request, stages, FILE_FIELD)
        job = Job(upload[FILE_FIELD], Options(size=query.size), "png")

        async def go_on() -> KeptPicture:
            return await pipeline.keep(job, await _inspect(pipeline, job, stages), _caller(request), stages)

        return await _unless_gone(request.receive, go_on())

    kept = await _in_time(services, stages, work())
    width, height = kept.header.upright_size
    told = Kept(
        id=kept.id,
        width=width,
        height=height,
        megapixels=kept.header.megapixels,
        model=pipeline.session.stamp.run_id,
        scene=[Scene(**scene) for scene in pipeline.tell_scenes(kept.posterior.scene_heads)],
        confidence=Confidence(mean=round(kept.confidence, 4)),
        expires_in_s=pipeline.kept.max_age_s,
    )
    headers = NO_STORE | {"Location": f"pictures/{kept.id}", "Server-Timing": stages.server_timing()}
    return Response(told.model_dump_json(), status_code=201, media_type=JSON_TYPE, headers=headers)


@router.get(
    "/pictures/{id}",
    description="Color a kept photograph, without another inference.",
    response_class=Response,
    responses={**_PICTURE_ANSWERS, **_problem_responses(*_RENDER_PROBLEMS)},
    dependencies=[Security(require_key)],
    tags=["pictures"],
)
async def render(request: Request, id: str, query: Annotated[RenderQuery, Query()]) -> Response:
    """Answer with a color version of a kept photograph.

    Raises:
        PictureNotKept: there is none of this id for this caller, or not any more; or the reference is none.
        NotAcceptable: the caller takes no format that is written here.
        DeadlineExceeded: it took longer than the deadline.
        ClientDisconnect: the caller left.
        RequestError: see `Pipeline.render`.
    """
    services = _services(request)
    pipeline, stages = services.pipeline, Stages()
    wanted = _choose(request, query)
    kept = pipeline.kept.get(id, _caller(request))
    reference = pipeline.kept.get(query.reference, _caller(request)) if query.reference is not None else None
    job = Job(b"", query.to_options(), wanted.picture, wanted.is_json)
    tag = pipeline.name_render(kept, job, reference)
    headers = _headers(pipeline, tag) | NO_STORE
    if _has_already(request, tag):
        return Response(status_code=304, headers=headers)
    pipeline.admission.refuse_when_full()
    made = pipeline.render(kept, job, reference, stages, request.scope[HOLD_KEY])
    result = await _in_time(services, stages, _unless_gone(request.receive, made))
    return await _answer(request, job, result, stages, headers)


@router.get(
    "/pictures/{id}/confidence",
    description="Draw where the network is sure of a kept photograph: 255 is sure, 0 has no idea.",
    response_class=Response,
    responses={
        200: {
            "description": "A gray picture of the photograph's proportions, at most 512 px long.",
            "content": {MEDIA_TYPES["png"]: {"schema": _BINARY}},
        },
        **_problem_responses(Unauthorized, PictureNotKept, InvalidOption, Overloaded, DeadlineExceeded),
    },
    dependencies=[Security(require_key)],
    tags=["pictures"],
)
async def confidence(request: Request, id: str) -> Response:
    """Draw where the network is sure.

    Raises:
        PictureNotKept: there is none of this id for this caller, or not any more.
        DeadlineExceeded: it took longer than the deadline.
        ClientDisconnect: the caller left.
        RequestError: there is no room.
    """
    services = _services(request)
    pipeline, stages = services.pipeline, Stages()
    kept = pipeline.kept.get(id, _caller(request))
    pipeline.admission.refuse_when_full()
    drawn = _unless_gone(request.receive, pipeline.draw_confidence(kept, stages))
    return Response(await _in_time(services, stages, drawn), media_type=MEDIA_TYPES["png"], headers=NO_STORE)


@router.delete(
    "/pictures/{id}",
    status_code=204,
    description="Let a kept photograph go at once.",
    response_class=Response,
    responses=_problem_responses(Unauthorized, PictureNotKept, InvalidOption),
    dependencies=[Security(require_key)],
    tags=["pictures"],
)
async def forget(request: Request, id: str) -> Response:
    """Let a kept photograph go at once.

    Raises:
        PictureNotKept: there is none of this id for this caller, or not any more.
    """
    _services(request).pipeline.kept.remove(id, _caller(request))
    return Response(status_code=204, headers=NO_STORE)


# ------------------------------------------------------------------------------------------------------------ operation


@router.get(
    "/health/live",
    description="Says whether the process works; when not, only a restart helps. Load never makes this fail.",
    responses=json_answers(_PROBE, Failing),
    tags=["operation"],
)
async def live(request: Request) -> Probe:
    """Say whether the process works.

    Raises:
        Failing: the inference thread died or hangs.
    """
    if not _services(request).pipeline.batcher.is_alive(STALL_S):
        raise Failing("The inference thread has died or hangs.")
    return Probe()


@router.get(
    "/health/ready",
    description="Says whether to send pictures here: the model has run, and the service is not stopping.",
    responses=json_answers(_PROBE, Failing, Draining),
    tags=["operation"],
)
async def ready(request: Request) -> Probe:
    """Say whether to send pictures here.

    Raises:
        Draining: the service is stopping.
        Failing: as `live`.
    """
    if _services(request).pipeline.draining:
        raise Draining()
    return await live(request)


@router.get("/health", responses=json_answers(_HEALTH), tags=["operation"])
async def health(request: Request) -> Health:
    """Summarize the state of the service."""
    services = _services(request)
    pipeline = services.pipeline
    alive = pipeline.batcher.is_alive(STALL_S)
    return Health(
        status="failing" if not alive else "draining" if pipeline.draining else "ok",
        version=services.version,
        model=pipeline.session.stamp.run_id,
        model_sha256=pipeline.session.digest,
        provider=pipeline.session.provider,
        onnxruntime=onnxruntime.__version__,
        threads=pipeline.session.threads,
        inflight_megapixels=pipeline.admission.admitted_megapixels,
        waiting_requests=pipeline.admission.waiting,
        queue_depth=pipeline.batcher.depth,
        uptime_s=time.monotonic() - services.started,
    )


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}, "example": _METRICS}}}},
    tags=["operation"],
)
async def metrics(request: Request) -> Response:
    """Give all metrics as Prometheus text."""
    return Response(_services(request).pipeline.metrics.exposition(), media_type=CONTENT_TYPE_LATEST)


@router.get(
    "/model", dependencies=[Security(require_key)], responses=json_answers(_MODEL, Unauthorized), tags=["operation"]
)
async def model(request: Request) -> Model:
    """Give the stamp of the loaded model: where it comes from, its scores, its terms."""
    session = _services(request).pipeline.session
    stamp = session.stamp
    return Model(
        run_id=stamp.run_id,
        recipe=stamp.recipe,
        created=stamp.created,
        license=stamp.license,
        parameters=stamp.parameters,
        size=stamp.size,
        scenes=stamp.scenes,
        vividness_curve=stamp.vividness_curve.to_rows(),
        prior=stamp.prior,
        scores=stamp.scores,
        tolerances=stamp.tolerances,
        precision=stamp.precision,
        signature_version=stamp.signature_version,
        bins_sha256=stamp.bins_sha256,
        sha256=session.digest,
        provider=session.provider,
    )


# ------------------------------------------------------------------------------------------------------------- the page


@router.get("/", response_class=Response, include_in_schema=False)
async def page(request: Request) -> Response:
    """Show the page for people."""
    return _page_file(request, _services(request).page["index.html"], {"Content-Security-Policy": PAGE_POLICY})


@router.get("/page/{name}", response_class=Response, include_in_schema=False)
async def page_file(request: Request, name: str) -> Response:
    """Give a file that the page needs.

    Raises:
        NotFound: the page has no such file.
    """
    file = _services(request).page.get(name)
    if file is None or name == "index.html":
        raise NotFound("The page has no such file.")
    return _page_file(request, file, {})


def _page_file(request: Request, file: PageFile, headers: dict[str, str]) -> Response:
    # Asked for anew each time, which costs next to nothing: a new release shows at once.
    headers = headers | {"ETag": f'"{file.tag}"', "Cache-Control": "no-cache"}
    if _has_already(request, file.tag):
        return Response(status_code=304, headers=headers)
    return Response(file.data, media_type=file.media_type, headers=headers)
