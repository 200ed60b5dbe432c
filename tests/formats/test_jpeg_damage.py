"""JPEGs that are damaged in the middle are refused, by each decoder that reads them; odd ones that are whole, not."""

import io
import itertools
import os
import re
import sys
from collections.abc import Callable

import cv2
import imagecodecs
import numpy as np
import pytest
from PIL import Image

from service.errors import BrokenPicture
from service.pictures.decode import decode
from service.pictures.decoders import one_copy
from service.pictures.decoders.jpeg_complaints import read_heard
from service.pictures.probe import probe
from service.pictures.worker.pool import DecodePool
from tests.formats.files import segment
from tests.pictures import by_pillow, smooth_gray

END = b"\xff\xd9"
SOS = b"\xff\xda"


@pytest.fixture(params=[one_copy.LARGE_BYTES, 0], ids=["as they are", "as large ones"], autouse=True)
def read_as(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large files are read in another way."""
    monkeypatch.setattr(one_copy, "LARGE_BYTES", request.param)


def photograph(channels: int = 3) -> np.ndarray:
    """Return a picture with as much detail as photographs have."""
    grain = np.random.default_rng(0).normal(0, 12, (200, 304, channels))
    levels = np.clip(smooth_gray(200, 304)[..., None] + grain, 0, 255).astype(np.uint8)
    return levels[..., 0] if channels == 1 else levels


def tiff_with_jpegs(rows: int, photometric: str) -> bytes:
    stream = io.BytesIO()
    options = {"compression": "jpeg", "quality": 90, "tiffinfo": {278: rows}}
    Image.fromarray(photograph()).convert(photometric).save(stream, "TIFF", **options)
    return stream.getvalue()


WHOLE = {
    "gray": by_pillow(photograph(1), "JPEG", quality=90),
    "color": by_pillow(photograph(), "JPEG", quality=90),
    "color, not subsampled": by_pillow(photograph(), "JPEG", quality=75, subsampling=0, optimize=True),
    "gray, progressive": by_pillow(photograph(1), "JPEG", quality=90, progressive=True),
    "color, progressive": by_pillow(photograph(), "JPEG", quality=90, progressive=True),
    "color, restarts": by_pillow(photograph(), "JPEG", quality=90, restart_marker_blocks=5),
    "progressive, restarts": by_pillow(photograph(), "JPEG", quality=90, progressive=True, restart_marker_rows=1),
    "inks": by_pillow(Image.fromarray(photograph(4), "CMYK"), "JPEG", quality=90),
    "inks, progressive": by_pillow(Image.fromarray(photograph(4), "CMYK"), "JPEG", quality=90, progressive=True),
    "lossless": bytes(imagecodecs.jpeg8_encode(photograph(1), lossless=True)),
    "lossless, color": bytes(imagecodecs.jpeg8_encode(photograph(), lossless=True)),
}
TIFFS = {
    "color": tiff_with_jpegs(64, "RGB"),
    "YCbCr": tiff_with_jpegs(200, "YCbCr"),
    "gray": tiff_with_jpegs(64, "L"),
    "inks": tiff_with_jpegs(64, "CMYK"),
}


def pixels_of(data: bytes) -> np.ndarray:
    return decode(data, probe(data, max_megapixels=1)).pixels


def first_scan(data: bytes) -> int:
    """Return where the data of the first scan start."""
    place = data.index(SOS)
    return place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")


def longest_scan(data: bytes) -> tuple[int, int]:
    """Return where the data of the longest scan start and end."""
    starts = [found.start() + 2 + data[found.start() + 3] for found in re.finditer(SOS + b"\0", data)]
    ends = [re.compile(rb"\xff[^\x00\xd0-\xd7]").search(data, start) for start in starts]
    return max(
        ((start, end.start()) for start, end in zip(starts, ends, strict=True) if end),
        key=lambda each: each[1] - each[0],
    )


def overwritten(data: bytes, run: bytes) -> bytes:
    """Return a file with a run of other bytes in the middle of its longest scan."""
    start, end = longest_scan(data)
    place = (start + end - len(run)) // 2
    assert start < place < place + len(run) < end
    return data[:place] + run + data[place + len(run) :]


def half_lost(data: bytes) -> bytes:
    """Return a file without the second half of its longest scan."""
    start, end = longest_scan(data)
    return data[: (start + end) // 2] + data[end:]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "a bogus segment": lambda data: overwritten(data, b"\xff\xe1\x02\x00"),
    "a bogus end of a scan": lambda data: overwritten(data, b"\xff\xfe\x00\x02"),
    "a run of 255": lambda data: overwritten(data, b"\xff" * 64),
    "half of a scan lost": half_lost,
}


def assert_damaged(data: bytes) -> None:
    header = probe(data, max_megapixels=1)
    with pytest.raises(BrokenPicture, match="its pixels cannot be decoded"):
        decode(data, header)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", WHOLE)
def test_a_jpeg_that_lacks_data_in_the_middle_is_damaged(kind: str, damage: str) -> None:
    assert pixels_of(WHOLE[kind]).shape[:2] == (200, 304)
    assert_damaged(DAMAGES[damage](WHOLE[kind]))


@pytest.mark.parametrize("kind", ["gray", "color", "color, restarts", "inks"])
def test_a_jpeg_with_a_run_of_zeros_is_damaged(kind: str) -> None:
    assert_damaged(overwritten(WHOLE[kind], bytes(2000)))


@pytest.mark.parametrize("kind", ["color", "YCbCr", "gray", "inks"])
def test_a_damaged_jpeg_in_a_tiff_is_damaged(kind: str) -> None:
    whole = TIFFS[kind]
    assert pixels_of(whole).shape[:2] == (200, 304)
    for damage in ("a bogus segment", "a run of 255"):
        assert_damaged(DAMAGES[damage](whole))


def test_a_complaint_that_means_nothing_hides_none_that_does() -> None:
    """Of several libjpeg prints the first alone."""
    for front in (b"nothing", bytes(40)):
        head = WHOLE["color"].index(b"\xff\xdb")
        odd = WHOLE["color"][:head] + front + WHOLE["color"][head:]
        assert "extraneous" in read_heard(odd, cv2.IMREAD_COLOR)[1]
        np.testing.assert_array_equal(pixels_of(odd), pixels_of(WHOLE["color"]))
        damaged = DAMAGES["a bogus segment"](odd)
        assert "extraneous" in read_heard(damaged, cv2.IMREAD_COLOR)[1]
        assert_damaged(damaged)


def test_what_hides_behind_bytes_in_a_scan_is_found() -> None:
    """Bytes behind one restart's data, and another that lacks some, or is not there."""
    whole = WHOLE["color, restarts"]
    restarts = [found.start() for found in re.finditer(rb"\xff[\xd0-\xd7]", whole)]
    first, middle, last = restarts[0], restarts[len(restarts) // 2], restarts[-1]
    odd = whole[:first] + b"between" * 6 + whole[first:]
    assert "extraneous" in read_heard(odd, cv2.IMREAD_COLOR)[1]
    np.testing.assert_array_equal(pixels_of(odd), pixels_of(whole))
    assert_damaged(whole[:first] + b"between" * 6 + whole[first : middle - 20] + whole[middle:])
    assert_damaged(whole[:first] + b"between" * 6 + whole[first:last] + END)


def test_data_that_are_left_over_are_damage() -> None:
    """All pixels have data, those of others: a copied block makes more of them than there is room for."""
    start, end = longest_scan(WHOLE["color"])
    middle = (start + end) // 2
    doubled = WHOLE["color"][: middle + 400] + WHOLE["color"][middle:]
    assert "extraneous" in read_heard(doubled, cv2.IMREAD_COLOR)[1]
    assert_damaged(doubled)


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize("padding", [b"\0", b"\0" * 3000, b"\xff" * 7, b"\x12\x34\x56", bytes(range(1, 60))])
def test_bytes_in_front_of_a_marker_are_no_damage(kind: str, padding: bytes) -> None:
    whole = WHOLE[kind]
    start, end = longest_scan(whole)
    seen = pixels_of(whole)
    np.testing.assert_array_equal(pixels_of(whole[:-2] + padding + whole[-2:]), seen)
    np.testing.assert_array_equal(pixels_of(whole[:end] + padding + whole[end:]), seen)
    if "restarts" in kind:
        restart = start + re.search(rb"\xff[\xd0-\xd7]", whole[start:end]).start()  # type: ignore[union-attr]
        np.testing.assert_array_equal(pixels_of(whole[:restart] + padding + whole[restart:]), seen)


@pytest.mark.parametrize("kind", WHOLE)
def test_what_follows_or_lacks_at_the_end_is_no_damage(kind: str) -> None:
    whole = WHOLE[kind]
    seen = pixels_of(whole)
    for tail in (b"\0" * 5, b"behind it", whole):
        np.testing.assert_array_equal(pixels_of(whole + tail), seen)
    for lost in (1, 2):
        np.testing.assert_array_equal(pixels_of(whole[:-lost]), seen)


@pytest.mark.parametrize("kind", ["color", "gray, progressive", "color, restarts", "inks"])
def test_a_jpeg_without_an_end_that_is_damaged_in_the_middle_is_damaged(kind: str) -> None:
    assert_damaged(DAMAGES["a bogus segment"](WHOLE[kind])[:-2])
    assert_damaged(half_lost(WHOLE[kind])[:-2])


@pytest.mark.parametrize("kind", ["color, restarts", "progressive, restarts"])
def test_restarts_of_wrong_numbers_are_no_damage_where_nothing_is_lost(kind: str) -> None:
    whole = WHOLE[kind]
    start = first_scan(whole)
    shifted = whole[:start] + re.sub(
        rb"\xff([\xd0-\xd7])", lambda found: bytes((0xFF, 0xD0 + (found[1][0] + 4) % 8)), whole[start:]
    )
    assert "instead of RST" in read_heard(shifted, cv2.IMREAD_COLOR)[1]
    np.testing.assert_array_equal(pixels_of(shifted), pixels_of(whole))
    alike = whole[:start] + re.sub(rb"\xff[\xd0-\xd7]", b"\xff\xd0", whole[start:])
    assert_damaged(alike)  # libjpeg takes most for the next but one, and leaves out what lies between.


@pytest.mark.parametrize("kind", ["gray", "color", "color, restarts", "inks"])
def test_rows_below_the_picture_are_no_damage_unless_they_are_many(kind: str) -> None:
    """As hardware writes them that codes heights of 16 or 32 only."""
    whole = WHOLE[kind]
    place = whole.index(b"\xff\xc0") + 5
    cut = {height: whole[:place] + height.to_bytes(2, "big") + whole[place + 2 :] for height in (178, 40)}
    # Chroma is interpolated across the border.
    np.testing.assert_array_equal(pixels_of(cut[178])[:-2], pixels_of(whole)[:176])
    assert_damaged(cut[40])


def test_an_unknown_transform_of_colors_is_no_damage_and_hides_none() -> None:
    adobe = segment(0xEE, b"Adobe\0\x64\0\0\0\0\x07")
    jfif = 2 + 2 + 16
    odd = WHOLE["color"][:2] + adobe + WHOLE["color"][jfif:]
    assert "transform" in read_heard(odd, cv2.IMREAD_COLOR)[1]
    np.testing.assert_array_equal(pixels_of(odd), pixels_of(WHOLE["color"]))
    assert_damaged(DAMAGES["a bogus segment"](odd))


def scans_of(whole: bytes) -> tuple[bytes, list[bytes]]:
    """Return a progressive JPEG's front, and its scans, each with the tables in front of it."""
    ends = [whole.index(b"\xff\xc2") + 2 + int.from_bytes(whole[whole.index(b"\xff\xc2") + 2 :][:2], "big")]
    pattern = re.compile(rb"\xff[^\x00\xd0-\xd7]")
    while whole[ends[-1] : ends[-1] + 2] != END:
        at = whole.index(SOS + b"\0", ends[-1])
        found = pattern.search(whole, at + 2 + whole[at + 3])
        assert found
        ends.append(found.start())
    return whole[: ends[0]], [whole[start:end] for start, end in itertools.pairwise(ends)]


def test_scans_in_another_order_are_no_damage_and_a_lost_one_is() -> None:
    front, scans = scans_of(WHOLE["gray, progressive"])
    swapped = front + b"".join([scans[1], scans[0], *scans[2:]]) + END
    assert "Inconsistent" in read_heard(swapped, cv2.IMREAD_GRAYSCALE)[1]
    np.testing.assert_array_equal(pixels_of(swapped), pixels_of(WHOLE["gray, progressive"]))
    lost = front + b"".join(scans[1:3]) + END
    assert "Inconsistent" in read_heard(lost, cv2.IMREAD_GRAYSCALE)[1]
    assert_damaged(lost)


@pytest.mark.skipif(sys.platform != "linux", reason="workers are processes of Linux")
def test_a_worker_refuses_what_is_damaged_and_goes_on() -> None:
    pool = DecodePool(1, cpu_s=10)
    try:
        for kind in ("color", "inks", "gray, progressive"):
            damaged = DAMAGES["a bogus segment"](WHOLE[kind])
            with pytest.raises(BrokenPicture):
                pool.decode_here(damaged, probe(damaged, max_megapixels=1))
            header = probe(WHOLE[kind], max_megapixels=1)
            np.testing.assert_array_equal(pool.decode_here(WHOLE[kind], header).pixels, pixels_of(WHOLE[kind]))
    finally:
        pool.close()


def test_what_others_print_meanwhile_is_passed_on(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(one_copy, "LARGE_BYTES", 1 << 20)
    damaged = DAMAGES["a bogus segment"](WHOLE["color"])
    imdecode = cv2.imdecode

    def beside(*arguments: object) -> object:
        os.write(2, b"a line of another thread\n")
        return imdecode(*arguments)  # type: ignore[call-overload]

    monkeypatch.setattr(cv2, "imdecode", beside)
    assert read_heard(damaged, cv2.IMREAD_COLOR)[1] == "Corrupt JPEG data: premature end of data segment"
    assert capfd.readouterr().err == "a line of another thread\n"
    assert read_heard(WHOLE["color"], cv2.IMREAD_COLOR)[1] == ""
    monkeypatch.setattr(cv2, "imdecode", lambda *_: (_ for _ in ()).throw(cv2.error("no")))
    with pytest.raises(cv2.error):
        read_heard(damaged, cv2.IMREAD_COLOR)
    os.write(2, b"still there\n")
    assert capfd.readouterr().err == "a line of another thread\nstill there\n"
