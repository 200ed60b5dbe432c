"""Films: decoded, colored without flicker, encoded again, with their sound, all at once and frame after frame.

PyAV (FFmpeg's libraries) reads and writes, and is imported only when there is a film to color. Two passes: `inspect`
decodes the whole file and keeps nothing, so that what is cut off or damaged is refused before hours of work;
`color_film` does it, once a first frame has gone all the way. Decoding, coloring and composing each have a thread, and
encoding that of the caller; what waits between them, and between two frames that the network looks at, is bounded.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from service.archive.ahead import ahead
from service.archive.film_check import inspect
from service.archive.film_colors import Colored, FilmColorist
from service.archive.film_file import FilmOptions, FilmReader, Shown, open_film, picture_of
from service.archive.film_writer import FilmWriter, writing
from service.engine.options import Options
from service.engine.session import Session

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

DRY_RUN_READS: Final = 200
"""Frames and packets among which the beginning of each track is looked for."""

WAITING: Final = 4
"""Frames and packets that may wait between two stages, so that one need not wait for the other."""


@dataclass(frozen=True)
class Filmed:
    """What was done.

    Attributes:
        frames: written.
        inferences: how many of them the network looked at.
        cuts: scenes after the first.
        notes: what the film has and the answer has not, or has in another way; for people.
    """

    frames: int
    inferences: int
    cuts: int
    notes: tuple[str, ...]


def color_film(
    path: Path,
    target: Path,
    session: Session,
    options: Options,
    how: FilmOptions,
    *,
    max_megapixels: float,
    keep_metadata: bool = True,
    note: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> Filmed:
    """Color a film.

    Args:
        path: of the film.
        target: of the answer, MP4 whatever its suffix; what is there is replaced, by half a film until this returns.
        session: the loaded model.
        options: how to color.
        how: what is chosen for films.
        max_megapixels: largest frame, millions of pixels.
        keep_metadata: whether title, dates and the like go over.
        note: of the colors, put behind the film's own comment; empty for none.
        progress: told how many frames of how many are done; of 0 while they are only looked through.

    Returns:
        What was done.

    Raises:
        NoFilmSupport: PyAV is not installed.
        UnsupportedFilm: it is no film, there is no picture in it, or it fits into no MP4.
        BrokenFilm: it ends too early, or too much of it cannot be decoded.
        PictureTooLarge: its frames have too many pixels.
        OSError: a file cannot be read or written.
    """
    checked = None if progress is None else lambda count: progress(count, 0)
    film = inspect(path, max_megapixels=max_megapixels, progress=checked)
    colorist = FilmColorist(session, options, how, film)
    with open_film(path) as source, writing(target) as answer:
        reader = FilmReader(source, picture_of(source, max_megapixels), film, deinterlace=how.deinterlace)
        _dry_run(reader, FilmWriter(answer, reader, how, options))
    with open_film(path) as source, writing(target) as answer:
        reader = FilmReader(source, picture_of(source, max_megapixels), film, deinterlace=how.deinterlace)
        writer = FilmWriter(answer, reader, how, options)
        if keep_metadata:
            answer.metadata.update(source.metadata)
            answer.set_chapters(source.chapters())
        if note:
            answer.metadata["comment"] = "\n".join(filter(None, (answer.metadata.get("comment"), note)))
        done = _color_frames(reader, writer, colorist, progress)
        writer.finish()
    return Filmed(done, colorist.inferences, colorist.cuts, (*writer.tracks.notes, *film.notes))


def _dry_run(reader: FilmReader, writer: FilmWriter) -> None:
    """Write a gray frame and the beginning of all sound: what MP4 does not take it refuses when it is closed."""
    waiting = {stream.index for stream in writer.tracks.sources if stream.type == "audio"}
    is_written = False
    for read in islice(reader.read(writer.tracks.sources), DRY_RUN_READS):
        if not isinstance(read, Shown):
            waiting.discard(read.stream.index)
            writer.tracks.write(read)
        elif not is_written:
            writer.encode(*_composed(writer, Colored(read, np.zeros((1, 1, 2), np.float32))))
            is_written = True
        if is_written and not waiting:
            break
    writer.finish()


def _color_frames(
    reader: FilmReader, writer: FilmWriter, colorist: FilmColorist, progress: Callable[[int, int], None] | None
) -> int:
    """Color all frames, and copy the tracks between them; return how many frames there were."""
    done = 0
    with ExitStack() as stages:
        read = stages.enter_context(ahead(reader.read(writer.tracks.sources), WAITING, "film decoder"))
        colored = stages.enter_context(ahead(colorist.color(read), WAITING, "film colorist"))
        composed = (_composed(writer, item) if isinstance(item, Colored) else item for item in colored)
        for item in stages.enter_context(ahead(composed, WAITING, "film composer")):
            if not isinstance(item, tuple):
                writer.tracks.write(item)
                continue
            writer.encode(*item)
            done += 1
            if progress is not None:
                progress(done, max(reader.film.frames, done))
    return done


def _composed(writer: FilmWriter, colored: Colored) -> "tuple[VideoFrame, Fraction | None, Fraction]":
    """Return a frame of the answer, when, and for how long it is shown: its grays need not be kept."""
    shown = colored.shown
    return writer.compose(shown, colored.ab), shown.at_s, shown.length_s
