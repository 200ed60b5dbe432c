"""Regions against masks that people drew: overlap after one, two and three clicks that are placed by rule.

    python benchmarks/regions.py FOLDER                    # the first 100 objects of val2017
    python benchmarks/regions.py FOLDER --fit OUT.npz      # fits the small network to split train, measures split val

To measure, FOLDER has the layout of COCO's panoptic masks: `images/val2017/*.jpg` and, in the folder
`panoptic_segmentation/annotations/`, `panoptic_val2017.json` and the folder `panoptic_val2017` of PNGs. The first 128
photographs are enough, such as the repository lightly-ai/coco128_yolo on GitHub has them, 45 MB. COCO only judges;
nothing is fitted to it. To fit, or to measure on other objects, FOLDER has `images/SPLIT/NAME.*` and
`masks/SPLIT/NAME.png`, gray: 0 is the ground, each other value an object. Of each photograph the two largest things
count that cover 2 to 50 % of it. The photographs are made gray first.

The first click is at the mask's inner center, each further one at that of the largest error, adding or taking away;
every click has the smallest radius. So does the literature on interactive segmentation measure (Xu and others, "Deep
Interactive Object Selection", CVPR 2016), but for what is judged: it counts clicks up to 20, we look at three.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.region_fit.clicks import Thing, click, next_click, overlap
from chroma.bins import load_centers
from chroma.decoding import softmax
from chroma.regions import grow, survey
from service.engine.colorizer import prepare
from service.engine.options import Options
from service.engine.session import Session, shipped_model
from service.pictures.decode import Picture

CLICKS = 3
LEAST_IOU = 0.7
"""After the last click, half of the objects."""
LEAST, MOST = 0.02, 0.5
THINGS_EACH = 2
FIT_SIZES = ((480, 640), (640, 480))
"""Photographs to fit to are squeezed to one of these, height and width in px, so that grids make batches."""


def things_of(folder: Path, split: str, most: int, *, squeeze: bool = False) -> Iterator[Thing]:
    """Yield objects in the order of the files, the photographs perhaps squeezed to `FIT_SIZES`."""
    session = Session(shipped_model(), device="cpu", threads=1)
    count = 0
    for photograph, masks in (
        _plain(folder, split) if (folder / "masks").is_dir() else _panoptic(folder, f"{split}2017")
    ):
        chosen = [mask for mask in masks if LEAST * mask.size <= np.count_nonzero(mask) <= MOST * mask.size]
        chosen.sort(key=lambda mask: -np.count_nonzero(mask))
        if not chosen:
            continue
        gray = cv2.imread(str(photograph), cv2.IMREAD_GRAYSCALE)
        if squeeze:
            height, width = FIT_SIZES[gray.shape[0] > gray.shape[1]]
            gray = cv2.resize(gray, (width, height), interpolation=cv2.INTER_AREA)
        prepared = prepare(Picture(gray), Options(), session.stamp)
        logits = session.run([prepared.query])[0]["ab_logits"]
        ground = survey(prepared.L[:], softmax(logits) @ load_centers(), logits)
        for inside in chosen[:THINGS_EACH]:
            mask = cv2.resize(inside.astype(np.float32), ground.L.shape[::-1], interpolation=cv2.INTER_AREA) > 0.5
            if count == most:
                return
            if mask.any():
                count += 1
                yield Thing(photograph.name, ground, mask, logits.astype(np.float16))


def _plain(folder: Path, split: str) -> Iterator[tuple[Path, list[np.ndarray]]]:
    for path in sorted((folder / "masks" / split).glob("*.png")):
        values = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        (photograph,) = (folder / "images" / split).glob(f"{path.stem}.*")
        yield photograph, [values == value for value in np.unique(values[values > 0])]


def _panoptic(folder: Path, split: str) -> Iterator[tuple[Path, list[np.ndarray]]]:
    annotations = folder / "panoptic_segmentation" / "annotations"
    told = json.loads((annotations / f"panoptic_{split}.json").read_text())
    categories = {category["id"] for category in told["categories"] if category["isthing"]}
    names = {image["id"]: image["file_name"] for image in told["images"]}
    for entry in told["annotations"]:
        blue, green, red = np.moveaxis(
            cv2.imread(str(annotations / f"panoptic_{split}" / entry["file_name"])).astype(int), -1, 0
        )
        ids = red + 256 * green + 65536 * blue
        things = (part for part in entry["segments_info"] if part["category_id"] in categories and not part["iscrowd"])
        masks = [ids == part["id"] for part in sorted(things, key=lambda part: part["id"])]
        yield folder / "images" / split / names[entry["image_id"]], masks


def measure(things: list[Thing], grow_one=grow) -> np.ndarray:
    """Return the overlap of each object after each click, (N, CLICKS)."""
    rows = []
    for thing in things:
        marks, row = [click(thing.mask, takes_away=False)], []
        while len(row) < CLICKS:
            found = grow_one(thing.ground, marks) > 0.5
            row.append(overlap(thing.mask, found))
            mark = next_click(thing.mask, found)
            if mark is None:
                row += [row[-1]] * (CLICKS - len(row))
            else:
                marks.append(mark)
        rows.append(row)
    return np.array(rows)


def made_up(folder: Path) -> Path:
    """Make a folder of two photographs of a bright disc and a dark one, for a run that has no masks of people."""
    for kind in ("images", "masks"):
        (folder / kind / "val").mkdir(parents=True)
    rows, columns = np.mgrid[:240, :320]
    for name, level, center in (("bright", 200, 110), ("dark", 40, 210)):
        disc = (rows - 120) ** 2 + (columns - center) ** 2 < 60**2
        cv2.imwrite(
            str(folder / "images" / "val" / f"{name}.png"), np.where(disc, level, 90 + columns // 8).astype(np.uint8)
        )
        cv2.imwrite(str(folder / "masks" / "val" / f"{name}.png"), disc.astype(np.uint8))
    return folder


def main() -> int:
    """Measure, or fit and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="default: two discs, which judge nothing")
    parser.add_argument("--fit", type=Path, metavar="OUT.npz")
    parser.add_argument("--rounds", type=int, default=3, help="of fitting")
    parser.add_argument("--objects", type=int, default=100)
    parser.add_argument("--output", type=Path, help="write the result to this file, too")
    given = parser.parse_args()
    if given.fit:
        if given.folder is None or not (given.folder / "masks").is_dir():
            parser.error("--fit needs a folder that has a folder 'masks'; COCO only judges")
        from benchmarks.region_fit.fitting import fit

        fit(list(things_of(given.folder, "train", 10_000, squeeze=True)), given.fit, given.rounds)
    with tempfile.TemporaryDirectory() as made:
        things = list(things_of(given.folder or made_up(Path(made)), "val", given.objects))
    begun = time.process_time()
    found = measure(things)
    each_ms = (time.process_time() - begun) / found.size * 1000
    medians = [round(float(median), 3) for median in np.median(found, axis=0)]
    result: dict[str, Any] = {
        "benchmark": "regions",
        "objects": len(found),
        "photographs": len({thing.name for thing in things}),
        "ms_a_click": round(each_ms, 1),
        "median_iou_by_clicks": medians,
        "median_iou_best": round(float(np.median(found.max(axis=1))), 3),
        "share_of_objects_at_bar": round(float((found[:, -1] >= LEAST_IOU).mean()), 2),
        "kept": {"iou": medians[-1] >= LEAST_IOU} if given.folder else {},
    }
    text = json.dumps(result, indent=2)
    print(text)  # noqa: T201
    if given.output:
        given.output.write_text(text + "\n")
    return 0 if all(result["kept"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
