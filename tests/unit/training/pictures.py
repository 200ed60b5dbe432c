"""Small synthetic photographs for the tests of training: colored, noisy, each one different, made from a seed."""

import csv
import io
import zipfile
from pathlib import Path

import cv2
import numpy as np

COLUMNS = ("key", "shard", "split", "dataset", "scene", "scene_coarse")


def landscape(seed: int, height: int = 72, width: int = 96) -> np.ndarray:
    """A sky over a meadow with a colored disk before them; RGB, uint8, (height, width, 3)."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    horizon = height * rng.uniform(0.3, 0.7)
    sky = np.array([90, 150, 235]) * (0.7 + 0.3 * rows / height)[..., None]
    meadow = np.array([70, 140, 50]) * (0.6 + 0.4 * columns / width)[..., None]
    picture = np.where((rows < horizon)[..., None], sky, meadow)
    center = rng.uniform(0.2, 0.8, 2) * (height, width)
    disk = np.hypot(rows - center[0], columns - center[1]) < rng.uniform(0.1, 0.25) * height
    picture[disk] = rng.integers(30, 256, 3)
    picture += rng.normal(0, 6, (height, width, 1))
    return np.clip(picture, 0, 255).astype(np.uint8)


def scene(seed: int, height: int = 72, width: int = 96) -> np.ndarray:
    """A landscape with a red and a skin-colored patch; RGB, uint8, (height, width, 3)."""
    picture = landscape(seed, height, width)
    picture[:12, :12], picture[12:24, :12] = (200, 40, 40), (205, 160, 130)
    return picture


def encode(rgb_u8: np.ndarray, suffix: str = ".jpg") -> bytes:
    """RGB, uint8 -> an encoded picture."""
    done, data = cv2.imencode(suffix, np.ascontiguousarray(rgb_u8[..., ::-1]))
    assert done
    return data.tobytes()


def write_folder(folder: Path, count: int) -> Path:
    """Write a plain folder of `count` JPEG pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(count):
        (folder / f"{seed:03}.jpg").write_bytes(encode(landscape(seed)))
    return folder


def write_plates(folder: Path, count: int) -> Path:
    """Write scenes as `training.judge.plate_scenes` reads them: each plate saw one channel; boxes round all."""
    names = [f"scene{seed}" for seed in range(count)]
    for kind in ("truth", "ortho", "blue"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(names):
        truth = scene(seed)
        gray = {"ortho": truth[..., 1], "blue": truth[..., 2]}
        (folder / "truth" / f"{name}.png").write_bytes(encode(truth, ".png"))
        for plate, channel in gray.items():
            (folder / plate / f"{name}.png").write_bytes(encode(np.repeat(channel[..., None], 3, axis=-1), ".png"))
    rows = ["name,sector,x0,y0,x1,y1", *(f"{name},skin,0,0,1,.9" for name in names), f"{names[0]},wood,0,.9,1,1"]
    (folder / "boxes.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def write_shards(
    folder: Path, *, train: int, val: int, broken: tuple[str, ...] = (), columns: tuple[str, ...] = COLUMNS
) -> Path:
    """Write two zip shards and labels.csv; pictures named in `broken` are no pictures.

    Keys are train000... and val000...; scenes alternate between meadow, beach and unknown.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for split, count in (("train", train), ("val", val)):
        with zipfile.ZipFile(folder / f"{split}-0000.zip", "w") as shard:
            for place in range(count):
                key = f"{split}{place:03}"
                seed = place + 1000 * (split == "val")
                shard.writestr(f"{key}.jpg", b"no picture" if key in broken else encode(landscape(seed)))
                scene = ("meadow", "beach", "")[place % 3]
                rows.append((key, f"{split}-0000.zip", split, ("day", "night")[place % 2], scene, scene and "nature"))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(dict(zip(COLUMNS, row, strict=True)) for row in rows)
    (folder / "labels.csv").write_text(text.getvalue(), encoding="utf-8")
    return folder
