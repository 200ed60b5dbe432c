"""What a file says of itself, before any pixel is decoded."""

from dataclasses import dataclass
from typing import Final

from service.pictures.signals import Signal

ONE_CHANNEL: Final = ("1", "L")
"""Modes of one channel; so are those that start with `I;16`."""

MOST_PROFILE_BYTES: Final = 1 << 24
"""A profile that is longer counts as absent; those of presses have some 3 MB."""

MULTIPLIED: Final = "multiplied"
"""The kind of a picture whose opacity is multiplied into its colors."""


@dataclass(frozen=True)
class Crop:
    """The part of the stored pixels that is the picture.

    Attributes:
        left: columns in front of it, px.
        top: rows above it, px.
        stored_width: columns that are decoded, px.
        stored_height: rows that are decoded, px.
    """

    left: int
    top: int
    stored_width: int
    stored_height: int


@dataclass(frozen=True)
class Header:
    """What a file says of itself, before any pixel is decoded.

    Attributes:
        format: one of the names in `service.pictures.formats`.
        width: of the stored picture, px, before its orientation is applied.
        height: likewise.
        mode: Pillow's name of the pixel layout.
        orientation: EXIF orientation that is still to be applied, 1 to 8.
        wide: more than 8 bits a channel in more than one channel.
        icc_profile: embedded color profile, at most `MOST_PROFILE_BYTES`; as it lies in the file, packed, where
            `is_profile_packed`.
        bits: a channel, as decoders give them; levels run from 0 to 2^bits - 1.
        signal: what the levels mean, told in numbers; None: sRGB. A profile wins over it.
        is_profile_packed: whether the profile is still deflated, as PNG has it.
        kind: what else decides about the decoder, such as `lossless`; empty for ordinary files.
        crop: the part that is the picture; None: all of it.
        color_key: level of gray that is transparent; None: no such.
        directory: where the picture's directory is in a TIFF, which may hold several.
        cpu_factor: how many times the processor time of ordinary files of its kind a pixel may take.
        stored_bytes: what a pixel of a TIFF takes once decompressed, bytes; 0 where it is what decoded ones take.
    """

    format: str
    width: int
    height: int
    mode: str
    orientation: int
    wide: bool
    icc_profile: bytes | None
    bits: int = 8
    signal: Signal | None = None
    is_profile_packed: bool = False
    kind: str = ""
    crop: Crop | None = None
    color_key: int | None = None
    directory: int = 0
    cpu_factor: float = 1.0
    stored_bytes: float = 0.0

    @property
    def megapixels(self) -> float:
        """Millions of pixels that are decoded."""
        return self.stored_pixels / 1e6

    @property
    def stored_pixels(self) -> int:
        """Pixels that are decoded, of which a part may be cut off."""
        return self.crop.stored_width * self.crop.stored_height if self.crop else self.width * self.height

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height of the picture once its orientation is applied, px."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)

    @property
    def is_gray(self) -> bool:
        """Whether the pixels have one channel of lightness, with or without opacity."""
        return self.mode in (*ONE_CHANNEL, "LA") or self.mode.startswith("I;16")
