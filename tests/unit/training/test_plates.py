from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chroma.emulsions import BLUE, ORTHO, PAN
from chroma.lab import rgb_u8_to_lightness
from tests.unit.training.pictures import landscape, write_shards
from training import RecipeError
from training.config import DataConfig
from training.data import plates
from training.data.batches import BatchMaker
from training.data.photographs import open_photographs
from training.data.samples import render

CONFIG = DataConfig(crop_px=64, contrast=0.0, offset=0.0, crop_probability=0.0)


def chances(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_plate_keeps_the_shape_and_the_range_of_lightness() -> None:
    for seed in range(40):
        rng = chances(seed)
        aged = plates.age(plates.expose(landscape(seed), rng), rng)
        assert aged.shape == (72, 96, 1)
        assert aged.dtype == np.float32
        assert aged.min() >= 0
        assert aged.max() <= 100


def test_plates_are_of_all_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    mixes = []
    monkeypatch.setattr(plates, "plate_lightness", lambda _rgb, mix, **_: mixes.append(mix))
    for seed in range(400):
        plates.expose(landscape(0), chances(seed))
    red, green, blue = np.array(mixes).T
    shares = {PAN: (red >= 0.2).mean(), BLUE: (blue >= 0.9).mean(), ORTHO: ((red <= 0.05) & (green >= 0.2)).mean()}
    assert shares == pytest.approx(plates.KINDS, abs=0.07)
    assert sum(plates.KINDS.values()) == pytest.approx(1)


def test_the_same_chance_gives_the_same_plate() -> None:
    first, second = (plates.age(plates.expose(landscape(3), rng), rng) for rng in (chances(), chances()))
    np.testing.assert_array_equal(first, second)


def test_colors_stay_true_on_a_plate() -> None:
    for seed in range(10):
        as_plate, as_is = (
            render(landscape(2), replace(CONFIG, plates=share), chances(seed))[1] for share in (1.0, 0.0)
        )
        # The same square, mirrored or not: nothing else may differ.
        either = np.stack([as_is, as_is[:, ::-1]])
        assert np.abs(either - as_plate).max(axis=(1, 2, 3)).min() == pytest.approx(0, abs=2)


def test_the_share_of_plates_is_what_the_recipe_says() -> None:
    gray = np.full((32, 32, 3), 90, np.uint8)
    still = replace(CONFIG, crop_px=32, plates=0.5)
    plain = rgb_u8_to_lightness(gray)[0, 0, 0]
    samples = [render(gray, still, chances(seed))[0] for seed in range(300)]
    untouched = np.mean([np.allclose(sample, plain, atol=1e-3) for sample in samples])
    assert untouched == pytest.approx(0.5, abs=0.1)


def test_without_plates_chances_are_what_they_were() -> None:
    lightness, ab = render(landscape(1), replace(CONFIG, plates=0.0), chances())
    before, ab_before = render(landscape(1), CONFIG, chances())
    np.testing.assert_array_equal(lightness, before)
    np.testing.assert_array_equal(ab, ab_before)


def test_validation_has_no_plates() -> None:
    plain, with_plates = (render(landscape(1), replace(CONFIG, plates=share), None)[0] for share in (0.0, 1.0))
    np.testing.assert_array_equal(plain, with_plates)


def test_the_share_rises_from_a_fifth() -> None:
    assert [plates.share_at(step, 0.5, 100) for step in (0, 50, 100, 5000)] == pytest.approx([0.1, 0.3, 0.5, 0.5])
    assert plates.share_at(0, 0.5, 0) == 0.5


def test_a_run_begins_with_few_plates(tmp_path: Path) -> None:
    found = open_photographs(write_shards(tmp_path, train=8, val=1))
    config = replace(CONFIG, plates=1.0, plates_rise=10)
    plain = replace(config, plates=0.0, plates_rise=0)

    def touched(step: int) -> float:
        # Mirrored or not by other chances: the mean over a sample's pixels does not know.
        made = [
            BatchMaker(found, found.split("train"), each, batch_size=8, seed=4).batch(step) for each in (config, plain)
        ]
        return float((np.abs(made[0].lightness - made[1].lightness).mean(axis=(1, 2, 3)) > 0.5).mean())

    assert np.mean([touched(step) for step in range(10, 14)]) > 0.9
    assert touched(0) < np.mean([touched(step) for step in range(10, 14)])


@pytest.mark.parametrize("changed", [{"plates": 1.5}, {"plates": -0.1}, {"plates_rise": -1}])
def test_shares_out_of_range_are_refused(changed: dict[str, float]) -> None:
    with pytest.raises(RecipeError, match="plates"):
        replace(CONFIG, **changed)
