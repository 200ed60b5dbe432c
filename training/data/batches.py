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
from typing import Final

import numpy as np

from chroma import signature
from chroma.prior import count_bins
from training import DataError
from training.config import DataConfig
from training.data import plates, sample_workers
from training.data.photographs import Photograph, PhotographSet
from training.data.prepared_prior import load_prepared_prior
from training.data.sample_workers import SampleWorkers
from training.data.samples import SampleTask, make_samples

log = logging.getLogger(__name__)

WORTH_PROCESSES: Final = 4096
"""So many samples are worth starting processes for, which takes a second."""

SIDES_KEY: Final = 0x51DE5
"""Sets the chance that draws a batch's side apart from those of its photographs."""


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
    def scenes(self) -> int:
        """How many scenes the photographs are told apart by."""
        return len(self._photographs.scenes)

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
        task = SampleTask(self._photographs.folder, chosen, seeds, self._config_of(step), self._classes)
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
