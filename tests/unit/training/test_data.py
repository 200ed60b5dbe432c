import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from chroma import signature
from chroma.bins import load_centers
from chroma.framing import resize_lightness
from chroma.lab import rgb_u8_to_lab
from tests.unit.training.pictures import encode, landscape, write_shards
from training import DataError
from training.config import DataConfig
from training.data.batches import Batch, BatchMaker, count_prior, stream
from training.data.photographs import Photograph, PhotographSet, SceneScores, open_photographs
from training.data.pictures import decode_photograph
from training.data.samples import augment_lightness, choose_cut, decode_label_map, render, sample_labels, turn_hue

SMALL = DataConfig(crop_px=64)
GEOMETRY_ONLY = DataConfig(crop_px=64, contrast=0.0, offset=0.0)
FLIPS_ONLY = DataConfig(crop_px=64, contrast=0.0, offset=0.0, crop_probability=0.0)
TEST_PICTURES = Path(__file__).parents[2] / "data"


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

    def seen(square: np.ndarray) -> np.ndarray:
        squares.append(square)
        return rgb_u8_to_lab(square)

    monkeypatch.setattr("training.data.samples.rgb_u8_to_lab", seen)
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


# ------------------------------------------------------------------------------------ options of the original recipe


def test_a_turned_hue_keeps_chroma_and_lightness() -> None:
    """The same chances otherwise: the sample is the one without jitter, with its colors turned by one angle."""
    jitter = DataConfig(crop_px=64, noise=4.0, hue_jitter=40.0)
    plain = DataConfig(crop_px=64, noise=4.0)
    angles = []
    for seed in range(60):
        lightness, turned = render(landscape(2), jitter, np.random.default_rng(seed))
        expected, ab = render(landscape(2), plain, np.random.default_rng(seed))
        assert_array_equal(lightness, expected)
        assert_array_equal(turned[..., 2], 1)
        one, other = (value[..., 0] + 1j * value[..., 1] for value in (turned, ab))
        assert_allclose(np.abs(one), np.abs(other), atol=1e-4)
        angles.append(np.degrees(np.angle(np.vdot(other, one))))
        assert_allclose(one, other * np.exp(1j * np.radians(angles[-1])), atol=1e-3)
    assert 30 < max(angles) <= 40.001
    assert -40.001 <= min(angles) < -30


def test_the_hue_is_never_turned_in_validation() -> None:
    jitter = DataConfig(crop_px=64, hue_jitter=180.0)
    assert_array_equal(render(landscape(2), jitter, None)[1], render(landscape(2), SMALL, None)[1])


def test_a_hue_turns_from_a_towards_b() -> None:
    assert_allclose(turn_hue(np.array([[[10.0, 0.0]]], np.float32), 90), [[[0, 10]]], atol=1e-5)


def test_one_pixel_of_each_block_may_stand_for_it() -> None:
    picture = landscape(7, 64, 64)
    lightness, ab = render(picture, DataConfig(crop_px=64, ab_sampling="nearest"), None)
    assert_array_equal(ab[..., :2], rgb_u8_to_lab(picture)[::4, ::4, 1:])
    assert_array_equal(lightness, render(picture, SMALL, None)[0])


def test_gray_pictures_may_count(tmp_path: Path) -> None:
    gray = np.repeat(landscape(6)[..., 1:2], 3, axis=-1)
    counted = DataConfig(crop_px=64, mask_gray=False)
    assert_array_equal(render(gray, counted, None)[1][..., 2], 1)
    for name, picture in {"color": landscape(1), "gray": gray}.items():
        (tmp_path / f"{name}.png").write_bytes(encode(picture, ".png"))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    names = ("color", "gray", "broken")
    every = PhotographSet(Photograph(name, tmp_path / f"{name}.png", "", "train", "", "") for name in names)
    prior = count_prior(every, counted, load_centers(), workers=1)
    masked = count_prior(every, SMALL, load_centers(), workers=1)
    neutral = int(np.square(load_centers()).sum(axis=1).argmin())
    assert prior[neutral] == pytest.approx(0.5 + 0.5 * masked[neutral], abs=1e-9)


def test_without_these_options_a_sample_is_what_it_was() -> None:
    """The order in which chances are drawn is part of what a resumed run relies on: crop, place, mirror, then L."""
    picture = landscape(8)
    for seed in range(8):
        lightness, _ = render(picture, SMALL, np.random.default_rng(seed))
        rng = np.random.default_rng(seed)
        side, top, left = 72, 0, 12
        if rng.random() < SMALL.crop_probability:
            side = round(side * rng.uniform(SMALL.smallest_crop, 1.0))
            top, left = int(rng.integers(72 - side + 1)), int(rng.integers(96 - side + 1))
        square = picture[top : top + side, left : left + side]
        square = square[:, ::-1] if rng.random() < 0.5 else square
        untouched = resize_lightness(rgb_u8_to_lab(np.ascontiguousarray(square))[..., :1], (64, 64))
        assert_array_equal(lightness, augment_lightness(untouched, SMALL, rng))


# ------------------------------------------------------------------------------------------------- scenes, label maps


SCORES = SceneScores(
    ("attic", "beach", "cave"),
    np.array([[2, 0, 1], [1, -1, -1], [0, 1, -1]], np.int32),
    np.array([[0.5, 0.3, 0.2], [0.9, 0, 0], [0, 0, 0]], np.float32),
)


@pytest.mark.parametrize(
    ("row", "top_k", "expected"),
    [
        (0, 5, [0.3, 0.2, 0.5]),
        (0, 2, [0.375, 0, 0.625]),
        (0, 1, [0, 0, 1]),
        (1, 5, [0, 1, 0]),
        (2, 5, [0, 0, 0]),
        (-1, 5, [0, 0, 0]),
    ],
)
def test_the_largest_probabilities_are_kept_and_sum_to_one(row: int, top_k: int, expected: list[float]) -> None:
    photo = Photograph("a", TEST_PICTURES, "a.jpg", "train", "", "", scene_row=row)
    target = PhotographSet([photo], SCORES).scene_target(photo, top_k=top_k)
    assert target.dtype == np.float32
    assert_allclose(target, expected, atol=1e-6)


def test_a_named_scene_stands_in_where_there_are_no_probabilities() -> None:
    photo = Photograph("a", TEST_PICTURES, "a.jpg", "train", "cave", "")
    assert_array_equal(PhotographSet([photo], SCORES).scene_target(photo, top_k=5), [0, 0, 1])


def labeled_folder(folder: Path) -> PhotographSet:
    """Three photographs whose label maps say in which 8 px column of the photograph a pixel is."""
    columns = np.repeat(np.arange(12, dtype=np.uint8), 8)[None].repeat(72, axis=0)
    columns[:8] = 255
    maps = {"map": columns, "turned": np.ascontiguousarray(columns.T)}
    for name, labels in maps.items():
        cv2.imwrite(str(folder / f"{name}.png"), labels)
    (folder / "picture.png").write_bytes(encode(landscape(1), ".png"))
    made = [
        Photograph(f"{key}.png", folder, "picture.png", "train", "", "", label_map=label_map)
        for key, label_map in (("labeled", "map.png"), ("turned", "turned.png"), ("bare", ""))
    ]
    return PhotographSet(made)


def test_label_maps_follow_the_sample(tmp_path: Path) -> None:
    photographs = labeled_folder(tmp_path)
    maker = BatchMaker(
        photographs, photographs.split("train"), GEOMETRY_ONLY, batch_size=3, seed=1, segmentation_classes=9
    )
    for step in range(6):
        batch = maker.batch(step)
        assert batch.segmentation is not None
        assert (batch.segmentation.shape, batch.segmentation.dtype) == ((3, 16, 16, 1), np.float32)
        assert_array_equal(batch.targets()["segmentation_logits"], batch.segmentation)
        by_key = dict(zip(batch.keys, batch.segmentation[..., 0], strict=True))
        assert (by_key["bare.png"] == -1).all()
        assert (by_key["turned.png"] == -1).all()
        found = by_key["labeled.png"]
        # Columns 9 to 11 are more than the model knows, and the first rows have no label.
        assert set(np.unique(found)) <= {-1, *range(9)}
        bottom = found[-1]
        known = bottom[bottom >= 0]
        assert len(known) > 4
        assert (np.diff(known) >= 0).all() or (np.diff(known) <= 0).all()
    assert list(maker.refused) == ["turned.png"]
    assert maker.refused["turned.png"].startswith("label map: 72 x 96 px")


def test_label_maps_and_pictures_are_cut_alike() -> None:
    """A label map that repeats what is in the picture agrees with it wherever the cut is."""
    picture = np.full((128, 128, 3), 60, np.uint8)
    picture[32:72, 48:96] = (250, 160, 40)
    labels = (picture[..., 0] > 100).astype(np.uint8)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        cut = choose_cut(128, 128, GEOMETRY_ONLY, rng)
        _, ab = render(picture, GEOMETRY_ONLY, rng, cut)
        found = sample_labels(labels, cut, GEOMETRY_ONLY, classes=2)[..., 0]
        agree = (np.hypot(ab[..., 0], ab[..., 1]) > 35) == (found > 0)
        assert agree.mean() > 0.9


def test_without_a_segmentation_head_no_label_map_is_read(tmp_path: Path) -> None:
    photographs = labeled_folder(tmp_path)
    maker = BatchMaker(photographs, photographs.split("train"), SMALL, batch_size=3, seed=1)
    batch = maker.batch(0)
    assert batch.segmentation is None
    assert "segmentation_logits" not in batch.targets()
    assert maker.refused == {}


@pytest.mark.parametrize("data", [b"", b"no picture", encode(landscape(1), ".png")])
def test_what_is_no_label_map_is_a_data_error(data: bytes) -> None:
    with pytest.raises(DataError):
        decode_label_map(data, (72, 96))


def test_a_label_map_of_another_size_is_brought_to_the_photograph() -> None:
    small = np.array([[0, 1], [2, 255]], np.uint8)
    _, data = cv2.imencode(".png", small)
    assert_array_equal(decode_label_map(data.tobytes(), (8, 8)), np.kron(small, np.ones((4, 4), np.uint8)))


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
        signature.SCENE_LOGITS: (4, 2),
    }
    assert {target.dtype for target in batch.targets().values()} == {np.dtype(np.float32)}
    expected = [photographs.scene_index(p) for key in batch.keys for p in photographs.photographs if p.key == key]
    assert [row.argmax() if row.any() else -1 for row in batch.scene] == expected
    assert_array_equal(batch.scene.sum(axis=1), [index >= 0 for index in expected])


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


def test_each_batch_takes_one_of_the_sides(photographs: PhotographSet) -> None:
    config = DataConfig(crop_px=32, crop_sides=(32, 64, 64, 96))
    makers = [BatchMaker(photographs, photographs.split("train"), config, batch_size=2, seed=3) for _ in range(2)]
    sides = []
    for step in range(60):
        batch = makers[0].batch(step)
        side = batch.lightness.shape[1]
        assert batch.lightness.shape == (2, side, side, 1)
        assert batch.ab.shape == (2, side // 4, side // 4, 3)
        sides.append(side)
        if step % 20 == 19:  # whatever was made before
            assert_same(batch, makers[1].batch(step))
    assert [sides.count(side) for side in (32, 64, 96)] == pytest.approx([15, 30, 15], abs=10)
    assert makers[0].batch(0).keys == maker_of(photographs, batch_size=2, seed=3).batch(0).keys
    still = BatchMaker(photographs, photographs.split("val"), config, batch_size=2, seed=None)
    assert still.batch(0).lightness.shape[1] == 32


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_a_stream_is_the_batches_in_order_whatever_the_workers(photographs: PhotographSet, workers: int) -> None:
    expected = [maker_of(photographs).batch(step) for step in range(3, 9)]
    got = list(stream(maker_of(photographs), 3, 9, workers=workers))
    assert len(got) == 6
    for one, other in zip(got, expected, strict=True):
        assert_same(one, other)


class CountingMaker:
    """Stands in for a `BatchMaker`: notes what was asked for and how much of it at once."""

    batch_size = 1

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


@pytest.fixture
def in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little work goes to threads, unless another test has started processes already."""
    monkeypatch.setattr("training.data.sample_workers.are_running", lambda: False)


@pytest.mark.usefixtures("in_threads")
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


@pytest.mark.usefixtures("in_threads")
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
        assert not batch.scene[place].any()
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
