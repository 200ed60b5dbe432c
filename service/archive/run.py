"""Colors many files, here or by a service, one bad one never stopping the others, and says how it goes.

An answer appears under its name only when it is whole, so that whatever ends the work (Ctrl-C, a full disk, no more
service) another call takes it up where it was.
"""

import asyncio
import errno
import json
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, NamedTuple

from service.archive.finding import read_file
from service.archive.kinds import is_film
from service.archive.pages import split
from service.archive.sidecar import copy_sidecars
from service.archive.versions import version_path
from service.archive.whole_files import unfinished, write_whole
from service.client.errors import ClientError, Unauthorized, Unreachable
from service.errors import RequestError, StartupError
from service.pictures.answer_formats import OutputFormat
from service.pictures.size_limits import SizeLimits

UNRECOVERABLE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""What would happen to every further file as well: no space left, the quota used up, a disk that is read-only."""

Status = Literal["colored", "skipped", "failed", "unread", "other"]
"""What may become of a file: skipped, as its answer was there; unread, as its kind is not read; other: no picture."""


class Stopped(Exception):
    """It makes no sense to go on; the text says why."""


class ColoredFile(NamedTuple):
    """One answer: the file, what the network takes the picture for, what is to be said of it, further versions.

    `look` is the digest of the look that it was made by; empty where it has none.
    """

    data: bytes
    scene: str
    notes: tuple[str, ...] = ()
    others: tuple[bytes, ...] = ()
    look: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of one file.

    Attributes:
        source: the picture.
        target: where its answer goes; None where it has none.
        status: see `Status`.
        seconds: spent on it.
        scene: what the network takes it for; of colored photographs.
        frames: how many were colored; of films.
        pages: how many were colored; of files of several, whose first answer `target` is.
        notes: what the answer lacks or has in another way, for people.
        problem: short stable name of what went wrong, such as `broken-picture`; of failed and unread ones.
        reason: the same in words.
        look: digest of the look that it is colored by; empty where it has none.
    """

    source: Path
    target: Path | None
    status: Status
    seconds: float = 0.0
    scene: str = ""
    frames: int = 0
    pages: int = 0
    notes: tuple[str, ...] = ()
    problem: str = ""
    reason: str = ""
    look: str = ""

    def to_json(self) -> str:
        """Return one line of JSON; what is empty is left out."""
        line: dict[str, object] = {"source": str(self.source)}
        if self.target is not None:
            line["target"] = str(self.target)
        line["status"] = self.status
        if self.status in ("colored", "failed"):
            line["seconds"] = round(self.seconds, 3)
        line |= {
            name: getattr(self, name)
            for name in ("scene", "frames", "pages", "notes", "problem", "reason")
            if getattr(self, name)
        }
        return json.dumps(line)


@dataclass(frozen=True)
class Work:
    """What is to be done.

    Attributes:
        plan: target by source.
        output_format: of the answers.
        keep_sidecars: whether the .xmp beside a picture is copied beside its answer.
        limits: of a photograph; of them that of bytes is looked at here. None leaves it to whoever colors.
        all_pages: whether files of several pages are colored, page by page.
    """

    plan: Mapping[Path, Path]
    output_format: OutputFormat
    keep_sidecars: bool = True
    limits: SizeLimits | None = None
    all_pages: bool = False

    def parts(self, question: bytes, target: Path) -> Iterable[tuple[bytes, Path]]:
        """Return what is to be colored of a file, and where each answer goes."""
        return split(question, target) if self.all_pages else [(question, target)]

    def store(self, source: Path, target: Path, question: bytes, *answers: bytes) -> tuple[str, ...]:
        """Write an answer, or several versions, under its name, and what lies beside the picture beside it.

        Args:
            source: the picture.
            target: where the answer goes.
            question: its content.
            *answers: its answer, or its versions from the first.

        Returns:
            What lies beside the picture and cannot be read, in words.

        Raises:
            OSError: it cannot be written.
        """
        notes = copy_sidecars(source, target, question) if self.keep_sidecars else ()
        # The first one last: it says that all are there.
        for version, answer in reversed(list(enumerate(answers, start=1))):
            write_whole(version_path(target, version), answer)
        return notes


def color_here(
    work: Work,
    color: Callable[[bytes], ColoredFile],
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
                done = []
                for question, place in work.parts(read_file(source, work.limits), target):
                    colored = color(question)
                    notes = work.store(source, place, question, colored.data, *colored.others)
                    done.append(_Done(place, colored.scene, (*colored.notes, *notes), colored.look))
                outcome = _colored(source, done)
        except Exception as error:  # Decoders and networks throw anything; the next picture may be fine.
            outcome = _failure(error, source, target, started)
        else:
            outcome = replace(outcome, seconds=time.monotonic() - started)
        report(outcome)


async def color_there(
    work: Work,
    color: Callable[[bytes], Awaitable[ColoredFile]],
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

    async def work_through() -> None:
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
            done = []
            for question, place in work.parts(await asyncio.to_thread(read_file, source, work.limits), target):
                colored = await color(question)
                answers = (colored.data, *colored.others)
                notes = await asyncio.to_thread(work.store, source, place, question, *answers)
                done.append(_Done(place, colored.scene, (*colored.notes, *notes), colored.look))
        except Exception as error:  # As above.
            return _failure(error, source, target, started)
        return replace(_colored(source, done), seconds=time.monotonic() - started)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(jobs):
                group.create_task(work_through())
    except BaseExceptionGroup as errors:  # The first one; it ended the others.
        raise errors.exceptions[0] from None


class _Done(NamedTuple):
    """One answer that was written: where, its scene, what is to be said of it, and the digest of its look."""

    target: Path
    scene: str
    notes: tuple[str, ...]
    look: str


def _colored(source: Path, done: Sequence[_Done]) -> Outcome:
    """Return the outcome of a photograph, or of one for each page."""
    notes = tuple(dict.fromkeys(note for each in done for note in each.notes))
    pages = len(done) if len(done) > 1 else 0
    first = done[0]
    return Outcome(source, first.target, "colored", scene=first.scene, pages=pages, notes=notes, look=first.look)


def _failure(error: Exception, source: Path, target: Path, started: float) -> Outcome:
    """Return the outcome that an error means, or stop when it would meet every further file."""
    if isinstance(error, Stopped):
        raise error
    if isinstance(error, Unauthorized | Unreachable) or (isinstance(error, OSError) and error.errno in UNRECOVERABLE):
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
