"""chroma.region_network: the U-Net in NumPy is the one that was fitted, and takes grids of any size."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from chroma import region_network
from chroma.bins import load_centers
from chroma.region_network import MOST, at_half, directions_of, judge, load_model

NEAR = len(load_model()["mean"])
SEEN = load_model()["directions"].shape[1] + 2


def some(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    near = random.normal(0, 1, (height, width, NEAR)) * load_model()["deviation"] + load_model()["mean"]
    return near.astype(np.float32), random.normal(0, 1, ((height + 1) // 2, (width + 1) // 2, SEEN)).astype(np.float32)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 2), (16, 24), (33, 40)])
def test_any_size_of_grid(size: tuple[int, int]) -> None:
    share = judge(*some(*size))
    assert share.shape == size
    assert share.dtype == np.float32
    assert (share >= 0).all()
    assert (share <= 1).all()


def test_a_convolution_sums_over_its_window() -> None:
    """Against loops; zeros lie around, and what is negative is cut."""
    model = load_model()
    kernel, bias = model["down0_kernel"], model["down0_bias"]
    values = np.random.default_rng(0).normal(0, 1, (5, 6, kernel.shape[2])).astype(np.float32)
    wanted = np.zeros((5, 6, kernel.shape[3]))
    padded = np.pad(values, ((1, 1), (1, 1), (0, 0)))
    for row in range(5):
        for column in range(6):
            window = padded[row : row + 3, column : column + 3]
            wanted[row, column] = np.maximum(np.einsum("ijc,ijcd->d", window, kernel) + bias, 0)
    assert_allclose(region_network._convolve(values, "down0"), wanted, atol=1e-4)


def test_the_whole_view_counts() -> None:
    """What lies far away changes the answer: the network looks at more than a pixel and its neighbors."""
    near, seen = some(64, 64)
    before = judge(near, seen)
    near[40:, 40:] += 3 * load_model()["deviation"]
    assert np.abs(judge(near, seen) - before)[:24, :24].max() > 1e-4


def test_directions_ignore_what_softmax_ignores_and_are_bounded() -> None:
    """A constant added to all logits says nothing; another network's larger logits lead nowhere new."""
    logits = np.random.default_rng(1).normal(0, 2, (6, 5, len(load_centers()))).astype(np.float32)
    assert_allclose(directions_of(logits), directions_of(logits + 7), atol=1e-3)
    assert np.abs(directions_of(100 * logits)).max() <= MOST


def test_half_of_a_grid_is_rounded_up() -> None:
    assert at_half(np.ones((4, 4, 3), np.float32), (7, 10)).shape == (4, 5, 3)
