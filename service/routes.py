"""HTTP in, HTTP out: every route of the service."""

import asyncio
import time
from collections.abc import Coroutine
from contextlib import aclosing
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
from starlette.responses import HTMLResponse, Response
from starlette.types import Receive

from service.accept import choose_format
from service.auth import KEY_HEADER, ApiKeys
from service.errors import (
    TYPE_PREFIX,
    BrokenPicture,
    DeadlineExceeded,
    Draining,
    EmptyUpload,
    Failing,
    InvalidOption,
    MalformedRequest,
    NotAcceptable,
    Overloaded,
    PictureTooLarge,
    RequestError,
    SeveralFrames,
    Unauthorized,
    UnfitFormat,
    UnsupportedPicture,
    UploadTooLarge,
)
from service.guard import FACTS_KEY, PROBLEM_TYPE
from service.images import MEDIA_TYPES, READABLE, READABLE_TYPES
from service.pipeline import Job, Pipeline
from service.schemas import ColorizeQuery, Health, Model, Probe, Problem
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
"""Name of the one field of a multipart form."""
MAX_FORM_FIELDS: Final = 8
"""Form fields that are read before the form is refused; more than one is refused anyway, but by name."""

router = APIRouter()


@dataclass(frozen=True, eq=False)
class Services:
    """What the routes work with; ``app.state.services``.

    Attributes:
        settings: the operator's.
        keys: that let callers in.
        pipeline: the loaded model and its threads.
        page: the HTML of ``GET /``.
        page_policy: its Content-Security-Policy.
        version: of this program.
        started: `time.monotonic` of the start, seconds.
    """

    settings: Settings
    keys: ApiKeys
    pipeline: Pipeline
    page: str
    page_policy: str
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


def _answers(example: dict[str, Any], *errors: type[RequestError]) -> dict[int | str, dict[str, Any]]:
    """Describe for OpenAPI a route that answers with JSON: an example, and how it can fail."""
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
_COLORIZE_BODY: Final = {
    "requestBody": {
        "required": True,
        "description": f"A photograph: {', '.join(sorted(READABLE))}.",
        "content": {
            **{media_type: {"schema": _BINARY} for media_type in READABLE_TYPES},
            "application/octet-stream": {"schema": _BINARY},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FILE_FIELD],
                    "properties": {FILE_FIELD: _BINARY},
                    "additionalProperties": False,
                }
            },
        },
    }
}
_COLORIZE_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The photograph in color, at its own size; `format`, or else `Accept`, chooses the media type.",
        "content": {media_type: {"schema": _BINARY} for media_type in MEDIA_TYPES.values()},
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
    **_problem_responses(
        MalformedRequest,
        Unauthorized,
        NotAcceptable,
        UploadTooLarge,
        PictureTooLarge,
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
    openapi_extra=_COLORIZE_BODY,
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
    output_format = query.format or choose_format(",".join(request.headers.getlist("accept")))
    services.pipeline.admission.refuse_when_full()
    deadline_s = services.settings.deadline_s
    stages = Stages()
    try:
        async with asyncio.timeout(deadline_s):
            try:
                with stages.measure("read"):
                    data = await _read_upload(request, services.settings.max_upload_bytes)
                job = Job(data, query.to_options(), output_format)
                return await _unless_gone(request.receive, _colorize(services.pipeline, request, job, stages))
            except ClientDisconnect:
                services.pipeline.metrics.cancelled.labels(stages.current).inc()
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
            services.pipeline.metrics.stage_duration.labels(stage).observe(seconds)


async def _colorize(pipeline: Pipeline, request: Request, job: Job, stages: Stages) -> Response:
    arrived = pipeline.admission.expect()
    try:
        header, tag = await pipeline.inspect(job, stages)
    finally:
        arrived()
    headers = {"ETag": f'"{tag}"', "Vary": "Accept", "X-Photochrom-Model": quote(pipeline.session.stamp.run_id)}
    if _names(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=headers)
    result = await pipeline.run(job, header, stages)
    headers |= {
        "Server-Timing": stages.server_timing(),
        "X-Photochrom-Scene": quote(result.scene),
    }
    return Response(result.data, media_type=MEDIA_TYPES[job.output_format], headers=headers)


async def _read_upload(request: Request, max_bytes: int) -> bytes:
    """Return the bytes of the picture, from a raw body or from the one file of a form."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type.startswith("image/") or media_type in RAW_TYPES:
        return await request.body()
    if media_type != "multipart/form-data":
        raise UnsupportedPicture(
            "Send the picture as the body with a Content-Type of image/* (curl: -H 'Content-Type: image/jpeg' "
            "--data-binary @photo.jpg), or as the file field 'image' of a multipart form (curl: -F image=@photo.jpg)."
        )
    try:
        async with aclosing(request.stream()) as stream:
            parser = MultiPartParser(request.headers, stream, max_files=1, max_fields=MAX_FORM_FIELDS)
            parser.spool_max_size = max_bytes  # Nothing of it goes to the disk, which may be full or read-only.
            form = await parser.parse()
    except MultiPartException as error:
        raise MalformedRequest(error.message) from error
    try:
        return await _only_file(form)
    finally:
        await form.close()


async def _only_file(form: FormData) -> bytes:
    """Return the bytes of the one file of a form."""
    fields = form.multi_items()
    if not fields:
        raise EmptyUpload(f"The form is empty: it needs one file field, {FILE_FIELD!r}.")
    for name, value in fields:
        if name != FILE_FIELD:
            raise InvalidOption(
                f"The form has one field, the file {FILE_FIELD!r}; options go into the query of the address.",
                errors=[{"option": name[:64], "reason": "not a field of the form"}],
            )
        if not isinstance(value, UploadFile):
            raise InvalidOption(
                f"The field {FILE_FIELD!r} must be a file (curl: -F image=@photo.jpg, with the @).",
                errors=[{"option": FILE_FIELD, "reason": "not a file"}],
            )
    upload = fields[0][1]
    return await upload.read() if isinstance(upload, UploadFile) and len(fields) == 1 else b""


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


def _names(if_none_match: str, tag: str) -> bool:
    """Return whether an If-None-Match header names the entity tag (RFC 9110, section 13.1.2)."""
    return f'"{tag}"' in (candidate.strip().removeprefix("W/") for candidate in if_none_match.split(","))


@router.get(
    "/health/live",
    description="Says whether the process works; when not, only a restart helps. Load never makes this fail.",
    responses=_answers(_PROBE, Failing),
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
    responses=_answers(_PROBE, Failing, Draining),
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


@router.get("/health", responses=_answers(_HEALTH), tags=["operation"])
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
    "/model", dependencies=[Security(require_key)], responses=_answers(_MODEL, Unauthorized), tags=["operation"]
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


@router.get("/", response_class=HTMLResponse, include_in_schema=False)
async def page(request: Request) -> HTMLResponse:
    """Show the page for people."""
    services = _services(request)
    return HTMLResponse(
        services.page,
        headers={"Content-Security-Policy": services.page_policy},
    )
