"""service.archive.finding: which pictures, where to, and never over anything that is not ours."""

import errno
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from service.archive.answers import is_done, is_whole
from service.archive.finding import PlanError, find_pictures, plan_outputs, read_file
from tests.pictures import by_pillow, smooth_gray

GRAY = smooth_gray(20, 30)


def put(path: Path, data: bytes = b"picture") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def places(*inputs: Path, out: Path | None = None) -> dict[str, str]:
    """What is found, as text, without the folder of the test."""
    return {path.name: place.as_posix() for path, place in find_pictures(inputs, out)}


def test_names_that_would_collide_keep_their_suffix(tmp_path: Path) -> None:
    out = tmp_path / "out"
    sources = [put(tmp_path / name) for name in ("a.jpg", "a.tif", "b.png")]
    assert plan_outputs(sources, out, suffix=".png") == {
        sources[0]: out / "a.jpg.png",
        sources[1]: out / "a.tif.png",
        sources[2]: out / "b.png",
    }


def test_answers_are_never_taken_as_questions(tmp_path: Path) -> None:
    source = put(tmp_path / "a.png")
    out = tmp_path / "colorized"
    put(out / "a.png")
    assert plan_outputs([tmp_path], out, suffix=".png") == {source: out / "a.png"}
    assert list(plan_outputs([tmp_path / "*"], out, suffix=".png")) == [source]


def test_dots_in_names_survive(tmp_path: Path) -> None:
    source = put(tmp_path / "1911.07.04 picnic.png")
    assert plan_outputs([source], tmp_path / "o", suffix=".webp") == {source: tmp_path / "o/1911.07.04 picnic.webp"}


def test_a_folder_gives_its_pictures_and_nothing_hidden(tmp_path: Path) -> None:
    for name in ("b/c.JPEG", "a.png", "notes.txt", "._a.png", ".thumbnails/a.png", "b/.x/d.png"):
        put(tmp_path / name)
    (tmp_path / "folder.png").mkdir()
    assert places(tmp_path) == {"a.png": "a.png", "c.JPEG": "b/c.JPEG"}


def test_a_hidden_folder_that_is_named_is_searched(tmp_path: Path) -> None:
    put(tmp_path / ".scans/a.png")
    assert places(tmp_path / ".scans") == {"a.png": "a.png"}


def test_several_folders_keep_their_names(tmp_path: Path) -> None:
    first, second = put(tmp_path / "x/1950/1.jpg"), put(tmp_path / "y/1960/1.jpg")
    out = tmp_path / "out"
    assert plan_outputs([tmp_path / "x/1950", tmp_path / "y/1960"], out, suffix=".png") == {
        first: out / "1950/1.png",
        second: out / "1960/1.png",
    }


def test_one_folder_named_twice_is_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "in/1.jpg")
    monkeypatch.chdir(tmp_path)
    twice = [Path("in"), tmp_path / "in", Path("in/1.jpg"), tmp_path / "in/../in/1.jpg"]
    assert list(plan_outputs(twice, Path("out"), suffix=".png").items()) == [(Path("in/1.jpg"), Path("out/1.png"))]


def test_the_folder_one_is_in_has_a_name_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "here/1.jpg")
    put(tmp_path / "there/1.jpg")
    monkeypatch.chdir(tmp_path / "here")
    plan = plan_outputs([Path(), Path("../there")], tmp_path / "out", suffix=".png")
    assert list(plan.values()) == [tmp_path / "out/here/1.png", tmp_path / "out/there/1.png"]


def test_patterns_keep_the_folders_behind_their_fixed_part(tmp_path: Path) -> None:
    for name in ("in/a.tif", "in/b/c.tif", "in/b/d.png", "in/notes.txt", "in/.e.tif"):
        put(tmp_path / name)
    assert places(tmp_path / "in/**/*.tif") == {"a.tif": "a.tif", "c.tif": "b/c.tif"}
    assert places(tmp_path / "in/*") == {"a.tif": "a.tif", "c.tif": "b/c.tif", "d.png": "b/d.png"}
    assert places(tmp_path / "in/b/[cd].*") == {"c.tif": "c.tif", "d.png": "d.png"}


def locked(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
    """Make folders that nobody can list; root, whom the tests may run as, could list any."""
    scan = os.scandir

    def scandir(folder: Path) -> Any:
        if Path(folder) in folders:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        return scan(folder)

    monkeypatch.setattr(os, "scandir", scandir)


@pytest.mark.parametrize("named", ["in", "in/*", "in/**", "in/**/*.png", "in/*/*"])
def test_a_folder_that_cannot_be_searched_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    put(tmp_path / "in/b/1.png")
    (tmp_path / "in/locked").mkdir()
    (tmp_path / "in/.locked").mkdir()
    locked(monkeypatch, tmp_path / "in/locked", tmp_path / "in/.locked")
    told: list[tuple[Path, str]] = []
    found = find_pictures(
        [tmp_path / named], on_unlisted=lambda _, place, error: told.append((place, str(error.strerror)))
    )
    assert [path for path, _ in found] == [tmp_path / "in/b/1.png"]
    assert told == [(Path("locked"), "Permission denied")]
    with pytest.raises(PermissionError):
        list(find_pictures([tmp_path / named]))


@pytest.mark.parametrize("pattern", ["in/locked/*.png", "in/*/*.png", "in/**/*.png", "in/*/**/*.png", "in/*/b/*.png"])
def test_a_locked_folder_that_a_pattern_leads_into_is_told_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    (tmp_path / "in/locked").mkdir(parents=True)
    locked(monkeypatch, tmp_path / "in/locked")
    told: list[Path] = []
    patterns = [tmp_path / pattern, tmp_path / pattern.replace("png", "jpg")]
    assert list(find_pictures(patterns, on_unlisted=lambda folder, _, __: told.append(folder))) == []
    assert told == [tmp_path / "in/locked"]


def test_a_folder_that_is_named_and_cannot_be_searched_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "a/1.png")
    (tmp_path / "b").mkdir()
    locked(monkeypatch, tmp_path / "b")
    told: list[Path] = []
    found = find_pictures([tmp_path / "a", tmp_path / "b"], on_unlisted=lambda _, place, __: told.append(place))
    assert ([path for path, _ in found], told) == ([tmp_path / "a/1.png"], [Path("b")])


@pytest.mark.parametrize("named", ["in", "in/*", "in/**", "in/**/*.png", "in/*/*", "in/shut/*"])
def test_a_folder_that_may_be_listed_but_not_entered_hides_nothing(tmp_path: Path, named: str) -> None:
    put(tmp_path / "in/shut/1.png")
    put(tmp_path / "in/shut/deep/2.png")
    put(tmp_path / "disk/3.png")
    (tmp_path / "in/shut/1950").symlink_to("../../disk")
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom service.archive.finding import find_pictures\n"
        "if os.getuid() == 0: os.setgid(65534), os.setuid(65534)\n"
        "tell = lambda folder, place, error: print('folder', folder)\n"
        "for path, place in find_pictures([Path(sys.argv[1])], on_unlisted=tell): print('file', path)\n"
    )
    tmp_path.chmod(0o755)
    (tmp_path / "in/shut").chmod(0o444)
    try:
        said = subprocess.run(
            [sys.executable, "-c", program, named],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        (tmp_path / "in/shut").chmod(0o755)
    assert sorted(said.stdout.splitlines()) == ["file in/shut/1.png", "file in/shut/1950", "folder in/shut/deep"]


@pytest.mark.parametrize("named", ["in", "in/*", "in/**/*"])
def test_the_disk_is_asked_once_for_a_folder_and_never_for_what_is_no_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    names = [f"{number}{suffix}" for number in range(20) for suffix in (".jpg", ".xmp", ".NEF", "")]
    for name in names:
        put(tmp_path / "in/roll" / name)
    asked = Counter[str]()

    def count(name: str) -> None:
        ask = getattr(os, name)

        def counted(path: Any, *args: Any, **options: Any) -> Any:
            asked[os.path.basename(path)] += 1
            return ask(path, *args, **options)

        monkeypatch.setattr(os, name, counted)

    count("stat")
    count("lstat")
    plan = plan_outputs([tmp_path / named], tmp_path / "out", suffix=".png")
    assert len(plan) == 20
    assert asked["roll"] < 10
    assert not [name for name in names if asked[name] and not name.endswith(".jpg")]


@pytest.mark.parametrize("named", ["in", "in/*", "in/**", "in/**/*.png", "in/**/*"])
def test_links_to_folders_are_followed_and_each_folder_searched_once(tmp_path: Path, named: str) -> None:
    put(tmp_path / "in/b/1.png")
    put(tmp_path / "disk/1950/2.png")
    put(tmp_path / "3.png")
    (tmp_path / "in/a disk").symlink_to(tmp_path / "disk")
    (tmp_path / "in/a link").symlink_to("b")
    (tmp_path / "in/a way back").symlink_to(".")
    (tmp_path / "in/b/a way out").symlink_to("../..")
    (tmp_path / "disk/1950/round").symlink_to(tmp_path / "disk")
    found = sorted(place.as_posix() for _, place in find_pictures([tmp_path / named]))
    assert found == ["a disk/1950/2.png", "b/1.png"]


@pytest.mark.parametrize(
    ("named", "places"),
    [
        (("album", "scans"), {"scans/1.png", "album/2.png"}),
        (("a*", "s*"), {"scans/1.png", "album/2.png"}),
        (("album/*", "scans"), {"1.png", "2.png"}),
        (("album/*", "scans/*"), {"1.png", "2.png"}),
        (("album/**/*.jpg", "scans/1.jpg"), {"1.png", "2.png"}),
        (("album", "scans/1.jpg"), {"1.png", "2.png"}),
        (("album", "album/from attic"), {"scans/1.png", "album/2.png"}),
        (("album",), {"from attic/1.png", "2.png"}),
    ],
)
def test_what_is_named_wins_over_a_link_to_it_in_any_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: tuple[str, ...], places: set[str]
) -> None:
    put(tmp_path / "scans/1.jpg")
    put(tmp_path / "album/2.jpg")
    (tmp_path / "album/from attic").symlink_to("../scans")
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out"
    for inputs in (named, named[::-1]):
        plan = plan_outputs([Path(given) for given in inputs], out, suffix=".png")
        assert len(plan) == 2
        assert {target.relative_to(out).as_posix() for target in plan.values()} == places


def test_pictures_come_in_the_order_of_what_names_them(tmp_path: Path) -> None:
    first, second = put(tmp_path / "scans/1.jpg"), put(tmp_path / "album/2.jpg")
    (tmp_path / "album/a link").symlink_to("../scans")
    assert [path for path, _ in find_pictures([tmp_path / "album", tmp_path / "scans"])] == [second, first]
    assert [path for path, _ in find_pictures([tmp_path / "scans", tmp_path / "album"])] == [first, second]


@pytest.mark.parametrize("named", ["data/in", "data/in/*", "data/in/**/*.png", "data/in/*/*/*"])
def test_a_link_behind_a_link_cannot_lead_above_what_was_named(tmp_path: Path, named: str) -> None:
    put(tmp_path / "data/in/a/b/1.png")
    put(tmp_path / "data/private/c/2.png")
    put(tmp_path / "other/foo/c/3.png")
    for link, target in (("data/in/out", "other/foo"), ("other/foo/up", "data"), ("other/foo/back", "data/in")):
        (tmp_path / link).symlink_to(tmp_path / target)
    found = sorted(place.as_posix() for _, place in find_pictures([tmp_path / named]))
    assert found == ["a/b/1.png", "out/c/3.png"]


def test_behind_a_link_the_folder_of_answers_is_left_out_too(tmp_path: Path) -> None:
    source, out = put(tmp_path / "in/a.png"), tmp_path / "out"
    put(out / "a.png")
    (tmp_path / "in/seen").symlink_to(out)
    for named in ("in", "in/*", "in/**/*.png"):
        assert plan_outputs([tmp_path / named], out, suffix=".png") == {source: out / "a.png"}


@pytest.mark.parametrize("named", ["in", "in/*", "in/**/*"])
def test_a_broken_link_is_kept_for_the_list_of_failures(tmp_path: Path, named: str) -> None:
    put(tmp_path / "in/a.png")
    for link, target in (
        ("b.jpg", "gone.jpg"),
        ("c.jpg", "c.jpg"),
        ("1950", "/not/mounted"),
        ("notes.txt", "gone.txt"),
    ):
        (tmp_path / "in" / link).symlink_to(target)
    out = tmp_path / "out"
    plan = plan_outputs([tmp_path / named], out, suffix=".png")
    assert {source.name: target for source, target in plan.items()} == {
        "1950": out / "1950.png",
        "a.png": out / "a.png",
        "b.jpg": out / "b.png",
        "c.jpg": out / "c.png",
    }


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("in/**/*.jpg", ["1950", "album/a.jpg", "album/disk"]),
        ("in/*/*.jpg", ["1950", "album/a.jpg"]),
        ("in/*/**/*.jpg", ["1950", "album/a.jpg", "album/disk"]),
        ("in/1*/*.jpg", ["1950"]),
        ("in/*/disk/*.jpg", ["1950", "album/disk"]),
        ("in/a*/*.jpg", ["album/a.jpg"]),
        ("in/*.jpg", ["*.jpg"]),  # It does not lead into folders; that nothing matches is told.
    ],
)
def test_a_pattern_tells_of_the_broken_links_it_may_lead_into(tmp_path: Path, pattern: str, told: list[str]) -> None:
    put(tmp_path / "in/album/a.jpg")
    for link in ("1950", "album/disk", "album/notes.txt"):
        (tmp_path / "in" / link).symlink_to("/not/mounted")
    assert sorted(place.as_posix() for _, place in find_pictures([tmp_path / pattern])) == told


def test_a_pattern_cannot_lead_out_of_the_folder_of_answers(tmp_path: Path) -> None:
    put(tmp_path / "in/a/1.png")
    with pytest.raises(PlanError, match=r"'\.\.' makes no sense behind a wildcard"):
        plan_outputs([tmp_path / "in/a/*/../../../1.png"], tmp_path / "out", suffix=".png")


def test_a_name_with_brackets_is_a_name_where_there_is_such_a_file(tmp_path: Path) -> None:
    put(tmp_path / "a[1].jpg")
    put(tmp_path / "a1.jpg")
    assert places(tmp_path / "a[1].jpg") == {"a[1].jpg": "a[1].jpg"}


def test_what_is_not_there_is_kept_for_the_list_of_failures(tmp_path: Path) -> None:
    assert places(tmp_path / "gone.jpg", tmp_path / "*.jpg") == {"gone.jpg": "gone.jpg", "*.jpg": "*.jpg"}


def test_two_answers_of_one_name_are_refused(tmp_path: Path) -> None:
    sources = [put(tmp_path / "x/a.jpg"), put(tmp_path / "y/a.jpg")]
    with pytest.raises(PlanError, match=r"x/a\.jpg and .*y/a\.jpg would both be .*out/a\.jpg\.png"):
        plan_outputs(sources, tmp_path / "out", suffix=".png")
    put(tmp_path / "x/scans/1.jpg")
    put(tmp_path / "y/scans/1.jpg")
    with pytest.raises(PlanError, match="would both be"):
        plan_outputs([tmp_path / "x/scans", tmp_path / "y/scans"], tmp_path / "out", suffix=".png")


def test_the_longer_name_of_one_may_not_be_the_name_of_another(tmp_path: Path) -> None:
    sources = [put(tmp_path / name) for name in ("a.jpg", "a.tif", "a.jpg.bmp")]
    with pytest.raises(PlanError, match="would both be"):
        plan_outputs(sources, tmp_path / "out", suffix=".png")


def test_a_source_is_never_the_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = put(tmp_path / "a.png")
    with pytest.raises(PlanError, match="would replace the picture"):
        plan_outputs([source], tmp_path, suffix=".png")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PlanError, match="would replace the picture"):
        plan_outputs([source], Path(), suffix=".png")
    (tmp_path / "linked").symlink_to(tmp_path)
    with pytest.raises(PlanError, match="would replace the picture"):
        plan_outputs([source], tmp_path / "linked", suffix=".png")


def test_the_answer_to_one_is_never_another_source(tmp_path: Path) -> None:
    sources = [put(tmp_path / name) for name in ("a.jpg", "a.tif", "out/a.jpg.png")]
    with pytest.raises(PlanError, match=re.escape(f"the answer to {sources[0]} would replace")):
        plan_outputs(sources, tmp_path / "out", suffix=".png")


def test_a_link_to_a_source_is_no_place_for_an_answer(tmp_path: Path) -> None:
    source = put(tmp_path / "a.jpg")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.png").symlink_to(source)
    with pytest.raises(PlanError, match="would replace"):
        plan_outputs([source], tmp_path / "out", suffix=".png")


def test_beside_the_source_is_fine_under_another_suffix(tmp_path: Path) -> None:
    source = put(tmp_path / "a.jpg")
    assert plan_outputs([source], tmp_path, suffix=".png") == {source: tmp_path / "a.png"}


def test_a_folder_in_the_folder_of_answers_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "in/1.jpg")
    for out in (tmp_path / "in", tmp_path):
        with pytest.raises(PlanError, match="lies in the folder of the answers"):
            plan_outputs([tmp_path / "in"], out, suffix=".png")


def test_the_folder_of_answers_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="is a file"):
        plan_outputs([put(tmp_path / "a.jpg")], put(tmp_path / "out"), suffix=".png")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_what_was_cut_off_is_not_whole(tmp_path: Path, kind: str) -> None:
    data = by_pillow(GRAY, kind)
    assert is_whole(put(tmp_path / "a", data))
    for length in (0, 3, 12, len(data) // 2, len(data) - 1):
        if kind == "JPEG" or length not in (3,):  # Three bytes of the others are a start of nothing in particular.
            assert not is_whole(put(tmp_path / "a", data[:length])), length
    assert is_whole(put(tmp_path / "a", b"mine, and no picture"))


def test_done_means_whole_and_not_older(tmp_path: Path) -> None:
    source, target = put(tmp_path / "a.jpg"), tmp_path / "a.png"
    assert not is_done(source, target)
    put(target, by_pillow(GRAY, "PNG"))
    os.utime(source, ns=(10, 10))
    for time_ns, done in ((9, False), (10, True), (11, True)):
        os.utime(target, ns=(time_ns, time_ns))
        assert is_done(source, target) is done
    put(target, b"")
    assert not is_done(source, target)
    source.unlink()
    assert not is_done(source, target)


def test_a_pipe_is_left_out_of_a_folder_and_refused_by_name(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "waits.jpg")
    (tmp_path / "good.jpg").write_bytes(b"jpeg")
    assert [path.name for path, _ in find_pictures([tmp_path])] == ["good.jpg"]
    assert read_file(tmp_path / "good.jpg") == b"jpeg"
    with pytest.raises(OSError, match="no file but a folder, a pipe or a device"):
        read_file(tmp_path / "waits.jpg")
    with pytest.raises(IsADirectoryError):
        read_file(tmp_path)
