"""service.engine.fair_queue: order within a caller, small before large among callers, and nobody waits for ever."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.engine.fair_queue import AGING_MEGAPIXELS_A_S, ORDINARY_MEGAPIXELS, FairQueue, Waiter, more_time_s

TURNS = st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.01, 100)), min_size=1, max_size=30)


@pytest.fixture(scope="module", autouse=True)
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield loop
    asyncio.set_event_loop(None)
    loop.close()


def turn(caller: str, weight: float, since: float = 0) -> Waiter:
    return Waiter(weight, caller, since, 1e9, asyncio.get_event_loop().create_future())


def next_of(line: FairQueue, now: float = 0) -> Waiter | None:
    return line.next(now, may=lambda _: True, fits=lambda _: True)


def served(line: FairQueue, now: float = 0) -> list[Waiter]:
    order = []
    while found := next_of(line, now):
        line.remove(found)
        order.append(found)
    return order


@given(TURNS)
def test_everyone_is_served_once_and_in_order_within_a_caller(given_turns: list[tuple[str, float]]) -> None:
    line = FairQueue()
    turns = [turn(caller, weight, since) for since, (caller, weight) in enumerate(given_turns)]
    for each in turns:
        line.add(each)
    assert len(line) == len(turns)
    assert sorted(line.weights()) == sorted(each.weight for each in turns)
    order = served(line, now=len(turns))
    assert len(line) == 0
    for caller in "abc":
        assert [each for each in order if each.caller == caller] == [each for each in turns if each.caller == caller]


def test_among_callers_the_smallest_goes_first() -> None:
    line = FairQueue()
    for caller, weight in (("a", 40), ("b", 0.1), ("a", 0.1), ("c", 12)):
        line.add(turn(caller, weight))
    assert [(each.caller, each.weight) for each in served(line)] == [("b", 0.1), ("c", 12), ("a", 40), ("a", 0.1)]


@given(st.floats(0.01, 200), st.integers(1, 5), st.floats(0.01, 1))
def test_nobody_starves(weight: float, rivals: int, small: float) -> None:
    """However many small ones keep coming, a large one goes before all that came after it had waited for its size."""
    line = FairQueue()
    large = turn("large", weight)
    line.add(large)
    waits = weight / AGING_MEGAPIXELS_A_S
    for second in range(int((waits + 2) * rivals) + 2):
        for rival in range(rivals):
            line.add(turn(f"{rival}", small, second))
        found = next_of(line, second)
        assert found is not None
        if found is large:
            return
        assert found.since <= waits
        line.remove(found)
    pytest.fail("it still waits")


def test_what_has_waited_for_its_size_is_not_passed_by_what_fits() -> None:
    line = FairQueue()
    large, small = turn("a", 10), turn("b", 1, since=10)
    line.add(large)
    line.add(small)
    fits = lambda each: each.weight < 5  # noqa: E731
    early = 10 / AGING_MEGAPIXELS_A_S - 0.1
    assert line.next(early, may=lambda _: True, fits=fits) is small
    assert line.next(early + 0.2, may=lambda _: True, fits=fits) is None
    # A caller that has its share is in nobody's way.
    assert line.next(early + 0.2, may=lambda each: each.caller == "b", fits=fits) is small


def test_what_is_ahead() -> None:
    line = FairQueue()
    mine, before, after = turn("a", 5, 1), turn("a", 7, 0), turn("a", 1, 2)
    for each in (before, mine, after, turn("b", 3), turn("b", 9)):
        line.add(each)
    everyone = lambda _: True  # noqa: E731
    assert sorted(line.ahead_of(mine, 2, may=everyone)) == [3, 7]
    assert sorted(line.ahead_of(turn("new", 20, 2), 2, may=everyone)) == [1, 3, 5, 7, 9]
    # Who has its share is in nobody's way.
    assert sorted(line.ahead_of(turn("new", 20, 2), 2, may=lambda each: each.caller == "b")) == [3, 9]
    assert sorted(line.ahead_of(mine, 2, may=lambda each: each.caller == "a")) == [7]


def test_the_longest_gives_way() -> None:
    line = FairQueue()
    for caller, weight in (("a", 1), ("b", 2), ("a", 3)):
        line.add(turn(caller, weight))
    found = line.last_of_most(1)
    assert found is not None
    assert (found.caller, found.weight) == ("a", 3)
    assert line.last_of_most(2) is None
    assert FairQueue().last_of_most(0) is None
    with pytest.raises(ValueError, match="not in"):
        line.remove(turn("a", 1))


@pytest.mark.parametrize(("megapixels", "more_s"), [(0.1, 0), (ORDINARY_MEGAPIXELS, 0), (70, 25), (100, 40)])
def test_a_large_picture_has_as_much_more_time_as_it_may_wait_longer(megapixels: float, more_s: float) -> None:
    assert more_time_s(megapixels) == more_s
    passed_until = [
        next(now for now in range(1000) if turn("a", weight).size_at(now) <= 0)
        for weight in (ORDINARY_MEGAPIXELS, max(megapixels, ORDINARY_MEGAPIXELS))
    ]
    assert passed_until[1] - passed_until[0] == more_s
