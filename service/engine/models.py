"""The model that new requests get, and those before it while requests are under way with them."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final, Protocol

from service.engine.loaded_model import LoadedModel
from service.engine.precision import find_faster
from service.engine.session import Session
from service.machine import give_way

log = logging.getLogger(__name__)

LOOK_S: Final = 0.05
"""How often is looked whether anyone still uses the model before."""


class Load(Protocol):
    """Gets a model ready to answer."""

    def __call__(self, session: Session | None = None) -> LoadedModel:
        """Load the file anew, or take what is loaded."""


class Models:
    """One model after the other; only the last one is given to new requests.

    Attributes:
        current: that one.
    """

    def __init__(self, load: Load, *, on_another: Callable[[], None], is_ending: Callable[[], bool]) -> None:
        """Load the first.

        Args:
            load: gets one ready.
            on_another: called when new requests get what the file holds now.
            is_ending: tells whether there are to be no new requests.

        Raises:
            StartupError: the model or the device does not work; the text says why.
        """
        self._load, self._on_another, self._is_ending = load, on_another, is_ending
        self.current = load()

    @contextmanager
    def use(self, model: LoadedModel | None = None) -> Iterator[LoadedModel]:
        """Have the model of now, or a known one, for a whole request, whatever is taken up meanwhile."""
        model = model or self.current
        model.users += 1
        try:
            yield model
        finally:
            model.users -= 1

    async def reload(self) -> None:
        """Load the model's file again beside the model of now, and give it to new requests.

        Raises:
            StartupError: it does not work, and the model of now stays.
        """
        stale = self._take_up(await asyncio.to_thread(self._load))
        if not self._is_ending():
            self._on_another()
        await _close_when_unused(stale)

    async def accelerate(self) -> bool:
        """Have the model of now computed faster for new requests, where that works; see `service.engine.precision`.

        Returns:
            Whether it is.
        """
        aside = ThreadPoolExecutor(1, initializer=give_way)  # The runtime's own threads inherit it.
        try:
            looking = aside.submit(find_faster, self.current.session, is_wanted=self._is_going_on)
            found = await asyncio.wrap_future(looking)
            chosen = found.session
            told = "the network is computed in %s by %s: %s", chosen.precision, chosen.runtime.name, found.reason
            if chosen is self.current.session:
                log.info(*told)
                return False
            fresh = await asyncio.wrap_future(aside.submit(self._load, chosen))
        finally:
            aside.shutdown(wait=False)  # The process ends with its thread, which then soon gives up.
        stale = self._take_up(fresh)
        if stale is not fresh:
            log.info(*told)
        await _close_when_unused(stale)
        return stale is not fresh

    def _is_going_on(self) -> bool:
        return not self._is_ending()

    def _take_up(self, fresh: LoadedModel) -> LoadedModel:
        """Give a model to new requests, if there are to be any; return the one that they do not get."""
        if self._is_ending():
            return fresh
        stale, self.current = self.current, fresh
        return stale


async def _close_when_unused(model: LoadedModel) -> None:
    """Let the requests that are under way with a model end, then its thread."""
    while model.users:
        await asyncio.sleep(LOOK_S)
    await asyncio.to_thread(model.close)
