"""Levels of PNM, which is simple enough: nobody else scales by the level of white that a file names."""

import numpy as np
from jaxtyping import Shaped

from service.pictures.header import Header
from service.pictures.headers.pnm import Layout, read_layout
from service.pictures.levels import Alpha, Pixels


def decode(data: bytes | memoryview, header: Header) -> tuple[Pixels, Alpha]:
    """Decode a PBM, PGM, PPM or PAM; see `service.pictures.decoders`.

    Raises:
        ValueError: levels are missing, or no numbers, or above white.
    """
    whole = bytes(data)
    layout = read_layout(whole)
    shape = (layout.height, layout.width, layout.channels)
    levels = (_raw(whole, layout) if layout.is_raw else _plain(whole, layout)).reshape(shape)
    if layout.is_bilevel:
        return np.where(levels[..., 0] == 1, np.uint8(0), np.uint8(255)), None
    if levels.max() > layout.maxval:
        raise ValueError("a level above white")
    top = 65535 if header.bits > 8 else 255
    table = (np.arange(layout.maxval + 1, dtype=np.uint64) * top + layout.maxval // 2) // layout.maxval
    levels = table.astype(np.uint16 if header.bits > 8 else np.uint8)[levels]
    alpha = np.ascontiguousarray(levels[..., -1]) if layout.channels in (2, 4) else None
    return np.ascontiguousarray(levels[..., 0] if layout.channels < 3 else levels[..., :3]), alpha


def _raw(data: bytes, layout: Layout) -> Shaped[np.ndarray, "n"]:
    count = layout.width * layout.height * layout.channels
    if layout.is_bilevel:
        packed = np.frombuffer(data, np.uint8, layout.raw_bytes, layout.start).reshape(layout.height, -1)
        return np.unpackbits(packed, axis=1, count=layout.width)
    kind = np.dtype(">u2" if layout.maxval > 255 else "u1")
    return np.asarray(np.frombuffer(data, kind, count, layout.start))


def _plain(data: bytes, layout: Layout) -> Shaped[np.ndarray, "n"]:
    count = layout.width * layout.height * layout.channels
    text = data[layout.start :]
    if layout.is_bilevel:  # There the digits need no space between them.
        digits = np.frombuffer(text, np.uint8)
        levels = digits[(digits == ord("0")) | (digits == ord("1"))][:count] - ord("0")
    else:
        words = text.split(maxsplit=count)[:count]
        levels = np.array(words, np.uint32) if all(word.isdigit() for word in words) else np.empty(0, np.uint32)
    if len(levels) < count:
        raise ValueError("levels are missing")
    return np.asarray(levels)
