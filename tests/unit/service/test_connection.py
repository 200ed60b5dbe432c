"""service.http.connection: callers who send too little, take too little, or speak no HTTP."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import h11
import pytest
import uvicorn

from service.http import connection
from service.http.connection import FREE_PARTS, LEAST_PART_BYTES, PARTS_A_TURN, Connection

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


class App:
    """Reads a request, waits, and answers with many bytes."""

    def __init__(self, *, seconds: float = 0.0, answer: int = 2) -> None:
        self.seconds = seconds
        self.pieces = [b"x" * min(answer, 1 << 18)] * max(answer >> 18, 1)
        self.served = 0
        self.under_way = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        self.under_way += 1
        await receive()
        await asyncio.sleep(self.seconds)
        length = str(sum(map(len, self.pieces))).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        for number, piece in enumerate(self.pieces, start=1):
            await send({"type": "http.response.body", "body": piece, "more_body": number < len(self.pieces)})
        self.under_way -= 1
        self.served += 1


def serve(app: App, scene: Callable[[int], Awaitable[None]]) -> None:
    """Play a scene against a server at a port."""

    async def play() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # What is sent and not taken stays with us.
            config = uvicorn.Config(app, http=Connection, ws="none", lifespan="off", log_config=None)
            server = uvicorn.Server(config)
            running = asyncio.create_task(server._serve([listener]))
            try:
                while not server.started:
                    await asyncio.sleep(0.01)
                await asyncio.wait_for(scene(listener.getsockname()[1]), 60)
            finally:
                server.should_exit = True
                await running

    asyncio.run(play())


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to that")


async def read_all(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that made no sense do not stay."""
    monkeypatch.setattr(connection, "LINGER_S", 0.1)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_S", 0.4)
    monkeypatch.setattr(connection, "STALL_S", 0.3)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("sent", [b"", b"POST / HT", HEAD[:-2]])
def test_who_sends_no_whole_head_is_left(sent: bytes) -> None:
    async def scene(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        assert await read_all(reader) == b""
        writer.close()

    app = App()
    serve(app, scene)
    assert app.served == 0


@pytest.mark.usefixtures("impatient")
def test_who_stops_in_the_head_of_a_later_request_is_left_too() -> None:
    async def scene(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(HEAD % 1 + b"a")
            assert (await reader.readuntil(b"xx")).startswith(b"HTTP/1.1 200")
        writer.write(b"POST /")
        assert await read_all(reader) == b""
        writer.close()

    app = App()
    serve(app, scene)
    assert app.served == 2


@pytest.mark.usefixtures("impatient")
def test_a_long_request_is_not_taken_for_a_missing_one() -> None:
    async def scene(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD % 1 + b"a")
        assert (await reader.readuntil(b"xx")).startswith(b"HTTP/1.1 200")
        writer.close()

    serve(App(seconds=1.0), scene)


@pytest.mark.usefixtures("impatient")
def test_who_takes_nothing_of_an_answer_is_left() -> None:
    app = App(answer=200 << 20)

    async def scene(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port)) as caller:
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            caller.sendall(HEAD % 1 + b"a")
            await until(lambda: app.under_way == 1)
            await until(lambda: app.under_way == 0)

    serve(app, scene)
    assert app.served == 1  # To the application a caller who is gone takes everything.


def test_who_takes_slowly_gets_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_S", 0.1)  # It is over before the caller has the end of the answer.
    app = App(answer=8 << 20)

    async def scene(port: int) -> None:
        with socket.socket() as caller:
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            caller.connect(("127.0.0.1", port))
            reader, writer = await asyncio.open_connection(sock=caller, limit=4096)
            writer.write(HEAD % 1 + b"a")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            rest = 200 << 10
            await reader.readexactly((8 << 20) - rest)
            await until(lambda: app.served == 1)
            await asyncio.sleep(0.5)
            assert len(await reader.readexactly(rest)) == rest
            writer.close()

    serve(app, scene)


@pytest.mark.parametrize("sent", [b"GARBAGE\r\n\r\n", b"\0" * 50 + b"\r\n\r\n", b"POST / HTTP/1.1\r\n: x\r\n\r\n"])
def test_what_is_no_http_is_a_problem(sent: bytes) -> None:
    async def scene(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert b"Content-Type: application/problem+json" in head
        assert b"X-Content-Type-Options: nosniff" in head
        assert f"Content-Length: {len(body)}".encode() in head
        problem = json.loads(body)
        assert (problem["type"], problem["status"]) == ("urn:photochrom:problem:malformed-request", 400)
        assert f"X-Request-ID: {problem['request_id']}".encode() in head
        writer.close()

    serve(App(), scene)


def test_garbage_in_a_body_under_way_breaks_the_connection() -> None:
    async def scene(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nno number\r\n")
        assert (await read_all(reader)).count(b"HTTP/1.1") == 1
        writer.close()

    serve(App(seconds=0.1), scene)


def chunked(parts: int, size: int) -> bytes:
    """Return a request whose body comes in so many parts of so many bytes."""
    head = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"%x\r\n%b\r\n" % (size, b"x" * size) * parts + b"0\r\n\r\n"


class Reader(App):
    """Reads all of a request, and says how much there was."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            size, more = size + len(message["body"]), message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"%d bytes" % size})


@pytest.mark.parametrize(
    ("parts", "size"), [(1, 300_000), (FREE_PARTS, 1), (3000, LEAST_PART_BYTES), (PARTS_A_TURN + 1, LEAST_PART_BYTES)]
)
def test_bodies_may_come_in_parts(parts: int, size: int) -> None:
    async def scene(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(chunked(parts, size))
        answer = await read_all(reader)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"%d bytes" % (parts * size) in answer
        writer.close()

    serve(Reader(), scene)


def test_parts_that_cost_more_than_they_carry_end_the_connection() -> None:
    async def scene(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(chunked(FREE_PARTS + 1, 1))
        answer = await read_all(reader)
        assert answer.startswith(b"HTTP/1.1 400")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["type"] == "urn:photochrom:problem:malformed-request"
        writer.close()
        other, more = await asyncio.open_connection("127.0.0.1", port)
        more.write(chunked(2, 5))
        assert b"10 bytes" in await read_all(other)
        more.close()

    serve(Reader(), scene)


def test_parts_are_taken_in_turns() -> None:
    parts = connection._Parts(h11.SERVER)
    parts.receive_data(chunked(3 * PARTS_A_TURN, LEAST_PART_BYTES))
    assert isinstance(parts.next_event(), h11.Request)
    for _ in range(2):
        parts.left, parts.has_more = PARTS_A_TURN, False
        taken = 0
        while (event := parts.next_event()) is not h11.NEED_DATA:
            assert isinstance(event, h11.Data)
            taken += 1
        assert (taken, parts.has_more) == (PARTS_A_TURN, True)


EXPECTS = b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        EXPECTS + b"ZZ\r\n",
        chunked(8000, LEAST_PART_BYTES)[:-5] + b"ZZ\r\n" + chunked(3000, LEAST_PART_BYTES),
        HEAD % 9 + b"123456789GARBAGE\r\n\r\n" + b"\0" * 70_000,
    ],
    ids=["expects", "many parts", "pipelined"],
)
def test_garbage_writes_no_traceback(sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        answer = await read_all(reader)
        assert answer.count(b"HTTP/1.1 400") <= 1
        await asyncio.sleep(0.05)
        writer.close()

    serve(Reader(), scene)
    assert not [record for record in caplog.records if record.exc_info or record.levelname == "ERROR"]


def test_a_connection_has_one_turn_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[float] = []
    longest = [0]
    go_on = Connection._go_on

    def count(self: Connection) -> None:
        turns.append(asyncio.get_running_loop().time())
        longest[0] = max(longest[0], len(self.conn._receive_buffer))
        go_on(self)

    monkeypatch.setattr(Connection, "_go_on", count)

    async def scene(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(chunked(20_000, LEAST_PART_BYTES))
        assert b"%d bytes" % (20_000 * LEAST_PART_BYTES) in await read_all(reader)
        writer.close()

    serve(Reader(), scene)
    assert len(turns) > 20_000 // PARTS_A_TURN - 50
    assert longest[0] < 1 << 20  # Nothing is read while there is enough.


def test_who_takes_steadily_is_not_taken_for_stalled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel says only after long that there is room again: what it has sent meanwhile counts."""
    monkeypatch.setattr(connection, "STALL_S", 0.3)
    app = App(answer=3 << 20)

    async def scene(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port)) as caller:
            caller.setblocking(False)
            reader, writer = await asyncio.open_connection(sock=caller, limit=4096)
            writer.write(HEAD % 1 + b"a")
            taken = 0
            while taken < 3 << 20:
                part = await reader.read(40_000)
                assert part, "cut off"
                taken += len(part)
                await asyncio.sleep(0.02)
            writer.close()

    serve(app, scene)
