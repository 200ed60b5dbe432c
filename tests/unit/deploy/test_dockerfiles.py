"""The Dockerfiles: linted, pinned, rootless, and with nothing in an image that its part may not import."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[3]
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RUNTIMES: Final = {
    "service.Dockerfile": ("service", "gpu"),
    "training.Dockerfile": ("training-gpu", "training"),
}
"""Values of the argument RUNTIME; the first is the default."""
PARTS: Final = {
    "service.Dockerfile": {"photochrom", "chroma", "service"},
    "training.Dockerfile": {"photochrom", "chroma", "training", "export"},
}
PROGRAMS: Final = {"photochrom": "service", "photochrom-train": "training", "photochrom-export": "export"}
"""Which part each program is of."""
NAMES: Final = tuple(RUNTIMES)


def instructions(name: str) -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile in order, lines joined and comments left out."""
    lines = [line for line in (ROOT / "docker" / name).read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    pairs = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    return [(word, " ".join(rest.split())) for word, rest in pairs]


def arguments(name: str) -> dict[str, str]:
    """Return the defaults of the build arguments."""
    given = [rest.partition("=") for word, rest in instructions(name) if word == "ARG"]
    for key in {key for key, _, _ in given}:
        assert len({default for found, _, default in given if found == key}) == 1, f"{key} has two defaults"
    return {key: default for key, _, default in given}


def sources(name: str) -> set[str]:
    """Return what is copied from the project, for every RUNTIME."""
    copied = [rest.split() for word, rest in instructions(name) if word == "COPY" and "--from=" not in rest]
    return {
        source.replace("${RUNTIME}", runtime) for words in copied for source in words[:-1] for runtime in RUNTIMES[name]
    }


def test_each_file_is_known_here() -> None:
    assert {path.name for path in (ROOT / "docker").glob("*Dockerfile*")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_hadolint_finds_nothing(name: str) -> None:
    program = Path(sys.executable).with_name("hadolint")
    result = subprocess.run([program, ROOT / "docker" / name], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_copied_is_there_and_let_through(name: str) -> None:
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for source in sources(name):
        assert (ROOT / source).exists(), source
        assert source.split("/")[0] in let_through, source


@pytest.mark.parametrize("name", NAMES)
def test_an_image_holds_its_own_part_alone(name: str) -> None:
    packages = {"photochrom", "chroma", "training", "export", "service", "tests", "benchmarks", "docs"}
    assert {source.split("/")[0] for source in sources(name)} & packages == PARTS[name]
    assert set(PROGRAMS) == set(PROJECT["scripts"])
    commands = {script for script, part in PROGRAMS.items() if part not in PARTS[name]}
    removed = next(rest for word, rest in instructions(name) if word == "RUN" and " rm " in rest)
    assert {path.rsplit("/", 1)[1] for path in removed.split(" rm ")[1].split()} == commands


@pytest.mark.parametrize("name", NAMES)
def test_the_base_is_one_exact_version_that_the_project_runs_on(name: str) -> None:
    bases = [re.split(" AS ", rest) for word, rest in instructions(name) if word == "FROM"]
    stages = {stage for _, *names in bases for stage in names}
    assert {base for base, *_ in bases} - stages == {"${BASE}${BASE_DIGEST}"}
    assert bases[-1] == ["${BASE}${BASE_DIGEST}"]  # what is built with is not in the image
    given = arguments(name)
    assert given["BASE_DIGEST"] == ""
    found = re.fullmatch(r"python:(\d+)\.(\d+)\.\d+-slim-bookworm", given["BASE"])
    assert found
    low, high = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", PROJECT["requires-python"]).groups()  # type: ignore[union-attr]
    assert found.group(1) == "3"
    assert int(low) <= int(found.group(2)) < int(high)


def test_all_images_have_one_base() -> None:
    assert len({arguments(name)["BASE"] for name in NAMES}) == 1


@pytest.mark.parametrize("name", NAMES)
def test_versions_agree_with_the_project_and_its_lock(name: str) -> None:
    given = arguments(name)
    assert given["VERSION"] == PROJECT["version"]
    assert given["RUNTIME"] == RUNTIMES[name][0]
    for runtime in RUNTIMES[name]:
        locked = (ROOT / "requirements" / f"{runtime}.txt").read_text()
        assert re.search(r"^onnxruntime(-gpu)?==", locked, re.MULTILINE)
        assert re.search(r"^setuptools==", locked, re.MULTILINE), "builds the project without a download"


def test_extras_of_the_service_are_those_of_the_lock() -> None:
    assert arguments("service.Dockerfile")["EXTRAS"] == ""
    offered = {source for source in sources("service.Dockerfile") if source.startswith("requirements/")}
    offered -= {f"requirements/{name}.txt" for name in ("audit", *RUNTIMES["service.Dockerfile"])}
    assert offered == {"requirements/heic.txt", "requirements/openvino.txt"}
    installed = [set(re.findall(r"^\S+==\S+", (ROOT / path).read_text(), re.MULTILINE)) for path in offered]
    base = re.findall(r"^\S+==\S+", (ROOT / "requirements" / "service.txt").read_text(), re.MULTILINE)
    versions = [pin.split("==") for pin in set(base).union(*installed)]
    assert len({package for package, _ in versions}) == len(versions), "two versions of one package"


@pytest.mark.parametrize("name", NAMES)
def test_pip_installs_what_is_hashed_and_nothing_else(name: str) -> None:
    installs = [
        part
        for word, rest in instructions(name)
        for part in rest.split("&&")
        if word == "RUN" and "pip install" in part
    ]
    assert installs
    for install in installs:
        assert "--require-hashes" in install or "--no-deps --no-build-isolation" in install, install
        assert "index" not in install, install


@pytest.mark.parametrize("name", NAMES)
def test_the_image_is_not_root_and_says_what_it_is(name: str) -> None:
    every = instructions(name)
    last = every[max(place for place, (word, _) in enumerate(every) if word == "FROM") :]
    assert [rest for word, rest in last if word == "USER"] == ["10001:10001"]
    labels = " ".join(rest for word, rest in last if word == "LABEL")
    for label in ("title", "description", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{label}=" in labels
    assert f'licenses="{PROJECT["license"]}"' in labels
    words = [word for word, _ in last]
    assert "HEALTHCHECK" in words
    assert "/usr/share/doc/photochrom/sbom.json" in " ".join(rest for _, rest in last)
    assert next(rest for word, rest in last if word == "ENTRYPOINT").startswith('["python", ')


@pytest.mark.parametrize("name", NAMES)
def test_the_classic_builder_can_build_it(name: str) -> None:
    assert not [rest for word, rest in instructions(name) if word == "RUN" and "--mount" in rest]
