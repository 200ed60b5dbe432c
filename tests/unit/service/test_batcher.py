"""service.engine.batcher: first in, first out; nothing lost, nothing answered twice, nothing waits for company."""

import threading
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import CancelledError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.engine.batcher import BATCH_SIZES, Batcher, batch_sizes_up_to
from service.engine.session import Heads, Query
from service.errors import Draining, Failing, Overloaded


def query(number: float, side: int = 1, outputs: tuple[str, ...] = ("ab",)) -> Query:
    return Query(np.full((side, side, 1), number, np.float32), outputs)


class Engine:
    """Answers each query with its own number; can be held, and fails on negative numbers."""

    def __init__(self) -> None:
        self.batches: list[list[float]] = []
        self.may_run = threading.Event()
        self.may_run.set()
        self.entered = threading.Event()

    def run(self, queries: Sequence[Query]) -> list[Heads]:
        self.entered.set()
        assert self.may_run.wait(60)
        numbers = [float(entry.lightness[0, 0, 0]) for entry in queries]
        self.batches.append(numbers)
        if min(numbers) < 0:
            raise RuntimeError(f"bad picture in {numbers}")
        return [{"ab": np.array([number])} for number in numbers]

    def hold(self, batcher: Batcher) -> None:
        """Let one picture block the thread, so that what comes next has to wait."""
        self.may_run.clear()
        self.entered.clear()
        batcher.submit(query(1000))
        assert self.entered.wait(60)


@pytest.fixture
def engine() -> Engine:
    return Engine()


def test_an_idle_thread_takes_a_picture_at_once(engine: Engine) -> None:
    batcher = Batcher(engine.run, max_batch=8)
    answer = batcher.submit(query(7)).result(60)
    assert answer.heads["ab"] == 7
    assert answer.batch == 1
    assert answer.queue_s < 1
    batcher.close()
    assert engine.batches == [[7]]


def test_what_waited_runs_together_in_allowed_sizes_and_in_order(engine: Engine) -> None:
    sizes: list[int] = []
    batcher = Batcher(engine.run, max_batch=5, on_batch=sizes.append)
    engine.hold(batcher)
    futures = [batcher.submit(query(number)) for number in range(7)]
    assert batcher.depth == 7
    engine.may_run.set()
    answers = [future.result(60) for future in futures]
    batcher.close()
    assert [int(answer.heads["ab"][0]) for answer in answers] == list(range(7))
    assert engine.batches == [[1000], [0, 1, 2, 3], [4, 5], [6]]
    assert [answer.batch for answer in answers] == [4, 4, 4, 4, 2, 2, 1]
    assert sizes == [1, 4, 2, 1]
    assert all(answer.queue_s > 0 for answer in answers)
    assert batcher.depth == 0


def test_only_alike_pictures_run_together(engine: Engine) -> None:
    batcher = Batcher(engine.run, max_batch=8)
    engine.hold(batcher)
    shapes = [query(0), query(1, side=2), query(2), query(3, outputs=("ab", "spread")), query(4, side=2)]
    futures = [batcher.submit(entry) for entry in shapes]
    engine.may_run.set()
    assert [int(future.result(60).heads["ab"][0]) for future in futures] == [0, 1, 2, 3, 4]
    batcher.close()
    assert engine.batches == [[1000], [0, 2], [1, 4], [3]]


def test_cancelled_pictures_never_reach_the_model(engine: Engine) -> None:
    batcher = Batcher(engine.run, max_batch=2)
    engine.hold(batcher)
    futures = [batcher.submit(query(number)) for number in range(5)]
    for number in (0, 1, 3):
        assert futures[number].cancel()
    engine.may_run.set()
    assert [int(futures[number].result(60).heads["ab"][0]) for number in (2, 4)] == [2, 4]
    with pytest.raises(CancelledError):
        futures[0].result(60)
    batcher.close()
    assert engine.batches == [[1000], [2, 4]]


def test_a_running_picture_cannot_be_cancelled(engine: Engine) -> None:
    batcher = Batcher(engine.run)
    engine.may_run.clear()
    future = batcher.submit(query(1))
    assert engine.entered.wait(60)
    assert not future.cancel()
    engine.may_run.set()
    assert future.result(60).heads["ab"] == 1
    batcher.close()


def test_a_bad_picture_does_not_harm_its_neighbors(engine: Engine) -> None:
    batcher = Batcher(engine.run, max_batch=4)
    engine.hold(batcher)
    futures = [batcher.submit(query(number)) for number in (1, -2, 3, 4)]
    engine.may_run.set()
    assert [int(futures[number].result(60).heads["ab"][0]) for number in (0, 2, 3)] == [1, 3, 4]
    with pytest.raises(RuntimeError, match="bad picture"):
        futures[1].result(60)
    assert batcher.submit(query(5)).result(60).heads["ab"] == 5
    batcher.close()


def test_the_queue_is_bounded(engine: Engine) -> None:
    batcher = Batcher(engine.run, max_queue=2)
    engine.hold(batcher)
    waiting = [batcher.submit(query(number)) for number in range(2)]
    with pytest.raises(Overloaded) as caught:
        batcher.submit(query(3))
    assert caught.value.facts["limit"] == 2
    waiting.pop().cancel()  # Who has left makes room.
    waiting.append(batcher.submit(query(4)))
    engine.may_run.set()
    assert [int(future.result(60).heads["ab"][0]) for future in waiting] == [0, 4]
    batcher.close()


def test_closing_answers_what_waits_and_takes_no_more(engine: Engine) -> None:
    batcher = Batcher(engine.run, max_batch=4)
    engine.hold(batcher)
    futures = [batcher.submit(query(number)) for number in range(3)]
    closer = threading.Thread(target=batcher.close)
    closer.start()
    engine.may_run.set()
    closer.join(60)
    assert [int(future.result(0).heads["ab"][0]) for future in futures] == [0, 1, 2]
    with pytest.raises(Draining):
        batcher.submit(query(9))
    assert not batcher.is_alive(60)


def test_a_stuck_thread_is_not_alive(engine: Engine) -> None:
    batcher = Batcher(engine.run)
    assert batcher.is_alive(0.01)
    engine.hold(batcher)
    assert batcher.is_alive(60)
    time.sleep(0.05)
    assert not batcher.is_alive(0.01)
    engine.may_run.set()
    batcher.close()


def test_when_the_thread_dies_everyone_is_told_and_nobody_is_taken(engine: Engine) -> None:
    def die(queries: Sequence[Query]) -> list[Heads]:
        engine.run(queries)
        raise SystemExit  # As good as killed: no `except Exception` catches it.

    batcher = Batcher(die, max_batch=2)
    engine.may_run.clear()
    running = batcher.submit(query(0))
    assert engine.entered.wait(60)
    waiting, left = batcher.submit(query(1)), batcher.submit(query(2))
    left.cancel()
    assert batcher.is_alive(60)
    engine.may_run.set()
    for future in (running, waiting):
        with pytest.raises(Failing):
            future.result(60)
    batcher._thread.join(60)
    assert not batcher.is_alive(60)
    assert batcher.depth == 0
    with pytest.raises(Failing):
        batcher.submit(query(3))
    batcher.close()


def test_a_picture_hears_when_its_turn_has_come(engine: Engine) -> None:
    batcher = Batcher(engine.run)
    heard: list[int] = []
    engine.hold(batcher)
    future = batcher.submit(query(1), lambda: heard.append(1))
    assert not heard
    engine.may_run.set()
    assert future.result(60).heads["ab"] == 1
    assert heard == [1]
    batcher.close()


def test_batch_sizes() -> None:
    assert batch_sizes_up_to(0) == batch_sizes_up_to(1) == (1,)
    assert batch_sizes_up_to(11) == (1, 2, 4, 8)
    assert batch_sizes_up_to(64) == BATCH_SIZES


@given(
    pictures=st.lists(st.tuples(st.integers(1, 3), st.booleans(), st.booleans()), max_size=30),
    max_batch=st.integers(1, 9),
)
def test_every_picture_is_answered_once_in_order_of_its_kind(
    pictures: list[tuple[int, bool, bool]], max_batch: int
) -> None:
    """Sizes, failures and cancellations in any mix."""
    engine = Engine()
    batcher = Batcher(engine.run, max_batch=max_batch)
    engine.hold(batcher)
    futures = []
    for number, (side, fails, _) in enumerate(pictures, start=1):
        futures.append(batcher.submit(query(-number if fails else number, side=side)))
    for future, (_, _, leaves) in zip(futures, pictures, strict=True):
        if leaves:
            assert future.cancel()
    engine.may_run.set()
    batcher.close()
    assert all(len(batch) in BATCH_SIZES and len(batch) <= max_batch for batch in engine.batches)
    for number, (future, (_, fails, leaves)) in enumerate(zip(futures, pictures, strict=True), start=1):
        assert future.done()
        if leaves:
            assert future.cancelled()
        elif fails:
            assert isinstance(future.exception(), RuntimeError)
        else:
            assert future.result().heads["ab"] == number
    seen = [abs(int(number)) for batch in engine.batches[1:] for number in batch]
    assert not {number for number, (_, _, leaves) in enumerate(pictures, start=1) if leaves} & set(seen)
    for side in (1, 2, 3):
        first_seen = list(dict.fromkeys(number for number in seen if pictures[number - 1][0] == side))
        assert first_seen == sorted(first_seen)


def test_a_thread_that_hangs_does_not_keep_the_process(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    batcher = Batcher(engine.run)
    engine.hold(batcher)
    batcher.close(timeout_s=0.05)
    assert "hangs, and is left behind" in caplog.text
    engine.may_run.set()


def test_many_short_batches_may_take_longer_than_one(engine: Engine) -> None:
    def run(queries: Sequence[Query]) -> list[Heads]:
        time.sleep(0.05)
        return engine.run(queries)

    batcher = Batcher(run)
    futures = [batcher.submit(query(number)) for number in range(40)]
    batcher.close(timeout_s=1.5)
    assert [future.result(0).heads["ab"] for future in futures] == list(range(40))


def test_an_answer_is_not_kept_while_nobody_asks(engine: Engine) -> None:
    batcher = Batcher(engine.run, max_batch=1)
    answer = batcher.submit(query(7)).result(60).heads["ab"]
    is_there = weakref.ref(answer)
    del answer
    ends = time.monotonic() + 60
    while is_there() is not None:
        assert time.monotonic() < ends
        time.sleep(0.01)
    batcher.close()
