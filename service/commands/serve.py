"""``photochrom serve``: the HTTP service."""

import asyncio
import logging
import math
import signal
import socket
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from service.errors import StartupError

if TYPE_CHECKING:
    from types import FrameType

from service.commands.shared import DeviceOption, ModelOption, app, misuse, read_settings, stop

LINGER_S = 0.25
"""How long a connection that was opened just before the end is given for its request, seconds."""


def _listening_socket(fd: int) -> socket.socket:
    """Return the socket behind a descriptor.

    Raises:
        typer.Exit: there is none, or nobody can connect to it.
    """
    try:
        found = socket.socket(fileno=fd)
        listens = found.family in (socket.AF_INET, socket.AF_INET6) and found.getsockopt(
            socket.SOL_SOCKET, socket.SO_ACCEPTCONN
        )
    except (OSError, OverflowError, ValueError) as error:
        raise misuse(f"--fd {fd}: {error}") from error
    if not listens:
        found.detach()  # It is somebody's, and not ours to close.
        raise misuse(f"--fd {fd} is no TCP socket that listens")
    return found


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 picks a free one.")] = None,
    fd: Annotated[
        int | None, typer.Option(help="Listen on this socket instead, a descriptor that whoever calls has opened.")
    ] = None,
    model: ModelOption = None,
    device: DeviceOption = None,
) -> None:
    """Start the HTTP service; every PHOTOCHROM_ variable counts, and the options here win over them."""
    settings = read_settings(host=host, port=port, model=model, device=device)
    listening = None if fd is None else _listening_socket(fd)

    import uvicorn

    from service.engine.pipeline import Pipeline
    from service.http.app import create_app
    from service.http.auth import ApiKeys
    from service.http.connection import Connection
    from service.telemetry import Metrics, configure_logging
    from service.version import program_version

    configure_logging(level=settings.log_level, log_format=settings.log_format)
    try:
        # Before the model, which takes seconds: a key file that is not there is said at once.
        ApiKeys.of(settings)
        pipeline = Pipeline(settings, Metrics(), version=program_version())
    except StartupError as error:
        raise stop(error) from error

    class Server(uvicorn.Server):
        """Says `not ready` before it stops, so that whoever sends pictures here can go elsewhere first."""

        async def serve(self, sockets: list[socket.socket] | None = None) -> None:
            """Serve until told to stop."""
            self.loop = asyncio.get_running_loop()
            await super().serve(sockets)

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

        def handle_exit(self, sig: int, frame: "FrameType | None") -> None:
            is_first = not pipeline.draining
            pipeline.draining = True
            if is_first and sig == signal.SIGTERM and settings.drain_notice_s > 0:
                stop = partial(super().handle_exit, sig, frame)
                self.loop.call_soon_threadsafe(self.loop.call_later, settings.drain_notice_s, stop)
            else:
                super().handle_exit(sig, frame)

    server = Server(
        uvicorn.Config(
            create_app(settings, pipeline=pipeline),
            host=settings.host,
            port=settings.port,
            http=Connection,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=math.ceil(settings.drain_s),
        )
    )
    with suppress(KeyboardInterrupt):  # Ctrl-C is a normal end; uvicorn has drained by then.
        server.run(None if listening is None else [listening])
    if not server.started:
        raise typer.Exit(1)
