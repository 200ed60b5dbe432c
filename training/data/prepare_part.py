"""The work of `prepare` on one part: photographs -> one shard and a note of what is in it.

A part depends on nothing but its photographs and the options, so that it comes out the same whoever does it, and when.
"""

import errno
import json
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from chroma.bins import Q, load_centers
from chroma.lab import rgb_u8_to_lab
from chroma.prior import count_bins
from training import DataError, PrepareError
from training.config import DataConfig
from training.data.layouts import Photograph
from training.data.photographs import PhotographSet
from training.data.pictures import decode_photograph, read_small
from training.data.samples import decode_label_map, render
from training.data.scene_model import MEAN, STD, SceneModel, load_names
from training.data.scene_scores import score_rows
from training.data.shards import ShardWriter

PARTS: Final = "parts"
"""Folder of the notes of finished parts."""

JPEG_QUALITY: Final = 95

JUDGED_PX: Final = 64
"""Color is judged on a picture of this short side: noise and the blocks of JPEG average out."""

COLORLESS: Final = 4.0
"""A photograph is gray where 99 % of its chroma is below this, Lab units."""

TONED: Final = 4.5
"""It is tinted where 99 % of its ab are this close to the mean of their lightness, Lab units: sepia, cyanotype."""

TONES: Final = 32
"""Levels of lightness that are looked at one by one."""

COUNTED_AT_ONCE: Final = 64
"""Photographs whose colors are counted in one go."""

NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""The disk, the quota, or the largest file allowed is full."""


@dataclass(frozen=True)
class PrepareOptions:
    """What to make of which photographs.

    Attributes:
        source: data folder in any layout of `training.data.layouts`.
        out: where the shards go; made if missing.
        size: photographs are shrunk to this short side, px.
        workers: processes; what comes out does not depend on it.
        validation_share: of a plain folder's photographs; None for the default.
        keep_gray: keep gray and tinted photographs.
        scene_model: an ONNX scene classifier that names the scenes; None for none.
        scene_names: its class names, one a line.
        scene_mean: what it was trained to take from RGB in [0, 1].
        scene_std: what it was trained to divide by then.
        data: the recipe's data options; the prior is counted by them.
    """

    source: Path
    out: Path
    size: int = 256
    workers: int = 1
    validation_share: float | None = None
    keep_gray: bool = False
    scene_model: Path | None = None
    scene_names: Path | None = None
    scene_mean: tuple[float, float, float] = MEAN
    scene_std: tuple[float, float, float] = STD
    data: DataConfig = field(default_factory=DataConfig)


@dataclass(frozen=True)
class Item:
    """A photograph with what is known of it.

    Attributes:
        photo: where it lies.
        key: what it will be called.
        scene: its scene; empty where unknown.
        scene_coarse: its coarse scene; empty where unknown.
        scene_pairs: names and probabilities of its scenes, where there are some.
    """

    photo: Photograph
    key: str
    scene: str
    scene_coarse: str
    scene_pairs: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Part:
    """The photographs of one shard.

    Attributes:
        name: of the shard, without its suffix.
        items: the photographs.
    """

    name: str
    items: tuple[Item, ...]


class PartWorker:
    """Does parts, one after the other."""

    def __init__(self, options: PrepareOptions) -> None:
        """Get ready.

        Args:
            options: what to make of what.

        Raises:
            DataError: the scene model cannot be loaded.
        """
        cv2.setNumThreads(1)
        # Broken files are listed; nobody needs a line from each decoder, too.
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        self._options = options
        self._scene_model = load_scene_model(options)
        self._centers = load_centers()

    def do(self, part: Part) -> Generator[None, None, None]:
        """Write a part's shard and its note; yields after each photograph. Dropped halfway, it leaves nothing behind.

        Raises:
            PrepareError: they cannot be written.
        """
        options = self._options
        photographs = PhotographSet((item.photo for item in part.items), folder=options.source)
        note = _Note()
        shard = options.out / f"{part.name}.zip"
        with writing():
            with ShardWriter(shard) as writer:
                for item in part.items:
                    try:
                        stored = _read(photographs, item, options)
                    except DataError as error:
                        note.refused.append((item.photo.key, _without_key(error, item), False))
                    else:
                        self._add(writer, note, shard.name, item, stored)
                    yield
            note.count(self._centers)
            if not note.rows:
                shard.unlink()
            write_whole(note_path(options.out, part.name), note.to_json())

    def _add(self, writer: ShardWriter, note: "_Note", shard: str, item: Item, stored: "_Stored") -> None:
        photo, (height, width) = item.photo, stored.rgb_u8.shape[:2]
        writer.add(f"{item.key}.jpg", stored.jpeg)
        label_map = f"{item.key}.png" if stored.label_map else ""
        if label_map:
            writer.add(label_map, stored.label_map)
        if stored.complaint:
            note.refused.append((photo.key, stored.complaint, True))
        pairs = self._scene_model(stored.rgb_u8) if self._scene_model else item.scene_pairs
        note.scenes += score_rows(item.key, pairs)
        facts = (photo.split, photo.dataset, item.scene, item.scene_coarse, label_map, str(width), str(height))
        note.rows.append((item.key, shard, *facts, photo.key))
        if photo.split == "train":
            # As a run counts them: on the stored picture, and by the samples that validation would show.
            _, ab = render(decode_photograph(stored.jpeg), self._options.data, None)
            note.colors.append(ab[ab[..., 2] > 0][:, :2])
            if len(note.colors) >= COUNTED_AT_ONCE:
                note.count(self._centers)


@dataclass(eq=False)
class _Note:
    """What a finished part holds."""

    rows: list[tuple[str, ...]] = field(default_factory=list)
    scenes: list[tuple[str, str, str]] = field(default_factory=list)
    refused: list[tuple[str, str, bool]] = field(default_factory=list)
    counts: np.ndarray = field(default_factory=lambda: np.zeros(Q))
    colors: list[np.ndarray] = field(default_factory=list)

    def count(self, centers: np.ndarray) -> None:
        """Count the colors that were gathered."""
        if self.colors:
            self.counts += count_bins(np.concatenate(self.colors), centers)
            self.colors.clear()

    def to_json(self) -> bytes:
        fields = {"rows": self.rows, "scenes": self.scenes, "refused": self.refused, "counts": self.counts.tolist()}
        return json.dumps(fields).encode()


@dataclass(frozen=True, eq=False)
class _Stored:
    """What is kept of one photograph, and what was not."""

    rgb_u8: np.ndarray
    jpeg: bytes
    label_map: bytes
    complaint: str


def _read(photographs: PhotographSet, item: Item, options: PrepareOptions) -> _Stored:
    """Read, judge and shrink a photograph and its label map."""
    try:
        item.key.encode()
    except UnicodeEncodeError as error:
        raise DataError("its name is not UTF-8") from error
    data = photographs.read(item.photo)
    rgb_u8, is_whole = read_small(data, short_side=options.size)
    if not options.keep_gray:
        refuse_colorless(rgb_u8)
    label_map, complaint = b"", ""
    if item.photo.label_map:
        try:
            labels = decode_label_map(photographs.read_label_map(item.photo), rgb_u8.shape[:2])
            label_map = _encode(".png", labels)
        except DataError as error:
            complaint = f"kept without its label map: {_without_key(error, item)}"
    return _Stored(rgb_u8, data if is_whole else _encode(".jpg", rgb_u8[..., ::-1]), label_map, complaint)


def _encode(suffix: str, picture: np.ndarray) -> bytes:
    flags = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if suffix == ".jpg" else []
    _, data = cv2.imencode(suffix, np.ascontiguousarray(picture), flags)
    return data.tobytes()


def _without_key(error: DataError, item: Item) -> str:
    return str(error).removeprefix(f"{item.photo.key}: ")


def refuse_colorless(rgb_u8: np.ndarray) -> None:
    """Check that a photograph has colors to learn.

    Args:
        rgb_u8: the photograph, uint8, (H, W, 3).

    Raises:
        DataError: it is gray, or gray with a tint.
    """
    factor = max(min(rgb_u8.shape[:2]) / JUDGED_PX, 1)
    height, width = (max(round(side / factor), 1) for side in rgb_u8.shape[:2])
    small = cv2.resize(np.ascontiguousarray(rgb_u8), (width, height), interpolation=cv2.INTER_AREA)
    lab = rgb_u8_to_lab(small).reshape(-1, 3)
    if np.percentile(np.hypot(lab[:, 1], lab[:, 2]), 99) < COLORLESS:
        raise DataError("gray")
    # A toned print has one color for each lightness; in a photograph things of equal lightness differ in color.
    level = (lab[:, 0] * (TONES / 100)).astype(int).clip(0, TONES - 1)
    sums = np.stack([np.bincount(level, weights=lab[:, channel], minlength=TONES) for channel in (1, 2)], axis=-1)
    usual = sums / np.maximum(np.bincount(level, minlength=TONES), 1)[:, None]
    if np.percentile(np.hypot(*(lab[:, 1:] - usual[level]).T), 99) < TONED:
        raise DataError("tinted")


def load_scene_model(options: PrepareOptions) -> SceneModel | None:
    """Load the scene model that the options ask for; None where they ask for none.

    Raises:
        DataError: it does not fit its names, or cannot be read.
    """
    if not options.scene_model or not options.scene_names:
        return None
    names = load_names(options.scene_names)
    return SceneModel(options.scene_model, names, mean=options.scene_mean, std=options.scene_std)


def note_path(out: Path, name: str) -> Path:
    """Return where a finished part says what it holds."""
    return out / PARTS / f"{name}.json"


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; it is on the disk when this returns.

    Raises:
        OSError: it cannot be written.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def writing() -> Iterator[None]:
    """Turn a write that fails into an error that says what to do.

    Raises:
        PrepareError: no room, or no permission.
    """
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise PrepareError(
                f"no room left ({error.strerror}): make some, and give the same command again"
            ) from error
        raise PrepareError(f"cannot be written: {error}") from error
