"""chroma.confidence: sure, unsure, and the same distance as evaluation's."""

import numpy as np
import pytest

from chroma.bins import Q, load_centers, nearest_bin, squared_distances
from chroma.confidence import NEAR, confidence_map
from chroma.decoding import softmax


def test_from_sure_to_no_idea() -> None:
    centers = load_centers()
    one = np.where(np.arange(Q) == 100, 40, 0).astype(np.float32)
    # Two opposite colors, equally likely: their mean, a gray, is near neither.
    opposite = np.zeros(Q, np.float32)
    opposite[nearest_bin(np.float32([[60, 40], [-60, 40]]), centers)] = 40
    logits = np.stack([one, np.zeros(Q, np.float32), opposite])
    sure, flat, torn = confidence_map(logits)
    assert sure == pytest.approx(1, abs=1e-6)
    assert flat == pytest.approx((np.square(centers - centers.mean(axis=0)).sum(axis=1) < NEAR**2).mean(), abs=1e-3)
    assert torn == pytest.approx(0, abs=1e-6)


def test_it_is_the_mass_near_the_mean() -> None:
    logits = np.random.default_rng(3).normal(0, 3, (4, 5, Q)).astype(np.float32)
    posterior = softmax(logits)
    near = squared_distances(posterior @ load_centers(), load_centers()) < NEAR**2
    found = confidence_map(logits)
    assert found.shape == (4, 5)
    np.testing.assert_allclose(found, (posterior * near).sum(axis=-1), atol=1e-5)
    np.testing.assert_allclose(found, confidence_map(logits + 7), atol=1e-5)


@pytest.mark.training
def test_evaluation_means_the_same() -> None:
    from training.run import metrics

    assert metrics.NEAR == NEAR
