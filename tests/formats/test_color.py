"""Profile x depth x layout x format: colors come out in sRGB, whoever says what the levels mean."""

import io
import struct
from collections.abc import Iterator
from itertools import product

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from chroma.lab import RGB_TO_XYZ
from service.errors import UnsupportedPicture
from service.pictures.decode import decode
from service.pictures.decoders import jxl_profile
from service.pictures.probe import probe
from service.pictures.profiles import cmyk_to_srgb, to_srgb
from tests.formats import profiles
from tests.formats.cells import Cell, judge
from tests.formats.files import (
    box,
    codestream,
    color,
    exif,
    gray,
    icc_chunk,
    jp2_with,
    jpeg_with,
    opacity,
    png,
    segment,
)
from tests.formats.jxl_header import color as jxl_color
from tests.formats.jxl_header import with_header
from tests.formats.jxl_profiles import made_of_jpeg, with_profile
from tests.formats.profiles import ADOBE, SRGB, WIDE, as_levels, dot_gain, encoded, shown, srgb_curve
from tests.pictures import by_pillow, icc_profile, png_chunk

DEPTHS = (np.uint8, np.uint16)
SRGB_CURVE = profiles.parametric(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)

RGB_PROFILES = {
    "linear-named-srgb": (profiles.rgb(1.0, SRGB, "GIMP built-in Linear sRGB"), 1.0, SRGB),
    "gamma-1.8": (profiles.rgb(1.8, SRGB), 1.8, SRGB),
    "gamma-2.2-named-srgb": (profiles.rgb(563 / 256, SRGB, "sRGB-elle-V2-g22"), 563 / 256, SRGB),
    "adobe": (profiles.rgb(563 / 256, ADOBE), 563 / 256, ADOBE),
    "prophoto": (profiles.rgb(1.8, WIDE), 1.8, WIDE),
    "table": (profiles.rgb(srgb_curve, ADOBE), srgb_curve, ADOBE),
    "parametric": (
        profiles.rgb(SRGB_CURVE, ADOBE), srgb_curve, ADOBE
    ),
    "parametric-power": (profiles.rgb(profiles.parametric(0, 461 / 256), SRGB), 461 / 256, SRGB),
}  # fmt: skip
"""Each with what it says in numbers."""

GRAY_PROFILES = {
    "dot-gain": (profiles.gray(dot_gain), dot_gain),
    "linear": (profiles.gray(1.0, "sRGB gray, linear"), 1.0),
    "gamma-2.2": (profiles.gray(2.2), 2.2),
    "lightness": (
        profiles.gray(1.0, connection=b"Lab "),
        lambda v: np.where(v > 0.08, ((100 * v + 16) / 116) ** 3, v * 2700 / 24389),
    ),
}


def muted(dtype: type) -> np.ndarray:
    """Return colors that lie within sRGB whatever the profile, dark ones included."""
    top = np.iinfo(dtype).max
    ramp = np.linspace(0.02, 0.9, 48)
    rows = np.linspace(0.9, 1.0, 32)[:, None]
    shares = np.dstack([ramp * rows, ramp * np.ones_like(rows), ramp * rows[::-1]])
    return (shares * top).astype(dtype)


def ramp(dtype: type) -> np.ndarray:
    """Return all grays from black to white."""
    return np.linspace(0, np.iinfo(dtype).max, 1024).astype(dtype).reshape(16, 64)


def profile_cells() -> Iterator[Cell]:
    for dtype, (name, (icc, curve, colors)) in product(DEPTHS, RGB_PROFILES.items()):
        bits, levels = 8 * np.dtype(dtype).itemsize, muted(dtype)
        said = shown(levels, curve, colors)
        yield Cell(f"png-{name}-{bits}", lambda levels=levels, icc=icc: png(levels, icc_chunk(icc)), said)
        boxes = box(b"colr", b"\2\0\0" + icc)
        yield Cell(
            f"jp2-{name}-{bits}",
            lambda levels=levels, bits=bits, boxes=boxes: jp2_with(codestream(levels), levels, bits=bits, boxes=boxes),
            said,
        )
        rgba = np.dstack([levels, np.full(levels.shape[:2], np.iinfo(dtype).max // 3, dtype)])
        yield Cell(f"png-alpha-{name}-{bits}", lambda rgba=rgba, icc=icc: png(rgba, icc_chunk(icc)), said, rgba[..., 3])
        white = np.dstack([ramp(dtype)] * 3)
        yield Cell(
            f"png-gray-in-color-{name}-{bits}",
            lambda white=white, icc=icc: png(white, icc_chunk(icc)),
            shown(ramp(dtype), curve),
        )
    for dtype, (name, (icc, curve)) in product(DEPTHS, GRAY_PROFILES.items()):
        bits, levels = 8 * np.dtype(dtype).itemsize, ramp(dtype)
        both = np.dstack([levels, opacity(dtype)[:16, :1].repeat(64, 1)])
        said = shown(levels, curve)
        yield Cell(f"png-gray-{name}-{bits}", lambda levels=levels, icc=icc: png(levels, icc_chunk(icc)), said)
        yield Cell(f"png-gray-alpha-{name}-{bits}", lambda b=both, icc=icc: png(b, icc_chunk(icc)), said, both[..., 1])
    # Its colors call themselves by another type.
    odd = profiles.rgb(1.8, ADOBE).replace(b"XYZ \0\0\0\0", b"\x17\xa5\x05\xb8\0\0\0\0")
    yield Cell("png-corbis", lambda: png(muted(np.uint8), icc_chunk(odd)), shown(muted(np.uint8), 1.8, ADOBE))
    for kind, options in (("WEBP", {"lossless": True}), ("AVIF", {"quality": 100, "subsampling": "4:4:4"})):
        for name, (icc, curve, colors) in RGB_PROFILES.items():
            data = by_pillow(muted(np.uint8), kind, icc_profile=icc, **options)
            plain = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
            yield Cell(f"{kind.lower()}-{name}", lambda data=data: data, shown(plain, curve, colors))


def jxl_profile_cells() -> Iterator[Cell]:
    for dtype, (name, (icc, curve, colors)) in product(DEPTHS, RGB_PROFILES.items()):
        bits, levels = 8 * np.dtype(dtype).itemsize, muted(dtype)
        data = with_profile(levels, icc)
        yield Cell(f"jxl-{name}-{bits}", lambda data=data: data, shown(levels, curve, colors))
    for dtype, (name, (icc, curve)) in product(DEPTHS, GRAY_PROFILES.items()):
        if name == "lightness":
            continue  # libjxl takes no gray profile that is connected by Lab.
        bits, levels = 8 * np.dtype(dtype).itemsize, ramp(dtype)
        data = with_profile(levels, icc)
        yield Cell(f"jxl-gray-{name}-{bits}", lambda data=data: data, shown(levels, curve))


def signal_cells() -> Iterator[Cell]:
    """What a PNG says in numbers, and which of several counts."""
    gamma = lambda value: png_chunk(b"gAMA", struct.pack(">L", round(value * 100_000)))  # noqa: E731
    points = lambda primaries, curve: png_chunk(b"cICP", bytes([primaries, curve, 0, 1]))  # noqa: E731
    srgb = png_chunk(b"sRGB", b"\0")
    p3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
    adobe = png_chunk(b"cHRM", struct.pack(">8L", 31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000))
    linear_icc, bt709 = icc_chunk(profiles.rgb(1.0)), _of_bt_709
    for dtype in DEPTHS:
        bits, plane, colors = 8 * np.dtype(dtype).itemsize, ramp(dtype), muted(dtype)
        table = {
            "gama-1": ((gamma(1.0),), plane, shown(plane, 1.0)),
            "gama-1.8": ((gamma(256 / 461),), plane, shown(plane, 461 / 256)),
            "gama-of-srgb": ((gamma(0.45455),), plane, plane),
            "gama-nonsense": ((gamma(0.0),), plane, plane),
            "gama-color": ((gamma(1.0),), colors, shown(colors, 1.0)),
            "gama-chrm": ((gamma(256 / 563), adobe), colors, shown(colors, 563 / 256, ADOBE)),
            "chrm-alone": ((adobe,), colors, shown(colors, srgb_curve, ADOBE)),
            "srgb-over-gama": ((srgb, gamma(1.0), adobe), colors, colors),
            "iccp-over-gama": ((linear_icc, gamma(0.3)), colors, shown(colors, 1.0)),
            "iccp-over-srgb": ((linear_icc, srgb), colors, shown(colors, 1.0)),
            "cicp-over-iccp": ((points(1, 13), linear_icc, gamma(0.3)), colors, colors),
            "cicp-linear": ((points(1, 8),), colors, shown(colors, 1.0)),
            "cicp-p3": ((points(12, 13), srgb), colors, shown(colors, srgb_curve, p3)),
            "cicp-709": ((points(1, 1),), plane, shown(plane, bt709)),
            "cicp-gray-linear": ((points(1, 8),), plane, shown(plane, 1.0)),
            "cicp-unspecified": ((points(2, 2),), colors, colors),
        }
        for name, (chunks, levels, said) in table.items():
            yield Cell(f"png-{name}-{bits}", lambda levels=levels, chunks=chunks: png(levels, *chunks), said)
    for curve, name in ((16, "PQ"), (18, "HLG")):
        yield Cell(f"png-{name}", lambda c=curve: png(gray(), points(9, c)), refusal=UnsupportedPicture, says=name)
        made = lambda c=curve: bytes(imagecodecs.avif_encode(color(), primaries=9, transfer=c, numthreads=1))  # noqa: E731
        yield Cell(f"avif-{name}", made, refusal=UnsupportedPicture, says=name)
    yield Cell("png-unknown", lambda: png(gray(), points(1, 99)), refusal=UnsupportedPicture, says="H.273")
    levels = muted(np.uint8)
    for name, primaries, curve, said in (
        ("linear", 1, 8, shown(levels, 1.0)),
        ("p3", 12, 13, shown(levels, srgb_curve, p3)),
        ("srgb", 1, 13, levels),
        ("unspecified", 2, 2, levels),
    ):
        options = {"primaries": primaries, "transfer": curve, "matrix": 0, "level": 100, "numthreads": 1}
        yield Cell(f"avif-nclx-{name}", lambda o=options: bytes(imagecodecs.avif_encode(levels, **o)), said)
    for name, say, said in (
        ("p3", jxl_color(primaries=11), shown(levels, srgb_curve, p3)),
        ("linear", jxl_color(curve=8), shown(levels, 1.0)),
        ("gamma", jxl_color(gamma=5_555_556), shown(levels, 1.8)),
        ("bt709", jxl_color(curve=1), shown(levels, bt709)),
    ):
        yield Cell(f"jxl-{name}", lambda say=say: with_header(levels, color=say), said)
    pq = jxl_color(primaries=9, curve=16)
    yield Cell("jxl-PQ", lambda: with_header(levels, color=pq), refusal=UnsupportedPicture, says="PQ")


def _of_bt_709(levels: np.ndarray) -> np.ndarray:
    return np.where(levels < 0.081, levels / 4.5, ((levels + 0.099) / 1.099) ** (1 / 0.45))


CELLS = [*profile_cells(), *jxl_profile_cells(), *signal_cells()]


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_colors_come_out_in_srgb(cell: Cell) -> None:
    assert judge(cell) is None


def test_cells_have_names_of_their_own() -> None:
    assert len({cell.name for cell in CELLS}) == len(CELLS) > 100


@pytest.mark.parametrize("dtype", DEPTHS)
@pytest.mark.parametrize("kind", ["lcms", "table", "parametric", "imagecodecs"])
def test_a_profile_of_srgb_changes_nothing_whatever_its_name(kind: str, dtype: type) -> None:
    icc = {
        "lcms": icc_profile("srgb"),
        "table": profiles.rgb(srgb_curve, SRGB, "nothing known"),
        "parametric": profiles.rgb(
            profiles.parametric(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045), SRGB, "x"
        ),
        "imagecodecs": bytes(imagecodecs.cms_profile("srgb")),
    }[kind]
    levels = color(dtype)
    assert to_srgb(levels, icc) is levels


@pytest.mark.parametrize("name", ["linear-named-srgb", "adobe", "gamma-1.8"])
def test_a_lossy_jpeg_xl_is_in_the_space_that_its_decoder_gives(name: str) -> None:
    """It is stored in a space of its own, and comes out in the profile's or another."""
    icc, curve, colors = RGB_PROFILES[name]
    data = with_profile(muted(np.uint8), icc, lossless=False)
    found = decode(data, probe(data, max_megapixels=1)).pixels
    assert np.abs(found.astype(int) - shown(muted(np.uint8), curve, colors)).max() <= 8


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_jpeg_xl_made_of_a_jpeg_is_that_jpeg(orientation: int) -> None:
    icc, *_ = RGB_PROFILES["adobe"]
    source = jpeg_with(muted(np.uint8), segment(0xE1, b"Exif\0\0" + exif(orientation)), icc_profile=icc)
    data = made_of_jpeg(source)
    header = probe(data, max_megapixels=1)
    assert (header.format, header.orientation) == ("JPEGXL", orientation)
    np.testing.assert_array_equal(decode(data, header).pixels, decode(source, probe(source, max_megapixels=1)).pixels)


def test_without_libjxl_a_jpeg_xl_with_a_profile_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    data = with_profile(color(), RGB_PROFILES["adobe"][0])
    assert probe(data, max_megapixels=1).format == "JPEGXL"
    monkeypatch.setattr(jxl_profile, "is_available", lambda: False)
    with pytest.raises(UnsupportedPicture, match="JPEG XL with an ICC profile"):
        probe(data, max_megapixels=1)


UNFIT = {
    "garbage": b"garbage",
    "empty": b"",
    "cut": profiles.rgb(1.8)[:300],
    "signature alone": bytes(36) + b"acsp" + bytes(100),
    "no curve": profiles.profile(b"RGB ", {b"rXYZ": b"XYZ \0\0\0\0" + bytes(12)}),
    "no colors": profiles.rgb(1.8, ((0, 0, 0),) * 3),
    "an unknown curve": profiles.rgb(b"para\0\0\0\0\0\x09\0\0" + bytes(28)),
    "a curve of nothing": profiles.rgb(b"curv\0\0\0\0\xff\xff\xff\xff" + bytes(28)),
    "of inks": profiles.table_of_lab(b"CMYK", 4, lambda inks: np.zeros((len(inks), 3)), steps=3),
}


@pytest.mark.parametrize("name", UNFIT)
@pytest.mark.parametrize("layout", ["gray", "color"])
def test_a_profile_that_is_broken_or_does_not_fit_counts_as_absent(name: str, layout: str) -> None:
    levels = gray() if layout == "gray" else color()
    np.testing.assert_array_equal(to_srgb(levels, UNFIT[name]), levels)


def test_a_profile_of_the_other_layout_counts_as_absent() -> None:
    np.testing.assert_array_equal(to_srgb(gray(), profiles.rgb(1.0)), gray())
    np.testing.assert_array_equal(to_srgb(color(), profiles.gray(1.0)), color())


def _lab_of(light: np.ndarray) -> np.ndarray:
    """Return Lab under D50 of linear sRGB (n, 3)."""
    share = light @ np.array(SRGB) / np.array(profiles.D50)
    f = np.where(share > 216 / 24389, np.cbrt(share), (24389 / 27 * share + 16) / 116)
    return np.column_stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])])


def test_a_profile_of_tables_keeps_16_bits() -> None:
    """A scanner's; a straight table between its entries is what the profile itself says."""
    icc = profiles.table_of_lab(b"RGB ", 3, lambda rgb: _lab_of(rgb**1.8), steps=33)
    levels = np.dstack([np.linspace(3000, 65535, 4096).astype(np.uint16)[None].repeat(2, 0)] * 3)
    found = to_srgb(levels, icc)
    assert found.dtype == np.uint16
    said = shown(levels[..., 1], 1.8)
    assert np.abs(found[..., 1].astype(int) - said)[:, 200:].max() < 400  # coarse as 33 entries are
    assert len(np.unique(found[..., 1])) > 4000


@pytest.mark.parametrize("name", ["linear-named-srgb", "adobe", "prophoto"])
def test_dark_tones_of_16_bits_have_no_steps(name: str) -> None:
    icc, curve, colors = RGB_PROFILES[name]
    dark = np.arange(4096, dtype=np.uint16)[None].repeat(2, 0)
    levels = np.dstack([dark, dark, dark])
    levels[1, :, 0] += 1  # Not gray, so the matrix is gone through.
    found = to_srgb(levels, icc)
    said = shown(levels, curve, colors)
    assert np.abs(found.astype(int) - said).max() <= 2
    steps = np.diff(found[0, :, 1].astype(int))
    assert steps.min() >= 0
    assert steps.max() <= max(np.diff(said[0, :, 1].astype(int))) + 2


@pytest.mark.parametrize("name", ["adobe", "table", "prophoto"])
def test_profiles_say_what_little_cms_reads_in_them(name: str) -> None:
    icc = RGB_PROFILES[name][0]
    levels = np.random.default_rng(3).integers(0, 65536, (40, 50, 3), np.uint16)
    judged = imagecodecs.cms_transform(
        levels / 65535, icc, imagecodecs.cms_profile("srgb"), colorspace="rgb", outcolorspace="rgb",
        outdtype="f8", intent=0, flags=0x100,
    )  # fmt: skip
    shows = ((judged >= 0) & (judged <= 1)).all(axis=-1)
    assert shows.sum() > 100
    assert np.abs(to_srgb(levels, icc) / 65535 - judged)[shows].max() < 1 / 4096


@pytest.mark.parametrize("name", ["adobe", "prophoto"])
def test_colors_beyond_srgb_keep_their_luminance(name: str) -> None:
    """A toned print scanned into a wide space is as light as it was, its whites included."""
    icc, curve, colors = RGB_PROFILES[name]
    top = np.linspace(0.1, 1, 64)
    toned = np.dstack([top, top * 0.9, top * 0.72])
    vivid = np.random.default_rng(3).random((40, 64, 3))
    levels = (np.concatenate([toned, vivid]) * 65535).astype(np.uint16)
    light = (levels / 65535) ** curve @ np.array(colors) @ np.linalg.inv(np.array(SRGB))
    said = encoded(light @ RGB_TO_XYZ[1])
    assert (light.max(axis=-1) > 1.001).sum() > 100
    assert (light.min(axis=-1) < -0.001).sum() > 100
    found = srgb_curve(to_srgb(levels, icc) / 65535)
    assert np.abs(encoded(found @ RGB_TO_XYZ[1]) - said).max() < 1 / 2048


def _press(inks: np.ndarray) -> np.ndarray:
    """Return Lab of inks (n, 4): what they let pass, multiplied, as light."""
    return _lab_of(((1 - inks[:, :3]) * (1 - inks[:, 3:])) ** 2.2)


PRESS = profiles.table_of_lab(b"CMYK", 4, _press, steps=9)


@pytest.mark.parametrize("dtype", DEPTHS)
@pytest.mark.parametrize("icc", [None, b"garbage", icc_profile("gamma1")], ids=["none", "broken", "of another device"])
def test_inks_without_a_profile_let_pass_what_they_do(icc: bytes | None, dtype: type) -> None:
    top = np.iinfo(dtype).max
    inks = np.random.default_rng(1).integers(0, top, (9, 11, 4), dtype, endpoint=True)
    found = cmyk_to_srgb(inks, icc)
    passed = (top - inks.astype(np.int64)) / top
    assert found.dtype == dtype
    assert np.abs(found - passed[..., :3] * passed[..., 3:] * top).max() <= 0.51


@pytest.mark.parametrize("dtype", DEPTHS)
def test_inks_are_converted_by_their_profile_in_their_depth(dtype: type) -> None:
    top = np.iinfo(dtype).max
    inks = np.zeros((2, 9, 4), dtype)
    inks[0, :, 3] = inks[1, :, 0] = np.linspace(0, 1, 9) * top
    found = cmyk_to_srgb(inks, PRESS)
    said = as_levels(encoded(profiles.shares_of(top - inks[0, :, 3]) ** 2.2), dtype)
    assert found.dtype == dtype
    assert np.abs(found[0, :, 1].astype(int) - said).max() <= top * 0.02
    assert found[1, -1, 0] < top * 0.1 < top * 0.9 < found[1, -1, 2]


def test_cmyk_jpeg_with_a_profile_is_what_pillow_makes_of_its_inks() -> None:
    inks = Image.fromarray(color()).convert("CMYK")
    for adobe in (False, True):
        data = by_pillow(inks, "JPEG", quality=100, icc_profile=PRESS)
        data = data if adobe else data.replace(b"Adobe", b"adobe")
        with Image.open(io.BytesIO(data)) as image:
            stored = np.asarray(image)
        judge(Cell("cmyk", lambda data=data: data, cmyk_to_srgb(stored, PRESS)))
    assert not np.array_equal(cmyk_to_srgb(stored, PRESS), cmyk_to_srgb(stored, None))


def test_a_profile_in_several_segments_is_joined() -> None:
    icc = profiles.rgb(1.8, SRGB)
    parts = [icc[:100], icc[100:200], icc[200:]]
    order = [1, 0, 2]
    chunks = [segment(0xE2, b"ICC_PROFILE\0" + bytes([at + 1, 3]) + parts[at]) for at in order]
    flat = np.full((16, 16, 3), (60, 120, 180), np.uint8)
    colored = jpeg_with(flat, *chunks)
    with Image.open(io.BytesIO(colored)) as image:
        stored = np.asarray(image)
        assert image.info["icc_profile"] == icc
    assert judge(Cell("color", lambda: colored, shown(stored, 1.8))) is None
