"""ICC profiles: those that are curves and a matrix, as a conversion that keeps 16 bits.

References:
    ICC.1:2022 (profile version 4.4), sections 7, 9.2, 10.6 and 10.18; ICC.1:2001-04 for version 2.
"""

import struct
from typing import Final

import numpy as np
from jaxtyping import Float

from service.pictures.light import Conversion, Curve, of_colorants

HEADER_BYTES: Final = 128

MOST_TAGS: Final = 100

FULL_TABLES: Final = frozenset({b"A2B0", b"A2B1", b"A2B2", b"A2B3", b"D2B0", b"D2B1", b"D2B2", b"D2B3"})
"""Tables of more dimensions; a profile that holds one means it, whatever curves it has beside it."""

GRAY, RGB, CMYK, LAB = b"GRAY", b"RGB ", b"CMYK", b"Lab "

XYZ_TYPES: Final = (b"XYZ ", b"\x17\xa5\x05\xb8")
"""What colors call themselves; the second in "Corbis RGB", which a picture agency embedded, to lcms as well."""

PARAMETERS: Final = (1, 3, 4, 5, 7)
"""How many numbers a parametric curve of each type has."""

LAB_JOINT: Final = 8.0
"""L below which lightness is a line (CIE 15:2004)."""


class UnfitProfile(ValueError):
    """It cannot be read, or says nothing of gray or RGB."""


class TableProfile(UnfitProfile):
    """It is made of tables of more dimensions."""


class Profile:
    """A profile's tags."""

    def __init__(self, data: bytes) -> None:
        """Read the table of tags.

        Args:
            data: the whole profile.

        Raises:
            UnfitProfile: it has none.
        """
        if len(data) < HEADER_BYTES + 4 or data[36:40] != b"acsp":
            raise UnfitProfile("no profile")
        self._data = data
        self.space, self.connection = data[16:20], data[20:24]
        count = min(int.from_bytes(data[HEADER_BYTES : HEADER_BYTES + 4], "big"), MOST_TAGS)
        entries = data[HEADER_BYTES + 4 : HEADER_BYTES + 4 + 12 * count]
        self._tags = {
            entries[at : at + 4]: struct.unpack_from(">LL", entries, at + 4) for at in range(0, len(entries) - 11, 12)
        }

    def conversion(self) -> Conversion:
        """Return what it says.

        Raises:
            TableProfile: it is of another form.
            UnfitProfile: it is damaged, or of other channels.
        """
        if not FULL_TABLES.isdisjoint(self._tags):
            raise TableProfile("more than curves")
        if self.space == GRAY:
            curve = self._curve(b"kTRC")
            return Conversion([_of_lightness(curve) if self.connection == LAB else curve])
        if self.space != RGB or self.connection != b"XYZ ":
            raise UnfitProfile("neither gray nor RGB")
        colorants = np.column_stack([self._xyz(tag) for tag in (b"rXYZ", b"gXYZ", b"bXYZ")])
        if abs(np.linalg.det(colorants)) < 1e-6:
            raise UnfitProfile("colorants that are no colors")
        return of_colorants([self._curve(tag) for tag in (b"rTRC", b"gTRC", b"bTRC")], colorants)

    def _content(self, tag: bytes) -> bytes:
        place, size = self._tags.get(tag, (0, 0))
        content = self._data[place : place + size]
        if len(content) < 12 or len(content) < size:
            raise UnfitProfile(f"no {tag!r}")
        return content

    def _xyz(self, tag: bytes) -> Float[np.ndarray, "3"]:
        content = self._content(tag)
        if content[:4] not in XYZ_TYPES or len(content) < 20:
            raise UnfitProfile("no color")
        return np.array(struct.unpack_from(">3l", content, 8)) / 65536

    def _curve(self, tag: bytes) -> Curve:
        content = self._content(tag)
        if content[:4] == b"curv":
            return _of_table(content)
        if content[:4] == b"para":
            return _of_parameters(content)
        raise UnfitProfile("no curve")


def _of_table(content: bytes) -> Curve:
    count = int.from_bytes(content[8:12], "big")
    if len(content) < 12 + 2 * count:
        raise UnfitProfile("a short curve")
    if count == 0:
        return lambda levels: levels
    table = np.frombuffer(content, ">u2", count, 12).astype(np.float64)
    if count == 1:
        gamma = float(table[0]) / 256
        return lambda levels: levels**gamma
    places = np.linspace(0, 1, count)
    return lambda levels: np.interp(levels, places, table / 65535)


def _of_parameters(content: bytes) -> Curve:
    """Return a parametric curve: a power above a joint, a line below it."""
    kind = int.from_bytes(content[8:10], "big")
    if kind >= len(PARAMETERS) or len(content) < 12 + 4 * PARAMETERS[kind]:
        raise UnfitProfile("an unknown curve")
    numbers = [value / 65536 for value in struct.unpack_from(f">{PARAMETERS[kind]}l", content, 12)]
    gamma, a, b, c, d, e, f = _seven(kind, numbers)

    def curve(levels: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
        power = np.maximum(a * levels + b, 0) ** gamma + e
        return np.where(levels >= d, power, c * levels + f)

    return curve


def _seven(kind: int, numbers: list[float]) -> tuple[float, ...]:
    """Return g, a, b, c, d, e, f of the general form (ICC.1:2022, table 68)."""
    if kind == 0:
        return numbers[0], 1, 0, 0, 0, 0, 0
    gamma, a, b = numbers[:3]
    if kind in (1, 2):
        if a == 0:
            raise UnfitProfile("a curve without a slope")
        offset = numbers[3] if kind == 2 else 0.0
        return gamma, a, b, 0, -b / a, offset, offset
    if kind == 3:
        return gamma, a, b, numbers[3], numbers[4], 0, 0
    return gamma, a, b, numbers[3], numbers[4], numbers[5], numbers[6]


def _of_lightness(curve: Curve) -> Curve:
    """Return a curve to light, of one to lightness: gray that is connected by Lab."""

    def light(levels: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
        lightness = 100 * curve(levels)
        return np.where(lightness > LAB_JOINT, ((lightness + 16) / 116) ** 3, lightness * 27 / 24389)

    return light
