"""Colors scenes of known color from what old plates saw of them, and writes docs/old-plates.md.

    python tools/site/make_old_plates.py --plates PLATES                                     # by the shipped model
    python tools/site/make_old_plates.py --plates PLATES --model NEW.onnx --before OLD.onnx  # beside a former one

PLATES is a folder as `training.judge.plate_scenes` describes it. The pictures of `SCENES` are colored as the service
does, at its default setting; the figures are of all scenes, in the terms of `photochrom-train evaluate --protocol
plates`. What stands on the page outside the marks is written by hand and stays.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from chroma.compose import compose_u8  # noqa: E402 - the project need not be installed
from chroma.emulsions import PAN  # noqa: E402
from chroma.lab import rgb_u8_to_lightness  # noqa: E402
from service.engine.colorizer import finish, prepare  # noqa: E402
from service.engine.options import Options  # noqa: E402
from service.engine.session import Session, shipped_model  # noqa: E402
from service.errors import ServiceError  # noqa: E402
from service.pictures.decode import Picture  # noqa: E402
from training import DataError  # noqa: E402
from training.data.photographs import SUFFIXES  # noqa: E402
from training.judge.judging import Tally, Truth, TruthSums, squash  # noqa: E402
from training.judge.plate_scenes import PLATES, SEEN, TRUTH, read_boxes, read_plates  # noqa: E402
from training.judge.scorecard import PLATE_COLUMNS, SCORES  # noqa: E402

PAGE: Final = ROOT / "docs" / "old-plates.md"
PICTURES: Final = ROOT / "docs" / "images" / "old-plates"
START: Final = "<!-- scenes: start, written by tools/site/make_old_plates.py -->"
END: Final = "<!-- scenes: end -->"
SCENES: Final = {
    "pg_1755": "Two men before a yurt",
    "pg_732": "A woman breaking flax",
    "pg_1868": "A man in a brocade coat",
    "pg_721": "A log house",
    "pg_410": "Flowers in the grass",
    "pg_395": "A red house at a lake",
    "pg_538": "A church behind trees",
    "pg_1224": "A gate with blue tiles",
}
"""Shown, by the name of their file without its suffix: people, wood, reds, foliage, masonry."""
OURS: Final = "ours"
BEFORE: Final = "before"
GRAY: Final = "do nothing (gray)"
TILE_WIDTH_PX: Final = 232
GAP_PX: Final = 4
QUALITY: Final = 80


def read_scene(truth: Path) -> dict[str, np.ndarray]:
    """Read a scene: its truth, sRGB, uint8, (H, W, 3), and what each plate saw, gray, uint8, (H, W), by name.

    Raises:
        DataError: a picture is missing or broken.
    """
    pictures = read_plates(truth)
    return {TRUTH: pictures[TRUTH]} | seen_by_plates(pictures)


def seen_by_plates(pictures: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what each plate saw, gray, uint8, (H, W), from pictures as `read_plates` gives them."""
    colors = {PAN: pictures[TRUTH]} | {plate: pictures[plate] for plate in SEEN}
    return {plate: to_gray(colors[plate]) for plate in PLATES}


def to_gray(rgb_u8: np.ndarray) -> np.ndarray:
    """Return the gray picture of the same L, uint8, (H, W)."""
    return compose_u8(rgb_u8_to_lightness(rgb_u8), np.zeros((1, 1, 2), np.float32))[..., 0].copy()


def color(gray: np.ndarray, session: Session, truth: np.ndarray | None = None) -> np.ndarray:
    """Color a picture at the default setting as the service does.

    Args:
        gray: uint8, (H, W).
        session: the model.
        truth: sRGB, uint8, (H, W, 3), whose L the answer gets, so that only its color is judged; None for its own.

    Returns:
        sRGB, uint8, (H, W, 3).
    """
    prepared = prepare(Picture(gray), Options(), session.stamp)
    heads = session.run([prepared.query])[0]
    if truth is not None:
        prepared = replace(prepared, L=rgb_u8_to_lightness(truth))
    return finish(prepared, heads, session.stamp).rgb


def draw_scene(scene: Mapping[str, np.ndarray], sessions: Mapping[str, Session]) -> np.ndarray:
    """Draw a scene as rows of tiles on a transparent ground.

    Args:
        scene: from `read_scene`.
        sessions: the models, by what they are called.

    Returns:
        sRGB and alpha, uint8, (h, w, 4): the truth on the left; beside it the plates, and below them a row of answers
        a model.
    """
    rows = [[np.repeat(scene[plate][..., None], 3, axis=-1) for plate in PLATES]]
    rows += [[color(scene[plate], session) for plate in PLATES] for session in sessions.values()]
    height, width = scene[TRUTH].shape[:2]
    size = (TILE_WIDTH_PX, max(round(height * TILE_WIDTH_PX / width), 1))
    right, down = (side + GAP_PX for side in size)
    sheet = np.zeros((len(rows) * down - GAP_PX, (1 + len(PLATES)) * right - GAP_PX, 4), np.uint8)

    def paste(picture: np.ndarray, top: int, left: int) -> None:
        place = sheet[top : top + size[1], left : left + size[0]]
        place[..., :3] = cv2.resize(np.ascontiguousarray(picture), size, interpolation=cv2.INTER_AREA)
        place[..., 3] = 255

    paste(scene[TRUTH], (len(sheet) - size[1]) // 2, 0)
    for row, pictures in enumerate(rows):
        for column, picture in enumerate(pictures, start=1):
            paste(picture, row * down, column * right)
    return sheet


def measure(folder: Path, sessions: Mapping[str, Session]) -> tuple[int, dict[str, dict[str, float]]]:
    """Score every scene of a folder through each plate.

    Args:
        folder: as `training.judge.plate_scenes` describes it.
        sessions: the models, by what they are called.

    Returns:
        How many scenes, and the scores by row: gray, and each model through each plate.

    Raises:
        DataError: there are no scenes, or a picture or the boxes cannot be read.
    """
    paths = sorted(path for path in (folder / TRUTH).glob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise DataError(f"no scenes in {folder / TRUTH}")
    boxes, sums = read_boxes(folder), TruthSums()
    names = [(who, plate) for who in sessions for plate in PLATES]
    tallies = {GRAY: Tally(full=False)} | {f"{who}, {plate} plate": Tally(full=False) for who, plate in names}
    alike = np.ones(1 << 16)  # no rebalancing: that score is not shown
    for path in paths:
        pictures = {name: squash(picture) for name, picture in read_plates(path).items()}
        gray, rgb_u8 = seen_by_plates(pictures), pictures[TRUTH]
        truth = Truth.of(rgb_u8, alike, boxes.get(path.stem, ()))
        sums.add(truth)
        tallies[GRAY].add(np.repeat(gray[PAN][..., None], 3, axis=-1), truth)
        for who, plate in names:
            tallies[f"{who}, {plate} plate"].add(color(gray[plate], sessions[who], rgb_u8), truth)
    return len(paths), {name: tally.result(sums) for name, tally in tallies.items()}


def make_page(folder: Path, sessions: Mapping[str, Session], page: Path, pictures: Path) -> None:
    """Write the pictures of `SCENES` and the part of the page between the marks.

    Args:
        folder: as `training.judge.plate_scenes` describes it.
        sessions: the models, by what they are called, ours first.
        page: Markdown file with the marks.
        pictures: folder for the pictures, made if missing; those of other scenes are removed.

    Raises:
        DataError: a scene cannot be read, or the page lacks the marks.
        OSError: the disk refuses.
    """
    head, start, rest = page.read_text(encoding="utf-8").partition(START)
    _, end, tail = rest.partition(END)
    if not (start and end):
        raise DataError(f"{page} must hold the lines {START} and {END}")
    drawn = {}
    for name in SCENES:
        path = next(iter((folder / TRUTH).glob(f"{name}.*")), folder / TRUTH / f"{name}.jpg")
        bgra = cv2.cvtColor(draw_scene(read_scene(path), sessions), cv2.COLOR_RGBA2BGRA)
        drawn[name] = cv2.imencode(".webp", bgra, [cv2.IMWRITE_WEBP_QUALITY, QUALITY])[1].tobytes()
    said = render(*measure(folder, sessions), sessions, pictures.relative_to(page.parent).as_posix())
    pictures.mkdir(parents=True, exist_ok=True)
    for name, data in drawn.items():
        (pictures / f"{name}.webp").write_bytes(data)
    for path in pictures.glob("*.webp"):
        if path.stem not in SCENES:
            path.unlink()
    page.write_text(f"{head}{START}\n{said}{END}{tail}", encoding="utf-8")


def render(scenes: int, rows: Mapping[str, Mapping[str, float]], sessions: Mapping[str, Session], link: str) -> str:
    """Return what stands between the marks."""
    models = "; ".join(f"{who}: `{one.stamp.run_id}` (sha256 {one.digest[:12]})" for who, one in sessions.items())
    former = " Below them: answers of the former model." if BEFORE in sessions else ""
    lines = [f"Models, at the default setting: {models}.{former}", ""]
    for name, title in SCENES.items():
        lines += [f"**{title}**", "", f"![truth, plates, answers]({link}/{name}.webp)", ""]
    headings = [SCORES[name].heading for name in PLATE_COLUMNS]
    lines += [f"{scenes} scenes, squashed to 256 x 256, the truth's L put back:", ""]
    lines += [f"| | {' | '.join(headings)} |", "| --- |" + " ---: |" * len(headings)]
    for name, row in rows.items():
        cells = [format(row[score], SCORES[score].form) if score in row else "" for score in PLATE_COLUMNS]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the page; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--plates", type=Path, required=True, help="folder with truth, ortho, blue and boxes.csv")
    parser.add_argument("--model", type=Path, help="ONNX file; default the shipped one")
    parser.add_argument("--before", type=Path, help="ONNX file of the former model; left out, there is none")
    parser.add_argument("--page", type=Path, default=PAGE, help="Markdown file with the marks")
    parser.add_argument("--pictures", type=Path, default=PICTURES, help="folder of the pictures, beside the page")
    options = parser.parse_args(arguments)
    try:
        models = {OURS: options.model or shipped_model(), BEFORE: options.before}
        sessions = {who: Session(path, device="cpu") for who, path in models.items() if path is not None}
        make_page(options.plates, sessions, options.page, options.pictures)
    except (DataError, OSError, ServiceError) as error:
        sys.stderr.write(f"{getattr(error, 'detail', error)}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
