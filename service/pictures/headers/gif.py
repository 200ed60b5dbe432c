"""The header of a GIF: its screen, its first frame, and whether there is another.

References:
    GIF89a Specification (CompuServe, 1990), sections 17 to 27.
"""

import struct
from typing import Final

from service.errors import BrokenPicture, CostlyPicture, SeveralFrames
from service.pictures.header import Header

SIGNATURE_BYTES: Final = 6

SCREEN_BYTES: Final = 7

FRAME_BYTES: Final = 9

EXTENSION, FRAME, TRAILER = 0x21, 0x2C, 0x3B

FULL_BLOCK: Final = 256
"""A sub-block of 255 bytes, with the byte that says so; encoders fill all but the last."""

MOST_STEPS: Final = 1 << 14
"""Sub-blocks and blocks that are walked through, runs of full ones counting as few."""


def read(data: bytes) -> Header:
    """Read a GIF's header.

    Raises:
        BrokenPicture: damaged, or it ends before its pixels.
        CostlyPicture: it is cut into more pieces than any writer makes.
        SeveralFrames: it is animated.
    """
    if len(data) < SIGNATURE_BYTES + SCREEN_BYTES:
        raise BrokenPicture("The GIF does not say how large it is.")
    width, height, flags = struct.unpack_from("<HHB", data, SIGNATURE_BYTES)
    walk = _Walk(data, SIGNATURE_BYTES + SCREEN_BYTES + _palette_bytes(flags))
    frame = walk.next_frame()
    if frame is None:
        raise BrokenPicture("The GIF ends before any pixels.")
    left, top, wide, high, flags = frame
    # A frame may reach beyond the screen; the picture is what holds both.
    width, height = max(width, left + wide), max(height, top + high)
    if not width or not height or not wide or not high:
        raise BrokenPicture("The header of the GIF makes no sense.")
    walk.skip(_palette_bytes(flags) + 1)  # Behind the palette, how many bits a code starts with.
    walk.skip_blocks()
    if walk.next_frame() is not None:
        raise SeveralFrames("Animations are not taken: send one picture.", limit=1)
    return Header("GIF", width, height, "P", 1, wide=False, icc_profile=None)


def _palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


class _Walk:
    """A way through a GIF's blocks."""

    def __init__(self, data: bytes, place: int) -> None:
        self._data, self._place = data, place
        self._steps = 0

    def skip(self, count: int) -> None:
        self._place += count

    def next_frame(self) -> tuple[int, int, int, int, int] | None:
        """Return left, top, width, height and flags of the next frame, and stop behind them; None where none comes."""
        while self._place < len(self._data):
            kind = self._data[self._place]
            self._place += 1
            if kind == EXTENSION:
                self._place += 1
                self.skip_blocks()
            elif kind == FRAME and self._place + FRAME_BYTES <= len(self._data):
                left, top, wide, high, flags = struct.unpack_from("<4HB", self._data, self._place)
                self._place += FRAME_BYTES
                return left, top, wide, high, flags
            elif kind != 0:  # Some writers pad with zeros.
                return None
            self._step()
        return None

    def skip_blocks(self) -> None:
        """Go behind the sub-block that has no bytes."""
        data, run = self._data, 1
        while self._place < len(data):
            sizes = data[self._place : self._place + run * FULL_BLOCK : FULL_BLOCK]
            full = len(sizes) - len(sizes.lstrip(b"\xff"))
            self._place += full * FULL_BLOCK
            run = 2 * run if full == len(sizes) else 1
            if full < len(sizes):
                size = sizes[full]
                self._place += 1 + size
                if size == 0:
                    return
            self._step()

    def _step(self) -> None:
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise CostlyPicture(f"The GIF is cut into more than {MOST_STEPS} pieces. Save it anew, and it is taken.")
