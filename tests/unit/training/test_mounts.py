from dataclasses import replace

import numpy as np
import pytest

from tests.unit.training.pictures import landscape
from training import RecipeError
from training.config import DataConfig, ModelConfig, Recipe
from training.data import mounts
from training.data.samples import render

CONFIG = DataConfig(crop_px=64, contrast=0.0, offset=0.0, crop_probability=0.0)
RED = np.full((96, 96, 3), (200, 30, 30), np.uint8)


def chances(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def is_paper(picture: np.ndarray) -> np.ndarray:
    return (picture[..., 0] == picture[..., 1]) & (picture[..., 1] == picture[..., 2])


def test_paper_is_gray_and_the_photograph_is_whole() -> None:
    shares = []
    for seed in range(200):
        picture = mounts.mount(RED, chances(seed))
        assert picture.shape == RED.shape
        assert picture.dtype == np.uint8
        paper = is_paper(picture)
        np.testing.assert_array_equal(picture[~paper], np.broadcast_to(RED[0, 0], picture[~paper].shape))
        shares.append(paper.mean())
    assert max(shares) < 0.75
    assert 0.2 < np.mean(shares) < 0.5


def test_paper_of_every_tone_comes() -> None:
    tones = []
    for seed in range(200):
        picture = mounts.mount(RED, chances(seed))
        if is_paper(picture).any():
            tones.append(np.median(picture[is_paper(picture)]))
    for darkest, lightest in mounts.PAPERS:
        assert np.mean([darkest - 8 <= tone <= lightest + 8 for tone in tones]) > 0.15


def test_the_same_chance_gives_the_same_mount() -> None:
    first, second = (mounts.mount(RED, chances(7)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("side", [8, 15, 33])
def test_a_tiny_photograph_is_mounted_too(side: int) -> None:
    for seed in range(50):
        assert mounts.mount(RED[:side, :side], chances(seed)).shape == (side, side, 3)


def test_the_target_is_gray_where_paper_is() -> None:
    for seed in range(20):
        lightness, target = render(RED, replace(CONFIG, mounts=1.0), chances(seed))
        assert lightness.shape == (64, 64, 1)
        chroma = np.hypot(target[..., 0], target[..., 1])
        assert chroma.max() > 50  # the photograph's
        bare = render(RED, CONFIG, chances(seed))[1]
        assert (chroma < 1).mean() > (np.hypot(bare[..., 0], bare[..., 1]) < 1).mean()
        assert (target[..., 2] == 1).all()


def test_the_share_of_mounts_is_what_the_recipe_says() -> None:
    lying = [(render(RED, replace(CONFIG, mounts=0.3), chances(seed))[1][..., 0] < 1).any() for seed in range(400)]
    assert np.mean(lying) == pytest.approx(0.3, abs=0.07)


def test_without_mounts_chances_are_what_they_were_and_validation_has_none() -> None:
    for rng in (lambda: chances(3), lambda: None):
        plain, without = (render(landscape(1), config, rng()) for config in (CONFIG, replace(CONFIG, mounts=0.0)))
        np.testing.assert_array_equal(plain[0], without[0])
    plain, validated = (render(landscape(1), config, None) for config in (CONFIG, replace(CONFIG, mounts=1.0)))
    np.testing.assert_array_equal(plain[0], validated[0])


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(RecipeError, match="mounts"):
        replace(CONFIG, mounts=share)


def test_label_maps_and_mounts_do_not_go_together() -> None:
    with pytest.raises(RecipeError, match="label map"):
        Recipe("both", data=replace(CONFIG, mounts=0.1), model=ModelConfig(segmentation_classes=3))
