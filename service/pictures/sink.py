"""Where the bytes of a file go while it is written: into memory, or wherever else somebody takes them."""

import io
from typing import Protocol


class Sink(Protocol):
    """Takes a file from its first byte to its last."""

    def put(self, part: bytes, /) -> None:
        """Take the next part."""

    def patch(self, place: int, data: bytes, /) -> None:
        """Put other bytes in the place of some that it has taken; files of `IN_PARTS` never ask for that."""


class Memory(io.BytesIO):
    """A file in memory; `getvalue` hands it out without a copy."""

    def put(self, part: bytes) -> None:
        """Take the next part."""
        self.write(part)

    def patch(self, place: int, data: bytes) -> None:
        """Put other bytes in the place of some."""
        end = self.tell()
        self.seek(place)
        self.write(data)
        self.seek(end)
