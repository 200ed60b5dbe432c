"""Strips of rows: all of them, once, in order."""

import threading
import weakref

import pytest

from chroma.strips import each_strip, map_strips


class _Result:
    """What a strip gives."""


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize(("height", "rows"), [(1, 1), (10, 3), (9, 3), (4, 100)])
def test_every_row_is_in_one_strip(height: int, rows: int, workers: int) -> None:
    strips = list(map_strips(lambda start, stop: list(range(start, stop)), height, rows, workers=workers))
    assert [row for strip in strips for row in strip] == list(range(height))
    assert all(len(strip) == rows for strip in strips[:-1])


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_only_as_they_are_taken(workers: int) -> None:
    done: list[int] = []
    strips = map_strips(lambda start, _: done.append(start), 6, 2, workers=workers)
    assert done == []
    next(strips)
    assert 0 in done
    list(strips)
    assert sorted(done) == [0, 2, 4]


@pytest.mark.parametrize("workers", [1, 2])
def test_what_was_taken_is_not_kept(workers: int) -> None:
    made = map_strips(lambda *_: _Result(), 6, 1, workers=workers)
    taken = [weakref.ref(next(made)) for _ in range(5)]
    assert [each() for each in taken[:4]] == [None] * 4


def test_threads_share_the_strips() -> None:
    both = threading.Barrier(2, timeout=60)
    each_strip(lambda *_: both.wait(), 2, 1, workers=2)
    assert not both.broken


def test_what_a_strip_raises_is_raised() -> None:
    def fail(start: int, stop: int) -> None:
        if stop == 4:
            raise KeyError(start)

    for workers in (1, 2):
        with pytest.raises(KeyError):
            each_strip(fail, 6, 1, workers=workers)


@pytest.mark.parametrize(("rows", "workers"), [(0, 1), (1, 0)])
def test_none_at_all_is_refused(rows: int, workers: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        each_strip(lambda *_: None, 5, rows, workers=workers)
