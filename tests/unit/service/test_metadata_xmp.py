"""service.pictures.metadata: XMP made true of the answer, the note on computed colors, packets that are too long."""

import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from service.pictures.encode import encode
from service.pictures.metadata import extended_xmp, jpeg, xml_tree, xmp
from service.pictures.metadata.belongings import Metadata, Note
from service.pictures.metadata.fitting import fit, left_to_turn, turned_sidecar
from service.pictures.metadata.reading import read_metadata, stated_orientation
from service.pictures.metadata.xml_tree import BadPacket, parse
from service.pictures.probe import probe
from tests.pictures import by_pillow, png_chunk, smooth_gray

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
TIFF, IPTC_EXT = "{http://ns.adobe.com/tiff/1.0/}", "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
XMP_MM = "{http://ns.adobe.com/xap/1.0/mm/}"
EVENT = "{http://ns.adobe.com/xap/1.0/sType/ResourceEvent#}"
DC = "{http://purl.org/dc/elements/1.1/}"
NAMESPACES = (
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
    'xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    'xmlns:stEvt="http://ns.adobe.com/xap/1.0/sType/ResourceEvent#" '
    'xmlns:e="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
)
NOTE = Note("Photochrom 1.2.3", 'model "tiny" & <more>, vividness 0.5')
SIZE = (30, 20)
SIX_TO_ONE = (ord("6"), ord("1"))
QUOTES = [(ord("'"), ord('"')), SIX_TO_ONE, (ord("'"), ord('"'))]
ALTERED = "http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicallyEnhanced"


def packet(inside: str = "", attributes: str = "") -> bytes:
    return (
        f'<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
        f'<rdf:RDF {NAMESPACES}>\n <rdf:Description rdf:about="uuid:7" {attributes}>{inside}</rdf:Description>\n'
        f'</rdf:RDF></x:xmpmeta>\n{" " * 40}\n<?xpacket end="w"?>'
    ).encode()


def fitted(
    data: bytes, *, upright: bool = False, note: Note | None = None, captions: xmp.Captions | None = None
) -> bytes:
    return xmp.fit_xmp(data, SIZE, upright=upright, captions=captions or {}, note=note)


def rdf(data: bytes) -> ElementTree.Element:
    top = ElementTree.fromstring(data.decode().strip("\0"))
    return top if top.tag == f"{RDF}RDF" else top[0]


NOTATIONS = {
    "attribute": packet(attributes='tiff:Orientation="6"'),
    "attribute in single quotes": packet(attributes="tiff:Orientation = '6'"),
    "element": packet("<tiff:Orientation>6</tiff:Orientation>"),
    "element with space": packet("<tiff:Orientation >\n6 </tiff:Orientation>"),
    "value": packet('<tiff:Orientation rdf:value="6"/>'),
    "value within": packet('<tiff:Orientation rdf:parseType="Resource"><rdf:value>6</rdf:value></tiff:Orientation>'),
    "described": packet("<tiff:Orientation><rdf:Description rdf:value='6'/></tiff:Orientation>"),
    "other prefix": packet('<t:Orientation xmlns:t="http://ns.adobe.com/tiff/1.0/">6</t:Orientation>'),
    "default namespace": packet('<Orientation xmlns="http://ns.adobe.com/tiff/1.0/">6</Orientation>'),
}


@pytest.mark.parametrize("name", NOTATIONS)
def test_orientation_is_read_and_settled_in_every_notation(name: str) -> None:
    data = NOTATIONS[name]
    assert xmp.orientation_of(data) == 6
    settled = fitted(data, upright=True)
    assert xmp.orientation_of(settled) == 1
    if name != "element with space":
        assert [(old, new) for old, new in zip(data, settled, strict=True) if old != new] in ([SIX_TO_ONE], QUOTES)
    assert fitted(data) == data, "where nothing was turned, nothing is written"


def test_only_an_orientation_is_taken_for_one() -> None:
    assert xmp.orientation_of(packet(attributes="dc:title=' tiff:Orientation=\"6\"'")) is None
    assert xmp.orientation_of(packet("<dc:a><tiff:Orientation>6</tiff:Orientation></dc:a>")) is None
    assert xmp.orientation_of(packet(attributes='tiff:Orientation="9"')) is None


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_picture_that_only_xmp_turns_is_turned(kind: str) -> None:
    gray, note = smooth_gray(20, 30), NOTATIONS["element"]
    options = {"tiffinfo": {700: note}} if kind == "TIFF" else {"xmp": note}
    data = by_pillow(gray, kind, **options)
    if kind == "PNG":  # Pillow writes none.
        data = data[:33] + png_chunk(b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + note) + data[33:]
    header = probe(data, max_megapixels=1)
    assert (header.orientation, header.upright_size) == (6, (20, 30))
    for output_format in ("png", "jpeg", "webp", "tiff"):
        carried = fit(read_metadata(data), (20, 30), output_format, NOTE)
        assert stated_orientation(encode(np.dstack([gray.T] * 3), None, output_format, metadata=carried)) == 1


def test_only_what_decoding_has_applied_is_settled() -> None:
    data = by_pillow(smooth_gray(20, 30), "JPEG", xmp=NOTATIONS["element"])
    assert (read_metadata(data).orientation, read_metadata(data, applied=1).orientation) == (6, 1)
    assert b">6<" in fit(read_metadata(data, applied=1), (30, 20), "jpeg", NOTE).xmp


def test_exif_comes_before_xmp() -> None:
    exif = Image.Exif()
    exif[0x0112] = 1
    data = by_pillow(smooth_gray(20, 30), "JPEG", exif=exif, xmp=NOTATIONS["element"])
    assert probe(data, max_megapixels=1).orientation == 1
    assert b">6<" in fit(read_metadata(data), (30, 20), "jpeg", None).xmp


def test_what_xmp_says_of_size_and_color_becomes_true_and_its_thumbnail_goes() -> None:
    said = packet(
        "<xmp:Thumbnails><rdf:Alt><rdf:li>ThVtYg==</rdf:li></rdf:Alt></xmp:Thumbnails><dc:format>image/jpeg</dc:format>",
        'tiff:ImageWidth="99" tiff:ImageLength="98" xmlns:p="http://ns.adobe.com/photoshop/1.0/" p:ColorMode="1" '
        'p:ICCProfile="Dot Gain 20%" xmlns:exif="http://ns.adobe.com/exif/1.0/" exif:PixelXDimension="99"',
    )
    true = fitted(said).decode()
    assert "ThVtYg" not in true
    for part in (
        'tiff:ImageWidth="30"',
        'ImageLength="20"',
        'ColorMode="3"',
        'ICCProfile="sRGB"',
        'PixelXDimension="30"',
    ):
        assert part in true
    assert "<dc:format>image/jpeg</dc:format>" in true


def test_what_phones_append_is_not_promised() -> None:
    said = packet(
        '<c:Directory xmlns:c="http://ns.google.com/photos/1.0/container/"><rdf:Seq/></c:Directory><dc:source>me</dc:source>',
        'xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0" dc:format="image/jpeg" '
        'xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" GCamera:MotionPhoto="1" GCamera:SpecialTypeID="x"',
    )
    (true,) = rdf(fitted(said))
    names = {name.rpartition("}")[2] for name in true.attrib} | {child.tag.rpartition("}")[2] for child in true}
    assert names == {"about", "format", "SpecialTypeID", "source"}


def test_a_picture_without_xmp_gets_the_note() -> None:
    top = rdf(fitted(b"", note=NOTE))
    assert top.findtext(f".//{IPTC_EXT}DigitalSourceType") == ALTERED
    (event,) = top.findall(f".//{XMP_MM}History/{RDF}Seq/{RDF}li")
    assert event.get(f"{EVENT}action") == "edited"
    assert event.get(f"{EVENT}softwareAgent") == NOTE.software
    assert event.get(f"{EVENT}parameters") == "colors computed: " + NOTE.parameters
    assert event.get(f"{EVENT}when") is None, "the same question has the same bytes tomorrow"
    assert fitted(b"") == b""
    with Image.open(io.BytesIO(by_pillow(smooth_gray(4, 4), "PNG"))) as image:
        assert "xmp" not in image.info


HISTORY = (
    '<xmpMM:History><rdf:Seq><rdf:li stEvt:action="created" stEvt:softwareAgent="SilverFast 9"/>'
    "</rdf:Seq></xmpMM:History>"
)


@pytest.mark.parametrize(
    ("inside", "events"),
    [
        (HISTORY, ["SilverFast 9", NOTE.software]),
        ("<xmpMM:History><rdf:Seq/></xmpMM:History>", [NOTE.software]),
        ("<xmpMM:History><rdf:Seq></rdf:Seq></xmpMM:History>", [NOTE.software]),
        ("", [NOTE.software]),
        ("<xmpMM:History>text</xmpMM:History>", []),
    ],
)
def test_the_note_goes_behind_what_was_done_before(inside: str, events: list[str]) -> None:
    data = packet(inside + "<dc:source>Glass plate 17</dc:source>")
    noted = fitted(data, note=NOTE)
    found = rdf(noted).findall(f".//{XMP_MM}History/{RDF}Seq/{RDF}li")
    assert [event.get(f"{EVENT}softwareAgent") for event in found] == events
    assert {one.get(f"{RDF}about") for one in rdf(noted)} == {"uuid:7"}, "all describe the same picture"
    assert rdf(noted).findtext(f".//{DC}source") == "Glass plate 17"
    assert noted.startswith(data[:200])


@pytest.mark.parametrize(
    "said",
    [
        {"attributes": 'e:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/print"'},
        {"inside": "<e:DigitalSourceType>http://cv.iptc.org/newscodes/digitalsourcetype/print</e:DigitalSourceType>"},
        {"inside": '<e:DigitalSourceType rdf:resource="http://cv.iptc.org/newscodes/digitalsourcetype/print"/>'},
    ],
)
def test_where_the_scan_came_from_moves_into_the_history(said: dict[str, str]) -> None:
    data = packet(**said)
    noted = fitted(data, note=NOTE).decode()
    assert noted.count("DigitalSourceType") == data.decode().count("DigitalSourceType")
    assert noted.count(ALTERED) == 1
    assert "digital source type was print" in noted
    assert fitted(data) == data, "without a note nothing is said of colors"


@pytest.mark.parametrize(
    "data",
    [
        b"no xml",
        b"<x:xmpmeta",
        b"<a/>",
        '<rdf:RDF xmlns:rdf="x"/>'.encode("utf-16"),
        packet().replace(b"rdf:about", b"\xff"),
        b'<!DOCTYPE a [<!ENTITY e "x">]>' + packet("&e;")[packet().index(b"<x") :],
        packet("<dc:a>" * 200 + "</dc:a>" * 200),
        packet("<dc:a/>" * 70_000),
        packet("<dc:a/>").replace(b"xmlns:dc", b"xmlns:other"),
    ],
    ids=["text", "cut", "no rdf", "utf-16", "bytes", "entities", "deep", "many", "undeclared"],
)
def test_what_is_no_packet_stays_as_it_is_and_the_note_is_a_comment(data: bytes) -> None:
    with pytest.raises(BadPacket):
        fitted(data, note=NOTE)
    for output_format in ("png", "jpeg", "tiff"):
        made = fit(Metadata(xmp=data), SIZE, output_format, NOTE)
        assert made.xmp == data
        assert [text.text for text in made.texts] == [NOTE.sentence]
        assert NOTE.software.encode() in encode(np.zeros((20, 30, 3), np.uint8), None, output_format, metadata=made)
    assert fit(Metadata(xmp=data), SIZE, "webp", NOTE).texts == ()


def test_entities_are_not_expanded() -> None:
    bomb = b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><a>&b;</a>'
    with pytest.raises(BadPacket, match="document type"):
        parse(bomb)


def test_captions_go_in_only_where_there_is_none_of_the_kind() -> None:
    captions = {
        (xmp.DC, "title"): ["A <b> & c"],
        (xmp.DC, "subject"): ["one", "two"],
        (xmp.PHOTOSHOP, "Credit"): ["x\0y"],
    }
    top = rdf(fitted(packet("<dc:title>mine</dc:title>"), captions=captions))
    assert [title.text for title in top.iter(f"{DC}title")] == ["mine"]
    assert [entry.text for entry in top.findall(f".//{DC}subject/{RDF}Bag/{RDF}li")] == ["one", "two"]
    assert top.findtext(".//{http://ns.adobe.com/photoshop/1.0/}Credit") == "xy"
    assert rdf(fitted(b"", captions=captions)).findtext(f".//{DC}title/{RDF}Alt/{RDF}li") == "A <b> & c"


def long_packet() -> bytes:
    dabs = "".join(f"<rdf:li>{number:06}</rdf:li>" for number in range(5_000))
    return packet(
        f"<dc:subject><rdf:Bag>{dabs}</rdf:Bag></dc:subject><dc:source>Oma</dc:source>",
        f'tiff:Artist="me" xmlns:g="urn:depth" g:Data="{"QUJD" * 20_000}"',
    )


def test_a_packet_longer_than_a_segment_is_divided_as_the_standard_says() -> None:
    data = long_packet()
    assert len(data) > 180_000
    question = by_pillow(smooth_gray(20, 30), "TIFF", tiffinfo={700: data})
    made = fit(read_metadata(question), SIZE, "jpeg", NOTE)
    answer = encode(np.zeros((20, 30, 3), np.uint8), None, "jpeg", metadata=made)
    contents = [content for _, content in jpeg.segments(answer, 1 << 24)]
    (standard,) = [content for content in contents if content.startswith(jpeg.XMP_PREFIX)]
    parts = [content for content in contents if content.startswith(extended_xmp.PREFIX)]
    assert len(standard) <= 65_533
    assert len(parts) > 1
    assert max(len(part) for part in parts) <= 65_533
    named = re.search(rb'HasExtendedXMP="([0-9A-F]{32})"', standard)
    assert named is not None
    assert {part[35:67] for part in parts} == {named[1]}
    assert ALTERED.encode() in standard, "the note is found without the rest"
    # Joined again, all of it is there.
    joined = rdf(read_metadata(answer).xmp)
    assert len(joined.findall(f".//{DC}subject/{RDF}Bag/{RDF}li")) == 5_000
    assert joined.findtext(f".//{DC}source") == "Oma"
    values = {key: value for one in joined for key, value in one.attrib.items()}
    assert values["{urn:depth}Data"] == "QUJD" * 20_000
    assert values[f"{TIFF}Artist"] == "me"
    assert "HasExtendedXMP" not in read_metadata(answer).xmp.decode()
    again = encode(np.zeros((20, 30, 3), np.uint8), None, "png", metadata=fit(read_metadata(answer), SIZE, "png", None))
    assert rdf(read_metadata(again).xmp).findtext(f".//{DC}source") == "Oma"


def test_extended_xmp_that_is_not_whole_costs_nothing_else() -> None:
    standard, rest = extended_xmp.divide(long_packet(), jpeg.MOST_XMP)
    parts = [part.removeprefix(extended_xmp.PREFIX) for part in extended_xmp.segments_of(rest)]
    assert extended_xmp.join(standard, parts[1:]) == standard
    assert extended_xmp.join(standard, [b"0" * 32 + part[32:] for part in parts]) == standard
    assert extended_xmp.join(standard, [parts[0][:20]]) == standard
    assert extended_xmp.join(b"no xml", parts) == b"no xml"
    assert b"g:Data" in extended_xmp.join(standard, parts[::-1])


def test_a_packet_of_one_property_that_is_no_xml_cannot_be_divided() -> None:
    assert extended_xmp.divide(b"x" * 70_000, jpeg.MOST_XMP) == (b"", b"")
    nothing_to_move = packet() + b" " * 70_000
    assert extended_xmp.divide(nothing_to_move, jpeg.MOST_XMP) == (b"", b"")


@pytest.mark.parametrize("applied", range(1, 9))
@pytest.mark.parametrize("stated", range(1, 9))
def test_what_is_left_to_turn_leads_to_the_same_picture(applied: int, stated: int) -> None:
    stored = np.arange(6).reshape(2, 3)
    once = turned(turned(stored, applied), left_to_turn(stated, applied))
    np.testing.assert_array_equal(once, turned(stored, stated))


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn by an orientation of EXIF, written down independently (CIPA DC-008)."""
    return {
        1: lambda p: p,
        2: np.fliplr,
        3: lambda p: np.rot90(p, 2),
        4: np.flipud,
        5: lambda p: p.T,
        6: lambda p: np.rot90(p, -1),
        7: lambda p: np.rot90(p, 2).T,
        8: np.rot90,
    }[orientation](pixels)


def test_a_sidecar_keeps_only_what_is_left_to_turn() -> None:
    data = NOTATIONS["attribute"]
    assert turned_sidecar(data, 1) == data
    assert xmp.orientation_of(turned_sidecar(data, 6)) == 1
    assert xmp.orientation_of(turned_sidecar(data, 8)) == 3
    assert turned_sidecar(packet(), 6) == packet()
    assert turned_sidecar(b"not xml tiff:Orientation='6'", 6) == b"not xml tiff:Orientation='1'"


def test_prefixes_that_every_element_adds_one_to_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xml_tree, "MOST_PREFIXES", 1000)
    many = "".join(f' xmlns:p{index}="u"' for index in range(50))
    packet = f"<a{many}>" + '<b xmlns:q="v"/>' * 100 + "</a>"
    with pytest.raises(xml_tree.BadPacket, match="prefixes"):
        xml_tree.parse(packet.encode())
    assert len(xml_tree.parse(packet.replace(' xmlns:q="v"', "").encode()).children) == 100


def test_properties_that_would_all_repeat_their_prefixes_are_left_where_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(extended_xmp, "SPARE_DECLARED_BYTES", 1000)
    many = "".join(f' xmlns:p{index}="u"' for index in range(50))
    head = f'<rdf:RDF xmlns:rdf="{xmp.RDF}"{many}>'
    rest = f"{head}{'<rdf:Description/>' * 50}</rdf:RDF>".encode()
    parts = [part[len(extended_xmp.PREFIX) :] for part in extended_xmp.segments_of(rest)]
    name = parts[0][: extended_xmp.GUID_BYTES].decode()
    note = f'<rdf:Description xmlns:n="{extended_xmp.XMP_NOTE}" n:HasExtendedXMP="{name}"/>'
    standard = f'<rdf:RDF xmlns:rdf="{xmp.RDF}">{note}</rdf:RDF>'.encode()
    assert extended_xmp.join(standard, parts) == standard
    packet = f"{head}<rdf:Description>{'<p1:a>x</p1:a>' * 50}</rdf:Description></rdf:RDF>".encode()
    assert extended_xmp.divide(packet, 1000) == (b"", b"")
