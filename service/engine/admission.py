"""How much may be worked on at once: counted in pixels, since memory follows them, and in pictures.

More pictures than the threads can be busy with would only all be half done: whoever waits, waits here, before anything
is decoded, and `fair_queue` says whose turn it is. One caller gets a share of the room, so that there is some for the
next. The queue is bounded, and who does not fit in it, or would not be done in time, is told when to come back.
"""

import asyncio
import math
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Final

from service.engine.fair_queue import FairQueue, Waiter
from service.engine.job import Caller
from service.errors import Overloaded

DECAY: Final = 0.9
"""What a measured time still counts after each newer one."""

LEAST_SPREAD: Final = 1e-6
"""Variance of sizes, megapixels squared, below which they are one size and say nothing of others."""

MAX_RETRY_AFTER_S: Final = 60
"""Nobody is sent away for longer."""

ANYONE: Final = Caller()


class ServiceTimes:
    """How long pictures take, told from those before: a part that is the same for all, and one that follows pixels."""

    def __init__(self) -> None:
        """Start without knowing anything."""
        self._sums = [0.0] * 5

    def add(self, weight: float, seconds: float) -> None:
        """Note how long a picture took.

        Args:
            weight: of the picture, megapixels.
            seconds: that it took.
        """
        new = (1.0, weight, seconds, weight * weight, weight * seconds)
        self._sums = [DECAY * old + value for old, value in zip(self._sums, new, strict=True)]

    def expect(self, weight: float) -> float:
        """Return how long a picture of so many megapixels will take, seconds; by least squares, 0 before the first."""
        count, weights, seconds, squares, products = self._sums
        if not count:
            return 0.0
        mean, took = weights / count, seconds / count
        spread = squares / count - mean * mean
        slope = max((products / count - mean * took) / spread, 0.0) if spread > LEAST_SPREAD else 0.0
        return max(took + slope * (weight - mean), 0.0)


class Admission:
    """Hands out megapixels; to be used from one event loop only.

    Attributes:
        times: how long pictures take.
        admitted: how many are worked on.
        admitted_megapixels: of those.
    """

    def __init__(
        self,
        *,
        max_megapixels: float,
        max_pictures: int,
        max_waiting: int,
        share: float = 1.0,
        on_change: Callable[[float, int], None] = lambda *_: None,
    ) -> None:
        """Start empty.

        Args:
            max_megapixels: most megapixels admitted at once; a larger picture is admitted alone.
            max_pictures: most pictures admitted at once.
            max_waiting: most requests in the queue.
            share: most of the megapixels that one caller may have; below 1 also one picture less than all.
            on_change: called with the megapixels admitted and the length of the queue, for the metrics.
        """
        self._max_megapixels = max_megapixels
        self._max_pictures = max_pictures
        self._max_waiting = max_waiting
        self._share_megapixels = share * max_megapixels
        self._share_pictures = max_pictures if share == 1 else max(max_pictures - 1, 1)
        self._on_change = on_change
        self._queue = FairQueue()
        self._expected: Counter[str] = Counter()
        self._of_caller: defaultdict[str, list[float]] = defaultdict(list)
        self.times = ServiceTimes()
        self.admitted_megapixels = 0.0
        self.admitted = 0

    @property
    def waiting(self) -> int:
        """How many requests are in the queue."""
        return len(self._queue)

    def refuse_when_full(self, caller: Caller = ANYONE) -> None:
        """Refuse before the upload is even read, when there is no place left.

        Raises:
            Overloaded: whoever comes now finds the queue full, and others do not have more of it.
        """
        has = len(self._of_caller.get(caller.name, ()))
        free = min(self._max_pictures - self.admitted, self._share_pictures - has)
        places = self._max_waiting + (0 if self._queue else max(free, 0))
        if len(self._queue) + self._expected.total() < places:
            return
        if self._expected[caller.name] or not self._queue.last_of_most(self._queue.of(caller.name) + 1):
            raise self._overloaded()

    def expect(self, caller: Caller = ANYONE) -> Callable[[], None]:
        """Keep a place for a picture that is here, and whose header is being judged.

        Returns:
            To be called when it is about to enter, or never will; calling it again does nothing.

        Raises:
            Overloaded: as `refuse_when_full`.
        """
        self.refuse_when_full(caller)
        self._expected[caller.name] += 1
        places = [1]

        def release() -> None:
            if places:
                self._expected[caller.name] -= places.pop()
                self._expected += Counter()  # Lets go of names that expect nothing.

        return release

    @asynccontextmanager
    async def admit(self, megapixels: float, caller: Caller = ANYONE) -> AsyncIterator[None]:
        """Hold a picture's megapixels while inside.

        Args:
            megapixels: of the picture.
            caller: whose it is.

        Yields:
            Nothing.

        Raises:
            Overloaded: there is no room and the queue is full, or it would not be done in time.
        """
        weight = min(megapixels, self._max_megapixels)
        await self._enter(weight, caller)
        started = time.monotonic()
        try:
            yield
            self.times.add(weight, time.monotonic() - started)  # Of those that ended early it says little.
        finally:
            self._leave(weight, caller.name)

    async def _enter(self, weight: float, caller: Caller) -> None:
        now = time.monotonic()
        turn = Waiter(weight, caller.name, now, caller.deadline, asyncio.get_running_loop().create_future())
        if not self._queue and self._may(turn) and self._fits(turn):
            self._take(weight, caller.name)
            return
        self._queue.add(turn)
        self._call_next()
        if not turn.comes.done():
            self._check_time(turn, now)
        if len(self._queue) > self._max_waiting and not turn.comes.done():
            self._shed_one(turn)
        try:
            await turn.comes
        except asyncio.CancelledError:
            if turn.comes.done() and not turn.comes.cancelled():  # Admitted and cancelled in the same moment.
                if not turn.comes.exception():
                    self._leave(weight, caller.name)
            else:
                with suppress(ValueError):  # Its turn may have come, and been skipped, since it was cancelled.
                    self._queue.remove(turn)
                self._call_next()
            raise

    def _check_time(self, turn: Waiter, now: float) -> None:
        """Refuse at once what would be computed for nothing.

        Raises:
            Overloaded: it would not be done in time.
        """
        took = self._wait(self._queue.ahead_of(turn, now, may=self._may)) + self.times.expect(turn.weight)
        if self.admitted and now + took > turn.deadline:
            self._drop(turn)
            raise self._overloaded("So much is ahead of the picture that it would not be done in time.")

    def _wait(self, ahead: Iterable[float]) -> float:
        """Return how long it takes until what is under way, and so many megapixels ahead, are done; seconds."""
        under_way = [weight for weights in self._of_caller.values() for weight in weights]
        return sum(self.times.expect(weight) for weight in (*under_way, *ahead)) / max(self.admitted, 1)

    def _shed_one(self, newcomer: Waiter) -> None:
        """Make the queue as long as it may be: the last of whoever has most of it goes, or the newcomer.

        Raises:
            Overloaded: nobody has more of the queue than the newcomer's caller.
        """
        turn = self._queue.last_of_most(self._queue.of(newcomer.caller)) or newcomer
        self._drop(turn)
        if turn is newcomer:
            raise self._overloaded()
        if not turn.comes.done():
            turn.comes.set_exception(self._overloaded())

    def _drop(self, turn: Waiter) -> None:
        self._queue.remove(turn)
        self._changed()

    def _may(self, turn: Waiter) -> bool:
        has = self._of_caller.get(turn.caller, ())
        return not has or (len(has) < self._share_pictures and sum(has) + turn.weight <= self._share_megapixels)

    def _fits(self, turn: Waiter) -> bool:
        has_room = self.admitted_megapixels + turn.weight <= self._max_megapixels and self.admitted < self._max_pictures
        return self.admitted == 0 or has_room

    def _take(self, weight: float, caller: str) -> None:
        self.admitted += 1
        self.admitted_megapixels += weight
        self._of_caller[caller].append(weight)
        self._changed()

    def _leave(self, weight: float, caller: str) -> None:
        self.admitted -= 1
        # Not left to float arithmetic: an empty service must read exactly 0.
        self.admitted_megapixels = self.admitted_megapixels - weight if self.admitted else 0.0
        self._of_caller[caller].remove(weight)
        if not self._of_caller[caller]:
            del self._of_caller[caller]
        self._call_next()

    def _call_next(self) -> None:
        now = time.monotonic()
        while turn := self._queue.next(now, may=self._may, fits=self._fits):
            self._queue.remove(turn)
            if turn.comes.done():
                continue
            if self.admitted and now + self.times.expect(turn.weight) > turn.deadline:
                turn.comes.set_exception(self._overloaded("The picture's turn came too late."))
            else:
                self._take(turn.weight, turn.caller)
                turn.comes.set_result(None)
        self._changed()

    def _changed(self) -> None:
        self._on_change(self.admitted_megapixels, len(self._queue))

    def _overloaded(self, detail: str = "As many pictures wait as may wait; try again later.") -> Overloaded:
        return Overloaded(
            detail,
            retry_after_s=min(max(math.ceil(self._wait(self._queue.weights())), 1), MAX_RETRY_AFTER_S),
            limit=self._max_waiting,
            unit="requests waiting",
        )
