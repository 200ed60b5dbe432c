"""How fast is a film colored, and does that cost color? The default beside a look at each frame and at each third.

No freely licensed film is at hand, so one is made: a camera moves over three free photographs, with three cuts, grain,
light that pumps, and a figure that walks by twice; at 640 x 480 and at 1920 x 1080. In each round every way colors it
once, in a process of its own, one after the other, in another order each time. Judged are the finished files: frames a
second, the change of ab between frames on static regions (`chroma.flicker.flicker`), and on regions that move the mean
distance of Lab, as means of 4 x 4 px, to the film in which each frame is colored by itself.

    python benchmarks/film_speed.py [--before FOLDER] [--seconds 10] [--rounds 3] [--sizes 480 1080] [--output FILE]

`--before` names a checkout of other code, by which the ways that are beaten are run then; otherwise they are `--every
1` and `--every 3` of this one, with the encoder's preset that there was. Exit status 1 if a bound does not hold.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import av
import cv2
import numpy as np

ROOT = Path(__file__).parents[1]
CHILD: Final = "--color-one"
if CHILD not in sys.argv:
    sys.path.insert(0, str(ROOT))  # A child finds the code that it is to run by PYTHONPATH.

from chroma.flicker import BLOCK_PX, STATIC_L, flicker  # noqa: E402 - the project need not be installed
from chroma.lab import rgb_u8_to_lab  # noqa: E402
from service.archive.film import color_film  # noqa: E402
from service.archive.film_file import FilmOptions  # noqa: E402
from service.engine.options import Options  # noqa: E402
from service.engine.session import Session, shipped_model  # noqa: E402

RATE: Final = 24
SIZES: Final = {480: (480, 640), 1080: (1080, 1920)}
FASTER: Final = {480: {"each frame": 2.5, "each third": 1.6}, 1080: {"each frame": 2.0}}
"""Least ratio of frames a second, by rows."""
MOST_FLICKER: Final = 1.02
"""Of that of a look at each frame; `film_flicker.py` has the bound beside frame by frame."""
MOST_FARTHER: Final = 0.3
"""Most by which colors where something moves may be farther from frame by frame than those of each third, Lab units."""
DEFAULT, SINGLE, EACH, THIRD = "default", "frame by frame", "each frame", "each third"
WAYS: Final[dict[str, dict[str, Any]]] = {
    SINGLE: {"memory_s": 0, "every": 1},
    EACH: {"every": 1},
    THIRD: {"every": 3},
    DEFAULT: {},
}


def make_clip(path: Path, size: tuple[int, int], seconds: float) -> list[int]:
    """Write the clip; return the indices of the first frames of its further scenes."""
    from tests import films

    coffee, cat, astronaut = (films.photograph(photograph) for photograph in films.PHOTOGRAPHS)
    lengths = [round(seconds * RATE * share) for share in (0.25, 0.3, 0.2, 0.25)]

    def scenes() -> Iterator[np.ndarray]:
        first, second, third, fourth = lengths
        yield from films.camera(coffee, first, size=size, pan=(0.2, 0.05))
        yield from films.with_walker(films.camera(cat, second, size=size, pan=(-0.1, 0.05), zoom=1.0), second)
        yield from films.camera(astronaut, third, size=size, pan=(0.1, -0.1), zoom=1.3)
        still = films.camera(np.ascontiguousarray(coffee[:, ::-1]), fourth, size=size, pan=(0.0, 0.0), zoom=1.0)
        yield from films.with_walker(still, fourth)

    options = {"crf": "16", "preset": "superfast"}
    films.write_film(path, films.aged(films.gray(scenes())), rate=RATE, audio="aac", seconds=seconds, options=options)
    return [int(begin) for begin in np.cumsum(lengths)[:-1]]


def color_one(clip: str, answer: str, model: str, how: str) -> None:
    """Color the clip once, and print what it took; in a process of its own."""
    session = faster(Session(Path(model), device="cpu"))
    session.warm_up()
    begun, begun_cpu = time.perf_counter(), _cpu_s()
    done = color_film(Path(clip), Path(answer), session, Options(), FilmOptions(**json.loads(how)), max_megapixels=50)
    took = {"s": time.perf_counter() - begun, "cpu_s": _cpu_s() - begun_cpu}
    took["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(json.dumps({**took, "frames": done.frames, "inferences": done.inferences, "cuts": done.cuts}))


def faster(session: Session) -> Session:
    """Return the model in the precision that the command line takes by itself; code of before knows one alone."""
    try:
        from service.engine.precision import find_faster
    except ImportError:
        return session
    return find_faster(session).session


def _cpu_s() -> float:
    used = os.times()
    return used.user + used.system


def blocks_of(path: Path) -> Iterator[np.ndarray]:
    """Yield the frames of a film as CIE Lab, means of blocks."""
    with av.open(str(path)) as film:
        for frame in film.decode(video=0):
            lab = rgb_u8_to_lab(frame.to_ndarray(format="rgb24"))
            yield cv2.resize(lab, (lab.shape[1] // BLOCK_PX, lab.shape[0] // BLOCK_PX), interpolation=cv2.INTER_AREA)


def moving_distance(film: list[np.ndarray], single: list[np.ndarray], cuts: list[int]) -> float:
    """Return the mean distance of Lab to the film colored frame by frame, where something moves."""
    total, count = 0.0, 0
    for index, (before, now) in enumerate(pairwise(single), 1):
        step = now[..., 0] - before[..., 0]
        moves = np.abs(step - np.median(step)) >= STATIC_L
        if index not in cuts and moves.any():
            total += float(np.linalg.norm(film[index] - single[index], axis=-1)[moves].sum())
            count += int(moves.sum())
    return total / max(count, 1)


def measure(rows: int, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Color films of one size in every way; return what was found."""
    clip = folder / f"clip-{rows}.mp4"
    cuts = make_clip(clip, SIZES[rows], options.seconds)
    runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for turn in range(options.rounds):
        ways = list(WAYS) if turn == 0 else [way for way in WAYS if way != SINGLE]
        for way in ways if turn % 2 == 0 else reversed(ways):
            is_old = way != DEFAULT and options.before is not None
            how = {**WAYS[way], **({} if is_old or way == DEFAULT else {"preset": "medium"})}
            code = str(options.before.resolve() if is_old else ROOT)
            arguments = [clip, folder / f"{rows}-{way.replace(' ', '-')}.mp4", options.model, json.dumps(how)]
            done = subprocess.run(
                [sys.executable, str(Path(__file__).resolve()), CHILD, *map(str, arguments)],
                env={**os.environ, "PYTHONPATH": code},
                check=True,
                stdout=subprocess.PIPE,
            )
            runs[way].append(json.loads(done.stdout))
            sys.stderr.write(json.dumps({str(rows): {way: runs[way][-1]}}) + "\n")
    single = list(blocks_of(folder / f"{rows}-{SINGLE.replace(' ', '-')}.mp4"))
    found: dict[str, Any] = {"frames": len(single), "cuts": cuts, "ways": {}}
    for way, each in runs.items():
        film = list(blocks_of(folder / f"{rows}-{way.replace(' ', '-')}.mp4"))
        found["ways"][way] = {
            "frames_a_second": [round(run["frames"] / run["s"], 2) for run in each],
            "cpu_ms_a_frame": [round(run["cpu_s"] / run["frames"] * 1e3, 1) for run in each],
            "peak_mb": max(round(run["peak_mb"]) for run in each),
            "inferences": each[0]["inferences"],
            "cuts": each[0]["cuts"],
            "bytes": (folder / f"{rows}-{way.replace(' ', '-')}.mp4").stat().st_size,
            "flicker": round(flicker_of(film, cuts), 3),
            "moving_distance": round(moving_distance(film, single, cuts), 3),
            "is_whole": len(film) == len(single),
        }
    return {**found, **judged(rows, found["ways"])}


def flicker_of(blocks: list[np.ndarray], cuts: list[int]) -> float:
    """Return the flicker of a film given as means of blocks."""
    size = (BLOCK_PX * blocks[0].shape[1], BLOCK_PX * blocks[0].shape[0])
    return flicker((cv2.resize(lab, size, interpolation=cv2.INTER_NEAREST) for lab in blocks), cuts=cuts)


def judged(rows: int, ways: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the ratios and whether each bound holds."""
    ours = ways[DEFAULT]
    ratios = {
        way: [
            round(new / old, 2) for new, old in zip(ours["frames_a_second"], ways[way]["frames_a_second"], strict=True)
        ]
        for way in (EACH, THIRD)
    }
    flickers = {way: round(ours["flicker"] / max(ways[way]["flicker"], 1e-9), 3) for way in (SINGLE, EACH)}
    farther = round(ours["moving_distance"] - ways[THIRD]["moving_distance"], 3)
    kept = {f"faster than {way}": statistics.median(ratios[way]) >= least for way, least in FASTER[rows].items()}
    kept |= {
        "flicker": flickers[EACH] <= MOST_FLICKER,
        "colors where something moves": farther <= MOST_FARTHER,
        "whole": all(way["is_whole"] for way in ways.values()),
        "cuts": ours["cuts"] == ways[EACH]["cuts"],
    }
    return {"faster": ratios, "flicker_ratios": flickers, "farther": farther, "kept": kept}


def main() -> int:
    """Measure, print and write the result; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, default=shipped_model(), help="ONNX file; default the shipped one")
    parser.add_argument("--before", type=Path, help="a checkout of other code, for the ways that are beaten")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the clips")
    parser.add_argument("--rounds", type=int, default=3, help="how often each way colors them")
    parser.add_argument("--sizes", type=int, nargs="+", choices=list(SIZES), default=list(SIZES), help="rows")
    parser.add_argument("--keep", type=Path, help="leave the films in this folder")
    parser.add_argument("--output", type=Path, help="write the result to this file, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        found: dict[str, Any] = {str(rows): measure(rows, options, folder) for rows in options.sizes}
    kept = {
        f"{rows}: {bound}": holds for rows in options.sizes for bound, holds in found[str(rows)].pop("kept").items()
    }
    found["kept"] = kept
    text = json.dumps(found, indent=2) + "\n"
    sys.stdout.write(text)
    if options.output:
        options.output.write_text(text)
    return 0 if all(kept.values()) else 1


if __name__ == "__main__":
    if sys.argv[1:2] == [CHILD]:
        color_one(*sys.argv[2:])
    else:
        sys.exit(main())
