"""service.archive.ahead: work in another thread, in order, bounded, and over when its taker is."""

import itertools
import threading
from collections.abc import Iterator

import pytest

from service.archive.ahead import ahead


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("ahead-")]


def test_all_comes_in_order_through_several_stages() -> None:
    with ahead(range(50), 1, "ahead-one") as numbers, ahead((2 * n for n in numbers), 3, "ahead-two") as doubled:
        assert len(threads()) == 2
        assert list(doubled) == list(range(0, 100, 2))
    assert threads() == []


def test_no_more_is_made_than_may_wait() -> None:
    made = []
    full = threading.Event()

    def items() -> Iterator[int]:
        for n in itertools.count():
            made.append(n)
            if n == 4:  # One was taken, three wait, one is in hand.
                full.set()
            yield n

    with ahead(items(), 3, "ahead-bounded") as numbers:
        assert next(numbers) == 0
        assert full.wait(60)
        assert len(made) == 5
    assert threads() == []
    assert len(made) <= 6


def test_an_error_comes_behind_what_was_before_it() -> None:
    def items() -> Iterator[int]:
        yield from (1, 2)
        raise OSError(28, "No space left on device")

    with ahead(items(), 5, "ahead-failing") as numbers, ahead(numbers, 5, "ahead-behind") as passed:
        assert [next(passed), next(passed)] == [1, 2]
        with pytest.raises(OSError, match="No space left"):
            next(passed)
    assert threads() == []


def test_an_interrupted_taker_leaves_no_thread() -> None:
    def taker() -> None:
        with ahead(itertools.count(), 2, "ahead-one") as numbers, ahead(map(str, numbers), 2, "ahead-two") as texts:
            assert next(texts) == "0"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        taker()
    assert threads() == []


def test_nothing_is_nothing() -> None:
    with ahead([], 1, "ahead-empty") as nothing:
        assert list(nothing) == []
