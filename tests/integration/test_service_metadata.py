"""What belongs to a picture stays with it over HTTP, and the answers that an archive keeps: TIFF, depths, the note."""

import base64
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from starlette.testclient import TestClient

from service.client import Client
from service.http.app import create_app
from service.pictures.metadata.reading import read_metadata
from service.settings import Settings
from tests import onnx_factory
from tests.pictures import by_opencv, by_pillow, levels, smooth_gray

FORMATS = ("png", "jpeg", "webp", "tiff")
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:source>plate 17</dc:source>'
    b"</rdf:Description></rdf:RDF></x:xmpmeta>"
)
ALTERED = b"digitalsourcetype/algorithmicallyEnhanced"


def scan(orientation: int = 6) -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = orientation, "Oma im Garten"
    return by_pillow(smooth_gray(48, 64), "JPEG", exif=exif.tobytes(), dpi=(600, 600), xmp=XMP, comment=b"from a box")


SCAN = scan()
DEEP = by_opencv(smooth_gray(48, 64, dtype=np.uint16), ".tif")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    model = onnx_factory.write_model(tmp_path_factory.mktemp("model") / "tiny.onnx")
    with TestClient(create_app(Settings(model=model, device="cpu", threads=2)), raise_server_exceptions=False) as made:
        yield made


def post(client: TestClient, data: bytes, query: str = "", **headers: str) -> Any:
    answer = client.post(f"/colorize{query}", content=data, headers={"Content-Type": "image/png", **headers})
    assert answer.status_code == 200, answer.text
    return answer


def check_kept(data: bytes) -> None:
    found = read_metadata(data)
    assert found.dpi == (600, 600)
    assert found.orientation == 1
    assert b"Oma im Garten" in found.exif
    assert b"plate 17" in found.xmp
    assert found.xmp.count(ALTERED) == 1
    assert b"model tiny-0001, mode annealed, vividness 0.5" in found.xmp


@pytest.mark.parametrize("output_format", FORMATS)
def test_what_belongs_to_a_picture_stays_with_it(client: TestClient, output_format: str) -> None:
    answer = post(client, SCAN, f"?format={output_format}")
    assert answer.headers["content-type"] == f"image/{output_format}"
    check_kept(answer.content)
    with Image.open(io.BytesIO(answer.content)) as image:
        assert image.size == (48, 64)
    assert post(client, SCAN, f"?format={output_format}").content == answer.content


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_kept_picture_keeps_it_too(client: TestClient, output_format: str) -> None:
    kept = client.post("/pictures", content=SCAN, headers={"Content-Type": "image/jpeg"}).json()
    answer = client.get(f"/pictures/{kept['id']}?format={output_format}")
    check_kept(answer.content)
    assert answer.content == client.get(f"/pictures/{kept['id']}?format={output_format}").content
    second = client.get(f"/pictures/{kept['id']}?format={output_format}&variant=2&max_side=64")
    assert b"version 2" in read_metadata(second.content).xmp
    bare = client.get(f"/pictures/{kept['id']}?format={output_format}&metadata=none&note=false")
    assert b"Oma" not in bare.content
    assert ALTERED not in bare.content
    assert len({one.headers["etag"] for one in (answer, second, bare)}) == 3


def test_several_answers_in_one_file_all_keep_it(client: TestClient) -> None:
    packed = post(client, SCAN, "?variants=2&format=tiff")
    with zipfile.ZipFile(io.BytesIO(packed.content)) as archive:
        assert archive.namelist() == ["variant-1.tif", "variant-2.tif"]
        first, second = (archive.read(name) for name in archive.namelist())
    check_kept(first)
    assert b"version 2" in read_metadata(second).xmp
    told = post(client, SCAN, "?format=json", Accept="application/json, image/tiff;q=0.5").json()
    assert told["pictures"][0]["media_type"] == "image/tiff"
    check_kept(base64.b64decode(told["pictures"][0]["data"]))


def test_nothing_is_kept_where_nothing_is_wanted(client: TestClient) -> None:
    tags = set()
    for output_format in FORMATS:
        bare = post(client, SCAN, f"?format={output_format}&metadata=none&note=false")
        noted = post(client, SCAN, f"?format={output_format}&metadata=none")
        unnoted = post(client, SCAN, f"?format={output_format}&note=false")
        for word in (b"Oma", b"plate 17", b"from a box"):
            assert word not in bare.content + noted.content
        assert read_metadata(bare.content).dpi is None or output_format == "jpeg"
        assert (ALTERED in bare.content, ALTERED in noted.content, ALTERED in unnoted.content) == (False, True, False)
        assert b"plate 17" in unnoted.content
        tags |= {answer.headers["etag"] for answer in (bare, noted, unnoted)}
    assert len(tags) == 3 * len(FORMATS)


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_picture_that_only_xmp_turns_comes_upright_once(client: TestClient, output_format: str) -> None:
    turned = b'<rdf:Description rdf:about="" xmlns:t="http://ns.adobe.com/tiff/1.0/" t:Orientation="6"/></rdf:RDF>'
    xmp = XMP.replace(b"</rdf:RDF>", turned)
    for kind, options in (("JPEG", {"xmp": xmp}), ("WEBP", {"xmp": xmp}), ("TIFF", {"tiffinfo": {700: xmp}})):
        question = by_pillow(smooth_gray(48, 64), kind, **options)  # type: ignore[arg-type]
        answer = post(client, question, f"?format={output_format}")
        with Image.open(io.BytesIO(answer.content)) as image:
            assert image.size == (48, 64)
        assert read_metadata(answer.content).orientation == 1
        assert b't:Orientation="1"' in read_metadata(answer.content).xmp


def test_accept_chooses_tiff(client: TestClient) -> None:
    asked = post(client, SCAN, "?format=tiff")
    accepted = post(client, SCAN, Accept="image/tiff, image/*;q=0.5")
    assert accepted.headers["content-type"] == "image/tiff"
    assert (accepted.content, accepted.headers["etag"]) == (asked.content, asked.headers["etag"])


@pytest.mark.parametrize("output_format", ["png", "tiff"])
def test_the_depth_is_the_questions_or_the_one_asked_for(client: TestClient, output_format: str) -> None:
    alpha = by_opencv(levels(48, 64, 4), ".png")
    for question, depth, bits in ((DEEP, "", 16), (SCAN, "", 8), (DEEP, "&depth=8", 8), (alpha, "&depth=16", 16)):
        answer = post(client, question, f"?format={output_format}{depth}")
        stored = answer.content[24] if output_format == "png" else tiff_bits(answer.content)
        assert stored == bits
    kept = client.post("/pictures", content=DEEP, headers={"Content-Type": "image/tiff"}).json()["id"]
    for depth, bits in (("", 16), ("&depth=8", 8)):
        assert tiff_bits(client.get(f"/pictures/{kept}?format=tiff{depth}").content) == bits


def tiff_bits(data: bytes) -> int:
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        return int(file.pages[0].bitspersample)


def test_sixteen_bits_say_more_than_eight(client: TestClient) -> None:
    with tifffile.TiffFile(io.BytesIO(post(client, DEEP, "?format=tiff").content)) as file:
        assert len(np.unique(file.asarray())) > 300
    with tifffile.TiffFile(io.BytesIO(post(client, SCAN, "?format=tiff&depth=16").content)) as file:
        assert file.asarray().dtype == np.uint16


@pytest.mark.parametrize("query", ["?depth=16&format=jpeg", "?depth=16&format=webp"])
def test_what_holds_eight_bits_is_not_asked_for_sixteen(client: TestClient, query: str) -> None:
    kept = client.post("/pictures", content=SCAN, headers={"Content-Type": "image/jpeg"}).json()["id"]
    for answer in (client.post(f"/colorize{query}", content=SCAN), client.get(f"/pictures/{kept}{query}")):
        assert answer.status_code == 422
        assert answer.json()["type"] == "urn:photochrom:problem:unfit-format"
        assert (answer.json()["limit"], answer.json()["unit"]) == (8, "bits")
    by_header = client.post("/colorize?depth=16", content=SCAN, headers={"Accept": "image/jpeg"})
    assert by_header.json()["type"] == "urn:photochrom:problem:unfit-format"


@pytest.mark.parametrize("query", ["depth=12", "depth=sixteen", "metadata=some", "note=perhaps", "depth=8&depth=16"])
def test_other_choices_are_refused(client: TestClient, query: str) -> None:
    answer = client.post(f"/colorize?{query}", content=SCAN)
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:photochrom:problem:invalid-option")


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_broken_metadata_loses_no_picture(client: TestClient) -> None:
    good = by_pillow(smooth_gray(48, 64), "JPEG")
    for body in (b"Exif\0\0II*\0\xff\xff\xff\xff", b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta", b"Exif\0\0"):
        broken = good[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + good[2:]
        for output_format in FORMATS:
            with Image.open(io.BytesIO(post(client, broken, f"?format={output_format}").content)) as image:
                image.load()
                assert image.size == (64, 48)


def test_the_client_asks_for_it(client: TestClient, tmp_path: Path) -> None:
    with Client("http://testserver", transport=client._transport) as caller:
        answer = caller.colorize(SCAN, format="tiff", depth=16, metadata="none", note=False)
        assert answer.media_type == "image/tiff"
        assert tiff_bits(answer.data) == 16
        assert b"Oma" not in answer.data
        assert ALTERED not in answer.data
        check_kept(caller.colorize(SCAN, format="tiff", note=True).data)
        kept = caller.keep(SCAN)
        check_kept(caller.render(kept, format="webp").data)
    (tmp_path / "a.tif").write_bytes(answer.data)
    assert tifffile.imread(tmp_path / "a.tif").shape == (64, 48, 3)
