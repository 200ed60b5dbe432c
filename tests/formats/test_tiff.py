"""Every layout of a TIFF is read right: cells written by tifffile, by Pillow and by hand, held against known levels."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.formats.cells import Cell, judge
from tests.tiffs import tiff

HEIGHT, WIDTH = 37, 53
ACROSS = np.linspace(0, 1, WIDTH)[None].repeat(HEIGHT, 0)
DOWN = np.linspace(0, 1, HEIGHT)[:, None].repeat(WIDTH, 1)
GRAY = (ACROSS * 3 + DOWN) / 4
COLOR = np.dstack([GRAY, 1 - GRAY, DOWN * 0.6 + 0.2])
OPACITY = 0.25 + 0.7 * DOWN

ORDERS = {"little": "<", "big": ">"}
PARTS: dict[str, dict[str, Any]] = {
    "strip": {"rowsperstrip": HEIGHT},
    "strips": {"rowsperstrip": 8},
    "tiles": {"tile": (16, 32)},
}
PACKED: dict[str, dict[str, Any]] = {
    "none": {},
    "lzw": {"compression": "lzw"},
    "lzw-differences": {"compression": "lzw", "predictor": 2},
    "deflate": {"compression": "zlib"},
    "deflate-differences": {"compression": "zlib", "predictor": 2},
    "old-deflate": {"compression": 32946},
    "packbits": {"compression": "packbits"},
    "zstd-differences": {"compression": "zstd", "predictor": 2},
    "lzma": {"compression": "lzma", "compressionargs": {"level": 0}},
}


def in_steps(shares: np.ndarray, most: int, dtype: type) -> np.ndarray:
    """Return levels from 0 to `most` of shares in [0, 1]."""
    return np.rint(shares * most).astype(dtype)


def by_tifffile(stored: np.ndarray, **options: Any) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, stored, metadata=None, software=False, **options)
    return stream.getvalue()


def by_pillow(image: Image.Image, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "TIFF", **options)
    return stream.getvalue()


def wide(shares: np.ndarray) -> np.ndarray:
    return in_steps(shares, 65535, np.uint16)


def narrow(shares: np.ndarray) -> np.ndarray:
    return in_steps(shares, 255, np.uint8)


INKS = np.dstack([GRAY, 1 - GRAY, GRAY * 0, DOWN * 0.2])


def _of_inks(inks: np.ndarray) -> np.ndarray:
    """Return what Pillow makes of CMYK without a profile."""
    return np.asarray(Image.frombuffer("CMYK", (WIDTH, HEIGHT), np.ascontiguousarray(inks)).convert("RGB"))


def _of_deep_inks(inks: np.ndarray) -> np.ndarray:
    """Return the same in 16 bits, which Pillow does not know: what each ink lets pass, multiplied."""
    passed = 1 - inks / 65_535
    return np.rint(65_535 * passed[..., :3] * passed[..., 3:]).astype(np.uint16)


KINDS: dict[str, tuple[np.ndarray, dict[str, Any], np.ndarray, np.ndarray | None]] = {
    "gray8": (narrow(GRAY), {"photometric": "minisblack"}, narrow(GRAY), None),
    "gray16": (wide(GRAY), {"photometric": "minisblack"}, wide(GRAY), None),
    "white-is-zero8": (255 - narrow(GRAY), {"photometric": "miniswhite"}, narrow(GRAY), None),
    "white-is-zero16": (65535 - wide(GRAY), {"photometric": "miniswhite"}, wide(GRAY), None),
    "rgb8": (narrow(COLOR), {"photometric": "rgb"}, narrow(COLOR), None),
    "rgb16": (wide(COLOR), {"photometric": "rgb"}, wide(COLOR), None),
    "gray8-alpha": (
        narrow(np.dstack([GRAY, OPACITY])),
        {"photometric": "minisblack", "extrasamples": ["unassalpha"]},
        narrow(GRAY),
        narrow(OPACITY),
    ),
    "gray16-alpha": (
        wide(np.dstack([GRAY, OPACITY])),
        {"photometric": "minisblack", "extrasamples": ["unassalpha"]},
        wide(GRAY),
        wide(OPACITY),
    ),
    "rgb8-alpha": (
        narrow(np.dstack([COLOR, OPACITY])),
        {"photometric": "rgb", "extrasamples": ["unassalpha"]},
        narrow(COLOR),
        narrow(OPACITY),
    ),
    "rgb16-alpha": (
        wide(np.dstack([COLOR, OPACITY])),
        {"photometric": "rgb", "extrasamples": ["unassalpha"]},
        wide(COLOR),
        wide(OPACITY),
    ),
    "rgb16-infrared": (
        wide(np.dstack([COLOR, OPACITY])),
        {"photometric": "rgb", "extrasamples": ["unspecified"]},
        wide(COLOR),
        None,
    ),
    "cmyk8": (narrow(INKS), {"photometric": "separated"}, _of_inks(narrow(INKS)), None),
    "cmyk16": (wide(INKS), {"photometric": "separated"}, _of_deep_inks(wide(INKS)), None),
}
"""What is stored, how it is written, and the pixels and opacity that must come of it."""


def _matrix() -> Iterator[Cell]:
    for kind, (stored, options, pixels, alpha) in KINDS.items():
        is_gray = stored.ndim == 2
        # Each kind meets each byte order, each compression, each way to cut it, interleaved and in planes.
        for number, (name, packed) in enumerate(PACKED.items()):
            for parts, cut in PARTS.items():
                order = list(ORDERS)[(number + len(parts)) % 2]
                for planes in ("contig",) if is_gray else ("contig", "separate"):
                    levels = np.moveaxis(stored, -1, 0) if planes == "separate" else stored

                    def make(
                        levels: np.ndarray = levels,
                        given: dict[str, Any] = options | packed | cut,
                        planes: str = planes,
                        order: str = order,
                        is_gray: bool = is_gray,
                    ) -> bytes:
                        config = {} if is_gray else {"planarconfig": planes}
                        return by_tifffile(levels, byteorder=ORDERS[order], bigtiff=order == "big", **given, **config)

                    layout = "" if is_gray else f"-{planes}"
                    yield Cell(f"{kind}-{name}-{parts}{layout}-{order}", make, pixels, alpha)


def _few_bits() -> Iterator[Cell]:
    for bits in (1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15):
        most, is_deep = (1 << bits) - 1, bits > 8
        stored = in_steps(GRAY, most, np.uint16 if is_deep else np.uint8)
        to_all = in_steps(stored / most, 65535 if is_deep else 255, np.uint16 if is_deep else np.uint8)
        for name, options in {
            "strips": {"rows": 5},
            "tiles": {"tile": 16, "order": ">"},
            "lzw": {"compression": "lzw", "big": True},
            "deflate": {"compression": "deflate", "order": ">", "big": True},
            "last-bit-first": {"tags": {266: [2]}},
        }.items():
            yield _by_hand(f"gray{bits}-{name}", stored, to_all, planes=False, bits=bits, **options)
        white = {"tags": {262: [0]}}
        yield _by_hand(f"white-is-zero{bits}", most - stored, to_all, planes=False, bits=bits, **white)
        color = in_steps(COLOR, most, stored.dtype.type)
        whole = in_steps(color / most, 65535 if is_deep else 255, to_all.dtype.type)
        for planes in (False, True):
            yield _by_hand(f"rgb{bits}-{'planes' if planes else 'chunky'}", color, whole, planes=planes, bits=bits)


def _by_hand(
    name: str, stored: np.ndarray, pixels: np.ndarray | None, alpha: np.ndarray | None = None, **options: Any
) -> Cell:
    return Cell(name, lambda: tiff(stored, **options), pixels, alpha)


def _numbers() -> Iterator[Cell]:
    for name, cut in PARTS.items():
        for order, byteorder in ORDERS.items():
            for bits, dtype in ((16, np.float16), (32, np.float32), (64, np.float64)):
                for packed, options in {
                    "none": {},
                    "differences": {"compression": "zlib", "predictor": 3},
                    "zstd": {"compression": "zstd"},
                }.items():
                    for kind, shares in (("gray", GRAY), ("rgb", COLOR)):
                        photometric = "rgb" if kind == "rgb" else "minisblack"
                        given = {**cut, **options, "byteorder": byteorder, "photometric": photometric}
                        yield _by_tifffile(
                            f"{kind}-float{bits}-{packed}-{name}-{order}",
                            shares.astype(dtype),
                            wide(shares.astype(dtype).astype(np.float64)),
                            **given,
                        )
    high = 2**32 - 1
    yield _by_tifffile("gray32", in_steps(GRAY, high, np.uint32), wide(GRAY), photometric="minisblack")
    yield _by_tifffile(
        "rgb32-differences",
        in_steps(COLOR, high, np.uint32),
        wide(COLOR),
        photometric="rgb",
        compression="zlib",
        predictor=2,
    )
    yield _by_tifffile(
        "gray64", np.minimum(GRAY * 2.0**64, 2.0**64 - 2048).astype(np.uint64), wide(GRAY), photometric="minisblack"
    )
    yield _by_tifffile(
        "white-is-zero32", high - in_steps(GRAY, high, np.uint32), wide(GRAY), photometric="miniswhite", byteorder=">"
    )
    for bits, dtype in ((8, np.int8), (16, np.int16), (32, np.int32)):
        half = 2 ** (bits - 1)
        stored = (np.rint(GRAY * (2 * half - 1)) - half).astype(dtype)
        pixels = narrow(GRAY) if bits == 8 else wide(GRAY)
        yield _by_tifffile(f"gray-signed{bits}", stored, pixels, photometric="minisblack")
        positive = np.rint(GRAY * 85).astype(dtype)
        said = {"extratags": [(340, dtype().dtype.char, 1, 0, True), (341, dtype().dtype.char, 1, 85, True)]}
        expected = (narrow if bits == 8 else wide)(positive / 85)
        yield _by_tifffile(f"gray-signed{bits}-of-a-range", positive, expected, photometric="minisblack", **said)
        if bits < 32:  # Some programs call levels signed that are not.
            name, misnamed = f"gray-called-signed{bits}", pixels.view(dtype)
            yield _by_tifffile(name, misnamed, pixels, photometric="minisblack")
    odd = np.where(GRAY < 0.2, np.nan, np.where(GRAY > 0.9, np.inf, GRAY * 2 - 0.5)).astype(np.float32)
    said = {"extratags": [(340, "f", 1, -0.5, True), (341, "f", 1, 1.5, True)]}
    expected = wide(np.where(GRAY < 0.2, 0, np.where(GRAY > 0.9, 1, GRAY)))
    yield _by_tifffile("float-of-a-range-with-holes", odd, expected, photometric="minisblack", **said)


def _by_tifffile(
    name: str, stored: np.ndarray, pixels: np.ndarray, alpha: np.ndarray | None = None, **options: Any
) -> Cell:
    return Cell(name, lambda: by_tifffile(stored, **options), pixels, alpha)


def _opacity() -> Iterator[Cell]:
    for bits, to_levels in ((8, narrow), (16, wide)):
        # Opacity of a half and of a quarter is exact in both depths, and dark tones survive it.
        share = np.where(DOWN > 0.5, 1.0, 51 / 255)
        for planes in ("contig", "separate"):
            for kind, colors in (("gray", GRAY[..., None]), ("rgb", COLOR)):
                most = 255 if bits == 8 else 65535
                held = np.rint(colors * most / 5) * 5 / most
                stored = to_levels(np.dstack([held * share[..., None], share[..., None]]))
                levels = np.moveaxis(stored, -1, 0) if planes == "separate" else stored
                yield _by_tifffile(
                    f"{kind}{bits}-associated-{planes}",
                    levels,
                    to_levels(held[..., 0] if kind == "gray" else held),
                    to_levels(share),
                    photometric="rgb" if kind == "rgb" else "minisblack",
                    planarconfig=planes,
                    extrasamples=["assocalpha"],
                )
        more = to_levels(np.dstack([COLOR, GRAY, OPACITY, DOWN]))
        for planes in ("contig", "separate"):
            yield _by_tifffile(
                f"rgb{bits}-infrared-and-alpha-{planes}",
                np.moveaxis(more, -1, 0) if planes == "separate" else more,
                to_levels(COLOR),
                to_levels(OPACITY),
                photometric="rgb",
                planarconfig=planes,
                extrasamples=["unspecified", "unassalpha", "unspecified"],
            )
        unsaid = to_levels(np.dstack([COLOR, OPACITY]))
        yield _by_hand(f"rgb{bits}-fourth-unsaid", unsaid, to_levels(COLOR), planes=False, tags={338: None})
    inks = narrow(np.dstack([INKS, OPACITY]))
    for planes in (False, True):
        yield _by_hand(
            f"cmyk8-alpha-{planes}",
            inks,
            _of_inks(inks[..., :4]),
            narrow(OPACITY),
            planes=planes,
            tags={262: [5], 338: [2]},
        )
    deep = wide(np.dstack([INKS, OPACITY]))
    yield _by_hand(
        "cmyk16-alpha",
        deep,
        _of_deep_inks(wide(INKS)),
        wide(OPACITY),
        planes=True,
        order=">",
        tags={262: [5], 338: [2]},
    )
    plain = inks[..., :4]
    for planes in (False, True):
        tags = {262: None, 332: [1], 338: None}
        yield _by_hand(f"cmyk8-unsaid-{planes}", plain, _of_inks(plain), planes=planes, tags=tags)
    nothing = np.zeros((HEIGHT, WIDTH, 4), np.uint16)
    clear = np.zeros((HEIGHT, WIDTH), np.uint16)
    yield _by_hand("rgb16-associated-and-clear", nothing, clear, clear, planes=False, tags={338: [1]})


def _palettes() -> Iterator[Cell]:
    shares = np.random.default_rng(3).random((256, 3))
    index = narrow(GRAY)
    deep = wide(shares)
    for name, colormap, pixels in (
        ("repeated", narrow(shares).astype(np.uint16) * 257, narrow(shares)),
        ("shifted", narrow(shares).astype(np.uint16) * 256, narrow(shares)),
        ("low-bytes", narrow(shares).astype(np.uint16), narrow(shares)),
        ("deep", deep, deep),
    ):
        options = {"photometric": "palette", "colormap": np.ascontiguousarray(colormap.T)}
        yield _by_tifffile(f"palette8-{name}", index, pixels[index], **options)
    for bits in (1, 2, 4):
        few = in_steps(GRAY, (1 << bits) - 1, np.uint8)
        colormap = narrow(shares[: 1 << bits]).astype(np.uint16) * 257
        tags = {262: [3], 320: colormap.T.reshape(-1).tolist()}
        for name, said in (("", tags), ("-unsaid", tags | {262: None})):
            yield _by_hand(f"palette{bits}{name}", few, narrow(shares)[few], planes=False, bits=bits, tags=said)
    tags = {262: [3], 320: (narrow(shares).astype(np.uint16) * 257).T.reshape(-1).tolist(), 338: [2]}
    both = narrow(np.dstack([GRAY, OPACITY]))
    for planes in (False, True):
        yield _by_hand(
            f"palette8-alpha-{planes}", both, narrow(shares)[index], narrow(OPACITY), planes=planes, tags=tags
        )


def _codecs() -> Iterator[Cell]:
    for name, shares, kind in (("gray", GRAY, "minisblack"), ("rgb", COLOR, "rgb")):
        for bits, to_levels in ((8, narrow), (16, wide)):
            stored = to_levels(shares)
            for codec in ("jpeg2000", "jpegxl", "lerc"):
                for parts, cut in PARTS.items():
                    given = {"photometric": kind, "compression": codec, **cut}
                    yield _by_tifffile(f"{name}{bits}-{codec}-{parts}", stored, stored, **given)
        yield _by_tifffile(
            f"{name}-float-lerc", shares.astype(np.float32), wide(shares), photometric=kind, compression="lerc"
        )
        yield _by_tifffile(
            f"{name}-float-jpegxl", shares.astype(np.float32), wide(shares), photometric=kind, compression="jpegxl"
        )
    for parts, cut in PARTS.items():
        yield _by_tifffile(
            f"rgb8-webp-{parts}", narrow(COLOR), narrow(COLOR), photometric="rgb", compression="webp", **cut
        )
        rgba = narrow(np.dstack([COLOR, OPACITY]))
        yield _by_tifffile(
            f"rgb8-alpha-webp-{parts}",
            rgba,
            narrow(COLOR),
            narrow(OPACITY),
            photometric="rgb",
            extrasamples=["unassalpha"],
            compression="webp",
            **cut,
        )


CELLS = [*_matrix(), *_few_bits(), *_numbers(), *_opacity(), *_palettes(), *_codecs()]


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_a_layout_gives_its_pixels(cell: Cell) -> None:
    assert judge(cell) is None
