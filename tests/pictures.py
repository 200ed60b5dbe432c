"""Picture files for the tests of the service, made on the spot: every format, and what people do to them."""

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageCms


def levels(height: int, width: int, *channels: int, dtype: type = np.uint8, seed: int = 0) -> np.ndarray:
    """Return random levels over the whole range of a dtype."""
    top = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, top, (height, width, *channels), dtype, endpoint=True)


def smooth_gray(height: int, width: int, *, dtype: type = np.uint8) -> np.ndarray:
    """Return a picture-like gray: slopes and a few edges, over the whole range."""
    y, x = np.mgrid[:height, :width] / max(height, width, 2)
    wave = 0.5 + 0.3 * np.sin(7 * x + 3 * y) + 0.2 * ((x + y) % 0.25 > 0.12)
    return np.clip(wave * np.iinfo(dtype).max, 0, np.iinfo(dtype).max).astype(dtype)


def by_pillow(image: Image.Image | np.ndarray, kind: str, **options: Any) -> bytes:
    """Encode with Pillow."""
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(stream, kind, **options)
    return stream.getvalue()


def by_opencv(pixels: np.ndarray, suffix: str, *parameters: int) -> bytes:
    """Encode RGB(A) or gray with OpenCV, which also writes 16 bits a channel."""
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}
    stored = pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[..., order[pixels.shape[2]]])
    return cv2.imencode(suffix, stored, parameters)[1].tobytes()


def with_orientation(pixels: np.ndarray, orientation: int, kind: str = "JPEG") -> bytes:
    """Encode with an EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}
    return by_pillow(pixels, kind, exif=exif if kind == "TIFF" else exif.tobytes(), **lossless.get(kind, {}))


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """Return one PNG chunk."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def bomb_png(side: int = 20_000) -> bytes:
    """Return a complete 1-bit PNG of side x side that is tiny as a file."""
    rows = zlib.compressobj(9)
    row = bytes(1 + (side + 7) // 8)
    body = b"".join(rows.compress(row) for _ in range(side)) + rows.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", body) + png_chunk(b"IEND", b"")


def icc_profile(kind: str) -> bytes:
    """Return a color profile: `srgb`, or `gamma1`, an RGB one that stores linear light, or `gray1`, likewise gray."""
    if kind == "srgb":
        made = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        return made[:24] + bytes(12) + made[36:]  # without the time at which it was made
    return _linear_profile(b"GRAY" if kind == "gray1" else b"RGB ")


def _linear_profile(space: bytes) -> bytes:
    """Write a minimal ICC version 2 profile with the primaries of sRGB and no gamma (ICC.1:2001-04)."""

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    text = b"Linear light"
    description = b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text + b"\0" + bytes(78)
    linear = b"curv\0\0\0\0" + struct.pack(">I", 0)
    tags = {b"desc": description, b"cprt": b"text\0\0\0\0CC0\0", b"wtpt": xyz(0.9642, 1.0, 0.8249)}
    if space == b"GRAY":
        tags[b"kTRC"] = linear
    else:
        tags |= {name: linear for name in (b"rTRC", b"gTRC", b"bTRC")}
        tags |= {
            b"rXYZ": xyz(0.4360, 0.2225, 0.0139),
            b"gXYZ": xyz(0.3851, 0.7169, 0.0971),
            b"bXYZ": xyz(0.1431, 0.0606, 0.7139),
        }
    offset = 128 + 4 + 12 * len(tags)
    table, bodies = struct.pack(">I", len(tags)), b""
    for name, body in tags.items():
        padded = body + bytes(-len(body) % 4)
        table += name + struct.pack(">II", offset + len(bodies), len(body))
        bodies += padded
    size = offset + len(bodies)
    header = struct.pack(">I4sI4s4s4s", size, b"test", 0x02400000, b"mntr", space, b"XYZ ") + bytes(12) + b"acsp"
    header += bytes(28) + struct.pack(">iii", 63190, 65536, 54061)
    return header + bytes(128 - len(header)) + table + bodies
