"""Our sparse color loss is the original's dense one: the same value and the same gradient, on every backend.

TensorFlow runs in this process; PyTorch and JAX, which Keras picks once for all, in processes of their own.
"""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from chroma import signature
from chroma.bins import Q, load_centers
from tests.golden.test_prior import original_smoothing, raw_prior
from tests.original_loss import dense_labels, dense_loss, load_finder, value_and_gradient
from tests.starter import Starter

pytestmark = pytest.mark.training

TOLERANCE = 1e-5
"""Relative; of a gradient, to its largest entry."""
CASES = ("logits", "logits, weighted", "probabilities", "probabilities, weighted", "clipped", "clipped, weighted")
"""How our loss takes the prediction; `clipped`: probabilities, many of them below the clipping limit."""


def original_prior_factor(prior: np.ndarray) -> np.ndarray:
    """Zhang's factor with lambda 1/2 and alpha 1, of the prior smoothed along the bins' index."""
    smoothed = original_smoothing(prior)
    occurs = smoothed != 0
    factor = 1 / (0.5 * smoothed + 0.5 * occurs / occurs.sum())
    return factor / np.sum(smoothed * factor)


def random_case(case: str) -> tuple[np.ndarray, np.ndarray]:
    """Return integer ab with weight 1, (2, 12, 12, 3), half of them multiples of 5, where bins tie; and logits."""
    rng = np.random.default_rng(CASES.index(case))
    ab = rng.integers(-105, 105, (2, 12, 12, 2)).astype(np.float32)
    ab[0] = 5 * np.rint(ab[0] / 5)
    logits = rng.normal(0, 6 if "clipped" in case else 1.5, (2, 12, 12, Q)).astype(np.float32)
    return np.concatenate([ab, np.ones((2, 12, 12, 1), np.float32)], axis=-1), logits


def measure() -> dict[str, np.ndarray]:
    """Return value and gradient of both losses for each case, under this process's backend."""
    from keras import ops

    from training.config import LossConfig
    from training.network.losses import build_losses

    finder, prior = load_finder(load_centers()), raw_prior()
    found: dict[str, np.ndarray] = {}
    for case in CASES:
        target, logits = random_case(case)
        labels, weighted = dense_labels(target[..., :2], finder, Q), "weighted" in case
        dense = dense_loss(original_prior_factor(prior) if weighted else None)
        config = LossConfig(
            neighbors=5,
            ties="ball_tree",
            probabilities="logits" not in case,
            rebalance=weighted,
            prior_smoothing="index",
        )
        sparse = build_losses(config, prior)[signature.AB_LOGITS]
        losses = {
            "dense": lambda x, dense=dense, labels=labels: dense(labels, ops.softmax(x, axis=-1)),
            "sparse": lambda x, sparse=sparse, target=target: ops.mean(sparse(ops.convert_to_tensor(target), x)),
        }
        for name, loss in losses.items():
            value, gradient = value_and_gradient(loss, logits)
            found |= {f"{case}, {name} value": np.array(value), f"{case}, {name} gradient": gradient}
    return found


@pytest.fixture(
    scope="module",
    params=[
        "tensorflow",
        pytest.param("torch", marks=pytest.mark.torch),
        pytest.param("jax", marks=pytest.mark.jax),
    ],
)
def found(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, starter: Callable[[str], Starter]
) -> dict[str, np.ndarray]:
    if request.param == "tensorflow":
        return measure()
    answer = tmp_path_factory.mktemp(request.param) / "answer.npz"
    program = (
        "import sys, keras, numpy\n"
        "from tests.golden.test_dense_loss import measure\n"
        "numpy.savez(sys.argv[1], backend=keras.backend.backend(), **measure())\n"
    )
    starter(request.param).code(program, answer).finish()
    with np.load(answer) as arrays:
        assert arrays["backend"] == request.param
        return {name: arrays[name] for name in arrays.files if name != "backend"}


@pytest.mark.parametrize("case", CASES)
def test_the_value_is_that_of_the_dense_loss(case: str, found: dict[str, np.ndarray]) -> None:
    assert_allclose(found[f"{case}, sparse value"], found[f"{case}, dense value"], rtol=TOLERANCE)


@pytest.mark.parametrize("case", CASES)
def test_the_gradient_is_that_of_the_dense_loss(case: str, found: dict[str, np.ndarray]) -> None:
    dense = found[f"{case}, dense gradient"]
    assert np.abs(dense).max() > 1e-4
    assert_allclose(found[f"{case}, sparse gradient"], dense, rtol=0, atol=TOLERANCE * np.abs(dense).max())


def test_a_clipped_bin_gets_no_gradient_from_probabilities_and_one_from_logits() -> None:
    """A pixel whose own bins all lie below 1e-7: the original learns nothing from it."""
    from keras import ops

    from training.config import LossConfig
    from training.network.losses import build_losses

    target = np.array([[[[50.0, 40.0, 1.0]]]], np.float32)
    logits = np.full((1, 1, 1, Q), -20.0, np.float32)
    logits[..., 0] = 20.0  # another bin has it all
    gradients = {}
    for probabilities in (True, False):
        config = LossConfig(neighbors=5, ties="ball_tree", probabilities=probabilities)
        loss = build_losses(config, raw_prior())[signature.AB_LOGITS]
        gradients[probabilities] = value_and_gradient(lambda x, loss=loss: ops.mean(loss(target, x)), logits)[1]
    assert_array_equal(gradients[True], 0)
    assert np.abs(gradients[False]).max() > 0.5


def test_sparse_targets_need_a_thirtieth_of_the_memory() -> None:
    target, _ = random_case("logits")
    labels = dense_labels(target[..., :2], load_finder(load_centers()), Q).astype(np.float32)
    assert labels.nbytes / target.nbytes > 100
