"""TIFFs of other colors than gray and RGB, JPEG and fax inside them, profiles, orientation, and what is refused."""

import io
from collections.abc import Iterator, Sequence
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms

from service.errors import BrokenPicture, CostlyPicture, RequestError, UnsupportedPicture
from service.pictures.decode import decode
from service.pictures.probe import probe
from service.pictures.tiff import judging
from tests.formats.cells import Cell, judge
from tests.formats.files import segment
from tests.formats.test_tiff import COLOR, DOWN, GRAY, HEIGHT, OPACITY, WIDTH, by_pillow, by_tifffile, narrow, wide
from tests.pictures import icc_profile
from tests.tiffs import LONG, SHORT, around, tiff

BRADFORD_D65_TO_D50 = np.array(
    [[1.0478112, 0.0228866, -0.0501270], [0.0295424, 0.9904844, -0.0170491], [-0.0092345, 0.0150436, 0.7521316]]
)
"""Lindbloom's table, which is computed elsewhere."""

SRGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)

GENTLE = 0.2 + 0.6 * COLOR
"""Colors that every space here holds."""


def linear_of(shares: np.ndarray) -> np.ndarray:
    return np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)


def lab_of(shares: np.ndarray) -> np.ndarray:
    """Return Lab under D50 of sRGB in [0, 1]."""
    xyz = linear_of(shares) @ SRGB_TO_XYZ.T @ BRADFORD_D65_TO_D50.T / [0.96422, 1.0, 0.82521]
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def _lab() -> Iterator[Cell]:
    lab = lab_of(GENTLE)
    gray = lab_of(np.dstack([GRAY] * 3))[..., :1]
    signed8 = np.rint(lab * [2.55, 1, 1]).astype(np.int64).astype(np.uint8)
    signed16 = np.rint(lab * [655.35, 256, 256]).astype(np.int64).astype(np.uint16)
    offset8 = np.rint(lab * [2.55, 1, 1] + [0, 128, 128]).astype(np.uint8)
    offset16 = np.rint(lab * [652.80, 256, 256] + [0, 32768, 32768]).astype(np.uint16)
    for planes in (False, True):
        for order in ("<", ">"):
            for photometric, stored in ((8, signed16), (9, offset16)):
                options = {"planes": planes, "order": order, "tags": {262: [photometric]}}
                yield Cell(f"lab16-{photometric}-{planes}-{order}", _made(stored, options), wide(GENTLE))
                with_alpha = np.dstack([stored, wide(OPACITY)])
                options = options | {"tags": {262: [photometric], 338: [2]}}
                name = f"lab16-alpha-{photometric}-{planes}-{order}"
                yield Cell(name, _made(with_alpha, options), wide(GENTLE), wide(OPACITY))
        # With 8 bits a and b are whole numbers: what is stored is what must come out.
        for photometric, stored in ((8, signed8), (9, offset8)):
            options = {"planes": planes, "tags": {262: [photometric]}}
            whole = np.dstack([stored[..., :1] / 2.55, np.rint(lab[..., 1:])])
            yield Cell(f"lab8-{photometric}-{planes}", _made(stored, options), narrow(_srgb_of(whole)))
    lightness = np.rint(gray * 655.35).astype(np.uint16)
    yield Cell("lightness16", _made(lightness, {"planes": False, "tags": {262: [8]}}), wide(GRAY))
    yield Cell(
        "lightness8-tiles", _made(np.rint(gray * 2.55).astype(np.uint8), {"tile": 16, "tags": {262: [8]}}), _dark()
    )


def _dark() -> np.ndarray:
    stored = np.rint(lab_of(np.dstack([GRAY] * 3))[..., :1] * 2.55) / 2.55
    return narrow(_srgb_of(np.dstack([stored, stored * 0, stored * 0])))[..., 0]


def _srgb_of(lab: np.ndarray) -> np.ndarray:
    height = (lab[..., 0] + 16) / 116
    f = np.stack([height + lab[..., 1] / 500, height, height - lab[..., 2] / 200], axis=-1)
    xyz = np.where(f > 6 / 29, f**3, (116 * f - 16) / (24389 / 27)) * [0.96422, 1.0, 0.82521]
    linear = np.clip(xyz @ np.linalg.inv(BRADFORD_D65_TO_D50).T @ np.linalg.inv(SRGB_TO_XYZ).T, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _made(stored: np.ndarray, options: dict[str, Any]) -> Any:
    return lambda: tiff(stored, **options)


def ycbcr_of(shares: np.ndarray, weights: Sequence[float] = (0.299, 0.587, 0.114)) -> np.ndarray:
    """Return levels of full range, rounded, of RGB in [0, 1]."""
    luma = shares @ np.array(weights)
    blue, red = ((shares[..., at] - luma) / (2 - 2 * weights[at]) for at in (2, 0))
    return np.rint(np.stack([255 * luma, 255 * blue + 128, 255 * red + 128], axis=-1))


def rgb_of(levels: np.ndarray, weights: Sequence[float] = (0.299, 0.587, 0.114)) -> np.ndarray:
    """Return 8-bit RGB of levels of full range."""
    luma, blue, red = np.moveaxis(levels.astype(np.float64) - [0, 128, 128], -1, 0)
    r, b = luma + (2 - 2 * weights[0]) * red, luma + (2 - 2 * weights[2]) * blue
    g = (luma - weights[0] * r - weights[2] * b) / weights[1]
    return np.rint(np.clip(np.stack([r, g, b], axis=-1), 0, 255)).astype(np.uint8)


def _ycbcr() -> Iterator[Cell]:
    # Chroma that is the same over 4 x 4 px survives any subsampling.
    levels = ycbcr_of(GENTLE)
    levels[..., 1:] = np.repeat(np.repeat(levels[::4, ::4, 1:], 4, 0), 4, 1)[:HEIGHT, :WIDTH]
    levels[..., 0] = 100 + np.rint(50 * GRAY)
    pixels = rgb_of(levels)
    for across, down in ((1, 1), (2, 1), (2, 2), (4, 2), (4, 4), (1, 2)):
        for rows in (HEIGHT, 8):
            for packed in ("none", "deflate"):
                chunky = [_units(part, across, down) for part in _strips(levels, rows)]
                name = f"ycbcr-{across}{down}-{packed}-{'strip' if rows == HEIGHT else 'strips'}"
                yield Cell(name, _around(chunky, rows, packed, across, down, apart=False), pixels)
                planes = [
                    part[:: down if plane else 1, :: across if plane else 1, plane].astype(np.uint8).tobytes()
                    for plane in range(3)
                    for part in _strips(levels, rows)
                ]
                yield Cell(f"{name}-planes", _around(planes, rows, packed, across, down, apart=True), pixels)
    weights = (0.2126, 0.7152, 0.0722)
    other = ycbcr_of(GENTLE, weights)
    options = {"planes": False, "tags": {262: [6], 530: [1, 1], 529: list(weights)}}
    yield Cell("ycbcr-709", _made(other.astype(np.uint8), options), rgb_of(other, weights))
    limited = np.rint((levels - [0, 128, 128]) * [219 / 255, 112 / 127.5, 112 / 127.5] + [16, 128, 128])
    whole = (limited - [16, 128, 128]) * [255 / 219, 127 / 112, 127 / 112] + [0, 128, 128]
    video = {262: [6], 530: [1, 1], 532: [16.0, 235, 128, 240, 128, 240]}
    yield Cell("ycbcr-video-range", _made(limited.astype(np.uint8), {"planes": False, "tags": video}), rgb_of(whole))
    image = Image.fromarray(narrow(GENTLE)).convert("YCbCr")
    yield Cell("ycbcr-by-pillow", lambda: by_pillow(image), rgb_of(np.asarray(image)))


def _strips(levels: np.ndarray, rows: int) -> list[np.ndarray]:
    return [levels[top : top + rows] for top in range(0, HEIGHT, rows)]


def _units(levels: np.ndarray, across: int, down: int) -> bytes:
    """Return a strip as units of luma and one pair of chroma (TIFF 6.0, section 21)."""
    height, width = levels.shape[:2]
    whole = np.pad(levels, ((0, -height % down), (0, -width % across), (0, 0)), mode="edge").astype(np.uint8)
    packed = bytearray()
    for top in range(0, len(whole), down):
        for left in range(0, whole.shape[1], across):
            packed += whole[top : top + down, left : left + across, 0].tobytes() + whole[top, left, 1:].tobytes()
    return bytes(packed)


def _around(parts: list[bytes], rows: int, packed: str, across: int, down: int, *, apart: bool) -> Any:
    entries: dict[int, tuple[int, Sequence[float]]] = {
        256: (SHORT, [WIDTH]),
        257: (SHORT, [HEIGHT]),
        258: (SHORT, [8, 8, 8]),
        259: (SHORT, [1 if packed == "none" else 8]),
        262: (SHORT, [6]),
        277: (SHORT, [3]),
        278: (SHORT, [rows]),
        284: (SHORT, [2 if apart else 1]),
        530: (SHORT, [across, down]),
    }
    stored = parts if packed == "none" else [imagecodecs.zlib_encode(part) for part in parts]
    return lambda: around(stored, entries | {279: (LONG, [len(part) for part in stored])})


def _jpeg() -> Iterator[Cell]:
    soft = narrow(GENTLE)
    for sampling in ((1, 1), (2, 2), (2, 1)):
        for parts in ({"rowsperstrip": 16}, {"rowsperstrip": HEIGHT + 3}, {"tile": (16, 32)}):
            options = {"photometric": "ycbcr", "compression": "jpeg", "subsampling": sampling, **parts}
            given = options | {"compressionargs": {"level": 100}}
            data = by_tifffile(soft, **given)
            name = f"jpeg-ycbcr-{sampling[0]}{sampling[1]}-{'-'.join(parts)}"
            # Lossy: against another decoder, whose chroma ends at a strip's border as ours does.
            yield Cell(name, lambda data=data: data, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    for name, levels, options in (
        ("gray8", narrow(GRAY), {"photometric": "minisblack"}),
        ("white-is-zero8", 255 - narrow(GRAY), {"photometric": "miniswhite"}),
        ("rgb8", soft, {"photometric": "rgb"}),
        ("gray12", np.rint(GRAY * 4095).astype(np.uint16), {"photometric": "minisblack"}),
        ("rgb12", np.rint(GENTLE * 4095).astype(np.uint16), {"photometric": "rgb"}),
    ):
        pixels = 255 - levels if name.startswith("white") else levels
        expected = pixels if levels.dtype == np.uint8 else wide(levels / 4095)
        for jfif in (False, True):
            made = _lossless(levels, options["photometric"], jfif=jfif)
            yield Cell(f"jpeg-lossless-{name}{'-jfif' if jfif else ''}", made, expected)
    deep = np.rint(GRAY * 4095).astype(np.uint16)
    data = by_tifffile(deep, photometric="minisblack", compression="jpeg", compressionargs={"bitspersample": 12})
    written = imagecodecs.jpeg8_decode(imagecodecs.jpeg8_encode(deep, bitspersample=12))
    yield Cell("jpeg-gray12", lambda: data, wide(written / 4095))
    yield Cell("jpeg-lossless-gray16", _lossless(wide(GRAY), "minisblack"), wide(GRAY))
    yield Cell(
        "jpeg-by-pillow-with-tables", lambda: by_pillow(Image.fromarray(soft), compression="jpeg"), _pillow_s(soft)
    )


def _pillow_s(levels: np.ndarray) -> np.ndarray:
    data = by_pillow(Image.fromarray(levels), compression="jpeg")
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def _lossless(levels: np.ndarray, photometric: str, *, jfif: bool = False) -> Any:
    bits = 12 if levels.max() < 4096 and levels.dtype == np.uint16 else 8 * levels.itemsize
    kind = {"minisblack": 1, "miniswhite": 0, "rgb": 2}[photometric]
    space = "RGB" if levels.ndim == 3 else "GRAYSCALE"
    strip = imagecodecs.jpeg8_encode(levels, lossless=True, bitspersample=bits, colorspace=space, outcolorspace=space)
    if jfif:
        strip = strip[:2] + segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0") + strip[2:]
    channels = 1 if levels.ndim == 2 else 3
    entries: dict[int, tuple[int, Sequence[float]]] = {
        256: (SHORT, [WIDTH]),
        257: (SHORT, [HEIGHT]),
        258: (SHORT, [bits] * channels),
        259: (SHORT, [7]),
        262: (SHORT, [kind]),
        277: (SHORT, [channels]),
        278: (SHORT, [HEIGHT]),
        279: (LONG, [len(strip)]),
    }
    return lambda: around([strip], entries)


def _fax() -> Iterator[Cell]:
    bits = (GRAY * 7 % 1) > 0.5
    pixels = np.where(bits, np.uint8(255), np.uint8(0))
    for compression in ("tiff_ccitt", "group3", "group4", "packbits", "tiff_lzw", "tiff_adobe_deflate"):
        data = by_pillow(Image.fromarray(bits), compression=compression)
        yield Cell(f"bilevel-{compression}", lambda data=data: data, pixels)


def _profiles() -> Iterator[Cell]:
    gamma1 = icc_profile("gray1")
    light = np.where(GRAY <= 0.0031308, 12.92 * GRAY, 1.055 * GRAY ** (1 / 2.4) - 0.055)
    for alpha in (None, OPACITY):
        stored = narrow(GRAY if alpha is None else np.dstack([GRAY, alpha]))
        extra = {} if alpha is None else {"extrasamples": ["unassalpha"]}
        options = {"photometric": "minisblack", "iccprofile": gamma1, **extra}
        curve = np.rint(255 * _encoded(stored if alpha is None else stored[..., 0])).astype(np.uint8)
        yield Cell(
            f"gray-profile-{'plain' if alpha is None else 'alpha'}",
            lambda stored=stored, options=options: by_tifffile(stored, **options),
            curve,
            None if alpha is None else narrow(alpha),
        )
    assert light.max() <= 1.0


def _encoded(levels: np.ndarray) -> np.ndarray:
    shares = levels / 255
    return np.where(shares <= 0.0031308, 12.92 * shares, 1.055 * shares ** (1 / 2.4) - 0.055)


def _orientation() -> Iterator[Cell]:
    stored = wide(COLOR)
    for orientation in range(1, 9):
        turned = stored.swapaxes(0, 1) if orientation >= 5 else stored
        # By EXIF's own table: where the first row and the first column of what is stored belong.
        rows, columns = {1: (1, 1), 2: (1, -1), 3: (-1, -1), 4: (-1, 1)}.get(orientation, (0, 0))
        if orientation >= 5:
            rows, columns = {5: (1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}[orientation]
        options = {"planes": orientation % 2 == 0, "tags": {274: [orientation]}}
        yield Cell(f"orientation-{orientation}", _made(stored, options), turned[::rows, ::columns])


CELLS = [*_lab(), *_ycbcr(), *_jpeg(), *_fax(), *_profiles(), *_orientation()]


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_colors_and_codecs_give_their_pixels(cell: Cell) -> None:
    assert judge(cell) is None


PLAIN = narrow(COLOR)


def _refused() -> Iterator[Cell]:
    def cell(name: str, stored: np.ndarray, says: str, **options: Any) -> Cell:
        return Cell(name, _made(stored, {"planes": False} | options), refusal=UnsupportedPicture, says=says)

    for number, says in (
        (6, "old-style JPEG"),
        (9, "JBIG"),
        (32766, "NeXT"),
        (32809, "ThunderScan"),
        (32909, "PixarLog"),
        (34661, "JBIG"),
        (34676, "SGI LogLuv"),
        (34713, "Nikon"),
        (34933, "PNG"),
        (34934, "JPEG XR"),
        (12345, "number 12345"),
    ):
        yield cell(f"compression-{number}", PLAIN, says, tags={259: [number]})
    for number, says in (
        (4, "transparency mask"),
        (10, "ITU Lab"),
        (32803, "a sensor's mosaic: develop it first and send a TIFF or JPEG"),
        (32844, "LogL"),
        (32845, "LogLuv"),
        (777, "PhotometricInterpretation 777"),
    ):
        yield cell(f"photometric-{number}", PLAIN, says, tags={262: [number]})
    yield cell("depths-differ", PLAIN, "different depths", tags={258: [5, 6, 5]})
    yield cell("complex", PLAIN, "complex", tags={339: [6, 6, 6]})
    yield cell("float-of-8-bits", PLAIN, "8 floating-point bits", tags={339: [3, 3, 3]})
    yield cell("lab-of-32-bits", PLAIN, "32 unsigned bits", tags={262: [8], 258: [32] * 3})
    yield Cell(
        "float-of-unknown-range",
        lambda: by_tifffile((255 * COLOR).astype(np.float32), photometric="rgb"),
        refusal=UnsupportedPicture,
        says="unknown range, most of them above 1",
    )
    for dtype, most, says in (
        (np.int32, 65_535, "levels from 0 to 65535 in 32 bits"),
        (np.uint32, 65_535, "levels from 0 to 65535 in 32 bits"),
        (np.int16, 255, "levels from 0 to 255 in 16 bits"),
    ):
        yield Cell(
            f"few-of-{np.dtype(dtype).name}",
            lambda dtype=dtype, most=most: by_tifffile(np.rint(most * GRAY).astype(dtype), photometric="minisblack"),
            refusal=UnsupportedPicture,
            says=says,
        )
    yield cell("inks", np.dstack([PLAIN, PLAIN[..., :1]]), "other inks", tags={262: [5], 332: [2], 338: None})
    yield cell("predictor", PLAIN, "unknown predictor (34892)", compression="deflate", tags={317: [34892]})
    yield cell(
        "predictor-of-12-bits", PLAIN.astype(np.uint16), "Predictor 2", compression="deflate", bits=12, predictor=True
    )
    yield cell("predictor-3-of-integers", PLAIN, "Predictor 3", compression="deflate", tags={317: [3]})
    yield cell("channels", np.zeros((8, 8, 65), np.uint8), "65 channels", tags={262: [1]})
    yield cell("fax-of-8-bits", PLAIN[..., 0], "more than one bit", tags={259: [4]})
    palette = {262: [3], 320: [0] * 768, 338: [1]}
    yield cell("palette-multiplied", PLAIN[..., :2], "multiplied by its opacity", tags=palette)
    yield Cell(
        "canon-raw",
        lambda: b"II*\0\x10\0\0\0CR\x02\0" + bytes(60),
        refusal=UnsupportedPicture,
        says="a sensor's mosaic",
    )


@pytest.mark.parametrize("cell", list(_refused()), ids=lambda cell: cell.name)
def test_what_is_not_read_is_refused_by_its_name(cell: Cell) -> None:
    assert judge(cell) is None


@pytest.mark.parametrize(
    "tags",
    [{256: None}, {257: [0]}, {258: [8] * 3, 277: [1]}, {322: [16]}],
    ids=["no-width", "no-height", "too-few-channels", "tiles-without-height"],
)
def test_what_contradicts_itself_is_broken(tags: dict[int, Sequence[int] | None]) -> None:
    with pytest.raises(BrokenPicture):
        probe(tiff(PLAIN, planes=False, tags=tags), max_megapixels=1)


def test_planes_that_lie_one_upon_the_other_are_broken() -> None:
    tall = {278: [4 * HEIGHT]}
    one_strip = tiff(PLAIN, planes=False, rows=8, tags=tall)
    assert np.array_equal(decode(one_strip, probe(one_strip, max_megapixels=1)).pixels, PLAIN)
    with pytest.raises(BrokenPicture, match="shorter than they must be"):
        probe(tiff(PLAIN, rows=8, tags=tall), max_megapixels=1)


@pytest.mark.parametrize("compression", ["none", "lzw", "deflate"])
def test_a_cut_file_is_broken_wherever_it_is_cut(compression: Any) -> None:
    data = tiff(PLAIN, rows=8, compression=compression)
    for length in range(4, len(data), max(1, len(data) // 60)):
        with pytest.raises(BrokenPicture):
            decode(data[:length], probe(data[:length], max_megapixels=1))


@pytest.mark.parametrize("options", [{"order": "<"}, {"order": ">"}, {"order": ">", "big": True}])
def test_nonsense_is_refused_or_read_and_nothing_else(options: dict[str, Any]) -> None:
    whole = tiff(wide(COLOR)[:3, :4], **options)
    rng = np.random.default_rng(6)
    answers = set()
    for length in range(4, len(whole)):
        damaged = whole[:length] + rng.bytes(len(whole) - length)
        try:
            answers.add(decode(damaged, probe(damaged, max_megapixels=1)).pixels.dtype.name)
        except RequestError as error:
            answers.add(error.name)
    assert "broken-picture" in answers
    assert "internal-error" not in answers


def test_a_predictor_counts_where_there_is_compression_as_for_libtiff() -> None:
    data = tiff(PLAIN, planes=False, tags={317: [2]})
    np.testing.assert_array_equal(decode(data, probe(data, max_megapixels=1)).pixels, PLAIN, strict=True)


def test_a_picture_cut_into_very_many_strips_is_too_costly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "MOST_PARTS", 3 * HEIGHT - 1)
    assert probe(tiff(PLAIN, rows=2), max_megapixels=1).width == WIDTH
    with pytest.raises(CostlyPicture, match=f"cut into {3 * HEIGHT}"):
        probe(tiff(PLAIN, rows=1), max_megapixels=1)


@pytest.mark.parametrize("stored", [PLAIN, PLAIN[..., 0]], ids=["rgb", "gray"])
def test_colors_that_are_not_said_are_what_they_are_to_libtiff(stored: np.ndarray) -> None:
    data = tiff(stored, planes=False, tags={262: None})
    np.testing.assert_array_equal(decode(data, probe(data, max_megapixels=1)).pixels, stored, strict=True)


def test_strips_without_lengths_are_read_up_to_the_next_one() -> None:
    for compression in ("none", "lzw", "deflate"):
        data = tiff(PLAIN, planes=False, rows=8, compression=compression, tags={279: None})
        np.testing.assert_array_equal(decode(data, probe(data, max_megapixels=1)).pixels, PLAIN, strict=True)


def test_the_profile_is_told_of_pages_and_gray_with_alpha() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = by_tifffile(
        narrow(np.dstack([GRAY, DOWN])), photometric="minisblack", extrasamples=["unassalpha"], iccprofile=profile
    )
    assert probe(data, max_megapixels=1).icc_profile == profile
    lab = tiff(PLAIN, tags={262: [8], 34675: profile})
    assert probe(lab, max_megapixels=1).icc_profile is None
