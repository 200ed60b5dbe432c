"""service.pictures.metadata: EXIF survives; what is no longer true in it does not."""

import io
import struct
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image, PngImagePlugin, TiffImagePlugin

from service.pictures.answer_formats import OutputFormat
from service.pictures.encode import encode
from service.pictures.metadata import exif as exif_module
from service.pictures.metadata import webp
from service.pictures.metadata.belongings import Metadata
from service.pictures.metadata.exif import fit_exif
from service.pictures.metadata.fitting import fit
from service.pictures.metadata.reading import read_metadata
from service.pictures.probe import probe
from service.pictures.srgb_profile import srgb_profile
from tests.pictures import by_pillow, icc_profile, levels, smooth_gray

GRAY = smooth_gray(20, 30)
FORMATS: tuple[OutputFormat, ...] = ("png", "jpeg", "webp", "tiff")
CAPTION = "Großmutter, 1911: Omas Garten"
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6" tiff:Artist="Oma"/></rdf:RDF>'
    b"</x:xmpmeta>"
)
ORIENTATION, DESCRIPTION, COLOR_SPACE, WIDTH, HEIGHT = 0x0112, 0x010E, 0xA001, 0xA002, 0xA003


def exif_block(*, order: str = "<", thumbnail: bytes = b"THUMBNAIL") -> bytes:
    """Write EXIF as cameras and caption programs do: UTF-8 for ASCII, a thumbnail, a maker's note."""

    def directory(entries: list[tuple[int, int, int, Any]], place: int, following: int) -> bytes:
        head, body = struct.pack(order + "H", len(entries)), b""
        free = place + 2 + 12 * len(entries) + 4
        for tag, kind, count, value in entries:
            field = value if isinstance(value, bytes) else struct.pack(order + ("HH" if kind == 3 else "L"), *value)
            if len(field) > 4:
                body, field = body + field, struct.pack(order + "L", free + len(body))
            head += struct.pack(order + "HHL", tag, kind, count) + field.ljust(4, b"\0")
        return head + struct.pack(order + "L", following) + body

    caption = CAPTION.encode() + b"\0"
    first = [(DESCRIPTION, 2, len(caption), caption), (ORIENTATION, 3, 1, (6, 0)), (0x8769, 4, 1, (200,))]
    inner = [
        (0x9003, 2, 20, b"1911:07:04 10:00:00\0"),
        (0x927C, 7, 16, b"a maker's secret"),
        (COLOR_SPACE, 3, 1, (0xFFFF, 0)),
        (WIDTH, 4, 1, (9999,)),
        (HEIGHT, 3, 1, (9999, 0)),
    ]
    last = [(0x0201, 4, 1, (450,)), (0x0202, 4, 1, (len(thumbnail),))]
    mark = b"II*\0" if order == "<" else b"MM\0*"
    block = (mark + struct.pack(order + "L", 8) + directory(first, 8, 400)).ljust(200, b"\0")
    block = (block + directory(inner, 200, 0)).ljust(400, b"\0")
    return (block + directory(last, 400, 0)).ljust(450, b"\0") + thumbnail


def carry_over(question: bytes, output_format: OutputFormat, *, alpha: bool = False) -> bytes:
    """Return an answer of 30 x 20 px with the question's metadata."""
    opacity = levels(20, 30) if alpha else None
    fitted = fit(read_metadata(question), (30, 20), output_format, None)
    return encode(np.dstack([GRAY] * 3), opacity, output_format, metadata=fitted)


def answer(output_format: OutputFormat) -> bytes:
    return encode(np.dstack([GRAY] * 3), None, output_format)


def fitted_exif(question: bytes, size: tuple[int, int] = (30, 20)) -> bytes:
    """Return the EXIF of an answer."""
    return fit_exif(read_metadata(question).exif, size)


def pixels(data: bytes) -> np.ndarray:
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    assert decoded is not None
    return decoded


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def exif_of(image: Image.Image) -> tuple[dict[int, Any], dict[int, Any]]:
    exif = image.getexif()
    return dict(exif), dict(exif.get_ifd(0x8769))


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_survives_and_tells_no_lies(kind: str, order: str, output_format: OutputFormat) -> None:
    question = by_pillow(GRAY, kind, exif=b"Exif\0\0" + exif_block(order=order))
    carried = carry_over(question, output_format)
    image = opened(carried)
    outer, inner = exif_of(image)
    assert outer[DESCRIPTION].encode("latin-1").decode() == CAPTION
    assert outer[ORIENTATION] == 1
    assert inner[0x9003] == "1911:07:04 10:00:00"
    assert b"a maker's secret" in carried
    assert b"THUMBNAIL" not in carried
    assert (inner[COLOR_SPACE], inner[WIDTH], inner[HEIGHT]) == (1, 30, 20)
    assert image.getexif().get_ifd(ExifTags.IFD.IFD1) == {}, "the gray thumbnail is not referred to"
    np.testing.assert_array_equal(pixels(carried), pixels(answer(output_format)))


@pytest.mark.parametrize("output_format", FORMATS)
def test_xmp_survives_upright(output_format: OutputFormat) -> None:
    for question in (
        by_pillow(GRAY, "JPEG", xmp=XMP),
        by_pillow(GRAY, "WEBP", xmp=XMP),
        by_pillow(GRAY, "TIFF", tiffinfo={700: XMP}),
        by_pillow(GRAY, "PNG", pnginfo=_text("XML:com.adobe.xmp", XMP.decode())),
    ):
        image = opened(carry_over(question, output_format))
        found = image.info.get("xmp") or image.info["XML:com.adobe.xmp"]
        text = found.decode() if isinstance(found, bytes) else found
        assert text == XMP.decode().replace('"6"', '"1"')


def _text(key: str, value: str) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_itxt(key, value)
    return info


@pytest.mark.parametrize("output_format", FORMATS)
def test_the_tags_of_a_tiff_that_describe_survive(output_format: OutputFormat) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[DESCRIPTION] = CAPTION.encode()
    tags[0x010F] = "Zeiss"
    tags[ORIENTATION] = 6
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "1911:07:04 10:00:00"
    tags[0x8769] = exif.get_ifd(0x8769)
    question = by_pillow(GRAY, "TIFF", tiffinfo=tags)
    outer, inner = exif_of(opened(carry_over(question, output_format)))
    assert outer[DESCRIPTION].encode("latin-1").decode() == CAPTION
    assert outer[0x010F] == "Zeiss"
    assert inner[0x9003] == "1911:07:04 10:00:00"
    stored = {256, 257, 258, 259, 262, 273, 279, ORIENTATION}
    assert output_format == "tiff" or not stored & outer.keys(), "how the TIFF was stored is nobody's"


def test_the_resolution_of_scans_survives() -> None:
    question = by_pillow(GRAY, "JPEG", dpi=(600, 600))
    assert opened(carry_over(question, "jpeg")).info["dpi"] == (600, 600)
    assert opened(carry_over(question, "png")).info["dpi"] == pytest.approx((600, 600), rel=1e-4)
    assert opened(carry_over(question, "tiff")).info["dpi"] == (600, 600)
    assert exif_of(opened(carry_over(question, "webp")))[0][0x011A] == 600
    twice = carry_over(carry_over(question, "png"), "tiff")
    assert opened(twice).info["dpi"] == (600, 600), "PNG's pixels a meter were 600 an inch"
    assert "dpi" not in opened(carry_over(by_pillow(GRAY, "PNG"), "png")).info


@pytest.mark.parametrize("tags", [{}, {0x011A: 300.0}, {0x011A: 300.0, 0x011B: 300.0}])
def test_a_tiff_that_does_not_say_its_resolution_gets_none(tags: dict[int, float]) -> None:
    question = by_pillow(GRAY, "TIFF", tiffinfo=tags)
    assert read_metadata(question).dpi == ((300, 300) if len(tags) == 2 else None)


@pytest.mark.parametrize("kind", [1, 2, 4, 6, 7, 9])
@pytest.mark.parametrize("order", ["<", ">"])
def test_the_xmp_of_a_tiff_is_read_whatever_its_type(order: str, kind: int) -> None:
    packet = XMP.replace(b"Oma", "Großmutter".encode()).ljust(280)
    question = tiff([(DESCRIPTION, 2, 4, b"Oma\0"), (700, kind, 280 // (4 if kind in (4, 9) else 1), packet)], order)
    found = read_metadata(question)
    assert found.xmp == packet.rstrip(b"\0")
    assert exif_of_block(found.exif)[DESCRIPTION] == "Oma"


@pytest.mark.parametrize(
    "bad", [(700, 5, 1, bytes(8)), (0x0128, 2, 6, b"inches"), (0x8825, 4, 1, struct.pack("<L", 10**9))]
)
def test_one_bad_part_costs_only_itself(bad: tuple[int, int, int, bytes]) -> None:
    resolution = [(tag, 5, 1, struct.pack("<LL", 300, 1)) for tag in (0x011A, 0x011B)]
    question = tiff([(DESCRIPTION, 2, 4, b"Oma\0"), (700, 1, len(XMP), XMP), *resolution, bad], "<")
    found = read_metadata(question)
    assert exif_of_block(found.exif)[DESCRIPTION] == "Oma"
    assert exif_of_block(found.exif)[0x011A] == 300
    assert found.xmp or bad[0] == 700
    assert found.dpi == ((300, 300) if bad[0] != 0x0128 else None)


@pytest.mark.filterwarnings("ignore:Metadata Warning, tag 274 had too many entries")
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("kind", "count", "codes"),
    [(3, 1, "H"), (3, 2, "HH"), (4, 1, "L"), (4, 2, "LL"), (6, 1, "b"), (8, 1, "h"), (9, 1, "l"), (16, 1, "Q")],
)
def test_what_turned_the_pixels_does_not_turn_them_again(order: str, kind: int, count: int, codes: str) -> None:
    value = struct.pack(order + codes, *([6] * count))
    exif = b"Exif\0\0" + tiff_structure([(ORIENTATION, kind, count, value), (DESCRIPTION, 2, 4, b"Oma\0")], order)
    question = by_pillow(GRAY, "JPEG", exif=exif)
    assert probe(question, max_megapixels=1).orientation == 6
    carried = exif_of_block(fitted_exif(question, (20, 30)))
    assert (carried[ORIENTATION], carried[DESCRIPTION]) == (1, "Oma")


def tiff_structure(entries: list[tuple[int, int, int, bytes]], order: str, place: int = 8, body: bytes = b"") -> bytes:
    """Write a directory at a place behind a body, each entry being tag, type, count and the bytes of its value."""
    head, heap = struct.pack(order + "H", len(entries)), b""
    free = place + 2 + 12 * len(entries) + 4
    for tag, kind, count, value in sorted(entries):
        field = value
        if len(value) > 4:
            field, heap = struct.pack(order + "L", free + len(heap)), heap + value + bytes(len(value) % 2)
        head += struct.pack(order + "HHL", tag, kind, count) + field.ljust(4, b"\0")
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(order + "L", place) + body + head + bytes(4) + heap


def tiff(entries: list[tuple[int, int, int, bytes]], order: str) -> bytes:
    """Write a gray TIFF of 30 x 20 px with more entries."""
    shorts = {256: 30, 257: 20, 258: 8, 259: 1, 262: 1, 277: 1, 278: 20}
    pixels_at = [(273, 4, 1, struct.pack(order + "L", 8)), (279, 4, 1, struct.pack(order + "L", GRAY.size))]
    stored = [(tag, 3, 1, struct.pack(order + "H", value)) for tag, value in shorts.items()]
    return tiff_structure([*stored, *pixels_at, *entries], order, 8 + GRAY.size, GRAY.tobytes())


def exif_of_block(block: bytes) -> dict[int, Any]:
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + block)
    return dict(exif)


def test_the_questions_color_profile_does_not() -> None:
    question = by_pillow(GRAY, "PNG", icc_profile=icc_profile("gray1"), exif=b"Exif\0\0" + exif_block())
    for output_format in FORMATS:
        assert opened(carry_over(question, output_format)).info["icc_profile"] == srgb_profile()


def test_webp_keeps_its_alpha() -> None:
    plain = carry_over(by_pillow(GRAY, "JPEG"), "webp", alpha=True)
    carried = carry_over(by_pillow(GRAY, "JPEG", exif=b"Exif\0\0" + exif_block()), "webp", alpha=True)
    assert carried != plain
    image = opened(carried)
    assert image.mode == "RGBA"
    assert image.info["exif"]
    np.testing.assert_array_equal(pixels(carried), pixels(plain))
    assert int.from_bytes(carried[4:8], "little") + 8 == len(carried)


def test_a_lossless_webp_keeps_its_alpha_too() -> None:
    plain = by_pillow(levels(20, 30, 4), "WEBP", lossless=True)
    assert plain[12:16] == b"VP8L"
    carried = webp.write(plain, Metadata(exif_block()), srgb_profile(), (30, 20))
    assert (carried[12:16], carried[20]) == (b"VP8X", 0x20 | 0x10 | 0x08), "announced: profile, alpha and EXIF"
    image = opened(carried)
    assert (image.mode, image.size) == ("RGBA", (30, 20))
    np.testing.assert_array_equal(np.asarray(image), np.asarray(opened(plain)))


@pytest.mark.parametrize("output_format", FORMATS)
def test_without_metadata_the_answer_is_as_it_was(output_format: OutputFormat) -> None:
    assert carry_over(by_pillow(GRAY, "PNG"), output_format) == answer(output_format)


@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"II*\0",
        b"II*\0\xff\xff\xff\xff",
        b"nonsense",
        exif_block()[:60],
        exif_block()[:210],
        b"MM\0*\0\0\0\x08\xff\xff",
    ],
    ids=["none", "short", "far", "nonsense", "cut", "cut inside", "many"],
)
@pytest.mark.parametrize("output_format", FORMATS)
def test_broken_exif_costs_no_picture(exif: bytes, output_format: OutputFormat) -> None:
    question = by_pillow(GRAY, "JPEG", exif=b"Exif\0\0" + exif)
    np.testing.assert_array_equal(pixels(carry_over(question, output_format)), pixels(answer(output_format)))


def test_no_picture_has_no_metadata() -> None:
    assert read_metadata(b"no picture") == read_metadata(by_pillow(GRAY, "PNG")) == Metadata(orientation=1)


def test_a_thumbnail_is_cut_off_and_costs_a_jpeg_nothing() -> None:
    question = by_pillow(GRAY, "PNG", exif=b"Exif\0\0" + exif_block(thumbnail=bytes(70_000)))
    for output_format in FORMATS:
        image = opened(carry_over(question, output_format))
        assert image.getexif()[DESCRIPTION].encode("latin-1").decode() == CAPTION
        assert len(image.info.get("exif", b"")) < 500


def test_a_thumbnail_in_the_middle_is_overwritten_and_nothing_moves() -> None:
    block = exif_block(thumbnail=b"\xff\xd8THUMB" + bytes(60) + b"the end")
    patched = bytearray(block)
    patched[block.index(struct.pack("<HHLL", 0x0202, 4, 1, 74)) + 8] = 30
    fitted = fit_exif(bytes(patched), (30, 20))
    assert (len(fitted), b"THUMB" in fitted, fitted.endswith(b"the end")) == (len(block), False, True)
    wrong = patched.replace(b"\xff\xd8", b"xx")
    assert b"THUMB" in fit_exif(bytes(wrong), (30, 20)), "a place that is not true may be that of something else"


def test_what_is_too_long_for_a_jpeg_goes_without_its_makers_note() -> None:
    long = tiff_structure([(0x9003, 2, 20, b"1911:07:04 10:00:00\0"), (0x927C, 7, 70_000, bytes(70_000))], "<")
    tree = exif_module.Structure.of(long)
    assert tree is not None
    both = exif_module.Directory(children={0x8769: exif_module.Directory(tree.directory(tree.first))})
    question = by_pillow(GRAY, "PNG", exif=b"Exif\0\0" + exif_module.build(both, "<"))
    inner = {name: exif_of(opened(carry_over(question, name)))[1] for name in ("jpeg", "png", "tiff")}
    assert (inner["jpeg"], len(inner["png"][0x927C])) == ({0x9003: "1911:07:04 10:00:00"}, 70_000)
    assert inner["tiff"] == inner["png"]
    too_long = by_pillow(GRAY, "PNG", exif=tiff_structure([(DESCRIPTION, 2, 70_000, b"x" * 70_000)], "<"))
    assert "exif" not in opened(carry_over(too_long, "jpeg")).info


def test_a_makers_note_stays_where_it_was_in_a_tiff() -> None:
    """Makers refer to places counted from the start of EXIF, which in a TIFF is the start of the file."""
    block = exif_block()
    carried = carry_over(by_pillow(GRAY, "JPEG", exif=b"Exif\0\0" + block), "tiff")
    assert carried.index(b"a maker's secret") == block.index(b"a maker's secret")


def test_where_nothing_was_turned_the_orientation_is_not_written() -> None:
    odd = tiff_structure([(ORIENTATION, 3, 1, b"\x09\0"), (DESCRIPTION, 2, 4, b"Oma\0")], "<")
    assert fitted_exif(by_pillow(GRAY, "JPEG", exif=b"Exif\0\0" + odd)) == odd
    plain = tiff_structure([(DESCRIPTION, 2, 4, b"Oma\0")], "<")
    for output_format in FORMATS:
        carried = carry_over(by_pillow(GRAY, "JPEG", exif=b"Exif\0\0" + plain), output_format)
        assert ORIENTATION not in exif_of(opened(carried))[0]
