"""The judge of the running service: what it posts, how it scores, which promises it finds kept."""

import csv
import json
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks import served_quality
from benchmarks.quality import bars
from benchmarks.quality.asking import Asked
from benchmarks.quality.bars import BARS, Bar, judge
from benchmarks.quality.measuring import CURVE, QUERIES, with_lightness
from benchmarks.quality.mounts import PAPERS, mounts
from benchmarks.quality.report import report
from benchmarks.quality.scores import CALM, DEFAULT, GRAY, VIVID, at_equal_colorfulness
from benchmarks.quality.sets import kodak_photographs, origin_photographs, plates, to_gray
from benchmarks.served_quality import above_gray, main, measure
from chroma.lab import gray_to_lightness, rgb_u8_to_lab
from chroma.sectors import inside_boxes
from tests.unit.training.pictures import encode, landscape
from training.judge.judging import SIDE_PX, squash
from training.judge.plate_scenes import PLATES


class Echo(BaseHTTPRequestHandler):
    """Answers with the question itself, reddened by how vivid it is to be: not at all for 0 and for other modes."""

    asked: list[str]
    kept: dict[str, np.ndarray]

    def do_POST(self) -> None:
        type(self).asked.append(self.path)
        data = self.rfile.read(int(self.headers["Content-Length"]))
        gray = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        assert gray.ndim == 2
        if self.path == "/pictures":
            own = str(len(self.kept))
            self.kept[own] = gray
            self.answer(json.dumps({"id": own, "model": "echo"}).encode())
        else:
            self.answer(self.redden(gray))

    def do_GET(self) -> None:
        type(self).asked.append(self.path)
        self.answer(self.redden(self.kept[self.path.split("/")[2].partition("?")[0]]))

    def redden(self, gray: np.ndarray) -> bytes:
        red = round(120 * float(self.path.partition("vividness=")[2] or 0))
        bgr = np.stack([gray, gray, np.minimum(gray.astype(int) + red, 255).astype(np.uint8)], axis=-1)
        return cv2.imencode(".png", bgr)[1].tobytes()

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Photochrom-Model", "echo")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def echo() -> Iterator[str]:
    Echo.asked, Echo.kept = [], {}
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for place in range(3):
        (tmp_path / f"{place}.png").write_bytes(encode(landscape(place), ".png"))
    (tmp_path / "gray.png").write_bytes(encode(np.repeat(landscape(1)[..., :1], 3, axis=-1), ".png"))
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder: three photographs of `origin_val` of two data sets in two shards, and one that trains."""
    rows = [
        {"key": "a", "shard": "one.zip", "split": "origin_val", "dataset": "snaps", "member": "a.webp"},
        {"key": "b", "shard": "one.zip", "split": "train", "dataset": "snaps", "member": "b.webp"},
        {"key": "c", "shard": "two.zip", "split": "origin_val", "dataset": "slides", "member": ""},
        {"key": "d", "shard": "one.zip", "split": "origin_val", "dataset": "snaps", "member": "d.webp"},
    ]
    with (tmp_path / "labels.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    for place, row in enumerate(rows):
        name = row["member"] or f"{row['key']}.jpg"
        with zipfile.ZipFile(tmp_path / row["shard"], "a") as archive:
            archive.writestr(name, encode(landscape(place), Path(name).suffix))
    return tmp_path


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Two red scenes whose orthochromatic and blue plates saw nothing."""
    for kind in ("truth", "ortho", "blue"):
        (tmp_path / kind).mkdir()
        for name in ("x.png", "y.png"):
            color = (150, 70, 60) if kind == "truth" else (20, 20, 20)
            (tmp_path / kind / name).write_bytes(encode(np.full((40, 50, 3), color, np.uint8), ".png"))
    (tmp_path / "boxes.csv").write_text("name,sector,x0,y0,x1,y1\nx,skin,.25,.5,.75,1\nx,wood,0,0,1,1\n")
    return tmp_path


def test_the_question_is_the_gray_of_the_same_lightness() -> None:
    rgb_u8 = squash(landscape(1))
    gray = to_gray(rgb_u8)
    assert (gray.shape, gray.dtype) == ((256, 256), np.uint8)
    # Half a step of 8 bits in the darkest shadows, where a step is 0.27 of L.
    assert np.abs(gray_to_lightness(gray)[..., 0] - rgb_u8_to_lab(rgb_u8)[..., 0]).max() < 0.25


def test_every_color_photograph_is_asked_in_every_way(echo: str, folder: Path) -> None:
    result = measure({"pictures": folder}, [Asked(echo, 2)], "cpu")
    assert Echo.asked == [f"/colorize?{query}" for _ in range(3) for query in QUERIES.values() for _ in range(2)]
    assert (result["model"], result["tables"]["pictures"]["pictures"]) == ("echo", 3)
    steady, *others = result["promises"]
    assert steady == {"name": "the same answer each time", "value": None, "kept": True}
    assert others
    assert all(promise["kept"] is None for promise in others)  # too few


def test_an_echo_is_as_good_as_gray_and_red_is_noise(echo: str, folder: Path) -> None:
    rows = measure({"pictures": folder}, [Asked(echo)], "cpu")["tables"]["pictures"]["rows"]
    assert rows[CALM] | {"worst": ""} == rows[GRAY] | {"worst": ""}
    assert rows[GRAY]["colorfulness_ratio"] == rows[GRAY]["below_gray"] == rows[GRAY]["over_gray_db"] == 0
    assert rows[DEFAULT]["over_gray_db"] == pytest.approx(rows[DEFAULT]["psnr"] - rows[GRAY]["psnr"], abs=0.001)
    assert rows[DEFAULT]["over_gray_db"] < 0
    assert rows[DEFAULT]["below_gray"] == 100
    assert rows[DEFAULT]["false_red"] > 20
    assert rows[DEFAULT]["false_deep_red"] > 20
    assert rows[DEFAULT]["false_green"] == rows[DEFAULT]["false_blue"] == 0
    assert rows[DEFAULT]["worst_gain_db"] < 0


def test_kodaks_pictures_have_a_table_of_their_own_in_their_own_size(echo: str, folder: Path) -> None:
    (folder / "0.png").rename(folder / "kodak_0.png")
    tables = measure({"pictures": folder}, [Asked(echo)], "cpu")["tables"]
    assert {name: table["pictures"] for name, table in tables.items()} == {"pictures": 3, "kodak": 1}
    assert [photo.rgb_u8.shape for photo in kodak_photographs(folder)] == [(72, 96, 3)]
    alone = tables["kodak"]["rows"][DEFAULT]
    assert alone["worst"] == "kodak_0.png"
    assert alone["worst_gain_db"] == pytest.approx(alone["over_gray_db"], abs=0.01)


def test_enough_photographs_are_judged(echo: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bars, "LEAST_PICTURES", 3)
    monkeypatch.setattr(served_quality, "LEAST_PICTURES", 3)
    result = measure({"pictures": folder}, [Asked(echo)], "cpu")
    kept = {promise["name"]: promise["kept"] for promise in result["promises"]}
    assert kept["pictures, default: psnr above gray"] is False
    assert kept["pictures, calm: psnr above gray"] is False  # as good is not above
    assert kept["pictures, calm: below_gray <= 15"] is True
    assert "BROKEN      pictures, default: psnr above gray (" in report(result)


def test_a_baseline_is_asked_the_same_and_compared_at_equal_colorfulness(echo: str, data: Path) -> None:
    result = measure({"origin": data}, [Asked(echo), Asked(echo)], "cpu")
    first = [f"/colorize?{QUERIES[DEFAULT]}", "/pictures", *(f"/pictures/0?{query}" for query in CURVE)]
    assert Echo.asked[: len(first)] == first
    assert len(Echo.asked) == 3 * 2 * len(first)
    assert list(result["tables"]) == ["origin", "origin/slides", "origin/snaps"]
    for name, table in result["tables"].items():
        assert table["rows"][DEFAULT]["over_baseline_db"] == 0
        assert table["equal_colorfulness"]["ours"] == table["equal_colorfulness"]["baseline"]
        assert "over_baseline_db" not in result["baseline"]["tables"][name]["rows"][DEFAULT]
    assert "| origin/snaps, baseline echo |" in report(result)


def test_models_are_interpolated_to_the_same_colorfulness() -> None:
    ours = np.array([0.4, 0.8, 1.0]), np.array([24.0, 23.0, 21.0])
    baseline = np.array([0.5, 0.9]), np.array([23.0, 22.0])
    equal = at_equal_colorfulness(ours, baseline, 0.7)
    assert equal == {"colorfulness_ratio": 0.7, "psnr": 23.25, "baseline_psnr": 22.5, "over_baseline_db": 0.75}
    # Only as colorful as both become, only as calm as both can be.
    assert at_equal_colorfulness(ours, baseline, 1.0)["colorfulness_ratio"] == 0.9
    assert at_equal_colorfulness(ours, baseline, 0.1)["over_baseline_db"] == 0.75
    with pytest.raises(RuntimeError, match="at no vividness"):
        at_equal_colorfulness(ours, (np.array([1.1, 1.2]), np.array([20.0, 19.0])), 1.0)


def test_the_split_of_other_origin_is_read_by_data_set(data: Path) -> None:
    photos = list(origin_photographs(data))
    assert [(photo.name, photo.group) for photo in photos] == [("a", "snaps"), ("d", "snaps"), ("c", "slides")]
    assert all(photo.rgb_u8.shape == (SIDE_PX, SIDE_PX, 3) for photo in photos)
    assert [photo.name for photo in origin_photographs(data, every=2)] == ["a", "d"]


def test_a_missing_member_is_named(data: Path) -> None:
    labels = data / "labels.csv"
    labels.write_text(labels.read_text().replace("d.webp", "gone.webp"))
    with pytest.raises(RuntimeError, match=r"gone\.webp"):
        list(origin_photographs(data))


def test_plates_are_scored_with_the_lightness_of_the_truth(echo: str, scenes: Path) -> None:
    tables = measure({"plates": scenes}, [Asked(echo)], "cpu")["tables"]
    assert list(tables) == [f"plates/{plate}" for plate in PLATES]
    for table in tables.values():
        rows = table["rows"]
        assert table["pictures"] == 2
        # An answer without color is the truth in gray, although the plate was nearly black.
        assert rows[CALM]["psnr"] == pytest.approx(rows[GRAY]["psnr"], abs=0.02)
        assert rows[CALM]["kept_reds"] < 0.02
        assert rows[VIVID]["kept_reds"] > rows[DEFAULT]["kept_reds"] > 0.3
        assert "kept_foliage" not in rows[DEFAULT]  # there is none
    assert tables["plates/pan"]["rows"][DEFAULT]["kept_skin"] > 0.3


def test_boxes_of_skin_are_those_of_the_scene(scenes: Path) -> None:
    (x, seen), (y, _) = plates(scenes)
    inside = inside_boxes((SIDE_PX, SIDE_PX), x.boxes)
    assert inside.sum() == SIDE_PX**2 / 4
    assert inside[128:, 64:192].all()
    assert not y.boxes
    assert (list(seen), int(seen["ortho"].max())) == (list(PLATES), 20)
    assert abs(int(seen["pan"][0, 0]) - int(to_gray(x.rgb_u8)[0, 0])) == 0


@pytest.mark.parametrize("line", ["x,skin,.5,0,.5,1", "x,skin,a,0,.5,1"])
def test_a_broken_box_is_refused(echo: str, scenes: Path, line: str) -> None:
    (scenes / "boxes.csv").write_text(f"name,sector,x0,y0,x1,y1\n{line}\n")
    with pytest.raises(RuntimeError, match=r"box|float"):
        measure({"plates": scenes}, [Asked(echo)], "cpu")


def test_another_lightness_keeps_the_color() -> None:
    colored = np.full((8, 8, 3), (150, 110, 90), np.uint8)
    lab = rgb_u8_to_lab(with_lightness(colored, np.full((8, 8, 1), 70.0, np.float32)))
    assert np.abs(lab[..., 0] - 70).max() < 0.5
    assert np.abs(lab[..., 1:] - rgb_u8_to_lab(colored)[..., 1:]).max() < 0.5


def test_old_photographs_are_told_by_chroma_and_tint(echo: str, folder: Path) -> None:
    table = measure({"historical": folder}, [Asked(echo)], "cpu")["tables"]["historical"]
    assert table["pictures"] == 4  # gray ones are what it is about
    assert table["rows"][DEFAULT]["one_tint"] == 100
    chroma = [value for value, _ in table["chroma_and_fullest_sector"].values()]
    assert table["rows"][DEFAULT]["median_chroma"] == pytest.approx(np.median(chroma), abs=0.001)


def test_mounts_are_paper_round_photographs() -> None:
    drawn = list(mounts([squash(landscape(1)), squash(landscape(2))]))
    assert [name.split()[0] for name, _, _ in drawn] == list(PAPERS) * 4
    for (name, gray, is_paper), (_, again, _) in zip(
        drawn, mounts([squash(landscape(1)), squash(landscape(2))]), strict=True
    ):
        assert (gray.dtype, gray.shape) == (np.uint8, is_paper.shape)
        assert (~is_paper).sum() == SIDE_PX**2
        assert (gray == again).all()
        paper = {"white": 244, "gray": 168}.get(name.split()[0], 227)
        assert abs(np.median(gray[is_paper]) - paper) <= 1
        assert 0.01 < (gray[is_paper] < 0.7 * paper).mean() < 0.1  # stamp, writing and frame
    with pytest.raises(ValueError, match="no photographs"):
        next(mounts([]))


def test_colored_paper_breaks_its_promise(echo: str, folder: Path) -> None:
    result = measure({"mounts": folder}, [Asked(echo)], "cpu")
    table = result["tables"]["mounts"]
    assert table["pictures"] == len(table["border_chroma"]) == 12
    assert result["promises"][-1] == {
        "name": "mounts, default: worst_border_chroma <= 3",
        "value": max(table["border_chroma"].values()),
        "kept": False,
    }


@pytest.mark.parametrize("trained_on", BARS)
def test_a_bar_is_kept_up_to_its_limit(trained_on: str) -> None:
    tables: dict[str, dict[str, Any]] = {}
    for bar in BARS[trained_on]:
        table = tables.setdefault(bar.table, {"pictures": 20, "rows": {}})
        table["rows"].setdefault(bar.row, {})[bar.score] = bar.least if np.isfinite(bar.least) else bar.most
    assert all(verdict.is_kept for verdict in judge(tables, BARS[trained_on]))
    for bar in BARS[trained_on]:
        scores = tables[bar.table]["rows"][bar.row]
        at = scores[bar.score]
        scores[bar.score] = at - 0.001 if np.isfinite(bar.least) else at + 0.001
        verdicts = judge(tables, BARS[trained_on])
        assert [verdict.name for verdict in verdicts if not verdict.is_kept] == [bar.name]
        scores[bar.score] = at


def test_a_gpu_promises_no_less() -> None:
    def limits(trained_on: str) -> dict[tuple[str, str, str], tuple[float, float]]:
        return {(bar.table, bar.row, bar.score): (bar.least, -bar.most) for bar in BARS[trained_on]}

    cpu, gpu = limits("cpu"), limits("gpu")
    assert cpu.keys() == gpu.keys()
    assert all(gpu[key] >= cpu[key] for key in cpu)


def test_what_was_not_measured_is_not_judged() -> None:
    promised = [Bar("origin", DEFAULT, "over_baseline_db", least=0.4), Bar("mounts", DEFAULT, "x", most=3)]
    (verdict,) = judge({"origin": {"pictures": 99, "rows": {DEFAULT: {"psnr": 23.0}}}}, promised)
    assert (verdict.value, verdict.is_kept) == (None, None)
    (verdict,) = judge({"origin": {"pictures": 19, "rows": {DEFAULT: {"over_baseline_db": 0.5}}}}, promised)
    assert (verdict.value, verdict.is_kept) == (0.5, None)
    assert above_gray({}) == []


def test_a_bar_says_what_it_wants() -> None:
    assert Bar("pictures", DEFAULT, "tvq", least=0.6, most=0.9).name == "pictures, default: tvq >= 0.6 and <= 0.9"
    assert Bar("plates/pan", CALM, "psnr", least=23.0).name == "plates/pan, calm: psnr >= 23"


@pytest.mark.parametrize("name", ["pictures", "historical", "mounts"])
def test_a_folder_without_photographs_is_refused(echo: str, tmp_path: Path, name: str) -> None:
    with pytest.raises(RuntimeError, match=r"no (color photographs|pictures) in"):
        measure({name: tmp_path}, [Asked(echo)], "cpu")


def test_the_command_asks_a_running_service(
    echo: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = folder / "result.json"
    arguments = ["--url", f"{echo}/", "--historical", str(folder), "--output", str(output)]
    monkeypatch.setattr(sys, "argv", ["served_quality.py", *arguments])
    assert main() == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == json.loads(output.read_text())
    assert "| historical, 4 pictures | median chroma | one tint % |" in said.err
    assert "not judged  historical, default: median_chroma >= 11" in said.err
