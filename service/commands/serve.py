"""``photochrom serve``: the HTTP service."""

import gc
import logging
import math
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Annotated

import typer

from service.commands.shared import DeviceOption, ModelOption, app, misuse, read_settings, stop
from service.errors import StartupError
from service.settings import Settings

if TYPE_CHECKING:
    from service.engine.pipeline import Pipeline
    from service.engine.spool import Spool


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


@contextmanager
def _starting() -> Iterator[None]:
    """Let nobody look for garbage while the program comes together, nor at what it is made of afterwards.

    What is imported stays; to go through it again and again is an eighth of the time until a service is ready.
    """
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


def _load(settings: Settings) -> tuple["Pipeline", "Spool | None"]:
    """Load the model, and the HTTP part meanwhile.

    Raises:
        StartupError: the settings or the model do not work; the text says why.
    """
    from service.engine.pipeline import Pipeline
    from service.engine.spool import Spool
    from service.http.auth import ApiKeys
    from service.http.environment import check_environment
    from service.telemetry import Metrics
    from service.version import program_version

    # Before the model, which takes a second: a key file that is not there is said at once.
    for odd in check_environment(settings, ApiKeys.of(settings), os.environ):
        logging.getLogger(__name__).warning(odd)
    spool = Spool.of(settings)
    with ThreadPoolExecutor(1) as importer:  # Loading hardly needs the interpreter.
        importer.submit(import_module, "service.http.app")
        return Pipeline(settings, Metrics(), version=program_version()), spool


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

    with _starting():
        import uvicorn

        from service.http.connection import Connection
        from service.http.server import Server
        from service.logs import configure_logging
        from service.machine import share_heaps

        configure_logging(level=settings.log_level, log_format=settings.log_format)
        share_heaps()
        try:
            pipeline, spool = _load(settings)
        except StartupError as error:
            raise stop(error) from error

        from service.http.app import create_app

        application = create_app(settings, pipeline=pipeline, spool=spool)
        server = Server(
            uvicorn.Config(
                application,
                host=settings.host,
                port=settings.port,
                http=Connection,
                proxy_headers=False,  # A caller could name itself: PHOTOCHROM_CLIENT_HEADER says whom to believe.
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=math.ceil(settings.drain_s),
            ),
            pipeline,
            lambda: application.state.reload(),
            drain_notice_s=settings.drain_notice_s,
        )
    with suppress(KeyboardInterrupt):  # Ctrl-C is a normal end; uvicorn has drained by then.
        server.run(None if listening is None else [listening])
    if not server.started:
        raise typer.Exit(1)
