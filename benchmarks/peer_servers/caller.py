"""Posts photographs to a server and notes how long each answer took: the caller's side of `benchmarks/peers.py`.

A process of its own that does as little as it can for each answer, since it runs on the cores of the server: HTTP/1.1
over asyncio's streams, requests made up before.

* closed loop: so many clients, each with a connection of its own, each posting the next picture when the last answer
  is there;
* open loop: pictures are posted at a rate, whether or not there was an answer, and the time counts from when each was
  due.

What it is asked for comes as JSON on the command line, see `Order`; what it found goes to stdout as JSON.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

BOUNDARY = "photograph-7d1c4f0a"
CHUNK_BYTES = 1 << 20
PAUSE_S = 0.05
"""How long a client waits after a refusal: they come at once, and asking again at once keeps a core busy."""


class BrokenAnswer(Exception):
    """What came back is no whole HTTP answer."""


@dataclass(frozen=True)
class Order:
    """What to do.

    Attributes:
        port: of the server, on this machine.
        path: of the route.
        pictures: files to post, in turns.
        seconds: how long to go on posting.
        clients: of a closed loop; 0 for an open one.
        rate: of an open loop, pictures a second.
        timeout_s: longest wait for an answer, seconds.
    """

    port: int
    path: str
    pictures: list[str]
    seconds: float
    clients: int = 0
    rate: float = 0.0
    timeout_s: float = 120.0


@dataclass
class Found:
    """What came back.

    Attributes:
        seconds: from the first request to the last answer.
        took_s: of each good answer, seconds.
        outcomes: how often each status, or error, came.
        bytes: of the good answers' bodies, all together.
    """

    seconds: float = 0.0
    took_s: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    bytes: int = 0


def request(picture: bytes, order: Order) -> bytes:
    """Return a whole HTTP request that posts a JPEG as the field `image` of a form."""
    body = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="photograph.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    ).encode()
    body += picture + f"\r\n--{BOUNDARY}--\r\n".encode()
    head = (
        f"POST {order.path} HTTP/1.1\r\nHost: 127.0.0.1:{order.port}\r\nAccept: */*\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Connection:
    """A connection that stays open from one request to the next."""

    def __init__(self, port: int) -> None:
        """Take note of the port; the first request connects."""
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, data: bytes) -> tuple[int, bytes]:
        """Send a request; return the status and the body.

        Raises:
            OSError: the server cannot be reached, or hung up.
            BrokenAnswer: the answer is cut off, or no HTTP.
        """
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=CHUNK_BYTES)
        reader, writer = self._streams
        try:
            writer.write(data)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            first, *lines = head.split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines if ": " in line)
            body = await self._body(reader, headers)
            status = int(first.split()[1])
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, IndexError) as error:
            self.close()
            raise BrokenAnswer(str(error)) from error
        except BaseException:
            self.close()
            raise
        if headers.get("connection") == "close":
            self.close()
        return status, body

    @staticmethod
    async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") != "chunked":
            return await reader.readexactly(int(headers.get("content-length", "0")))
        parts = []
        while length := int((await reader.readline()).split(b";")[0], 16):
            parts.append(await reader.readexactly(length))
            await reader.readexactly(2)
        await reader.readline()
        return b"".join(parts)

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def post_once(data: bytes, order: Order) -> tuple[int, bytes]:
    """Send one request over a connection of its own; return the status and the body.

    Raises:
        OSError: the server cannot be reached, or hung up.
        TimeoutError: it does not answer.
        BrokenAnswer: the answer is cut off, or no HTTP.
    """
    connection = Connection(order.port)
    try:
        async with asyncio.timeout(order.timeout_s):
            return await connection.post(data)
    finally:
        connection.close()
        await asyncio.sleep(0)  # Only now is the socket closed.


async def ask(connection: Connection, data: bytes, order: Order, since: float, found: Found) -> bool:
    """Post one picture, and note what came back; return whether it is a picture."""
    try:
        async with asyncio.timeout(order.timeout_s):
            status, body = await connection.post(data)
    except (OSError, TimeoutError, BrokenAnswer) as error:
        found.outcomes[type(error).__name__] += 1
        return False
    found.outcomes[str(status)] += 1
    if status == 200:
        found.took_s.append(time.perf_counter() - since)
        found.bytes += len(body)
    return status == 200


async def closed_loop(requests: list[bytes], order: Order) -> Found:
    """Let clients ask, each the next thing when the last is answered."""
    found, started = Found(), time.perf_counter()

    async def client(number: int) -> None:
        connection = Connection(order.port)
        turn = number
        while time.perf_counter() < started + order.seconds:
            before = found.outcomes["200"]
            await ask(connection, requests[turn % len(requests)], order, time.perf_counter(), found)
            turn += 1
            if (
                found.outcomes["200"] == before
            ):  # A refusal comes at once; whoever asks again at once keeps a core busy.
                await asyncio.sleep(0.05)
        connection.close()

    await asyncio.gather(*(client(number) for number in range(order.clients)))
    found.seconds = time.perf_counter() - started
    return found


async def open_loop(requests: list[bytes], order: Order) -> Found:
    """Ask at a constant rate."""
    found, started = Found(), time.perf_counter()
    idle: list[Connection] = []

    async def one(number: int, due: float) -> None:
        connection = idle.pop() if idle else Connection(order.port)
        await ask(connection, requests[number % len(requests)], order, due, found)
        idle.append(connection)

    async with asyncio.TaskGroup() as group:
        for number in range(max(round(order.seconds * order.rate), 1)):
            due = started + number / order.rate
            await asyncio.sleep(max(due - time.perf_counter(), 0))
            group.create_task(one(number, due))
    for connection in idle:
        connection.close()
    found.seconds = time.perf_counter() - started
    return found


def main() -> None:
    """Do what the command line says."""
    order = Order(**json.loads(sys.argv[1]))
    requests = [request(Path(picture).read_bytes(), order) for picture in order.pictures]
    found = asyncio.run((closed_loop if order.clients else open_loop)(requests, order))
    sys.stdout.write(json.dumps(vars(found)))


if __name__ == "__main__":
    main()
