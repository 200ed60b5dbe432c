"""The image for NVIDIA GPUs, on a machine without one: only the driver is missing, and the CPU serves, loudly."""

import json
import shutil
from collections.abc import Callable, Iterator

import pytest

from tests.docker.engine import Project, docker, until
from tests.docker.test_service_container import assert_is_the_photograph_in_color, color

pytestmark = pytest.mark.timeout(3600)  # the first build downloads CUDA

BUILD_GB = 12
"""Disk that the build takes, with what the builder keeps."""
WITHOUT_RESERVATION = """
services:
  gpu:
    deploy:
      resources:
        reservations: !reset null
"""


@pytest.fixture(scope="module")
def override(build: Callable[[str], None], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options that start the profile `gpu` without asking the engine for a GPU."""
    if not docker("image", "ls", "--quiet", "photochrom/service-gpu:test"):
        free = shutil.disk_usage(docker("info", "--format", "{{.DockerRootDir}}")).free / 1e9
        if free < BUILD_GB:
            pytest.skip(f"building the CUDA image takes {BUILD_GB} GB of disk, {free:.0f} are free")
    build("gpu")
    file = tmp_path_factory.mktemp("compose") / "without-gpu.yml"
    file.write_text(WITHOUT_RESERVATION)
    return ["--file", "docker-compose.yml", "--file", str(file)]


@pytest.fixture(scope="module")
def project(override: list[str]) -> Iterator[Project]:
    """The CUDA service, running."""
    made = Project()
    made.extra = override
    try:
        made.up("gpu")
        yield made
    finally:
        made.down()


def test_it_colors_on_the_cpu(project: Project) -> None:
    with project.client("gpu") as client:
        assert_is_the_photograph_in_color(color(client))
        assert 'provider="CPUExecutionProvider"' in client.get("/metrics").text


def test_it_says_so_loudly_and_only_the_driver_is_missing(project: Project) -> None:
    said = [
        json.loads(line) for line in project.log("gpu").splitlines() if line.startswith("{")
    ]  # ONNX Runtime's are text
    warnings = [line for line in said if line["level"] == "warning"]
    assert [line["message"] for line in warnings] == [
        "FALLING BACK TO THE CPU: the CUDA provider does not start; missing here: libcuda.so.1"
    ]


def test_cuda_alone_is_refused(override: list[str]) -> None:
    strict = Project(device="cuda")
    strict.extra = override
    try:
        strict.compose("--profile", "gpu", "up", "--detach")
        until(lambda: "PHOTOCHROM_DEVICE=cuda" in strict.log("gpu"), "the refusal")
        assert "PHOTOCHROM_DEVICE=cuda, but the CUDA provider does not start" in strict.log("gpu")
    finally:
        strict.down()


def test_an_engine_without_a_gpu_is_asked_for_one_in_vain(override: list[str]) -> None:
    """What reserves a GPU is the file itself, without the options above."""
    del override
    if "nvidia" in docker("info", "--format", "{{json .Runtimes}}"):
        pytest.skip("this engine has a GPU: run `docker compose --profile gpu up` on it")
    asking = Project()
    try:
        result = asking.compose("--profile", "gpu", "up", "--detach", check=False)
        assert result.returncode != 0
        assert "nvidia" in result.stderr
    finally:
        asking.down()
