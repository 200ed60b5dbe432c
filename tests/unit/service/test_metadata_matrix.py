"""What is read of a question of each kind and what an answer of each format keeps, by other libraries' reading."""

import functools
import io
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, IptcImagePlugin, PngImagePlugin, TiffImagePlugin

from service.pictures.answer_formats import OutputFormat
from service.pictures.encode import encode
from service.pictures.metadata.belongings import Note
from service.pictures.metadata.fitting import fit
from service.pictures.metadata.kept import EXIF, KEPT, READ, RESOLUTION, TEXTS
from service.pictures.metadata.kept import IPTC as IPTC_IIM
from service.pictures.metadata.kept import XMP as XMP_KIND
from service.pictures.metadata.reading import read_metadata
from service.pictures.srgb_profile import srgb_profile
from tests.pictures import by_pillow, levels, png_chunk, smooth_gray

GRAY = smooth_gray(20, 30)
RGB = levels(20, 30, 3)
FORMATS: tuple[OutputFormat, ...] = ("png", "jpeg", "webp", "tiff")
DATE = "1911:07:04 10:00:00"
CAPTION = "Großmutter im Garten"
NOTE = Note("Photochrom 1", "model tiny")
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:source>plate 17</dc:source>'
    b"</rdf:Description></rdf:RDF></x:xmpmeta>"
)


def dataset(number: int, text: str, record: int = 2) -> bytes:
    content = text.encode()
    return struct.pack(">BBBH", 0x1C, record, number, len(content)) + content


IPTC = dataset(90, "\x1b%G", record=1) + dataset(120, CAPTION) + dataset(25, "plates") + dataset(55, "19110704")
RESOURCES = (
    b"8BIM\x03\xed\0\0\0\0\0\x10" + bytes(16) + b"8BIM\x04\x04\x00\x00" + struct.pack(">L", len(IPTC)) + IPTC
    + bytes(len(IPTC) % 2)
)  # fmt: skip


def exif_block() -> bytes:
    exif = Image.Exif()
    exif[0x010F] = "Zeiss"
    exif.get_ifd(ExifTags.IFD.Exif).update({0x9003: DATE, 0x927C: b"a maker's note"})
    exif.get_ifd(ExifTags.IFD.GPSInfo).update({1: "N", 2: (48.0, 8.0, 0.0)})
    return exif.tobytes()


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def jpeg(*segments: bytes, **options: Any) -> bytes:
    data = by_pillow(GRAY, "JPEG", **options)
    return data[:20] + b"".join(segments) + data[20:]


def png(*chunks: bytes, behind: bool = False) -> bytes:
    data = by_pillow(GRAY, "PNG")
    place = len(data) - 12 if behind else 33
    return data[:place] + b"".join(chunks) + data[place:]


def raw_profile(name: str, content: bytes, kind: bytes = b"zTXt") -> bytes:
    """Write a profile as ImageMagick and exiv2 do."""
    digits = content.hex()
    rows = "\n".join(digits[place : place + 72] for place in range(0, len(digits), 72))
    text = f"\n{name.lower()}\n{len(content):8}\n{rows}\n".encode()
    head = f"Raw profile type {name}".encode() + b"\0"
    return png_chunk(kind, head + b"\0" + zlib.compress(text) if kind == b"zTXt" else head + text)


def tiff(order: str = "<", *, big: bool = False, **tags: Any) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(
        stream, GRAY, byteorder="<" if order == "<" else ">", bigtiff=big, photometric="minisblack", metadata=None,
        resolution=tags.pop("resolution", None), resolutionunit=2, extratags=list(tags.values()),
    )  # fmt: skip
    return stream.getvalue()


def text(keyword: str, said: str, kind: bytes) -> bytes:
    if kind == b"tEXt":
        return png_chunk(kind, keyword.encode() + b"\0" + said.encode("latin-1"))
    if kind == b"zTXt":
        return png_chunk(kind, keyword.encode() + b"\0\0" + zlib.compress(said.encode("latin-1")))
    return png_chunk(kind, keyword.encode() + b"\0\1\0\0\0" + zlib.compress(said.encode()))


def tiff_with_directories(kind: str) -> bytes:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[0x010F] = "Zeiss"
    exif = Image.Exif()
    exif.load(exif_block())
    tags[0x8769] = dict(exif.get_ifd(ExifTags.IFD.Exif))
    tags[0x8825] = dict(exif.get_ifd(ExifTags.IFD.GPSInfo))
    return by_pillow(GRAY, "TIFF", tiffinfo=tags, big_tiff=kind == "big")


QUESTIONS: dict[str, dict[str, Callable[[], bytes]]] = {
    RESOLUTION: {
        "JPEG": lambda: by_pillow(GRAY, "JPEG", dpi=(600, 300)),
        "JPEG, px a cm": lambda: by_pillow(GRAY, "JPEG")[:13] + b"\2\0\xec\0\x76" + by_pillow(GRAY, "JPEG")[18:],
        "PNG": lambda: by_pillow(GRAY, "PNG", dpi=(600, 300)),
        "TIFF": lambda: tiff(resolution=(600, 300)),
        "TIFF, MSB first": lambda: tiff(">", resolution=(600, 300)),
        "BigTIFF": lambda: tiff(big=True, resolution=(600, 300)),
        "BMP": lambda: by_pillow(GRAY, "BMP", dpi=(600, 300)),
    },
    EXIF: {
        "JPEG": lambda: by_pillow(GRAY, "JPEG", exif=exif_block()),
        "PNG": lambda: by_pillow(GRAY, "PNG", exif=exif_block()),
        "PNG, behind the pixels": lambda: png(png_chunk(b"eXIf", exif_block()[6:]), behind=True),
        "PNG by exiv2": lambda: png(raw_profile("exif", exif_block())),
        "PNG by ImageMagick": lambda: png(raw_profile("APP1", exif_block(), b"tEXt")),
        "WebP": lambda: by_pillow(GRAY, "WEBP", exif=exif_block()),
        "TIFF": lambda: tiff_with_directories("classic"),
        "BigTIFF": lambda: tiff_with_directories("big"),
    },
    XMP_KIND: {
        "JPEG": lambda: by_pillow(GRAY, "JPEG", xmp=XMP),
        "PNG": lambda: png(png_chunk(b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + XMP)),
        "PNG, packed, behind the pixels": lambda: png(text("XML:com.adobe.xmp", XMP.decode(), b"iTXt"), behind=True),
        "PNG by ImageMagick": lambda: png(raw_profile("xmp", XMP)),
        "PNG by exiv2": lambda: png(raw_profile("APP1", b"http://ns.adobe.com/xap/1.0/\0" + XMP)),
        "WebP": lambda: by_pillow(GRAY, "WEBP", xmp=XMP),
        "TIFF": lambda: by_pillow(GRAY, "TIFF", tiffinfo={700: XMP}),
        "BigTIFF": lambda: tiff(big=True, xmp=(700, 1, len(XMP), XMP, True)),
    },
    IPTC_IIM: {
        "JPEG": lambda: jpeg(segment(0xED, b"Photoshop 3.0\0" + RESOURCES)),
        "JPEG, in two segments": lambda: jpeg(
            segment(0xED, b"Photoshop 3.0\0" + RESOURCES[:50]), segment(0xED, b"Photoshop 3.0\0" + RESOURCES[50:])
        ),
        "PNG by ImageMagick": lambda: png(raw_profile("iptc", RESOURCES)),
        "PNG by exiv2": lambda: png(raw_profile("iptc", IPTC, b"tEXt")),
        "TIFF": lambda: tiff(iptc=(33723, 7, len(IPTC), IPTC, True)),
        "TIFF, as longs": lambda: tiff(">", iptc=(33723, 4, len(IPTC.ljust(96, b"\0")) // 4, longs(IPTC), True)),
        "TIFF by Photoshop": lambda: tiff(resources=(34377, 1, len(RESOURCES), RESOURCES, True)),
    },
    TEXTS: {
        "JPEG": lambda: jpeg(segment(0xFE, CAPTION.encode())),
        "JPEG, Latin-1": lambda: jpeg(segment(0xFE, CAPTION.encode("latin-1"))),
        **{
            f"PNG, {kind.decode()}": functools.partial(lambda kind: png(text("Comment", CAPTION, kind)), kind)
            for kind in (b"tEXt", b"zTXt", b"iTXt")
        },
        "PNG, behind the pixels": lambda: png(text("Comment", CAPTION, b"tEXt"), behind=True),
    },
}


def longs(data: bytes) -> tuple[int, ...]:
    """Return bytes as the longs of the other order, as some programs write them."""
    return struct.unpack("<24L", data.ljust(96, b"\0"))


def cells() -> Iterator[tuple[str, str, OutputFormat]]:
    for kind, questions in QUESTIONS.items():
        for name in questions:
            for output_format in FORMATS:
                yield kind, name, output_format


def answered(question: bytes, output_format: OutputFormat, note: Note | None = None) -> bytes:
    return encode(RGB, None, output_format, metadata=fit(read_metadata(question), (30, 20), output_format, note))


@pytest.mark.parametrize(("kind", "name", "output_format"), list(cells()))
def test_what_the_table_calls_kept_is_found_by_others(kind: str, name: str, output_format: OutputFormat) -> None:
    answer = answered(QUESTIONS[kind][name](), output_format, NOTE)
    with Image.open(io.BytesIO(answer)) as image:
        image.load()
        assert image.info["icc_profile"] == srgb_profile()
        assert "algorithmicallyEnhanced" in xmp_of(image)
        check = {
            RESOLUTION: check_resolution,
            EXIF: check_exif,
            XMP_KIND: check_xmp,
            IPTC_IIM: check_iptc,
            TEXTS: check_comment,
        }[kind]
        check(image, answer, output_format)
    assert set(KEPT[kind]) == set(FORMATS)
    assert kind in READ


def xmp_of(image: Image.Image) -> str:
    return bytes(image.info["xmp"]).decode()


def check_resolution(image: Image.Image, _: bytes, output_format: OutputFormat) -> None:
    if output_format == "webp":
        exif = image.getexif()
        assert [float(exif[tag]) for tag in (0x011A, 0x011B)] == pytest.approx([600, 300], abs=0.6)
    else:
        assert image.info["dpi"] == pytest.approx((600, 300), abs=1.1), "236 px a cm are 599.4 an inch"


def check_exif(image: Image.Image, answer: bytes, _: OutputFormat) -> None:
    exif = image.getexif()
    assert exif[0x010F] == "Zeiss"
    assert exif.get_ifd(ExifTags.IFD.Exif)[0x9003] == DATE
    assert [float(value) for value in exif.get_ifd(ExifTags.IFD.GPSInfo)[2]] == [48, 8, 0]
    assert b"a maker's note" in answer


def check_xmp(image: Image.Image, _: bytes, __: OutputFormat) -> None:
    assert "<dc:source>plate 17</dc:source>" in xmp_of(image)


def check_iptc(image: Image.Image, answer: bytes, output_format: OutputFormat) -> None:
    if output_format in ("png", "webp"):
        for part in (CAPTION, "<rdf:li>plates</rdf:li>", "<photoshop:DateCreated>1911-07-04<"):
            assert part in xmp_of(image)
    if output_format == "png":
        assert isinstance(image, PngImagePlugin.PngImageFile)
        digits = "".join(image.text["Raw profile type iptc"].strip().split("\n")[2:])
        assert bytes.fromhex(digits)[12:].rstrip(b"\0") == IPTC.rstrip(b"\0")
    elif output_format == "tiff":
        with tifffile.TiffFile(io.BytesIO(answer)) as file:
            assert bytes(file.pages[0].tags[33723].value) == IPTC
    elif output_format == "jpeg":
        found = IptcImagePlugin.getiptcinfo(image)
        assert found is not None
        assert found[2, 120] == CAPTION.encode()


def check_comment(image: Image.Image, _: bytes, output_format: OutputFormat) -> None:
    if output_format == "png":
        assert isinstance(image, PngImagePlugin.PngImageFile)
        assert image.text["Comment"] == CAPTION
    elif output_format == "jpeg":
        assert bytes(image.info["comment"]).decode() == CAPTION
    else:
        assert f'<rdf:li xml:lang="x-default">{CAPTION}</rdf:li>' in xmp_of(image)


@pytest.mark.parametrize("output_format", FORMATS)
def test_the_same_question_has_the_same_bytes(output_format: OutputFormat) -> None:
    question = jpeg(segment(0xED, b"Photoshop 3.0\0" + RESOURCES), segment(0xFE, b"hello"), xmp=XMP, exif=exif_block())
    first = answered(question, output_format, NOTE)
    assert first == answered(question, output_format, NOTE)
    assert first != answered(question, output_format)


def test_an_answer_is_a_question_that_loses_nothing_more() -> None:
    question = jpeg(segment(0xED, b"Photoshop 3.0\0" + RESOURCES), dpi=(600, 300), xmp=XMP, exif=exif_block())
    for first in FORMATS:
        once = answered(question, first, NOTE)
        for second in FORMATS:
            found = read_metadata(answered(once, second))
            assert b"plate 17" in found.xmp
            assert found.xmp.count(b"algorithmicallyEnhanced") == 1
            assert DATE.encode() in found.exif
            assert found.dpi == (600, 300)
            assert found.iptc == (IPTC if "webp" not in (first, second) else b"")


def test_keywords_of_png_become_what_others_call_them() -> None:
    question = png(*(text(word, f"a {word}", b"tEXt") for word in ("Title", "Author", "Copyright", "Software")))
    for output_format in ("jpeg", "tiff", "webp"):
        with Image.open(io.BytesIO(answered(question, output_format))) as image:
            said = xmp_of(image)
        assert "<dc:title>" in said
        assert all(f">a {word}<" in said for word in ("Title", "Author", "Copyright"))
        assert "Software" not in said
    assert b"Software: a Software" in answered(question, "jpeg")


def test_a_comment_is_a_caption_only_where_there_is_none() -> None:
    comment = segment(0xFE, b"by a program")
    exif = Image.Exif()
    exif[0x010E] = "Oma"
    for output_format in ("tiff", "webp"):
        assert b"by a program" not in answered(jpeg(comment, exif=exif.tobytes()), output_format)
        assert b"by a program" not in answered(
            jpeg(comment, segment(0xED, b"Photoshop 3.0\0" + RESOURCES)), output_format
        )
        assert b"by a program" in answered(jpeg(comment), output_format)


def test_a_tiff_begins_with_the_exif_and_says_nothing_twice() -> None:
    answer = answered(by_pillow(GRAY, "JPEG", exif=exif_block(), dpi=(72, 72)), "tiff", NOTE)
    with tifffile.TiffFile(io.BytesIO(answer)) as file:
        tags = [tag.code for tag in file.pages[0].tags]
        np.testing.assert_array_equal(file.asarray(), RGB)
        assert file.byteorder == {b"II": "<", b"MM": ">"}[exif_block()[6:8]]
        assert file.pages[0].tags[0x8769].value["DateTimeOriginal"] == DATE
    assert tags == sorted(set(tags))
    assert answer[8:60] == exif_block()[6:][8:60]


def test_a_page_of_a_tiff_says_its_own_and_the_first_one_the_rest() -> None:
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        artist = [(0x013B, 2, 4, "Oma", True)]
        writer.write(GRAY, description="first", extratags=artist, metadata=None, photometric="minisblack")
        writer.write(GRAY, description="second", metadata=None, photometric="minisblack")
    with tifffile.TiffFile(io.BytesIO(stream.getvalue())) as file:
        second = file.pages[1].offset
    found = read_metadata(stream.getvalue(), directory=second)
    assert (b"Oma" in found.exif, b"second" in found.exif, b"first" in found.exif) == (True, True, False)
    assert b"first" in read_metadata(stream.getvalue()).exif


def test_every_kind_of_the_table_says_what_becomes_of_it_in_every_format() -> None:
    for kind, row in KEPT.items():
        assert set(row) == set(FORMATS), kind
        assert all(row.values()), kind
    assert READ.keys() <= KEPT.keys()
