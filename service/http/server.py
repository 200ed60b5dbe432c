"""uvicorn's server, made to say `not ready` before it stops."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Coroutine
from functools import partial
from types import FrameType
from typing import Any, Final

import uvicorn

from service.engine.pipeline import Pipeline

LINGER_S: Final = 0.25
"""How long a connection that was opened just before the end is given for its request, seconds."""


class Server(uvicorn.Server):
    """Says `not ready` before it stops, so that whoever sends pictures here can go elsewhere first."""

    def __init__(
        self,
        config: uvicorn.Config,
        pipeline: Pipeline,
        reload: Callable[[], Coroutine[Any, Any, None]],
        *,
        drain_notice_s: float,
    ) -> None:
        """Prepare to serve.

        Args:
            config: uvicorn's.
            pipeline: told when the end begins.
            reload: takes keys and model up anew.
            drain_notice_s: how long the port stays open after a first SIGTERM, seconds.
        """
        super().__init__(config)
        self._pipeline = pipeline
        self._reload = reload
        self._drain_notice_s = drain_notice_s

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to stop."""
        self._loop = asyncio.get_running_loop()
        if hasattr(signal, "SIGHUP"):
            self._loop.add_signal_handler(signal.SIGHUP, self._hang_up, _has_terminal())
        await super().serve(sockets)

    def _hang_up(self, had_terminal: bool) -> None:
        """Take keys and model up anew; where the terminal has gone that it was started from, stop instead."""
        if had_terminal and not _has_terminal():
            self.handle_exit(signal.SIGTERM, None)
        elif self.started and not self._pipeline.draining:
            self._reloading = self._loop.create_task(self._reload())

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the port."""
        await super().startup(sockets)
        for each in sockets or []:  # Of which uvicorn says nothing.
            host, taken = each.getsockname()[:2]
            address = f"[{host}]:{taken}" if ":" in host else f"{host}:{taken}"
            logging.getLogger("uvicorn.error").info("Uvicorn running on http://%s (Press CTRL+C to quit)", address)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more connections; whoever has one only now may still say what it wants."""
        for each in self.servers:
            each.close()
        await asyncio.sleep(LINGER_S)
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop: at once, or on a first SIGTERM after the notice."""
        is_first = not self._pipeline.draining
        self._pipeline.draining = True
        if is_first and sig == signal.SIGTERM and self._drain_notice_s > 0:
            stop = partial(super().handle_exit, sig, frame)
            self._loop.call_soon_threadsafe(self._loop.call_later, self._drain_notice_s, stop)
        else:
            super().handle_exit(sig, frame)


def _has_terminal() -> bool:
    """Return whether this process still has the terminal of its standard input, if it ever had one."""
    try:
        os.tcgetpgrp(0)
    except OSError:
        return False
    return True
