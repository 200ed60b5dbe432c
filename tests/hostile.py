"""Files that people send to break a server, made on the spot, with the problem that each must be answered with."""

import io
import struct
import zlib
from functools import cache

from PIL import Image, PngImagePlugin

from tests.pictures import bomb_png, by_pillow, levels, png_chunk, smooth_gray

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png_of(width: int, height: int, body: bytes = b"", *, depth: int = 8, kind: int = 0) -> bytes:
    """Return a PNG with any header, true or not."""
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    data = png_chunk(b"IDAT", body or zlib.compress(bytes(2)))
    return PNG_SIGNATURE + png_chunk(b"IHDR", header) + data + png_chunk(b"IEND", b"")


def patched(data: bytes, place: int, form: str, *values: int) -> bytes:
    """Return data with numbers written over a place."""
    changed = bytearray(data)
    struct.pack_into(form, changed, place, *values)
    return bytes(changed)


def jpeg_of(width: int, height: int) -> bytes:
    """Return a JPEG whose frame header says any size."""
    data = by_pillow(smooth_gray(16, 16), "JPEG")
    return patched(data, data.index(b"\xff\xc0") + 5, ">HH", height, width)


def bmp_of(width: int, height: int) -> bytes:
    """Return a BMP whose header says any size."""
    return patched(by_pillow(levels(8, 8, 3), "BMP"), 18, "<ii", width, height)


def tiff_of(*tags: tuple[int, int, int, int], following: int = 0) -> bytes:
    """Return a little-endian TIFF of one directory of (tag, type, count, value), and where the next is."""
    body = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return (
        b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + body + struct.pack("<I", following) + bytes(64)
    )


GRAY_TAGS = ((258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 200), (277, 3, 1, 1), (279, 4, 1, 64))


def many_texts(count: int) -> bytes:
    """Return a PNG with so many comments in front of its pixels."""
    data = by_pillow(smooth_gray(16, 16), "PNG")
    place = data.index(b"IDAT") - 4
    return data[:place] + png_chunk(b"tEXt", b"k\0v") * count + data[place:]


@cache
def text_bomb() -> bytes:
    """Return a PNG whose comment unpacks to a gigabyte."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(1024)) + packer.flush()
    data = by_pillow(smooth_gray(16, 16), "PNG")
    place = data.index(b"IDAT") - 4
    return data[:place] + png_chunk(b"zTXt", b"bomb\0\0" + packed) + data[place:]


def animated(kind: str) -> bytes:
    """Return an animation of two frames."""
    frames = [Image.fromarray(levels(12, 12, 3, seed=seed)) for seed in (1, 2)]
    return by_pillow(frames[0], kind, save_all=True, append_images=frames[1:])


def picture_with_text(kind: str, text: str) -> bytes:
    """Return a good picture that carries a text."""
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", text)
    stream = io.BytesIO()
    Image.fromarray(smooth_gray(16, 16)).save(stream, kind, pnginfo=info, comment=text.encode())
    return stream.getvalue()


def corpus() -> dict[str, tuple[bytes, str]]:
    """Return files by name, each with the name of its problem."""
    good = {kind: by_pillow(levels(40, 30, 3), kind) for kind in ("JPEG", "PNG", "WEBP", "TIFF", "BMP")}
    files = {
        "bomb": (bomb_png(), "picture-too-large"),
        "bomb just below the side limit": (bomb_png(65_000), "picture-too-large"),
        "a hundred thousand comments": (many_texts(100_000), "picture-too-costly"),
        "png of no width": (png_of(0, 10), "broken-picture"),
        "png of no height": (png_of(10, 0), "broken-picture"),
        "png of 2^31 - 1": (png_of(2**31 - 1, 2**31 - 1), "picture-too-large"),
        "png of depth 3": (png_of(10, 10, depth=3), "broken-picture"),
        "png without pixels": (PNG_SIGNATURE + png_chunk(b"IEND", b""), "broken-picture"),
        "png of a signature": (PNG_SIGNATURE, "broken-picture"),
        "png with too few pixels": (png_of(40, 40), "broken-picture"),
        "png chunk longer than the file": (patched(good["PNG"], 33, ">I", 0xFF000000), "broken-picture"),
        "png end longer than the file": (
            patched(good["PNG"], len(good["PNG"]) - 12, ">I", 0xD4000000),
            "broken-picture",
        ),
        "png with nothing but an end, longer than the file": (
            patched(good["PNG"][:33] + png_chunk(b"IEND", bytes(99)), 33, ">I", 0xD4000000),
            "broken-picture",
        ),
        "jpeg of 65535": (jpeg_of(65_535, 65_535), "picture-too-large"),
        "jpeg of no width": (jpeg_of(0, 16), "broken-picture"),
        "jpeg of a marker": (b"\xff\xd8\xff", "broken-picture"),
        "bmp of 2^31 - 1": (bmp_of(2**31 - 1, 2**31 - 1), "picture-too-large"),
        "bmp of negative width": (bmp_of(-8, 8), "picture-too-large"),
        "tiff of 2^32 - 1": (tiff_of((256, 4, 1, 2**32 - 1), (257, 4, 1, 2**32 - 1), *GRAY_TAGS), "picture-too-large"),
        "tiff that is its own next page": (
            tiff_of((256, 4, 1, 8), (257, 4, 1, 8), *GRAY_TAGS, following=8),
            "broken-picture",
        ),
        "tiff with a directory beyond its end": (b"II*\0" + struct.pack("<I", 2**31), "broken-picture"),
        "tiff of a million strips": (
            tiff_of((256, 4, 1, 8), (257, 4, 1, 8), *GRAY_TAGS[:3], (273, 4, 1_000_000, 8), (278, 3, 1, 1)),
            "broken-picture",
        ),
        "animated webp": (animated("WEBP"), "several-frames"),
        "animated png": (animated("PNG"), "several-frames"),
        "several tiff pages": (animated("TIFF"), "several-frames"),
        "gif": (animated("GIF"), "several-frames"),
        "svg": (
            b'<svg xmlns="http://www.w3.org/2000/svg"><image href="/etc/passwd"/></svg>',
            "unsupported-picture",
        ),
        "pdf": (b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n", "unsupported-picture"),
        "html": (b"<html><script>alert(1)</script></html>", "unsupported-picture"),
        "zip": (b"PK\x03\x04" + bytes(100), "unsupported-picture"),
        "heic of a signature": (b"\0\0\0\x18ftypheic" + bytes(100), "broken-picture"),
        "postscript in front of a jpeg": (b"%!PS-Adobe\n" + good["JPEG"], "unsupported-picture"),
        "zeros": (bytes(100_000), "unsupported-picture"),
        "one byte": (b"\xff", "unsupported-picture"),
        "nothing": (b"", "empty-upload"),
    }
    for kind, data in good.items():
        if kind != "BMP":  # Its pixels are not packed: a short one is what is left after the next line.
            files[f"half a {kind}"] = (data[: len(data) // 2], "broken-picture")
        files[f"{kind} without its last fifth"] = (data[: -len(data) // 5], "broken-picture")
    return files


def polyglots() -> dict[str, bytes]:
    """Return good pictures that are something else, too; the answer must hold nothing of it."""
    picture = by_pillow(smooth_gray(16, 16), "PNG")
    return {
        "page behind a png": picture + b"<html><script>alert(1)</script></html>",
        "archive behind a jpeg": by_pillow(smooth_gray(16, 16), "JPEG")
        + b"PK\x05\x06<script>alert(1)</script>"
        + bytes(18),
        "comment that unpacks to a gigabyte": text_bomb(),
    }


def commented() -> dict[str, bytes]:
    """Return good pictures with a script for a comment; comments belong to a picture, unless nobody wants them."""
    return {kind: picture_with_text(kind, "<script>alert(1)</script>") for kind in ("PNG", "JPEG")}
