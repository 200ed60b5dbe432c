"""The pictures of an evaluation page: the best, the worst and the first ones, as small JPEG files beside it."""

import hashlib
import heapq
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from training.whole_files import cannot_write

TILE_PX: Final = 256
"""Longest side of a picture on the page."""

QUALITY: Final = 88

FIRST: Final = 120
"""So many pictures are shown whatever their scores..."""

EXTREME: Final = 10
"""...and so many of the best, and of the worst."""


class Gallery:
    """Keeps the tiles of the pictures that will be shown; memory is bounded by their number.

    A tile's file is named after its content: a page and its tiles stay together whatever is written later.
    """

    def __init__(self) -> None:
        """Begin with no pictures."""
        self._tiles: dict[int, dict[str, bytes]] = {}
        self._best: list[tuple[float, int]] = []
        self._worst: list[tuple[float, int]] = []

    def add(self, place: int, gain: float, pictures: dict[str, np.ndarray]) -> None:
        """Offer a photograph's tiles.

        Args:
            place: its number in the report, from 0, each once.
            gain: what makes it one of the best or worst.
            pictures: sRGB, uint8, (H, W, 3), by what they show.
        """
        dropped = set()
        for heap, value in ((self._best, gain), (self._worst, -gain)):
            heapq.heappush(heap, (value, -place))
            if len(heap) > EXTREME:
                dropped.add(-heapq.heappop(heap)[1])
        kept = self._kept()
        if place in kept:
            self._tiles[place] = {what: encode_tile(picture) for what, picture in pictures.items()}
        for former in dropped - kept:
            self._tiles.pop(former, None)

    def names(self, place: int) -> dict[str, str]:
        """Return the file names of a photograph's tiles, by what they show; empty for one that is not shown."""
        return {what: _file_name(data) for what, data in self._tiles.get(place, {}).items()}

    def write(self, folder: Path) -> None:
        """Write the tiles into a folder, made if missing; tiles that are there stay.

        Raises:
            RunFolderError: the disk refuses.
        """
        files = {_file_name(data): data for tiles in self._tiles.values() for data in tiles.values()}
        partial = folder / "partial.jpg"  # no whole_file: so many would wait for the disk one by one
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, data in files.items():
                if not (folder / name).exists():
                    partial.write_bytes(data)
                    partial.replace(folder / name)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise cannot_write(folder, error) from error

    def sweep(self, folder: Path) -> None:
        """Remove the tiles of former pages from a folder."""
        known = {_file_name(data) for tiles in self._tiles.values() for data in tiles.values()}
        for path in folder.glob("*.jpg"):
            if path.name not in known:
                path.unlink()

    def _kept(self) -> set[int]:
        return {*range(FIRST), *(-at for _, at in self._best), *(-at for _, at in self._worst)}


def encode_tile(rgb_u8: np.ndarray) -> bytes:
    """Return a picture, sRGB, uint8, (H, W, 3), as a JPEG of at most `TILE_PX`."""
    height, width = rgb_u8.shape[:2]
    factor = TILE_PX / max(height, width)
    if factor < 1:
        size = (max(round(width * factor), 1), max(round(height * factor), 1))
        rgb_u8 = cv2.resize(rgb_u8, size, interpolation=cv2.INTER_AREA)
    bgr = np.ascontiguousarray(rgb_u8[..., ::-1])
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()


def _file_name(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16] + ".jpg"
