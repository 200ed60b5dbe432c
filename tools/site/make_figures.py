"""Draws the figures of docs/how-it-works.md and the picture of docs/index.md with a model.

    python tools/site/make_figures.py                          # docs/images/how, by the shipped model
    python tools/site/make_figures.py --model runs/RUN/model.onnx --out FOLDER

The photographs are those of the gallery (docs/images/gallery/sources.csv says whose they are). Everything shown is
computed by the code that answers requests: `chroma`, and the model's own outputs. Needs Matplotlib: the environment of
`make test`, or of training.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from chroma.bins import load_centers  # noqa: E402 - the project need not be installed
from chroma.compose import compose_u8, enlarge_ab, guided_enlarge_ab  # noqa: E402
from chroma.decoding import (  # noqa: E402
    annealed_mean,
    argmax_ab,
    corrected_mean,
    log_softmax,
    posterior_spread,
    softmax,
    zone_masses,
)
from chroma.framing import head_lightness, network_size, resize_lightness  # noqa: E402
from chroma.lab import lab_to_rgb, rgb_to_lab, rgb_u8_to_lightness  # noqa: E402
from chroma.looks import VIVIDNESS_OF, Look, look_shift  # noqa: E402
from chroma.prior import rebalancing_weights, smooth_prior, smooth_prior_1d  # noqa: E402
from chroma.signature import AB_LOGITS  # noqa: E402
from chroma.zones import RED  # noqa: E402
from service.engine.colorizer import decode_logits  # noqa: E402
from service.engine.session import Query, Session, shipped_model  # noqa: E402
from service.errors import ServiceError  # noqa: E402
from service.pictures.decode import decode, prepare_codecs  # noqa: E402
from service.pictures.probe import probe  # noqa: E402

GALLERY: Final = ROOT / "docs" / "images" / "gallery"
OUT: Final = ROOT / "docs" / "images" / "how"
INK: Final = "#7d7a75"
"""Color of the lettering: readable on a white page and on a dark one, since the figures have no ground of their own."""
PAPER_L: Final = 70.0
"""Lightness at which a color is shown that has none of its own."""
DPI: Final = 150
QUALITY: Final = 82


@dataclass(frozen=True, eq=False)
class Study:
    """A photograph, taken apart.

    Attributes:
        session: the model.
        rgb_u8: the photograph, sRGB, uint8, shape (H, W, 3).
    """

    session: Session
    rgb_u8: np.ndarray

    @cached_property
    def L(self) -> np.ndarray:  # noqa: N802 - as in the papers
        """Full-size lightness, shape (H, W, 1)."""
        return rgb_u8_to_lightness(self.rgb_u8)

    @cached_property
    def seen(self) -> np.ndarray:
        """What the network sees, shape (h, w, 1)."""
        height, width = self.rgb_u8.shape[:2]
        return resize_lightness(self.L, network_size(height, width, self.session.stamp.size))

    @cached_property
    def logits(self) -> np.ndarray:
        """Logits over the bins, shape (h / 4, w / 4, Q)."""
        return self.session.run([Query(self.seen, (AB_LOGITS,))])[0][AB_LOGITS]

    def ours(self, vividness: float = 0.5) -> np.ndarray:
        """Return ab as the service decodes it, shape (h / 4, w / 4, 2)."""
        stamp = self.session.stamp
        return decode_logits(self.logits, head_lightness(self.seen), stamp.vividness_curve.at(vividness), stamp)

    def colored(self, ab: np.ndarray) -> np.ndarray:
        """Return the photograph's lightness with these colors, sRGB, uint8."""
        return compose_u8(self.L, ab)


def read_study(session: Session, name: str) -> Study:
    """Read a picture of the gallery, such as `color/china.jpg`."""
    data = (GALLERY / name).read_bytes()
    pixels = decode(data, probe(data, max_megapixels=50)).pixels
    return Study(session, np.repeat(pixels[..., None], 3, axis=-1) if pixels.ndim == 2 else pixels)


def panel(axes: Axes, picture: np.ndarray, title: str) -> None:
    """Show a picture, every pixel a square, with a line of text above."""
    gray = {"cmap": "gray", "vmin": 0, "vmax": 100} if picture.ndim == 2 else {}
    axes.imshow(picture, interpolation="nearest", **gray)
    axes.set_title(title, color=INK, fontsize=9, loc="left", pad=4)
    axes.set_axis_off()


def on_paper(ab: np.ndarray) -> np.ndarray:
    """Show colors alone, all at one lightness; sRGB, shape (..., 3)."""
    lab = np.concatenate([np.full((*ab.shape[:-1], 1), PAPER_L, np.float32), ab.astype(np.float32)], axis=-1)
    return lab_to_rgb(lab)


def front(session: Session) -> Figure:
    """Draw an old photograph, colored from its middle on."""
    study = read_study(session, "old/1870ssphinx.jpg")
    halves = study.colored(np.zeros((1, 1, 2), np.float32))
    middle = halves.shape[1] // 2
    halves[:, middle:] = study.colored(study.ours())[:, middle:]
    height, width = halves.shape[:2]
    figure = Figure(figsize=(width / 75, height / 75))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(halves, interpolation="bicubic")
    axes.axvline(middle - 0.5, color="white", linewidth=1.5)
    axes.set_axis_off()
    return figure


def lightness(session: Session) -> Figure:
    """Draw what becomes of a photograph on its way: lightness, the network's input, its output, the answer."""
    study = read_study(session, "color/china.jpg")
    ab = study.ours()
    figure = Figure(figsize=(8, 5.8), layout="constrained")
    axes = figure.subplots(2, 2).ravel()
    (height, width), (rows, columns) = study.rgb_u8.shape[:2], study.seen.shape[:2]
    panel(axes[0], study.L[..., 0], f"1  lightness L, {width} x {height}")
    panel(axes[1], study.seen[..., 0], f"2  what the network sees, {columns} x {rows}")
    panel(axes[2], on_paper(ab), f"3  the colors it gives, {ab.shape[1]} x {ab.shape[0]}")
    panel(axes[3], study.colored(ab), f"4  L and colors together, {width} x {height}")
    return figure


PLACES: Final = ((0.20, 0.15), (0.80, 0.85), (0.72, 0.57), (0.37, 0.38))
"""Where the posterior is looked at, shares of width and height: sky, trees, water, tower."""


def posterior(session: Session) -> Figure:
    """Draw the posterior at a few places of a photograph."""
    study = read_study(session, "color/china.jpg")
    centers = load_centers()
    rows, columns = study.logits.shape[:2]
    height, width = study.rgb_u8.shape[:2]
    figure = Figure(figsize=(8, 5.6), layout="constrained")
    grid = figure.add_gridspec(2, 4, height_ratios=(1.35, 1))
    picture, doubt = figure.add_subplot(grid[0, :2]), figure.add_subplot(grid[0, 2:])
    panel(picture, study.L[..., 0], "what is looked at")
    spread = posterior_spread(study.logits, centers)[..., 0]
    doubt.imshow(spread, cmap="magma", interpolation="nearest")
    doubt.set_title("where it is unsure: bright", color=INK, fontsize=9, loc="left", pad=4)
    doubt.set_axis_off()
    truth = rgb_to_lab(study.rgb_u8.astype(np.float32) / 255)[..., 1:]
    decoded = study.ours()
    for number, (x, y) in enumerate(PLACES, 1):
        row, column = int(y * rows), int(x * columns)
        picture.plot(x * width, y * height, "o", color="white", markeredgecolor="black", markersize=13)
        picture.text(x * width, y * height, str(number), color="black", fontsize=9, ha="center", va="center")
        axes = figure.add_subplot(grid[1, number - 1])
        plot_posterior(axes, softmax(study.logits[row, column]), centers)
        top, left = row * height // rows, column * width // columns
        true = truth[top : top + height // rows, left : left + width // columns].reshape(-1, 2).mean(axis=0)
        axes.plot(*decoded[row, column], "x", color=INK, markersize=8, markeredgewidth=2)
        axes.plot(*true, "o", color=INK, fillstyle="none", markersize=8, markeredgewidth=1.5)
        axes.set_title(f"{number}", color=INK, fontsize=9, loc="left")
    return figure


def plot_posterior(axes: Axes, probabilities: np.ndarray, centers: np.ndarray) -> None:
    """Draw every bin in its own color, its area its probability, around the gray middle."""
    for center, color, share in zip(centers, on_paper(centers), probabilities, strict=True):
        side = 22 * np.sqrt(share)
        if side > 0.4:
            axes.add_patch(Rectangle(center - side / 2, side, side, facecolor=color, edgecolor=INK, linewidth=0.3))
    for line in (axes.axhline, axes.axvline):
        line(0, color=INK, linewidth=0.5, zorder=0)
    axes.set(xlim=(-50, 60), ylim=(-55, 65), aspect="equal", xticks=[], yticks=[])
    axes.text(59, 2, "red", color=INK, fontsize=7, ha="right")
    axes.text(-49, 2, "green", color=INK, fontsize=7)
    axes.text(2, 58, "yellow", color=INK, fontsize=7)
    axes.text(2, -53, "blue", color=INK, fontsize=7)
    for spine in axes.spines.values():
        spine.set_color(INK)
        spine.set_linewidth(0.5)
    axes.patch.set_alpha(0)


def annealed(session: Session) -> Figure:
    """Draw one posterior read in different ways."""
    study = read_study(session, "color/coffee.jpg")
    centers = load_centers()
    figure = Figure(figsize=(8, 4.0), layout="constrained")
    axes = figure.subplots(2, 3).ravel()
    panel(axes[0], study.colored(annealed_mean(study.logits, centers, 1.0)), "the mean: T = 1")
    panel(axes[1], study.colored(annealed_mean(study.logits, centers, 0.38)), "in between: T = 0.38")
    panel(axes[2], study.colored(argmax_ab(study.logits, centers)), "the likeliest bin: argmax")
    for place, vividness, name in zip(axes[3:], (0.0, 0.5, 1.0), ("calm", "default", "vivid"), strict=True):
        panel(place, study.colored(study.ours(vividness)), f"ours, vividness {vividness:g}: {name}")
    return figure


def guard(session: Session) -> Figure:
    """Draw what keeps red noise out."""
    study = read_study(session, "old/1899sodafountain.jpg")
    stamp, centers = session.stamp, load_centers()
    prior = np.asarray(stamp.prior)
    original = np.log(rebalancing_weights(smooth_prior_1d(prior))).astype(np.float32)
    weights = np.log(rebalancing_weights(smooth_prior(prior, centers))).astype(np.float32)
    knobs = stamp.vividness_curve.at(1.0)
    uncapped = argmax_ab(log_softmax(study.logits) + original, centers)
    unguarded = corrected_mean(study.logits, centers, weights, **vars(knobs))
    figure = Figure(figsize=(8, 2.75), layout="constrained")
    axes = figure.subplots(1, 4)
    panel(axes[0], study.colored(uncapped), "the original's weights")
    panel(axes[1], study.colored(unguarded), "ours without the guard")
    panel(axes[2], study.colored(study.ours(1.0)), "ours, vividness 1")
    backing = zone_masses(study.logits, centers, (RED,))[..., 0]
    height, width = study.rgb_u8.shape[:2]
    axes[3].imshow(backing, cmap="Reds", vmin=0, vmax=1, interpolation="nearest", extent=(0, width, height, 0))
    axes[3].set_title("what backs red: 0 to 1", color=INK, fontsize=9, loc="left", pad=4)
    axes[3].set_axis_off()
    return figure


CROP: Final = (0.20, 0.03, 0.46, 0.40)
"""Left, top, right and bottom of the part shown by `enlargement`, shares of width and height."""


def enlargement(session: Session) -> Figure:
    """Draw a part of a picture: colors as the network gives them, enlarged smoothly, and along the edges."""
    study = read_study(session, "color/china.jpg")
    ab = study.ours(1.0)
    height, width = study.rgb_u8.shape[:2]
    rows = np.arange(height) * ab.shape[0] // height
    columns = np.arange(width) * ab.shape[1] // width
    cells = ab[rows][:, columns]
    enlarged = {
        "one color for each cell": cells,
        "bilinear, the default": enlarge_ab(ab, (height, width)),
        "guided": guided_enlarge_ab(ab, study.L),
    }
    left, right = (int(share * width) for share in CROP[::2])
    top, bottom = (int(share * height) for share in CROP[1::2])
    figure = Figure(figsize=(8, 5.1), layout="constrained")
    axes = figure.subplots(2, 3)
    for (upper, lower), (title, full) in zip(axes.T, enlarged.items(), strict=True):
        panel(upper, on_paper(full)[top:bottom, left:right], title)
        panel(lower, study.colored(full)[top:bottom, left:right], "")
    return figure


def looks(session: Session) -> Figure:
    """Draw a photograph in the looks that lean toward the colors of others."""
    study = read_study(session, "old/1867musicianconstantinople.jpg")
    stamp = session.stamp
    figure = Figure(figsize=(8, 2.7), layout="constrained")
    shown: tuple[Look, ...] = ("natural", "warm", "photochrom", "autochrome", "transparency")
    for axes, look in zip(figure.subplots(1, len(shown)), shown, strict=True):
        shift = look_shift(look)
        logits = study.logits if shift is None else study.logits + shift
        knobs = stamp.vividness_curve.at(VIVIDNESS_OF[look])
        panel(axes, study.colored(decode_logits(logits, head_lightness(study.seen), knobs, stamp)), look)
    return figure


FIGURES: Final = (front, lightness, posterior, annealed, guard, enlargement, looks)


def make_figures(session: Session, out: Path, names: Sequence[str] = ()) -> list[Path]:
    """Draw the figures.

    Args:
        session: the model.
        out: folder, made if missing.
        names: of the figures wanted; none means all.

    Returns:
        The files, WebP without a ground.
    """
    out.mkdir(parents=True, exist_ok=True)
    made = []
    with mpl.rc_context({"font.family": "DejaVu Sans"}):
        for draw in FIGURES:
            if names and draw.__name__ not in names:
                continue
            made.append(out / f"{draw.__name__}.webp")
            draw(session).savefig(made[-1], dpi=DPI, transparent=True, pil_kwargs={"quality": QUALITY, "method": 6})
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the figures; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, help="ONNX file; default the shipped one")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the figures")
    parser.add_argument("names", nargs="*", help="figures to draw: " + ", ".join(draw.__name__ for draw in FIGURES))
    options = parser.parse_args(arguments)
    try:
        prepare_codecs()
        made = make_figures(Session(options.model or shipped_model(), device="cpu"), options.out, options.names)
    except (OSError, ServiceError) as error:
        sys.stderr.write(f"{getattr(error, 'detail', error)}\n")
        return 1
    sys.stdout.write("".join(f"{path}\n" for path in made))
    return 0


if __name__ == "__main__":
    sys.exit(main())
