from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose

from tests.scene_classifier import NAMES, write_classifier, write_names
from tests.unit.training.pictures import landscape
from training import DataError
from training.data.scene_model import MEAN, STD, SceneModel, load_names


def red(height: int = 60, width: int = 90) -> np.ndarray:
    return np.broadcast_to(np.array([230, 20, 10], np.uint8), (height, width, 3))


def expected(rgb_u8: np.ndarray, mean: tuple[float, ...] = MEAN, std: tuple[float, ...] = STD) -> np.ndarray:
    """The tiny classifier's answer: softmax of the normalized mean color."""
    logits = (rgb_u8.reshape(-1, 3).mean(axis=0) / 255 - np.array(mean)) / np.array(std)
    return np.exp(logits) / np.exp(logits).sum()


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("side", [None, 32])
@pytest.mark.parametrize("probabilities", [False, True])
def test_any_layout_size_and_kind_of_output(layout: str, side: int | None, probabilities: bool, tmp_path: Path) -> None:
    path = write_classifier(tmp_path / "scenes.onnx", layout=layout, side=side, probabilities=probabilities)
    pairs = SceneModel(path, NAMES)(red())
    assert [name for name, _ in pairs] == list(NAMES)
    assert_allclose([value for _, value in pairs], expected(red()), atol=1e-4)
    assert sum(value for _, value in pairs) == pytest.approx(1)


def test_mean_and_standard_deviation_are_a_choice(tmp_path: Path) -> None:
    path = write_classifier(tmp_path / "scenes.onnx")
    pairs = SceneModel(path, NAMES, mean=(0.5, 0.5, 0.5), std=(0.5, 0.25, 0.5))(red())
    assert_allclose([value for _, value in pairs], expected(red(), (0.5,) * 3, (0.5, 0.25, 0.5)), atol=1e-4)


def test_half_precision_and_a_picture_smaller_than_the_input(tmp_path: Path) -> None:
    path = write_classifier(tmp_path / "scenes.onnx", half=True)
    pairs = SceneModel(path, NAMES)(red(20, 17))
    assert_allclose([value for _, value in pairs], expected(red()), atol=0.01)


def test_the_middle_of_the_picture_counts(tmp_path: Path) -> None:
    picture = np.array(red(60, 180))
    picture[:, :60] = picture[:, 120:] = (10, 20, 230)
    pairs = SceneModel(write_classifier(tmp_path / "scenes.onnx", side=32), NAMES)(picture)
    assert_allclose([value for _, value in pairs], expected(red()), atol=1e-4)


def test_a_photograph_gets_the_answer_of_its_mean_color(tmp_path: Path) -> None:
    picture = landscape(1, 90, 90)
    pairs = SceneModel(write_classifier(tmp_path / "scenes.onnx", side=30), NAMES)(picture)
    small = cv2.resize(picture, (30, 30), interpolation=cv2.INTER_AREA)
    assert_allclose([value for _, value in pairs], expected(small), atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": 1}, r"a scene model takes one float picture"),
        ({"batch": 8}, r"a scene model takes one float picture"),
        ({"dtype": "uint8"}, r"takes pixels tensor\(uint8\)"),
    ],
)
def test_a_model_of_another_kind_is_an_error(change: dict[str, object], message: str, tmp_path: Path) -> None:
    path = write_classifier(tmp_path / "scenes.onnx", **change)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=message):
        SceneModel(path, NAMES)


def test_names_that_do_not_fit_the_model_are_an_error(tmp_path: Path) -> None:
    path = write_classifier(tmp_path / "scenes.onnx")
    with pytest.raises(DataError, match="gives 6, 3 values, and there are 2 class names"):
        SceneModel(path, ("a", "b"))


def test_what_is_no_model_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "scenes.onnx").write_bytes(b"no model")
    for path in (tmp_path / "scenes.onnx", tmp_path / "gone.onnx"):
        with pytest.raises(DataError, match="is no model that ONNX Runtime loads"):
            SceneModel(path, NAMES)


def test_a_standard_deviation_is_positive(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must be positive"):
        SceneModel(write_classifier(tmp_path / "scenes.onnx"), NAMES, std=(0.2, 0.0, 0.2))


def test_names_are_read_one_a_line(tmp_path: Path) -> None:
    assert load_names(write_names(tmp_path / "names.txt")) == NAMES
    for text in ("a\n\nb\n", "a\nb\na\n", ""):
        (tmp_path / "bad.txt").write_text(text)
        with pytest.raises(DataError, match="one class name a line"):
            load_names(tmp_path / "bad.txt")
    with pytest.raises(DataError, match="cannot be read"):
        load_names(tmp_path / "gone.txt")
