"""Callers who cost more than they bring, and what is left for the others.

Four scenes, each against a service of its own, hostile callers from 127.0.0.1 and an ordinary one from 127.0.0.2:

- `costly`: eight callers send pictures whose decoding goes over a limit that is made small for it; each has to end in
  413, and an ordinary picture has to take at most 1.5 times what it takes alone. Then one caller does: each of its
  pictures has to end within the limit and a second, though it only gets the time that the ordinary one leaves.
- `dribble`: twelve connections send bodies in one-byte chunks; liveness has to answer within 250 ms, pictures within
  twice their time alone (99th percentiles).
- `slow_readers`: eight callers take large answers at 90 kB/s; the others have to get at least 0.9 of their pictures a
  second alone, and the bytes held have to stay below their limit.
- `large`: sixteen callers, each from an address of its own, send 40 megapixels over and over; a picture of 0.1 has to
  take at most five times its time alone plus one large picture (99th percentile), and at most one in a hundred large
  ones may be computed and then be too late.

    python benchmarks/hostile_callers.py --rounds 30

A round is a second of each scene. Exit status 1 if a promise is not kept.
"""

import argparse
import asyncio
import json
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import cv2
import httpx2
import numpy as np
from overload import quantile, serving

OTHER: Final = "127.0.0.2"
HELD_BYTES: Final = 128 << 20
SLOW_BYTES_S: Final = 90_000
COSTLY: Final = (
    "import service.pictures.worker.allowance as a; assert a.CPU_S_A_MEGAPIXEL; a.CPU_S_A_MEGAPIXEL = 0.001; "
)
"""Runs before the service in the scene `costly`: ordinary pictures become costly ones."""
LIMIT_S: Final = 0.02

COSTLY_S: Final = 1.016
"""A second, and what sixteen megapixels get beside the limit."""

Scene = Callable[[str, float], Awaitable[dict[str, Any]]]


def picture(megapixels: float, *, noise: bool = False, suffix: str = ".jpg") -> bytes:
    """Return a square gray picture."""
    side = round((megapixels * 1e6) ** 0.5)
    grain = np.random.default_rng(1).integers(0, 256, (side, side) if noise else (16, 16), np.uint8)
    return bytes(cv2.imencode(suffix, cv2.resize(grain, (side, side), interpolation=cv2.INTER_CUBIC))[1])


def caller(address: str, place: str = "127.0.0.1") -> httpx2.AsyncClient:
    """Return a client that calls from an address of this machine."""
    return httpx2.AsyncClient(
        base_url=address, timeout=120, transport=httpx2.AsyncHTTPTransport(local_address=place, limits=httpx2.Limits())
    )


async def post(client: httpx2.AsyncClient, data: bytes, query: str = "?format=jpeg") -> tuple[int, float]:
    """Post a picture; return status and seconds."""
    began = time.perf_counter()
    answer = await client.post(f"/colorize{query}", content=data, headers={"Content-Type": "image/jpeg"})
    return answer.status_code, time.perf_counter() - began


async def one_after_the_other(client: httpx2.AsyncClient, data: bytes, seconds: float) -> tuple[list[float], int]:
    """Post a picture again and again; return the seconds of each that was colored, and how many were not."""
    took, refused, ends = [], 0, time.perf_counter() + seconds
    while time.perf_counter() < ends:
        status, seconds_of_one = await post(client, data)
        if status == 200:
            took.append(seconds_of_one)
        else:
            refused += 1
            await asyncio.sleep(0.05)
    return took, refused


async def beside(scene: str, address: str, work: Coroutine[Any, Any, Any], *, after_s: float = 1.0) -> Any:
    """Return what the work gives while hostile callers are at it in a process of their own, and what came back to them.

    They are on other machines in real life: here they get what the service and the ordinary caller leave of the cores.
    """
    command = ("nice", "-n", "19", sys.executable, __file__, "--hostile", scene, address)
    callers = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert callers.stdout is not None
    await callers.stdout.readline()  # They call by now, and SIGTERM is understood.
    await asyncio.sleep(after_s)
    try:
        result = await work
    finally:
        callers.terminate()
        told, _ = await callers.communicate()
    return result, json.loads(told)


async def metric(client: httpx2.AsyncClient, pattern: str) -> float:
    """Return the sum of the metrics that match."""
    text = (await client.get("/metrics")).text
    return sum(float(value) for value in re.findall(rf"^{pattern} (\S+)$", text, re.MULTILINE))


class Hostile:
    """The hostile callers of each scene."""

    def __init__(self, address: str) -> None:
        """Remember whom to call."""
        self.address = address
        self.host, _, self.port = address.removeprefix("http://").partition(":")
        self.statuses: Counter[int] = Counter()
        self.longest_s = 0.0

    async def call(self, scene: str) -> None:
        """Call until SIGTERM, then say what came back; an empty line says that it has begun."""
        tasks = [asyncio.create_task(each) for each in getattr(self, scene)()]
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: [task.cancel() for task in tasks])
        sys.stdout.write("\n")
        sys.stdout.flush()
        await asyncio.gather(*tasks, return_exceptions=True)
        sys.stdout.write(json.dumps({"statuses": dict(sorted(self.statuses.items())), "longest_s": self.longest_s}))

    def costly(self) -> list[Coroutine[Any, Any, None]]:
        """Pictures that go over their limit."""
        data = picture(16, suffix=".png")
        return [self._post(data) for _ in range(8)]

    def one_costly(self) -> list[Coroutine[Any, Any, None]]:
        """The same, one after the other."""
        return [self._post(picture(16, suffix=".png"))]

    def large(self) -> list[Coroutine[Any, Any, None]]:
        """Large pictures, from an address each."""
        data = picture(40)
        return [self._post(data, f"127.0.1.{number}") for number in range(1, 17)]

    def dribble(self) -> list[Coroutine[Any, Any, None]]:
        """Bodies in one-byte chunks."""
        return [self._dribble() for _ in range(12)]

    def slow_readers(self) -> list[Coroutine[Any, Any, None]]:
        """Answers that are taken slowly."""
        data = picture(12, noise=True)
        fields = ("Host: x", "Content-Type: image/jpeg", f"Content-Length: {len(data)}", "", "")
        request = "\r\n".join(("POST /colorize?format=png HTTP/1.1", *fields)).encode() + data
        return [self._take_slowly(request) for _ in range(8)]

    async def _post(self, data: bytes, place: str = "127.0.0.1") -> None:
        async with caller(self.address, place) as client:
            while True:
                try:
                    status, took = await post(client, data)
                except httpx2.HTTPError:
                    status, took = 0, 0.0
                self.statuses[status] += 1
                if status == 413:
                    self.longest_s = max(self.longest_s, round(took, 3))
                if status in (0, 503):
                    await asyncio.sleep(0.05)

    async def _dribble(self) -> None:
        head = b"POST /health/live HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection(self.host, int(self.port))
                writer.write(head)
                while True:
                    writer.write(b"1\r\nx\r\n" * 100)
                    await writer.drain()
                    await asyncio.sleep(0)
            self.statuses[0] += 1

    async def _take_slowly(self, request: bytes) -> None:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection(self.host, int(self.port), limit=1 << 14)
            writer.write(request)
            while await reader.read(SLOW_BYTES_S // 10):
                await asyncio.sleep(0.1)
            writer.close()
        self.statuses[0] += 1  # Refused, or cut off.


async def costly(address: str, seconds: float) -> dict[str, Any]:
    """Pictures that go over their limit, beside ordinary ones."""
    ordinary = picture(0.04)
    async with caller(address, OTHER) as client:
        await one_after_the_other(client, ordinary, 1)
        alone, _ = await one_after_the_other(client, ordinary, seconds)
        work = one_after_the_other(client, ordinary, seconds)
        (crowded, refused), hostile = await beside("costly", address, work)
        _, one = await beside("one_costly", address, one_after_the_other(client, ordinary, seconds / 2))
    median = {"alone": quantile(alone, 0.5), "beside": quantile(crowded, 0.5)}
    ratio = (median["beside"] or 99) / (median["alone"] or 1)
    ended = all(set(each["statuses"]) <= {"413", "503"} and each["statuses"].get("413") for each in (hostile, one))
    return {
        "median_s": median,
        "ratio": round(ratio, 3),
        "refused": refused,
        "hostile": hostile,
        "one_costly": one,
        "kept": ratio <= 1.5 and not refused and ended and one["longest_s"] <= LIMIT_S + COSTLY_S,
    }


async def dribble(address: str, seconds: float) -> dict[str, Any]:
    """Bodies in one-byte chunks, beside probes and pictures."""

    async def probe(ends: float) -> list[float]:
        took = []
        async with caller(address, OTHER) as client:
            while time.perf_counter() < ends:
                began = time.perf_counter()
                await client.get("/health/live")
                took.append(time.perf_counter() - began)
                await asyncio.sleep(0.05)
        return took

    async with caller(address, OTHER) as client:
        data = picture(0.25)

        async def both() -> tuple[list[float], tuple[list[float], int]]:
            return await asyncio.gather(
                probe(time.perf_counter() + seconds), one_after_the_other(client, data, seconds)
            )

        await one_after_the_other(client, data, 1)
        _, (alone, _) = await both()
        (probes, (crowded, refused)), hostile = await beside("dribble", address, both())
    p99 = {"alone": quantile(alone, 0.99), "beside": quantile(crowded, 0.99), "liveness": quantile(probes, 0.99)}
    ratio = (p99["beside"] or 99) / (p99["alone"] or 1)
    return {
        "p99_s": p99,
        "ratio": round(ratio, 3),
        "refused": refused,
        "hostile": hostile,
        "kept": (p99["liveness"] or 9) <= 0.25 and ratio <= 2 and not refused,
    }


async def slow_readers(address: str, seconds: float) -> dict[str, Any]:
    """Callers who take their answers slowly, beside ordinary ones."""
    held: list[float] = []
    small = picture(0.25)

    async def watch() -> None:
        async with caller(address, OTHER) as client:
            while True:
                held.append(await metric(client, "photochrom_held_bytes"))
                await asyncio.sleep(0.1)

    async def goodput(client: httpx2.AsyncClient) -> tuple[float, int]:
        began = time.perf_counter()
        done = await asyncio.gather(*(one_after_the_other(client, small, seconds) for _ in range(2)))
        return sum(len(took) for took, _ in done) / (time.perf_counter() - began), sum(count for _, count in done)

    async with caller(address, OTHER) as client:
        watching = asyncio.create_task(watch())
        await one_after_the_other(client, small, 1)
        alone, _ = await goodput(client)
        # By then all have their answers made.
        (crowded, refused), hostile = await beside("slow_readers", address, goodput(client), after_s=15)
        watching.cancel()
    ratio = crowded / alone
    return {
        "per_s": {"alone": round(alone, 2), "beside": round(crowded, 2)},
        "ratio": round(ratio, 3),
        "refused": refused,
        "held_bytes": {"most": max(held), "limit": HELD_BYTES},
        "hostile": hostile,
        "kept": ratio >= 0.9 and max(held) <= HELD_BYTES,
    }


async def large(address: str, seconds: float) -> dict[str, Any]:
    """Sixteen callers with large pictures, beside one with small ones."""
    small = picture(0.1)
    async with caller(address, OTHER) as client:
        await one_after_the_other(client, small, 1)
        alone, _ = await one_after_the_other(client, small, seconds)
        _, one_large = await post(client, picture(40))
        work = one_after_the_other(client, small, 3 * seconds)
        (crowded, refused), hostile = await beside("large", address, work, after_s=4)
        late = await metric(client, 'photochrom_late_total\\{where="(?:decode|queue|infer|merge|encode)"\\}')
    p99 = {"alone": quantile(alone, 0.99), "beside": quantile(crowded, 0.99)}
    allowed = 5 * (p99["alone"] or 0) + one_large
    return {
        "p99_s": p99,
        "median_s": {"alone": quantile(alone, 0.5), "beside": quantile(crowded, 0.5)},
        "one_large_s": round(one_large, 3),
        "allowed_s": round(allowed, 3),
        "refused": refused,
        "hostile": hostile,
        "computed_in_vain": late,
        "kept": (p99["beside"] or 99) <= allowed
        and not refused
        and late <= 0.01 * max(sum(hostile["statuses"].values()), 1),
    }


SCENES: Final[dict[str, tuple[Scene, dict[str, Any], str]]] = {
    "costly": (costly, {"decode_s": LIMIT_S}, COSTLY),
    "dribble": (dribble, {}, ""),
    "slow_readers": (slow_readers, {"max_held_bytes": HELD_BYTES}, ""),
    "large": (large, {"deadline_s": 30}, ""),
}


def main() -> int:
    """Measure, print and write the result; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=float, default=30, help="seconds of each scene")
    parser.add_argument("--scenes", nargs="+", choices=SCENES, default=list(SCENES))
    parser.add_argument("--output", type=Path, help="write the result to this file, too")
    parser.add_argument("--hostile", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.hostile:
        asyncio.run(Hostile(options.hostile[1]).call(options.hostile[0]))
        return 0
    result: dict[str, Any] = {}
    for name in options.scenes:
        scene, settings, prelude = SCENES[name]
        with serving(settings, prelude) as (address, _):
            result[name] = asyncio.run(scene(address, options.rounds))
    result["kept"] = {name: result[name].pop("kept") for name in options.scenes}
    text = json.dumps(result, indent=2) + "\n"
    sys.stdout.write(text)
    if options.output:
        options.output.write_text(text)
    return 0 if all(result["kept"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
