"""Where photographs are colored: on this machine, by a running service, or on a Ray cluster; behind one protocol."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, cast

import typer

from service.archive.kinds import is_film
from service.commands.shared import load_session, misuse, stop
from service.errors import RequestError, StartupError
from service.logs import printable
from service.settings import Settings
from service.version import program_version

if TYPE_CHECKING:
    from service.archive.film_file import FilmOptions
    from service.archive.looks import Looks
    from service.archive.report import Report
    from service.archive.run import Work
    from service.client import ColorizeOptions
    from service.engine.options import ColorizeQuery
    from service.engine.session import Session

MOST_JOBS_THERE: Final = 64
"""Pictures at once that a single service is sent; a cluster takes as many as it has processors."""
JOBS_THERE: Final = 4
"""The same if nothing else is asked for."""
MAX_WAIT_THERE_S: Final = 300.0
"""How long a service that is busy or restarts is waited for over one picture: the pauses together, seconds."""
TRIES_THERE: Final = 10_000
"""More than fit into that time: it alone decides."""


LONG_FROM: Final = 100
"""Photographs from which on it may pay to spend the time of some dozen on finding what computes the network faster."""


@dataclass(frozen=True)
class Order:
    """How to color, wherever that is done.

    Attributes:
        query: the options for the colors, and the format of the answers.
        settings: model, device, threads and limits.
        reference: the file of a color photograph whose palette is followed.
        films: what is chosen for films.
        jobs: pictures at once; None for the place's own number.
        quiet: show no progress.
        all_pages: whether files of several pages are colored, page by page.
        looks: how single photographs are colored instead.
    """

    query: "ColorizeQuery"
    settings: Settings
    reference: bytes | None
    films: "FilmOptions"
    jobs: int | None
    quiet: bool
    all_pages: bool = False
    looks: "Looks | None" = None


class Place(Protocol):
    """Somewhere to color.

    Attributes:
        refuses_films: why films cannot be colored there, without the reason of this machine; empty where they can.
    """

    @property
    def refuses_films(self) -> str:
        """Say why no film is colored there; empty where films are."""

    def color(self, order: Order, work: "Work", report: "Report") -> None:
        """Color files.

        Args:
            order: how.
            work: which, and where the answers go.
            report: told each outcome.

        Raises:
            Stopped: what went wrong would go wrong for every further file too.
            typer.Exit: it cannot begin; the reason was said.
        """


class ThisMachine:
    """Colors with a model in this process."""

    refuses_films = ""

    def color(self, order: Order, work: "Work", report: "Report") -> None:
        """Color files one after the other; see `Place.color`."""
        from service.archive.here import Here
        from service.archive.run import color_here
        from service.engine.precision import find_faster
        from service.pictures.size_limits import SizeLimits

        session = load_session(order.settings)
        if order.settings.precision == "auto" and _is_long(work, report):
            session = find_faster(session).session
        try:
            color = Here(
                session,
                order.query.to_options(),
                work.output_format,
                limits=SizeLimits.of(order.settings),
                reference=order.reference,
                looks=order.looks,
            )
        except RequestError as error:
            raise misuse(f"--reference: {error.detail}") from error
        if order.looks:
            report.remark(order.looks.other_model(session.digest, session.stamp.precision))
        with report:
            color_here(work, color, report, color_film=_film_colorist(session, order, report))


@dataclass(frozen=True)
class RemoteService:
    """Has a running service color.

    Attributes:
        url: of the service.
        api_key: where it wants one.
    """

    url: str
    api_key: str | None
    refuses_films = "a service colors photographs only: color films without --remote"

    def color(self, order: Order, work: "Work", report: "Report") -> None:
        """Color several files at once; see `Place.color`."""
        asyncio.run(self._color(order, work, report))

    async def _color(self, order: Order, work: "Work", report: "Report") -> None:
        from service.archive.run import Stopped, color_there
        from service.archive.there import There
        from service.client import AsyncClient, ClientError

        try:
            # One question first tells whether the service is there and takes the key.
            first = AsyncClient(self.url, api_key=self.api_key, retries=2)
            # Nobody waits for one answer of many: be patient with a service that is busy.
            client = AsyncClient(
                self.url, api_key=self.api_key, retries=TRIES_THERE, max_wait_s=MAX_WAIT_THERE_S, resend=False
            )
        except ValueError as error:
            raise misuse(error) from error
        async with first, client:
            try:
                model = await first.model()
            except ClientError as error:
                raise Stopped(str(error)) from error
            # What has its default is left out, so that older services take the rest.
            options = cast("ColorizeOptions", order.query.model_dump(exclude={"format"}, exclude_defaults=True))
            there = There(client, options, work.output_format, reference=order.reference, looks=order.looks)
            if order.looks:
                report.remark(order.looks.other_model(str(model.get("sha256")), str(model.get("precision", ""))))
            try:
                with report:
                    await color_there(work, there, report, jobs=order.jobs or JOBS_THERE)
            finally:
                report.remark(there.computed_otherwise())


@dataclass(frozen=True)
class RayCluster:
    """Has a Ray cluster color.

    Attributes:
        address: of the cluster.
    """

    address: str
    refuses_films = "a cluster colors photographs only: color films without --cluster"

    def color(self, order: Order, work: "Work", report: "Report") -> None:
        """Color as many files at once as there are workers; see `Place.color`."""
        from service.archive import cluster
        from service.engine.precision import INT8_SUFFIX
        from service.engine.session import shipped_model
        from service.pictures.decode import decode
        from service.pictures.probe import probe
        from service.pictures.size_limits import SizeLimits

        settings = order.settings
        limits = SizeLimits.of(settings)
        if order.reference is not None:
            try:
                with limits.told():
                    decode(order.reference, probe(order.reference, max_megapixels=limits.max_megapixels))
            except RequestError as error:
                raise misuse(f"--reference: {error.detail}") from error
        model = settings.model or shipped_model()
        if settings.precision == "int8" and not model.name.endswith(INT8_SUFFIX):
            model = model.with_suffix(INT8_SUFFIX)
        # Machines differ, and all pictures are to be computed alike: no worker looks for something faster.
        told = cluster.Instructions(
            order.query, settings.device, model, limits, settings.precision, order.reference, order.looks
        )

        if order.looks and model.is_file():
            report.remark(order.looks.other_model(hashlib.sha256(model.read_bytes()).hexdigest()))

        def say(text: str) -> None:
            if not order.quiet:
                typer.echo(f"photochrom: {printable(text)}", err=True)

        try:
            with report:
                cluster.color_on_cluster(self.address, told, work, report, jobs=order.jobs, say=say)
        except StartupError as error:
            raise stop(error) from error


def _is_long(work: "Work", report: "Report") -> bool:
    """Return whether looking for what computes the network faster may pay; what is there counts, it was made alike."""
    return len(work.plan) + report.counts["skipped"] >= LONG_FROM or any(map(is_film, work.plan))


def _film_colorist(
    session: "Session", order: Order, report: "Report"
) -> Callable[[Path, Path], tuple[int, tuple[str, ...]]]:
    from service.archive.answers import words_of
    from service.archive.film import color_film

    options = replace(order.query.to_options(), hints=(), regions=(), variants=(1,))
    note = f"colors computed: model {session.stamp.run_id}, {words_of(options)}"

    def color(source: Path, target: Path) -> tuple[int, tuple[str, ...]]:
        with report.frames_of(source) as progress:
            done = color_film(
                source,
                target,
                session,
                options,
                order.films,
                max_megapixels=order.settings.max_megapixels,
                keep_metadata=order.query.metadata == "keep",
                note=f"Photochrom {program_version()}, {note}" if order.query.note else "",
                progress=progress,
            )
        return done.frames, done.notes

    return color
