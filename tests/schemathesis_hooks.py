"""Bodies for schemathesis: an OpenAPI schema can say "bytes", not "bytes that are a picture"."""

import schemathesis
from hypothesis import strategies as st

from service.pictures.formats import FORMATS, READABLE_TYPES
from tests.pictures import by_pillow, levels, smooth_gray

WRITTEN = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "PPM")
"""What Pillow writes; a body of another type is one of these: the bytes decide."""


PICTURES = {
    media_type: [by_pillow(smooth_gray(9, 7), each.name), by_pillow(levels(40, 33, 3), each.name)]
    for each in FORMATS
    if each.name in WRITTEN
    for media_type in each.media_types
}
ANY = st.sampled_from([picture for pictures in PICTURES.values() for picture in pictures])

for media_type in READABLE_TYPES:
    pictures = PICTURES.get(media_type)
    schemathesis.openapi.media_type(media_type, st.sampled_from(pictures) if pictures else ANY)
schemathesis.openapi.media_type("application/octet-stream", ANY)
schemathesis.openapi.format("binary", ANY)
