"""`docker compose --profile train up`, for real: photographs in, a model out, and the service takes it up."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from tests.docker.engine import Project, docker, until
from tests.docker.test_service_container import color
from tests.unit.training.pictures import write_folder

pytestmark = pytest.mark.timeout(3600)  # the first build downloads TensorFlow


@pytest.fixture(scope="module")
def trained(build: Callable[[str], None], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, str]]:
    """A running service, and what training has said beside it."""
    build("cpu")
    build("train")
    photos = write_folder(tmp_path_factory.mktemp("data") / "photos", 60)
    for folder in (photos, photos.parent, photos.parent.parent):
        folder.chmod(0o755)
    project = Project(photos=photos, recipe="tiny")
    try:
        project.up()
        with project.client() as client:
            assert client.get("/model").json()["recipe"] == "wide"
        project.compose("--profile", "train", "up", "--exit-code-from", "train", "train")
        yield project, project.log("train")
    finally:
        project.down()


def served_recipe(project: Project) -> str:
    """Return the recipe of the served model, or nothing while the service starts again."""
    try:
        with project.client() as client:
            return str(client.get("/model").json()["recipe"])
    except httpx2.TransportError:
        return ""


def test_a_trained_model_is_served_without_anyone_restarting_anything(trained: tuple[Project, str]) -> None:
    project, _ = trained
    until(lambda: served_recipe(project) == "tiny", "the new model")
    assert "/models/model.onnx is new and works: starting again with it" in project.log()
    assert project.inspect()["RestartCount"] == 0
    with project.client() as client:
        assert color(client).status_code == 200


def test_every_step_was_taken(trained: tuple[Project, str]) -> None:
    _, said = trained
    commands = [line.split(" ", 5)[2:5] for line in said.splitlines() if line.startswith("$ -m ")]
    assert [words[:2] for words in commands] == [
        ["training.cli", "prepare"],
        ["training.cli", "run"],
        ["training.cli", "calibrate"],
        ["export", "/work/runs/tiny"],
    ]


def test_training_had_no_rights_and_no_network(trained: tuple[Project, str]) -> None:
    container = trained[0].inspect("train")
    assert container["Config"]["User"] == "10001:10001"
    assert container["HostConfig"]["ReadonlyRootfs"] is True
    assert container["HostConfig"]["CapDrop"] == ["ALL"]
    assert container["HostConfig"]["NetworkMode"] == "none"
    assert container["State"]["ExitCode"] == 0


def test_the_training_image_holds_no_service(trained: tuple[Project, str]) -> None:
    image = trained[0].inspect("train")["Image"]
    names = "('training', 'export', 'service')"
    find = f"import importlib.util; print(*(importlib.util.find_spec(name) is not None for name in {names}))"
    assert docker("run", "--rm", "--entrypoint", "python", image, "-c", find) == "True True False"


def test_a_broken_model_is_not_served(trained: tuple[Project, str]) -> None:
    project, _ = trained
    until(lambda: served_recipe(project) == "tiny", "the new model")
    image = project.inspect("train")["Image"]
    volume = next(m["Name"] for m in project.inspect("train")["Mounts"] if m["Destination"] == "/models")
    write = "open('/models/model.onnx', 'wb').write(b'no model')"
    docker("run", "--rm", "--volume", f"{volume}:/models", "--entrypoint", "python", image, "-c", write)
    until(lambda: "is new but does not work: the one before is served on" in project.log(), "the refusal")
    assert served_recipe(project) == "tiny"
    with project.client() as client:
        assert color(client).status_code == 200


def test_a_folder_that_is_not_there_is_an_error(build: Callable[[str], None], tmp_path: Path) -> None:
    build("train")
    project = Project(photos=tmp_path / "mistyped")
    try:
        result = project.compose("--profile", "train", "up", "train", check=False)
        assert result.returncode != 0
        assert "mistyped" in result.stderr
        assert not (tmp_path / "mistyped").exists()
    finally:
        project.down()
