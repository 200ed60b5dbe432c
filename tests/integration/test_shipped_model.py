"""The model that ships: it loads, says what it is, and colors real photographs without touching their lightness."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from chroma.lab import gray_to_lightness, rgb_u8_to_lab
from chroma.modes import MODES
from chroma.quality import colorfulness, speckle
from service.engine.colorizer import colorize
from service.engine.options import Options
from service.engine.session import Session, shipped_model
from service.pictures.decode import Picture

PICTURES = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def session() -> Session:
    return Session(shipped_model(), device="cpu", threads=2)


def gray_photograph(name: str) -> np.ndarray:
    return cv2.imread(str(PICTURES / name), cv2.IMREAD_GRAYSCALE)


def color(session: Session, gray: np.ndarray, options: Options) -> np.ndarray:
    return colorize(Picture(gray), options, session).rgb


def test_its_stamp_says_what_it_is(session: Session) -> None:
    stamp = session.stamp
    assert stamp.recipe == "wide"
    assert len(stamp.scenes) == 10
    assert stamp.scores["rows"]["default (vividness 0.5)"]["psnr"] > stamp.scores["rows"]["do nothing (gray)"]["psnr"]
    assert stamp.license


def test_the_file_is_small_enough_to_ship() -> None:
    assert shipped_model().stat().st_size < 32e6


@pytest.mark.parametrize("name", ["astronaut.jpg", "chelsea.png", "coffee.jpg"])
@pytest.mark.parametrize("mode", MODES)
def test_it_colors_and_keeps_lightness(session: Session, name: str, mode: str) -> None:
    gray = gray_photograph(name)
    rgb = color(session, gray, Options(mode=mode))
    assert rgb.shape == (*gray.shape, 3)
    assert colorfulness(rgb) > 5
    drift = np.abs(rgb_u8_to_lab(rgb)[..., :1] - gray_to_lightness(gray))
    assert drift.mean() <= 0.3
    assert np.percentile(drift, 99) <= 1.0


def test_vividness_goes_from_calm_to_vivid(session: Session) -> None:
    gray = gray_photograph("coffee.jpg")
    colors = [colorfulness(color(session, gray, Options(vividness=vividness))) for vividness in (0.0, 0.5, 1.0)]
    assert colors[0] < colors[1] < colors[2]


def test_the_cat_is_warm_and_without_speckle(session: Session) -> None:
    """Its fur is ginger; the mean hue must be between red and yellow, and no spots may appear."""
    gray = gray_photograph("chelsea.png")
    lab = rgb_u8_to_lab(color(session, gray, Options()))
    a, b = lab[..., 1].mean(), lab[..., 2].mean()
    assert a > 0
    assert b > 3
    truth = rgb_u8_to_lab(cv2.imread(str(PICTURES / "chelsea.png"))[..., ::-1])
    assert speckle(lab, truth) < 0.001
