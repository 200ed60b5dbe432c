"""Many requests, one inference thread.

Work-conserving: whatever waits is taken the moment the thread is free, nothing ever waits for company. Pictures run
together only when they have the same size and want the same outputs. A future that was cancelled before its turn never
reaches the model.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final

from service.engine.session import Heads, Query
from service.errors import Draining, Failing, Overloaded
from service.machine import give_way

BATCH_SIZES: Final = (1, 2, 4, 8, 16, 32, 64)
"""Batches have one of these sizes, so that a GPU meets few different shapes."""

CLOSE_S: Final = 20.0
"""How long one batch may take while the service ends, seconds."""

LOOK_S: Final = 0.2
"""How often to look whether it does, seconds."""


def batch_sizes_up_to(largest: int) -> tuple[int, ...]:
    """Return the batch sizes that are used when at most `largest` pictures run together; at least (1,)."""
    return tuple(size for size in BATCH_SIZES if size <= max(largest, 1))


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class InferenceResult:
    """What the inference gave for one picture.

    Attributes:
        heads: outputs by name.
        queue_s: how long the picture waited for the inference thread, seconds.
        infer_s: how long its batch ran, seconds.
        batch: how many pictures were in it.
    """

    heads: Heads
    queue_s: float
    infer_s: float
    batch: int


@dataclass(eq=False)
class _Entry:
    query: Query
    on_start: Callable[[], None]
    future: "Future[InferenceResult]" = field(default_factory=Future)
    since: float = field(default_factory=time.perf_counter)

    @property
    def kind(self) -> tuple[object, ...]:
        return (self.query.lightness.shape, self.query.outputs)


class Batcher:
    """Feeds an inference function from a bounded first-in-first-out queue, in a thread of its own."""

    def __init__(
        self,
        run: Callable[[Sequence[Query]], list[Heads]],
        *,
        max_batch: int = 1,
        max_queue: int = 1024,
        on_batch: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Start the thread.

        Args:
            run: gives the heads of each query of a batch, in order.
            max_batch: most pictures in one call.
            max_queue: most pictures that wait.
            on_batch: called with the size of each batch, for the metrics.
        """
        self._run = run
        self._sizes = batch_sizes_up_to(max_batch)
        self._max_queue = max_queue
        self._on_batch = on_batch
        self._waiting: deque[_Entry] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._died: Failing | None = None
        self._busy_since: float | None = None
        self._thread = threading.Thread(target=self._serve, name="inference", daemon=True)
        self._thread.start()

    def submit(self, query: Query, on_start: Callable[[], None] = lambda: None) -> "Future[InferenceResult]":
        """Queue a picture.

        Args:
            query: the picture and what is wanted of it.
            on_start: called in the inference thread when its turn has come; must not fail.

        Returns:
            Its answer to come; cancel it to leave the queue.

        Raises:
            Overloaded: the queue is full.
            Draining: the thread was told to stop.
            Failing: the thread has died.
        """
        entry = _Entry(query, on_start)
        with self._changed:
            if self._is_closed:
                raise Draining() if self._died is None else self._died
            if len(self._waiting) >= self._max_queue:
                self._waiting = deque(entry for entry in self._waiting if not entry.future.cancelled())
            if len(self._waiting) >= self._max_queue:
                raise Overloaded("Too many pictures wait for the network.", retry_after_s=1, limit=self._max_queue)
            self._waiting.append(entry)
            self._changed.notify()
        return entry.future

    @property
    def depth(self) -> int:
        """How many pictures wait."""
        return len(self._waiting)

    def is_alive(self, stall_s: float) -> bool:
        """Return whether the thread runs, and has not sat on one batch for longer than `stall_s` seconds."""
        busy_since = self._busy_since
        return self._thread.is_alive() and (busy_since is None or time.monotonic() - busy_since < stall_s)

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Answer what waits, then stop the thread.

        Args:
            timeout_s: how long one batch may still take, seconds. A thread that sits on one for longer, as on a GPU
                that has gone, is left behind: the process must be able to end.
        """
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        while self._thread.is_alive() and self.is_alive(timeout_s):
            self._thread.join(LOOK_S)
        if self._thread.is_alive():
            log.critical("the inference thread hangs, and is left behind")

    def _serve(self) -> None:
        give_way()
        batch: list[_Entry] = []
        try:
            while batch := self._next_batch():
                self._start(batch)
                self._answer(batch)
                self._busy_since = None
                batch = []  # While it waits for the next one it must not keep the last one's answers.
        except BaseException:  # Whatever it was, the thread ends here, and liveness says so.
            log.critical("the inference thread has died", exc_info=True)
            self._fail_all(batch)

    def _start(self, batch: list[_Entry]) -> None:
        self._busy_since = time.monotonic()
        for entry in batch:
            entry.on_start()

    def _fail_all(self, batch: list[_Entry]) -> None:
        """Tell everyone who waits, and who will come, that there will be no answer."""
        with self._changed:
            self._is_closed = True
            self._died = Failing("The inference thread has died; only a restart helps.")
            waiting, self._waiting = self._waiting, deque()
        for entry in (*batch, *(entry for entry in waiting if entry.future.set_running_or_notify_cancel())):
            if not entry.future.done():
                entry.future.set_exception(self._died)

    def _next_batch(self) -> list[_Entry]:
        """Wait for work; return the entries to run together, oldest first, or none when closed and empty."""
        with self._changed:
            while True:
                while not self._waiting and not self._is_closed:
                    self._changed.wait()
                if not self._waiting:
                    return []
                kind = self._waiting[0].kind
                alike = [entry for entry in self._waiting if entry.kind == kind and not entry.future.cancelled()]
                count = max((size for size in self._sizes if size <= len(alike)), default=0)
                # From here on cancelling comes too late; who was cancelled just now is dropped as well.
                batch = [entry for entry in alike[:count] if entry.future.set_running_or_notify_cancel()]
                self._waiting = deque(
                    entry for entry in self._waiting if entry not in batch and not entry.future.cancelled()
                )
                if batch:
                    return batch

    def _answer(self, batch: list[_Entry]) -> None:
        started = time.perf_counter()
        self._on_batch(len(batch))
        try:
            heads = self._run([entry.query for entry in batch])
        except Exception as error:  # Whatever it is belongs to whoever waits for the answer, not to this thread.
            if len(batch) == 1:
                batch[0].future.set_exception(error)
                return
            for entry in batch:  # One bad picture must not harm its neighbors.
                self._answer([entry])
            return
        took = time.perf_counter() - started
        for entry, head in zip(batch, heads, strict=True):
            entry.future.set_result(InferenceResult(head, started - entry.since, took, len(batch)))
