"""How large a picture may be: defaults, deployments and documentation agree with each other."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.pictures.size_limits import SizeLimits
from service.settings import ENV_PREFIX, Settings
from tests.unit.deploy import test_compose, test_kubernetes

ROOT = Path(__file__).parents[3]
PAGES = ROOT / "docs"
RAY = yaml.safe_load((ROOT / "docker" / "ray-serve.yaml").read_text())["applications"][0]["runtime_env"]["env_vars"]


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"{ENV_PREFIX}{name.upper()}", raising=False)


def settings_of(variables: dict[str, str]) -> Settings:
    """Return the settings that an environment of nothing else gives."""
    given: dict[str, Any] = {name.removeprefix(ENV_PREFIX).lower(): value for name, value in variables.items()}
    return Settings(_env_file=None, **given)


def deployed() -> dict[str, Settings]:
    """Return the settings of each deployment."""
    pods = test_kubernetes.pods()
    return (
        {f"compose {name}": test_compose.settings_of(name) for name in ("cpu", "gpu")}
        | {kind: settings_of(test_kubernetes.environment(pod["containers"][0])) for kind, pod in pods.items()}
        | {"ray": settings_of(RAY)}
    )


def test_every_deployment_sets_its_own_limits_below_those_of_one_machine() -> None:
    own = SizeLimits.of(Settings(_env_file=None))
    found = {name: SizeLimits.of(settings) for name, settings in deployed().items()}
    assert len(found) == 6
    for name, limits in found.items():
        assert limits.max_megapixels < own.max_megapixels, name
        assert limits.max_bytes < own.max_bytes, name
    assert len({limits for name, limits in found.items() if name != "ray"}) == 1


def test_a_largest_picture_is_never_worked_on_alone() -> None:
    for name, settings in deployed().items() | {("one machine", Settings(_env_file=None))}:
        assert settings.max_megapixels <= settings.max_inflight_megapixels, name


def test_a_letter_at_600_dpi_in_48_bits_is_taken_by_all_but_ray() -> None:
    width, height = 8.27 * 600, 11.69 * 600
    for name, settings in deployed().items():
        assert width * height / 1e6 < settings.max_megapixels
        assert width * height * 6 < settings.max_upload_bytes or name == "ray"


def test_the_pages_name_the_limits() -> None:
    own, containers = SizeLimits.of(Settings(_env_file=None)), SizeLimits.of(deployed()["base"])
    assert str(containers) in (PAGES / "containers.md").read_text()
    for page in ("cli.md", "faq.md"):
        text = (PAGES / page).read_text()
        assert f"{own.max_megapixels:g} megapixels" in text, page
        assert f"{own.max_bytes / 1e6:g} MB" in text, page


def test_rays_own_servers_have_the_limit_of_its_replicas() -> None:
    """They hold uploads whole, in memory, before a replica sees them."""
    exported = re.search(r"^export PHOTOCHROM_MAX_UPLOAD_BYTES=(\d+)", (PAGES / "ray.md").read_text(), re.MULTILINE)
    assert exported
    assert exported[1] == RAY["PHOTOCHROM_MAX_UPLOAD_BYTES"]
    assert int(exported[1]) * 64 == 2 << 30
    assert "2 GiB as above" in (PAGES / "ray.md").read_text()
