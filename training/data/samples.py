"""Photographs -> samples: decoded, cut to a square, changed in lightness alone; without any deep-learning framework."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from chroma import signature
from chroma.framing import resize_lightness
from chroma.lab import rgb_u8_to_lab
from training import DataError
from training.config import DataConfig
from training.data import mounts, plates
from training.data.photographs import Photograph, PhotographSet
from training.data.pictures import MIN_SIDE_PX, decode_photograph

SOMETIMES: Final = 0.25
"""How often noise and blur are added, where the recipe has them."""

LABEL_ASPECT: Final = 0.02
"""How much a label map's proportions may differ from its photograph's."""

UNLABELED: Final = 255
"""What a label map has where nobody said what is there."""


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
class SampleTask:
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
    """What comes of a `SampleTask`.

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


def make_samples(task: SampleTask, photographs: PhotographSet) -> Samples:
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
