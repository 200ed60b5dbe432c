"""`photochrom colorize --looks`, `--variants`: what HTTP gives for the same options; what does not match is said."""

import base64
import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from service.archive.finding import read_file
from service.archive.looks import MOST_LOOKS, UNNAMED, LooksError, read_looks, say_unmet
from service.commands.shared import app
from service.engine.session import Session
from service.http.app import create_app
from service.settings import Settings
from tests.e2e.server import Server
from tests.pictures import by_pillow, levels, smooth_gray
from tests.tiffs import tiff

GRAY, OTHER = by_pillow(smooth_gray(48, 64), "PNG"), by_pillow(smooth_gray(30, 40), "JPEG")
PALETTE = by_pillow(levels(40, 56, 3), "PNG")
POINT = "0.5,0.25,c03020"

pytestmark = pytest.mark.usefixtures("command_line")


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def write(path: Path, *looks: tuple[bytes, dict[str, Any]], **more: Any) -> Path:
    """Write a file of looks."""
    pictures = {digest(data): look for data, look in looks}
    references = {digest(PALETTE): base64.b64encode(PALETTE).decode()}
    told = {"photochrom_looks": 1, "pictures": pictures, "references": references} | more
    return put(path, json.dumps(told).encode())


@pytest.fixture(scope="module")
def service(model_path: Path) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(model=model_path, device="cpu", threads=2))) as made:
        yield made


def served(
    service: TestClient, data: bytes, query: dict[str, Any], *, version: int = 1, palette: bool = False
) -> bytes:
    """What `POST /colorize` answers."""
    files = {"image": data} | ({"reference": PALETTE} if palette else {})
    answer = service.post("/colorize", params=query | ({"variants": version} if version > 1 else {}), files=files)
    assert answer.status_code == 200, answer.text
    if version == 1:
        return bytes(answer.content)
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        return archive.read(f"variant-{version}.png")


LOOKS: list[tuple[dict[str, Any], dict[str, Any], int, bool]] = [
    ({"options": {"vividness": 0.9, "mode": "fused"}}, {"vividness": 0.9, "mode": "fused"}, 1, False),
    ({"options": {"vividness": "0.2", "size": "64"}}, {"vividness": 0.2, "size": 64}, 1, False),
    ({"options": {"variant": 3}}, {}, 3, False),
    ({"options": {"look": "warm"}}, {"look": "warm"}, 1, False),
    ({"options": {"look": "photochrom"}}, {"look": "photochrom"}, 1, False),
    ({"options": {"look": "vivid", "mode": "argmax"}}, {"look": "vivid", "mode": "argmax"}, 1, False),
    ({"options": {"tone": "off"}, "hints": [POINT]}, {"tone": "off", "hints": POINT}, 1, False),
    ({"options": {"hints": POINT}}, {"hints": POINT}, 1, False),
    (
        {"regions": ["20:30@0.8/0.5,0.5,0.02"], "options": {"variant": 2}},
        {"regions": "20:30@0.8/0.5,0.5,0.02"},
        2,
        False,
    ),
    (
        {"hints": [{"x": 0.5, "y": 0.25, "color": "#c03020"}, "0.1,0.9,-12:30"]},
        {"hints": "0.500000,0.250000,c03020;0.1,0.9,-12:30"},
        1,
        False,
    ),
    (
        {"options": {"reference_strength": 0.8}, "reference": digest(PALETTE)},
        {"reference_strength": 0.8},
        1,
        True,
    ),
    (
        {"options": {"variant": 2, "format": "webp", "note": False}, "reference": digest(PALETTE), "hints": [POINT]},
        {"hints": POINT},
        2,
        True,
    ),
]


@pytest.mark.parametrize(("look", "query", "version", "palette"), LOOKS)
def test_a_look_gives_the_bytes_that_http_gives(
    tmp_path: Path, service: TestClient, look: dict[str, Any], query: dict[str, Any], version: int, palette: bool
) -> None:
    put(tmp_path / "in/deep/renamed.png", GRAY)
    looks = write(tmp_path / "looks.json", (GRAY, {"name": "fig.png", **look}))
    result = run("colorize", "in", "--looks", looks, "--quiet")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    answer = Path("colorized/deep/renamed.png").read_bytes()
    assert answer == served(service, GRAY, query, version=version, palette=palette)
    assert answer != served(service, GRAY, {})


def test_what_a_service_colors_by_looks_is_the_same(tmp_path: Path, model_path: Path, service: TestClient) -> None:
    server = Server(model_path, tmp_path / "log")
    try:
        put(tmp_path / "in/a.png", GRAY)
        put(tmp_path / "in/b.jpg", OTHER)
        look = {"options": {"variant": 2}, "reference": digest(PALETTE), "hints": [POINT]}
        looks = write(tmp_path / "looks.json", (GRAY, look), model={"digest": "0" * 64, "precision": "int8"})
        url = f"http://127.0.0.1:{server.port}"
        result = run("colorize", "in", "--looks", looks, "--remote", url, "--format", "png")
    finally:
        server.stop()
    assert result.exit_code == 0, result.output
    assert Path("colorized/a.png").read_bytes() == served(service, GRAY, {"hints": POINT}, version=2, palette=True)
    assert Path("colorized/b.png").read_bytes() == served(service, OTHER, {})
    assert "was made with another model, 000000000000 int8, and this is " in result.stderr
    assert UNNAMED in result.stderr


def test_what_does_not_match_is_said(tmp_path: Path, session: Session) -> None:
    put(tmp_path / "in/a.png", GRAY)
    put(tmp_path / "in/b.jpg", OTHER)
    gone = [(bytes([number]), {"name": f"gone-{number}.jpg"}) for number in range(7)]
    model = {"digest": "f" * 64, "precision": "float16"}
    looks = write(tmp_path / "looks.json", (GRAY, {"name": "fig.png"}), *gone, model=model)
    result = run("colorize", "in", "--looks", looks, "--json")
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line.get("notes") for line in lines[:2]] == [None, [UNNAMED]]
    model_said, unmet = lines[2]["summary"]["remarks"]
    assert unmet == (
        "looks.json: 7 of its 8 looks met no file that was named: gone-0.jpg, gone-1.jpg, gone-2.jpg, gone-3.jpg, "
        "gone-4.jpg and 2 more"
    )
    ours = f"{session.digest[:12]} {session.stamp.precision}"
    assert model_said == (
        f"looks.json was made with another model, ffffffffffff float16, and this is {ours}: the colors may differ"
    )
    assert unmet in result.stderr
    assert model_said in result.stderr


def test_each_file_is_read_once_whatever_becomes_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look whose file is colored, or was before, or fails, has met its file; an archive is not read twice for it."""
    put(tmp_path / "in/a.png", GRAY)
    looks = write(tmp_path / "looks.json", (GRAY, {}), (OTHER, {}), (GRAY[:-40], {"name": "broken.png"}))
    read: list[str] = []

    def counted(path: Path, *limits: Any) -> bytes:
        read.append(path.name)
        return read_file(path, *limits)

    for module in ("looks", "run"):
        monkeypatch.setattr(f"service.archive.{module}.read_file", counted)
    assert "2 of its 3 looks met no file that was named: " in run("colorize", "in", "--looks", looks).stderr
    assert read == ["looks.json", "a.png"]
    put(tmp_path / "in/b.jpg", OTHER)
    put(tmp_path / "in/c.png", GRAY[:-40])
    put(tmp_path / "in/d.txt", b"no picture")
    read.clear()
    result = run("colorize", "in", "--looks", looks, "--quiet")
    assert result.exit_code == 1
    assert "met no file" not in result.stderr
    assert read == ["looks.json", "a.png", "b.jpg", "c.png", "c.png"]


def test_the_same_model_is_no_news(tmp_path: Path, session: Session) -> None:
    put(tmp_path / "in/a.png", GRAY)
    model = {"digest": session.digest, "precision": session.stamp.precision}
    looks = write(tmp_path / "looks.json", (GRAY, {}), model=model)
    assert run("colorize", "in", "--looks", looks, "--quiet").stderr == ""
    assert say_unmet(read_looks(looks), []) == ""


def test_a_changed_look_is_not_taken_for_done(tmp_path: Path) -> None:
    put(tmp_path / "in/a.png", GRAY)
    looks = write(tmp_path / "looks.json", (GRAY, {"hints": [POINT]}))
    assert run("colorize", "in", "--looks", looks, "--quiet").exit_code == 0
    assert run("colorize", "in", "--looks", looks, "--quiet").stderr == ""
    write(looks, (GRAY, {"hints": ["0.5,0.75,c03020"], "options": {"variant": 2}}))
    told = run("colorize", "in", "--looks", looks, "--quiet").stderr
    assert told.startswith("1 already there, made with mode annealed, vividness 0.5, 1 hints (")
    assert "version" not in told
    assert "--overwrite" in told


def test_a_look_may_be_of_a_page(tmp_path: Path, service: TestClient) -> None:
    pages = tiff(smooth_gray(20, 30), pages=2)
    put(tmp_path / "in/a.tif", pages)
    looks = write(tmp_path / "looks.json", (pages, {"options": {"page": 2}}))
    assert run("colorize", "in", "--looks", looks).exit_code == 0
    assert Path("colorized/a.png").read_bytes() == served(service, pages, {"page": 2})


def test_a_reference_that_is_no_picture_fails_its_picture_alone(tmp_path: Path) -> None:
    put(tmp_path / "in/a.png", GRAY)
    put(tmp_path / "in/b.jpg", OTHER)
    references = {digest(b"no picture"): base64.b64encode(b"no picture").decode()}
    look = {"reference": digest(b"no picture")}
    looks = write(tmp_path / "looks.json", (GRAY, look), (OTHER, {}), references=references)
    result = run("colorize", "in", "--looks", looks)
    assert result.exit_code == 1
    assert "failed: in/a.png: The reference of its look: " in result.stderr
    assert Path("colorized/b.png").is_file()


KEY = "a" * 64


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "looks.json is no JSON"),
        (b"[" * 100_000, "looks.json is no JSON"),
        (b"\xff\xfe", "looks.json is no JSON"),
        (b"[]", "looks.json: Input should be"),
        (b"{}", "looks.json: photochrom_looks: Field required"),
        ({"photochrom_looks": 2}, "looks.json: photochrom_looks: Input should be 1"),
        ({"pictures": {"x": {}}}, "pictures.x"),
        ({"pictures": {KEY: {"colour": 1}}}, "pictures.aaaaaaaaaaaa.colour: Extra inputs are not permitted"),
        (
            {"pictures": {KEY: {"options": {"vividness": 2}}}},
            "pictures.aaaaaaaaaaaa (): vividness: Input should be less",
        ),
        ({"pictures": {KEY: {"options": {"variants": 2}}}}, "variants: Input should be 1"),
        ({"pictures": {KEY: {"options": {"vivid": 1}}}}, "vivid: Extra inputs are not permitted"),
        (
            {"pictures": {KEY: {"name": "f.jpg", "hints": [POINT, "2,0,ffffff"]}}},
            "pictures.aaaaaaaaaaaa (f.jpg): hints: hint 2 of 2: x is '2', not a number from 0 to 1",
        ),
        ({"pictures": {KEY: {"hints": [{"x": 2, "y": 0, "color": "0:0"}]}}}, "pictures.aaaaaaaaaaaa.hints.0"),
        ({"pictures": {KEY: {"reference": "b" * 64}}}, "its reference is not among the references"),
        ({"references": {KEY: "$$"}}, "references.aaaaaaaaaaaa is no base64"),
        ({"references": {KEY: "eHl6"}}, "references.aaaaaaaaaaaa holds another file"),
        ({"model": {"digest": "x"}}, "model.digest"),
        ({"pictures": {f"{number:064x}": {} for number in range(MOST_LOOKS + 1)}}, "pictures: Dictionary should have"),
    ],
)
def test_a_file_of_looks_that_makes_no_sense_is_misuse(tmp_path: Path, content: Any, said: str) -> None:
    if not isinstance(content, bytes):
        content = json.dumps({"photochrom_looks": 1, "pictures": {}} | content).encode()
    looks = put(tmp_path / "looks.json", content)
    put(tmp_path / "in/a.png", GRAY)
    result = run("colorize", "in", "--looks", looks)
    assert result.exit_code == 2
    assert "photochrom: --looks looks.json" in result.stderr
    assert said in result.stderr
    assert not Path("colorized").exists()
    with pytest.raises(LooksError):
        read_looks(looks)


@pytest.mark.parametrize("kind", ["missing", "folder", "large"])
def test_a_file_of_looks_that_cannot_be_read_is_misuse(tmp_path: Path, kind: str) -> None:
    looks = tmp_path / "looks.json"
    if kind == "folder":
        looks.mkdir()
    elif kind == "large":
        with looks.open("wb") as stream:
            stream.truncate((256 << 20) + 1)
    result = run("colorize", put(tmp_path / "in/a.png", GRAY), "--looks", looks)
    assert result.exit_code == 2
    assert {"missing": "No such file", "folder": "Is a directory", "large": "more than 256 MiB"}[kind] in result.stderr


# ----------------------------------------------------------------------------------------------------------- --variants


def test_versions_are_those_of_http(tmp_path: Path, service: TestClient) -> None:
    put(tmp_path / "in/a.png", GRAY)
    result = run("colorize", "in", "--variants", "3", "--vividness", "0.8")
    assert result.exit_code == 0, result.output
    for version, name in enumerate(("a.png", "a-v2.png", "a-v3.png"), start=1):
        query = {"vividness": 0.8, "variants": 3}
        answer = service.post("/colorize", params=query, files={"image": GRAY})
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            assert Path("colorized", name).read_bytes() == archive.read(f"variant-{version}.png")
    assert sorted(path.name for path in Path("colorized").iterdir()) == ["a-v2.png", "a-v3.png", "a.png"]


def test_a_missing_version_is_made_again(tmp_path: Path) -> None:
    put(tmp_path / "in/a.png", GRAY)
    assert run("colorize", "in").exit_code == 0
    assert "1 colored" in run("colorize", "in", "--variants", "2").stdout
    assert "1 already there" in run("colorize", "in", "--variants", "2").stdout
    assert "1 already there" in run("colorize", "in").stdout


def test_a_service_gives_versions_too(tmp_path: Path, model_path: Path) -> None:
    server = Server(model_path, tmp_path / "log")
    try:
        put(tmp_path / "in/a.png", GRAY)
        for out, place in (("here", ()), ("there", ("--remote", f"http://127.0.0.1:{server.port}"))):
            assert run("colorize", "in", "--variants", "2", "--out", out, *place).exit_code == 0
    finally:
        server.stop()
    for name in ("a.png", "a-v2.png"):
        assert Path("here", name).read_bytes() == Path("there", name).read_bytes()


def test_versions_replace_no_other_answer_and_no_source(tmp_path: Path) -> None:
    put(tmp_path / "in/a.png", GRAY)
    put(tmp_path / "in/a-v2.png", OTHER)
    result = run("colorize", "in", "--variants", "2")
    assert result.exit_code == 2
    assert "version 2 of in/a.png and the answer to in/a-v2.png would both be colorized/a-v2.png" in result.stderr
    result = run("colorize", "in/a.png", "--variants", "2", "--out", "in")
    assert result.exit_code == 2
    assert not Path("colorized").exists()


@pytest.mark.parametrize(
    "options",
    [
        ["--variants", "9"],
        ["--variants", "0"],
        ["--variants", "2", "--pages"],
        ["--looks", "looks.json", "--pages"],
        ["--looks", "looks.json", "--variants", "2"],
    ],
)
def test_what_does_not_go_together_is_misuse(tmp_path: Path, options: list[str]) -> None:
    write(tmp_path / "looks.json", (GRAY, {}))
    result = run("colorize", put(tmp_path / "in/a.png", GRAY), *options)
    assert result.exit_code == 2
    assert result.stderr
    assert not Path("colorized").exists()


def test_compare_shows_versions(tmp_path: Path) -> None:
    put(tmp_path / "a.png", GRAY)
    for count, width in ((1, 2), (3, 4)):
        name = f"s{count}.png"
        result = run("compare", "a.png", "--variants", str(count), "--out", name, "--cell", "64")
        assert result.exit_code == 0, result.output
        header = Path(name).read_bytes()[16:20]
        assert int.from_bytes(header, "big") == width * (64 + 8) + 8
