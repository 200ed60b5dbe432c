"""Colors the gallery with a model and writes its page; makes contact sheets of any other folder.

    python tools/site/make_gallery.py                               # docs/gallery.md, by the shipped model
    python tools/site/make_gallery.py --model runs/RUN/model.onnx
    python tools/site/make_gallery.py --sheets FOLDER --out SHEETS  # PNG sheets of gray and colored, to look at

The pictures are colored as the service colors them, at its default setting. The originals lie in
docs/images/gallery/color and old; sources.csv beside them says whose they are. What stands on the page below the line
`REMARKS` is written by hand and stays.
"""

import argparse
import csv
import datetime
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from chroma.compose import compose_u8  # noqa: E402 - the project need not be installed
from chroma.lab import rgb_u8_to_lightness  # noqa: E402
from chroma.quality import colorfulness, psnr  # noqa: E402
from service.engine.colorizer import colorize  # noqa: E402
from service.engine.options import Options  # noqa: E402
from service.engine.session import Session, shipped_model  # noqa: E402
from service.errors import ServiceError  # noqa: E402
from service.pictures.decode import Picture, decode, prepare_codecs  # noqa: E402
from service.pictures.probe import probe  # noqa: E402

GALLERY: Final = ROOT / "docs" / "images" / "gallery"
PAGE: Final = ROOT / "docs" / "gallery.md"
SOURCES: Final = "sources.csv"
REMARKS: Final = "<!-- written by hand from here on -->"
KINDS: Final = {"color": ("gray", "ours", "truth"), "old": ("gray", "ours")}
"""Folders of originals, and what is shown of each picture, side by side."""
TILE_HEIGHT_PX: Final = 240
SHEET_HEIGHT_PX: Final = 420
SHEET_ROWS: Final = 3
SHEET_COLUMNS: Final = 2
GAP_PX: Final = 4
QUALITY: Final = 85
MOST_MEGAPIXELS: Final = 50.0
SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")


@dataclass(frozen=True)
class Source:
    """A picture of the gallery, as sources.csv has it.

    Attributes:
        file: name in its folder.
        kind: its folder, `color` or `old`.
        title: what it shows.
        author: whose it is.
        license: under which terms it is here.
        origin: where it was taken from, and what was changed.
    """

    file: str
    kind: str
    title: str
    author: str
    license: str
    origin: str


@dataclass(frozen=True)
class Shown:
    """A picture, colored.

    Attributes:
        tiles: sRGB, uint8, by what they show, as in `KINDS`.
        psnr: of the answer against the truth, dB; 0 where there is none.
        psnr_gray: of the gray picture.
        colorfulness_ratio: of the answer over the truth; 0 where there is none.
    """

    tiles: dict[str, np.ndarray]
    psnr: float = 0.0
    psnr_gray: float = 0.0
    colorfulness_ratio: float = 0.0


def read_sources(folder: Path) -> list[Source]:
    """Read whose pictures a gallery holds, in the order of the page."""
    with (folder / SOURCES).open(newline="", encoding="utf-8") as file:
        return [Source(**row) for row in csv.DictReader(file)]


def read_picture(path: Path) -> np.ndarray:
    """Read a picture as the service does; sRGB, uint8, (H, W, 3)."""
    data = path.read_bytes()
    pixels = decode(data, probe(data, max_megapixels=MOST_MEGAPIXELS)).pixels
    if pixels.dtype != np.uint8:
        pixels = np.rint(pixels / 257).astype(np.uint8)
    return np.ascontiguousarray(np.repeat(pixels[..., None], 3, axis=-1) if pixels.ndim == 2 else pixels)


def show(rgb_u8: np.ndarray, session: Session, *, has_truth: bool, vividness: float = 0.5) -> Shown:
    """Reduce a picture to gray, 8 bits, color that, and compare."""
    gray = compose_u8(rgb_u8_to_lightness(rgb_u8), np.zeros((1, 1, 2), np.float32))
    ours = colorize(Picture(gray[..., 0].copy()), Options(vividness=vividness), session).rgb
    tiles = {"gray": gray, "ours": ours}
    if not has_truth:
        return Shown(tiles)
    ratio = colorfulness(ours) / colorfulness(rgb_u8)
    return Shown(tiles | {"truth": rgb_u8}, psnr(ours, rgb_u8), psnr(gray, rgb_u8), ratio)


def strip(pictures: Sequence[np.ndarray], height: int) -> np.ndarray:
    """Put pictures of one size side by side at a height, px, with white gaps."""
    parts = []
    for picture in pictures:
        width = max(round(picture.shape[1] * height / picture.shape[0]), 1)
        small = cv2.resize(np.ascontiguousarray(picture), (width, height), interpolation=cv2.INTER_AREA)
        parts += [small, np.full((height, GAP_PX, 3), 255, np.uint8)]
    return np.concatenate(parts[:-1], axis=1)


def make_gallery(session: Session, folder: Path, page: Path) -> str:
    """Write every picture's strip and the page.

    Args:
        session: the model.
        folder: with sources.csv and the originals; gets the strips.
        page: Markdown file to write; what is written by hand in it stays.

    Returns:
        What to tell: how many pictures, and how many lose to gray.
    """
    sources = read_sources(folder)
    shown = {
        source: show(read_picture(folder / source.kind / source.file), session, has_truth=source.kind == "color")
        for source in sources
    }
    for source, picture in shown.items():
        row = strip([picture.tiles[what] for what in KINDS[source.kind]], TILE_HEIGHT_PX)
        data = cv2.imencode(".jpg", row[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
        (folder / strip_name(source)).write_bytes(data.tobytes())
    by_hand = page.read_text(encoding="utf-8").partition(REMARKS)[2] if page.exists() else "\n"
    page.write_text(render(shown, session, folder.relative_to(page.parent).as_posix()) + REMARKS + by_hand)
    return summary(shown)


def strip_name(source: Source) -> str:
    """Return the file name of a picture's strip."""
    return f"{source.kind}-{Path(source.file).stem}.jpg"


def summary(shown: dict[Source, Shown]) -> str:
    """Return in one sentence how the color photographs fared."""
    colored = [picture for source, picture in shown.items() if source.kind == "color"]
    below = sum(picture.psnr < picture.psnr_gray for picture in colored)
    mean, gray = (np.mean([getattr(picture, name) for picture in colored]) for name in ("psnr", "psnr_gray"))
    return (
        f"{len(colored)} color photographs: {mean:.1f} dB on average against {gray:.1f} dB for gray; "
        f"{below} of them score below gray. {len(shown) - len(colored)} historical ones have no truth to score against."
    )


def render(shown: dict[Source, Shown], session: Session, link: str) -> str:
    """Return the page, down to what is written by hand."""
    stamp = session.stamp
    lines = [
        "# Gallery",
        "",
        f"Colored with the model `{stamp.run_id}` (sha256 {session.digest[:12]}) at the default setting, "
        f"{datetime.date.today().isoformat()}, by `python tools/site/make_gallery.py`. The pictures are here because "
        "their terms are free, not because they went well; the model was not trained on them.",
        "",
        summary(shown),
        "",
        "## Color photographs",
        "",
        "Gray; ours; the truth. dB: PSNR of ours (gain over gray). CFr: colorfulness over the truth's.",
        "",
    ]
    for kind in KINDS:
        if kind == "old":
            lines += ["## Historical photographs", "", "Gray; ours. Nobody knows the truth.", ""]
        for source, picture in shown.items():
            if source.kind != kind:
                continue
            gain, ratio = picture.psnr - picture.psnr_gray, picture.colorfulness_ratio
            figures = f" {picture.psnr:.1f} dB ({gain:+.1f}), CFr {ratio:.2f}." if kind == "color" else ""
            lines += [
                f"![{', '.join(KINDS[kind])}]({link}/{strip_name(source)})",
                "",
                f"**{source.title}.**{figures} {source.author}; {source.license}. {source.origin}",
                "",
            ]
    return "\n".join(lines)


def make_sheets(session: Session, pictures: Path, out: Path, vividness: float) -> list[Path]:
    """Write contact sheets of a folder, gray beside colored, with the names.

    Args:
        session: the model.
        pictures: folder of pictures, gray or color.
        out: folder of the sheets, made if missing.
        vividness: 0 calm, 1 vivid.

    Returns:
        The sheets, PNG files.
    """
    tiles = []
    for path in sorted(path for path in pictures.iterdir() if path.suffix.lower() in SUFFIXES):
        picture = show(read_picture(path), session, has_truth=False, vividness=vividness)
        pair = strip([picture.tiles["gray"], picture.tiles["ours"]], SHEET_HEIGHT_PX)
        cv2.putText(pair, path.stem, (6, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (255, 255, 0), 2)
        tiles.append(pair)
    out.mkdir(parents=True, exist_ok=True)
    made = []
    for number, sheet in enumerate(_sheets(tiles)):
        made.append(out / f"sheet-{number:02}.png")
        cv2.imwrite(str(made[-1]), sheet[..., ::-1])
    return made


def _sheets(tiles: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield sheets of `SHEET_ROWS` x `SHEET_COLUMNS` tiles on black."""
    for start in range(0, len(tiles), SHEET_ROWS * SHEET_COLUMNS):
        some = tiles[start : start + SHEET_ROWS * SHEET_COLUMNS]
        rows = [np.concatenate(some[at : at + SHEET_COLUMNS], axis=1) for at in range(0, len(some), SHEET_COLUMNS)]
        width = max(row.shape[1] for row in rows)
        yield np.concatenate([np.pad(row, ((0, GAP_PX), (0, width - row.shape[1]), (0, 0))) for row in rows])


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the gallery, or sheets; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, help="ONNX file; default the shipped one")
    parser.add_argument("--gallery", type=Path, default=GALLERY, help="folder with sources.csv; gets the strips")
    parser.add_argument("--page", type=Path, default=PAGE, help="Markdown file to write")
    parser.add_argument("--sheets", type=Path, help="no gallery: contact sheets of this folder")
    parser.add_argument("--out", type=Path, default=Path("sheets"), help="folder of the sheets")
    parser.add_argument("--vividness", type=float, default=0.5, help="of the sheets")
    options = parser.parse_args(arguments)
    try:
        prepare_codecs()
        session = Session(options.model or shipped_model(), device="cpu")
        if options.sheets is None:
            sys.stdout.write(make_gallery(session, options.gallery, options.page) + "\n")
        else:
            made = make_sheets(session, options.sheets, options.out, options.vividness)
            sys.stdout.write("".join(f"{path}\n" for path in made))
    except (OSError, ServiceError) as error:
        sys.stderr.write(f"{getattr(error, 'detail', error)}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
