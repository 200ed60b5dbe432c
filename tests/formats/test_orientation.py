"""Format x place x orientation: wherever a file names its orientation, the picture comes out upright, once."""

import io
import zlib
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from service.pictures.probe import probe
from tests.formats.cells import Cell, judge
from tests.formats.files import color, decoded_by_pillow, exif, gray, jpeg_with, png, segment, turned, xmp
from tests.formats.jxl_header import with_header
from tests.pictures import by_pillow, png_chunk

XMP_NAME = b"http://ns.adobe.com/xap/1.0/\0"


def itxt(text: bytes, *, packed: bool = False) -> bytes:
    """Return a PNG's chunk of XMP."""
    return png_chunk(
        b"iTXt", b"XML:com.adobe.xmp\0" + bytes([packed, 0, 0, 0]) + (zlib.compress(text) if packed else text)
    )


def in_digits(keyword: bytes, content: bytes) -> bytes:
    """Return EXIF as ImageMagick and exiv2 write it into a text."""
    digits = content.hex().encode()
    lines = b"\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    return keyword + b"\0" + b"\n%s\n%8d\n%s\n" % (keyword.split()[-1].lower(), len(content), lines)


def packed_text(content: bytes) -> bytes:
    """Return a PNG's packed text, of an unpacked one."""
    keyword, _, text = content.partition(b"\0")
    return png_chunk(b"zTXt", keyword + b"\0\0" + zlib.compress(text))


def in_jpeg_exif(number: int, order: str) -> bytes:
    return jpeg_with(gray(), segment(0xE1, b"Exif\0\0" + exif(number, order)))


PLACES: dict[str, Callable[[int], bytes]] = {
    "jpeg-exif-little": lambda number: in_jpeg_exif(number, "<"),
    "jpeg-exif-big": lambda number: in_jpeg_exif(number, ">"),
    "jpeg-exif-before-xmp-that-says-another": lambda number: jpeg_with(
        gray(), segment(0xE1, XMP_NAME + xmp(9 - number)), segment(0xE1, b"Exif\0\0" + exif(number))
    ),
    "jpeg-xmp-alone": lambda number: jpeg_with(gray(), segment(0xE1, XMP_NAME + xmp(number))),
    "jpeg-xmp-as-element": lambda number: jpeg_with(gray(), segment(0xE1, XMP_NAME + xmp(number, as_element=True))),
    "jpeg-xmp-beside-empty-exif": lambda number: jpeg_with(
        gray(), segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"), segment(0xE1, XMP_NAME + xmp(number))
    ),
    "png-exif-in-front": lambda number: png(gray(), png_chunk(b"eXIf", exif(number))),
    "png-exif-behind": lambda number: png(gray(), behind=png_chunk(b"eXIf", exif(number, ">"))),
    "png-xmp": lambda number: png(gray(), itxt(xmp(number))),
    "png-xmp-packed": lambda number: png(gray(), itxt(xmp(number), packed=True)),
    "png-xmp-behind": lambda number: png(gray(), behind=itxt(xmp(number))),
    "png-digits-exif": lambda number: png(gray(), packed_text(in_digits(b"Raw profile type exif", exif(number)))),
    "png-digits-app1": lambda number: png(
        gray(), packed_text(in_digits(b"Raw profile type APP1", b"Exif\0\0" + exif(number)))
    ),
    "png-digits-unpacked": lambda number: png(
        gray(), png_chunk(b"tEXt", in_digits(b"Raw profile type exif", exif(number, ">")))
    ),
    "webp-exif": lambda number: by_pillow(gray_rgb(), "WEBP", lossless=True, exif=b"Exif\0\0" + exif(number)),
    "webp-xmp": lambda number: by_pillow(gray_rgb(), "WEBP", lossless=True, xmp=xmp(number)),
}


def gray_rgb() -> np.ndarray:
    return np.dstack([gray()] * 3)


def cells() -> Iterator[Cell]:
    for (name, write), number in product(PLACES.items(), range(1, 9)):
        data = write(number)
        stored = decoded_by_pillow(data)
        stored = stored if stored.ndim == 2 else stored[..., 0]
        yield Cell(f"{name}-{number}", lambda data=data: data, turned(stored, number))
    for number in range(1, 9):
        # Pillow writes it as turns and mirrors of the picture.
        data = by_pillow(gray(), "AVIF", quality=100, exif=b"Exif\0\0" + exif(number))
        plain = decoded_by_pillow(by_pillow(gray(), "AVIF", quality=100))
        yield Cell(f"avif-{number}", lambda data=data: data, turned(plain, number))
        yield Cell(
            f"jxl-{number}", lambda number=number: with_header(color(), orientation=number), turned(color(), number)
        )
        image = pillow_heif.from_pillow(Image.fromarray(color()))
        image.info["exif"] = b"Exif\0\0" + exif(number)
        stream = io.BytesIO()
        image.save(stream, quality=-1, chroma=444, matrix_coefficients=0)
        yield Cell(f"heic-{number}", stream.getvalue, turned(color(), number))


@pytest.mark.parametrize("cell", list(cells()), ids=lambda cell: cell.name)
def test_the_picture_is_upright(cell: Cell) -> None:
    assert judge(cell) is None


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"II*\0",
        b"II*\0\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0\xff\xff",
        b"MM\0*\0\0\0\x08\0\x01",
        exif(9),
        exif(0),
        exif(6)[:-8],
        b"garbage",
    ],
)
def test_exif_that_is_damaged_names_none(damaged: bytes) -> None:
    alone = segment(0xE1, b"Exif\0\0" + damaged)
    assert probe(jpeg_with(gray(), alone), max_megapixels=1).orientation == 1
    assert probe(jpeg_with(gray(), alone, segment(0xE1, XMP_NAME + xmp(6))), max_megapixels=1).orientation == 6
