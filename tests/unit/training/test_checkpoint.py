import json
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from training import CheckpointError, NonFiniteLossError
from training.config import OptimizerConfig
from training.network.optimization import build_optimizer
from training.run.checkpoint import CURRENT, PREVIOUS, RunState, load_checkpoint, save_checkpoint, weights_digest

pytestmark = pytest.mark.training

STATE = RunState(step=7, elapsed_s=12.5, recipe_digest="abc", best_kl=float("inf"))


def built(seed: int = 0, units: int = 3) -> keras.Model:
    """A network with every kind of state: weights, statistics, dropout, optimizer slots, averages."""
    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Dense(units), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5, seed=3)]
    model = keras.Sequential([keras.layers.Input((4,)), *layers])
    model.compile(build_optimizer(OptimizerConfig(learning_rate=0.1, ema=0.5)), loss="mse")
    model.optimizer.build(model.trainable_variables)
    return model


def step(model: keras.Model, seed: int) -> None:
    rng = np.random.default_rng(seed)
    target = rng.normal(size=(8, model.output_shape[-1])).astype(np.float32)
    model.train_on_batch(rng.normal(size=(8, 4)).astype(np.float32), target)


def everything(model: keras.Model) -> list[bytes]:
    variables = [*model.variables, *model.optimizer.variables]
    return [keras.ops.convert_to_numpy(variable.value).tobytes() for variable in variables]


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return built()


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two checkpoints: of step 7 (previous) and of step 8 (current)."""
    folder = tmp_path_factory.mktemp("stored")
    model = built()
    for number in (7, 8):
        step(model, number)
        save_checkpoint(folder, model, RunState(number, 1.0, "abc", 2.0))
    return folder


@pytest.fixture
def folder(stored: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stored, tmp_path / "run"))


def test_a_run_goes_on_from_a_checkpoint_bit_for_bit(tmp_path: Path) -> None:
    straight = built()
    for seed in (1, 2):
        step(straight, seed)
    save_checkpoint(tmp_path, straight, STATE)
    resumed = built(seed=99)
    assert everything(resumed) != everything(straight)
    assert load_checkpoint(tmp_path, resumed, "abc") == STATE
    for seed in (3, 4):
        step(straight, seed)
        step(resumed, seed)
    assert everything(resumed) == everything(straight)
    assert weights_digest(resumed) == weights_digest(straight)


def test_without_a_checkpoint_there_is_nothing_to_resume(model: keras.Model, tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path, model, "abc") is None


def test_the_newest_checkpoint_is_taken_and_the_one_before_kept(model: keras.Model, folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [CURRENT, PREVIOUS]
    assert load_checkpoint(folder, model, "abc").step == 8
    (folder / CURRENT).unlink()
    assert load_checkpoint(folder, model, "abc").step == 7


def truncate(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_checkpoint_gives_way_to_the_one_before(
    model: keras.Model, folder: Path, share: float, caplog: pytest.LogCaptureFixture
) -> None:
    truncate(folder / CURRENT, share)
    assert load_checkpoint(folder, model, "abc").step == 7
    assert f"{CURRENT} is broken" in caplog.text
    assert "trying the one before" in caplog.text


def test_falling_back_never_costs_the_whole_checkpoint(model: keras.Model, folder: Path) -> None:
    """The next save keeps the whole one as the one before, not the broken one."""
    truncate(folder / CURRENT, 0.5)
    load_checkpoint(folder, model, "abc")
    save_checkpoint(folder, model, RunState(9, 1.0, "abc", 2.0))
    truncate(folder / CURRENT, 0.5)
    assert load_checkpoint(folder, model, "abc").step == 7


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_damage_anywhere_is_harmless_or_noticed(
    model: keras.Model, stored: Path, tmp_path: Path, where: float, flip: int
) -> None:
    """A flipped byte either does not matter (names, times) or leads to the one before; never to other weights."""
    damaged = tmp_path / "damaged"
    shutil.rmtree(damaged, ignore_errors=True)
    shutil.copytree(stored, damaged)
    load_checkpoint(damaged, model, "abc")
    newest = everything(model)
    data = bytearray((damaged / CURRENT).read_bytes())
    data[int(where * len(data))] ^= flip
    (damaged / CURRENT).write_bytes(data)
    state = load_checkpoint(damaged, model, "abc")
    assert state.step in (7, 8)
    assert (everything(model) == newest) == (state.step == 8)


def test_two_broken_checkpoints_are_an_error_and_change_nothing(model: keras.Model, folder: Path) -> None:
    before = everything(model)
    for name in (CURRENT, PREVIOUS):
        truncate(folder / name, 0.7)
    with pytest.raises(CheckpointError, match=rf"no whole checkpoint in .*: {CURRENT}, {PREVIOUS}"):
        load_checkpoint(folder, model, "abc")
    assert everything(model) == before


def test_a_checkpoint_of_another_recipe_is_refused(model: keras.Model, folder: Path) -> None:
    before = everything(model)
    with pytest.raises(CheckpointError, match="belongs to another recipe"):
        load_checkpoint(folder, model, "xyz")
    assert everything(model) == before


def test_a_checkpoint_of_another_network_is_refused(folder: Path) -> None:
    other = built(units=5)
    before = everything(other)
    with pytest.raises(CheckpointError, match="does not fit the network"):
        load_checkpoint(folder, other, "abc")
    assert everything(other) == before


def test_a_stranger_among_the_files_is_not_taken_for_a_checkpoint(model: keras.Model, folder: Path) -> None:
    np.savez(folder / CURRENT, state=np.frombuffer(json.dumps({"step": 3}).encode(), np.uint8))
    assert load_checkpoint(folder, model, "abc").step == 7


@contextmanager
def files_up_to(size_bytes: int) -> Iterator[None]:
    """Let the operating system refuse larger files, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size_bytes", [0, 100, 2000])
def test_a_full_disk_is_an_error_and_costs_no_checkpoint(model: keras.Model, folder: Path, size_bytes: int) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with files_up_to(size_bytes), pytest.raises(CheckpointError, match="cannot write a checkpoint"):
        save_checkpoint(folder, model, STATE)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    save_checkpoint(folder, model, STATE)
    assert load_checkpoint(folder, model, "abc") == STATE


def test_a_missing_folder_is_an_error(model: keras.Model, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot write a checkpoint"):
        save_checkpoint(tmp_path / "gone", model, STATE)


def test_weights_that_are_no_numbers_are_never_kept(folder: Path) -> None:
    """A gradient may overflow where the loss does not; from such a checkpoint no run could go on."""
    model = built()
    kernel = model.layers[0].kernel
    kernel.assign(np.full(kernel.shape, np.nan, np.float32))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(NonFiniteLossError, match=r"dense.*kernel is not finite at step 7"):
        save_checkpoint(folder, model, STATE)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_kill_between_the_two_renames_leaves_the_one_before(
    model: keras.Model, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """Stands in for SIGKILL: nothing catches it."""

    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if Path(target).name == CURRENT:
            raise Killed
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        with pytest.raises(Killed):
            save_checkpoint(folder, model, STATE)
    assert not (folder / CURRENT).exists()
    assert load_checkpoint(folder, model, "abc").step == 8


def test_digests_tell_networks_apart(model: keras.Model) -> None:
    assert weights_digest(built(1)) == weights_digest(built(1)) != weights_digest(built(2))
    assert len(weights_digest(model)) == 16
