"""The bytes of uploads and answers in memory: how many there may be, and who goes when there is no room."""

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from service.engine import spool
from service.errors import Overloaded
from service.pictures.size_limits import SizeLimits

GRACE_S: Final = 10.0
"""So long nobody is too slow: connections begin slowly, and some wait for others."""

HURRY_S: Final = 1.0
"""Where bytes run short, whoever has taken longer for an answer..."""

HURRY_BYTES_S: Final = 1 << 20
"""...and takes less a second is cut off, the one with most to wait for first."""


MOST_S: Final = 86_400.0
"""Without a least rate an answer ends after a day."""


@dataclass(frozen=True)
class Limits:
    """What callers may cost beside pixels.

    Attributes:
        sizes: of a picture; a request body has at most as many bytes.
        max_held_bytes: most bytes of uploads and answers in memory at once.
        least_rate: bytes a second that a caller must send or take, on average, from `GRACE_S` on.
    """

    sizes: SizeLimits
    max_held_bytes: int
    least_rate: int


class ByteBudget:
    """The bytes of all uploads and answers in memory.

    Attributes:
        limits: for them.
        spool: where large uploads go instead; None where they are in memory, too.
        count: how many there are.
    """

    def __init__(self, limits: Limits, spooled: spool.Spool | None = None) -> None:
        """Start without any.

        Args:
            limits: for them.
            spooled: where large uploads go instead.
        """
        self.limits, self.spool = limits, spooled
        self.count = 0
        self._limit = max(limits.max_held_bytes, self._in_memory(limits.sizes.max_bytes))
        self._transfers: set[Transfer] = set()

    def check_upload(self, size: int) -> None:
        """Refuse an upload of which nothing is there yet.

        Raises:
            UploadTooLarge: it has too many bytes.
            Overloaded: there is no room for it, in memory or on the disk.
        """
        self.limits.sizes.check_bytes(size)
        if self.spool and size > spool.SPOOL_FROM_BYTES:
            self.spool.check(size)
        self.check(self._in_memory(size), may_cut=False)

    def _in_memory(self, upload: int) -> int:
        """Return how many bytes of an upload will be in memory at once."""
        return upload if self.spool is None or upload <= spool.SPOOL_FROM_BYTES else spool.WRITE_BYTES

    def check(self, new: int, own: int = 0, *, may_cut: bool = True) -> None:
        """Make room for so many more; the slowest of those who take answers are cut off for it, if that is enough.

        Args:
            new: bytes.
            own: that the same exchange holds. Whoever is alone gets what it needs: the next would not have more room.
            may_cut: whether anyone may be cut off.

        Raises:
            Overloaded: there is none.
        """
        missing = self.count + new - self._limit
        if new <= 0 or self.count <= own or missing <= 0:
            return
        slow = sorted((each for each in self._transfers if may_cut and each.is_slow()), key=Transfer.left_s)
        if sum(each.held() for each in slow) < missing:
            raise Overloaded(
                "Too many bytes are in memory; try again later.", retry_after_s=1, limit=self._limit, unit="bytes"
            )
        while self.count + new > self._limit and slow:
            slow.pop().cut()

    @contextmanager
    def watch(self, transfer: "Transfer", size: int) -> Iterator[None]:
        """Watch a caller who takes so many bytes more of an answer; who takes too long is cut off."""
        transfer.begin(size)
        self._transfers.add(transfer)
        least_rate = self.limits.least_rate
        allowed_s = GRACE_S + transfer.size / least_rate - transfer.took_s() if least_rate else MOST_S
        end = asyncio.get_running_loop().call_later(allowed_s, transfer.cut)
        try:
            yield
        finally:
            end.cancel()
            self._transfers.discard(transfer)
            transfer.pause()


class Transfer:
    """A caller who takes an answer, all at once or in parts; only the time counts in which there is something to take.

    Attributes:
        size: of what there was to take so far, bytes.
        held: how many bytes are free when the connection is broken.
    """

    def __init__(self, cut: Callable[[], None], held: Callable[[], int]) -> None:
        """Start without anything to take, for a caller whose connection can be broken."""
        self._break, self.held = cut, held
        self.size = self._taken = 0
        self._took_s, self._began, self._is_cut = 0.0, math.nan, False

    def begin(self, size: int) -> None:
        """Note that there are so many bytes more to take."""
        self.size += size
        self._began = time.monotonic()

    def pause(self) -> None:
        """Note that there is nothing to take for now."""
        self._took_s, self._began = self.took_s(), math.nan

    def took_s(self) -> float:
        """Return for how long there was something to take, seconds."""
        return self._took_s if math.isnan(self._began) else self._took_s + time.monotonic() - self._began

    def note(self, size: int) -> None:
        """Note that so many bytes more are taken."""
        self._taken += size

    def left_s(self) -> float:
        """Return how long the rest takes at the pace so far, seconds."""
        return (self.size - self._taken) * self.took_s() / max(self._taken, 1)

    def is_slow(self) -> bool:
        """Return whether it may be cut off."""
        took = self.took_s()
        return not self._is_cut and took > HURRY_S and self._taken < HURRY_BYTES_S * took

    def cut(self) -> None:
        """Break the connection; its bytes are free."""
        self._is_cut = True
        self._break()


class Reservation:
    """What one request and its answer hold.

    Attributes:
        budget: what it is counted in.
    """

    def __init__(self, budget: ByteBudget) -> None:
        """Start with nothing."""
        self.budget = budget
        self._count = self._pending = 0
        self._is_over = False

    @property
    def count(self) -> int:
        """How many bytes it holds."""
        return self._count

    def add(self, count: int) -> None:
        """Count bytes that are there, whatever others hold, until it is released."""
        if not self._is_over:
            self._count += count
            self.budget.count += count

    def reserve(self, count: int) -> None:
        """Count bytes that an answer in the making will take, or takes; the answer itself replaces them.

        Raises:
            Overloaded: more bytes would be in memory than may.
        """
        self.budget.check(count, 0 if self._pending else self._count)
        self._pending += count
        self.add(count)

    def commit(self, count: int) -> None:
        """Count an answer.

        Raises:
            Overloaded: more bytes would be in memory than may.
        """
        self.budget.check(count - self._pending, self._count)
        self.add(count - self._pending)
        self._pending = 0

    @property
    def is_pending(self) -> bool:
        """Whether bytes of an answer in the making are counted."""
        return self._pending > 0

    def unload(self, count: int) -> None:
        """Count bytes no more that were there."""
        self._count -= count
        self.budget.count -= count

    def release(self) -> None:
        """Count nothing any more, whatever still comes."""
        self._is_over = True
        self.budget.count -= self._count
        self._count = self._pending = 0
