"""service.engine.admission: pixels are the currency, the queue is fair and bounded, the books balance."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable

import pytest

from service.engine.admission import MAX_RETRY_AFTER_S, Admission, ServiceTimes
from service.engine.job import Caller
from service.errors import Overloaded


class Visitor:
    """Someone who holds megapixels until told to leave."""

    def __init__(
        self, admission: Admission, megapixels: float, caller: str = "", *, deadline: float = math.inf
    ) -> None:
        self.inside = asyncio.Event()
        self.leave = asyncio.Event()
        self.task = asyncio.create_task(self._visit(admission, megapixels, Caller(caller, deadline)))

    async def _visit(self, admission: Admission, megapixels: float, caller: Caller) -> None:
        async with admission.admit(megapixels, caller):
            self.inside.set()
            await self.leave.wait()

    async def go(self) -> None:
        self.leave.set()
        await self.task


def run(scene: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scene(), 60))  # type: ignore[arg-type]


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_what_fits_is_admitted_at_once_and_what_does_not_waits_its_turn() -> None:
    async def scene() -> None:
        states: list[tuple[float, int]] = []
        admission = Admission(
            max_megapixels=10,
            max_pictures=99,
            max_waiting=5,
            on_change=lambda megapixels, waiting: states.append((megapixels, waiting)),
        )
        first, second = Visitor(admission, 6), Visitor(admission, 4)
        await settle()
        assert first.inside.is_set()
        assert second.inside.is_set()
        large, small = Visitor(admission, 8), Visitor(admission, 1)
        await settle()
        await second.go()
        await settle()
        # The small one would fit by now, but it came after the large one.
        assert (large.inside.is_set(), small.inside.is_set(), admission.waiting) == (False, False, 2)
        await first.go()
        await settle()
        assert (large.inside.is_set(), small.inside.is_set()) == (True, True)
        assert admission.admitted_megapixels == 9
        await large.go()
        await small.go()
        assert (admission.admitted_megapixels, admission.admitted, admission.waiting) == (0, 0, 0)
        assert states[-1] == (0, 0)
        assert max(waiting for _, waiting in states) == 2

    run(scene)


def test_pictures_are_counted_too() -> None:
    async def scene() -> None:
        admission = Admission(max_megapixels=10, max_pictures=2, max_waiting=5)
        visitors = [Visitor(admission, 0.1) for _ in range(3)]
        await settle()
        assert [visitor.inside.is_set() for visitor in visitors] == [True, True, False]
        await visitors[1].go()
        await settle()
        assert visitors[2].inside.is_set()
        for visitor in visitors:
            await visitor.go()
        assert (admission.admitted_megapixels, admission.admitted) == (0, 0)

    run(scene)


def test_a_picture_larger_than_everything_is_admitted_alone() -> None:
    async def scene() -> None:
        admission = Admission(max_pictures=99, max_megapixels=10, max_waiting=5)
        huge = Visitor(admission, 500)
        await settle()
        assert huge.inside.is_set()
        other = Visitor(admission, 0.1)
        await settle()
        assert not other.inside.is_set()
        await huge.go()
        await settle()
        assert other.inside.is_set()
        await other.go()

    run(scene)


def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    async def scene() -> None:
        admission = Admission(max_pictures=99, max_megapixels=1, max_waiting=1)
        admission.refuse_when_full()
        holder = Visitor(admission, 1)
        await settle()
        admission.refuse_when_full()
        waiter = Visitor(admission, 1)
        await settle()
        with pytest.raises(Overloaded) as caught:
            async with admission.admit(0.5):
                pass
        assert caught.value.facts["limit"] == 1
        assert 1 <= int(caught.value.headers["Retry-After"]) <= MAX_RETRY_AFTER_S
        with pytest.raises(Overloaded):
            admission.refuse_when_full()
        await holder.go()
        await settle()
        assert waiter.inside.is_set()
        await waiter.go()

    run(scene)


def test_who_is_expected_keeps_a_place() -> None:
    async def scene() -> None:
        admission = Admission(max_pictures=2, max_megapixels=10, max_waiting=1)
        holder = Visitor(admission, 1)
        await settle()
        places = [admission.expect() for _ in range(2)]  # One to work on, one in the queue.
        with pytest.raises(Overloaded):
            admission.expect()
        places[0]()
        places[0]()  # Once is enough.
        again = admission.expect()
        with pytest.raises(Overloaded):
            admission.refuse_when_full()
        for place in (places[1], again):
            place()
        visitors = [Visitor(admission, 1) for _ in range(2)]
        await settle()
        assert (visitors[0].inside.is_set(), admission.waiting) == (True, 1)
        with pytest.raises(Overloaded):
            admission.expect()
        for visitor in (holder, *visitors):
            await visitor.go()
        admission.expect()()
        assert (admission.admitted_megapixels, admission.admitted, admission.waiting) == (0, 0, 0)

    run(scene)


def test_no_line_at_all_refuses_only_when_there_is_no_room() -> None:
    async def scene() -> None:
        admission = Admission(max_pictures=99, max_megapixels=1, max_waiting=0)
        admission.refuse_when_full()
        holder = Visitor(admission, 1)
        await settle()
        with pytest.raises(Overloaded):
            await Visitor(admission, 1).task
        await holder.go()
        again = Visitor(admission, 1)
        await settle()
        assert again.inside.is_set()
        await again.go()

    run(scene)


def test_retry_after_follows_the_measured_service_time() -> None:
    async def scene() -> None:
        admission = Admission(max_pictures=99, max_megapixels=4, max_waiting=1)
        began = time.monotonic()
        slow = Visitor(admission, 4)
        await asyncio.sleep(0.3)
        await slow.go()
        took_s = time.monotonic() - began
        holder, waiter = Visitor(admission, 4), Visitor(admission, 400)
        await settle()
        with pytest.raises(Overloaded) as caught:
            await Visitor(admission, 1).task
        # Two pictures of full size are ahead, and one took 0.3 s, or more on a busy machine.
        assert 1 <= caught.value.facts["retry_after_s"] <= math.ceil(2 * took_s)
        admission.times = ServiceTimes()
        admission.times.add(4, 8)
        with pytest.raises(Overloaded) as caught:
            await Visitor(admission, 1).task
        assert caught.value.facts["retry_after_s"] == 16
        admission.times.add(4, 4e3)
        with pytest.raises(Overloaded) as caught:
            await Visitor(admission, 1).task
        assert caught.value.facts["retry_after_s"] == MAX_RETRY_AFTER_S
        await holder.go()
        await waiter.go()

    run(scene)


def test_who_gives_up_in_the_queue_lets_the_next_one_in() -> None:
    async def scene() -> None:
        admission = Admission(max_pictures=99, max_megapixels=10, max_waiting=5)
        holder = Visitor(admission, 6)
        await settle()
        large, small = Visitor(admission, 8), Visitor(admission, 3)
        await settle()
        assert not small.inside.is_set()
        large.task.cancel()
        await settle()
        assert small.inside.is_set()
        await holder.go()
        await small.go()
        assert (admission.admitted_megapixels, admission.admitted, admission.waiting) == (0, 0, 0)

    run(scene)


def test_who_is_called_and_gives_up_in_the_same_moment_gives_the_place_back() -> None:
    async def scene() -> None:
        admission = Admission(max_pictures=99, max_megapixels=1, max_waiting=5)
        holder = Visitor(admission, 1)
        await settle()
        first, second = Visitor(admission, 1), Visitor(admission, 1)
        await settle()
        holder.leave.set()
        await asyncio.sleep(0)
        first.task.cancel()  # Its turn has been called, but it has not run since.
        await settle()
        assert not first.inside.is_set() or first.task.cancelled()
        assert second.inside.is_set()
        await second.go()
        assert (admission.admitted_megapixels, admission.admitted, admission.waiting) == (0, 0, 0)

    run(scene)


def test_an_error_inside_gives_the_place_back() -> None:
    async def scene() -> None:
        admission = Admission(max_pictures=99, max_megapixels=1, max_waiting=0)
        with pytest.raises(RuntimeError):
            async with admission.admit(1):
                raise RuntimeError
        assert (admission.admitted_megapixels, admission.admitted) == (0, 0)

    run(scene)


def test_one_caller_leaves_room_for_the_next() -> None:
    async def scene() -> None:
        admission = Admission(max_pictures=3, max_megapixels=9, max_waiting=9, share=2 / 3)
        greedy = [Visitor(admission, 3, "greedy") for _ in range(4)]
        await settle()
        assert [one.inside.is_set() for one in greedy] == [True, True, False, False]
        modest = Visitor(admission, 3, "modest")
        await settle()
        assert modest.inside.is_set()
        for one in (modest, *greedy):
            await one.go()
        assert (admission.admitted_megapixels, admission.admitted, admission.waiting) == (0, 0, 0)
        large = Visitor(admission, 8, "greedy")  # More than the share, and alone.
        await settle()
        assert large.inside.is_set()
        await large.go()

    run(scene)


def test_a_full_queue_sends_the_one_away_who_fills_it() -> None:
    async def scene() -> None:
        admission = Admission(max_pictures=1, max_megapixels=9, max_waiting=3)
        greedy = [Visitor(admission, 1, "greedy") for _ in range(4)]
        await settle()
        admission.refuse_when_full(Caller("modest"))
        with pytest.raises(Overloaded):
            admission.refuse_when_full(Caller("greedy"))
        modest = Visitor(admission, 2, "modest")
        await settle()
        with pytest.raises(Overloaded):
            await greedy[-1].task
        # Now one has two places and the other one; a third caller would have as many as the second.
        with pytest.raises(Overloaded):
            await Visitor(admission, 1, "modest").task
        for one in (*greedy[:-1], modest):
            await one.go()
        assert (admission.admitted_megapixels, admission.admitted, admission.waiting) == (0, 0, 0)

    run(scene)


def test_what_would_be_late_is_refused_at_once() -> None:
    async def scene() -> None:
        told: list[int] = []
        admission = Admission(
            max_pictures=1, max_megapixels=9, max_waiting=9, on_change=lambda _, waiting: told.append(waiting)
        )
        admission.times.add(1, 50)
        soon = time.monotonic() + 60
        # Nothing is ahead: whatever was measured, it is tried.
        holder = Visitor(admission, 1, deadline=time.monotonic() + 10)
        await settle()
        assert holder.inside.is_set()
        with pytest.raises(Overloaded, match="in time"):
            await Visitor(admission, 1, deadline=soon).task
        assert told[-1] == admission.waiting == 0  # The metrics hear of it, too.
        patient = Visitor(admission, 1, deadline=soon + 50)
        await settle()
        assert admission.waiting == 1
        for one in (holder, patient):
            await one.go()

    run(scene)


def test_whose_turn_comes_too_late_is_not_computed() -> None:
    async def scene() -> None:
        admission = Admission(max_pictures=2, max_megapixels=9, max_waiting=9)
        first, second = Visitor(admission, 1), Visitor(admission, 1)
        waiter = Visitor(admission, 1, deadline=time.monotonic() + 5)
        await settle()
        admission.times.add(1, 100)
        await first.go()
        with pytest.raises(Overloaded, match="too late"):
            await waiter.task
        await second.go()
        assert (admission.admitted_megapixels, admission.admitted, admission.waiting) == (0, 0, 0)

    run(scene)


def test_service_times_are_a_line_over_megapixels() -> None:
    times = ServiceTimes()
    assert times.expect(12) == 0
    times.add(1, 0.3)
    assert times.expect(1) == times.expect(50) == pytest.approx(0.3)  # One size says nothing of others.
    for weight in (2, 4, 8, 16):
        times.add(weight, 0.2 + 0.1 * weight)
    assert times.expect(50) == pytest.approx(5.2)
    assert times.expect(0) == pytest.approx(0.2)
    for _ in range(200):
        times.add(4, 0.1)
    assert times.expect(4) == pytest.approx(0.1, abs=0.01)


def test_who_waits_for_its_own_share_is_in_nobodys_way() -> None:
    async def scene() -> None:
        admission = Admission(max_pictures=5, max_megapixels=99, max_waiting=60, share=2 / 3)
        admission.times.add(1, 2)
        greedy = [Visitor(admission, 1, "greedy") for _ in range(40)]
        await settle()
        assert (admission.admitted, admission.waiting) == (4, 36)
        modest = Visitor(admission, 1, "modest", deadline=time.monotonic() + 25)
        await settle()
        assert modest.inside.is_set()
        next_one = Visitor(admission, 1, "other", deadline=time.monotonic() + 25)
        await settle()
        assert admission.waiting == 37  # Five are ahead of it, not forty.
        for one in (modest, next_one, *greedy):
            await one.go()

    run(scene)
