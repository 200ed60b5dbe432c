"""What the OpenAPI document says of the routes beside their types: bodies, answers, examples, problems."""

from typing import Any, Final

from fastapi import FastAPI

from service.engine.parcel import JSON_TYPE, ZIP_TYPE
from service.errors import (
    TYPE_PREFIX,
    AnswerTooLarge,
    BrokenPicture,
    CostlyPicture,
    DeadlineExceeded,
    Draining,
    EmptyUpload,
    Failing,
    InvalidOption,
    MalformedRequest,
    NotAcceptable,
    OutOfDisk,
    OutOfMemory,
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
from service.http.accept import OPAQUE_TYPE
from service.http.answers import JsonAnswer, Kept
from service.http.problems import PROBLEM_TYPE, Problem
from service.pictures.answer_formats import MEDIA_TYPES
from service.pictures.formats import READABLE_TYPES, TITLES

PROBLEM_SCHEMA: Final = {"$ref": "#/components/schemas/Problem"}

SERVERS: Final = [{"url": "./", "description": "The service that this description comes from."}]


def describe_itself(app: FastAPI) -> None:
    """Have an application's OpenAPI document hold what its routes refer to and FastAPI does not know: `Problem`.

    Args:
        app: whose `openapi` is replaced by one that adds it.
    """
    by_routes = app.openapi

    def describe() -> dict[str, Any]:
        description = by_routes()
        schemas = description.setdefault("components", {}).setdefault("schemas", {})
        schemas.setdefault("Problem", Problem.model_json_schema())
        return description

    app.openapi = describe  # type: ignore[method-assign]


def problem_responses(*errors: type[RequestError]) -> dict[int | str, dict[str, Any]]:
    """Describe for OpenAPI how a route can fail: one entry a status, one example a problem."""
    responses: dict[int | str, dict[str, Any]] = {}
    for error in errors:
        entry = responses.setdefault(
            error.status,
            {"description": "", "content": {PROBLEM_TYPE: {"schema": PROBLEM_SCHEMA, "examples": {}}}},
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
    return {200: {"content": {"application/json": {"example": example}}}, **problem_responses(*errors)}


PROBE: Final = {"status": "ok"}

HEALTH: Final = {
    "status": "ok",
    "version": "1.0.0",
    "model": "default",
    "model_sha256": "8a6f53b0c7d94e21a5f0b3c8d7e6f5a49382716054fedcba9876543210abcdef",
    "provider": "CPUExecutionProvider",
    "onnxruntime": "1.32.0",
    "runtime": "onnxruntime 1.32.0",
    "computed_in": "float32",
    "threads": 2,
    "inflight_megapixels": 12.5,
    "waiting_requests": 0,
    "queue_depth": 1,
    "uptime_s": 3600.5,
}

MODEL: Final = {
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
    "sha256": HEALTH["model_sha256"],
    "provider": "CPUExecutionProvider",
    "runtime": "onnxruntime 1.32.0",
    "computed_in": "float32",
}

METRICS: Final = """# HELP photochrom_ready 1 while the service takes pictures.
# TYPE photochrom_ready gauge
photochrom_ready 1.0
"""

BINARY: Final = {"type": "string", "format": "binary"}

_SCENES: Final = [{"name": "outdoor", "probability": 0.91}, {"name": "indoor", "probability": 0.09}]

_JSON_ANSWER: Final = {
    "width": 640,
    "height": 480,
    "model": "default",
    "computed_in": "float32",
    "scene": _SCENES,
    "tone": "applied",
    "notes": [],
    "palette": [{"hex": "#7d8fa6", "share": 0.62}, {"hex": "#5b5a3c", "share": 0.38}],
    "confidence": {"mean": 0.71},
    "pictures": [{"variant": 1, "media_type": "image/png", "data": "iVBORw0KGgo="}],
}

KEPT: Final = {
    "id": "mXr2Ff3dQm2nq0Jt7bK1Zw",
    "width": 640,
    "height": 480,
    "megapixels": 0.3072,
    "model": "default",
    "computed_in": "float32",
    "scene": _SCENES,
    "tone": "applied",
    "notes": [],
    "confidence": {"mean": 0.71},
    "expires_in_s": 900,
}


COLORS: Final = {"colors": [{"color": "#c08a70", "share": 0.41}, {"color": "#929292", "share": 0.2}]}


def body_of(*fields: str) -> dict[str, Any]:
    """Describe for OpenAPI a body that is a picture, or a form with files, of which the first is needed."""
    form = {
        "type": "object",
        "required": [fields[0]],
        "properties": {name: BINARY for name in fields},
        "additionalProperties": False,
    }
    return {
        "requestBody": {
            "required": True,
            "description": f"A photograph: {', '.join(TITLES)}.",
            "content": {
                **{media_type: {"schema": BINARY} for media_type in READABLE_TYPES},
                "application/octet-stream": {"schema": BINARY},
                "multipart/form-data": {"schema": form},
            },
        }
    }


_PICTURE_CONTENT: Final[dict[str, Any]] = {
    # Before JSON: generators that make one function an operation take the first that they know.
    **{media_type: {"schema": BINARY} for media_type in (*MEDIA_TYPES.values(), OPAQUE_TYPE)},
    JSON_TYPE: {"schema": {"$ref": "#/components/schemas/JsonAnswer"}, "example": _JSON_ANSWER},
}

PICTURE_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "model": JsonAnswer,
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
                ("X-Photochrom-Precision", "What the network was computed in: float32, bfloat16 or int8."),
                ("X-Photochrom-Scene", "Most likely scene, percent-encoded."),
            )
        },
    },
    304: {"description": "The caller has this answer already: its ETag was in If-None-Match."},
}

_UPLOAD_PROBLEMS: Final = (
    MalformedRequest,
    Unauthorized,
    UploadTooLarge,
    PictureTooLarge,
    CostlyPicture,
    UnsupportedPicture,
    EmptyUpload,
    BrokenPicture,
    SeveralFrames,
    InvalidOption,
    Overloaded,
    OutOfDisk,
    OutOfMemory,
    Draining,
    Failing,
    DeadlineExceeded,
)
"""How a route can fail that takes a picture."""

COLORIZE_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    **PICTURE_ANSWERS,
    200: {
        **PICTURE_ANSWERS[200],
        "content": {**_PICTURE_CONTENT, ZIP_TYPE: {"schema": BINARY}},
    },
    **problem_responses(*_UPLOAD_PROBLEMS, NotAcceptable, AnswerTooLarge, UnfitFormat),
}

KEEP_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    201: {
        "model": Kept,
        "description": "It is kept.",
        "content": {JSON_TYPE: {"example": KEPT}},
        "headers": {"Location": {"schema": {"type": "string"}, "description": "Of the picture, relative."}},
    },
    **problem_responses(*_UPLOAD_PROBLEMS, PictureNotKept, TooLargeToKeep),
}

COLORS_PROBLEMS: Final = (
    Unauthorized,
    PictureNotKept,
    BrokenPicture,
    InvalidOption,
    Overloaded,
    OutOfDisk,
    OutOfMemory,
    DeadlineExceeded,
)

RENDER_PROBLEMS: Final = (*COLORS_PROBLEMS, NotAcceptable, AnswerTooLarge, UnfitFormat)
