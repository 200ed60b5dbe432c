"""The routes of pictures: colorize one, keep one, color a kept one."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Annotated, Final
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request, Security
from starlette.responses import Response

from service.engine.fair_queue import more_time_s
from service.engine.job import Job, Result
from service.engine.kept import KeptPicture
from service.engine.loaded_model import LoadedModel
from service.engine.looking import colors_of_place, confidence_of_places
from service.engine.making import tell_tone
from service.engine.options import ColorizeQuery, KeepQuery, PlaceQuery, RenderQuery, check_depth
from service.engine.parcel import JSON_TYPE, ZIP_TYPE, pack_json, pack_zip
from service.engine.pipeline import Inspected, Pipeline
from service.errors import (
    DeadlineExceeded,
    InvalidOption,
    NotAcceptable,
    Overloaded,
    PictureNotKept,
    Unauthorized,
)
from service.http.accept import OPAQUE_TYPE, Wanted, choose_answer, likes_opaque
from service.http.access import caller_of, owner_of, refuse_repeats, require_key
from service.http.answers import Colors, Confidence, Kept, PlausibleColor, Scene
from service.http.conditional import has_already
from service.http.early import Early
from service.http.guard import OUTLET_KEY
from service.http.openapi import (
    BINARY,
    COLORIZE_RESPONSES,
    COLORS,
    COLORS_PROBLEMS,
    KEEP_RESPONSES,
    PICTURE_ANSWERS,
    RENDER_PROBLEMS,
    body_of,
    json_answers,
    problem_responses,
)
from service.http.services import services_of
from service.http.upload import FILE_FIELD, REFERENCE_FIELD, Upload, receive_files
from service.http.waiting import Deadline, cancel_on_disconnect, in_time, uploaded_in_time
from service.pictures.answer_formats import MEDIA_TYPES, SUFFIXES
from service.settings import Precision
from service.telemetry import Stages

NO_STORE: Final = {"Cache-Control": "no-store"}

router = APIRouter()


@router.post(
    "/colorize",
    operation_id="colorize",
    description="Color a black-and-white photograph; the answer has its size and its lightness.",
    response_class=Response,
    responses=COLORIZE_RESPONSES,
    openapi_extra=body_of(FILE_FIELD, REFERENCE_FIELD),
    dependencies=[Security(require_key), Depends(refuse_repeats)],
    tags=["pictures"],
)
async def colorize(request: Request, query: Annotated[ColorizeQuery, Query()]) -> Response:
    """Answer a photograph with its color version.

    Raises:
        DeadlineExceeded: it took longer than the deadline, counted from the upload's last byte.
        NotAcceptable: the caller takes no format that is written here.
        ClientDisconnect: the caller left.
        RequestError: see `Pipeline.inspect` and `Pipeline.run`.
    """
    # The body is not a parameter: FastAPI would read all of it before this function could refuse the request.
    # Whatever the head of a request is refused for, it is refused for before a byte of the body is read.
    services = services_of(request)
    wanted = _choose(request, query)
    services.pipeline.admission.refuse_when_full(caller_of(request))
    stages, early = Stages(), Early(request.scope[OUTLET_KEY]())

    async def work(upload: Upload, deadline: Deadline) -> Response:
        reference, caller = upload.get(REFERENCE_FIELD), caller_of(request)
        job = Job(upload[FILE_FIELD], query.to_options(), wanted.picture, wanted.is_json, reference, caller)
        colored = _colorize(services.pipeline, request, job, stages, deadline, early, is_opaque=wanted.is_opaque)
        return await cancel_on_disconnect(request.receive, colored)

    upload = receive_files(request, stages, FILE_FIELD, REFERENCE_FIELD)
    return await early.answer(uploaded_in_time(services, stages, upload, work))


def _choose(request: Request, query: ColorizeQuery | RenderQuery) -> Wanted:
    """Return what the answer is made of: `format` wins over the Accept header.

    Raises:
        NotAcceptable: the caller takes no format that is written here.
        UnfitFormat: the format does not hold the depth that is asked for.
    """
    wanted = _choose_format(request, query)
    check_depth(query.to_options(), wanted.picture)
    return wanted


def _choose_format(request: Request, query: ColorizeQuery | RenderQuery) -> Wanted:
    accept = _accept_of(request)
    chosen = query.picture_format()
    if chosen:
        return Wanted(chosen, is_json=False, is_opaque=likes_opaque(accept))
    if query.format == "json":
        with suppress(NotAcceptable):
            return Wanted(choose_answer(accept).picture, is_json=True)
        return Wanted("png", is_json=True)
    return choose_answer(accept, packed=isinstance(query, ColorizeQuery) and query.variants > 1)


def _accept_of(request: Request) -> str:
    return ",".join(request.headers.getlist("accept"))


async def _colorize(
    pipeline: Pipeline,
    request: Request,
    job: Job,
    stages: Stages,
    deadline: Deadline,
    early: Early,
    *,
    is_opaque: bool,
) -> Response:
    with pipeline.models.use() as model:
        inspected = await _inspect(pipeline, job, model, stages)
        headers = _headers(model, inspected.tag, model.session.precision)
        if has_already(request, inspected.tag):
            return Response(status_code=304, headers=headers)
        job = _with_its_time(job, inspected, deadline)
        early.head = partial(_head, job, stages, headers, is_opaque=is_opaque)
        result = await pipeline.run(job, inspected, stages, early.outlet)
    return await _answer(job, result, early)


async def _inspect(pipeline: Pipeline, job: Job, model: LoadedModel, stages: Stages) -> Inspected:
    arrived = pipeline.admission.expect(job.caller)
    try:
        return await pipeline.inspect(job, model, stages)
    finally:
        arrived()


def _with_its_time(job: Job, inspected: Inspected, deadline: Deadline) -> Job:
    """Return the job with the time that pictures of its size have."""
    more_s = more_time_s(max(each.megapixels for each in (inspected.header, inspected.reference) if each))
    deadline.extend(more_s)
    return job.with_more_time(more_s)


def _headers(model: LoadedModel, tag: str, precision: Precision) -> dict[str, str]:
    return {
        "ETag": f'"{tag}"',
        "Vary": "Accept",
        "X-Photochrom-Model": quote(model.session.stamp.run_id),
        "X-Photochrom-Precision": precision,
    }


def _head(
    job: Job, stages: Stages, headers: dict[str, str], scene: str, *, is_opaque: bool
) -> tuple[dict[str, str], str]:
    """Return the headers of an answer, and its media type."""
    headers = headers | {"Server-Timing": stages.server_timing(), "X-Photochrom-Scene": quote(scene)}
    if job.tells:
        return headers, JSON_TYPE
    if job.is_packed:
        headers["Content-Disposition"] = 'attachment; filename="variants.zip"'
    media_type = ZIP_TYPE if job.is_packed else MEDIA_TYPES[job.output_format]
    return headers, OPAQUE_TYPE if is_opaque else media_type


async def _answer(job: Job, result: Result, early: Early) -> Response:
    """Return the one picture, or all that belongs into the answer in one file; what has begun to leave is no answer."""
    if early.outlet.is_open:
        return early.late()
    headers, media_type = early.head(result.scene)
    if job.tells:
        data = await asyncio.to_thread(pack_json, result.facts, result.pictures, MEDIA_TYPES[job.output_format])
    elif job.is_packed:
        data = await asyncio.to_thread(pack_zip, result.pictures, SUFFIXES[job.output_format])
    else:
        data = result.pictures[0][1]
    return Response(data, media_type=media_type, headers=headers)


@router.post(
    "/pictures",
    operation_id="keepPicture",
    status_code=201,
    description="Keep a photograph for a while, with what the network says of it, to make color versions of it without "
    "another inference; a color photograph can serve as reference.",
    response_class=Response,
    responses=KEEP_RESPONSES,
    openapi_extra=body_of(FILE_FIELD),
    dependencies=[Security(require_key), Depends(refuse_repeats)],
    tags=["pictures"],
)
async def keep(request: Request, query: Annotated[KeepQuery, Query()]) -> Response:
    """Keep a photograph for `GET /pictures/{id}`.

    Raises:
        PictureNotKept: nothing is kept here at all.
        DeadlineExceeded: it took longer than the deadline, counted from the upload's last byte.
        ClientDisconnect: the caller left.
        RequestError: see `Pipeline.inspect` and `Pipeline.keep`.
    """
    services = services_of(request)
    pipeline = services.pipeline
    pipeline.kept.check_on()
    pipeline.admission.refuse_when_full(caller_of(request))
    stages = Stages()

    async def work(upload: Upload, deadline: Deadline) -> Kept:
        job = Job(upload[FILE_FIELD], query.to_options(), "png", caller=caller_of(request))

        async def go_on() -> Kept:
            with pipeline.models.use() as model:
                inspected = await _inspect(pipeline, job, model, stages)
                timed = _with_its_time(job, inspected, deadline)
                kept = await pipeline.keep(timed, inspected, owner_of(request), stages)
                upload.keep(FILE_FIELD)
                return _tell_kept(pipeline, kept)  # Now: the next moment another model may be taken up.

        return await cancel_on_disconnect(request.receive, go_on())

    told = await uploaded_in_time(services, stages, receive_files(request, stages, FILE_FIELD), work)
    headers = NO_STORE | {"Location": f"pictures/{told.id}", "Server-Timing": stages.server_timing()}
    return Response(told.model_dump_json(), status_code=201, media_type=JSON_TYPE, headers=headers)


def _tell_kept(pipeline: Pipeline, kept: KeptPicture) -> Kept:
    """Tell of a picture what is told when it is kept, by the model that has looked at it just now."""
    width, height = kept.header.upright_size
    return Kept(
        id=kept.id,
        width=width,
        height=height,
        megapixels=kept.header.megapixels,
        model=pipeline.session.stamp.run_id,
        computed_in=kept.precision,
        scene=[Scene(**scene) for scene in pipeline.model.maker.tell_scenes(kept.posterior.scene_heads)],
        tone=tell_tone(is_stretched=kept.is_stretched),
        notes=list(kept.notes),
        confidence=Confidence(mean=round(kept.confidence, 4)),
        expires_in_s=pipeline.kept.max_age_s,
    )


@router.get(
    "/pictures/{id}",
    operation_id="renderPicture",
    description="Color a kept photograph, without another inference.",
    response_class=Response,
    responses={**PICTURE_ANSWERS, **problem_responses(*RENDER_PROBLEMS)},
    dependencies=[Security(require_key), Depends(refuse_repeats)],
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
    services = services_of(request)
    pipeline, stages, early = services.pipeline, Stages(), Early(request.scope[OUTLET_KEY]())
    wanted = _choose(request, query)
    kept = pipeline.kept.get(id, owner_of(request))
    reference = pipeline.kept.get(query.reference, owner_of(request)) if query.reference is not None else None
    more_s = more_time_s(kept.header.megapixels)
    job = Job(b"", query.to_options(), wanted.picture, wanted.is_json, caller=caller_of(request)).with_more_time(more_s)
    tag = pipeline.name_render(kept, job, reference)
    model = pipeline.model
    headers = _headers(model, tag, kept.precision) | NO_STORE
    if has_already(request, tag):
        return Response(status_code=304, headers=headers)
    pipeline.admission.refuse_when_full(job.caller)

    early.head = partial(_head, job, stages, headers, is_opaque=wanted.is_opaque)

    async def work() -> Response:
        with pipeline.models.use(model):
            result = await pipeline.render(kept, job, reference, model, stages, early.outlet)
        return await _answer(job, result, early)

    made = in_time(services, stages, cancel_on_disconnect(request.receive, work()), more_s=more_s)
    return await early.answer(made)


@router.get(
    "/pictures/{id}/confidence",
    operation_id="drawConfidence",
    description="Draw where the network is sure of a kept photograph: 255 is sure, 0 has no idea.",
    response_class=Response,
    responses={
        200: {
            "description": "A gray picture of the photograph's proportions, at most 512 px long.",
            "content": {MEDIA_TYPES["png"]: {"schema": BINARY}, OPAQUE_TYPE: {"schema": BINARY}},
        },
        **problem_responses(Unauthorized, PictureNotKept, InvalidOption, Overloaded, DeadlineExceeded),
    },
    dependencies=[Security(require_key), Depends(refuse_repeats)],
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
    services = services_of(request)
    pipeline, stages = services.pipeline, Stages()
    kept = pipeline.kept.get(id, owner_of(request))
    caller = caller_of(request)
    pipeline.admission.refuse_when_full(caller)
    drawn = cancel_on_disconnect(request.receive, confidence_of_places(pipeline, kept, caller, stages))
    media_type = OPAQUE_TYPE if likes_opaque(_accept_of(request)) else MEDIA_TYPES["png"]
    return Response(await in_time(services, stages, drawn), media_type=media_type, headers=NO_STORE)


@router.get(
    "/pictures/{id}/colors",
    operation_id="listColors",
    description="List the colors that the network finds plausible at a place of a kept photograph: the modes of its "
    "posterior there, without another inference.",
    responses=json_answers(COLORS, *COLORS_PROBLEMS),
    dependencies=[Security(require_key), Depends(refuse_repeats)],
    tags=["pictures"],
)
async def colors(request: Request, id: str, query: Annotated[PlaceQuery, Query()], response: Response) -> Colors:
    """List the colors that are plausible at a place.

    Raises:
        PictureNotKept: there is none of this id for this caller, or not any more.
        DeadlineExceeded: it took longer than the deadline.
        ClientDisconnect: the caller left.
        RequestError: see `colors_of_place`.
    """
    services = services_of(request)
    pipeline, stages = services.pipeline, Stages()
    kept = pipeline.kept.get(id, owner_of(request))
    caller, more_s = caller_of(request), 0.0 if kept.ready else more_time_s(kept.header.megapixels)
    caller = replace(caller, deadline=caller.deadline + more_s)
    pipeline.admission.refuse_when_full(caller)
    looked = cancel_on_disconnect(request.receive, colors_of_place(pipeline, kept, query.x, query.y, caller, stages))
    found = await in_time(services, stages, looked, more_s=more_s)
    response.headers.update(NO_STORE)
    return Colors(colors=[PlausibleColor(color=color, share=round(share, 4)) for color, share in found])


@router.delete(
    "/pictures/{id}",
    operation_id="forgetPicture",
    status_code=204,
    description="Let a kept photograph go at once.",
    response_class=Response,
    responses=problem_responses(Unauthorized, PictureNotKept, InvalidOption),
    dependencies=[Security(require_key), Depends(refuse_repeats)],
    tags=["pictures"],
)
async def forget(request: Request, id: str) -> Response:
    """Let a kept photograph go at once.

    Raises:
        PictureNotKept: there is none of this id for this caller, or not any more.
    """
    services_of(request).pipeline.kept.remove(id, owner_of(request))
    return Response(status_code=204, headers=NO_STORE)
