"""Large pictures in strips of rows: bounded memory, and work for several threads."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from typing import TypeVar

T = TypeVar("T")


def each_strip(work: Callable[[int, int], None], height: int, rows: int, *, workers: int = 1) -> None:
    """Do something with every strip of rows.

    Args:
        work: takes the first row of a strip and the one behind its last; must not mind its strips' order, nor, with
            several workers, their company.
        height: of the picture, px.
        rows: of a strip, px, at least 1; the last one may have fewer.
        workers: threads, at least 1. NumPy, OpenCV and isal let others run while they compute.

    Raises:
        ValueError: rows or workers below 1.
    """
    for _ in map_strips(work, height, rows, workers=workers):
        pass


def map_strips(work: Callable[[int, int], T], height: int, rows: int, *, workers: int = 1) -> Iterator[T]:
    """Make something of every strip of rows; like `map`, only as the results are taken.

    Args:
        work: as in `each_strip`.
        height: as in `each_strip`.
        rows: as in `each_strip`.
        workers: as in `each_strip`.

    Returns:
        What `work` returns, from the top to the bottom.

    Raises:
        ValueError: rows or workers below 1.
    """
    if rows < 1 or workers < 1:
        raise ValueError(f"rows and workers must be at least 1, are {rows} and {workers}")
    starts = range(0, height, rows)
    stops = [min(start + rows, height) for start in starts]
    if workers == 1 or len(starts) == 1:
        return map(work, starts, stops)
    return _in_threads(work, list(zip(starts, stops, strict=True)), min(workers, len(starts)))


def _in_threads(work: Callable[[int, int], T], strips: Sequence[tuple[int, int]], workers: int) -> Iterator[T]:
    """Do the calling thread's share here: it would only wait, and waking another one takes as long as a small strip."""
    results = deque(Future[T]() for _ in strips)
    left = deque(zip(results, strips, strict=True))

    def go_on() -> bool:
        try:
            result, strip = left.popleft()
        except IndexError:
            return False
        try:
            result.set_result(work(*strip))
        except BaseException as error:
            result.set_exception(error)
        return True

    def help_out() -> None:
        while go_on():
            pass

    helpers = [_helpers().submit(help_out) for _ in range(workers - 1)]
    try:
        while results:
            result = results.popleft()  # What was taken must not stay: together it may be a large file.
            while not result.done() and go_on():
                pass
            yield result.result()
    finally:
        left.clear()
        wait([helper for helper in helpers if not helper.cancel()])


@cache
def _helpers() -> ThreadPoolExecutor:
    """Return the threads that help; they stay, since starting one takes as long as some strips."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_helpers.cache_clear)  # Threads are not in the child.
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="strips")
