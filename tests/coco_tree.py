"""A miniature COCO-Stuff, laid out as the real one is after unpacking: photographs, label maps, scene probabilities.

Each photograph is a sky over a meadow with a ball, each one different, and its label map says where they are, in the
numbers of COCO-Stuff. Every third one is upright. One has no label map and one no scenes, as the real set has gaps.
"""

import csv
import io
from pathlib import Path

import cv2
import numpy as np

SKY, GRASS, BALL, UNLABELED = 156, 123, 36, 255
"""Values in label maps of COCO-Stuff, which are its class numbers less one; 182 classes in all."""
CLASSES = 182
SCENES = ("ball park", "beach", "field", "golf course", "sky")


def picture_and_labels(seed: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a photograph, RGB uint8 (height, width, 3), and its label map, uint8 (height, width)."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    is_sky = rows < height * rng.uniform(0.3, 0.7)
    sky = np.array([90, 150, 235]) * (0.7 + 0.3 * rows / height)[..., None]
    meadow = np.array([70, 140, 50]) * (0.6 + 0.4 * columns / width)[..., None]
    picture = np.where(is_sky[..., None], sky, meadow)
    labels = np.where(is_sky, SKY, GRASS).astype(np.uint8)
    center = rng.uniform(0.25, 0.75, 2) * (height, width)
    distance = np.hypot(rows - center[0], columns - center[1])
    radius = rng.uniform(0.1, 0.25) * min(height, width)
    picture[distance < radius] = rng.integers(30, 256, 3)
    labels[distance < radius] = BALL
    labels[np.abs(distance - radius) < 1.5] = UNLABELED
    picture += rng.normal(0, 6, (height, width, 1))
    return np.clip(picture, 0, 255).astype(np.uint8), labels


def make_coco_stuff(folder: Path, *, train: int = 12, val: int = 6, size: int = 96) -> Path:
    """Write the tree.

    Args:
        folder: made if missing.
        train: photographs in train2017.
        val: photographs in val2017.
        size: of the long side, px; the short one is three quarters of it.

    Returns:
        The folder: train2017, val2017, stuffthingmaps and scenes.csv.
    """
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(("key", "scene", "probability"))
    for split, count, first in (("train2017", train, 9), ("val2017", val, 139)):
        photographs, maps = folder / split, folder / "stuffthingmaps" / split
        photographs.mkdir(parents=True, exist_ok=True)
        maps.mkdir(parents=True, exist_ok=True)
        for place in range(count):
            shape = (size, size * 3 // 4) if place % 3 == 2 else (size * 3 // 4, size)
            picture, labels = picture_and_labels(first + 1000 * place, *shape)
            name = f"{first + 7 * place:012}"
            cv2.imwrite(str(photographs / f"{name}.jpg"), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
            if place != 4:
                cv2.imwrite(str(maps / f"{name}.png"), labels)
            if place != 3:
                shares = np.random.default_rng(place).dirichlet(np.ones(len(SCENES)))
                key = f"{split}/{name}.jpg"
                writer.writerows((key, scene, f"{share:.4f}") for scene, share in zip(SCENES, shares, strict=True))
    (folder / "scenes.csv").write_text(table.getvalue(), encoding="utf-8")
    return folder
