"""The segmentation loss against a NumPy calculation, its gradient, and the scores beside it."""

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from training.network.segmentation import segmentation_loss
from training.run.segmentation_scores import SegmentationScores

pytestmark = pytest.mark.training

CLASSES = 4


def softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def make_batch(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three pictures: some pixels unlabeled, one class missing; no label at all; all of one class."""
    rng = np.random.default_rng(seed)
    target = rng.integers(-1, CLASSES - 1, (3, 5, 6, 1)).astype(np.float32)
    target[1], target[2] = -1, CLASSES - 1
    return target, rng.normal(0, 2, (3, 5, 6, CLASSES)).astype(np.float32)


def expected_loss(target: np.ndarray, logits: np.ndarray, *, dice: float, cross_entropy: float) -> float:
    """The batch mean, picture by picture and class by class."""
    p = softmax(logits.astype(np.float64))
    entropies, lost = [], []
    for label, probability in zip(target[..., 0].astype(int), p, strict=True):
        known = label >= 0
        truth, guess = label[known], probability[known]
        entropies += list(-np.log(guess[np.arange(len(truth)), truth]))
        shown = np.unique(truth)
        overlap = [2 * guess[truth == c, c].sum() / (guess[:, c].sum() + (truth == c).sum()) for c in shown]
        if len(shown):
            lost.append(1 - np.mean(overlap))
    return dice * float(np.mean(lost)) + cross_entropy * float(np.mean(entropies))


@pytest.mark.parametrize(("dice", "cross_entropy"), [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.5, 2.0)])
def test_the_loss_equals_a_calculation_in_numpy(dice: float, cross_entropy: float) -> None:
    target, logits = make_batch()
    values = keras.ops.convert_to_numpy(segmentation_loss(dice=dice, cross_entropy=cross_entropy)(target, logits))
    assert values.shape == (3,)
    assert values[1] == 0
    assert values.mean() == pytest.approx(
        expected_loss(target, logits, dice=dice, cross_entropy=cross_entropy), rel=1e-5
    )


def test_by_hand() -> None:
    """Two pixels of classes 0 and 1, probabilities 3/4 and 1/2: Dice 2(.75)/(1.25+1) and 2(.5)/(.75+1)."""
    target = np.array([[[[0], [1]]]], np.float32)
    logits = np.log(np.array([[[[0.75, 0.25], [0.5, 0.5]]]], np.float32))
    got = keras.ops.convert_to_numpy(segmentation_loss(cross_entropy=0.0)(target, logits))
    assert got[0] == pytest.approx(1 - (1.5 / 2.25 + 1 / 1.75) / 2, rel=1e-6)
    got = keras.ops.convert_to_numpy(segmentation_loss(dice=0.0)(target, logits))
    assert got[0] == pytest.approx(-(np.log(0.75) + np.log(0.5)) / 2, rel=1e-6)


def test_a_perfect_answer_costs_nothing_and_a_wrong_one_all() -> None:
    target = np.array([0, 1, 2, 3], np.float32).reshape(1, 2, 2, 1)
    right = 50 * np.eye(CLASSES, dtype=np.float32).reshape(1, 2, 2, CLASSES)
    dice = segmentation_loss(cross_entropy=0.0)
    assert float(dice(target, right)[0]) == pytest.approx(0, abs=1e-6)
    assert float(dice(target, right[..., ::-1].copy())[0]) == pytest.approx(1, abs=1e-6)


def gradient(target: np.ndarray, logits: np.ndarray) -> np.ndarray:
    import tensorflow as tf

    loss, variable = segmentation_loss(), tf.Variable(logits)
    with tf.GradientTape() as tape:
        value = tf.reduce_mean(loss(tf.constant(target), variable))
    assert np.isfinite(value.numpy())
    return tape.gradient(value, variable).numpy()


def test_without_labels_value_and_gradient_are_zero() -> None:
    _, logits = make_batch()
    target = np.full((3, 5, 6, 1), -1, np.float32)
    assert_array_equal(keras.ops.convert_to_numpy(segmentation_loss()(target, logits)), 0)
    assert_array_equal(gradient(target, logits), 0)


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_the_gradient_is_finite_and_only_where_labels_are(scale: float) -> None:
    """However sure the network is."""
    target, logits = make_batch()
    got = gradient(target, logits * np.float32(scale))
    assert np.isfinite(got).all()
    assert_array_equal(got[np.broadcast_to(target < 0, got.shape)], 0)
    assert np.abs(got[0]).max() > 0


def test_the_gradient_is_the_slope() -> None:
    target, logits = make_batch(3)
    got, step = gradient(target, logits), 1e-4
    rng = np.random.default_rng(4)
    for _ in range(8):
        place = tuple(rng.integers(0, side) for side in logits.shape)
        moved = [logits.astype(np.float64) for _ in range(2)]
        moved[0][place] += step
        moved[1][place] -= step
        up, down = (expected_loss(target, shifted, dice=1.0, cross_entropy=1.0) for shifted in moved)
        assert_allclose(got[place], (up - down) / (2 * step), atol=1e-5)


def test_a_label_beyond_the_classes_counts_as_none() -> None:
    target, logits = make_batch()
    beyond = np.where(target == 1, np.float32(CLASSES), target)
    without = np.where(target == 1, np.float32(-1), target)
    assert_array_equal(*(keras.ops.convert_to_numpy(segmentation_loss()(t, logits)) for t in (beyond, without)))


def test_a_class_that_is_not_shown_costs_only_what_it_takes_from_others() -> None:
    """A network that has never heard of a fifth class loses nothing for it."""
    target, logits = make_batch()
    more = np.concatenate([logits, np.full((*logits.shape[:3], 1), -1e4, np.float32)], axis=-1)
    four, five = (keras.ops.convert_to_numpy(segmentation_loss()(target, given)) for given in (logits, more))
    assert_allclose(four, five, rtol=1e-6)


def test_scores_count_labeled_pixels_over_all_pictures() -> None:
    """Of six labeled pixels four are right; class 2 neither occurs nor is guessed, class 7 is none of the head's."""
    scores = SegmentationScores(CLASSES)
    label = np.array([0, 0, 0, 1, 1, 3, -1, 7], np.float32).reshape(2, 2, 2, 1)
    guess = np.array([0, 0, 1, 1, 0, 3, 2, 2]).reshape(2, 2, 2)
    logits = np.eye(CLASSES, dtype=np.float32)[guess]
    scores.add(logits[:1], label[:1])
    scores.add(logits[1:], label[1:])
    assert scores.result() == {
        "segmentation_accuracy": pytest.approx(4 / 6),
        "segmentation_miou": pytest.approx((2 / 4 + 1 / 3 + 1) / 3),
        "segmentation_dice": pytest.approx((4 / 6 + 2 / 4 + 1) / 3),
    }


def test_without_labels_the_scores_are_unknown() -> None:
    scores = SegmentationScores(CLASSES)
    scores.add(np.zeros((1, 2, 2, CLASSES), np.float32), np.full((1, 2, 2, 1), -1, np.float32))
    assert len(scores.result()) == 3
    assert np.isnan(list(scores.result().values())).all()
