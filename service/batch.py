"""Colors many files, here or by a service, one bad one never stopping the others, and says how it goes.

An answer appears under its name only when it is whole, so that whatever ends the work (Ctrl-C, a full disk, no more
service) another call takes it up where it was.
"""

import asyncio
import errno
import json
import os
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, NamedTuple, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from service import images, metadata
from service.client import AsyncClient, ClientError, Options, Unauthorized, Unreachable
from service.colorizer import Options as ColorOptions
from service.colorizer import colorize, histogram_of
from service.errors import RequestError, StartupError
from service.finding import is_film
from service.images import MEDIA_TYPES, OutputFormat
from service.session import Session

FRAMES_TOLD_S: Final = 10.0
"""How often a film's progress is told where there is no terminal, seconds."""
HOPELESS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""What would happen to every further file as well: no space left, the quota used up, a disk that is read-only."""
MAX_SENT: Final = 3
"""A picture over which the connection to the service breaks so often is what ends the service."""

Status = Literal["colored", "skipped", "failed"]


class Stopped(Exception):
    """It makes no sense to go on; the text says why."""


class Colored(NamedTuple):
    """One answer: the file, and what the network takes the picture for."""

    data: bytes
    scene: str


@dataclass(frozen=True)
class Outcome:
    """What became of one picture.

    Attributes:
        source: the picture.
        target: where its answer goes.
        status: colored, skipped (the answer was there) or failed.
        seconds: spent on it.
        scene: what the network takes it for; of colored photographs.
        frames: how many were colored; of films.
        notes: what the answer lacks or has in another way, for people; of films.
        problem: short stable name of what went wrong, such as `broken-picture`; of failed ones.
        reason: the same in words.
    """

    source: Path
    target: Path
    status: Status
    seconds: float = 0.0
    scene: str = ""
    frames: int = 0
    notes: tuple[str, ...] = ()
    problem: str = ""
    reason: str = ""

    def to_json(self) -> str:
        """Return one line of JSON; what is empty is left out."""
        line: dict[str, object] = {"source": str(self.source), "target": str(self.target), "status": self.status}
        if self.status != "skipped":
            line["seconds"] = round(self.seconds, 3)
        line |= {
            name: getattr(self, name)
            for name in ("scene", "frames", "notes", "problem", "reason")
            if getattr(self, name)
        }
        return json.dumps(line)


class Report:
    """Counts outcomes and tells them: a bar on a terminal, plain lines elsewhere, JSON on demand."""

    def __init__(
        self, total: int, *, as_json: bool = False, quiet: bool = False, console: Console | None = None
    ) -> None:
        """Start with nothing done.

        Args:
            total: how many pictures are to be colored.
            as_json: print one line of JSON for each outcome to the standard output.
            quiet: show no progress.
            console: where progress is shown; default: the standard error.
        """
        self.counts: dict[Status, int] = {"colored": 0, "skipped": 0, "failed": 0}
        self.failures: list[Outcome] = []
        self._total = total
        self._as_json = as_json
        self._console = console or Console(stderr=True)
        self._quiet = quiet
        self._plain = not quiet and not self._console.is_terminal
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[pace]}"),
        )
        self._progress = Progress(*columns, console=self._console, transient=True, disable=quiet or self._plain)
        self._task = self._progress.add_task("coloring", total=total, pace="")
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    @property
    def left(self) -> int:
        """How many were not reached."""
        return self._total - self.counts["colored"] - self.counts["failed"]

    def __call__(self, outcome: Outcome) -> None:
        """Take down and tell one outcome."""
        self.counts[outcome.status] += 1
        if outcome.status == "failed":
            self.failures.append(outcome)
        if self._as_json:
            typer.echo(outcome.to_json())
        if outcome.status == "skipped":
            return
        done = self._total - self.left
        told = pace(done, self._total, time.monotonic() - self._started)
        self._progress.update(self._task, advance=1, pace=told)
        if self._plain:
            notes = "".join(f"; {note}" for note in outcome.notes)
            typer.echo(f"[{done}/{self._total}] {shown(outcome.source)}: {outcome.status}{notes}; {told}", err=True)
        elif outcome.notes and not self._quiet:
            self._progress.console.print(f"{shown(outcome.source)}: {'; '.join(outcome.notes)}", markup=False)

    @contextmanager
    def frames_of(self, source: Path) -> Iterator[Callable[[int, int], None]]:
        """Tell how one film goes, by a second bar or a line every `FRAMES_TOLD_S` seconds.

        Args:
            source: the film.

        Yields:
            What is to be told how many frames of how many are done.
        """
        bar = self._progress.add_task(source.name, total=None, pace="")
        started = told = time.monotonic()

        def tell(done: int, total: int) -> None:
            nonlocal told
            now = time.monotonic()
            words = pace(done, total, now - started)
            self._progress.update(bar, completed=done, total=total, pace=words)
            if self._plain and now - told >= FRAMES_TOLD_S:
                told = now
                typer.echo(f"{shown(source)}: frame {done} of {total}; {words}", err=True)

        try:
            yield tell
        finally:
            self._progress.remove_task(bar)

    def summary(self, stopped: str = "") -> dict[str, object]:
        """Return the counts, and why it ended early if it did."""
        counts: dict[str, object] = {str(status): count for status, count in self.counts.items()}
        counts["left"] = self.left
        return counts | {"stopped": stopped} if stopped else counts


def pace(done: int, total: int, elapsed_s: float) -> str:
    """Return in words how fast it goes and how long the rest takes at that rate.

    Args:
        done: pictures done, at least 1.
        total: pictures to do.
        elapsed_s: since the start, seconds.

    Returns:
        Such as `2.5 a second, 40 s left`.
    """
    each_s = max(elapsed_s, 1e-3) / done
    rate = f"{1 / each_s:.1f} a second" if each_s < 1 else f"{each_s:.1f} s each"
    return f"{rate}, {_duration(each_s * (total - done))} left"


def shown(path: Path) -> str:
    """Return a path that any terminal can take; names of old archives may be in no known encoding."""
    return os.fsencode(path).decode(errors="replace")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class Here:
    """Colors with a model of its own."""

    def __init__(
        self,
        session: Session,
        options: ColorOptions,
        output_format: OutputFormat,
        *,
        max_megapixels: float,
        reference: bytes | None = None,
    ) -> None:
        """Keep what is the same for all pictures.

        Args:
            session: the loaded model.
            options: how to color.
            output_format: of the answers.
            max_megapixels: largest picture, millions of pixels.
            reference: the file of a color photograph whose palette is followed.

        Raises:
            RequestError: the reference cannot be read as a picture.
        """
        self._reference = None if reference is None else histogram_of(_decode(reference, max_megapixels))
        self._session = session
        self._options = options
        self._format = output_format
        self._max_megapixels = max_megapixels

    def __call__(self, data: bytes) -> Colored:
        """Color one file.

        Raises:
            RequestError: it cannot be colored: see `service.images.probe` and `service.images.decode`.
        """
        picture = _decode(data, self._max_megapixels)
        deep = self._format == "png"
        colored = colorize(
            picture,
            self._options,
            self._session,
            deep=deep,
            workers=self._session.threads,
            reference=self._reference,
        )
        alpha = images.to_depth(picture.alpha, deep=deep)
        return Colored(images.encode(colored.rgb, alpha, self._format, workers=self._session.threads), colored.scene)


def _decode(data: bytes, max_megapixels: float) -> images.Picture:
    return images.decode(data, images.probe(data, max_megapixels=max_megapixels))


class There:
    """Has a service color.

    A picture may be what ends the service, and others under way at that moment lose their connection as well. So each
    of them is sent again when the service is back, with nothing else under way: the innocent ones come through.
    """

    def __init__(
        self, client: AsyncClient, options: Options, output_format: OutputFormat, *, reference: bytes | None = None
    ) -> None:
        """Keep what is the same for all pictures.

        Args:
            client: of the service; does not send a picture again over which the connection broke.
            options: how to color.
            output_format: of the answers.
            reference: the file of a color photograph whose palette is followed.
        """
        self._reference = reference
        self._client = client
        self._options: Options = {**options, "format": output_format}
        self._media_type = MEDIA_TYPES[output_format]
        self._alone = asyncio.Lock()

    async def __call__(self, data: bytes) -> Colored:
        """Color one file.

        Raises:
            Unreachable: the service is not there.
            ClientError: the service did not color it, answered with another format, or its connection broke over this
                picture `MAX_SENT` times.
        """
        async with self._alone:
            pass
        if (colored := await self._send(data)) is not None:
            return colored
        async with self._alone:
            for _ in range(MAX_SENT - 1):
                await self._await_return()
                if (colored := await self._send(data)) is not None:
                    return colored
            await self._await_return()
        raise ClientError(
            f"the connection to the service broke {MAX_SENT} times over this picture; its log may say why",
            type="connection-lost",
        )

    async def _await_return(self) -> None:
        """Ask something small, with all the patience of the client: a service that ended takes a while to come back.

        Raises:
            Unreachable: it did not come back.
            ClientError: it is not what it was.
        """
        await self._client.model()

    async def _send(self, data: bytes) -> Colored | None:
        """Send a picture once; return None when the connection broke over it."""
        try:
            return await self._color(data)
        except Unreachable as error:
            if error.broke:
                return None
            raise

    async def _color(self, data: bytes) -> Colored:
        if self._reference is None:
            answer = await self._client.colorize(data, **self._options)
        else:
            answer = await self._client.colorize(data, reference=self._reference, **self._options)
        if answer.media_type != self._media_type:
            raise ClientError(f"the service answered with {answer.media_type} instead of {self._media_type}")
        return Colored(answer.data, answer.scene)


@dataclass(frozen=True)
class Work:
    """What is to be done.

    Attributes:
        plan: target by source.
        output_format: of the answers.
        keep_metadata: whether EXIF, XMP and resolution go over to the answer.
    """

    plan: Mapping[Path, Path]
    output_format: OutputFormat
    keep_metadata: bool = True

    def store(self, question: bytes, answer: bytes, target: Path) -> None:
        """Write an answer under its name.

        Raises:
            OSError: it cannot be written.
        """
        if self.keep_metadata:
            answer = metadata.carry_over(question, answer, self.output_format)
        write_whole(target, answer)


def color_here(
    work: Work,
    color: Callable[[bytes], Colored],
    report: Callable[[Outcome], None],
    *,
    color_film: Callable[[Path, Path], tuple[int, tuple[str, ...]]] | None = None,
) -> None:
    """Color one file after the other.

    Args:
        work: which, and where the answers go.
        color: what colors one photograph.
        report: told each outcome.
        color_film: what colors one film into a file, and returns how many frames it has and what it says of it.

    Raises:
        Stopped: what went wrong would go wrong for every further file too.
    """
    for source, target in work.plan.items():
        started = time.monotonic()
        try:
            if color_film is not None and is_film(source):
                with unfinished(target) as path:
                    frames, notes = color_film(source, path)
                outcome = Outcome(source, target, "colored", frames=frames, notes=notes)
            else:
                question = source.read_bytes()
                colored = color(question)
                work.store(question, colored.data, target)
                outcome = Outcome(source, target, "colored", scene=colored.scene)
        except Exception as error:  # Decoders and networks throw anything; the next picture may be fine.
            outcome = _failure(error, source, target, started)
        else:
            outcome = replace(outcome, seconds=time.monotonic() - started)
        report(outcome)


async def color_there(
    work: Work,
    color: Callable[[bytes], Awaitable[Colored]],
    report: Callable[[Outcome], None],
    *,
    jobs: int,
    room: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
) -> None:
    """Have several files colored at once.

    Args:
        work: which, and where the answers go.
        color: what colors one.
        report: told each outcome, in the order in which they end.
        jobs: how many at once; no more files than that are in memory.
        room: entered before a file is read, left when its answer is written; may let fewer in than `jobs`.

    Raises:
        Stopped: what went wrong would go wrong for every further file too.
    """
    waiting = iter(work.plan.items())

    async def work_off() -> None:
        while True:
            async with room():
                found = next(waiting, None)
                if found is None:
                    return
                outcome = await color_one(*found)
            report(outcome)

    async def color_one(source: Path, target: Path) -> Outcome:
        started = time.monotonic()
        try:
            question = await asyncio.to_thread(source.read_bytes)
            colored = await color(question)
            await asyncio.to_thread(work.store, question, colored.data, target)
        except Exception as error:  # As above.
            return _failure(error, source, target, started)
        return Outcome(source, target, "colored", time.monotonic() - started, colored.scene)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(jobs):
                group.create_task(work_off())
    except BaseExceptionGroup as errors:  # The first one; it ended the others.
        raise errors.exceptions[0] from None


def _failure(error: Exception, source: Path, target: Path, started: float) -> Outcome:
    """Return the outcome that an error means, or stop when it would meet every further file."""
    if isinstance(error, Stopped):
        raise error
    if isinstance(error, Unauthorized | Unreachable) or (isinstance(error, OSError) and error.errno in HOPELESS):
        raise Stopped(str(error)) from error
    problem, reason = explain(error)
    return Outcome(source, target, "failed", time.monotonic() - started, problem=problem, reason=reason)


def explain(error: Exception) -> tuple[str, str]:
    """Return what went wrong with one picture: a short stable name, and words."""
    if isinstance(error, RequestError):
        return error.name, error.detail
    if isinstance(error, StartupError):
        return "not-possible-here", str(error)
    if isinstance(error, ClientError):
        return error.type or "no-answer", error.detail
    if isinstance(error, OSError):
        return "file-error", error.strerror or str(error)
    if isinstance(error, MemoryError):
        return "no-memory", "there is not enough memory for this picture"
    return "internal-error", f"{type(error).__name__}: {error}"


def explain_folder(error: OSError) -> tuple[str, str]:
    """Return what went wrong with a folder that cannot be searched, as `explain` does."""
    return "folder-error", f"this folder cannot be searched: {error.strerror or error}"


def write_whole(target: Path, data: bytes) -> None:
    """Write a file that appears under its name only when it is whole.

    Args:
        target: its path; missing folders are made.
        data: its content.

    Raises:
        OSError: it cannot be written; nothing is left behind then.
    """
    with unfinished(target) as path:
        path.write_bytes(data)


@contextmanager
def unfinished(target: Path) -> Iterator[Path]:
    """Give a place to write a file to, and put it under its name when that went well; else nothing is left behind.

    Args:
        target: its path; missing folders are made.

    Yields:
        The path to write to.

    Raises:
        OSError: it cannot be put there.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    # Whoever else colors into this folder must not write into the same file: ids of processes are the same in two
    # containers and on two machines.
    path = target.with_name(f".photochrom-{uuid.uuid4().hex}.part")
    try:
        yield path
        path.replace(target)
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise
