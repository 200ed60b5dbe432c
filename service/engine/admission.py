"""How much may be worked on at once: counted in pixels, since memory follows them, and in pictures.

More pictures than the threads can be busy with would only all be half done: whoever waits, waits here, before anything
is decoded. First come, first served; the line is bounded, and who does not fit in it is told when to come back.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from service.errors import Overloaded

SMOOTHING = 0.2
"""Weight of the newest service time in the running mean."""

MAX_RETRY_AFTER_S = 60
"""Nobody is sent away for longer."""


class Admission:
    """Hands out megapixels; to be used from one event loop only."""

    def __init__(
        self,
        *,
        max_megapixels: float,
        max_pictures: int,
        max_waiting: int,
        on_change: Callable[[float, int], None] = lambda *_: None,
    ) -> None:
        """Start empty.

        Args:
            max_megapixels: most megapixels admitted at once; a larger picture is admitted alone.
            max_pictures: most pictures admitted at once.
            max_waiting: most requests in the line.
            on_change: called with the megapixels admitted and the length of the line, for the metrics.
        """
        self._max_megapixels = max_megapixels
        self._max_pictures = max_pictures
        self._max_waiting = max_waiting
        self._on_change = on_change
        self._line: deque[tuple[float, asyncio.Future[None]]] = deque()
        self._seconds_a_megapixel = 0.0
        self._expected = 0
        self.admitted_megapixels = 0.0
        self.admitted = 0

    @property
    def waiting(self) -> int:
        """How many requests are in the line."""
        return len(self._line)

    def refuse_when_full(self) -> None:
        """Refuse before the upload is even read, when there is no place left.

        Raises:
            Overloaded: whoever comes now finds the line full.
        """
        places = self._max_waiting + (0 if self._line else max(self._max_pictures - self.admitted, 0))
        if len(self._line) + self._expected >= places:
            raise self._overloaded()

    def expect(self) -> Callable[[], None]:
        """Keep a place for a picture that is here, and whose header is being judged.

        Returns:
            To be called when it is about to enter, or never will; calling it again does nothing.

        Raises:
            Overloaded: as `refuse_when_full`.
        """
        self.refuse_when_full()
        self._expected += 1
        places = [1]

        def give_up() -> None:
            self._expected -= places.pop() if places else 0

        return give_up

    @asynccontextmanager
    async def admit(self, megapixels: float) -> AsyncIterator[None]:
        """Hold a picture's megapixels while inside.

        Args:
            megapixels: of the picture.

        Yields:
            Nothing.

        Raises:
            Overloaded: there is no room and the line is full.
        """
        weight = min(megapixels, self._max_megapixels)
        await self._enter(weight)
        started = time.monotonic()
        try:
            yield
        finally:
            took = (time.monotonic() - started) / max(weight, 1e-3)
            known = self._seconds_a_megapixel or took
            self._seconds_a_megapixel = known + SMOOTHING * (took - known)
            self._leave(weight)

    async def _enter(self, weight: float) -> None:
        if not self._line and self._fits(weight):
            self._take(weight)
            return
        if len(self._line) >= self._max_waiting:
            raise self._overloaded()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append((weight, turn))
        self._changed()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # Admitted and cancelled in the same moment.
                self._leave(weight)
            else:
                with suppress(ValueError):  # Its turn may have come, and been skipped, since it was cancelled.
                    self._line.remove((weight, turn))
                self._call_next()
            raise

    def _fits(self, weight: float) -> bool:
        has_room = self.admitted_megapixels + weight <= self._max_megapixels and self.admitted < self._max_pictures
        return self.admitted == 0 or has_room

    def _take(self, weight: float) -> None:
        self.admitted += 1
        self.admitted_megapixels += weight
        self._changed()

    def _leave(self, weight: float) -> None:
        self.admitted -= 1
        # Not left to float arithmetic: an empty service must read exactly 0.
        self.admitted_megapixels = self.admitted_megapixels - weight if self.admitted else 0.0
        self._call_next()

    def _call_next(self) -> None:
        while self._line and self._fits(self._line[0][0]):
            weight, turn = self._line.popleft()
            if not turn.cancelled():
                self._take(weight)
                turn.set_result(None)
        self._changed()

    def _changed(self) -> None:
        self._on_change(self.admitted_megapixels, len(self._line))

    def _overloaded(self) -> Overloaded:
        ahead = self.admitted_megapixels + sum(weight for weight, _ in self._line)
        seconds = ahead * self._seconds_a_megapixel / max(self.admitted, 1)
        return Overloaded(
            "As many pictures wait as may wait; try again later.",
            retry_after_s=min(max(math.ceil(seconds), 1), MAX_RETRY_AFTER_S),
            limit=self._max_waiting,
            unit="requests waiting",
        )
