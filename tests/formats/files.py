"""Files written by hand, for what no library writes."""

import io
import struct
import zlib
from typing import Any

import imagecodecs
import numpy as np
import pillow_heif
from PIL import Image

from tests.pictures import by_pillow, png_chunk, smooth_gray

HEIGHT, WIDTH = 32, 48
LOSSLESS_JPEG = {"quality": 100, "subsampling": 0}


def gray(dtype: type = np.uint8) -> np.ndarray:
    """Return a gray picture, no two corners alike."""
    return smooth_gray(HEIGHT, WIDTH, dtype=dtype)


def color(dtype: type = np.uint8) -> np.ndarray:
    """Return a color picture."""
    plane = gray(dtype)
    return np.dstack([plane, plane[::-1], np.iinfo(dtype).max - plane])


def opacity(dtype: type = np.uint8) -> np.ndarray:
    """Return an opacity, from nothing to all."""
    top = np.iinfo(dtype).max
    return np.tile(np.linspace(0, top, WIDTH).astype(dtype), (HEIGHT, 1))


def png(pixels: np.ndarray, *front: bytes, behind: bytes = b"", bits: int = 0, kind: int | None = None) -> bytes:
    """Return a PNG: gray (H, W), gray with alpha, RGB, RGBA; of less than 8 bits where they are named."""
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    bits = bits or 8 * pixels.itemsize
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels] if kind is None else kind
    if bits < 8:
        places = np.arange(bits - 1, -1, -1)
        rows = np.packbits((pixels[..., None] >> places & 1).astype(np.uint8).reshape(len(pixels), -1), axis=1)
    else:
        rows = pixels.astype(f">u{bits // 8}").reshape(len(pixels), -1)
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    head = struct.pack(">LLBBBBB", pixels.shape[1], pixels.shape[0], bits, kind, 0, 0, 0)
    chunks = png_chunk(b"IHDR", head) + b"".join(front) + png_chunk(b"IDAT", packed) + behind + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def icc_chunk(profile: bytes) -> bytes:
    """Return a PNG's chunk with a profile."""
    return png_chunk(b"iCCP", b"a profile\0\0" + zlib.compress(profile))


def exif(orientation: int, order: str = "<") -> bytes:
    """Return EXIF with nothing but an orientation."""
    head = b"II*\0" if order == "<" else b"MM\0*"
    return head + struct.pack(order + "LHHHLHHL", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def xmp(orientation: int, *, as_element: bool = False) -> bytes:
    """Return XMP with an orientation."""
    inner = f"><tiff:Orientation>{orientation}</tiff:Orientation></rdf:Description>"
    inner = inner if as_element else f' tiff:Orientation="{orientation}"/>'
    text = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description rdf:about=""{inner}</rdf:RDF></x:xmpmeta>'
    return text.encode()


def segment(marker: int, content: bytes) -> bytes:
    """Return a JPEG's segment."""
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(content) + 2) + content


def jpeg_with(pixels: Any, *segments: bytes, **options: Any) -> bytes:
    """Return a JPEG with segments in front."""
    whole = by_pillow(pixels, "JPEG", **{**LOSSLESS_JPEG, **options})
    return whole[:2] + b"".join(segments) + whole[2:]


def box(kind: bytes, content: bytes) -> bytes:
    """Return a box."""
    return struct.pack(">L", 8 + len(content)) + kind + content


def jp2_with(codestream: bytes, pixels: np.ndarray, *, bits: int, boxes: bytes) -> bytes:
    """Return a JP2 around a codestream, with boxes of one's own behind the first one of its header."""
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    head = struct.pack(">LLHBBBB", *pixels.shape[:2], channels, bits - 1, 7, 0, 0)
    front = b"\0\0\0\x0cjP  \r\n\x87\n" + box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
    return front + box(b"jp2h", box(b"ihdr", head) + boxes) + box(b"jp2c", codestream)


def colr(space: int) -> bytes:
    """Return JP2's box of an enumerated color space."""
    return box(b"colr", struct.pack(">BBBL", 1, 0, 0, space))


def codestream(pixels: np.ndarray, *, bits: int = 0, mct: bool = True) -> bytes:
    """Return a lossless JPEG 2000 codestream."""
    options = {"bitspersample": bits} if bits else {}
    return bytes(imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", reversible=True, mct=mct, **options))


def decoded_by_pillow(data: bytes) -> np.ndarray:
    """Return the pixels that Pillow makes of a file."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("L" if image.mode == "L" else "RGB"))


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Return a picture upright that was stored with an EXIF orientation, told by what the standard says of each."""
    ways = {
        1: lambda p: p,
        2: np.fliplr,
        3: lambda p: np.rot90(p, 2),
        4: np.flipud,
        5: lambda p: np.swapaxes(p, 0, 1),
        6: lambda p: np.rot90(p, -1),
        7: lambda p: np.swapaxes(np.rot90(p, 2), 0, 1),
        8: np.rot90,
    }
    return np.ascontiguousarray(ways[orientation](pixels))


def heic(pixels: np.ndarray, mode: str, **options: Any) -> bytes:
    """Return a HEIC of levels that lie as a mode of Pillow's says, such as `RGB;16`."""
    stream = io.BytesIO()
    image = pillow_heif.from_bytes(mode, (pixels.shape[1], pixels.shape[0]), np.ascontiguousarray(pixels).tobytes())
    image.save(stream, **{"quality": -1, "chroma": 444, **options})
    return stream.getvalue()


def avif_with(pixels: np.ndarray, *properties: bytes) -> bytes:
    """Return a lossless AVIF whose picture has properties of one's own behind the usual ones."""
    whole = bytes(imagecodecs.avif_encode(pixels, level=100, speed=9, numthreads=1))
    place = whole.index(b"av1C")
    config = whole[place - 4 : place - 4 + int.from_bytes(whole[place - 4 : place], "big")]
    place = whole.index(b"mdat")
    coded = whole[place + 4 : place - 4 + int.from_bytes(whole[place - 4 : place], "big")]
    size = full(b"ispe", struct.pack(">LL", pixels.shape[1], pixels.shape[0]))
    place = whole.index(b"nclx")
    color = box(b"colr", whole[place : place + 11])
    store = [size, config, color, *properties]
    links = struct.pack(">LHB", 1, 1, len(store)) + bytes(
        # What changes the picture is marked as essential.
        [1, 0x82, 3, *(0x80 | at for at in range(4, len(store) + 1))]
    )

    def meta(start: int) -> bytes:
        parts = full(b"hdlr", bytes(4) + b"pict" + bytes(13)) + full(b"pitm", struct.pack(">H", 1))
        parts += full(b"iloc", struct.pack(">BBHHHHLL", 0x44, 0, 1, 1, 0, 1, start, len(coded)))
        parts += full(b"iinf", struct.pack(">H", 1) + full(b"infe", struct.pack(">HH4sB", 1, 0, b"av01", 0), version=2))
        return full(b"meta", parts + box(b"iprp", box(b"ipco", b"".join(store)) + full(b"ipma", links)))

    front = box(b"ftyp", b"avif\0\0\0\0avifmif1miaf")
    return front + meta(len(front) + len(meta(0)) + 8) + box(b"mdat", coded)


def full(kind: bytes, content: bytes, *, version: int = 0) -> bytes:
    """Return a box with a version."""
    return box(kind, bytes([version, 0, 0, 0]) + content)
