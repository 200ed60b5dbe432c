"""Puts the service together: settings in, ASGI application out."""

import base64
import hashlib
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import metadata, resources

import onnxruntime
from fastapi import FastAPI

from service import guard
from service.auth import ApiKeys
from service.pipeline import Pipeline
from service.routes import Services, router
from service.settings import Settings
from service.telemetry import Metrics


def program_version() -> str:
    """Return the version of the installed package."""
    try:
        return metadata.version("photochrom")
    except metadata.PackageNotFoundError:  # Run from a source tree that is not installed.
        return "0+source"


def create_app(settings: Settings | None = None, *, pipeline: Pipeline | None = None) -> FastAPI:
    """Make the application; the model is loaded, and run once, when it starts.

    Args:
        settings: the operator's; None reads them from the environment, for `uvicorn --factory`.
        pipeline: an already loaded one; None loads it at start. It is closed at the end either way.

    Returns:
        The application.

    Raises:
        KeysError: the API keys cannot be read.
    """
    chosen = Settings() if settings is None else settings
    keys = ApiKeys.of(chosen)
    metrics = Metrics() if pipeline is None else pipeline.metrics
    version = program_version()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        loaded = Pipeline(chosen, metrics, version=version) if pipeline is None else pipeline
        session = loaded.session
        page, policy = _load_page()
        app.state.services = Services(chosen, keys, loaded, page, policy, version, time.monotonic())
        metrics.model_info.labels(
            session.stamp.run_id, session.digest[:12], session.provider, onnxruntime.__version__
        ).set(1)
        metrics.ready.set_function(lambda: 0 if loaded.draining else 1)
        try:
            yield
        finally:
            loaded.draining = True
            loaded.close()

    app = FastAPI(
        title="Photochrom",
        summary="A black-and-white photograph in, a color photograph out.",
        version=version,
        docs_url=None,  # They load scripts from elsewhere.
        redoc_url=None,
        lifespan=lifespan,
    )
    app.include_router(router)
    guard.install(app, metrics=metrics, max_upload_bytes=chosen.max_upload_bytes, max_held_bytes=chosen.max_held_bytes)
    return app


def _load_page() -> tuple[str, str]:
    """Return the page and a policy that lets nothing run but what the page itself holds, by its hash."""
    page = (resources.files("service") / "page" / "index.html").read_text(encoding="utf-8")

    def hashes(tag: str) -> str:
        blocks = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digests = (base64.b64encode(hashlib.sha256(block.encode()).digest()).decode() for block in blocks)
        return " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"

    policy = (
        f"default-src 'none'; script-src {hashes('script')}; style-src {hashes('style')}; "
        "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return page, policy
