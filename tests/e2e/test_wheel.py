"""The wheel, installed into clean environments: it colors a picture, calls a service, or says what it lacks."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.pictures import by_pillow, smooth_gray

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    # What is imported first is compiled for the programs after it, whatever the environment says.
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, env=variables, capture_output=True, text=True, check=False
    )


def done(*command: str | Path, cwd: Path) -> str:
    result = run(*command, cwd=cwd)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy: a build leaves folders beside its sources."""
    copy = tmp_path_factory.mktemp("sources")
    for name in ("photochrom", "chroma", "training", "export", "service"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def wheel(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    how = ("--quiet", "--no-deps", "--no-build-isolation")
    done(sys.executable, "-m", "pip", "wheel", *how, "-w", out, ".", cwd=sources)
    (found,) = out.glob("photochrom-*.whl")
    return found


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """A clean environment, without even pip: that of the tests installs into it."""
    done(sys.executable, "-m", "venv", "--without-pip", tmp_path / "env", cwd=tmp_path)
    return tmp_path / "env" / "bin" / "python"


def pip(python: Path, *arguments: str | Path) -> str:
    return done(sys.executable, "-m", "pip", "--python", python, *arguments, cwd=python.parent)


def install(python: Path, *what: str | Path) -> None:
    # Few of the modules are imported here: compiling all of them would take longer than the rest.
    pip(python, "install", "--quiet", "--disable-pip-version-check", "--no-compile", *what)


def test_the_wheel_holds_the_model_and_the_page(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {
        "service/model/default.int8.onnx",
        "service/model/default.onnx",
        "service/page/index.html",
        "service/page/parts/viewer.html",
        "service/page/app.js",
        "service/docs_page/start.js",
        "service/page/answers.js",
    } <= names
    assert {"chroma/data/ab_bins.npy", "training/templates/run.html.j2", "photochrom/local.py"} <= names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "docs/"))]


def test_the_sdist_holds_all_that_is_no_code(sources: Path, tmp_path: Path) -> None:
    code = "import sys; from setuptools.build_meta import build_sdist; build_sdist(sys.argv[1])"
    done(sys.executable, "-c", code, tmp_path, cwd=sources)
    (found,) = tmp_path.glob("photochrom-*.tar.gz")
    with tarfile.open(found) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    folders = ("service/model", "service/page", "chroma/data", "training/templates")
    data = {path for folder in folders for path in (sources / folder).rglob("*") if path.is_file()}
    assert len(data) > 5
    assert {path.relative_to(sources).as_posix() for path in data} <= names


def test_with_the_service_it_colors_a_picture(wheel: Path, python: Path, tmp_path: Path) -> None:
    install(python, "--require-hashes", "-r", ROOT / "requirements" / "service.txt")
    install(python, "--no-deps", wheel)
    (tmp_path / "gray.png").write_bytes(by_pillow(smooth_gray(48, 64), "PNG"))
    code = "import numpy; from photochrom import colorize; made = colorize('gray.png'); made.save('color.png')"
    done(python, "-c", f"{code}; print(numpy.asarray(made).shape)", cwd=tmp_path)
    assert (tmp_path / "color.png").read_bytes().startswith(b"\x89PNG")
    told = done(python.parent / "photochrom", "colorize", "gray.png", "--out", "out", "--quiet", cwd=tmp_path)
    assert "1 colored" in told


def test_with_the_client_it_needs_neither_numpy_nor_opencv(wheel: Path, python: Path, tmp_path: Path) -> None:
    install(python, f"{wheel}[client]")
    installed = pip(python, "list", "--format=freeze").lower()
    assert "httpx2==" in installed
    assert "numpy" not in installed
    assert "opencv" not in installed
    code = "from photochrom import Client; print(Client('http://127.0.0.1:9').ready())"
    assert done(python, "-c", code, cwd=tmp_path).strip() == "False"


def test_alone_it_says_what_it_lacks(wheel: Path, python: Path, tmp_path: Path) -> None:
    install(python, wheel)
    assert pip(python, "list", "--format=freeze").lower().count("==") == 1
    for program, extra in (
        ("photochrom", "service"),
        ("photochrom-train", "training"),
        ("photochrom-export", "export"),
    ):
        told = run(python.parent / program, "--help", cwd=tmp_path)
        assert told.returncode == 1
        assert told.stderr.count("\n") == 1
        assert f"pip install 'photochrom[{extra}]'" in told.stderr
    told = run(python, "-c", "from photochrom import colorize", cwd=tmp_path)
    assert "pip install 'photochrom[service]'" in told.stderr.splitlines()[-1]
