"""The network of regions: what was fitted in Keras is what runs in NumPy, and the program that fits it does."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from chroma import region_network
from chroma.region_network import judge, load_model

pytestmark = pytest.mark.training


@pytest.fixture
def fitting() -> Any:
    pytest.importorskip("keras")
    from benchmarks.region_fit import fitting

    return fitting


def test_keras_and_numpy_agree(fitting: Any) -> None:
    model = load_model()
    network = fitting.build()
    for layer in network.layers:
        if layer.weights:
            layer.set_weights([model[f"{layer.name}_kernel"], model[f"{layer.name}_bias"]])
    random = np.random.default_rng(5)
    values = random.normal(0, 1, (32, 40, len(model["mean"]))).astype(np.float32)
    seen = random.normal(0, 1, (16, 20, model["directions"].shape[1] + 2)).astype(np.float32)
    logits = np.asarray(network.predict_on_batch([values[None], seen[None]]))[0, ..., 0]
    near = values * model["deviation"] + model["mean"]
    assert_allclose(judge(near, seen), 1 / (1 + np.exp(-logits)), atol=1e-3)


def test_a_network_is_fitted(fitting: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To two discs: the file has the arrays of the shipped one, and judges."""
    from benchmarks import regions

    monkeypatch.setattr(fitting, "PASSES", 1)
    monkeypatch.setattr(region_network, "MODEL_FILE", region_network.MODEL_FILE)
    things = list(regions.things_of(regions.made_up(tmp_path), "val", 9, squeeze=True))
    assert len(things) == 2
    shipped = {name: array.shape for name, array in load_model().items()}
    try:
        fitting.fit(things, tmp_path / "new.npz", 1)
        fitted = load_model()
        assert {name: array.shape for name, array in fitted.items()} == shipped
        assert all(np.isfinite(array).all() for array in fitted.values())
        assert regions.measure(things).shape == (2, regions.CLICKS)
    finally:
        load_model.cache_clear()
