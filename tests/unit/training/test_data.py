import threading
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from chroma import signature
from chroma.bins import load_centers
from chroma.lab import rgb_u8_to_lab
from tests.unit.training.pictures import encode, landscape, write_shards
from training import DataError
from training.config import DataConfig
from training.data import Batch, BatchMaker, augment_lightness, count_prior, decode_photograph, render, stream
from training.photographs import Photograph, PhotographSet, open_photographs

SMALL = DataConfig(crop_px=64)
GEOMETRY_ONLY = DataConfig(crop_px=64, contrast=0.0, offset=0.0)
FLIPS_ONLY = DataConfig(crop_px=64, contrast=0.0, offset=0.0, crop_probability=0.0)
TEST_PICTURES = Path(__file__).parents[2] / "data"


# ------------------------------------------------------------------------------------------------------------- decoding


def test_a_lossless_picture_is_decoded_to_its_pixels() -> None:
    picture = landscape(1)
    assert_array_equal(decode_photograph(encode(picture, ".png")), picture)


def test_a_gray_picture_has_three_equal_channels() -> None:
    done, data = cv2.imencode(".png", landscape(1)[..., 0])
    assert done
    decoded = decode_photograph(data.tobytes())
    assert decoded.shape == (72, 96, 3)
    assert_array_equal(decoded[..., 0], decoded[..., 2])


def oversized_png() -> bytes:
    """A PNG that claims 60000 x 60000 pixels."""
    data = bytearray(encode(landscape(1), ".png"))
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    # The header's checksum, as of these very bytes.
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    return bytes(data)


BROKEN = {
    "empty": b"",
    "text": b"no picture",
    "truncated jpeg": encode(landscape(1))[:-400],
    "truncated png": encode(landscape(1), ".png")[:-400],
    "too small": encode(landscape(1)[:15]),
    "too large": oversized_png(),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_whole_picture_is_a_data_error(name: str) -> None:
    with pytest.raises(DataError):
        decode_photograph(BROKEN[name])


# ------------------------------------------------------------------------------------------------------------ rendering


@pytest.mark.parametrize("augmented", [False, True])
@pytest.mark.parametrize("shape", [(72, 96), (96, 72), (64, 64), (300, 310), (16, 400), (17, 16)])
def test_samples_have_the_promised_shapes_dtypes_and_units(shape: tuple[int, int], augmented: bool) -> None:
    config = DataConfig(crop_px=64, noise=10.0, blur_px=2.0)
    lightness, ab = render(landscape(3, *shape), config, np.random.default_rng(0) if augmented else None)
    assert (lightness.shape, lightness.dtype) == ((64, 64, 1), np.float32)
    assert (ab.shape, ab.dtype) == ((16, 16, 3), np.float32)
    assert lightness.min() >= 0
    assert lightness.max() <= 100
    assert lightness.max() > 20  # not [0, 1]
    assert np.abs(ab[..., :2]).max() > 20  # Lab units
    assert np.abs(ab[..., :2]).max() < 110
    assert_array_equal(ab[..., 2], 1)


def test_validation_takes_the_centered_square_unaltered() -> None:
    picture = landscape(4, 64, 96)
    lab = rgb_u8_to_lab(np.ascontiguousarray(picture[:, 16:80]))
    lightness, ab = render(picture, SMALL, None)
    assert_array_equal(lightness, lab[..., :1])
    blocks = lab[..., 1:].reshape(16, 4, 16, 4, 2).mean(axis=(1, 3))
    assert_allclose(ab[..., :2], blocks, atol=1e-3)
    again = render(picture, SMALL, None)
    assert_array_equal(again[0], lightness)
    assert_array_equal(again[1], ab)


def test_color_and_lightness_stay_registered() -> None:
    """A colored square on gray: wherever a crop puts it, L (brighter there) and ab agree on the place."""
    picture = np.full((128, 128, 3), 60, np.uint8)
    picture[32:64, 64:96] = (250, 160, 40)
    for seed in range(20):
        lightness, ab = render(picture, GEOMETRY_ONLY, np.random.default_rng(seed))
        blocks = lightness[..., 0].reshape(16, 4, 16, 4).mean(axis=(1, 3))
        bright = (blocks - blocks.min()) / np.ptp(blocks)
        colorful = np.hypot(ab[..., 0], ab[..., 1]) / np.hypot(ab[..., 0], ab[..., 1]).max()
        assert_allclose(bright, colorful, atol=0.12)


def test_augmentation_never_changes_a_color() -> None:
    """On a picture of one color every crop, flip, contrast, blur and grain leaves ab where it was."""
    picture = np.empty((80, 100, 3), np.uint8)
    picture[:] = (200, 90, 60)
    truth = rgb_u8_to_lab(picture)[0, 0, 1:]
    strong = DataConfig(crop_px=64, smallest_crop=0.3, contrast=0.5, offset=30.0, noise=20.0, blur_px=3.0)
    for seed in range(20):
        _, ab = render(picture, strong, np.random.default_rng(seed))
        assert_allclose(ab[..., :2], np.broadcast_to(truth, (16, 16, 2)), atol=1e-3)


def test_the_color_of_a_flipped_picture_is_the_flipped_color() -> None:
    picture = landscape(5, 64, 64)
    _, straight = render(picture, FLIPS_ONLY, None)
    seen = set()
    for seed in range(12):
        lightness, ab = render(picture, FLIPS_ONLY, np.random.default_rng(seed))
        flipped = not np.array_equal(ab, straight)
        seen.add(flipped)
        assert_allclose(ab, straight[:, ::-1] if flipped else straight, atol=1e-4)
        expected = rgb_u8_to_lab(picture)[..., :1]
        assert_allclose(lightness, expected[:, ::-1] if flipped else expected, atol=1e-4)
    assert seen == {False, True}


def test_random_crops_keep_to_their_size_and_reach_every_corner(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture whose red counts rows and whose green counts columns tells where a crop came from."""
    config = DataConfig(crop_px=64, smallest_crop=0.8, crop_probability=1.0)
    rows, columns = np.mgrid[:20, :24]
    picture = np.stack([rows, columns, 0 * rows], axis=-1).astype(np.uint8)
    squares: list[np.ndarray] = []
    monkeypatch.setattr("training.data.rgb_u8_to_lab", lambda square: squares.append(square) or rgb_u8_to_lab(square))
    for seed in range(300):
        render(picture, config, np.random.default_rng(seed))
    assert {square.shape[:2] for square in squares} == {(side, side) for side in range(16, 21)}
    assert {int(square[..., 0].min()) for square in squares} == set(range(5))
    assert {int(square[..., 0].max()) for square in squares} == set(range(15, 20))
    assert {int(square[..., 1].min()) for square in squares} == set(range(9))
    assert {int(square[..., 1].max()) for square in squares} == set(range(15, 24))


@pytest.mark.parametrize(("chroma", "weight"), [(0, 0), (3, 0), (40, 1)])
def test_a_gray_picture_carries_no_color_weight(chroma: int, weight: float) -> None:
    picture = landscape(6)
    gray = np.repeat(picture[..., 1:2], 3, axis=-1).astype(int)
    gray[20:50, 30:60, 0] += chroma
    _, ab = render(np.clip(gray, 0, 255).astype(np.uint8), SMALL, None)
    assert_array_equal(ab[..., 2], weight)


def test_lightness_is_augmented_within_bounds() -> None:
    config = DataConfig(contrast=0.2, offset=8.0)
    middle, factors = [], []
    ramp = np.linspace(30, 70, 32, dtype=np.float32).reshape(1, 32, 1)
    for seed in range(300):
        altered = augment_lightness(ramp, config, np.random.default_rng(seed))
        assert altered.dtype == np.float32
        middle.append(float(altered.mean() - 50))
        factors.append(float(np.ptp(altered) / 40))
    assert 7 < max(middle) <= 8
    assert -8 <= min(middle) < -7
    assert 1.18 < max(factors) <= 1.2001
    assert 0.7999 <= min(factors) < 0.82


def test_noise_and_blur_come_sometimes_and_only_where_asked_for() -> None:
    flat = np.full((32, 32, 1), 50, np.float32)
    config = DataConfig(contrast=0.0, offset=0.0, noise=5.0)
    noisy = [np.ptp(augment_lightness(flat, config, np.random.default_rng(seed))) > 0 for seed in range(400)]
    assert 0.17 < np.mean(noisy) < 0.33
    edge = np.where(np.arange(32)[:, None, None] < 16, 20, 80).astype(np.float32) * np.ones((1, 32, 1), np.float32)
    blur = DataConfig(contrast=0.0, offset=0.0, blur_px=3.0)
    blurred = [len(np.unique(augment_lightness(edge, blur, np.random.default_rng(s)))) > 2 for s in range(400)]
    assert 0.12 < np.mean(blurred) < 0.33
    plain = DataConfig(contrast=0.0, offset=0.0)
    assert_array_equal(augment_lightness(edge, plain, np.random.default_rng(1)), edge)


# -------------------------------------------------------------------------------------------------------------- batches


@pytest.fixture
def photographs(tmp_path: Path) -> PhotographSet:
    return open_photographs(write_shards(tmp_path, train=11, val=5), scenes="scene")


def maker_of(photographs: PhotographSet, *, seed: int | None = 3, batch_size: int = 4) -> BatchMaker:
    chosen = photographs.split("train" if seed is not None else "val")
    return BatchMaker(photographs, chosen, SMALL, batch_size=batch_size, seed=seed)


def assert_same(one: Batch, other: Batch) -> None:
    assert one.keys == other.keys
    assert_array_equal(one.lightness, other.lightness)
    assert_array_equal(one.ab, other.ab)
    assert_array_equal(one.scene, other.scene)


def test_a_batch_has_the_targets_of_each_head(photographs: PhotographSet) -> None:
    batch = maker_of(photographs).batch(0)
    assert batch.lightness.shape == (4, 64, 64, 1)
    assert {name: target.shape for name, target in batch.targets().items()} == {
        signature.AB_LOGITS: (4, 16, 16, 3),
        signature.AB: (4, 16, 16, 3),
        signature.SCENE_LOGITS: (4, 1),
    }
    assert {target.dtype for target in batch.targets().values()} == {np.dtype(np.float32)}
    expected = [photographs.scene_index(p) for key in batch.keys for p in photographs.photographs if p.key == key]
    assert batch.scene[:, 0].tolist() == expected


def test_an_epoch_drops_the_rest_in_training_and_keeps_it_in_validation(photographs: PhotographSet) -> None:
    training, validation = maker_of(photographs), maker_of(photographs, seed=None)
    assert training.steps_per_epoch == 2
    assert validation.steps_per_epoch == 2
    assert validation.batch(0).keys + validation.batch(1).keys == tuple(f"val{place:03}" for place in range(5))
    assert maker_of(photographs, batch_size=11).steps_per_epoch == 1
    assert maker_of(photographs, seed=None, batch_size=5).steps_per_epoch == 1


def test_an_epoch_takes_each_photograph_once_and_each_epoch_in_its_own_order(photographs: PhotographSet) -> None:
    maker = maker_of(photographs, batch_size=11)
    orders = [maker.batch(epoch).keys for epoch in range(3)]
    assert all(sorted(order) == [f"train{place:03}" for place in range(11)] for order in orders)
    assert len(set(orders)) == 3


def test_a_set_smaller_than_a_batch_is_gone_through_several_times(photographs: PhotographSet) -> None:
    maker = maker_of(photographs, batch_size=30)
    assert maker.steps_per_epoch == 1
    keys = maker.batch(0).keys
    assert len(keys) == 30
    assert {keys.count(key) for key in keys} == {2, 3}


def test_a_batch_depends_on_its_number_alone(photographs: PhotographSet) -> None:
    """Not on what was made before it, nor on the order in which it was asked for."""
    in_order = [maker_of(photographs).batch(step) for step in (0, 1, 2, 3)]
    fresh = maker_of(photographs)
    backwards = {step: fresh.batch(step) for step in (3, 1, 2, 0)}
    for step, batch in enumerate(in_order):
        assert_same(batch, backwards[step])
    assert not np.array_equal(in_order[0].lightness, in_order[2].lightness)
    assert not np.array_equal(maker_of(photographs, seed=4).batch(0).lightness, in_order[0].lightness)


def test_augmentation_differs_from_epoch_to_epoch(photographs: PhotographSet) -> None:
    maker = maker_of(photographs, batch_size=11)
    first, second = maker.batch(0), maker.batch(1)
    same = [
        np.array_equal(first.lightness[i], second.lightness[second.keys.index(k)]) for i, k in enumerate(first.keys)
    ]
    assert not any(same)


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_a_stream_is_the_batches_in_order_whatever_the_workers(photographs: PhotographSet, workers: int) -> None:
    expected = [maker_of(photographs).batch(step) for step in range(3, 9)]
    got = list(stream(maker_of(photographs), 3, 9, workers=workers))
    assert len(got) == 6
    for one, other in zip(got, expected, strict=True):
        assert_same(one, other)


class CountingMaker:
    """Stands in for a `BatchMaker`: notes what was asked for and how much of it at once."""

    def __init__(self, fail_at: int = -1) -> None:
        self.asked: list[int] = []
        self.fail_at, self.lock = fail_at, threading.Lock()

    def batch(self, step: int) -> int:
        with self.lock:
            self.asked.append(step)
        time.sleep(0.001 * (step % 3))
        if step == self.fail_at:
            raise MemoryError("no room")
        return step


def test_a_stream_looks_ahead_only_so_far() -> None:
    maker = CountingMaker()
    batches = stream(maker, 0, 100, workers=3, ahead=2)  # type: ignore[arg-type]
    for expected in range(5):
        assert next(batches) == expected
        time.sleep(0.02)
        assert max(maker.asked) <= expected + 3 + 2
    batches.close()
    made = len(maker.asked)
    time.sleep(0.02)
    assert len(maker.asked) == made <= 11
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


def test_a_stream_hands_on_what_goes_wrong_in_a_worker() -> None:
    batches = stream(CountingMaker(fail_at=4), 0, 20, workers=2)  # type: ignore[arg-type]
    assert [next(batches) for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(MemoryError, match="no room"):
        next(batches)


def test_an_empty_stream_ends_at_once(photographs: PhotographSet) -> None:
    assert list(stream(maker_of(photographs), 7, 7, workers=2)) == []


def test_a_broken_picture_counts_as_gray_and_is_reported_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_shards(tmp_path, train=4, val=1, broken=("train002",))
    maker = maker_of(open_photographs(folder))
    for epoch in range(2):
        batch = maker.batch(epoch)
        place = batch.keys.index("train002")
        assert not batch.ab[place].any()
        assert not batch.lightness[place].any()
        assert batch.ab[:, 0, 0, 2].sum() == 3
    assert maker.refused == {"train002": "not a picture"}
    assert caplog.text.count("train002 is left out: not a picture") == 1


# ---------------------------------------------------------------------------------------------------------------- prior


def test_the_prior_is_counted_on_the_very_targets(tmp_path: Path) -> None:
    photographs = open_photographs(write_shards(tmp_path, train=7, val=2))
    centers = load_centers()
    prior = count_prior(photographs, SMALL, centers, workers=2, batch_size=3)
    counts = np.zeros(313)
    for seed in range(7):
        _, ab = render(decode_photograph(encode(landscape(seed))), SMALL, None)
        distance = np.square(ab[..., None, :2] - centers).sum(axis=-1)
        np.add.at(counts, distance.argmin(axis=-1), 1)
    assert_allclose(prior, counts / counts.sum(), atol=1e-12)
    assert prior.sum() == pytest.approx(1)


def test_gray_and_broken_pictures_do_not_count_in_the_prior(tmp_path: Path) -> None:
    contents = {
        "color.png": encode(landscape(1), ".png"),
        "gray.png": encode(np.full((64, 64, 3), 90, np.uint8), ".png"),
        "broken.jpg": b"no picture",
    }
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    every = [Photograph(name, tmp_path / name, "", "train", "", "") for name in contents]
    alone = count_prior(PhotographSet(every[:1]), SMALL, load_centers(), workers=1)
    assert_array_equal(count_prior(PhotographSet(every), SMALL, load_centers(), workers=1), alone)


def test_the_prior_may_be_counted_on_a_part(tmp_path: Path) -> None:
    photographs = open_photographs(write_shards(tmp_path, train=9, val=1))
    reads = []
    real = photographs.read
    photographs.read = lambda photo: reads.append(photo.key) or real(photo)  # type: ignore[method-assign,func-returns-value]
    config = DataConfig(crop_px=64, prior_pictures=4)
    one = count_prior(photographs, config, load_centers(), workers=1)
    assert len(set(reads)) == len(reads) == 4
    assert_array_equal(count_prior(photographs, config, load_centers(), workers=2), one)


def test_photographs_without_any_color_are_an_error(tmp_path: Path) -> None:
    for place in range(3):
        (tmp_path / f"{place}.png").write_bytes(encode(np.full((64, 64, 3), 80 + place, np.uint8), ".png"))
    with pytest.raises(DataError, match="all gray"):
        count_prior(open_photographs(tmp_path), SMALL, load_centers(), workers=1)


def test_a_real_photograph_gives_the_colors_one_expects() -> None:
    """Coffee is brown: a and b positive; a swapped channel order would make it blue."""
    _, ab = render(decode_photograph((TEST_PICTURES / "coffee.jpg").read_bytes()), SMALL, None)
    mean_a, mean_b = ab[..., :2].mean(axis=(0, 1))
    assert mean_a > 5
    assert mean_b > 10
