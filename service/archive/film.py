"""Films: decoded, colored without flicker, encoded again, with their sound; no more than a few frames are in memory.

PyAV (FFmpeg's libraries) reads and writes, and is imported only when there is a film to color. Two passes: `inspect`
decodes the whole file and keeps nothing, so that what is cut off or damaged is refused before hours of work;
`color_film` does it, once a first frame has gone all the way.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float

from chroma.bins import load_centers
from chroma.decoding import posterior_spread, softmax
from chroma.framing import network_size, resize_lightness
from chroma.modes import outputs_to_ab
from chroma.signature import AB, AB_DECODED, AB_LOGITS, SPREAD
from chroma.temporal import NEW_SHARE, Shot, TemporalAverage
from service.archive.film_check import inspect
from service.archive.film_file import Film, FilmOptions, FilmReader, Shown, open_film, picture_of
from service.archive.film_writer import FilmWriter, writing
from service.engine.colorizer import decode_logits, knobs_of
from service.engine.options import Options
from service.engine.session import Query, Session

DRY_RUN_READS: Final = 200
"""Frames and packets among which the beginning of each track is looked for."""

IN_FLIGHT: Final = 2
"""Frames that may wait to be composed and encoded while the network looks at the next one."""


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
        _dry_run(reader, FilmWriter(answer, reader, how, session.threads, options))
    with open_film(path) as source, writing(target) as answer:
        reader = FilmReader(source, picture_of(source, max_megapixels), film, deinterlace=how.deinterlace)
        writer = FilmWriter(answer, reader, how, session.threads, options)
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
            writer.write(writer.encode(read, np.zeros((1, 1, 2), np.float32)))
            is_written = True
        if is_written and not waiting:
            break
    writer.finish()


def _color_frames(
    reader: FilmReader, writer: FilmWriter, colorist: "FilmColorist", progress: Callable[[int, int], None] | None
) -> int:
    """Color frame after frame, and copy the tracks between them; return how many frames there were."""
    done, pending = 0, deque[Future[list[Any]]]()
    with ThreadPoolExecutor(1, thread_name_prefix="film") as renderer:
        for read in reader.read(writer.tracks.sources):
            if not isinstance(read, Shown):
                writer.tracks.write(read)
                continue
            pending.append(renderer.submit(writer.encode, read, colorist(read.L)))
            if len(pending) > IN_FLIGHT:
                writer.write(pending.popleft().result())
            done += 1
            if progress is not None:
                progress(done, max(reader.film.frames, done))
        while pending:
            writer.write(pending.popleft().result())
    return done


class FilmColorist:
    """Gives the ab of one frame after the other.

    Attributes:
        inferences: how many frames the network looked at.
        cuts: scenes after the first.
    """

    def __init__(self, session: Session, options: Options, how: FilmOptions, film: Film) -> None:
        """Begin with the first frame.

        Args:
            session: the loaded model.
            options: how to color.
            how: what is chosen for films.
            film: whose frames will come.
        """
        self.inferences = 0
        self.cuts = -1
        self._session = session
        self._mode = options.mode
        self._knobs = knobs_of(options, session.stamp)
        self._shape = network_size(film.height, film.width, options.size or session.stamp.size)
        self._centers = load_centers()
        self._average = TemporalAverage(how.memory_s * float(film.rate) / how.every)
        self._every = how.every
        self._since = 0

    def __call__(self, L: Float[np.ndarray, "H W 1"]) -> Float[np.ndarray, "h w 2"]:
        """Return the ab of the next frame.

        Args:
            L: its full-size lightness, shape (H, W, 1).

        Returns:
            ab in Lab units, at the network's grid, shape (h, w, 2).
        """
        small = resize_lightness(L, self._shape)
        shot = self._average.see(small)
        if shot is Shot.BEGINS:
            self.cuts += 1
        elif shot is Shot.COMES_BACK:
            self.cuts -= 1
        self._since += 1
        if shot is Shot.BEGINS or self._since >= self._every or self._average.unknown > NEW_SHARE:
            self._average.add(self._look(small))
            self._since = 0
        return self._ab_of(self._average.values, self._average.lightness)

    def _look(self, small: Float[np.ndarray, "h w 1"]) -> Float[np.ndarray, "h w C"]:
        """Ask the network; return what is averaged: the posterior, and behind it the regressed ab."""
        self.inferences += 1
        heads = self._session.run([Query(small, self._knobs, (AB, AB_LOGITS))])[0]
        return np.concatenate([softmax(heads[AB_LOGITS]), heads[AB]], axis=-1)

    def _ab_of(self, average: Float[np.ndarray, "h w C"], L: Float[np.ndarray, "h w 1"]) -> Float[np.ndarray, "h w 2"]:
        """Decode what was averaged, L as well: light that pumps must not switch the guard of shadows."""
        logits = np.log(np.maximum(average[..., :-2], np.float32(1e-12)))
        outputs = {AB_LOGITS: logits, AB: average[..., -2:]}
        knobs, stamp = self._knobs, self._session.stamp
        if self._mode in ("annealed", "fused"):
            outputs[AB_DECODED] = decode_logits(logits, L, knobs, stamp)
        if self._mode == "fused":
            outputs[SPREAD] = posterior_spread(logits, self._centers)
        head_gain = stamp.vividness_curve.relative_gain(knobs.gain)
        return outputs_to_ab(outputs, self._mode, centers=self._centers, gain=head_gain)
