"""The routes for whoever operates the service: probes, health, metrics, the model."""

import time
from typing import Final

import onnxruntime
from fastapi import APIRouter, Request, Security
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from service.errors import (
    Draining,
    Failing,
    Unauthorized,
)
from service.http.access import require_key
from service.http.answers import Health, Model, Probe
from service.http.openapi import HEALTH, METRICS, MODEL, PROBE, json_answers
from service.http.services import services_of

STALL_S: Final = 60.0
"""An inference that runs for longer than this hangs, and liveness says so."""

router = APIRouter()


@router.get(
    "/health/live",
    operation_id="checkLive",
    description="Says whether the process works; when not, only a restart helps. Load never makes this fail.",
    responses=json_answers(PROBE, Failing),
    tags=["operation"],
)
async def live(request: Request) -> Probe:
    """Say whether the process works.

    Raises:
        Failing: the inference thread died or hangs.
    """
    if not services_of(request).pipeline.batcher.is_alive(STALL_S):
        raise Failing("The inference thread has died or hangs.")
    return Probe()


@router.get(
    "/health/ready",
    operation_id="checkReady",
    description="Says whether to send pictures here: the model has run, and the service is not stopping.",
    responses=json_answers(PROBE, Failing, Draining),
    tags=["operation"],
)
async def ready(request: Request) -> Probe:
    """Say whether to send pictures here.

    Raises:
        Draining: the service is stopping.
        Failing: as `live`.
    """
    if services_of(request).pipeline.draining:
        raise Draining()
    return await live(request)


@router.get("/health", operation_id="getHealth", responses=json_answers(HEALTH), tags=["operation"])
async def health(request: Request) -> Health:
    """Summarize the state of the service."""
    services = services_of(request)
    pipeline = services.pipeline
    alive = pipeline.batcher.is_alive(STALL_S)
    return Health(
        status="failing" if not alive else "draining" if pipeline.draining else "ok",
        version=services.version,
        model=pipeline.session.stamp.run_id,
        model_sha256=pipeline.session.digest,
        provider=pipeline.session.provider,
        onnxruntime=onnxruntime.__version__,
        runtime=pipeline.session.runtime.name,
        computed_in=pipeline.session.precision,
        threads=pipeline.session.threads,
        inflight_megapixels=pipeline.admission.admitted_megapixels,
        waiting_requests=pipeline.admission.waiting,
        queue_depth=pipeline.batcher.depth,
        uptime_s=time.monotonic() - services.started,
    )


@router.get(
    "/metrics",
    operation_id="getMetrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}, "example": METRICS}}}},
    tags=["operation"],
)
async def metrics(request: Request) -> Response:
    """Give all metrics as Prometheus text."""
    return Response(services_of(request).pipeline.metrics.exposition(), media_type=CONTENT_TYPE_LATEST)


@router.get(
    "/model",
    operation_id="getModel",
    dependencies=[Security(require_key)],
    responses=json_answers(MODEL, Unauthorized),
    tags=["operation"],
)
async def model(request: Request) -> Model:
    """Give the stamp of the loaded model: where it comes from, its scores, its terms."""
    session = services_of(request).pipeline.session
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
        runtime=session.runtime.name,
        computed_in=session.precision,
    )
