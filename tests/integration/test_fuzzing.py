"""A short session of the fuzzer, and the fuzzer itself: it must notice what breaks the promise."""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.errors import BrokenPicture, CostlyPicture
from service.pictures.decode import Picture
from service.pictures.probe import probe
from tests import fuzz_pictures
from tests.fuzz_pictures import Fuzzer, execute, make_input, seeds
from tests.pictures import by_pillow, png_chunk, smooth_gray


def test_broken_pictures_are_their_senders_problem(tmp_path: Path) -> None:
    """`make fuzz` does the same for a million."""
    fuzzer = Fuzzer(seed=7, keep=tmp_path)
    told: list[int] = []
    fuzzer.run(0, 6_500, processes=2, report=told.append)
    assert fuzzer.broken == []
    assert sum(fuzzer.outcomes.values()) == told[-1] == 6_500
    assert min(fuzzer.outcomes[name] for name in ("decoded", "broken-picture", "unsupported-picture")) > 100
    assert fuzzer.outcomes["picture-too-large"] > 0
    assert not list(tmp_path.iterdir())


def test_an_execution_is_the_same_everywhere() -> None:
    one, other = seeds(), seeds()
    for number in range(50):
        assert make_input(one, 1, number) == make_input(other, 1, number)
    assert make_input(one, 1, 0) != make_input(one, 2, 0)


def work_and_die(seed: int, connection: Any, path: str) -> None:
    """Stand in for a decoder that crashes: execution 5 takes the process with it."""
    real_input = fuzz_pictures.make_input

    def make(pool: list[bytes], seed: int, number: int) -> bytes:
        return b"die" if number == 5 else real_input(pool, seed, number)

    def run(data: bytes) -> str:
        if data == b"die":
            os.abort()
        return "decoded"

    fuzz_pictures.make_input, fuzz_pictures.execute = make, run
    fuzz_pictures.work(seed, connection, path)


def test_a_dying_process_is_noticed_and_its_input_kept(tmp_path: Path) -> None:
    fuzzer = Fuzzer(seed=1, keep=tmp_path, work=work_and_die)
    fuzzer.run(0, 20, processes=1, report=lambda _: None)
    (broken,) = fuzzer.broken
    assert "the process died: exit status -6" in broken
    assert (tmp_path / "broken-1-5").read_bytes() == b"die"
    assert fuzzer.outcomes["decoded"] == 14  # those after the crash; those before it died with their process


def test_slowness_and_strange_answers_break_the_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = by_pillow(smooth_gray(8, 8), "PNG")
    assert execute(picture) == "decoded"
    monkeypatch.setattr(fuzz_pictures, "MAX_SECONDS", 0.01)

    def slow(*_: object) -> Picture:
        until = time.process_time() + 0.02
        while time.process_time() < until:
            pass
        return Picture(np.zeros((8, 8), np.uint8))

    monkeypatch.setattr(fuzz_pictures, "decode", slow)
    with pytest.raises(AssertionError, match=r"took 0\.0"):
        execute(picture)
    monkeypatch.setattr(fuzz_pictures, "decode", lambda *_: Picture(np.zeros((9, 8), np.uint8)))
    with pytest.raises(AssertionError, match="another size"):
        execute(picture)


@pytest.mark.parametrize("length", [10_000, 0xFF000157, 0x7FFFFFFF])
def test_a_png_chunk_longer_than_the_file_is_refused_before_it_is_decoded(length: int) -> None:
    """OpenCV 5 believes the length and takes as much memory; 400 bytes cost 4 GB."""
    picture = by_pillow(smooth_gray(16, 24), "PNG")
    place = picture.index(b"IDAT") - 4
    broken = picture[:place] + length.to_bytes(4, "big") + picture[place + 4 :]
    with pytest.raises(BrokenPicture, match="longer than the file"):
        probe(broken, max_megapixels=1)


def test_a_png_of_countless_chunks_is_refused_quickly() -> None:
    picture = by_pillow(smooth_gray(16, 24), "PNG")
    place = picture.index(b"IDAT") - 4
    broken = picture[:place] + png_chunk(b"tEXt", b"") * 2_000_000 + picture[place:]
    started = time.process_time()
    with pytest.raises(CostlyPicture, match="cut into more than"):
        probe(broken, max_megapixels=1)
    assert time.process_time() - started < 1
