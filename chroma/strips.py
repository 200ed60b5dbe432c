"""Large pictures in strips of rows: bounded memory, and work for several threads."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def each_strip(work: Callable[[int, int], T], height: int, rows: int, *, workers: int = 1) -> list[T]:
    """Do something with every strip of rows.

    Args:
        work: takes the first row of a strip and the one behind its last; must not mind its strips' order, nor, with
            several workers, their company.
        height: of the picture, px.
        rows: of a strip, px, at least 1; the last one may have fewer.
        workers: threads, at least 1. NumPy, OpenCV and isal let others run while they compute.

    Returns:
        What `work` returned, from the top to the bottom.

    Raises:
        ValueError: rows or workers below 1.
    """
    if rows < 1 or workers < 1:
        raise ValueError(f"rows and workers must be at least 1, are {rows} and {workers}")
    starts = range(0, height, rows)
    stops = [min(start + rows, height) for start in starts]
    if workers == 1 or len(starts) == 1:
        return [work(start, stop) for start, stop in zip(starts, stops, strict=True)]
    with ThreadPoolExecutor(min(workers, len(starts)), thread_name_prefix="strips") as pool:
        return list(pool.map(work, starts, stops))
