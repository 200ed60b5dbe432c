"""Color differences against published values and against scikit-image."""

from pathlib import Path

import numpy as np
import skimage.color
from numpy.testing import assert_allclose

from chroma.quality import delta_e_2000


def test_delta_e_2000_gives_the_published_values_of_all_34_pairs_both_ways() -> None:
    """Oracle: Sharma, Wu, Dalal 2005, table 1; the pairs probe every branch and discontinuity of the formula."""
    pairs = np.loadtxt(Path(__file__).with_name("ciede2000_pairs.csv"), delimiter=",", skiprows=1)
    assert pairs.shape == (34, 7)
    first, second, expected = pairs[:, :3], pairs[:, 3:6], pairs[:, 6]
    assert_allclose(delta_e_2000(first, second), expected, atol=5.1e-5)
    assert_allclose(delta_e_2000(second, first), expected, atol=5.1e-5)


def test_delta_e_2000_equals_scikit_image_on_random_colors() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.uniform([0, -110, -110], [100, 110, 110], (2, 100, 100, 3))
    assert_allclose(delta_e_2000(first, second), skimage.color.deltaE_ciede2000(first, second), atol=1e-9)
