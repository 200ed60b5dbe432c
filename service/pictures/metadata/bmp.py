"""What BMP holds beside its pixels: its resolution.

References:
    BITMAPINFOHEADER (Microsoft).
"""

import struct
from typing import Final

from service.pictures.metadata.belongings import Metadata, dpi_of, inches

RESOLUTION_AT: Final = 38
"""Place of the pixels a meter, across and down."""


def read(data: bytes | memoryview, _: int = 0) -> Metadata:
    """Return what a BMP says."""
    if len(data) < RESOLUTION_AT + 8 or int.from_bytes(data[14:18], "little") < 40:
        return Metadata()
    across, down = struct.unpack_from("<ll", data, RESOLUTION_AT)
    return Metadata(dpi=dpi_of(inches(across), inches(down)))
