"""The same photograph at 200, 500, 1000 and 4000 px: how far apart are the colors that the service gives it?

Each photograph is resized to each long side (enlarged where it is smaller) and goes as JPEG bytes through the service's
own code (probe, decode, network, compose) at the defaults. The answers are compared at the smallest size, pair by pair:
mean CIEDE2000 over pixels, then over photographs. The worst pair counts.

    python benchmarks/size_consistency.py [PICTURES] [--model FILE] [--rounds 20] [--output sizes.json]

Exit status 1 if the worst pair of sizes is further apart than 3.
"""

import argparse
import json
import sys
from itertools import combinations
from pathlib import Path
from typing import Final

import cv2
import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from chroma.lab import rgb_u8_to_lab  # noqa: E402 - the project need not be installed
from chroma.quality import delta_e_2000  # noqa: E402
from service.engine.colorizer import colorize  # noqa: E402
from service.engine.options import Options  # noqa: E402
from service.engine.session import Session, shipped_model  # noqa: E402
from service.pictures.decode import decode, prepare_codecs  # noqa: E402
from service.pictures.probe import probe  # noqa: E402

LONG_SIDES_PX: Final = (200, 500, 1000, 4000)
MOST_DELTA_E: Final = 3.0
JPEG_QUALITY: Final = 95
MOST_MEGAPIXELS: Final = 64.0


def sized(bgr: np.ndarray, long_side: int) -> bytes:
    """Return a photograph, uint8, (H, W, 3), as a JPEG of a long side, px."""
    factor = long_side / max(bgr.shape[:2])
    shape = max(round(bgr.shape[1] * factor), 1), max(round(bgr.shape[0] * factor), 1)
    resized = cv2.resize(bgr, shape, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)
    return cv2.imencode(".jpg", resized, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()


def colors(data: bytes, session: Session, shape: tuple[int, int] | None) -> np.ndarray:
    """Return the service's answer to a file in CIE Lab, reduced to a shape (H, W) by area mean."""
    picture = decode(data, probe(data, max_megapixels=MOST_MEGAPIXELS))
    rgb = colorize(picture, Options(), session, deep=False, workers=session.threads).rgb
    if shape is not None:
        rgb = cv2.resize(rgb, shape[::-1], interpolation=cv2.INTER_AREA)
    return rgb_u8_to_lab(rgb)


def differences(bgr: np.ndarray, session: Session) -> tuple[dict[str, float], dict[str, float]]:
    """Return the mean CIEDE2000 and the mean ab distance, Lab units, of each pair of sizes."""
    answers: dict[int, np.ndarray] = {}
    for side in LONG_SIDES_PX:
        smallest = answers.get(LONG_SIDES_PX[0])
        answers[side] = colors(sized(bgr, side), session, None if smallest is None else smallest.shape[:2])
    pairs = list(combinations(LONG_SIDES_PX, 2))
    delta_e = {f"{a} and {b} px": float(delta_e_2000(answers[a], answers[b]).mean()) for a, b in pairs}
    distance = {
        f"{a} and {b} px": float(np.hypot(*np.moveaxis((answers[a] - answers[b])[..., 1:], -1, 0)).mean())
        for a, b in pairs
    }
    return delta_e, distance


def main() -> int:
    """Measure, print and write the result; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("pictures", type=Path, nargs="?", default=ROOT / "tests" / "data", help="folder")
    parser.add_argument("--model", type=Path, help="ONNX file; default the shipped one")
    parser.add_argument("--rounds", type=int, help="look at so many photographs, spread over the folder; default all")
    parser.add_argument("--output", type=Path, help="write the result to this file, too")
    options = parser.parse_args()

    prepare_codecs()
    session = Session(options.model or shipped_model(), device="cpu")
    read = {path.name: cv2.imread(str(path)) for path in sorted(options.pictures.iterdir()) if path.is_file()}
    names = [name for name, bgr in read.items() if bgr is not None]
    if not names:
        parser.error(f"no photographs in {options.pictures}")
    if options.rounds:
        names = [names[i] for i in np.unique(np.linspace(0, len(names) - 1, options.rounds).round().astype(int))]
    measured = {name: differences(read[name], session) for name in names}

    pairs = list(measured[names[0]][0])
    delta_e = {pair: float(np.mean([by_pair[pair] for by_pair, _ in measured.values()])) for pair in pairs}
    distance = {pair: float(np.mean([by_pair[pair] for _, by_pair in measured.values()])) for pair in pairs}
    furthest = {name: max(by_pair.values()) for name, (by_pair, _) in measured.items()}
    worst = max(furthest, key=lambda name: furthest[name])
    result = {
        "pictures": len(names),
        "model": session.stamp.run_id,
        "inference_size_px": session.stamp.size,
        "delta_e": {pair: round(value, 2) for pair, value in delta_e.items()},
        "ab_distance": {pair: round(value, 2) for pair, value in distance.items()},
        "delta_e_worst_pair": round(max(delta_e.values()), 2),
        "delta_e_wanted": MOST_DELTA_E,
        "worst_picture": {"name": worst, "delta_e": round(furthest[worst], 2)},
        "pictures_above_wanted": sum(value > MOST_DELTA_E for value in furthest.values()),
        "kept": {"same_colors": max(delta_e.values()) <= MOST_DELTA_E},
    }
    text = json.dumps(result, indent=2) + "\n"
    sys.stdout.write(text)
    if options.output:
        options.output.write_text(text)
    return 0 if max(delta_e.values()) <= MOST_DELTA_E else 1


if __name__ == "__main__":
    sys.exit(main())
