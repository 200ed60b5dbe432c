"""Every decoder works where decoders run: without threads, within the memory and the system calls of a worker."""

import io
import sys
from collections.abc import Iterator

import imagecodecs
import numpy as np
import pillow_heif
import pytest
from PIL import Image

from service.pictures.decode import decode
from service.pictures.formats import ROUTES, route_of
from service.pictures.probe import probe
from service.pictures.worker.pool import DecodePool
from tests.formats import profiles
from tests.formats.files import color, gray, icc_chunk, png
from tests.formats.jxl_profiles import with_profile
from tests.pictures import by_opencv, by_pillow

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are processes of Linux")


def heic() -> bytes:
    stream = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(color())).save(stream, quality=90)
    return stream.getvalue()


FILES = {
    "jpeg": by_pillow(color(), "JPEG"),
    "inks": by_pillow(Image.fromarray(color()).convert("CMYK"), "JPEG"),
    "jpeg 12": bytes(imagecodecs.jpeg8_encode(gray(np.uint16) >> 4, bitspersample=12)),
    "png": png(color(np.uint16), icc_chunk(profiles.rgb(1.8))),
    "table": png(color(np.uint16), icc_chunk(profiles.table_of_lab(b"RGB ", 3, lambda rgb: 100 * rgb))),
    "webp": by_pillow(color(), "WEBP"),
    "tiff": by_pillow(gray(), "TIFF"),
    "deep tiff": by_opencv(color(np.uint16), ".tif"),
    "bmp": by_pillow(color(), "BMP"),
    "gif": by_pillow(gray(), "GIF"),
    "jp2": bytes(imagecodecs.jpeg2k_encode(color(np.uint16), codecformat="jp2", reversible=True)),
    "jxl": bytes(imagecodecs.jpegxl_encode(color(), lossless=True, numthreads=1)),
    "jxl with a profile": with_profile(color(np.uint16), profiles.rgb(1.8)),
    "avif": by_pillow(color(), "AVIF"),
    "heic": heic(),
    "ppm": by_pillow(color(), "PPM"),
}


@pytest.fixture(scope="module")
def pool() -> Iterator[DecodePool]:
    made = DecodePool(1, cpu_s=10)
    yield made
    made.close()


@pytest.mark.parametrize("kind", FILES)
def test_a_worker_decodes_what_the_service_would(kind: str, pool: DecodePool) -> None:
    header = probe(FILES[kind], max_megapixels=1)
    found, said = pool.decode_here(FILES[kind], header), decode(FILES[kind], header)
    np.testing.assert_array_equal(found.pixels, said.pixels)


def test_every_route_is_among_them() -> None:
    taken = {route_of(probe(data, max_megapixels=1)) for data in FILES.values()}
    assert taken == set(ROUTES)
