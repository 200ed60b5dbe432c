"""Several pictures in one answer: a ZIP file, or JSON that tells more about them.

Both are made so that no picture is in memory twice for longer than it takes to put it in: each is let go once it is.
"""

import base64
import io
import json
import zipfile
from typing import Any, Final

ZIP_TYPE: Final = "application/zip"

JSON_TYPE: Final = "application/json"

ZIP_DATE: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest that a ZIP file can say: the same pictures give the same bytes."""

Pictures = list[tuple[int, bytes]]
"""Number of a variant, and its file."""


def pack_zip(pictures: Pictures, suffix: str) -> bytes:
    """Return a ZIP file of pictures, stored as they are: they are compressed already.

    Args:
        pictures: emptied by this.
        suffix: of the files' names, such as `.png`.

    Returns:
        A ZIP file with `variant-1.png` and so on.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        while pictures:
            variant, data = pictures.pop(0)
            archive.writestr(zipfile.ZipInfo(f"variant-{variant}{suffix}", ZIP_DATE), data)
    return buffer.getvalue()


def pack_json(facts: dict[str, Any], pictures: Pictures, media_type: str) -> bytes:
    """Return a JSON object with the facts and, under `pictures`, the pictures in base64.

    Args:
        facts: further members.
        pictures: emptied by this.
        media_type: of the pictures.

    Returns:
        JSON text, UTF-8.
    """
    head = json.dumps(facts | {"pictures": []}, ensure_ascii=False).removesuffix("]}").encode()
    buffer = io.BytesIO()
    buffer.write(head)
    separator = b""
    while pictures:
        variant, data = pictures.pop(0)
        entry = json.dumps({"variant": variant, "media_type": media_type, "data": ""}).removesuffix('"}').encode()
        buffer.write(separator + entry)
        buffer.write(base64.b64encode(data))
        buffer.write(b'"}')
        separator = b", "
    buffer.write(b"]}")
    return buffer.getvalue()


def json_bytes(picture_bytes: int) -> int:
    """Return how many bytes a picture takes in JSON."""
    return (picture_bytes + 2) // 3 * 4
