"""Format x depth x layout x alpha: files of independent writers, read to the level where nothing is lost in them."""

import io
import struct
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import cv2
import imagecodecs
import numpy as np
import pillow_heif
import pytest
from PIL import Image

from service.errors import BrokenPicture, SeveralFrames, UnsupportedPicture
from service.pictures.probe import probe
from tests.formats.cells import Cell, judge
from tests.formats.files import (
    avif_with,
    box,
    codestream,
    color,
    colr,
    decoded_by_pillow,
    gray,
    heic,
    jp2_with,
    opacity,
    png,
)
from tests.formats.profiles import shown
from tests.pictures import by_opencv, by_pillow, png_chunk

Writer = Callable[[np.ndarray], bytes]


def stacked(layout: str, dtype: type = np.uint8) -> np.ndarray:
    """Return a picture as libraries take it: L, LA, RGB or RGBA."""
    base = gray(dtype) if layout.startswith("L") else color(dtype)
    return np.dstack([base, opacity(dtype)]) if layout.endswith("A") else base


def expected(layout: str, dtype: type = np.uint8) -> dict[str, np.ndarray | None]:
    """Return what must come of it."""
    base = gray(dtype) if layout.startswith("L") else color(dtype)
    return {"pixels": base, "alpha": opacity(dtype) if layout.endswith("A") else None}


def widened(levels: np.ndarray, bits: int) -> np.ndarray:
    """Return levels of so many bits over all of 8, or 16."""
    return spread_over(levels, (1 << bits) - 1, np.uint8 if bits <= 8 else np.uint16)


def spread_over(levels: np.ndarray, white: int, dtype: type) -> np.ndarray:
    """Return levels of which one is white over all of a dtype."""
    return ((levels.astype(np.uint64) * 2 * np.iinfo(dtype).max + white) // (2 * white)).astype(dtype)


def pillow(kind: str, **options: Any) -> Writer:
    return lambda pixels: by_pillow(pixels, kind, **options)


def opencv(suffix: str, *parameters: int) -> Writer:
    return lambda pixels: by_opencv(pixels, suffix, *parameters)


def codecs(kind: str, **options: Any) -> Writer:
    return lambda pixels: bytes(getattr(imagecodecs, f"{kind}_encode")(pixels, **options))


JP2 = {"codecformat": "jp2", "reversible": True, "numthreads": 1}
J2K = {"codecformat": "j2k", "reversible": True, "numthreads": 1}
JXL = {"lossless": True, "numthreads": 1, "effort": 3}
LOSSLESS_J2K = (cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000)

WRITERS: tuple[tuple[str, Writer, str, tuple[type, ...]], ...] = (
    ("png-pillow", pillow("PNG"), "L LA RGB RGBA", (np.uint8,)),
    ("png-opencv", opencv(".png"), "L RGB RGBA", (np.uint8, np.uint16)),
    ("png-imagecodecs", codecs("png"), "L LA RGB RGBA", (np.uint8, np.uint16)),
    ("webp-pillow", pillow("WEBP", lossless=True, exact=True), "RGB RGBA", (np.uint8,)),
    ("webp-imagecodecs", codecs("webp", lossless=True), "RGB", (np.uint8,)),
    ("bmp-pillow", pillow("BMP"), "L RGB", (np.uint8,)),
    ("bmp-opencv", opencv(".bmp"), "L RGB", (np.uint8,)),
    ("bmp-imagecodecs", codecs("bmp"), "L RGB", (np.uint8,)),
    ("gif-pillow", pillow("GIF"), "L", (np.uint8,)),
    ("gif-imagecodecs", codecs("gif"), "L", (np.uint8,)),
    ("jp2-imagecodecs", codecs("jpeg2k", **JP2), "L RGB", (np.uint8, np.uint16)),
    ("j2k-imagecodecs", codecs("jpeg2k", **J2K), "L RGB", (np.uint8, np.uint16)),
    ("jp2-opencv", opencv(".jp2", *LOSSLESS_J2K), "L RGB", (np.uint8, np.uint16)),
    ("jp2-pillow", pillow("JPEG2000"), "L LA RGB RGBA", (np.uint8,)),
    ("jxl-imagecodecs", codecs("jpegxl", **JXL, usecontainer=False), "L LA RGB RGBA", (np.uint8,)),
    ("jxl-container-imagecodecs", codecs("jpegxl", **JXL, usecontainer=True), "L LA RGB RGBA", (np.uint8,)),
    ("avif-imagecodecs", codecs("avif", level=100, speed=9, numthreads=1), "L LA RGB RGBA", (np.uint8,)),
    ("ppm-pillow", pillow("PPM"), "L RGB", (np.uint8,)),
    ("pgm-opencv", opencv(".pgm"), "L", (np.uint8, np.uint16)),
    ("ppm-opencv", opencv(".ppm"), "RGB", (np.uint8, np.uint16)),
    ("pam-opencv", opencv(".pam"), "L", (np.uint8, np.uint16)),
    ("lossless-jpeg-imagecodecs", codecs("jpeg8", lossless=True), "L RGB", (np.uint8,)),
)


def lossless_cells() -> Iterator[Cell]:
    for name, write, layouts, dtypes in WRITERS:
        for layout, dtype in product(layouts.split(), dtypes):
            yield Cell(
                f"{name}-{layout}-{np.dtype(dtype).itemsize * 8}",
                lambda write=write, layout=layout, dtype=dtype: write(stacked(layout, dtype)),
                **expected(layout, dtype),
            )


def odd_depth_cells() -> Iterator[Cell]:
    """Depths between 8 and 16 bits, and below 8, spread over the whole range."""
    for bits, layout in product((9, 10, 12, 14), ("L", "RGB", "RGBA")):
        levels = stacked(layout, np.uint16) >> (16 - bits)
        wide = widened(levels, bits)
        said = {
            "pixels": wide[..., :3] if wide.ndim == 3 else wide,
            "alpha": wide[..., 3] if layout == "RGBA" else None,
        }
        if layout != "RGBA":  # It does not name the opacity as one.
            write = codecs("jpeg2k", **JP2, bitspersample=bits)
            yield Cell(f"jp2-{layout}-{bits}", lambda write=write, levels=levels: write(levels), **said)
        if bits in (10, 12):
            write = codecs("avif", level=100, speed=9, numthreads=1, bitspersample=bits)
            yield Cell(f"avif-{layout}-{bits}", lambda write=write, levels=levels: write(levels), **said)
    for bits, layout in product((9, 10, 12, 14, 16), ("L", "LA", "RGB", "RGBA")):
        levels = stacked(layout, np.uint16) >> (16 - bits)
        wide = widened(levels, bits)
        base = wide[..., 0] if layout == "LA" else wide[..., :3] if layout == "RGBA" else wide
        # It says of more than 8 bits that they are linear light.
        said = {"pixels": shown(base, 1.0), "alpha": wide[..., -1] if layout.endswith("A") else None}
        write = codecs("jpegxl", **JXL, bitspersample=bits)
        yield Cell(f"jxl-{layout}-{bits}", lambda write=write, levels=levels: write(levels), **said)
    for bits in (2, 4, 7, 9, 10, 12, 14, 16):
        levels = (gray(np.uint16) >> (16 - bits)).astype(np.uint8 if bits <= 8 else np.uint16)
        write = codecs("jpeg8", lossless=True, bitspersample=bits)
        yield Cell(f"lossless-jpeg-L-{bits}", lambda write=write, levels=levels: write(levels), widened(levels, bits))
    deep = color(np.uint16)
    yield Cell("lossless-jpeg-RGB-16", lambda: codecs("jpeg8", lossless=True, bitspersample=16)(deep), deep)


def png_cells() -> Iterator[Cell]:
    """What libraries do not write: few bits, one transparent level, 16-bit palettes of opacity."""
    for bits in (1, 2, 4):
        top = (1 << bits) - 1
        levels = gray() >> (8 - bits)
        wide = widened(levels, bits)
        yield Cell(f"png-L-{bits}", lambda bits=bits, levels=levels: png(levels, bits=bits), wide)
        for key in range(top + 1):
            chunk = png_chunk(b"tRNS", key.to_bytes(2, "big"))
            alpha = np.where(levels == key, 0, 255).astype(np.uint8)
            spread = png_chunk(b"tRNS", (key * 255 // top | 1 << 12).to_bytes(2, "big"))
            for name, said in (("", chunk), ("-spread", spread)):
                yield Cell(
                    f"png-L-{bits}-without-{key}{name}",
                    lambda bits=bits, levels=levels, said=said: png(levels, said, bits=bits),
                    wide,
                    alpha,
                )
    for dtype in (np.uint8, np.uint16):
        depth, top = np.dtype(dtype).itemsize * 8, np.iinfo(dtype).max
        plane, colors = gray(dtype), color(dtype)
        key = int(plane[5, 7])
        chunk = png_chunk(b"tRNS", key.to_bytes(2, "big"))
        alpha = np.where(plane == key, 0, top).astype(dtype)
        yield Cell(f"png-L-{depth}-without-one", lambda plane=plane, chunk=chunk: png(plane, chunk), plane, alpha)
        keys = colors[5, 7]
        chunk = png_chunk(b"tRNS", keys.astype(">u2").tobytes())
        alpha = np.where((colors == keys).all(-1), 0, top).astype(dtype)
        yield Cell(f"png-RGB-{depth}-without-one", lambda colors=colors, chunk=chunk: png(colors, chunk), colors, alpha)
    for bits in (1, 2, 4, 8):
        indices = gray() >> (8 - bits)
        palette = np.random.default_rng(bits).integers(0, 256, (1 << bits, 3), np.uint8)
        chunk = png_chunk(b"PLTE", palette.tobytes())
        made = lambda bits=bits, indices=indices, chunk=chunk: png(indices, chunk, bits=bits, kind=3)  # noqa: E731
        yield Cell(f"png-palette-{bits}", made, palette[indices])
        faint = np.linspace(0, 255, 1 << bits).astype(np.uint8)
        both = chunk + png_chunk(b"tRNS", faint.tobytes())
        made = lambda bits=bits, indices=indices, both=both: png(indices, both, bits=bits, kind=3)  # noqa: E731
        yield Cell(f"png-palette-{bits}-alpha", made, palette[indices], faint[indices])


def palette_cells() -> Iterator[Cell]:
    image = Image.fromarray(color()).quantize(16)
    seen = np.asarray(image.convert("RGB"))
    for kind in ("GIF", "BMP"):
        yield Cell(f"{kind.lower()}-palette", lambda kind=kind: by_pillow(image, kind), seen)
    alpha = np.where(np.asarray(image) == 3, 0, 255).astype(np.uint8)
    yield Cell("gif-transparent", lambda: by_pillow(image, "GIF", transparency=3), seen, alpha)
    black = np.where(gray() > 127, 255, 0).astype(np.uint8)
    for kind in ("PPM", "BMP", "GIF", "PNG"):
        yield Cell(
            f"{kind.lower()}-bilevel", lambda kind=kind: by_pillow(Image.fromarray(black).convert("1"), kind), black
        )


def pnm_cells() -> Iterator[Cell]:
    """By hand: plain and raw, any level of white, comments, opacity."""
    for maxval, letters in product((3, 100, 255, 256, 1000, 4095, 65535), ("25", "36")):
        wide = maxval > 255
        base = gray(np.uint16) if letters == "25" else color(np.uint16)
        levels = (base.astype(np.uint32) * maxval // 65535).astype(np.uint16)
        seen = spread_over(levels, maxval, np.uint16 if wide else np.uint8)
        height, width = levels.shape[:2]
        head = f"\n# a comment\n{width} {height}\n{maxval}\n"
        plain = f"P{letters[0]}{head}" + " ".join(map(str, levels.ravel())) + "\n"
        raw = f"P{letters[1]}{head}".encode() + levels.astype(">u2" if wide else "u1").tobytes()
        yield Cell(f"pnm-P{letters[0]}-{maxval}", plain.encode, seen)
        yield Cell(f"pnm-P{letters[1]}-{maxval}", lambda raw=raw: raw, seen)
    black = gray() < 128
    digits = "\n".join("".join("1" if dot else "0" for dot in row) for row in black)
    yield Cell("pnm-P1", f"P1\n48 32\n{digits}\n".encode, np.where(black, 0, 255).astype(np.uint8))
    for layout, dtype in product(("LA", "RGBA"), (np.uint8, np.uint16)):
        levels = stacked(layout, dtype)
        kind = "GRAYSCALE_ALPHA" if layout == "LA" else "RGB_ALPHA"
        head = f"P7\nWIDTH 48\nHEIGHT 32\nDEPTH {len(layout)}\nMAXVAL {np.iinfo(dtype).max}\nTUPLTYPE {kind}\nENDHDR\n"
        data = head.encode() + levels.astype(np.dtype(dtype).newbyteorder(">")).tobytes()
        yield Cell(f"pam-{layout}-{np.dtype(dtype).itemsize * 8}", lambda data=data: data, **expected(layout, dtype))


def jp2_cells() -> Iterator[Cell]:
    """What boxes say of the channels: only opacity that is named is one; a color space is a color space."""
    for dtype in (np.uint8, np.uint16):
        bits, rgba, la = np.dtype(dtype).itemsize * 8, stacked("RGBA", dtype), stacked("LA", dtype)
        yield Cell(f"j2k-fourth-channel-{bits}", lambda rgba=rgba: codestream(rgba, mct=False), color(dtype))
        yield Cell(f"j2k-second-channel-{bits}", lambda la=la: codestream(la, mct=False), gray(dtype))
        yield Cell(
            f"jp2-unnamed-fourth-channel-{bits}",
            lambda rgba=rgba, bits=bits: jp2_with(codestream(rgba, mct=False), rgba, bits=bits, boxes=colr(16)),
            color(dtype),
        )
    ycc = cv2.cvtColor(color(), cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]]
    luma, blue, red = (ycc[..., at].astype(float) - (128 if at else 0) for at in range(3))
    # In whole numbers, as OpenJPEG does it.
    green = np.trunc(0.344 * blue + 0.714 * red)
    back = np.stack([luma + np.trunc(1.402 * red), luma - green, luma + np.trunc(1.772 * blue)], -1)
    back = back.clip(0, 255).astype(np.uint8)
    yield Cell("jp2-sycc", lambda: jp2_with(codestream(ycc, mct=False), ycc, bits=8, boxes=colr(18)), back)
    inks = stacked("RGBA")
    passed = (255 - inks[..., :3].astype(int)) * (255 - inks[..., 3:].astype(int))
    seen = np.rint(passed / 255).astype(np.uint8)
    yield Cell("jp2-cmyk", lambda: jp2_with(codestream(inks, mct=False), inks, bits=8, boxes=colr(12)), seen)
    for space, name in ((14, "CIELab"), (21, "ROMM RGB"), (20, "e-sRGB")):
        made = lambda space=space: jp2_with(codestream(color()), color(), bits=8, boxes=colr(space))  # noqa: E731
        yield Cell(f"jp2-{name}", made, refusal=UnsupportedPicture, says=name)


def lossy_cells() -> Iterator[Cell]:
    """Held against what another library makes of the same file."""
    for kind, quality, layout in product(("JPEG", "WEBP", "AVIF"), (30, 75, 95), ("L", "RGB")):
        if (kind, layout) == ("WEBP", "L"):
            continue
        data = by_pillow(stacked(layout), kind, quality=quality)
        yield Cell(f"{kind.lower()}-{quality}-{layout}", lambda data=data: data, decoded_by_pillow(data))
    for sampling, progressive in product((0, 1, 2), (False, True)):
        data = by_pillow(color(), "JPEG", subsampling=sampling, progressive=progressive)
        yield Cell(f"jpeg-{sampling}-{progressive}", lambda data=data: data, decoded_by_pillow(data))
    for sampling in ("4:2:0", "4:2:2", "4:4:4"):
        data = by_pillow(color(), "AVIF", subsampling=sampling)
        yield Cell(f"avif-{sampling}", lambda data=data: data, decoded_by_pillow(data))
    for layout, level in product(("L", "RGB"), (80, 95)):
        levels = stacked(layout, np.uint16) >> 4
        data = bytes(imagecodecs.jpeg8_encode(levels, level=level, bitspersample=12))
        yield Cell(f"jpeg-12-{layout}-{level}", lambda data=data: data, widened(imagecodecs.jpeg8_decode(data), 12))
    for layout, dtype in product(("L", "RGB"), (np.uint8, np.uint16)):
        data = bytes(imagecodecs.jpegxl_encode(stacked(layout, dtype), distance=1.0, numthreads=1))
        levels = imagecodecs.jpegxl_decode(data, numthreads=1)
        said = levels if dtype == np.uint8 else shown(levels, 1.0)
        yield Cell(f"jxl-lossy-{layout}-{np.dtype(dtype).itemsize * 8}", lambda data=data: data, said)


def heic_cells() -> Iterator[Cell]:
    """Held against what pillow-heif makes of the same file, another build of the decoder."""
    for mode, options in (("L", {}), ("LA", {}), ("RGB", {}), ("RGBA", {}), ("RGB", {"chroma": 420})):
        data = heic(stacked(mode), mode, quality=90, **options)
        seen = np.array(pillow_heif.open_heif(data))
        base = seen[..., 0] if mode == "LA" else seen[..., :3] if mode == "RGBA" else seen
        # A gray one is coded as what it is, and comes back as color of equal channels from some builds.
        base = base[..., 0] if base.ndim == 3 and mode.startswith("L") else base
        yield Cell(
            f"heic-{mode}-{options.get('chroma', 444)}",
            lambda data=data: data,
            base,
            seen[..., -1] if mode.endswith("A") else None,
        )
    data = heic(color(np.uint16), "RGB;16", matrix_coefficients=0)
    seen = np.array(pillow_heif.open_heif(data, convert_hdr_to_8bit=False))
    bits = probe(data, max_megapixels=1).bits
    yield Cell(f"heic-RGB-{bits}", lambda: data, widened(seen >> (16 - bits), bits))
    odd = np.ascontiguousarray(color()[:29, :43])
    yield Cell("heic-odd-sides", lambda: heic(odd, "RGB", matrix_coefficients=0), odd)


def cut_cells() -> Iterator[Cell]:
    """A part of an AVIF's pixels, turned; the standard's order is cut, turn, mirror."""
    part = color()[4:24, 10:40]
    clap = box(b"clap", struct.pack(">4LlLlL", 30, 1, 20, 1, 1, 1, -2, 1))
    yield Cell("avif-part", lambda: avif_with(color(), clap), part)
    for turns in range(4):
        turn = box(b"irot", bytes([turns]))
        yield Cell(f"avif-part-{turns}", lambda turn=turn: avif_with(color(), clap, turn), np.rot90(part, turns))
        for axis, flip in ((0, np.flipud), (1, np.fliplr)):
            mirror = box(b"imir", bytes([axis]))
            yield Cell(
                f"avif-{turns}-{axis}",
                lambda turn=turn, mirror=mirror: avif_with(color(), turn, mirror),
                flip(np.rot90(color(), turns)),
            )
    outside = box(b"clap", struct.pack(">4LlLlL", 60, 1, 20, 1, 0, 1, 0, 1))
    yield Cell("avif-part-outside", lambda: avif_with(color(), outside), refusal=BrokenPicture, says="outside")


def refused_cells() -> Iterator[Cell]:
    frames = [Image.fromarray(color()), Image.fromarray(color()[::-1])]
    for kind in ("GIF", "PNG", "WEBP", "AVIF"):
        made = lambda kind=kind: by_pillow(frames[0], kind, save_all=True, append_images=frames[1:])  # noqa: E731
        yield Cell(f"{kind.lower()}-animation", made, refusal=SeveralFrames, says="send one picture")
    two = by_pillow(gray(), "PPM") * 2
    yield Cell("pgm-twice", lambda: two, refusal=SeveralFrames, says="several pictures")
    yield Cell("pfm", lambda: b"Pf\n2 2\n-1.0\n" + bytes(16), refusal=UnsupportedPicture, says="floating-point")
    floats = gray().astype(np.float32) / 255
    yield Cell("jxl-float", lambda: codecs("jpegxl", **JXL)(floats), refusal=UnsupportedPicture, says="floating-point")
    jpeg_in_bmp = bytearray(by_pillow(color(), "BMP"))
    jpeg_in_bmp[30] = 4
    yield Cell("bmp-of-jpeg", lambda: bytes(jpeg_in_bmp), refusal=UnsupportedPicture, says="BMP")
    yield Cell("jpeg-ls", lambda: bytes(imagecodecs.jpegls_encode(gray())), refusal=UnsupportedPicture, says="JPEG-LS")
    for start, name in (
        (b"%PDF-1.7", "a PDF"),
        (b"8BPS", "a Photoshop"),
        (b"v/1\x01", "an OpenEXR"),
        (b"<svg ", "an SVG"),
    ):
        made = lambda start=start: start + bytes(100)  # noqa: E731
        yield Cell(name.replace(" ", "-"), made, refusal=UnsupportedPicture, says=name)


CELLS = [
    *lossless_cells(), *odd_depth_cells(), *png_cells(), *palette_cells(), *pnm_cells(), *jp2_cells(), *lossy_cells(),
    *heic_cells(), *cut_cells(), *refused_cells(),
]  # fmt: skip


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_a_file_is_read_right_or_refused_by_its_name(cell: Cell) -> None:
    assert judge(cell) is None


def test_cells_have_names_of_their_own() -> None:
    names = [cell.name for cell in CELLS]
    assert len(set(names)) == len(names) > 200


def test_a_gif_frame_that_does_not_fill_its_screen_leaves_the_rest_transparent() -> None:
    small = by_pillow(Image.fromarray(gray()), "GIF")
    wider = small[:6] + (60).to_bytes(2, "little") + small[8:]
    with Image.open(io.BytesIO(wider)) as image:
        seen = image.convert("RGBA")
    assert judge(Cell("gif-screen", lambda: wider, np.asarray(seen)[..., 0])) is None
