"""Keys and model taken up anew while the service serves: on SIGHUP both, when the key file has changed the keys.

Once the service is ready, and after each new model, it is looked whether the network can be computed faster here.

What cannot be read, or is malformed, is said in the log, and what was there stays.
"""

import asyncio
import logging
from pathlib import Path
from typing import Final

import onnxruntime

from service.engine.pipeline import Pipeline
from service.engine.session import Session
from service.errors import StartupError
from service.http.auth import ApiKeys
from service.settings import Settings
from service.telemetry import Metrics, Reloadable

LOOK_S: Final = 5.0
"""How often is looked whether the key file has changed: a mounted secret that is renewed sends no signal."""

ACCELERATE_AFTER_S: Final = 1.0
"""The first callers do not wait for a second runtime."""

log = logging.getLogger(__name__)


class Reloader:
    """Takes keys and model up anew."""

    def __init__(self, settings: Settings, keys: ApiKeys, pipeline: Pipeline, *, looks_for_faster: bool = True) -> None:
        """Remember what is in use.

        Args:
            settings: the operator's; they stay as they are.
            keys: that let callers in.
            pipeline: with the model.
            looks_for_faster: see `service.http.app.create_app`.
        """
        self._may_change_over = looks_for_faster and settings.precision == "auto"
        self._settings, self._keys, self._pipeline = settings, keys, pipeline
        self._known = _content(settings.api_keys_file)
        self._one_at_a_time = asyncio.Lock()

    async def reload(self) -> None:
        """Read the keys again, then load the model again."""
        async with self._one_at_a_time:
            self._reload_keys()
            try:
                await self._pipeline.reload()
            except Exception as error:  # Two models take more memory than one, for example.
                if not isinstance(error, StartupError):
                    log.exception("the model cannot be taken up anew")
                self._refuse("model", error)
            else:
                tell_model(self._pipeline.metrics, self._pipeline.session)
                self._note("model", self._pipeline.session.stamp.run_id)
        await self.accelerate()

    async def accelerate(self) -> None:
        """Have the network computed faster, where the operator leaves that to the service and it works."""
        if not self._may_change_over:
            return
        async with self._one_at_a_time:
            try:
                is_faster = await self._pipeline.accelerate()
            except Exception:  # Memory for two, for example; what serves goes on to serve.
                log.exception("the network cannot be computed faster")
            else:
                if is_faster:
                    tell_model(self._pipeline.metrics, self._pipeline.session)

    async def accelerate_soon(self) -> None:
        """Do so when the service has been ready for a moment."""
        await asyncio.sleep(ACCELERATE_AFTER_S)
        await self.accelerate()

    async def watch(self) -> None:
        """Read the keys again whenever their file has changed; never returns."""
        while True:
            await asyncio.sleep(LOOK_S)
            content = await asyncio.to_thread(_content, self._settings.api_keys_file)
            if content != self._known:
                self._known = content
                self._reload_keys()

    def _reload_keys(self) -> None:
        try:
            self._keys.renew(self._settings)
        except StartupError as error:
            self._refuse("keys", error)
        else:
            self._note("keys", f"{len(self._keys)}")

    def _note(self, what: Reloadable, now: str) -> None:
        self._pipeline.metrics.reloads.labels(what, "done").inc()
        log.info("taken up anew: %s: %s", what, now)

    def _refuse(self, what: Reloadable, error: Exception) -> None:
        self._pipeline.metrics.reloads.labels(what, "refused").inc()
        log.error("the %s of before stay: %s" if what == "keys" else "the %s of before stays: %s", what, error)


def tell_model(metrics: Metrics, session: Session) -> None:
    """Have the metrics name a model, and no other."""
    metrics.model_info.clear()
    names = session.stamp.run_id, session.digest[:12], session.provider, onnxruntime.__version__, session.precision
    metrics.model_info.labels(*names).set(1)


def _content(path: Path | None) -> bytes:
    try:
        return path.read_bytes() if path else b""
    except OSError:
        return b""
