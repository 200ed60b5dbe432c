"""Photographs -> batches, without any deep-learning framework.

A batch is a pure function of (recipe, photographs, step): order, crops and noise come from generators keyed by seed,
epoch and photograph. That is what makes resuming exact, whatever the number of workers.
"""

import logging
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from chroma import signature
from chroma.framing import resize_lightness
from chroma.lab import rgb_u8_to_lab
from chroma.prior import count_bins
from training import DataError
from training.config import DataConfig
from training.photographs import Photograph, PhotographSet

log = logging.getLogger(__name__)

SOMETIMES: Final = 0.25
"""How often noise and blur are added, where the recipe has them."""
MIN_SIDE_PX: Final = 16
"""A smaller photograph teaches nothing."""


@dataclass(frozen=True)
class Batch:
    """What one step takes.

    Attributes:
        lightness: CIE L in [0, 100], float32, (batch, H, W, 1).
        ab: a, b in Lab units and the pixel's weight, float32, (batch, H/4, W/4, 3).
        scene: class index or -1, float32, (batch, 1).
        keys: of the photographs.
    """

    lightness: np.ndarray
    ab: np.ndarray
    scene: np.ndarray
    keys: tuple[str, ...]

    def targets(self) -> dict[str, np.ndarray]:
        """Return the targets by head."""
        return {signature.AB_LOGITS: self.ab, signature.AB: self.ab, signature.SCENE_LOGITS: self.scene}


def decode_photograph(data: bytes) -> np.ndarray:
    """Decode an encoded picture.

    Returns:
        RGB, uint8, (H, W, 3).

    Raises:
        DataError: not a picture, truncated, smaller than 16 px, or larger than OpenCV takes (2^30 pixels).
    """
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error as error:
        raise DataError(f"not decoded: {error.err}") from error
    if bgr is None:
        raise DataError("not a picture")
    if min(bgr.shape[:2]) < MIN_SIDE_PX:
        raise DataError(f"smaller than {MIN_SIDE_PX} px")
    return bgr[..., ::-1]


def is_gray(rgb_u8: np.ndarray) -> bool:
    """Whether a picture, (H, W, 3), has no color at all: its channels are equal everywhere."""
    return bool((rgb_u8[..., 0] == rgb_u8[..., 1]).all() and (rgb_u8[..., 1] == rgb_u8[..., 2]).all())


def render(rgb_u8: np.ndarray, config: DataConfig, rng: np.random.Generator | None) -> tuple[np.ndarray, np.ndarray]:
    """Cut one sample out of a photograph.

    Colors are never altered; only geometry and L are augmented.

    Args:
        rgb_u8: the photograph, uint8, (H, W, 3).
        config: crop and augmentation.
        rng: source of the augmentation; None gives the centered square, unaltered (validation).

    Returns:
        (lightness, ab): float32, (S, S, 1) in [0, 100], and (S/4, S/4, 3): a, b and weight (0 for a gray picture).
    """
    height, width = rgb_u8.shape[:2]
    side, top, left = min(height, width), (height - min(height, width)) // 2, (width - min(height, width)) // 2
    if rng is not None and rng.random() < config.crop_probability:
        side = max(round(side * rng.uniform(config.smallest_crop, 1.0)), MIN_SIDE_PX)
        top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    square = rgb_u8[top : top + side, left : left + side]
    if rng is not None and rng.random() < 0.5:
        square = square[:, ::-1]
    lab = rgb_u8_to_lab(np.ascontiguousarray(square))
    lightness = resize_lightness(np.ascontiguousarray(lab[..., :1]), (config.crop_px, config.crop_px))
    small = config.crop_px // signature.HEAD_STRIDE
    filter_ = cv2.INTER_AREA if side >= small else cv2.INTER_LINEAR
    ab = cv2.resize(np.ascontiguousarray(lab[..., 1:]), (small, small), interpolation=filter_)
    weight = np.full((small, small, 1), float(np.abs(ab).max() > config.gray_chroma), np.float32)
    if rng is not None:
        lightness = augment_lightness(lightness, config, rng)
    return lightness, np.concatenate([ab, weight], axis=-1)


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


class BatchMaker:
    """Makes any batch of a split by its number.

    Attributes:
        refused: photographs that could not be read, with the reason; they count as gray pictures (weight 0).
    """

    def __init__(
        self,
        photographs: PhotographSet,
        chosen: tuple[Photograph, ...],
        config: DataConfig,
        *,
        batch_size: int,
        seed: int | None,
    ) -> None:
        """Prepare the batches of the chosen photographs; `seed` None means fixed order and no augmentation."""
        self._photographs, self._chosen, self._config = photographs, chosen, config
        self._batch_size, self._seed = batch_size, seed
        self._order: tuple[int, np.ndarray] = (-1, np.arange(0))
        self._lock = threading.Lock()
        self.refused: dict[str, str] = {}

    @property
    def steps_per_epoch(self) -> int:
        """How many batches an epoch has; training drops the last incomplete one, validation keeps it."""
        whole, rest = divmod(len(self._chosen), self._batch_size)
        return max(whole, 1) if self._seed is not None else whole + bool(rest)

    def batch(self, step: int) -> Batch:
        """Return batch number `step`, counted from the start of the run."""
        epoch, place = divmod(step, self.steps_per_epoch)
        indices = self._epoch_order(epoch)[place * self._batch_size : (place + 1) * self._batch_size]
        samples = [self._sample(int(index), epoch) for index in indices]
        chosen = [self._chosen[index] for index in indices]
        return Batch(
            lightness=np.stack([lightness for lightness, _ in samples]),
            ab=np.stack([ab for _, ab in samples]),
            scene=np.array([[self._photographs.scene_index(photo)] for photo in chosen], np.float32),
            keys=tuple(photo.key for photo in chosen),
        )

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

    def _sample(self, index: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        photo = self._chosen[index]
        rng = None if self._seed is None else np.random.default_rng((self._seed, epoch, index))
        try:
            return render(decode_photograph(self._photographs.read(photo)), self._config, rng)
        except DataError as error:
            if photo.key not in self.refused:
                log.warning("%s is left out: %s", photo.key, error)
                self.refused[photo.key] = str(error)
            side = self._config.crop_px
            small = side // signature.HEAD_STRIDE
            return np.zeros((side, side, 1), np.float32), np.zeros((small, small, 3), np.float32)


def stream(maker: BatchMaker, start: int, stop: int, *, workers: int, ahead: int = 4) -> Iterator[Batch]:
    """Yield batches start..stop-1 in order, made ahead of time by threads; memory is bounded by `ahead` batches.

    Args:
        maker: makes the batches.
        start: number of the first batch.
        stop: one past the last.
        workers: threads; decoding and color conversion release the interpreter lock.
        ahead: batches kept ready beyond those in work.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="batches") as pool:
        pending: deque[Future[Batch]] = deque()
        upcoming = iter(range(start, stop))
        try:
            for step in upcoming:
                pending.append(pool.submit(maker.batch, step))
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

    Gray pictures do not count, as they do not train.

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
