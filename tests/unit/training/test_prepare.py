"""`prepare`: what goes in, what comes out, and that no moment to be killed at is a bad one."""

import csv
import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from chroma.bins import load_centers
from tests.coco_tree import SCENES as COCO_SCENES
from tests.coco_tree import make_coco_stuff
from tests.scene_classifier import NAMES, write_classifier, write_names
from tests.unit.training import test_pictures
from tests.unit.training.pictures import encode, landscape, write_folder, write_shards
from training import DataError, PrepareError, TrainingError, cli
from training.config import DataConfig
from training.data.batches import BatchMaker, count_prior
from training.data.photographs import PhotographSet, open_photographs
from training.data.pictures import decode_photograph
from training.data.prepare import PreparedShards, PrepareOptions, prepare
from training.data.prepare_part import refuse_colorless
from training.data.samples import decode_label_map
from training.recipes import load_recipe

ROOT = Path(__file__).parents[3]
SMALL = DataConfig(crop_px=64)


def prepared(source: Path, out: Path, **options: object) -> PreparedShards:
    return prepare(PrepareOptions(source, out, **{"size": 48, "data": SMALL, **options}))  # type: ignore[arg-type]


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def by_key(found: PhotographSet) -> dict[str, np.ndarray]:
    return {photo.key: decode_photograph(found.read(photo)) for photo in found.photographs}


# ------------------------------------------------------------------------------------------------------- what comes out


def test_a_folder_becomes_shards_of_small_photographs(tmp_path: Path) -> None:
    write_folder(tmp_path / "in" / "a", 30)
    made = prepared(tmp_path / "in", tmp_path / "out")
    assert made.train + made.val == 30
    assert (made.refused, made.without_labels, made.reasons) == (0, 0, ())
    source, found = open_photographs(tmp_path / "in"), open_photographs(tmp_path / "out")
    assert {f"{photo.key}.jpg": photo.split for photo in found.photographs} == {
        p.key: p.split for p in source.photographs
    }
    for key, picture in by_key(found).items():
        assert picture.shape == (48, 64, 3)
        expected = cv2.resize(landscape(int(key[-3:])), (64, 48), interpolation=cv2.INTER_AREA)
        assert np.abs(picture.astype(int) - expected).mean() < 6
    sizes = {(row["width"], row["height"]) for row in rows(tmp_path / "out" / "labels.csv")}
    assert sizes == {("64", "48")}
    assert sorted(files(tmp_path / "out")) == [
        *("labels.csv", "metadata.json", "prior.npy", "refused.csv", "train-00000.zip", "val-00000.zip")
    ]


def test_small_jpegs_are_kept_byte_for_byte(tmp_path: Path) -> None:
    source = open_photographs(write_folder(tmp_path / "in", 6))
    prepared(tmp_path / "in", tmp_path / "out", size=72)
    found = open_photographs(tmp_path / "out")
    originals = {photo.key.removesuffix(".jpg"): source.read(photo) for photo in source.photographs}
    assert {photo.key: found.read(photo) for photo in found.photographs} == originals


def test_coco_stuff_keeps_its_label_maps_and_scene_probabilities(tmp_path: Path) -> None:
    source = open_photographs(make_coco_stuff(tmp_path / "coco", size=128))
    assert prepared(tmp_path / "coco", tmp_path / "out") == PreparedShards(12, 6, 0, 0, ())
    found = open_photographs(tmp_path / "out")
    assert found.scenes == COCO_SCENES
    assert [photo.split for photo in found.photographs] == [photo.split for photo in source.photographs]
    for before, after in zip(source.photographs, found.photographs, strict=True):
        assert after.key == before.key.removesuffix(".jpg")
        assert_allclose(found.scene_target(after, top_k=5), source.scene_target(before, top_k=5), atol=1e-4)
        assert bool(after.label_map) == bool(before.label_map)
        if before.label_map:
            picture = decode_photograph(found.read(after))
            original = decode_label_map(source.read_label_map(before), decode_photograph(source.read(before)).shape[:2])
            labels = decode_label_map(found.read_label_map(after), picture.shape[:2])
            assert min(labels.shape) == 48
            expected = cv2.resize(original, labels.shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
            assert_array_equal(labels, expected)
    maker = BatchMaker(found, found.split("train"), SMALL, batch_size=4, seed=0, segmentation_classes=182)
    segmentation = maker.batch(0).segmentation
    assert segmentation is not None
    assert (segmentation >= 0).mean() > 0.5


def test_labels_of_shards_are_kept(tmp_path: Path) -> None:
    """And preparing again what was prepared gives the same photographs."""
    write_shards(tmp_path / "in", train=9, val=4)
    prepared(tmp_path / "in", tmp_path / "once")
    prepared(tmp_path / "once", tmp_path / "twice")
    for column in ("scene", "scene_coarse", "dataset", "split"):
        before, once, twice = (
            {row["key"]: row[column] for row in rows(tmp_path / folder / "labels.csv")}
            for folder in ("in", "once", "twice")
        )
        assert before == once == twice
    assert files(tmp_path / "once")["train-00000.zip"] == files(tmp_path / "twice")["train-00000.zip"]


def test_every_refused_file_is_listed_with_its_reason(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "in", 8)
    for place, (data, _) in enumerate(test_pictures.REFUSED.values()):
        (folder / f"bad {place}, really.png").write_bytes(data)
    (folder / "gray.jpg").write_bytes(encode(np.repeat(landscape(1)[..., :1], 3, axis=-1)))
    (folder / "gone.jpg").symlink_to(folder / "nowhere")
    made = prepared(folder, tmp_path / "out", validation_share=0.2)
    refused = {row["file"]: row["reason"] for row in rows(tmp_path / "out" / "refused.csv")}
    assert made.refused == len(refused) == len(test_pictures.REFUSED) + 2
    assert made.train + made.val == 8
    for place, (_, reason) in enumerate(test_pictures.REFUSED.values()):
        assert reason in refused[f"bad {place}, really.png"]
    assert refused["gray.jpg"] == "gray"
    assert "No such file" in refused["gone.jpg"]
    assert sum(count for _, count in made.reasons) == made.refused
    assert dict(made.reasons)["more than 89 megapixels"] == 3


def test_pictures_of_every_kind_are_kept(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    kinds = test_pictures.EXACT | {name: data for name, (data, _) in test_pictures.NEAR.items()}
    for name, data in kinds.items():
        (tmp_path / "in" / f"{name}.png").write_bytes(data)
    made = prepared(tmp_path / "in", tmp_path / "out", size=72)
    assert (made.train + made.val, made.refused) == (len(kinds), 0)
    for picture in by_key(open_photographs(tmp_path / "out")).values():
        assert np.abs(picture.astype(int) - test_pictures.RGB).mean() < 6


def test_names_that_differ_in_their_suffix_alone_stay_apart(tmp_path: Path) -> None:
    (tmp_path / "in" / "b").mkdir(parents=True)
    for seed, name in enumerate(("a.jpg", "a.png", "b/a.jpg", "c.jpg", "c.jpg.png", "d.v2.jpg")):
        (tmp_path / "in" / name).write_bytes(encode(landscape(seed), name[-4:]))
    prepared(tmp_path / "in", tmp_path / "out")
    assert {row["source"]: row["key"] for row in rows(tmp_path / "out" / "labels.csv")} == {
        **{"a.jpg": "a.jpg", "a.png": "a.png", "b/a.jpg": "b/a", "c.jpg": "c", "c.jpg.png": "c.jpg.png"},
        **{"d.v2.jpg": "d.v2"},
    }


def test_a_label_map_that_does_not_fit_is_left_out_and_listed(tmp_path: Path) -> None:
    folder = make_coco_stuff(tmp_path / "coco", train=4, val=2)
    (folder / "stuffthingmaps" / "train2017" / f"{9:012}.png").write_bytes(b"no picture")
    made = prepared(folder, tmp_path / "out")
    assert (made.train, made.refused, made.without_labels) == (4, 0, 1)
    complaints = rows(tmp_path / "out" / "refused.csv")
    assert [row["file"] for row in complaints] == [f"train2017/{9:012}.jpg"]
    assert complaints[0]["reason"].startswith("kept without its label map: ")


def test_a_name_that_is_no_text_is_listed(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "in", 3)
    try:
        (folder / os.fsdecode(b"b\xe9.jpg")).write_bytes(encode(landscape(9)))
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")
    assert prepared(folder, tmp_path / "out").refused == 1
    assert rows(tmp_path / "out" / "refused.csv")[0] == {"file": "b\\udce9.jpg", "reason": "its name is not UTF-8"}


# ------------------------------------------------------------------------------------------------------ gray and tinted


def toned(tint: tuple[float, float, float], seed: int = 1) -> np.ndarray:
    gray = landscape(seed).mean(axis=-1, keepdims=True) / 255
    return np.clip(255 * gray ** np.array(tint), 0, 255).astype(np.uint8)


NOISE = np.random.default_rng(0).integers(-6, 7, (216, 288, 3))
COLORLESS = {
    "gray": (toned((1, 1, 1)), "gray"),
    "gray with noise": (
        np.clip(np.kron(toned((1, 1, 1)), np.ones((3, 3, 1))) + NOISE, 0, 255).astype(np.uint8),
        "gray",
    ),
    "sepia": (toned((0.7, 1, 1.5)), "tinted"),
    "cyanotype": (toned((1.6, 1, 0.6)), "tinted"),
    "sepia jpeg": (decode_photograph(encode(toned((0.7, 1, 1.5)))), "tinted"),
    "faint sepia": (toned((0.9, 1, 1.1)), "tinted"),
}


@pytest.mark.parametrize("name", COLORLESS)
def test_gray_and_tinted_photographs_are_refused(name: str) -> None:
    picture, reason = COLORLESS[name]
    with pytest.raises(DataError, match=reason):
        refuse_colorless(picture)


def test_colored_photographs_are_not() -> None:
    spot = toned((1, 1, 1))
    spot[20:34, 30:44] = (200, 40, 40)
    opposite = toned((1, 1, 1))
    opposite[:, :48] = toned((0.7, 1, 1.5))[:, :48]
    opposite[:, 48:] = toned((1.5, 1, 0.7))[:, 48:]
    real = [decode_photograph(path.read_bytes()) for path in sorted((ROOT / "tests" / "data").glob("*.*g"))]
    assert len(real) == 3
    for picture in (spot, opposite, *real, *map(landscape, range(20))):
        refuse_colorless(picture)


def test_gray_photographs_may_be_kept(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "in", 3)
    for name, (picture, _) in COLORLESS.items():
        (folder / f"{name}.png").write_bytes(encode(picture, ".png"))
    assert prepared(folder, tmp_path / "out", keep_gray=True).refused == 0
    assert prepared(folder, tmp_path / "other").refused == len(COLORLESS)


# ------------------------------------------------------------------------------------------------------------ the prior


def without_prior(folder: Path) -> PhotographSet:
    (folder / "prior.npy").unlink()
    return open_photographs(folder)


def test_the_prior_is_the_one_that_a_run_would_count(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_folder(tmp_path / "in", 30)
    (folder / "gray.jpg").write_bytes(encode(np.repeat(landscape(1)[..., :1], 3, axis=-1)))
    prepared(folder, tmp_path / "out", keep_gray=True)
    taken = count_prior(open_photographs(tmp_path / "out"), SMALL, load_centers(), workers=1)
    assert_array_equal(taken, np.load(tmp_path / "out" / "prior.npy"))
    with caplog.at_level("INFO"):
        caplog.clear()
        own = count_prior(without_prior(tmp_path / "out"), SMALL, load_centers(), workers=1)
    assert not caplog.records
    assert_allclose(taken, own, atol=1e-12)


def change_labels(folder: Path) -> None:
    text = (folder / "labels.csv").read_text().splitlines(keepends=True)
    (folder / "labels.csv").write_text("".join(text[:-3]))


def spoil_prior(folder: Path) -> None:
    np.save(folder / "prior.npy", np.ones(5))


@pytest.mark.parametrize("config", [SMALL, DataConfig(crop_px=32), DataConfig(crop_px=64, ab_sampling="nearest")])
@pytest.mark.parametrize("change", [None, change_labels, spoil_prior])
def test_a_prior_that_does_not_fit_the_run_is_not_taken(tmp_path: Path, config: DataConfig, change: object) -> None:
    prepared(write_folder(tmp_path / "in", 12), tmp_path / "out")
    if callable(change):
        change(tmp_path / "out")
    got = count_prior(open_photographs(tmp_path / "out"), config, load_centers(), workers=1)
    own = count_prior(without_prior(tmp_path / "out"), config, load_centers(), workers=1)
    assert_allclose(got, own, atol=1e-12)


# ------------------------------------------------------------------------------------------------------ the scene model


@pytest.mark.parametrize("workers", [1, 2])
def test_a_scene_model_names_the_scenes(tmp_path: Path, workers: int) -> None:
    write_folder(tmp_path / "in", 60 if workers == 2 else 4)
    model = write_classifier(tmp_path / "scenes.onnx")
    names = write_names(tmp_path / "names.txt")
    prepared(tmp_path / "in", tmp_path / "out", scene_model=model, scene_names=names, workers=workers)
    found = open_photographs(tmp_path / "out")
    assert found.scenes == tuple(sorted(NAMES))
    for photo in found.photographs[:5]:
        # Most of such a landscape is as in its mean color, and the channel that is brightest wins.
        mean = decode_photograph(found.read(photo)).mean(axis=(0, 1)) / 255
        logits = (mean - (0.485, 0.456, 0.406)) / np.array((0.229, 0.224, 0.225))
        expected = dict(zip(NAMES, np.exp(logits) / np.exp(logits).sum(), strict=True))
        got = dict(found.scene_pairs(photo))
        assert sum(got.values()) == pytest.approx(1, abs=1e-3)
        assert_allclose([got[name] for name in NAMES], [expected[name] for name in NAMES], atol=0.08)


# --------------------------------------------------------------------------------------------- interrupted and repeated


def test_the_number_of_workers_changes_nothing(tmp_path: Path) -> None:
    write_folder(tmp_path / "in", 130)
    told: list[tuple[int, int]] = []
    options = PrepareOptions(tmp_path / "in", tmp_path / "two", size=48, data=SMALL, workers=2)
    prepare(options, watch=lambda done, total: told.append((done, total)))
    prepared(tmp_path / "in", tmp_path / "one")
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert told[0] == (0, 130)
    assert told[-1] == (130, 130)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


COMMAND = "import sys; from training.cli import main; sys.argv[0] = 'photochrom-train'; main()"


def start(*arguments: str, setup: str = "") -> subprocess.Popen[str]:
    code = f"{setup}\n{COMMAND}" if setup else COMMAND
    return subprocess.Popen(
        [sys.executable, "-c", code, "prepare", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )


KILLED = """
import os, signal, sys
from training import prepare_cli
class Deadly(prepare_cli.PrepareDisplay):
    def photograph(self, done, total):
        if done >= {photographs}:
            os.kill(os.getpid(), signal.SIGKILL)
prepare_cli.PrepareDisplay = Deadly
"""


def test_killed_at_any_moment_the_same_command_goes_on(tmp_path: Path) -> None:
    """A real SIGKILL, with the workers in the middle of something: they end too, and nothing is lost or different."""
    write_folder(tmp_path / "in", 500)
    out = tmp_path / "out"
    arguments = [str(tmp_path / "in"), str(out), "--size", "40", "--workers", "2"]
    notes: set[Path] = set()
    for photographs in (40, 310):
        process = start(*arguments, setup=KILLED.format(photographs=photographs))
        # The pipe ends when the last process that holds it has ended.
        text, _ = process.communicate(timeout=120)
        assert process.returncode == -signal.SIGKILL, text
        assert not (out / "labels.csv").exists()
        with pytest.raises(DataError, match="has not finished"):
            open_photographs(out)
        assert notes <= set((out / "parts").glob("*.json"))
        notes = set((out / "parts").glob("*.json"))
        for shard in out.glob("*.zip"):
            assert zipfile.ZipFile(shard).testzip() is None
    assert notes
    finished = {path.stem: (out / f"{path.stem}.zip").stat().st_mtime_ns for path in notes}
    text, _ = (process := start(*arguments)).communicate(timeout=120)
    assert process.returncode == 0, text
    assert {name: (out / f"{name}.zip").stat().st_mtime_ns for name in finished} == finished
    prepared(tmp_path / "in", tmp_path / "whole", size=40, data=load_recipe("default").data)
    assert files(out) == files(tmp_path / "whole")


def test_a_finished_folder_stays_as_it_is(tmp_path: Path) -> None:
    write_folder(tmp_path / "in", 5)
    first = prepared(tmp_path / "in", tmp_path / "out")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert prepared(tmp_path / "in", tmp_path / "out") == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == times


def test_what_a_kill_between_the_last_file_and_tidying_up_leaves_is_tidied_up(tmp_path: Path) -> None:
    write_folder(tmp_path / "in", 5)
    prepared(tmp_path / "in", tmp_path / "out")
    before = files(tmp_path / "out")
    (tmp_path / "out" / "prepare.json").write_text("{}\n")
    (tmp_path / "out" / "parts").mkdir()
    (tmp_path / "out" / "parts" / "train-00000.json").write_text("{}")
    prepared(tmp_path / "in", tmp_path / "out")
    assert files(tmp_path / "out") == before


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"size": 64}, "size"),
        ({"keep_gray": True}, "keep_gray"),
        ({"data": DataConfig(crop_px=32)}, "prior"),
        ({"validation_share": 0.5}, "list of photographs"),
    ],
)
def test_a_folder_made_with_other_options_is_not_touched(
    tmp_path: Path, finished: bool, change: dict[str, object], told: str
) -> None:
    write_folder(tmp_path / "in", 20)
    options = PrepareOptions(tmp_path / "in", tmp_path / "out", size=48, data=SMALL)
    if finished:
        prepare(options)
    else:
        with pytest.raises(Stop):
            prepare(options, watch=interrupt)
    before = files(tmp_path / "out")
    with pytest.raises(PrepareError, match=rf"was made otherwise \({told}\)"):
        prepared(tmp_path / "in", tmp_path / "out", **change)
    assert files(tmp_path / "out") == before


class Stop(Exception):
    """Stands in for whatever ends a call early."""


def interrupt(done: int, _total: int) -> None:
    if done == 2:
        raise Stop


def test_other_photographs_are_noticed(tmp_path: Path) -> None:
    write_folder(tmp_path / "in", 6)
    prepared(tmp_path / "in", tmp_path / "out")
    write_folder(tmp_path / "in", 7)
    with pytest.raises(PrepareError, match="list of photographs, photographs"):
        prepared(tmp_path / "in", tmp_path / "out")


def test_settings_written_by_half_are_written_again(tmp_path: Path) -> None:
    write_folder(tmp_path / "in", 4)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "prepare.json").write_text('{"format": 1, "phot')
    assert prepared(tmp_path / "in", tmp_path / "out").refused == 0


def test_two_processes_do_not_share_a_folder(tmp_path: Path) -> None:
    write_folder(tmp_path / "in", 4)
    options = PrepareOptions(tmp_path / "in", tmp_path / "out", size=48, data=SMALL)
    caught: list[str] = []

    def again(done: int, _total: int) -> None:
        if done == 1:
            with pytest.raises(PrepareError) as error:
                prepare(options)
            caught.append(str(error.value))

    prepare(options, watch=again)
    assert caught == [f"another process is at work in {tmp_path / 'out'}"]


# ------------------------------------------------------------------------------------------------------ what goes wrong


def test_folders_that_hold_something_else_are_refused(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "in", 4)
    taken = write_folder(tmp_path / "taken", 1)
    shards = write_shards(tmp_path / "shards", train=1, val=1)
    for out, message in (
        (taken, "is not empty"),
        (shards, "holds something else"),
        (source, "photographs' own folder"),
    ):
        before = files(out)
        with pytest.raises(PrepareError, match=message):
            prepared(source, out)
        assert files(out) == before
    with pytest.raises(PrepareError, match="photographs' own folder"):
        prepared(source, source / "out")
    assert not (source / "out").exists()


def test_nothing_left_is_an_error_that_names_the_list(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"no photograph is left: .*refused\.csv says why"):
        prepared(tmp_path / "in", tmp_path / "out")
    assert rows(tmp_path / "out" / "refused.csv") == [{"file": "a.jpg", "reason": "not a picture"}]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 31}, "at least 32 px"),
        ({"validation_share": 1.0}, r"must be in \[0, 1\)"),
        ({"scene_model": Path("scenes.onnx")}, "needs the names of its classes"),
        ({"scene_model": Path("gone.onnx"), "scene_names": Path("gone.txt")}, "cannot be read"),
    ],
)
def test_wrong_options_leave_nothing_behind(options: dict[str, object], message: str, tmp_path: Path) -> None:
    write_folder(tmp_path / "in", 2)
    with pytest.raises(TrainingError, match=message):
        prepared(tmp_path / "in", tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_key_that_occurs_twice_is_an_error(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "in", train=2, val=1)
    lines = (folder / "labels.csv").read_text().splitlines(keepends=True)
    (folder / "labels.csv").write_text("".join([*lines, lines[1]]))
    with pytest.raises(DataError, match="the key train000 occurs twice"):
        prepared(folder, tmp_path / "out")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_is_one_line_and_the_same_command_goes_on(tmp_path: Path, workers: int) -> None:
    """Files may not grow beyond 40 kB: the system refuses to write more, as it does when a disk is full."""
    write_folder(tmp_path / "in", 120)
    arguments = [str(tmp_path / "in"), str(tmp_path / "out"), "--size", "48", "--workers", str(workers)]
    full = start(*arguments, setup="import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))")
    text, _ = full.communicate(timeout=120)
    assert full.returncode == 1, text
    last = text.strip().splitlines()[-1]
    assert last == "PrepareError: no room left (File too large): make some, and give the same command again"
    assert "Traceback" not in text
    assert not [name for name in os.listdir(tmp_path / "out") if name.endswith((".zip", ".partial", ".csv"))]
    prepared(tmp_path / "in", tmp_path / "whole", data=load_recipe("default").data)
    again = start(*arguments)
    text, _ = again.communicate(timeout=120)
    assert again.returncode == 0, text
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    write_folder(tmp_path / "in", 2)
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(PrepareError, match="cannot be written"):
        prepared(tmp_path / "in", tmp_path / "file" / "out")


# ----------------------------------------------------------------------------------------------------- the command line


def test_the_command_says_what_came_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_folder(tmp_path / "in", 12)
    (folder / "gray.png").write_bytes(encode(COLORLESS["gray"][0], ".png"))
    out = str(tmp_path / "out")
    monkeypatch.setattr(
        sys, "argv", ["photochrom-train", "prepare", str(folder), out, "--workers", "1", "--validation-share", "0.3"]
    )
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    said = json.loads((tmp_path / "out" / "metadata.json").read_text())
    text = capsys.readouterr().err
    assert said["photographs"] | {"refused": 1} == said["photographs"]
    for expected in ("0/13 photographs", "13/13 photographs", "to train on", "gray", "refused.csv"):
        assert expected in text
    assert open_photographs(tmp_path / "out").split("val")
