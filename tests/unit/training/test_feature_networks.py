"""FID's formula against known answers, and networks that are small enough to compute by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training import DataError
from training.judge.feature_networks import (
    IMAGENET_DEVIATION,
    IMAGENET_MEAN,
    NOT_COMPUTED,
    FeatureSums,
    Network,
    Networks,
    NetworkScores,
    frechet_distance,
)


def write_network(path: Path, nodes: list[Any], shapes: list[list[Any]], constants: dict[str, np.ndarray]) -> Path:
    """Write an ONNX network of inputs x0, x1, ... and output y."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        nodes,
        "judge",
        [helper.make_tensor_value_info(f"x{n}", TensorProto.FLOAT, shape) for n, shape in enumerate(shapes)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    return path


def mean_levels(path: Path, *, channels_last: bool = False, side: int | str = "s") -> Path:
    """A network whose three features are the mean levels of the channels."""
    from onnx import helper

    shape, axes = (["n", side, side, 3], [1, 2]) if channels_last else (["n", 3, side, side], [2, 3])
    node = helper.make_node("ReduceMean", ["x0"], ["y"], axes=axes, keepdims=0)
    return write_network(path, [node], [shape], {})


def distance_network(path: Path) -> Path:
    """A network of two pictures that gives their mean absolute difference."""
    from onnx import helper

    nodes = [
        helper.make_node("Sub", ["x0", "x1"], ["difference"]),
        helper.make_node("Abs", ["difference"], ["absolute"]),
        helper.make_node("ReduceMean", ["absolute"], ["y"], axes=[1, 2, 3], keepdims=1),
    ]
    return write_network(path, nodes, [["n", 3, "h", "w"]] * 2, {})


def flat(*rgb: int) -> np.ndarray:
    return np.full((6, 8, 3), rgb, np.uint8)


# ------------------------------------------------------------------------------------------------------------------ FID


def test_the_distance_of_equal_gaussians_is_zero() -> None:
    root = np.random.default_rng(0).normal(size=(5, 5))
    assert frechet_distance(np.ones(5), root @ root.T, np.ones(5), root @ root.T) == pytest.approx(0, abs=1e-9)


def test_commuting_covariances_have_a_known_distance() -> None:
    """Diagonal covariances: |m1 - m2|^2 + sum (s1 - s2)^2 over the standard deviations."""
    mean_1, mean_2 = np.array([1.0, 2.0, 3.0]), np.array([1.0, 0.0, 0.0])
    deviation_1, deviation_2 = np.array([1.0, 2.0, 0.0]), np.array([3.0, 0.5, 1.0])
    expected = 4 + 9 + (4 + 2.25 + 1)
    got = frechet_distance(mean_1, np.diag(deviation_1**2), mean_2, np.diag(deviation_2**2))
    assert got == pytest.approx(expected)


def test_any_covariances_agree_with_the_matrix_square_root_of_scipy() -> None:
    import scipy.linalg

    rng = np.random.default_rng(1)
    roots = rng.normal(size=(2, 6, 6))
    first, second = (root @ root.T for root in roots)
    means = rng.normal(size=(2, 6))
    product = np.real(scipy.linalg.sqrtm(first @ second))
    expected = np.square(means[0] - means[1]).sum() + np.trace(first + second - 2 * product)
    assert frechet_distance(means[0], first, means[1], second) == pytest.approx(expected)
    assert frechet_distance(means[1], second, means[0], first) == pytest.approx(expected)


def test_singular_covariances_are_fine() -> None:
    """Fewer vectors than features, as in small sets: two lines at a right angle."""
    first, second = np.diag([4.0, 0.0]), np.diag([0.0, 9.0])
    assert frechet_distance(np.zeros(2), first, np.zeros(2), second) == pytest.approx(13)


def test_sums_are_mean_and_covariance_even_far_from_zero() -> None:
    vectors = np.random.default_rng(2).normal(1e6, 1.0, (50, 4))
    sums = FeatureSums()
    for vector in vectors:
        sums.add(vector)
    assert sums.count == 50
    assert sums.mean() == pytest.approx(vectors.mean(axis=0), rel=1e-12)
    assert sums.covariance() == pytest.approx(np.cov(vectors.T), rel=1e-6)


def test_a_single_vector_has_no_spread() -> None:
    sums = FeatureSums()
    sums.add(np.array([1.0, 2.0]))
    assert (sums.covariance() == 0).all()


# ------------------------------------------------------------------------------------------------------------- networks


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        ("unit", [1.0, 0.2, 0.0]),
        ("signed", [1.0, -0.6, -1.0]),
        ("bytes", [255.0, 51.0, 0.0]),
        ("imagenet", (np.array([1.0, 0.2, 0.0]) - IMAGENET_MEAN) / IMAGENET_DEVIATION),
    ],
)
def test_a_network_gets_the_levels_it_wants(
    tmp_path: Path, channels_last: bool, scale: str, expected: list[float]
) -> None:
    path = mean_levels(tmp_path / "net.onnx", channels_last=channels_last)
    network = Network(f"{path}@{scale}", default_scale="unit", inputs=1)
    assert network(flat(255, 51, 0)) == pytest.approx(expected, abs=1e-6)
    assert network.describe()["scale"] == scale


def test_pictures_are_resized_where_the_network_has_a_size(tmp_path: Path) -> None:
    network = Network(str(mean_levels(tmp_path / "net.onnx", side=4)), default_scale="bytes", inputs=1)
    for picture in (flat(10, 20, 30), np.full((3, 2, 3), (10, 20, 30), np.uint8)):
        assert network(picture) == pytest.approx([10, 20, 30])


def test_what_cannot_be_used_is_refused(tmp_path: Path) -> None:
    one, two = mean_levels(tmp_path / "one.onnx"), distance_network(tmp_path / "two.onnx")
    with pytest.raises(DataError, match="cannot be read: No such file"):
        Network(str(tmp_path / "none.onnx"), default_scale="unit", inputs=1)
    with pytest.raises(DataError, match="scale must be one of unit, signed, bytes, imagenet, is 'loud'"):
        Network(f"{one}@loud", default_scale="unit", inputs=1)
    with pytest.raises(DataError, match=r"must take 2 input\(s\)"):
        Network(str(one), default_scale="unit", inputs=2)
    with pytest.raises(DataError, match=r"must take 1 input\(s\)"):
        Network(str(two), default_scale="unit", inputs=1)
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(DataError, match="no network that ONNX Runtime can run"):
        Network(str(tmp_path / "text.onnx"), default_scale="unit", inputs=1)


def test_a_picture_that_the_network_cannot_take_is_an_error(tmp_path: Path) -> None:
    network = Network(str(distance_network(tmp_path / "two.onnx")), default_scale="unit", inputs=2)
    with pytest.raises(DataError, match="cannot judge a picture"):
        network(flat(0, 0, 0), np.zeros((5, 7, 3), np.uint8))


# ----------------------------------------------------------------------------------------------------------- their word


def test_without_networks_nothing_is_computed() -> None:
    scores = NetworkScores(Networks())
    scores.add_truth(flat(1, 2, 3), 0)
    scores.add("default", flat(1, 2, 3), flat(1, 2, 3), 0)
    assert scores.result() == {name: {"status": NOT_COMPUTED} for name in ("fid", "lpips", "classifier")}


def test_fid_and_lpips_of_networks_computed_by_hand(tmp_path: Path) -> None:
    """Features are mean levels; answers are 51 levels darker than the truth in one channel: a mere shift."""
    networks = Networks(
        fid=str(mean_levels(tmp_path / "fid.onnx")), lpips=f"{distance_network(tmp_path / 'lpips.onnx')}@unit"
    )
    scores = NetworkScores(networks)
    for truth in (flat(255, 51, 0), flat(153, 102, 0), flat(204, 51, 51)):
        scores.add_truth(truth, None)
        scores.add("shifted", truth - np.uint8([51, 0, 0]), truth, None)
        scores.add("right", truth, truth, None)
    report = scores.result()
    assert report["fid"]["rows"] == {"shifted": pytest.approx(0.2**2, abs=1e-4), "right": pytest.approx(0, abs=1e-4)}
    assert (report["fid"]["features"], report["fid"]["pictures"]) == (3, 3)
    assert report["lpips"]["rows"] == {"shifted": pytest.approx(0.2 / 3, abs=1e-4), "right": 0}
    assert report["classifier"]["status"] == NOT_COMPUTED


def test_a_classifier_says_what_it_recognizes(tmp_path: Path) -> None:
    """It calls a picture by its strongest channel; one of the two answers has lost its color's lead."""
    scores = NetworkScores(Networks(classifier=f"{mean_levels(tmp_path / 'net.onnx')}@unit"))
    for truth, label, answer in ((flat(9, 1, 1), 0, flat(5, 4, 3)), (flat(1, 1, 9), 2, flat(6, 3, 5))):
        scores.add_truth(truth, label)
        scores.add("default", answer, truth, label)
    scores.add_truth(flat(1, 9, 1), None)  # nobody said what it is
    report = scores.result()["classifier"]
    assert report["rows"] == {"true colors": {"top1": 100, "top5": 100}, "default": {"top1": 50, "top5": 100}}
    assert report["pictures"] == 2
    with pytest.raises(DataError, match="label 3 is none of the classifier's 3 classes"):
        scores.add_truth(flat(1, 1, 1), 3)


def test_a_classifier_without_labels_says_so(tmp_path: Path) -> None:
    scores = NetworkScores(Networks(classifier=str(mean_levels(tmp_path / "net.onnx"))))
    scores.add_truth(flat(1, 1, 1), None)
    assert scores.result()["classifier"]["status"] == "not computed: no picture has a label"
