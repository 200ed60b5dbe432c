"""Throws broken pictures at the header probe and the decoders: `python -m tests.fuzz_pictures --executions 1000000`.

Each execution takes a small valid picture of some format and damages it: flipped bits, wrong lengths, cut or repeated
blocks, pieces of another format, PNG chunks and TIFF tags changed with their checksums made right again. The promise:
a `RequestError` with a status of 4xx or a decoded picture of the announced size, within a second of CPU time, and
memory that does not grow.
The work is done in processes, so that a crash of a decoder is seen and its input kept.

Deterministic: execution number n of a seed is the same everywhere. Ends with 1 when a promise is broken; what broke it
lies in the folder `--keep`.
"""

import argparse
import asyncio
import io
import json
import mmap
import multiprocessing
import multiprocessing.connection
import os
import random
import resource
import struct
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import imagecodecs
import numpy as np
import pillow_heif
import tifffile
from PIL import Image

from service.errors import RequestError
from service.pictures.decode import Picture, decode, prepare_codecs
from service.pictures.header import Header
from service.pictures.probe import probe
from service.pictures.worker.pool import DecodePool
from tests.formats.jxl_profiles import made_of_jpeg, with_profile
from tests.pictures import bomb_png, by_opencv, by_pillow, icc_profile, levels, png_chunk, smooth_gray, with_orientation
from tests.tiffs import tiff

MAX_MEGAPIXELS: Final = 1.0
MAX_SECONDS: Final = 1.0
"""On a machine with other work a process may be off the CPU for a while: what counts is CPU time."""
MAX_GROWTH_MB: Final = 128
"""Peak memory above that of the start; a decoded megapixel takes 12 at most."""
INPUT_BYTES: Final = 1 << 20
INTERESTING: Final = (
    0,
    1,
    2,
    7,
    8,
    15,
    16,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
)
EXIF: Final = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
"""Nothing but an orientation."""
PNG_END: Final = png_chunk(b"IEND", b"")
CHUNK: Final = 1000
"""Executions handed to a process at a time."""


def seeds() -> list[bytes]:
    """Return small valid pictures of every kind that is read, and some that are refused."""
    gray, color, alpha = smooth_gray(16, 24), levels(12, 16, 3), levels(12, 16, 4)
    deep = smooth_gray(16, 24, dtype=np.uint16)
    image = Image.fromarray(color)
    made = [by_pillow(picture, kind) for kind in ("JPEG", "PNG", "WEBP", "TIFF", "BMP") for picture in (gray, color)]
    made += [by_pillow(alpha, kind) for kind in ("PNG", "WEBP", "TIFF")]
    made += [by_opencv(deep, suffix) for suffix in (".png", ".tif")]
    made += [by_opencv(levels(9, 8, 3, dtype=np.uint16), suffix) for suffix in (".png", ".tif")]
    made += [by_pillow(image, "JPEG", progressive=True), by_pillow(image.convert("CMYK"), "JPEG")]
    made += [by_pillow(image.quantize(16), "PNG"), by_pillow(image.convert("1"), "PNG")]
    made += [by_pillow(image.convert("1"), "TIFF"), by_pillow(image.convert("CMYK"), "TIFF")]
    made += [
        by_pillow(image, "TIFF", compression=kind) for kind in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")
    ]
    made += [with_orientation(gray, 6), with_orientation(color, 5, "PNG"), with_orientation(gray, 3, "TIFF")]
    made += [by_pillow(image, "PNG", icc_profile=icc_profile(kind)) for kind in ("gamma1", "gray1")]
    made += [by_pillow(image, "WEBP", save_all=True, append_images=[image.rotate(90)]), by_pillow(image, "GIF")]
    made += [by_pillow(image, "TIFF", save_all=True, append_images=[image]), bomb_png(4000)]
    made += [by_pillow(color, kind) for kind in ("GIF", "JPEG2000", "AVIF", "PPM")]
    made += [bytes(imagecodecs.jpeg8_encode(deep >> 4, bitspersample=12)), by_pillow(alpha, "AVIF", exif=EXIF)]
    made += [bytes(imagecodecs.jpeg8_encode(deep, lossless=True)), by_opencv(deep, ".pgm"), by_opencv(color, ".pam")]
    made += [bytes(imagecodecs.jpeg2k_encode(deep, codecformat=kind, reversible=True)) for kind in ("jp2", "j2k")]
    made += [bytes(imagecodecs.jpegxl_encode(picture, numthreads=1)) for picture in (color, alpha, deep)]
    made += [bytes(imagecodecs.jpegxl_encode(alpha, lossless=True, usecontainer=True, numthreads=1)), heic(color)]
    made += [with_profile(color, icc_profile("gamma1")), made_of_jpeg(by_pillow(image, "JPEG"))]
    made += [b"P2 3 2 100\n1 2 3\n40 50 100\n", by_pillow(color, "PNG")[:-12] + png_chunk(b"eXIf", EXIF) + PNG_END]
    made += [tiff(color), tiff(deep, rows=5), tiff(levels(9, 8, 3, dtype=np.uint16), order=">", compression="lzw")]
    made += _tiffs()
    return made


def heic(pixels: np.ndarray) -> bytes:
    """Return a HEIC."""
    stream = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(pixels)).save(stream, quality=90)
    return stream.getvalue()


def _tiffs() -> list[bytes]:
    """Return TIFFs of every way that they are read."""
    gray, color, alpha = smooth_gray(16, 24), levels(12, 16, 3), levels(12, 16, 4)
    deep = smooth_gray(16, 24, dtype=np.uint16)
    bilevel = Image.fromarray(gray > 99)
    floats = (color / 255).astype(np.float32)
    made = [by_pillow(bilevel, "TIFF", compression=kind) for kind in ("tiff_ccitt", "group3", "group4")]
    made += [tiff(deep >> 4, planes=False, bits=12), tiff(color >> 4, bits=4, tile=16), tiff(deep, big=True, order=">")]
    made += [tiff(alpha, tags={262: [5], 338: None}), tiff(alpha, planes=False, tags={338: [1]})]
    made += [tiff(color, tags={262: [photometric]}) for photometric in (6, 8, 9)]
    made += [tiff(color, planes=False, tags={262: [6], 530: [1, 1]}), tiff(gray, pages=3)]
    made += [
        tiff(gray, tags={262: [3], 320: list(range(768))}),
        tiff(color, planes=False, tags={34675: icc_profile("srgb")}),
    ]
    linear = {262: [34892], 50706: bytes([1, 4, 0, 0]), 50714: [9], 50717: [65535], 50728: [0.5, 1.0, 0.7]}
    made += [tiff(levels(9, 8, 3, dtype=np.uint16), planes=False, tags=linear | {50721: [0.9, 0.1, 0.0] * 3})]
    for stored, codecs in (
        (color, ("jpeg", "jpeg2000", "jpegxl", "webp", "zstd", "lzma", "lerc")),
        (floats, ("zstd", "lerc")),
    ):
        made += [by_tifffile(stored, compression=codec) for codec in codecs]
    made += [by_tifffile(floats.astype(dtype), compression="zlib", predictor=3) for dtype in (np.float16, np.float64)]
    made += [by_tifffile(color, tile=(16, 16), compression="jpeg"), by_tifffile(color, compression="zlib", predictor=2)]
    made += [_with_thumbnail(deep)]
    return made


def by_tifffile(pixels: np.ndarray, **options: Any) -> bytes:
    """Encode with tifffile."""
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, photometric="rgb", metadata=None, **options)
    return stream.getvalue()


def _with_thumbnail(pixels: np.ndarray) -> bytes:
    """Write a picture below its thumbnail."""
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        writer.write(pixels[::4, ::4].copy(), photometric="minisblack", subfiletype=1, subifds=1, metadata=None)
        writer.write(pixels, photometric="minisblack", subfiletype=0, metadata=None)
    return stream.getvalue()


# ----------------------------------------------------------------------------------------------------------- mutations


def _place(data: bytearray, chance: random.Random) -> int:
    """Return a place, more often one near the start, where headers are."""
    reach = len(data) if chance.random() < 0.5 else min(len(data), 64)
    return chance.randrange(max(reach, 1))


def _flip(data: bytearray, chance: random.Random, _others: list[bytes]) -> None:
    for _ in range(chance.choice((1, 1, 2, 8, 64))):
        if data:
            data[_place(data, chance)] ^= 1 << chance.randrange(8)


def _number(data: bytearray, chance: random.Random, _others: list[bytes]) -> None:
    size = chance.choice((1, 2, 4))
    value = (chance.choice(INTERESTING) + chance.choice((-1, 0, 0, 1))) % (1 << 8 * size)
    place = _place(data, chance)
    data[place : place + size] = value.to_bytes(size, chance.choice(("big", "little")))


def _cut(data: bytearray, chance: random.Random, _others: list[bytes]) -> None:
    del data[_place(data, chance) :]


def _delete(data: bytearray, chance: random.Random, _others: list[bytes]) -> None:
    place = _place(data, chance)
    del data[place : place + chance.choice((1, 2, 4, 16, 200))]


def _repeat(data: bytearray, chance: random.Random, _others: list[bytes]) -> None:
    place = _place(data, chance)
    block = bytes(data[place : place + chance.choice((1, 4, 12, 100))])
    data[place:place] = block * chance.choice((1, 2, 30, 500))


def _splice(data: bytearray, chance: random.Random, others: list[bytes]) -> None:
    other = chance.choice(others)
    start = chance.randrange(len(other))
    data[_place(data, chance) :] = other[start:]


def _noise(data: bytearray, chance: random.Random, _others: list[bytes]) -> None:
    place = _place(data, chance)
    data[place : place + chance.choice((1, 4, 32))] = chance.randbytes(chance.choice((1, 4, 32, 300)))


def _png_chunk(data: bytearray, chance: random.Random, others: list[bytes]) -> None:
    """Damage a PNG's chunk and make its checksum right again, so that the damage is looked at."""
    chunks, place = [], 8
    while data.startswith(b"\x89PNG") and place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        chunks.append((bytes(data[place + 4 : place + 8]), data[place + 8 : place + 8 + length]))
        place += 12 + length
    if not chunks:
        _flip(data, chance, others)
        return
    number = chance.randrange(len(chunks))
    kind, body = chunks[number]
    if kind == b"IDAT" and chance.random() < 0.5:
        body = bytearray(zlib.compress(chance.randbytes(chance.choice((0, 10, 1000)))))
    else:
        chance.choice((_flip, _number, _delete, _noise))(body, chance, others)
    chunks[number] = (chance.choice((kind, kind, kind, b"iCCP", b"eXIf", b"tRNS", b"PLTE", b"acTL")), body)
    if chance.random() < 0.2:
        chance.shuffle(chunks)
    data[8:] = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + bytes(body)))
        for kind, body in chunks
    )


def _tiff_tag(data: bytearray, chance: random.Random, others: list[bytes]) -> None:
    """Change one field of one tag of a TIFF's directory."""
    if data[:4] != b"II*\0" or len(data) < 8:
        _flip(data, chance, others)
        return
    (directory,) = struct.unpack_from("<I", data, 4)
    if directory + 2 > len(data):
        return
    (count,) = struct.unpack_from("<H", data, directory)
    entry = directory + 2 + 12 * chance.randrange(max(min(count, 50), 1))
    offset, form = chance.choice(((0, "<H"), (2, "<H"), (4, "<I"), (8, "<I"), (8, "<I")))
    if entry + 12 <= len(data):
        value = chance.choice((*INTERESTING, 3, 4, 5, 6, 32773, 50000, len(data)))
        struct.pack_into(form, data, entry + offset, value % (1 << 8 * struct.calcsize(form)))


MUTATIONS: Final[tuple[Callable[[bytearray, random.Random, list[bytes]], None], ...]] = (
    *(_flip, _number, _number, _cut, _delete, _repeat, _splice, _noise, _png_chunk, _png_chunk, _tiff_tag, _tiff_tag),
)


def make_input(pool: list[bytes], seed: int, number: int) -> bytes:
    """Return the input of one execution.

    Args:
        pool: from `seeds`.
        seed: of the whole session.
        number: of the execution.
    """
    chance = random.Random(f"{seed} {number}")
    data = bytearray(chance.choice(pool))
    for _ in range(chance.choice((1, 1, 2, 3, 6))):
        chance.choice(MUTATIONS)(data, chance, pool)
    return bytes(data[:INPUT_BYTES])


# ----------------------------------------------------------------------------------------------------------- execution


def execute(data: bytes) -> str:
    """Probe and decode one input.

    Returns:
        What came of it: the name of a problem, or `decoded`.

    Raises:
        AssertionError: the promise is broken.
    """
    started = time.process_time()
    try:
        header = probe(data, max_megapixels=MAX_MEGAPIXELS)
        picture = decode(data, header)
    except RequestError as error:
        status, outcome = error.status, error.name
    else:
        status, outcome = 400, "decoded"
        upright = (header.height, header.width) if header.orientation < 5 else (header.width, header.height)
        assert (picture.height, picture.width) == upright, "another size than announced"
        assert picture.pixels.dtype in (np.uint8, np.uint16), "strange pixels"
    assert 400 <= status < 500, f"status {status}"
    took = time.process_time() - started
    assert took < MAX_SECONDS, f"took {took:.1f} s"
    return outcome


def work(seed: int, connection: Any, path: str) -> None:
    """Execute the chunks that are asked for; what is under way can be read from the shared file.

    Args:
        seed: of the session.
        connection: gives (first, stop) of a chunk, or None for the end; takes what came of it.
        path: of the shared file.
    """
    # Decoders tell of each broken file on stderr.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    prepare_codecs()
    pool = seeds()
    with Path(path).open("r+b") as file:
        shared = mmap.mmap(file.fileno(), 0)
    for data in pool:
        execute(data)
    start_mb, growth_mb = _peak_mb(), 0.0
    connection.send(None)
    while (numbers := connection.recv()) is not None:
        outcomes: Counter[str] = Counter()
        broken: list[tuple[int, str]] = []
        slowest = 0.0
        for number in range(*numbers):
            data = make_input(pool, seed, number)
            shared[: 8 + len(data)] = struct.pack("<II", number % (1 << 32), len(data)) + data
            started = time.process_time()
            try:
                outcomes[execute(data)] += 1
            except Exception as error:  # Anything but a RequestError breaks the promise.
                broken.append((number, f"{type(error).__name__}: {error}"))
            slowest = max(slowest, time.process_time() - started)
            growth_mb, before_mb = _peak_mb() - start_mb, growth_mb
            if growth_mb > MAX_GROWTH_MB and growth_mb > before_mb:
                broken.append((number, f"peak memory grew from {before_mb:.0f} to {growth_mb:.0f} MB above the start"))
        connection.send((outcomes, broken, slowest, growth_mb))


def work_through_workers(seed: int, connection: Any, path: str) -> None:
    """Execute as the service does: decoding in a process that is ended when it takes too much. See `work`."""
    loop = asyncio.new_event_loop()
    losses: list[str] = []
    pool = DecodePool(1, cpu_s=MAX_SECONDS, on_loss=losses.append)

    def decode_in_worker(data: bytes, header: Header) -> Picture:
        try:
            return loop.run_until_complete(pool.decode(data, header))
        finally:
            while losses:
                if (reason := losses.pop()) != "time":
                    raise AssertionError(f"a worker was lost: {reason}")

    globals()["decode"] = decode_in_worker
    work(seed, connection, path)
    pool.close()


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Fuzzer:
    """Hands out executions to processes and collects what came of them."""

    def __init__(self, *, seed: int, keep: Path, work: Callable[[int, Any, str], None] = work) -> None:
        """Start without any.

        Args:
            seed: of all chance.
            keep: folder for inputs that break the promise.
            work: what the processes run.
        """
        self._seed, self._keep, self._work = seed, keep, work
        self.outcomes: Counter[str] = Counter()
        self.broken: list[str] = []
        self.slowest_s = self.growth_mb = 0.0

    def run(self, first: int, executions: int, *, processes: int, report: Callable[[int], None]) -> None:
        """Execute numbers first to first + executions - 1.

        Args:
            first: number of the first.
            executions: how many.
            processes: at once.
            report: told how many are done.
        """
        self._keep.mkdir(parents=True, exist_ok=True)
        context = multiprocessing.get_context("spawn")
        chunks = [(n, min(n + CHUNK, first + executions)) for n in range(first, first + executions, CHUNK)][::-1]
        workers = [self._start(context, number) for number in range(min(processes, len(chunks)))]
        done, under_way = 0, {}
        while chunks or under_way:
            for worker in workers:
                if worker not in under_way and chunks:
                    under_way[worker] = chunks.pop()
                    worker.ask(under_way[worker])
            ready = multiprocessing.connection.wait([worker.connection for worker in under_way])
            for worker in [worker for worker in under_way if worker.connection in ready]:
                start, stop = under_way.pop(worker)
                try:
                    outcomes, broken, slowest, growth = worker.connection.recv()
                except EOFError:
                    number, data = worker.last_input()
                    self._note(number, f"the process died: exit status {worker.status()}", data)
                    workers[workers.index(worker)] = self._start(context, worker.number)
                    chunks.append((number + 1, stop)) if number + 1 < stop else None
                    done += number - start + 1
                    continue
                self.outcomes += outcomes
                self.slowest_s, self.growth_mb = max(self.slowest_s, slowest), max(self.growth_mb, growth)
                for number, reason in broken:
                    self._note(number, reason, make_input(seeds(), self._seed, number))
                done += stop - start
                report(done)
        for worker in workers:
            worker.stop()

    def _start(self, context: Any, number: int) -> "_Worker":
        return _Worker(context, self._work, self._seed, number, self._keep / f"current-{number}")

    def _note(self, number: int, reason: str, data: bytes) -> None:
        path = self._keep / f"broken-{self._seed}-{number}"
        path.write_bytes(data)
        self.broken.append(f"{path}: {reason}")


class _Worker:
    def __init__(self, context: Any, work: Callable[..., None], seed: int, number: int, path: Path) -> None:
        self.number, self._path = number, path
        path.write_bytes(bytes(8 + INPUT_BYTES))
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=work, args=(seed, theirs, str(path)), daemon=True)
        self._process.start()
        theirs.close()
        self.connection.recv()

    def ask(self, numbers: tuple[int, int]) -> None:
        self.connection.send(numbers)

    def last_input(self) -> tuple[int, bytes]:
        stored = self._path.read_bytes()
        number, length = struct.unpack_from("<II", stored)
        return number, stored[8 : 8 + length]

    def status(self) -> Any:
        self._process.join()
        return self._process.exitcode

    def stop(self) -> None:
        self.connection.send(None)
        self._process.join()
        self._path.unlink()


def main() -> int:
    """Run from the command line; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--executions", type=int, default=1_000_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first execution")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"), help="folder for what breaks the promise")
    parser.add_argument("--in-process", action="store_true", help="decode without the service's workers")
    options = parser.parse_args()
    fuzzer = Fuzzer(seed=options.seed, keep=options.keep, work=work if options.in_process else work_through_workers)
    started = time.monotonic()

    def report(done: int) -> None:
        if done % (50 * CHUNK) == 0:
            sys.stderr.write(f"{done} executions, {done / (time.monotonic() - started):.0f}/s\n")

    fuzzer.run(options.first, options.executions, processes=options.processes, report=report)
    result = {
        "seed": options.seed,
        "executions": sum(fuzzer.outcomes.values()) + len(fuzzer.broken),
        "outcomes": dict(fuzzer.outcomes.most_common()),
        "slowest_s": round(fuzzer.slowest_s, 3),
        "growth_mb": round(fuzzer.growth_mb, 1),
        "broken": fuzzer.broken,
    }
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    return 1 if fuzzer.broken else 0


if __name__ == "__main__":
    sys.exit(main())
