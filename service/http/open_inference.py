"""The Open Inference Protocol (V2, REST): its health and metadata routes, for platforms that look for them.

KServe, Seldon and others probe a server under ``/v2`` and ask what its model takes and gives. These routes answer from
what `service.http.operation` and the loaded model know, and are as open as ``/health``.

``/v2/models/{name}/infer`` is left out on purpose: ``POST /colorize`` is the interface. Tensors instead of pictures
would pass by the limits on pixels, by admission and by the decoders, and leave the color science to every caller.
"""

from typing import Final

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from chroma.signature import LIGHTNESS, SPREAD
from service.engine.onnx_file import Tensor
from service.engine.session import Session
from service.errors import Draining, Failing, InvalidOption, NotFound
from service.http.openapi import json_answers
from service.http.operation import live, ready
from service.http.services import Services

SERVER_NAME: Final = "photochrom"

PLATFORM: Final = "onnx_onnxv1"
"""Project and format of the model file, in the protocol's words."""

DATA_TYPES: Final = {
    "bool": "BOOL",
    "float16": "FP16",
    "float32": "FP32",
    "int32": "INT32",
    "int64": "INT64",
    "uint8": "UINT8",
}
"""The protocol's names of NumPy's types."""

ANY_LENGTH: Final = -1
"""A dimension that varies."""

VERSION_DIGITS: Final = 12
"""A model's version is so many hexadecimal digits of its file's sha256; the metrics show the same."""

router = APIRouter(tags=["open inference protocol"])


class ServerMetadata(BaseModel):
    """What the server is."""

    name: str
    version: str
    extensions: list[str]


class ServerLive(BaseModel):
    """That the process works."""

    live: bool


class ServerReady(BaseModel):
    """That pictures may be sent."""

    ready: bool


class ModelReady(BaseModel):
    """That a model may be used."""

    name: str
    ready: bool


class TensorMetadata(BaseModel):
    """An input or an output of a model."""

    name: str
    datatype: str = Field(description="`FP32` and so on.")
    shape: list[int] = Field(description="-1 where it varies.")


class ModelMetadata(BaseModel):
    """What a model takes and gives."""

    name: str = Field(description="Run that the model comes from.")
    versions: list[str] = Field(description="One: the first digits of the file's sha256.")
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


_NAME: Final = "default"

_VERSION: Final = "8a6f53b0c7d9"

_SERVER: Final = {"name": SERVER_NAME, "version": "1.0.0", "extensions": []}

_LIVE: Final = {"live": True}

_READY: Final = {"ready": True}

_MODEL_READY: Final = {"name": _NAME, "ready": True}

_MODEL: Final = {
    "name": _NAME,
    "versions": [_VERSION],
    "platform": PLATFORM,
    "inputs": [{"name": LIGHTNESS, "datatype": "FP32", "shape": [-1, -1, -1, 1]}],
    "outputs": [{"name": SPREAD, "datatype": "FP32", "shape": [-1, -1, -1, 1]}],
}

_MODEL_READY_PROBLEMS: Final = (NotFound, InvalidOption, Failing, Draining)


@router.get("/v2", operation_id="getServerMetadata", responses=json_answers(_SERVER))
async def server_metadata(request: Request) -> ServerMetadata:
    """Say what the server is."""
    return ServerMetadata(name=SERVER_NAME, version=_services(request).version, extensions=[])


@router.get("/v2/health/live", operation_id="checkServerLive", responses=json_answers(_LIVE, Failing))
async def server_live(request: Request) -> ServerLive:
    """Say whether the process works, as `/health/live`.

    Raises:
        Failing: the inference thread died or hangs.
    """
    await live(request)
    return ServerLive(live=True)


@router.get("/v2/health/ready", operation_id="checkServerReady", responses=json_answers(_READY, Failing, Draining))
async def server_ready(request: Request) -> ServerReady:
    """Say whether to send pictures here, as `/health/ready`.

    Raises:
        Draining: the service is stopping.
        Failing: the inference thread died or hangs.
    """
    await ready(request)
    return ServerReady(ready=True)


@router.get(
    "/v2/models/{name}", operation_id="getModelMetadata", responses=json_answers(_MODEL, NotFound, InvalidOption)
)
async def model_metadata(request: Request, name: str) -> ModelMetadata:
    """Say what the model takes and gives.

    Raises:
        NotFound: another model is served here.
    """
    return _describe_model(_session_of(request, name))


@router.get(
    "/v2/models/{name}/versions/{version}",
    operation_id="getVersionMetadata",
    responses=json_answers(_MODEL, NotFound, InvalidOption),
)
async def version_metadata(request: Request, name: str, version: str) -> ModelMetadata:
    """Say what a version of the model takes and gives.

    Raises:
        NotFound: another model is served here, or another version.
    """
    return _describe_model(_session_of(request, name, version))


@router.get(
    "/v2/models/{name}/ready",
    operation_id="checkModelReady",
    responses=json_answers(_MODEL_READY, *_MODEL_READY_PROBLEMS),
)
async def model_ready(request: Request, name: str) -> ModelReady:
    """Say whether the model may be used, as `/health/ready`.

    Raises:
        NotFound: another model is served here.
        Draining: the service is stopping.
        Failing: the inference thread died or hangs.
    """
    _session_of(request, name)
    await ready(request)
    return ModelReady(name=name, ready=True)


@router.get(
    "/v2/models/{name}/versions/{version}/ready",
    operation_id="checkVersionReady",
    responses=json_answers(_MODEL_READY, *_MODEL_READY_PROBLEMS),
)
async def version_ready(request: Request, name: str, version: str) -> ModelReady:
    """Say whether a version of the model may be used, as `/health/ready`.

    Raises:
        NotFound: another model is served here, or another version.
        Draining: the service is stopping.
        Failing: the inference thread died or hangs.
    """
    _session_of(request, name, version)
    await ready(request)
    return ModelReady(name=name, ready=True)


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


def _version_of(session: Session) -> str:
    return session.digest[:VERSION_DIGITS]


def _session_of(request: Request, name: str, version: str | None = None) -> Session:
    """Return the loaded model when it is the one that is asked for.

    Raises:
        NotFound: another model is served here, or another version.
    """
    session = _services(request).pipeline.session
    if name != session.stamp.run_id or version not in (None, _version_of(session)):
        detail = f"The model served here is {session.stamp.run_id}, version {_version_of(session)}."
        raise NotFound(detail, error=detail)  # The protocol's own errors have this member.
    return session


def _describe_model(session: Session) -> ModelMetadata:
    return ModelMetadata(
        name=session.stamp.run_id,
        versions=[_version_of(session)],
        platform=PLATFORM,
        inputs=[_describe(tensor) for tensor in session.inputs],
        outputs=[_describe(tensor) for tensor in session.outputs],
    )


def _describe(tensor: Tensor) -> TensorMetadata:
    return TensorMetadata(
        name=tensor.name,
        datatype=DATA_TYPES.get(tensor.type, tensor.type),
        shape=[side if isinstance(side, int) else ANY_LENGTH for side in tensor.shape],
    )
