"""The formats that answers are written in, and what each can hold."""

from typing import Final, Literal

OutputFormat = Literal["png", "jpeg", "webp", "tiff"]

Depth = Literal[8, 16]
"""Bits a channel."""

MEDIA_TYPES: Final[dict[OutputFormat, str]] = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "tiff": "image/tiff",
}

SUFFIXES: Final[dict[OutputFormat, str]] = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "tiff": ".tif"}

LOSSLESS: Final[frozenset[OutputFormat]] = frozenset({"png", "tiff"})
"""Those that keep every level; they alone hold 16 bits a channel."""

BY_ROWS: Final[frozenset[OutputFormat]] = frozenset({"png", "tiff", "jpeg"})
"""Those whose encoders take a few rows at a time."""

IN_PARTS: Final[frozenset[OutputFormat]] = frozenset({"png", "jpeg"})
"""Those that are written from the top to the bottom, so that the top can be on its way before the rest is made."""
