"""Five seconds of film with a cut: how much do its colors flicker, and how much when each frame is colored by itself?

No freely licensed film is at hand, so one is made: a camera moves slowly over two free photographs, with grain, light
that pumps and, in the second scene, a figure that walks by; a tone is its sound. The service's own code colors it frame
by frame, at the defaults, and with the network looking at every frame and each third. Judged are the finished files,
as a player shows them: the mean change of ab from frame to frame on static regions (`chroma.flicker.flicker`; the cut
itself is left out).

    python benchmarks/film_flicker.py [--model FILE] [--seconds 5] [--keep FOLDER] [--output flicker.json]

Exit status 1 if the default flickers more than half as much as frame by frame, if the sound is not the same bit by bit,
if a frame is missing, or if color is carried over the cut.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import av
import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from chroma.flicker import flicker  # noqa: E402 - the project need not be installed
from chroma.lab import rgb_u8_to_lab  # noqa: E402
from service.archive.film import color_film  # noqa: E402
from service.archive.film_file import FilmOptions  # noqa: E402
from service.engine.options import Options  # noqa: E402
from service.engine.session import Session, shipped_model  # noqa: E402
from tests import films  # noqa: E402

MOST_FLICKER: Final = 0.5
"""Largest flicker at the defaults, as a share of that of frame by frame."""
MOST_CARRIED: Final = 2.0
"""Largest mean ab distance, in the first frame behind the cut, to what that frame gets by itself, Lab units."""
RATE: Final = 24
SIZE: Final = (180, 320)
WAYS: Final = {
    "frame by frame": FilmOptions(memory_s=0),
    "default": FilmOptions(),
    "every frame": FilmOptions(every=1),
    "every 3rd": FilmOptions(every=3),
}


def make_clip(path: Path, seconds: float) -> int:
    """Write the clip; return the index of the first frame of its second scene."""
    count = round(seconds * RATE)
    cut = count // 2
    coffee, cat, _ = (films.photograph(photograph) for photograph in films.PHOTOGRAPHS)

    def scenes() -> Any:
        yield from films.camera(coffee, cut, size=SIZE)
        yield from films.with_walker(
            films.camera(cat, count - cut, size=SIZE, pan=(-0.05, 0.05), zoom=1.0), count - cut
        )

    films.write_film(path, films.aged(films.gray(scenes())), rate=RATE, audio="aac", seconds=seconds)
    return cut


def sound_of(path: Path) -> list[bytes]:
    """Return the packets of the sound."""
    with av.open(str(path)) as film:
        return [bytes(packet) for packet in film.demux(audio=0) if packet.size]


def main() -> int:
    """Measure, print and write the result; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, help="ONNX file; default the shipped one")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of the clip")
    parser.add_argument("--keep", type=Path, help="leave the films in this folder")
    parser.add_argument("--output", type=Path, help="write the result to this file, too")
    options = parser.parse_args()

    session = Session(options.model or shipped_model(), device="cpu")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        clip = folder / "clip.mp4"
        cut = make_clip(clip, options.seconds)
        total = round(options.seconds * RATE)
        result: dict[str, Any] = {"frames": total, "cut": cut, "ways": {}}
        behind: dict[str, np.ndarray] = {}
        is_whole = True
        for name, how in WAYS.items():
            answer = folder / f"{name.replace(' ', '-')}.mp4"
            begun = time.perf_counter()
            done = color_film(clip, answer, session, Options(), how, max_megapixels=50)
            took_s = time.perf_counter() - begun
            labs = [rgb_u8_to_lab(frame) for frame in films.read_film(answer)]
            behind[name] = labs[cut][..., 1:]
            is_whole &= len(labs) == total and sound_of(answer) == sound_of(clip)
            chroma = np.mean([np.linalg.norm(lab[..., 1:], axis=-1).mean() for lab in labs])
            result["ways"][name] = {
                "flicker": round(flicker(labs, cuts=[cut]), 3),
                "chroma": round(float(chroma), 2),
                "frames_a_second": round(total / took_s, 2),
                "inferences": done.inferences,
                "cuts": done.cuts,
            }
            sys.stderr.write(json.dumps({name: result["ways"][name]}) + "\n")
    single, ours = result["ways"]["frame by frame"], result["ways"]["default"]
    result["ratio"] = round(ours["flicker"] / single["flicker"], 3)
    result["carried"] = round(float(np.linalg.norm(behind["default"] - behind["frame by frame"], axis=-1).mean()), 3)
    result["is_kept"] = bool(
        is_whole and result["ratio"] <= MOST_FLICKER and result["carried"] <= MOST_CARRIED and ours["cuts"] == 1
    )
    text = json.dumps(result, indent=2) + "\n"
    sys.stdout.write(text)
    if options.output:
        options.output.write_text(text)
    return 0 if result["is_kept"] else 1


if __name__ == "__main__":
    sys.exit(main())
