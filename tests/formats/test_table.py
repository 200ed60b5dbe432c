"""The table of formats, and all that follows from it."""

import re
from pathlib import Path

import pytest
from PIL import Image

from service.archive import finding
from service.errors import UnsupportedPicture
from service.http.site import load_page
from service.pictures import decode
from service.pictures.formats import FORMATS, READABLE_SUFFIXES, READABLE_TYPES, ROUTES, format_of, route_of
from service.pictures.header import Header
from service.pictures.probe import probe
from service.pictures.worker.allowance import COPIES, SPARE_BYTES, cpu_s_for, memory_for
from tests.formats.files import color, gray
from tests.pictures import by_pillow

ROOT = Path(__file__).parents[2]
PAGE = load_page()["index.html"].data.decode()
SCRIPT = (ROOT / "service" / "page" / "files.js").read_text()
OFFERED = [each for each in FORMATS if each.name != "HEIC"]
"""Where HEIC is not offered, phones send JPEG instead; not every service reads HEIC."""


def test_every_format_has_a_route_and_every_route_a_decoder() -> None:
    assert {route.format for route in ROUTES} == {each.name for each in FORMATS}
    assert {route.decoder for route in ROUTES} == set(decode.DECODERS)
    for each in FORMATS:
        *_, last = (route for route in ROUTES if route.format == each.name)
        odd = Header(each.name, 1, 1, "RGB", 1, wide=False, icc_profile=None, bits=13)
        assert last.fits(odd), "the last route takes whatever is left"
        assert route_of(odd).format == each.name


def test_types_and_suffixes_are_named_once() -> None:
    for names in (READABLE_TYPES, READABLE_SUFFIXES):
        assert len(set(names)) == len(names)
    assert finding.SUFFIXES == READABLE_SUFFIXES


def test_the_page_offers_what_is_read() -> None:
    types = [kind for each in OFFERED for kind in each.media_types]
    suffixes = [suffix for each in OFFERED for suffix in each.suffixes]
    pictures, reference = re.findall(r'accept="([^"]+)"', PAGE)
    assert pictures.split(",") == [*types, *suffixes]
    assert reference.split(",") == types
    (names,) = re.findall(r"PICTURE_NAME = /\\\.\(([^)]+)\)\$/i", SCRIPT)
    assert names.split("|") == [suffix[1:] for suffix in READABLE_SUFFIXES]


@pytest.mark.parametrize("page", ["README.md", "docs/http.md", "service/page/words.js", "CHANGELOG.md"])
def test_pages_name_every_format(page: str) -> None:
    text = (ROOT / page).read_text()
    assert [each.title for each in FORMATS if each.title not in text] == []


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "JPEG2000", "AVIF", "PPM"])
def test_a_format_is_told_by_its_first_bytes(kind: str) -> None:
    data = by_pillow(color(), kind)
    found = format_of(data)
    assert found is not None
    assert found.name == kind == probe(data, max_megapixels=1).format


def test_what_is_not_read_is_called_by_its_name() -> None:
    for kind, name in (("ICNS", "an icon"), ("SGI", "an SGI picture"), ("PCX", "a PCX"), ("DDS", "a DirectDraw")):
        data = by_pillow(Image.fromarray(color()).resize((32, 32)), kind)
        with pytest.raises(UnsupportedPicture, match=f"The file is {name}"):
            probe(data, max_megapixels=1)


def test_what_is_in_memory_and_time_follows_the_table() -> None:
    flat = probe(by_pillow(gray(), "PNG"), max_megapixels=1)
    pixels = flat.width * flat.height
    assert memory_for(0, flat) == SPARE_BYTES + COPIES * pixels
    wavelets = probe(by_pillow(gray(), "JPEG2000"), max_megapixels=1)
    assert memory_for(0, wavelets) == SPARE_BYTES + (COPIES + route_of(wavelets).work_bytes) * pixels
    assert cpu_s_for(wavelets) == pytest.approx(route_of(wavelets).cpu_factor * cpu_s_for(flat))
