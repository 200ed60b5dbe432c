"""What the tests of `chroma` share: free photographs, and calls without the shape checks of the test run."""

from pathlib import Path

import cv2
import jaxtyping
import numpy as np
import pytest

PHOTOGRAPHS = ("astronaut.jpg", "chelsea.png", "coffee.jpg")


@pytest.fixture
def as_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch the shape checks off, so that a function's own checks answer for wrong shapes, as they do for users."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture(params=PHOTOGRAPHS)
def photograph(request: pytest.FixtureRequest) -> np.ndarray:
    """A free photograph; sRGB, uint8, (H, W, 3)."""
    path = Path(__file__).parents[2] / "data" / str(request.param)
    bgr = cv2.imread(str(path))
    assert bgr is not None
    return np.ascontiguousarray(bgr[..., ::-1])
