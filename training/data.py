"""Photographs -> batches, without any deep-learning framework.

A batch is a pure function of (recipe, photographs, step): order, crops and noise come from generators keyed by seed,
epoch and photograph. That is what makes resuming exact, whatever the number of workers.
"""

import functools
import logging
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from chroma import signature
from chroma.framing import resize_lightness
from chroma.lab import rgb_u8_to_lab
from chroma.prior import count_bins
from training import DataError, mounts, plates, sample_workers
from training.config import DataConfig
from training.photographs import Photograph, PhotographSet
from training.pictures import MIN_SIDE_PX, decode_photograph
from training.prepared_prior import load_prepared_prior
from training.sample_workers import SampleWorkers

log = logging.getLogger(__name__)

SOMETIMES: Final = 0.25
"""How often noise and blur are added, where the recipe has them."""
WORTH_PROCESSES: Final = 4096
"""So many samples are worth starting processes for, which takes a second."""
SIDES_KEY: Final = 0x51DE5
"""Sets the chance that draws a batch's side apart from those of its photographs."""
LABEL_ASPECT: Final = 0.02
"""How much a label map's proportions may differ from its photograph's."""
UNLABELED: Final = 255
"""What a label map has where nobody said what is there."""


@dataclass(frozen=True)
class Batch:
    """What one step takes.

    Attributes:
        lightness: CIE L in [0, 100], float32, (batch, H, W, 1).
        ab: a, b in Lab units and the pixel's weight, float32, (batch, H/4, W/4, 3).
        scene: probability of each scene, float32, (batch, scenes); a row of zeros where the scene is unknown.
        keys: of the photographs.
        segmentation: class of each pixel, -1 where it has none, float32, (batch, H/4, W/4, 1); None where the model
            has no such head.
    """

    lightness: np.ndarray
    ab: np.ndarray
    scene: np.ndarray
    keys: tuple[str, ...]
    segmentation: np.ndarray | None = None

    def targets(self) -> dict[str, np.ndarray]:
        """Return the targets by head."""
        targets = {signature.AB_LOGITS: self.ab, signature.AB: self.ab, signature.SCENE_LOGITS: self.scene}
        if self.segmentation is not None:
            targets[signature.SEGMENTATION_LOGITS] = self.segmentation
        return targets


def decode_label_map(data: bytes, shape: tuple[int, int]) -> np.ndarray:
    """Decode a label map.

    Args:
        data: the encoded map, one 8-bit channel: class, or 255 where there is none.
        shape: height and width of its photograph, px.

    Returns:
        uint8, of the photograph's shape.

    Raises:
        DataError: no such map, or not of the photograph's proportions.
    """
    try:
        labels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    except cv2.error as error:
        raise DataError(f"not decoded: {error.err}") from error
    if labels is None or labels.ndim != 2 or labels.dtype != np.uint8:
        raise DataError("no picture with one 8-bit channel")
    if labels.shape == shape:
        return labels
    # Made for another size of the photograph: fine, unless it shows something else (a turned one, for example).
    if abs(labels.shape[0] * shape[1] / (labels.shape[1] * shape[0]) - 1) > LABEL_ASPECT:
        raise DataError(f"{labels.shape[1]} x {labels.shape[0]} px, the photograph {shape[1]} x {shape[0]} px")
    return cv2.resize(labels, shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def is_gray(rgb_u8: np.ndarray) -> bool:
    """Whether a picture, (H, W, 3), has no color at all: its channels are equal everywhere."""
    return bool((rgb_u8[..., 0] == rgb_u8[..., 1]).all() and (rgb_u8[..., 1] == rgb_u8[..., 2]).all())


@dataclass(frozen=True)
class Cut:
    """Which square of a photograph a sample shows.

    Attributes:
        top: first row, px.
        left: first column, px.
        side: of the square, px.
        mirrored: left and right are swapped.
    """

    top: int
    left: int
    side: int
    mirrored: bool

    def take(self, picture: np.ndarray) -> np.ndarray:
        """Return the square of a picture, (H, W) or (H, W, channels), contiguous."""
        square = picture[self.top : self.top + self.side, self.left : self.left + self.side]
        return np.ascontiguousarray(square[:, ::-1] if self.mirrored else square)


def choose_cut(height: int, width: int, config: DataConfig, rng: np.random.Generator | None) -> Cut:
    """Choose a square: a random one, sometimes mirrored, or without `rng` the largest in the middle."""
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    if rng is None:
        return Cut(top, left, side, mirrored=False)
    if rng.random() < config.crop_probability:
        side = max(round(side * rng.uniform(config.smallest_crop, 1.0)), MIN_SIDE_PX)
        top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    return Cut(top, left, side, mirrored=bool(rng.random() < 0.5))


def render(
    rgb_u8: np.ndarray, config: DataConfig, rng: np.random.Generator | None, cut: Cut | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Cut one sample out of a photograph.

    Colors are left alone unless `config.hue_jitter` asks otherwise; geometry and L are augmented, some photographs lie
    on a mount, and some L are what an old plate would have seen.

    Args:
        rgb_u8: the photograph, uint8, (H, W, 3).
        config: crop and augmentation.
        rng: source of the augmentation; None gives the centered square, unaltered (validation).
        cut: the square to show; None chooses one.

    Returns:
        (lightness, ab): float32, (S, S, 1) in [0, 100], and (S/4, S/4, 3): a, b and weight (0 for a gray picture).
    """
    cut = cut or choose_cut(*rgb_u8.shape[:2], config, rng)
    square = cut.take(rgb_u8)
    # Nothing is drawn where a recipe has no mounts or plates, so that its chances stay what they were.
    if rng is not None and config.mounts > 0 and rng.random() < config.mounts:
        square = mounts.mount(square, rng)
    lab = rgb_u8_to_lab(square)
    is_plate = rng is not None and config.plates > 0 and rng.random() < config.plates
    full = plates.expose(square, rng) if is_plate else np.ascontiguousarray(lab[..., :1])
    lightness = resize_lightness(full, (config.crop_px, config.crop_px))
    small = config.crop_px // signature.HEAD_STRIDE
    filter_ = cv2.INTER_AREA if cut.side >= small else cv2.INTER_LINEAR
    if config.ab_sampling == "nearest":
        filter_ = cv2.INTER_NEAREST
    ab = cv2.resize(np.ascontiguousarray(lab[..., 1:]), (small, small), interpolation=filter_)
    counts = not config.mask_gray or np.abs(ab).max() > config.gray_chroma
    weight = np.full((small, small, 1), float(counts), np.float32)
    if rng is not None:
        if is_plate:
            lightness = plates.age(lightness, rng)
        lightness = augment_lightness(lightness, config, rng)
        # Drawn last and only when asked for, so that without it a run's chances stay what they were.
        if config.hue_jitter:
            ab = turn_hue(ab, rng.uniform(-config.hue_jitter, config.hue_jitter))
    return lightness, np.concatenate([ab, weight], axis=-1)


def turn_hue(ab: np.ndarray, degrees: float) -> np.ndarray:
    """Turn ab, float32 (..., 2), around gray by an angle; chroma stays, the sRGB gamut may be left."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return ab @ np.array([[cosine, sine], [-sine, cosine]], np.float32)


def sample_labels(labels: np.ndarray, cut: Cut, config: DataConfig, *, classes: int) -> np.ndarray:
    """Cut the segmentation target that belongs to a sample.

    Args:
        labels: the label map, uint8, (H, W): class, or 255 where there is none.
        cut: the sample's square.
        config: size of the sample.
        classes: how many classes the model has; a pixel of another class has none.

    Returns:
        Class, or -1 where there is none, float32, (S/4, S/4, 1).
    """
    small = config.crop_px // signature.HEAD_STRIDE
    picked = cv2.resize(cut.take(labels), (small, small), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.where((picked == UNLABELED) | (picked >= classes), -1, picked.astype(np.float32))[..., None]


def augment_lightness(lightness: np.ndarray, config: DataConfig, rng: np.random.Generator) -> np.ndarray:
    """Change contrast, brightness, sharpness and grain of L, as scans and old emulsions do.

    Args:
        lightness: CIE L in [0, 100], float32, (H, W, 1).
        config: how much.
        rng: source of chance.

    Returns:
        CIE L in [0, 100], float32, (H, W, 1).
    """
    factor = rng.uniform(1 - config.contrast, 1 + config.contrast)
    altered = (lightness - 50) * np.float32(factor) + np.float32(50 + rng.uniform(-config.offset, config.offset))
    if config.blur_px and rng.random() < SOMETIMES:
        altered = cv2.GaussianBlur(altered, (0, 0), rng.uniform(0.2, config.blur_px))[..., None]
    if config.noise and rng.random() < SOMETIMES:
        altered = altered + rng.normal(0, rng.uniform(0, config.noise), altered.shape).astype(np.float32)
    return np.clip(altered, 0, 100).astype(np.float32)


@dataclass(frozen=True)
class Task:
    """What it takes to make the samples of one batch, wherever that is done.

    Attributes:
        folder: the data folder.
        photographs: of the batch.
        seeds: of each sample's augmentation; None for none.
        config: crop and augmentation.
        segmentation_classes: see `BatchMaker`.
    """

    folder: Path | None
    photographs: tuple[Photograph, ...]
    seeds: tuple[tuple[int, ...] | None, ...]
    config: DataConfig
    segmentation_classes: int


@dataclass(frozen=True, eq=False)
class Samples:
    """What comes of a `Task`.

    Attributes:
        lightness: float32, (batch, H, W, 1); 0 where a photograph could not be read.
        ab: float32, (batch, H/4, W/4, 3); 0 where a photograph could not be read.
        segmentation: float32, (batch, H/4, W/4, 1); None where the task has no classes.
        was_read: whether a photograph could be read, bool, (batch,).
        refused: key and reason of each photograph, or label map, that could not be read.
    """

    lightness: np.ndarray
    ab: np.ndarray
    segmentation: np.ndarray | None
    was_read: np.ndarray
    refused: tuple[tuple[str, str], ...]


def make_samples(task: Task, photographs: PhotographSet) -> Samples:
    """Make the samples of one batch.

    Args:
        task: which.
        photographs: reads them; need not list them.
    """
    count, side = len(task.photographs), task.config.crop_px
    small = side // signature.HEAD_STRIDE
    lightness, ab = np.zeros((count, side, side, 1), np.float32), np.zeros((count, small, small, 3), np.float32)
    segmentation = np.full((count, small, small, 1), -1, np.float32) if task.segmentation_classes else None
    was_read, refused = np.zeros(count, bool), []
    for place, (photo, seed) in enumerate(zip(task.photographs, task.seeds, strict=True)):
        rng = None if seed is None else np.random.default_rng(seed)
        try:
            rgb_u8 = decode_photograph(photographs.read(photo))
        except DataError as error:
            refused.append((photo.key, str(error)))
            continue
        cut = choose_cut(*rgb_u8.shape[:2], task.config, rng)
        lightness[place], ab[place] = render(rgb_u8, task.config, rng, cut)
        was_read[place] = True
        if segmentation is not None and photo.label_map:
            try:
                labels = decode_label_map(photographs.read_label_map(photo), rgb_u8.shape[:2])
            except DataError as error:
                refused.append((photo.key, f"label map: {error}"))
                continue
            segmentation[place] = sample_labels(labels, cut, task.config, classes=task.segmentation_classes)
    return Samples(lightness, ab, segmentation, was_read, tuple(refused))


class BatchMaker:
    """Makes any batch of a split by its number.

    Attributes:
        refused: photographs that could not be read, with the reason; they have weight 0 and no scene or label map.
    """

    def __init__(
        self,
        photographs: PhotographSet,
        chosen: tuple[Photograph, ...],
        config: DataConfig,
        *,
        batch_size: int,
        seed: int | None,
        segmentation_classes: int = 0,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        """Prepare the batches of the chosen photographs.

        Args:
            photographs: the data set.
            chosen: the photographs to take.
            config: crop and augmentation.
            batch_size: photographs a batch.
            seed: of order and augmentation; None means fixed order and no augmentation.
            segmentation_classes: of the model's segmentation head; 0 makes no target for it.
            share: which part of each batch to make (index, of how many): for the processes of a distributed run.
        """
        self._photographs, self._chosen, self._config = photographs, chosen, config
        self._batch_size, self._seed, self._classes = batch_size, seed, segmentation_classes
        self._share = share
        self._order: tuple[int, np.ndarray] = (-1, np.arange(0))
        self._lock = threading.Lock()
        self.refused: dict[str, str] = {}

    @property
    def batch_size(self) -> int:
        """Photographs a batch."""
        return self._batch_size

    @property
    def steps_per_epoch(self) -> int:
        """How many batches an epoch has; training drops the last incomplete one, validation keeps it."""
        whole, rest = divmod(len(self._chosen), self._batch_size)
        return max(whole, 1) if self._seed is not None else whole + bool(rest)

    def batch(self, step: int, workers: SampleWorkers | None = None) -> Batch:
        """Return batch number `step`, counted from the start of the run; worker processes may do the work."""
        epoch, place = divmod(step, self.steps_per_epoch)
        indices = self._epoch_order(epoch)[place * self._batch_size : (place + 1) * self._batch_size]
        part, parts = self._share
        indices = indices[part * len(indices) // parts : (part + 1) * len(indices) // parts]
        chosen = tuple(self._chosen[index] for index in indices)
        seeds = tuple(None if self._seed is None else (self._seed, epoch, int(index)) for index in indices)
        task = Task(self._photographs.folder, chosen, seeds, self._config_of(step), self._classes)
        samples = workers.make(task) if workers else make_samples(task, self._photographs)
        for key, reason in samples.refused:
            if key not in self.refused:
                log.warning("%s is left out: %s", key, reason)
                self.refused[key] = reason
        scene = np.stack([self._photographs.scene_target(photo, top_k=self._config.scene_top_k) for photo in chosen])
        scene[~samples.was_read] = 0
        return Batch(samples.lightness, samples.ab, scene, tuple(photo.key for photo in chosen), samples.segmentation)

    def _config_of(self, step: int) -> DataConfig:
        if self._seed is None:
            return self._config
        config, sides = self._config, self._config.crop_sides
        if config.plates_rise:
            config = replace(config, plates=plates.share_at(step, config.plates, config.plates_rise))
        if not sides:
            return config
        chance = np.random.default_rng((self._seed, SIDES_KEY, step))
        return replace(config, crop_px=sides[int(chance.integers(len(sides)))])

    def _epoch_order(self, epoch: int) -> np.ndarray:
        if self._seed is None:
            return np.arange(len(self._chosen))
        with self._lock:
            if self._order[0] != epoch:
                rng = np.random.default_rng((self._seed, epoch))
                # A set smaller than one batch is gone through several times.
                times = -(-self._batch_size // len(self._chosen))
                order = np.concatenate([rng.permutation(len(self._chosen)) for _ in range(times)])
                self._order = (epoch, order)
            return self._order[1]


def stream(maker: BatchMaker, start: int, stop: int, *, workers: int, ahead: int = 4) -> Iterator[Batch]:
    """Yield batches start..stop-1 in order, made ahead of time; memory is bounded by `ahead` batches.

    Args:
        maker: makes the batches.
        start: number of the first batch.
        stop: one past the last.
        workers: how many batches are in work at once: each in a process of its own, or, where there is one worker or
            little work, in a thread. The batches are the same.
        ahead: batches kept ready beyond those in work.
    """
    make = maker.batch
    if workers > 1 and (sample_workers.are_running() or (stop - start) * maker.batch_size >= WORTH_PROCESSES):
        make = functools.partial(maker.batch, workers=sample_workers.shared_workers(workers))
    with ThreadPoolExecutor(workers, thread_name_prefix="batches") as pool:
        pending: deque[Future[Batch]] = deque()
        upcoming = iter(range(start, stop))
        try:
            for step in upcoming:
                pending.append(pool.submit(make, step))
                if len(pending) > workers + ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def count_prior(
    photographs: PhotographSet, config: DataConfig, centers: np.ndarray, *, workers: int, batch_size: int = 64
) -> np.ndarray:
    """Count how often each bin occurs in the training split, on the very targets the network sees.

    Gray pictures do not count where they do not train. In a folder that `prepare` made, its count is taken where it was
    made with the same settings.

    Args:
        photographs: the data set.
        config: crop, gray limit, and how many photographs to count.
        centers: bin centers in Lab units, (Q, 2).
        workers: threads.
        batch_size: photographs decoded at once.

    Returns:
        Shares that sum to 1, float64, (Q,).

    Raises:
        DataError: there is no color at all in the training split.
    """
    prepared = load_prepared_prior(photographs.folder, config) if photographs.folder else None
    if prepared is not None:
        log.info("taking the prior that was counted when the photographs were prepared")
        return prepared
    chosen = photographs.split("train")
    if len(chosen) > config.prior_pictures:
        picks = np.random.default_rng(0).choice(len(chosen), config.prior_pictures, replace=False)
        chosen = tuple(chosen[index] for index in sorted(picks))
    maker = BatchMaker(photographs, chosen, config, batch_size=batch_size, seed=None)
    counts = np.zeros(len(centers))
    for batch in stream(maker, 0, maker.steps_per_epoch, workers=workers):
        counts += count_bins(batch.ab[batch.ab[..., 2] > 0][:, :2], centers)
    if not counts.any():
        raise DataError("the training photographs are all gray: there is no color to learn")
    return counts / counts.sum()
