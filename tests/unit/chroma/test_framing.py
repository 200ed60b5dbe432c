"""Which size the network sees, and how L gets there."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from chroma.framing import LONGEST_FACTOR, head_lightness, network_size, resize_lightness, size_within
from chroma.signature import SIZE_MULTIPLE


@pytest.mark.parametrize(
    ("height", "width", "size", "expected"),
    [
        (256, 256, 256, (256, 256)),
        (3000, 4000, 192, (160, 224)),
        (4000, 3000, 192, (224, 160)),
        (1, 1, 192, (192, 192)),
        (480, 640, 32, (32, 32)),
    ],
)
def test_known_sizes(height: int, width: int, size: int, expected: tuple[int, int]) -> None:
    assert network_size(height, width, size) == expected


@pytest.mark.parametrize("height", [1, 17, 480, 3000, 100_000])
@pytest.mark.parametrize("width", [1, 17, 640, 4000, 100_000])
@pytest.mark.parametrize("size", [32, 100, 192, 256, 512])
def test_sides_are_multiples_within_bounds(height: int, width: int, size: int) -> None:
    sides = network_size(height, width, size)
    for side in sides:
        assert side % SIZE_MULTIPLE == 0
        assert SIZE_MULTIPLE <= side <= LONGEST_FACTOR * size


@pytest.mark.parametrize("ratio", [0.5, 0.75, 1.0, 1.5, 2.0])
def test_area_stays_about_the_same_for_usual_pictures(ratio: float) -> None:
    height, width = network_size(round(1000 * ratio), 1000, 256)
    assert np.sqrt(height * width) == pytest.approx(256, rel=0.08)
    assert height / width == pytest.approx(ratio, rel=0.2)


def test_turning_the_picture_turns_the_size() -> None:
    assert network_size(333, 777, 192) == network_size(777, 333, 192)[::-1]


@pytest.mark.parametrize(("height", "width"), [(0, 5), (5, 0), (-1, 5)])
def test_an_empty_picture_is_refused(height: int, width: int) -> None:
    with pytest.raises(ValueError, match=f"not {height} x {width}"):
        network_size(height, width, 192)


def test_a_size_below_one_block_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 32 px, is 31"):
        network_size(10, 10, 31)


def test_shrinking_takes_the_area_mean() -> None:
    L = np.random.default_rng(0).uniform(0, 100, (64, 96, 1)).astype(np.float32)
    expected = L.reshape(32, 2, 32, 3).mean(axis=(1, 3))
    assert_allclose(resize_lightness(L, (32, 32))[..., 0], expected, atol=1e-4)


def test_growing_is_bilinear_with_half_pixel_centers() -> None:
    """A ramp stays a ramp whose pixel centers are at (i + 0.5) / n; the borders repeat."""
    L = np.array([[10.0, 20.0, 30.0, 40.0]], np.float32)[..., None]
    position = np.clip((np.arange(16) + 0.5) / 4 - 0.5, 0, 3)
    assert_allclose(resize_lightness(L, (1, 16))[0, :, 0], 10 + 10 * position, atol=1e-5)


def test_one_side_may_shrink_while_the_other_grows() -> None:
    """3000 x 17: the long side by area mean, not by picking rows."""
    L = np.zeros((640, 16, 1), np.float32)
    L[::2] = 100  # stripes that only a mean brings to 50
    small = resize_lightness(L, (32, 64))
    assert_allclose(small, 50, atol=1e-3)


@pytest.mark.parametrize("shape", [(32, 32), (64, 32), (1, 1)])
@pytest.mark.parametrize("picture", [(1, 1), (1, 50), (50, 1), (3000, 17)])
def test_shape_dtype_and_range(shape: tuple[int, int], picture: tuple[int, int]) -> None:
    L = np.random.default_rng(0).uniform(0, 100, (*picture, 1)).astype(np.float32)
    resized = resize_lightness(L, shape)
    assert resized.shape == (*shape, 1)
    assert resized.dtype == np.float32
    assert L.min() - 1e-4 <= resized.min()
    assert resized.max() <= L.max() + 1e-4


def test_the_same_size_changes_nothing() -> None:
    L = np.random.default_rng(0).uniform(0, 100, (33, 47, 1)).astype(np.float32)
    assert_array_equal(resize_lightness(L, (33, 47)), L)


def test_the_heads_see_the_mean_of_four_by_four_pixels() -> None:
    L = np.random.default_rng(0).uniform(0, 100, (2, 32, 64, 1)).astype(np.float32)
    small = head_lightness(L)
    assert small.shape == (2, 8, 16, 1)
    assert small.dtype == np.float32
    for picture, row, column in np.ndindex(2, 8, 16):
        tile = L[picture, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        assert small[picture, row, column, 0] == pytest.approx(tile.mean(), abs=1e-4)
    assert_array_equal(head_lightness(L[1]), small[1])


@pytest.mark.parametrize(
    ("size", "side", "expected"),
    [
        ((300, 400), 160, (120, 160)),
        ((30, 40), 160, (30, 40)),
        ((1, 4000), 100, (1, 100)),
        ((300, 400), None, (300, 400)),
    ],
)
def test_a_size_is_made_to_fit(size: tuple[int, int], side: int | None, expected: tuple[int, int]) -> None:
    assert size_within(*size, side) == expected
