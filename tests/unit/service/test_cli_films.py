"""photochrom colorize with films: named, in folders, beside photographs, and where they cannot be colored."""

import json
import re
import signal
from pathlib import Path, PurePath
from typing import Any

import av
import pytest
from typer.testing import CliRunner

from service.archive.answers import is_whole
from service.archive.film_colors import FilmColorist
from service.archive.finding import plan_outputs
from service.commands.places import RayCluster
from service.commands.planning import without_films
from service.commands.shared import app
from tests import films
from tests.films import write_film
from tests.pictures import by_pillow, smooth_gray

pytestmark = pytest.mark.usefixtures("command_line")


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def film(path: Path, count: int = 3, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = films.camera(films.photograph(films.PHOTOGRAPHS[0]), count, size=(48, 64))
    return write_film(path, films.gray(frames), **options)


def photograph(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(by_pillow(smooth_gray(30, 40), "PNG"))
    return path


def test_a_folder_of_both(tmp_path: Path) -> None:
    photograph(tmp_path / "in/IMG_1.png")
    film(tmp_path / "in/IMG_1.MOV")
    film(tmp_path / "in/sub/b.mkv", subtitles=True)
    (tmp_path / "in/bad.mp4").write_text("no film")
    result = run("colorize", "in", "--json")
    lines = {line.get("source", "summary"): line for line in map(json.loads, result.stdout.splitlines())}
    assert result.exit_code == 1
    assert lines["summary"]["summary"] == {"colored": 3, "skipped": 0, "failed": 1, "left": 0}
    assert lines["in/bad.mp4"]["problem"] == "unsupported-film"
    said = ["subtitles encoded again: MP4 does not hold srt, so they are mov_text now"]
    assert (lines["in/sub/b.mkv"]["frames"], lines["in/sub/b.mkv"]["notes"]) == (3, said)
    assert "frames" not in lines["in/IMG_1.png"]
    out = tmp_path / "colorized"
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*.*")) == ["IMG_1.mp4", "IMG_1.png", "sub/b.mp4"]
    again = run("colorize", "in", "--json")
    assert json.loads(again.stdout.splitlines()[-1])["summary"]["skipped"] == 3
    assert again.exit_code == 1


def test_what_is_missing_in_the_answer_is_said(tmp_path: Path) -> None:
    film(tmp_path / "a.mkv", subtitles=True)
    result = run("colorize", "a.mkv", "--crf", "30", "--every", "2")
    assert result.exit_code == 0
    assert "a.mkv: colored; subtitles encoded again: MP4 does not hold srt" in result.stderr


@pytest.mark.parametrize(
    ("option", "value"),
    [("--crf", "52"), ("--crf", "-1"), ("--every", "-1"), ("--film-preset", "placebo"), ("--film-depth", "9")],
)
def test_nonsense_is_misuse(tmp_path: Path, option: str, value: str) -> None:
    film(tmp_path / "a.mp4")
    assert run("colorize", "a.mp4", option, value).exit_code == 2


def test_ten_bits_and_other_vividness_are_remembered(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4")
    assert run("colorize", "a.mp4", "--film-depth", "10", "--vividness", "1").exit_code == 0
    with av.open("colorized/a.mp4") as answer:
        assert next(answer.decode(video=0)).format.name == "yuv420p10le"
        said = r"Photochrom \S+, colors computed: model tiny-0001, mode annealed, vividness 1"
        assert re.fullmatch(said, answer.metadata["comment"])
    assert "1 already there, made with mode annealed, vividness 1: --overwrite" in run("colorize", "a.mp4").stderr
    assert run("colorize", "a.mp4", "--vividness", "1").stderr == ""


def test_a_film_is_looked_through_before_it_is_colored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.archive.report.FRAMES_TOLD_S", 0.0)
    film(tmp_path / "a.mp4")
    told = [line for line in run("colorize", "a.mp4").stderr.splitlines() if "frame " in line]
    assert [line.partition(";")[0] for line in told] == [
        *(f"a.mp4: frame {count}" for count in (1, 2, 3)),
        *(f"a.mp4: frame {count} of 3" for count in (1, 2, 3)),
    ]


def test_an_interrupted_film_leaves_nothing_and_starts_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film(tmp_path / "a.mp4", count=8)
    look = FilmColorist._look
    seen = []

    def interrupt(self: FilmColorist, small: Any) -> Any:
        seen.append(len(seen))
        if len(seen) == 5:
            signal.raise_signal(signal.SIGINT)
        return look(self, small)

    with monkeypatch.context() as patch:
        patch.setattr(FilmColorist, "_look", interrupt)
        result = run("colorize", "a.mp4", "--every", "1")
    assert result.exit_code == 130
    assert "1 left" in result.stderr
    assert list((tmp_path / "colorized").iterdir()) == []
    assert run("colorize", "a.mp4").exit_code == 0
    assert is_whole(tmp_path / "colorized/a.mp4")
    assert len(films.read_film(tmp_path / "colorized/a.mp4")) == 8


def test_half_a_film_is_colored_again(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4")
    run("colorize", "a.mp4")
    answer = tmp_path / "colorized/a.mp4"
    whole = answer.read_bytes()
    answer.write_bytes(whole[:-100])
    assert not is_whole(answer)
    assert "1 colored" in run("colorize", "a.mp4").stdout
    assert is_whole(answer)


def test_very_many_films_are_left_out_without_comparing_all_with_all(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = 0
    equal = PurePath.__eq__

    def counted(one: PurePath, other: object) -> bool:
        nonlocal compared
        compared += 1
        return equal(one, other)

    names = [f"{number:04}{suffix}" for number in range(300) for suffix in (".mp4", ".jpg")]
    plan = {Path("in", name): Path("out", name) for name in names}
    named = [Path(f"folder{number}") for number in range(300)]
    monkeypatch.setattr(PurePath, "__eq__", counted)
    left, told = without_films(plan, named, RayCluster("auto"))
    monkeypatch.undo()
    assert [source.suffix for source in left] == [".jpg"] * 300
    assert [(outcome.source.suffix, outcome.status) for outcome in told] == [(".mp4", "unread")] * 300
    assert compared <= len(names)


def test_a_service_takes_no_films(tmp_path: Path) -> None:
    film(tmp_path / "in/a.mp4")
    named = run("colorize", "in/a.mp4", "--remote", "http://127.0.0.1:9")
    assert named.exit_code == 2
    assert "in/a.mp4: a service colors photographs only" in named.stderr
    found = run("colorize", "in", "--remote", "http://127.0.0.1:9")
    assert found.exit_code == 1
    assert "not colored: in/a.mp4: a service colors photographs only" in found.stderr


def test_without_pyav_photographs_are_colored_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    photograph(tmp_path / "in/a.png")
    film(tmp_path / "in/b.mp4")
    film(tmp_path / "in/c.mp4")
    result = run("colorize", "in")
    assert result.exit_code == 1, "not all that was found is colored"
    assert "1 colored, 0 already there, 0 failed, 2 not read" in result.stdout
    assert "not colored: 2 files such as in/b.mp4: films need PyAV" in result.stderr
    assert "requirements/video.txt" in result.stderr
    named = run("colorize", "in/b.mp4")
    assert named.exit_code == 2
    assert "in/b.mp4: films need PyAV" in named.stderr


def test_the_doctor_knows_films() -> None:
    facts = json.loads(run("doctor", "--json").stdout)["facts"]
    assert facts["films"].startswith("PyAV ")


def test_names_of_films_that_would_collide_keep_their_suffix(tmp_path: Path) -> None:
    sources = [tmp_path / name for name in ("a.mov", "a.avi", "a.jpg", "b.mp4")]
    for source in sources:
        source.touch()
    out = tmp_path / "out"
    assert list(plan_outputs(sources, out, suffix=".png").values()) == [
        out / "a.mov.mp4",
        out / "a.avi.mp4",
        out / "a.png",
        out / "b.mp4",
    ]


def test_compare_takes_photographs_only(tmp_path: Path) -> None:
    photograph(tmp_path / "in/a.png")
    film(tmp_path / "in/b.mp4")
    assert "1 compared, 0 failed" in run("compare", "in").stdout
