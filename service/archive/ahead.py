"""Work that runs ahead of who takes its results: one thread a stage, no more than a few results waiting."""

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def ahead(items: Iterable[T], depth: int, name: str) -> Iterator[Iterator[T]]:
    """Run an iterator in a thread of its own.

    The results come in its order, so what is made of them does not depend on any timing. At the end of the block the
    iterator is stopped at its next item, however far it was, and its thread has ended; stages that are made of one
    another are to be left in the opposite order.

    Args:
        items: what gives them; only the thread touches it.
        depth: how many may wait, at least 1.
        name: of the thread.

    Yields:
        The items. What the iterator raises is raised here, behind the items before it.
    """
    waiting: queue.Queue[tuple[T | None, BaseException | None, bool]] = queue.Queue(depth)
    is_left = threading.Event()

    def work() -> None:
        try:
            for item in items:
                waiting.put((item, None, False))
                if is_left.is_set():
                    return
        except BaseException as error:  # Whatever it is, it is the taker's.
            waiting.put((None, error, True))
        else:
            waiting.put((None, None, True))

    def taken() -> Iterator[T]:
        while True:
            item, error, is_end = waiting.get()
            if error is not None:
                raise error
            if is_end:
                return
            yield item  # type: ignore[misc]  # an item, as it is no end

    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    try:
        yield taken()
    finally:
        is_left.set()
        # One place is all it needs: what it has in hand is put there, and is its last.
        while thread.is_alive():
            try:
                waiting.get(timeout=0.01)
            except queue.Empty:
                continue
        thread.join()
