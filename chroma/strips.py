"""Large pictures in strips of rows: bounded memory, and work for several threads."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
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
    return _in_threads(work, starts, stops, min(workers, len(starts)))


def _in_threads(work: Callable[[int, int], T], starts: range, stops: list[int], workers: int) -> Iterator[T]:
    with ThreadPoolExecutor(workers, thread_name_prefix="strips") as pool:
        yield from pool.map(work, starts, stops)
