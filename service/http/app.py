"""Puts the service together: settings in, ASGI application out."""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from fastapi import FastAPI

from service.engine.byte_budget import ByteBudget, Limits
from service.engine.pipeline import Pipeline
from service.engine.spool import Spool
from service.http import open_inference, operation, pictures, site
from service.http.auth import ApiKeys
from service.http.environment import check_environment
from service.http.guard import install
from service.http.openapi import SERVERS, describe_itself
from service.http.reload import Reloader, tell_model
from service.http.services import Services
from service.http.site import load_docs, load_page
from service.pictures.size_limits import SizeLimits
from service.settings import Settings
from service.telemetry import Metrics
from service.version import program_version

ROUTERS: Final = (pictures.router, operation.router, site.router, open_inference.router)
"""All routes of the service, in the order in which the OpenAPI document has them."""
SWEEP_S: Final = 15.0
"""How often is looked for kept pictures whose time is up."""


def create_app(
    settings: Settings | None = None,
    *,
    pipeline: Pipeline | None = None,
    spool: Spool | None = None,
    looks_for_faster: bool = True,
) -> FastAPI:
    """Make the application; the model is loaded, and run once, when it starts.

    Args:
        settings: the operator's; None reads them from the environment, for `uvicorn --factory`.
        pipeline: an already loaded one; None loads it at start. It is closed at the end either way.
        spool: where large uploads go; None looks up what the settings say. Closed at the end, too.
        looks_for_faster: whether the network may be computed in another precision than its file's, where the settings
            leave that open.

    Returns:
        The application.

    Raises:
        KeysError: the API keys cannot be read.
        SettingsError: see `check_environment` and `Spool.of`.
    """
    chosen = Settings() if settings is None else settings
    keys = ApiKeys.of(chosen)
    if settings is None:
        for odd in check_environment(chosen, keys, os.environ):
            logging.getLogger(__name__).warning(odd)
    spool = spool or Spool.of(chosen)
    metrics = Metrics() if pipeline is None else pipeline.metrics
    app = FastAPI(
        title="Photochrom",
        summary="A black-and-white photograph in, a color photograph out.",
        version=program_version(),
        docs_url=None,  # They load scripts from elsewhere.
        redoc_url=None,
        servers=SERVERS,
        redirect_slashes=False,  # They would go where the Host header says.
        lifespan=_lifespan(chosen, keys, metrics, pipeline, spool, looks_for_faster=looks_for_faster),
    )
    for router in ROUTERS:
        app.include_router(router)
    describe_itself(app)
    budget = ByteBudget(Limits(SizeLimits.of(chosen), chosen.max_held_bytes, chosen.least_rate), spool)
    metrics.held_bytes.set_function(lambda: budget.count)
    metrics.spooled_bytes.set_function(lambda: spool.count if spool else 0)
    install(app, routes=[route for router in ROUTERS for route in router.routes], metrics=metrics, budget=budget)
    return app


def _lifespan(
    settings: Settings,
    keys: ApiKeys,
    metrics: Metrics,
    pipeline: Pipeline | None,
    spool: Spool | None,
    *,
    looks_for_faster: bool,
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Return what loads the model before the first request, and ends everything after the last."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        version = program_version()
        loaded = Pipeline(settings, metrics, version=version) if pipeline is None else pipeline
        reloader = Reloader(settings, keys, loaded, looks_for_faster=looks_for_faster)
        app.state.services = Services(settings, keys, loaded, load_page(), load_docs(), version, time.monotonic())
        app.state.reload = reloader.reload
        tell_model(metrics, loaded.session)
        metrics.ready.set_function(lambda: 0 if loaded.draining else 1)
        watchers = [asyncio.create_task(_expire_kept(loaded)), asyncio.create_task(reloader.accelerate_soon())]
        if settings.api_keys_file:
            watchers.append(asyncio.create_task(reloader.watch()))
        try:
            yield
        finally:
            for watcher in watchers:
                watcher.cancel()
            loaded.draining = True
            loaded.close()
            if spool:
                spool.close()

    return lifespan


async def _expire_kept(pipeline: Pipeline) -> None:
    """Let kept pictures go when their time is up, also when nobody asks any more."""
    while True:
        await asyncio.sleep(min(SWEEP_S, pipeline.kept.max_age_s))
        pipeline.kept.expire()
