"""Color profiles written by hand (ICC.1:2001-04 and ICC.1:2022), and what they say in numbers."""

import struct
from collections.abc import Callable, Sequence

import numpy as np

D50 = (0.9642, 1.0, 0.8249)
SRGB = ((0.43604, 0.22249, 0.01392), (0.38512, 0.71690, 0.09706), (0.14305, 0.06061, 0.71391))
"""XYZ of sRGB's red, green and blue under D50."""
ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
WIDE = ((0.79767, 0.28804, 0.00000), (0.13519, 0.71188, 0.00000), (0.03134, 0.00009, 0.82491))
"""ProPhoto's."""

STEPS = 4096
"""Entries of a curve's table."""

Curve = float | Callable[[np.ndarray], np.ndarray]


def profile(space: bytes, tags: dict[bytes, bytes], *, kind: bytes = b"mntr", connection: bytes = b"XYZ ") -> bytes:
    """Return a profile of some tags."""
    place, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += name + struct.pack(">LL", place + len(body), len(content))
        body += content
    size = place + len(body)
    head = struct.pack(">L4xL", size, 0x02100000) + kind + space + connection + struct.pack(">6H", 2020, 1, 1, 0, 0, 0)
    head += b"acsp" + bytes(28) + _fixed(*D50)
    return head.ljust(128, b"\0") + struct.pack(">L", len(tags)) + table + body


def gray(curve: Curve, name: str = "gray", **options: bytes) -> bytes:
    """Return a gray profile."""
    return profile(b"GRAY", {**_named(name), b"kTRC": _curve(curve)}, **options)


def rgb(curve: Curve | bytes, colors: Sequence[Sequence[float]] = SRGB, name: str = "rgb") -> bytes:
    """Return an RGB profile of a curve and three colors; the curve may be a tag's content."""
    content = curve if isinstance(curve, bytes) else _curve(curve)
    tags = {**_named(name)}
    for letter, color in zip((b"r", b"g", b"b"), colors, strict=True):
        tags |= {letter + b"XYZ": _xyz(color), letter + b"TRC": content}
    return profile(b"RGB ", tags)


def parametric(kind: int, *numbers: float) -> bytes:
    """Return a parametric curve's tag."""
    return b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + _fixed(*numbers)


def table_of_lab(space: bytes, inputs: int, lab: Callable[[np.ndarray], np.ndarray], *, steps: int = 17) -> bytes:
    """Return a profile that is a table of Lab: `lab` gives it for device values (n, inputs) in [0, 1]."""
    axes = np.meshgrid(*[np.linspace(0, 1, steps)] * inputs, indexing="ij")
    values = lab(np.stack(axes, -1).reshape(-1, inputs))
    stored = np.column_stack([values[:, 0] * 652.8, (values[:, 1] + 128) * 256, (values[:, 2] + 128) * 256])
    entries = np.rint(stored).clip(0, 65535).astype(">u2").tobytes()
    line = struct.pack(">2H", 0, 65535)
    head = b"mft2\0\0\0\0" + bytes([inputs, 3, steps, 0]) + _fixed(1, 0, 0, 0, 1, 0, 0, 0, 1) + struct.pack(">2H", 2, 2)
    tags = {**_named("table"), b"A2B0": head + line * inputs + entries + line * 3}
    return profile(space, tags, kind=b"prtr" if inputs == 4 else b"scnr", connection=b"Lab ")


def srgb_curve(levels: np.ndarray) -> np.ndarray:
    """Return the light of sRGB levels."""
    return np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)


def dot_gain(levels: np.ndarray) -> np.ndarray:
    """Return about what "Dot Gain 20%" says: ink t prints as t + 0.8 t (1 - t)."""
    ink = 1 - levels
    return 1 - (ink + 0.8 * ink * (1 - ink)).clip(0, 1)


def encoded(light: np.ndarray) -> np.ndarray:
    """Return sRGB levels in [0, 1] of light (IEC 61966-2-1)."""
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def as_levels(shares: np.ndarray, dtype: type) -> np.ndarray:
    """Return levels of a dtype."""
    return np.rint(shares * np.iinfo(dtype).max).astype(dtype)


def shares_of(levels: np.ndarray) -> np.ndarray:
    """Return levels in [0, 1]."""
    return levels / np.iinfo(levels.dtype).max


def shown(levels: np.ndarray, curve: Curve, colors: Sequence[Sequence[float]] = SRGB) -> np.ndarray:
    """Return sRGB levels of what a profile of curve and colors says of levels, in their dtype."""
    shares = shares_of(levels)
    if isinstance(curve, float):
        light = shares ** (round(curve * 256) / 256)
    else:  # as it stands in the profile
        light = np.interp(
            shares, np.linspace(0, 1, STEPS), as_levels(curve(np.linspace(0, 1, STEPS)), np.uint16) / 65535
        )
    if levels.ndim == 3:
        light = light @ (np.linalg.inv(np.array(SRGB).T) @ np.array(colors).T).T
    return as_levels(encoded(light), levels.dtype.type)


def _named(name: str) -> dict[bytes, bytes]:
    text = name.encode() + b"\0"
    described = b"desc\0\0\0\0" + struct.pack(">L", len(text)) + text + bytes(78)
    return {b"desc": described, b"cprt": b"text\0\0\0\0free\0", b"wtpt": _xyz(D50)}


def _fixed(*numbers: float) -> bytes:
    return b"".join(struct.pack(">l", round(number * 65536)) for number in numbers)


def _xyz(color: Sequence[float]) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(*color)


def _curve(curve: Curve) -> bytes:
    if isinstance(curve, float):
        return b"curv\0\0\0\0" + struct.pack(">LH", 1, round(curve * 256)) + bytes(2)
    table = as_levels(curve(np.linspace(0, 1, STEPS)).clip(0, 1), np.uint16)
    return b"curv\0\0\0\0" + struct.pack(">L", len(table)) + table.astype(">u2").tobytes()
