"""What decoding a picture may take: memory and processor time, by its header."""

from typing import Final

from service.pictures.formats import route_of
from service.pictures.header import ONE_CHANNEL, Header
from service.pictures.headers.jpegxl import WITH_PROFILE

CPU_S_A_MEGAPIXEL: Final = 0.25
"""Processor time that decoding may take for a million pixels; the slowest ordinary files take a fifth of it. Formats
that take longer have a factor in `service.pictures.formats`."""

CPU_FACTOR_OF_PROFILE: Final = 4
"""...and so much more for a profile on more than 8 bits a channel, whose tables are then gone through exactly."""

SPARE_BYTES: Final = 64 << 20
"""Memory that decoding may take whatever the picture's size..."""

FILES: Final = 2
"""...for so many copies of the file..."""

COPIES: Final = 6
"""...and so many of the pixels. The most that was measured are four: opacity and a profile at 16 bits a channel."""

STORED_COPIES: Final = 2
"""...and so many of what a TIFF's strips hold, which may all be one: channels that are left out, 64 bits a channel."""


def memory_for(data_bytes: int, header: Header) -> int:
    """Return how much memory decoding a picture may take, bytes.

    Args:
        data_bytes: of the file.
        header: of the picture.
    """
    is_one_channel = header.mode in ONE_CHANNEL or header.mode.startswith("I;16")
    is_deep = header.wide or header.bits > 8
    pixel_bytes = COPIES * (1 if is_one_channel else 4) * (2 if is_deep else 1) + route_of(header).work_bytes
    stored_bytes = round(STORED_COPIES * header.stored_bytes * header.stored_pixels)
    return SPARE_BYTES + FILES * data_bytes + pixel_bytes * header.stored_pixels + stored_bytes


def cpu_s_for(header: Header) -> float:
    """Return how much processor time decoding a picture may take beside what every one may, seconds.

    Args:
        header: of the picture.
    """
    has_profile = header.icc_profile is not None or header.kind.startswith(WITH_PROFILE)
    of_profile = CPU_FACTOR_OF_PROFILE if has_profile and header.bits > 8 else 0
    factor = route_of(header).cpu_factor * header.cpu_factor + of_profile
    return CPU_S_A_MEGAPIXEL * factor * header.megapixels
