"""The color profile that every answer carries: sRGB, written here so that it is the same bytes everywhere.

Version 2, which every program reads, not 4; a curve of 1024 points, nowhere further from the formula than its rounding
to 16 bits; no date, where lcms would stamp the time of day.

References:
    ICC.1:2001-04. IEC 61966-2-1:1999 (sRGB).
"""

import struct
from functools import cache
from typing import Final

import numpy as np

CURVE_POINTS: Final = 1024

D50: Final = (63190, 65536, 54061)
"""White of the connection space, X, Y, Z in units of 1/65536."""

COLORANTS: Final = {
    b"rXYZ": (28576, 14578, 911),
    b"gXYZ": (25238, 46985, 6362),
    b"bXYZ": (9376, 3973, 46788),
}
"""sRGB's primaries adapted to D50 by Bradford, X, Y, Z in units of 1/65536, rounded so that together they are D50."""

NAME: Final = "sRGB"


@cache
def srgb_profile() -> bytes:
    """Return the profile, about 2.5 kB."""
    text = NAME.encode() + b"\0"
    curve = b"curv" + bytes(4) + struct.pack(">I", CURVE_POINTS) + _curve()
    bodies = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(78),
        b"cprt": b"text" + bytes(4) + b"CC0\0",
        b"wtpt": _xyz(*D50),
        **{name: _xyz(*values) for name, values in COLORANTS.items()},
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    places: dict[bytes, int] = {}
    table, heap = struct.pack(">I", len(bodies)), b""
    start = 128 + 4 + 12 * len(bodies)
    for name, body in bodies.items():
        if body not in places:  # The three curves are one.
            places[body] = start + len(heap)
            heap += body + bytes(-len(body) % 4)
        table += name + struct.pack(">II", places[body], len(body))
    head = struct.pack(">I4sI", start + len(heap), bytes(4), 0x02400000) + b"mntrRGB XYZ " + bytes(12) + b"acsp"
    return (head + bytes(28) + struct.pack(">III", *D50)).ljust(128, b"\0") + table + heap


def _xyz(*values: int) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *values)


def _curve() -> bytes:
    levels = np.linspace(0, 1, CURVE_POINTS)
    light = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    return bytes(np.rint(light * 65535).astype(">u2").tobytes())
