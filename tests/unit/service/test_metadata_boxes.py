"""service.pictures.metadata: AVIF, HEIC, JPEG XL, JPEG 2000 and GIF, whose metadata lies in boxes and blocks."""

import io
import struct

import numpy as np
import pillow_heif
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from service.pictures.metadata import boxes
from service.pictures.metadata.belongings import Metadata
from service.pictures.metadata.exif import orientation_of
from service.pictures.metadata.fitting import fit
from service.pictures.metadata.reading import read_metadata, stated_orientation
from tests.pictures import by_pillow, smooth_gray

GRAY = smooth_gray(32, 48)
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/></x:xmpmeta>'
IPTC = b"\x1c\x02\x78\0\3Oma"


def exif_block() -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Zeiss"
    return exif.tobytes()


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">L", 8 + len(content)) + kind + content


def heic() -> bytes:
    stream = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(GRAY)).save(stream, exif=exif_block(), xmp=XMP, quality=50)
    return stream.getvalue()


def jpeg_2000() -> bytes:
    resolution = box(b"res ", box(b"resc", struct.pack(">HHHHbb", 23622, 1, 11811, 1, 0, 0)))
    head = box(b"jp2h", resolution)
    found = [box(b"uuid", next(key for key, name in boxes.UUIDS.items() if name == "exif") + exif_block()[6:])]
    found += [box(b"uuid", bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + XMP)]
    found += [box(b"uuid", bytes.fromhex("33c7a4d2b81d4723a0baf1a3e097ad38") + IPTC)]
    return boxes.JP2_START + head + b"".join(found) + box(b"jp2c", bytes(40))


def jpeg_xl() -> bytes:
    parts = box(b"ftyp", b"jxl \0\0\0\0jxl ") + box(b"Exif", bytes(4) + exif_block()[6:]) + box(b"xml ", XMP)
    return boxes.JXL_START + parts + struct.pack(">L4sQ", 1, b"jxlc", 36) + bytes(20)


def avif() -> bytes:
    return by_pillow(np.dstack([GRAY] * 3), "AVIF", exif=exif_block(), xmp=XMP)


FILES = {"AVIF": avif, "HEIC": heic, "JPEG XL": jpeg_xl, "JPEG 2000": jpeg_2000}


@pytest.mark.parametrize("name", FILES)
def test_exif_and_xmp_are_read_and_the_containers_turn_is_settled(name: str) -> None:
    data = FILES[name]()
    found = read_metadata(data)
    assert b"Zeiss" in found.exif
    assert found.exif[:2] in (b"II", b"MM")
    assert found.xmp == XMP
    assert stated_orientation(data) == 1, "decoders turn it by its container"
    assert orientation_of(fit(found, (32, 48), "png", None).exif) in (1, None)


def test_jpeg_2000_says_its_resolution_and_iptc() -> None:
    found = read_metadata(jpeg_2000())
    assert found.dpi == pytest.approx((300, 600), abs=0.01)
    assert found.iptc == IPTC


def test_gif_holds_comments_and_xmp() -> None:
    plain = by_pillow(GRAY, "GIF", comment="Großmutter im Garten".encode() * 20)
    trailer = b"\1" + bytes(range(255, -1, -1)) + b"\0"
    place = 13 + (3 << (plain[10] & 7) + 1)
    data = plain[:place] + b"\x21\xff\x0bXMP DataXMP" + XMP + trailer + plain[place:]
    with Image.open(io.BytesIO(data)) as image:
        image.load()
    found = read_metadata(data)
    assert found.xmp == XMP
    assert [text.text for text in found.texts] == ["Großmutter im Garten" * 20]


@given(name=st.sampled_from(sorted(FILES)), place=st.integers(0, 700), junk=st.binary(min_size=1, max_size=8))
def test_broken_boxes_are_left_out(name: str, place: int, junk: bytes) -> None:
    data = CACHED[name]
    found = read_metadata(data[:place] + junk + data[place + len(junk) :])
    assert isinstance(found, Metadata)
    assert found.nbytes < 10_000


CACHED = {name: make() for name, make in FILES.items()}


def test_many_boxes_are_not_walked() -> None:
    many = boxes.JP2_START + box(b"free", b"") * 50_000 + box(b"xml ", XMP)
    assert len(list(boxes.boxes(many, 0, len(many)))) == boxes.MOST_BOXES
    assert read_metadata(many).xmp == b""


def heif_meta(items: bytes, places: bytes) -> bytes:
    return box(b"meta", bytes(4) + box(b"iinf", bytes(4) + b"\0\2" + items) + box(b"iloc", places))


def test_an_item_in_a_million_pieces_is_passed_over_at_once() -> None:
    items = b"".join(box(b"infe", b"\2\0\0\0" + struct.pack(">HH", number, 0) + b"Exif\0") for number in (1, 2))
    many = struct.pack(">HHH", 1, 0, 60_000)
    block = exif_block()[6:]
    head = heif_meta(items, bytes(4) + b"\x44\0" + struct.pack(">H", 2) + many + bytes(8 * 60_000 + 14))
    places = bytes(4) + b"\x44\0" + struct.pack(">H", 2) + many + bytes(8 * 60_000)
    whole = heif_meta(items, places + struct.pack(">HHHLL", 2, 0, 1, 20 + len(head), 4 + len(block)))
    data = box(b"ftyp", b"heic\0\0\0\0mif1") + whole + bytes(4) + block
    assert read_metadata(data).exif == block


@pytest.mark.parametrize("kind", [b"meta", b"jp2h"])
def test_only_the_first_box_of_a_kind_counts(kind: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[bytes] = []

    def items(*_: object) -> tuple[()]:
        looked.append(b"meta")
        return ()

    monkeypatch.setattr(boxes, "_items", items)
    monkeypatch.setattr(boxes, "_resolution", lambda *_: looked.append(b"jp2h"))
    read_metadata(boxes.JP2_START + box(kind, bytes(8)) * 100)
    assert looked == [kind]
