"""`docker compose up`, for real: healthy, colors a photograph, without rights, comes back, and leaves nothing."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import cv2
import httpx2
import numpy as np
import pytest

from tests.docker.engine import ROOT, TAG, Project, docker, until

pytestmark = pytest.mark.timeout(3600)  # the first build downloads everything

PHOTO = ROOT / "tests" / "data" / "coffee.jpg"
KEY = "a-key-of-24-characters-0"
FIND_SERVICE = """
import os
for process in filter(str.isdigit, os.listdir("/proc")):
    if b"-m\\0service\\0serve" in open(f"/proc/{process}/cmdline", "rb").read():
        print(process)
"""


def color(client: httpx2.Client, data: bytes = PHOTO.read_bytes()) -> httpx2.Response:
    return client.post("/colorize", content=data, headers={"Content-Type": "image/jpeg"})


def assert_is_the_photograph_in_color(answer: httpx2.Response) -> None:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    made = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
    assert made.shape == cv2.imread(str(PHOTO)).shape
    assert np.ptp(made.astype(int), axis=-1).mean() > 5  # in color
    gray = cv2.imread(str(PHOTO), cv2.IMREAD_GRAYSCALE).astype(int)
    assert np.abs(cv2.cvtColor(made, cv2.COLOR_BGR2GRAY) - gray).mean() < 8  # and of what it was


def test_a_photograph_is_colored_through_the_published_port(project: Project) -> None:
    with project.client() as client:
        assert client.get("/health/ready").status_code == 200
        assert_is_the_photograph_in_color(color(client))
        assert 'photochrom_requests_total{code="200",route="/colorize"}' in client.get("/metrics").text


def test_the_model_that_ships_is_served(project: Project) -> None:
    with project.client() as client:
        assert client.get("/model").json()["recipe"] == "wide"


def test_it_is_not_root_and_has_no_capability(project: Project) -> None:
    assert project.run("id", "-u") == "10001"
    status = project.run("cat", "/proc/1/status")
    assert [line.split() for line in status.splitlines() if line.startswith(("CapEff", "CapPrm", "NoNewPrivs"))] == [
        ["CapPrm:", "0" * 16],
        ["CapEff:", "0" * 16],
        ["NoNewPrivs:", "1"],
    ]


def test_its_root_is_read_only_and_it_works_all_the_same(project: Project) -> None:
    assert project.inspect()["HostConfig"]["ReadonlyRootfs"] is True
    for place in ("/", "/opt/photochrom", "/models", "/usr/local/lib/photochrom", "/etc"):
        write = f"try: open('{place}/x', 'w')\nexcept OSError as error: print(error.strerror)"
        assert project.run("python", "-c", write) in ("Read-only file system", "Permission denied"), place
    assert project.run("sh", "-c", "echo ok > /tmp/x && cat /tmp/x") == "ok"
    with project.client() as client:
        assert color(client).status_code == 200


def test_its_limits_hold(project: Project) -> None:
    host = project.inspect()["HostConfig"]
    assert host["Memory"] == 4 * 2**30
    assert host["PidsLimit"] == 512
    assert host["LogConfig"]["Config"]["max-size"] == "10m"


def test_it_sees_the_cores_that_it_is_given(start: Callable[..., Project]) -> None:
    cores = "from service.machine import usable_cores; print(usable_cores())"
    assert start(cpus=1).run("python", "-c", cores) == "1"


def test_the_image_holds_the_service_alone(project: Project) -> None:
    for absent in ("training", "export", "tensorflow", "keras", "pytest"):
        found = f"import importlib.util; print(importlib.util.find_spec('{absent}'))"
        assert project.run("python", "-c", found) == "None", absent
    assert project.run("sh", "-c", "command -v photochrom photochrom-train photochrom-export") == (
        "/opt/photochrom/bin/photochrom"
    )
    assert project.run("sh", "-c", "ls /opt/photochrom/bin/pip* 2>/dev/null | wc -l") == "0"


def test_the_bill_of_materials_is_in_the_image(project: Project) -> None:
    made = json.loads(project.run("cat", "/usr/share/doc/photochrom/sbom.json"))
    assert made["bomFormat"] == "CycloneDX"
    listed = {component["name"]: component["version"] for component in made["components"]}
    named = "import json, onnxruntime, fastapi; print(json.dumps([onnxruntime.__version__, fastapi.__version__]))"
    assert json.loads(project.run("python", "-c", named)) == [listed["onnxruntime"], listed["fastapi"]]


def test_extras_are_in_the_image_and_in_use(start: Callable[..., Project]) -> None:
    made = start(tag=f"{TAG}-extras", extras="openvino heic")
    listed = {part["name"] for part in json.loads(made.run("cat", "/usr/share/doc/photochrom/sbom.json"))["components"]}
    assert {"openvino", "pi-heif", "onnxruntime", "numpy"} <= listed
    made.run("python", "-c", "import openvino, pi_heif")
    has_units = "from service.engine.precision import may_change_over; print(may_change_over('auto'))"
    with made.client() as client:
        assert_is_the_photograph_in_color(color(client))
        if made.run("python", "-c", has_units) == "True":
            until(lambda: client.get("/health").json()["computed_in"] == "bfloat16", "bfloat16")
            assert_is_the_photograph_in_color(color(client))


def test_labels_say_what_it_is(project: Project) -> None:
    labels = project.inspect()["Config"]["Labels"]
    assert labels["org.opencontainers.image.title"] == "photochrom-service"
    assert labels["org.opencontainers.image.version"] == project.run(
        "python", "-c", "from importlib.metadata import version; print(version('photochrom'))"
    )


def test_it_logs_json(project: Project) -> None:
    assert json.loads(project.log().splitlines()[0])["level"] == "info"


def test_settings_reach_it(start: Callable[..., Project]) -> None:
    told = start(max_megapixels=0.01, log_format="text")
    with told.client() as client:
        assert color(client).status_code == 413
    assert not told.log().startswith("{")


def test_a_bad_upload_harms_nobody(project: Project) -> None:
    with project.client() as client:
        assert color(client, b"\xff\xd8 no picture").status_code in (400, 415, 422)
        assert color(client).status_code == 200
    assert project.inspect()["RestartCount"] == 0


def test_keys_come_as_a_secret(start: Callable[..., Project], tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"# of the tests\n{KEY}\n")
    keys.chmod(0o644)
    closed = start(api_keys_file=keys)
    with closed.client() as client:
        assert color(client).status_code == 401
    with closed.client(**{"X-API-Key": KEY}) as client:
        assert_is_the_photograph_in_color(color(client))
    assert KEY not in json.dumps(closed.inspect())
    assert KEY not in closed.log()


def test_a_killed_service_comes_back(start: Callable[..., Project]) -> None:
    killed = start()
    (process,) = killed.run("python", "-c", FIND_SERVICE).split()
    killed.run("python", "-c", f"import os; os.kill({process}, {int(signal.SIGKILL)})")
    until(lambda: killed.inspect()["RestartCount"] == 1, "a restart")
    until(lambda: killed.inspect()["State"]["Health"]["Status"] == "healthy", "health")
    with killed.client() as client:
        assert_is_the_photograph_in_color(color(client))


def test_it_ends_well_when_stopped_and_nothing_is_left(start: Callable[..., Project]) -> None:
    stopped = start()
    container = stopped.container()
    stopped.compose("stop")
    assert docker("inspect", "--format", "{{.State.ExitCode}} {{.State.OOMKilled}}", container) == "0 false"
    assert stopped.left()
    stopped.down()
    assert stopped.left() == ""
