"""Whose turn it is: in order within a caller, among callers the smallest picture first, and nobody waits for ever.

Each caller's first request competes with the other callers' first ones; whoever sends many waits behind itself. A
picture counts as smaller the longer it waits, and one that has grown to nothing is not passed any more.

References:
    Shortest job first with aging: Silberschatz, Galvin, Gagne, Operating System Concepts, chapter on CPU scheduling.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

AGING_MEGAPIXELS_A_S: Final = 2.0
"""A picture of 40 megapixels that has waited 20 seconds goes before everything that comes now."""

ORDINARY_MEGAPIXELS: Final = 20.0
"""Up to here a picture has not to wait long until nobody passes it."""


def more_time_s(megapixels: float) -> float:
    """Return how much longer than others a large picture may take: as much as it may have to wait longer, seconds."""
    return max(megapixels - ORDINARY_MEGAPIXELS, 0.0) / AGING_MEGAPIXELS_A_S


@dataclass(eq=False)
class Waiter:
    """A request that waits.

    Attributes:
        weight: of its picture, megapixels.
        caller: whose it is.
        since: when it came, seconds.
        deadline: when it is of no use any more, on the same clock.
        comes: done when it may go on.
    """

    weight: float
    caller: str
    since: float
    deadline: float
    comes: asyncio.Future[None]

    def size_at(self, now: float) -> float:
        """Return its weight less what it has waited for, megapixels; below 0 nobody passes it."""
        return self.weight - AGING_MEGAPIXELS_A_S * (now - self.since)


class FairQueue:
    """Those that wait, by caller."""

    def __init__(self) -> None:
        """Start empty."""
        self._callers: dict[str, deque[Waiter]] = {}

    def __len__(self) -> int:
        return sum(len(turns) for turns in self._callers.values())

    def of(self, caller: str) -> int:
        """Return how many requests of a caller wait."""
        return len(self._callers.get(caller, ()))

    def add(self, turn: Waiter) -> None:
        """Let a request wait behind its caller's others."""
        self._callers.setdefault(turn.caller, deque()).append(turn)

    def remove(self, turn: Waiter) -> None:
        """Let a request go.

        Raises:
            ValueError: it does not wait.
        """
        turns = self._callers.get(turn.caller, deque())
        turns.remove(turn)
        if not turns:
            del self._callers[turn.caller]

    def next(self, now: float, *, may: Callable[[Waiter], bool], fits: Callable[[Waiter], bool]) -> Waiter | None:
        """Return who goes next, if anyone does; it waits on until `remove`.

        Args:
            now: seconds, on the clock of `Waiter.since`.
            may: whether its caller may have one more under way; who may not is in nobody's way.
            fits: whether there is room for it.
        """
        heads = [turns[0] for turns in self._callers.values()]
        for turn in sorted(heads, key=lambda each: (each.size_at(now), each.since)):
            if not may(turn):
                continue
            if fits(turn):
                return turn
            if turn.size_at(now) <= 0:
                return None
        return None

    def ahead_of(self, turn: Waiter, now: float, *, may: Callable[[Waiter], bool]) -> list[float]:
        """Return the weights of what goes before a request, as far as is known now.

        Args:
            turn: the request, in the queue or about to come.
            now: seconds, on the clock of `Waiter.since`.
            may: whether its caller may have one more under way; of those who may not, nothing goes before it.
        """
        own = self._callers.get(turn.caller, deque())
        others = [
            each for name, turns in self._callers.items() if name != turn.caller and may(turns[0]) for each in turns
        ]
        smaller = [each.weight for each in others if each.size_at(now) <= turn.size_at(now)]
        return [each.weight for each in own if each is not turn and each.since <= turn.since] + smaller

    def weights(self) -> list[float]:
        """Return the weights of all."""
        return [turn.weight for turns in self._callers.values() for turn in turns]

    def last_of_most(self, more_than: int) -> Waiter | None:
        """Return the last request of the caller with most of them, if those are more than so many."""
        longest = max(self._callers.values(), key=len, default=None)
        return longest[-1] if longest and len(longest) > more_than else None
