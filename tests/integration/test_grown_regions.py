"""Regions on photographs, as the shipped model sees them, and on flat pictures, of which its network sees nothing."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from chroma.bins import load_centers
from chroma.decoding import softmax
from chroma.regions import Ground, Mark, grow, survey
from service.engine.colorizer import prepare
from service.engine.options import Options
from service.engine.session import Session, shipped_model
from service.pictures.decode import Picture

PICTURES = Path(__file__).parents[1] / "data"
GALLERY = Path(__file__).parents[2] / "docs" / "images" / "gallery" / "old"


@pytest.fixture(scope="module")
def session() -> Session:
    return Session(shipped_model(), device="cpu", threads=2)


def survey_of(session: Session, gray: np.ndarray) -> Ground:
    prepared = prepare(Picture(gray), Options(), session.stamp)
    logits = session.run([prepared.query])[0]["ab_logits"]
    return survey(prepared.L[:], softmax(logits) @ load_centers(), logits)


def click(x: float, y: float, *, away: bool = False) -> Mark:
    return Mark(((x, y),), 0.012, away)


@pytest.mark.parametrize("path", [PICTURES / "coffee.jpg", PICTURES / "chelsea.png", GALLERY / "1870ssphinx.jpg"])
def test_taking_away_adds_nothing_anywhere(session: Session, path: Path) -> None:
    ground = survey_of(session, cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
    random = np.random.default_rng(7)
    marks = [click(*random.uniform(0.1, 0.9, 2)) for _ in range(2)]
    before = grow(ground, marks)
    shrunk = False
    for _ in range(9):  # More than are judged each for itself.
        x, y = random.uniform(0.1, 0.9, 2)
        marks.append(Mark(((x, y), (x + 0.05, y)), 0.02, takes_away=True))
        after = grow(ground, marks)
        assert (after <= before).all()
        assert after[int(y * len(after)), int(x * after.shape[1])] == 0
        shrunk |= bool((after < before).any())
        before = after
    assert shrunk


def halves() -> np.ndarray:
    """Dark on the left, bright on the right, with hardly visible stripes."""
    return (np.where(np.arange(240) < 120, 70, 190) + np.arange(160)[:, None] % 3).astype(np.uint8)


@pytest.mark.parametrize(("x", "y"), [(0.1, 0.1), (0.25, 0.2), (0.25, 0.5), (0.05, 0.95), (0.75, 0.5)])
def test_a_click_into_a_flat_area_covers_it_up_to_its_edge(session: Session, x: float, y: float) -> None:
    share = grow(survey_of(session, halves()), [click(x, y)])
    mine, other = (share[:, :79], share[:, 82:])[:: 1 if x < 0.5 else -1]
    assert (mine > 0.5).mean() > 0.8
    assert (other > 0.5).mean() < 0.1


def test_of_a_flat_area_a_mark_takes_away_what_lies_nearer_to_it(session: Session) -> None:
    ground = survey_of(session, halves())
    share = grow(ground, [click(0.25, 0.1), click(0.25, 0.9, away=True)])
    rows = (share[:, :79] > 0.5).mean(axis=1)
    assert rows[: len(rows) // 3].mean() > 0.9
    assert rows[-len(rows) // 3 :].mean() < 0.1


def test_the_sky_behind_the_sphinx_is_no_dot(session: Session) -> None:
    """A click there the network does not understand; the sky is as uniform as skies are."""
    ground = survey_of(session, cv2.imread(str(GALLERY / "1870ssphinx.jpg"), cv2.IMREAD_GRAYSCALE))
    found = grow(ground, [click(0.7, 0.12)]) > 0.5
    bright = ground.L > 85
    assert found[: len(found) // 6, 80:].mean() > 0.9
    assert (found & bright).sum() > 0.9 * found.sum()  # Neither the head nor the pyramid.
