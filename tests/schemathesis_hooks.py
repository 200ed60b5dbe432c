"""Bodies for schemathesis: an OpenAPI schema can say "bytes", not "bytes that are a picture"."""

import schemathesis
from hypothesis import strategies as st

from tests.pictures import by_pillow, levels, smooth_gray

KINDS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP", "image/tiff": "TIFF", "image/bmp": "BMP"}
PICTURES = {
    media_type: [by_pillow(smooth_gray(9, 7), kind), by_pillow(levels(40, 33, 3), kind)]
    for media_type, kind in KINDS.items()
}
ANY = st.sampled_from([picture for pictures in PICTURES.values() for picture in pictures])

for media_type, pictures in PICTURES.items():
    schemathesis.openapi.media_type(media_type, st.sampled_from(pictures))
schemathesis.openapi.media_type("application/octet-stream", ANY)
schemathesis.openapi.format("binary", ANY)
