"""service.http.exchange: how much callers hold in memory, and what becomes of those who send or take too little."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from service.engine import byte_budget
from service.engine.byte_budget import HURRY_BYTES_S, ByteBudget, Limits, Transfer
from service.errors import Overloaded
from service.http import exchange
from service.http.exchange import ABORT_KEY, PIECE_BYTES, Exchange
from service.pictures.size_limits import SizeLimits
from tests.unit.service.test_connection import HEAD, read_all, serve

LARGE = PIECE_BYTES + 1


class Caller:
    """Takes pieces when told to; its connection can be broken."""

    def __init__(self, held: ByteBudget, *, aborts: bool = True, **headers: str) -> None:
        self.takes = asyncio.Event()
        self.pieces = 0
        self.is_cut = False
        self.sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        scope: dict[str, Any] = {
            "type": "http",
            "http_version": "1.1",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
        if aborts:
            scope[ABORT_KEY] = self.abort
        self.exchange = Exchange(held, scope, self.sent.get, self.take)  # type: ignore[arg-type]

    async def take(self, message: Any) -> None:
        if message["type"] == "http.response.body":
            self.pieces += 1
            await self.takes.wait()

    def abort(self) -> None:
        self.is_cut = True
        self.takes.set()

    async def answer(self, size: int) -> None:
        await self.exchange.send({"type": "http.response.start", "status": 200, "headers": []})
        await self.exchange.send({"type": "http.response.body", "body": bytes(size)})
        self.exchange.reservation.release()


def run(scene: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scene(), 60))  # type: ignore[arg-type]


def limits(held: int = 10 * LARGE, *, upload: int = 1000, rate: int = 0) -> Limits:
    return Limits(SizeLimits(1, upload), max_held_bytes=held, least_rate=rate)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_what_is_promised_is_replaced_by_the_answer() -> None:
    async def scene() -> None:
        held = ByteBudget(limits())
        caller = Caller(held)
        caller.exchange.reservation.reserve(3 * LARGE)
        assert held.count == 3 * LARGE
        task = asyncio.create_task(caller.answer(LARGE))
        await settle()
        assert held.count == LARGE
        caller.takes.set()
        await task
        assert held.count == 0

    run(scene)


def test_small_answers_are_given_whatever_is_held() -> None:
    async def scene() -> None:
        held = ByteBudget(limits(held=LARGE))
        first, second = Caller(held), Caller(held)
        first.exchange.reservation.reserve(LARGE)
        second.takes.set()
        await second.answer(PIECE_BYTES)
        assert second.exchange.status == 200
        with pytest.raises(Overloaded):
            await second.answer(LARGE)
        # Of what was refused nothing was sent: a problem can be.
        assert second.pieces == 1

    run(scene)


def test_whoever_is_alone_gets_what_it_needs() -> None:
    async def scene() -> None:
        held = ByteBudget(limits(held=LARGE))
        large = Caller(held)
        large.exchange.reservation.reserve(5 * LARGE)
        with pytest.raises(Overloaded):
            large.exchange.reservation.reserve(1)
        with pytest.raises(Overloaded):
            Caller(held).exchange.reservation.reserve(1)

    run(scene)


def test_the_slowest_goes_where_bytes_run_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_budget, "HURRY_S", 0.05)

    async def scene() -> None:
        held = ByteBudget(limits(held=20 * PIECE_BYTES))
        slow, slower = Caller(held), Caller(held)
        tasks = [asyncio.create_task(slow.answer(8 * PIECE_BYTES)), asyncio.create_task(slower.answer(9 * PIECE_BYTES))]
        await settle()
        newcomer = Caller(held)
        with pytest.raises(Overloaded):
            newcomer.exchange.reservation.reserve(4 * PIECE_BYTES)  # Both have only begun.
        await asyncio.sleep(0.1)
        newcomer.exchange.reservation.reserve(3 * PIECE_BYTES)  # There is room.
        assert not slower.is_cut
        newcomer.exchange.reservation.reserve(PIECE_BYTES)
        assert (slow.is_cut, slower.is_cut) == (False, True)
        assert slower.exchange.was_slow
        assert held.count == 12 * PIECE_BYTES
        slow.takes.set()
        await asyncio.gather(*tasks)
        assert held.count == 4 * PIECE_BYTES

    run(scene)


def test_who_takes_fast_is_never_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_budget, "HURRY_S", 0.0)
    clock = [100.0]
    monkeypatch.setattr(byte_budget.time, "monotonic", lambda: clock[0])

    async def scene() -> None:
        transfer = Transfer(lambda: None, lambda: 0)
        transfer.begin(10 * HURRY_BYTES_S)
        transfer.note(HURRY_BYTES_S)
        clock[0] += 0.9
        assert not transfer.is_slow()
        assert transfer.left_s() == pytest.approx(8.1)
        clock[0] += 0.2
        assert transfer.is_slow()

    run(scene)


def test_only_the_time_counts_in_which_there_is_something_to_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_budget, "HURRY_S", 0.0)
    clock = [100.0]
    monkeypatch.setattr(byte_budget.time, "monotonic", lambda: clock[0])
    transfer = Transfer(lambda: None, lambda: 0)
    for _ in range(3):
        transfer.begin(HURRY_BYTES_S)
        clock[0] += 0.5
        transfer.note(HURRY_BYTES_S)
        transfer.pause()
        clock[0] += 60.0  # The next part is being made.
    assert transfer.took_s() == pytest.approx(1.5)
    assert not transfer.is_slow()
    transfer.begin(HURRY_BYTES_S)
    clock[0] += 2.0
    assert transfer.is_slow()


def test_an_answer_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_budget, "GRACE_S", 0.1)

    async def scene() -> None:
        held = ByteBudget(limits(rate=10 * LARGE))
        caller = Caller(held)
        began = time.monotonic()
        await caller.answer(LARGE)
        assert caller.is_cut
        assert 0.15 < time.monotonic() - began < 5
        assert held.count == 0

    run(scene)


class Upload:
    """An application behind the guard's exchange that reads all of a request."""

    def __init__(self) -> None:
        self.errors: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        each = Exchange(ByteBudget(limits(rate=1000, upload=10_000)), scope, receive, send)
        try:
            while (await each.receive()).get("more_body"):
                pass
            answer = b"all"
        except Exception as error:
            answer = json.dumps(type(error).__name__).encode()
        await each.send({"type": "http.response.start", "status": 200, "headers": []})
        await each.send({"type": "http.response.body", "body": answer})


@pytest.mark.parametrize(
    ("grace_s", "pause_s", "answer"), [(5.0, 0.02, b"all"), (0.2, 0.5, b"UploadTooSlow")], ids=["steady", "slow"]
)
def test_who_sends_too_little_is_told(
    monkeypatch: pytest.MonkeyPatch, grace_s: float, pause_s: float, answer: bytes
) -> None:
    monkeypatch.setattr(exchange, "GRACE_S", grace_s)
    monkeypatch.setattr(exchange, "LINGER_S", 0.1)

    async def scene(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD % 600)
        first = asyncio.create_task(reader.read(1))
        for _ in range(6):
            writer.write(bytes(100))
            await writer.drain()
            if (await asyncio.wait({first}, timeout=pause_s))[0]:
                break
        writer.write_eof()
        assert answer in await first + await read_all(reader)
        writer.close()

    serve(Upload(), scene)  # type: ignore[arg-type]


def test_the_connection_of_who_takes_too_little_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_budget, "GRACE_S", 0.2)
    held = ByteBudget(limits(held=1 << 30, rate=1 << 30))
    ended: list[Exchange] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        each = Exchange(held, scope, receive, send)
        await each.receive()
        await each.send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"209715200")]})
        await each.send({"type": "http.response.body", "body": bytes(200 << 20)})
        each.reservation.release()
        ended.append(each)

    async def scene(port: int) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=4096)
        writer.write(HEAD % 1 + b"a")
        while not ended:
            await asyncio.sleep(0.02)
        assert ended[0].was_slow
        assert held.count == 0
        writer.close()

    serve(app, scene)  # type: ignore[arg-type]


def test_nobody_is_cut_off_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_budget, "HURRY_S", 0.0)

    async def scene() -> None:
        held = ByteBudget(limits(held=20 * PIECE_BYTES, upload=20 * PIECE_BYTES))
        other, slow = Caller(held), Caller(held)
        other.exchange.reservation.reserve(15 * PIECE_BYTES)
        task = asyncio.create_task(slow.answer(4 * PIECE_BYTES))
        await settle()
        with pytest.raises(Overloaded):
            held.check(6 * PIECE_BYTES)  # All that the slow one has would not do.
        announced = Caller(held, **{"content-length": str(2 * PIECE_BYTES)})
        with pytest.raises(Overloaded):
            announced.exchange.check_announced()  # Nothing of it is there yet.
        assert not slow.is_cut
        held.check(2 * PIECE_BYTES)
        assert slow.is_cut
        await task

    run(scene)


def test_another_server_breaks_the_connection_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the function that ours gives, the answer ends in an error, which every server ends the connection for."""
    monkeypatch.setattr(byte_budget, "GRACE_S", 0.05)

    async def scene() -> None:
        held = ByteBudget(limits(rate=100 * LARGE))
        caller = Caller(held, aborts=False)
        with pytest.raises(TimeoutError):
            await caller.answer(LARGE)
        assert caller.exchange.was_slow
        assert held.count == 0

    run(scene)
