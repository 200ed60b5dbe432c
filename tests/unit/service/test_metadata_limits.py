"""service.pictures.metadata: what hostile files hold is bounded, and costs no picture."""

import struct
import zlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.pictures.metadata import exif, fitting, gif, iptc, jpeg, png, tiff
from service.pictures.metadata.belongings import MOST_BYTES, Metadata, Note, Text
from service.pictures.metadata.fitting import fit
from service.pictures.metadata.reading import read_metadata, stated_orientation
from tests.pictures import by_pillow, png_chunk, smooth_gray

GRAY = smooth_gray(20, 30)
FILES = {kind: by_pillow(GRAY, kind) for kind in ("JPEG", "PNG", "WEBP", "TIFF", "BMP")}
NOTHING = Metadata(orientation=1)


def png_with(*chunks: bytes) -> bytes:
    return FILES["PNG"][:33] + b"".join(chunks) + FILES["PNG"][33:]


def jpeg_with(*segments: tuple[int, bytes]) -> bytes:
    written = (bytes([0xFF, mark]) + struct.pack(">H", len(body) + 2) + body for mark, body in segments)
    return FILES["JPEG"][:2] + b"".join(written) + FILES["JPEG"][2:]


def directory(count: int, entry: bytes, order: str = "<") -> bytes:
    return (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "LH", 8, count) + entry * count


def test_texts_that_unpack_to_gigabytes_are_cut_short() -> None:
    bomb = png_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1 << 24), 9))
    found = png.read(png_with(*[bomb] * 20))
    assert sum(len(text.text) for text in found.texts) == MOST_BYTES
    assert read_metadata(png_with(*[bomb] * 20)).texts == found.texts


def test_of_many_texts_only_some_are_taken() -> None:
    found = read_metadata(png_with(png_chunk(b"tEXt", b"k\0v") * 60_000))
    assert len(found.texts) == png.MOST_TAKEN


def test_of_many_segments_only_some_are_taken() -> None:
    assert len(list(jpeg.segments(jpeg_with(*[(0xFE, b"x")] * 20_000), MOST_BYTES))) == jpeg.MOST_SEGMENTS
    long = jpeg_with(*[(0xE5, bytes(65_000))] * 20, (0xFE, b"hello"))
    kept = list(jpeg.segments(long, 1 << 20))
    assert sum(len(content) for _, content in kept) < 1 << 20
    assert b"hello" in [content for _, content in kept], "what is short is still found behind what is long"


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_directory_of_sixty_thousand_bad_tags_is_none(order: str) -> None:
    entry = struct.pack(order + "HHLL", 0x010E, 2, 1 << 20, 8)
    block = directory(65_535, entry, order) + bytes(1 << 20)
    assert read_metadata(block).exif == b""
    assert exif.fit_exif(block, (1, 1)) == b""
    assert stated_orientation(block) == 1


def test_all_that_a_directory_refers_to_is_bounded() -> None:
    entries = b"".join(struct.pack("<HHLL", tag, 7, 1 << 20, 8) for tag in range(1, 1000))
    found = exif.Structure.of(b"II*\0\x08\0\0\0" + struct.pack("<H", 999) + entries + bytes(1 << 20))
    assert found is not None
    assert sum(len(entry.data) for entry in found.directory(8).values()) <= MOST_BYTES


@pytest.mark.parametrize(
    "block",
    [
        b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHLL", 0x8769, 4, 1, 8) + bytes(4),
        b"II+\0\x08\0\0\0" + struct.pack("<Q", 2**63),
        b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**62),
        b"MM\0*" + struct.pack(">L", 2**32 - 1),
        b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHLL", 0x011A, 5, 1, 8) + bytes(4),
        b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHLL", 0x0112, 3, 2**31, 8) + bytes(4),
    ],
    ids=["its own child", "far", "many", "last", "resolution of nothing", "long orientation"],
)
def test_broken_structures_cost_nothing(block: bytes) -> None:
    for data in (block, jpeg_with((0xE1, b"Exif\0\0" + block)), png_with(png_chunk(b"eXIf", block))):
        found = read_metadata(data)
        for output_format in ("png", "jpeg", "webp", "tiff"):
            assert fit(found, (30, 20), output_format, None).xmp == b""


def test_iptc_that_is_cut_off_is_kept_as_far_as_it_is_whole() -> None:
    whole = b"\x1c\x02\x78\0\3Oma"
    assert iptc.trimmed(whole + b"\x1c\x02\x78\xff") == whole
    assert iptc.trimmed(whole + b"\x1c\x02\x78\x80\x09" + bytes(9)) == whole
    assert iptc.trimmed(b"8BIM") == b""
    assert iptc.from_resources(b"8BIM\x04\x04\0\0\0\0\0\7" + whole + bytes(99)) == b""
    assert iptc.from_resources(b"8BIM\x04\x04\0\0\0\0\0\x08" + whole) == whole
    assert iptc.from_resources(b"8BIM\x04") == b""


@given(kind=st.sampled_from(sorted(FILES)), place=st.integers(0, 400), junk=st.binary(max_size=40))
def test_whatever_is_broken_is_left_out(kind: str, place: int, junk: bytes) -> None:
    exif_block = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x0e\x01\x02\0\x04\0\0\0Oma\0\0\0\0\0"
    data = by_pillow(GRAY, kind, **({"exif": exif_block, "dpi": (72, 72)} if kind == "JPEG" else {}))
    broken = data[:place] + junk + data[place + len(junk) :]
    found = read_metadata(broken)
    assert 1 <= stated_orientation(broken) <= 8
    for output_format in ("png", "jpeg", "webp", "tiff"):
        fitted = fit(found, (30, 20), output_format, Note("a", "b"))
        assert b"algorithmicallyEnhanced" in fitted.xmp or fitted.texts or output_format == "webp"


def test_what_throws_costs_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    def throw(*_: object) -> None:
        raise RecursionError

    monkeypatch.setattr(exif, "orientation_of", throw)
    monkeypatch.setattr(exif, "fit_exif", throw)
    data = by_pillow(GRAY, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0", comment=b"hello")
    assert stated_orientation(data) == 1
    assert [text.text for text in fit(read_metadata(data), (30, 20), "png", None).texts] == ["hello"]


def test_what_all_directories_refer_to_together_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exif, "MOST_BYTES", 1000)
    monkeypatch.setattr(tiff, "MOST_BYTES", 1000)

    def entries(tags: Sequence[int], *links: tuple[int, int]) -> bytes:
        found = [struct.pack("<HHLL", tag, 2, 300, 200) for tag in tags]
        found += [struct.pack("<HHLL", tag, 4, 1, place) for tag, place in links]
        return struct.pack("<H", len(found)) + b"".join(found) + bytes(4)

    first = entries((0x010D, 0x010E), (0x8769, 500), (0x8825, 600))
    block = b"II*\0" + struct.pack("<L", 8) + first
    block = block.ljust(500, b"A") + entries((0x9000, 0x9004, 0x9010), (0xA005, 700))
    block = block.ljust(600, b"A") + entries((1, 2, 3))
    block = block.ljust(700, b"A") + entries((1, 2, 3)) + bytes(200)
    found = exif.Structure.of(read_metadata(block).exif)
    assert found is not None
    tree = found.tree()
    assert {0x010D, 0x010E} <= tree.entries.keys()
    assert len(found.data) < 1300, "values, and what refers to them"


def test_an_entry_that_is_too_long_is_not_even_copied() -> None:
    found = exif.Structure.of(directory(1, struct.pack("<HHLL", 0x010E, 2, 100, 22)) + bytes(100))
    assert found is not None
    assert found.entry(10, 99) is None
    assert found.entry(10, 100) is not None


def test_the_iptc_of_a_tiff_may_be_written_as_longs() -> None:
    whole = b"\x1c\x02\x78\0\3Oma"
    longs = b"".join(whole[place : place + 4][::-1] for place in (0, 4))
    block = directory(1, struct.pack("<HHLL", 33723, 4, 2, 26)) + bytes(4) + longs
    assert read_metadata(block).iptc == whole


def test_comments_of_a_gif_are_bounded_together() -> None:
    comment = b"!\xfe" + (b"\xff" + b"a" * 255) * 3 + b"\0"
    data = b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0, 0, 0) + comment * 20 + b";"
    assert len(gif.read(data).texts) == 20
    assert sum(len(text.text) for text in gif.read(data, 4000).texts) <= 4000
    assert gif.read(data, 4000).texts


def test_a_png_holds_nothing_that_others_take_it_for_damaged_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png, "MOST_CHUNK_BYTES", 5000)
    short = exif.build(exif.Directory({0x010E: exif.Entry(2, 4, b"Oma\0")}), "<")
    note = exif.Directory({exif.MAKER_NOTE: exif.Entry(7, 6000, bytes(6000))})
    long = exif.build(exif.Directory({0x010E: exif.Entry(2, 4, b"Oma\0")}, {exif.EXIF_IFD: note}), "<")
    for block, xmp, texts in ((short, b"x" * 4000, 4000), (long, b"x" * 6000, 6000)):
        metadata = Metadata(block, xmp, texts=(Text("a", "b" * texts), Text("c", "d")))
        found = png.read(png.SIGNATURE + b"".join(png_chunk(*chunk) for chunk in png.write(metadata, b"profile")))
        assert exif.has_caption(found.exif), "the maker's note alone is left out"
        assert (len(found.xmp), len(found.texts)) == ((4000, 2) if block == short else (0, 1))


@pytest.mark.parametrize("most", [1 << 20, 10])
def test_iptc_in_a_png_is_deflated_only_as_far_as_others_read_it(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png, "MOST_UNPACKED_BYTES", most)
    datasets = b"\x1c\x02\x78\0\3Oma"
    chunks = png.write(Metadata(iptc=datasets), b"profile")
    assert [kind for kind, _ in chunks[1:]] == [b"zTXt" if most > 10 else b"tEXt"]
    assert png.read(png.SIGNATURE + b"".join(png_chunk(*chunk) for chunk in chunks)).iptc == datasets


def test_xmp_that_is_too_long_for_a_png_goes_and_the_note_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "MOST_PNG_XMP", 500)
    packet = b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">' + b" " * 600 + b"</rdf:RDF>"
    found = Metadata(xmp=packet)
    assert b" " * 600 in fit(found, (1, 1), "jpeg", Note("a", "b")).xmp
    fitted = fit(found, (1, 1), "png", Note("a", "b")).xmp
    assert b" " * 600 not in fitted
    assert b"algorithmicallyEnhanced" in fitted
