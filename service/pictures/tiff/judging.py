"""What a TIFF says of its picture, judged before any pixel of it is decoded."""

from dataclasses import dataclass
from typing import Final

from service.pictures.cost import why_costly_parts
from service.pictures.header import MOST_PROFILE_BYTES
from service.pictures.tiff import directory as tags
from service.pictures.tiff import dng
from service.pictures.tiff.colors import is_deep_palette
from service.pictures.tiff.directory import Directory, Tiff
from service.pictures.tiff.layout import CIELAB, CMYK, COMPRESSIONS, ICCLAB, LINEAR_RAW, PALETTE, Layout, read_layout
from service.pictures.tiff.pages import find_page
from service.pictures.tiff.pixels import bounds

MOST_PARTS: Final = 1 << 18
"""Four channels apart, each row of the longest picture a strip of its own, are fewer."""


@dataclass(frozen=True)
class Facts:
    """What is told of a picture.

    Attributes:
        width: of the stored picture, px.
        height: likewise.
        mode: Pillow's name of the pixels that come of it: L, LA, I;16, RGB, RGBA or CMYK.
        is_deep: whether these have 16 bits a channel.
        orientation: that is still to be applied, 1 to 8.
        icc_profile: embedded color profile of these pixels.
        directory: where the picture's directory is in the file.
        stored_bytes: what a pixel takes once decompressed, bytes.
        cpu_factor: how many times the processor time of ordinary files a pixel may take.
        costly: why decoding costs more than a picture of its size may; empty where it does not.
    """

    width: int
    height: int
    mode: str
    is_deep: bool
    orientation: int
    icc_profile: bytes | None
    directory: int
    stored_bytes: float
    cpu_factor: float
    costly: str


def judge(data: bytes, page: int | None) -> Facts:
    """Read what a TIFF says of a picture.

    Args:
        data: the whole file.
        page: number of the picture in it, from 1; None for the only one.

    Raises:
        BrokenPicture: its directory is damaged, or contradicts itself.
        UnsupportedPicture: its layout is not read here; the detail has its true name.
        SeveralFrames: there are several pictures, and none was chosen.
        InvalidOption: there is no such page.
    """
    tiff = Tiff(data)
    found, first = find_page(tiff, page), tiff.directory(tiff.first)
    layout = read_layout(found)
    width, height = layout.width, layout.height
    if layout.photometric == LINEAR_RAW:
        dng.check_operations(found)
        rows, columns = dng.crop(found, layout)
        width, height = columns.stop - columns.start, rows.stop - rows.start
    mode, is_deep = _mode_of(layout, found)
    return Facts(
        width=width,
        height=height,
        mode=mode,
        is_deep=is_deep,
        orientation=_orientation_of(found, first),
        icc_profile=_profile_of(layout, found, first),
        directory=found.place,
        stored_bytes=layout.stored_bytes * layout.width * layout.height / (width * height),
        cpu_factor=COMPRESSIONS[layout.compression].cpu_factor,
        costly=_why_costly(layout, found),
    )


def _mode_of(layout: Layout, found: Directory) -> tuple[str, bool]:
    """Return Pillow's name of the pixels that come of a layout, and whether they have 16 bits a channel."""
    if layout.photometric == CMYK:
        return "CMYK", layout.is_deep
    if layout.photometric == PALETTE:
        return ("RGB" if layout.alpha is None else "RGBA"), is_deep_palette(found, layout.bits)
    is_deep = layout.is_deep or layout.photometric == LINEAR_RAW
    if layout.colors == 1:
        return ("LA" if layout.alpha is not None else "I;16" if is_deep else "L"), is_deep
    return ("RGB" if layout.alpha is None else "RGBA"), is_deep


def _orientation_of(found: Directory, first: Directory) -> int:
    """Return the picture's orientation; of one that lies below another, that of the file."""
    value = found.integer(tags.ORIENTATION, 0) or first.integer(tags.ORIENTATION, 1)
    return value if 1 <= value <= 8 else 1


def _profile_of(layout: Layout, found: Directory, first: Directory) -> bytes | None:
    """Return the profile of the pixels; Lab and raw levels have been brought to sRGB without one."""
    if layout.photometric in (CIELAB, ICCLAB, LINEAR_RAW):
        return None
    return (
        found.content(tags.ICC_PROFILE, MOST_PROFILE_BYTES)
        or first.content(tags.ICC_PROFILE, MOST_PROFILE_BYTES)
        or None
    )


def _why_costly(layout: Layout, found: Directory) -> str:
    if layout.parts > MOST_PARTS:
        return f"it is cut into {layout.parts} strips or tiles"
    tile = (layout.part_width, layout.part_height) if layout.is_tiled else None
    starts, ends = bounds(layout, found)
    return why_costly_parts(
        (layout.width, layout.height), tile, starts, ends, len(found.tiff.data), layout.stored_bytes
    )
