"""service.archive: one bad file stops nothing, what stops everything is noticed, and no half file is ever there."""

import asyncio
import errno
import importlib.util
import io
import json
import os
from pathlib import Path
from types import ModuleType
from unittest import mock

import pytest
from PIL import Image
from rich.console import Console

from service.archive.here import Here
from service.archive.report import Report, pace, shown
from service.archive.run import ColoredFile, Outcome, Stopped, Work, color_here, color_there
from service.archive.there import There
from service.archive.whole_files import write_whole
from service.client.answers import Answer
from service.client.errors import ClientError, Overloaded, TooLarge, Unauthorized, Unreachable
from service.engine.options import Options
from service.engine.session import Session
from service.errors import BrokenPicture, CostlyPicture, UnfitFormat
from service.pictures.decode import decode
from service.pictures.probe import probe
from service.pictures.size_limits import SizeLimits
from tests.pictures import by_opencv, by_pillow, levels, smooth_gray, with_orientation

ANSWER = by_pillow(smooth_gray(4, 5), "PNG")

GRAY_30_20 = by_pillow(smooth_gray(20, 30), "BMP")


def work_on(tmp_path: Path, *names: str) -> Work:
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    return Work({tmp_path / name: tmp_path / "out" / f"{name}.png" for name in names}, "png")


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.name.endswith(".part"))


def test_one_bad_file_stops_nothing(tmp_path: Path) -> None:
    errors: dict[bytes, Exception] = {
        b"b": BrokenPicture("broken"),
        b"c": ValueError("odd"),
        b"d": MemoryError(),
        b"e": OSError(errno.EACCES, "Permission denied"),
    }

    def color(data: bytes) -> ColoredFile:
        if error := errors.get(data):
            raise error
        return ColoredFile(ANSWER, "café")

    work = work_on(tmp_path, *"abcdef")
    (tmp_path / "f").unlink()
    outcomes: list[Outcome] = []
    color_here(work, color, outcomes.append)
    assert [(outcome.status, outcome.problem, outcome.reason) for outcome in outcomes] == [
        ("colored", "", ""),
        ("failed", "broken-picture", "broken"),
        ("failed", "internal-error", "ValueError: odd"),
        ("failed", "no-memory", "there is not enough memory for this picture"),
        ("failed", "file-error", "Permission denied"),
        ("failed", "file-error", "No such file or directory"),
    ]
    assert outcomes[0].scene == "café"
    assert (tmp_path / "out/a.png").read_bytes() == ANSWER
    assert sorted(os.listdir(tmp_path / "out")) == ["a.png"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_stops_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def full(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("service.archive.run.write_whole", full)
    outcomes: list[Outcome] = []
    with pytest.raises(Stopped, match=os.strerror(number)):
        color_here(work_on(tmp_path, "a", "b"), lambda _: ColoredFile(ANSWER, ""), outcomes.append)
    assert outcomes == []


def test_as_many_at_once_as_asked_and_all_in_the_end(tmp_path: Path) -> None:
    running, most = 0, 0

    async def color(data: bytes) -> ColoredFile:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        if data == b"c":
            raise TooLarge("too large", type="picture-too-large")
        if data == b"d":
            raise Overloaded("busy")
        return ColoredFile(ANSWER, "")

    outcomes: list[Outcome] = []
    asyncio.run(color_there(work_on(tmp_path, *"abcdefgh"), color, outcomes.append, jobs=3))
    assert most == 3
    assert sorted(outcome.source.name for outcome in outcomes) == list("abcdefgh")
    failed = {outcome.source.name: (outcome.problem, outcome.reason) for outcome in outcomes if outcome.problem}
    assert failed == {"c": ("picture-too-large", "too large"), "d": ("no-answer", "busy")}
    assert len(os.listdir(tmp_path / "out")) == 6


@pytest.mark.parametrize("error", [Unreachable("gone"), Unauthorized("no key")])
def test_a_service_that_is_gone_stops_the_work(tmp_path: Path, error: ClientError) -> None:
    asked: list[bytes] = []

    async def color(data: bytes) -> ColoredFile:
        asked.append(data)
        if data == b"c":
            raise error
        await asyncio.sleep(0 if data in (b"a", b"b") else 60)
        return ColoredFile(ANSWER, "")

    outcomes: list[Outcome] = []
    with pytest.raises(Stopped, match=str(error)):
        asyncio.run(color_there(work_on(tmp_path, *"abcdefgh"), color, outcomes.append, jobs=2))
    assert {outcome.source.name for outcome in outcomes} <= {"a", "b"}
    assert len(asked) < 6
    assert leftovers(tmp_path) == []


def test_an_error_of_the_report_is_itself(tmp_path: Path) -> None:
    async def color(_: bytes) -> ColoredFile:
        return ColoredFile(ANSWER, "")

    def report(_: Outcome) -> None:
        raise BrokenPipeError  # Whoever read the lines has gone: `photochrom colorize --json | head -1`.

    with pytest.raises(BrokenPipeError):
        asyncio.run(color_there(work_on(tmp_path, *"abc"), color, report, jobs=2))


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "deep/er/a.png"
    write_whole(target, b"one")
    write_whole(target, b"two")
    assert target.read_bytes() == b"two"

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_whole(target, b"three")
    assert target.read_bytes() == b"two"
    assert leftovers(tmp_path) == []


def as_in_another_container() -> ModuleType:
    """Return `service.archive.whole_files` as a new process has it, whose id is the same as here."""
    spec = importlib.util.find_spec("service.archive.whole_files")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_two_containers_write_into_one_folder(tmp_path: Path) -> None:
    one, other = as_in_another_container(), as_in_another_container()
    with one.unfinished(tmp_path / "a.png") as a, other.unfinished(tmp_path / "b.png") as b:
        assert a.match(".photochrom-*.part"), "docs/cli.md names them"
        a.write_bytes(b"one")
        b.write_bytes(b"other")
    assert (tmp_path / "a.png").read_bytes() == b"one"
    assert (tmp_path / "b.png").read_bytes() == b"other"
    assert leftovers(tmp_path) == []


def test_the_longest_names_fit(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 251 + ".png")
    write_whole(target, b"one")
    assert target.read_bytes() == b"one"


def test_metadata_goes_over_only_when_wanted(session: Session) -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x0e\x01\x02\0\x04\0\0\0Oma\0\0\0\0\0"
    question = by_pillow(smooth_gray(4, 5), "JPEG", exif=exif)
    for choice in ("keep", "none"):
        here = Here(session, Options(metadata=choice), "png", limits=SizeLimits(1, 1 << 20))  # type: ignore[arg-type]
        assert (b"Oma" in here(question).data) is (choice == "keep")


def test_a_note_is_in_every_answer_unless_it_is_not_wanted(session: Session) -> None:
    for output_format in ("png", "jpeg", "webp", "tiff"):
        for note in (True, False):
            made = Here(session, Options(note=note, vividness=0.25), output_format, limits=SizeLimits(1, 1 << 20))(
                GRAY_30_20
            ).data  # type: ignore[arg-type]
            assert (b"algorithmicallyEnhanced" in made) is note
            assert (f"model {session.stamp.run_id}, mode annealed, vividness 0.25".encode() in made) is note


def test_the_depth_is_the_pictures_or_the_one_asked_for(session: Session) -> None:
    deep = by_opencv((smooth_gray(20, 30).astype("uint16") * 257), ".png")
    for output_format in ("png", "tiff"):
        for depth, question, bits in ((None, deep, 16), (None, GRAY_30_20, 8), (8, deep, 8), (16, GRAY_30_20, 16)):
            made = Here(session, Options(depth=depth), output_format, limits=SizeLimits(1, 1 << 20))(question)  # type: ignore[arg-type]
            picture = decode(made.data, probe(made.data, max_megapixels=1))
            assert picture.pixels.dtype.itemsize * 8 == bits
    with pytest.raises(UnfitFormat, match="png or tiff"):
        Here(session, Options(depth=16), "jpeg", limits=SizeLimits(1, 1 << 20))(GRAY_30_20)


SIDECAR = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6" tiff:Artist="Oma"/>'
    b"</rdf:RDF></x:xmpmeta>"
)


def test_what_lies_beside_a_picture_goes_beside_its_answer(tmp_path: Path) -> None:
    question = with_orientation(smooth_gray(4, 5), 6)
    source, target = tmp_path / "a.jpg", tmp_path / "out" / "a.png"
    source.write_bytes(question)
    for name in ("a.xmp", "a.jpg.xmp"):
        (tmp_path / name).write_bytes(SIDECAR)
    assert Work({source: target}, "png").store(source, target, question, ANSWER) == ()
    for name in ("a.xmp", "a.png.xmp"):
        assert (tmp_path / "out" / name).read_bytes() == SIDECAR.replace(b'"6"', b'"1"')
    (tmp_path / "out" / "a.xmp").write_bytes(b"mine")
    Work({source: target}, "png").store(source, target, question, ANSWER)
    assert (tmp_path / "out" / "a.xmp").read_bytes() == b"mine", "what is there is left as it is"
    other = tmp_path / "other" / "a.png"
    Work({source: other}, "png", keep_sidecars=False).store(source, other, question, ANSWER)
    assert [path.name for path in other.parent.iterdir()] == ["a.png"]


def test_a_sidecar_that_cannot_be_read_is_said_and_costs_no_picture(tmp_path: Path) -> None:
    source, target = tmp_path / "a.jpg", tmp_path / "out" / "a.png"
    source.write_bytes(GRAY_30_20)
    (tmp_path / "a.xmp").write_bytes(SIDECAR)
    with mock.patch.object(Path, "read_bytes", side_effect=PermissionError(13, "Permission denied")):
        notes = Work({source: target}, "png").store(source, target, GRAY_30_20, ANSWER)
    assert notes == ("a.xmp: Permission denied",)
    assert target.exists()


def test_of_a_scan_without_grays_it_is_said(session: Session) -> None:
    here = Here(session, Options(), "png", limits=SizeLimits(1, 1 << 20))
    bilevel = by_pillow(Image.fromarray(smooth_gray(20, 30) > 99), "TIFF")
    assert here(bilevel).notes == ("it is black and white alone, without grays: there is little to color",)
    assert here(GRAY_30_20).notes == ()


def test_here_gives_what_was_asked_for(session: Session) -> None:
    deep = by_opencv((smooth_gray(20, 30).astype("uint16") * 257), ".png")
    for output_format, media in (("png", "PNG"), ("jpeg", "JPEG"), ("webp", "WEBP"), ("tiff", "TIFF")):
        colored = Here(session, Options(), output_format, limits=SizeLimits(1, 1 << 20))(deep)  # type: ignore[arg-type]
        header = probe(colored.data, max_megapixels=1)
        assert (header.format, header.width, header.height) == (media, 30, 20)
        assert colored.scene in session.stamp.scenes


def test_a_file_that_costs_too_much_ends_no_run(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Here(session, Options(), "jpeg", limits=SizeLimits(9, 1 << 24))
    with monkeypatch.context() as patch:
        patch.setattr("service.pictures.worker.pool.memory_for", lambda *_: 1 << 20)
        with pytest.raises(CostlyPicture):
            here(by_pillow(smooth_gray(2000, 2000), "BMP"))
    assert here(GRAY_30_20).scene in session.stamp.scenes


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("has_alpha", [False, True])
def test_there_takes_tiff_of_both_depths(session: Session, depth: int, has_alpha: bool) -> None:
    question = by_pillow(levels(20, 30, 4), "PNG") if has_alpha else GRAY_30_20
    made = Here(session, Options(depth=depth), "tiff", limits=SizeLimits(1, 1 << 20))(question)  # type: ignore[arg-type]

    class Far:
        async def colorize(self, _: bytes, **options: object) -> Answer:
            assert options == {"format": "tiff"}
            return Answer(made.data, "image/tiff")

    assert asyncio.run(There(Far(), {}, "tiff")(question)).data == made.data  # type: ignore[arg-type]


def test_there_takes_only_what_was_asked_for() -> None:
    class Strange:
        async def colorize(self, data: bytes, **options: object) -> Answer:
            assert options == {"vividness": 1.0, "format": "png"}
            return Answer(data, "image/webp")

    with pytest.raises(ClientError, match="image/webp instead of image/png"):
        asyncio.run(There(Strange(), {"vividness": 1.0}, "png")(b"x"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (by_pillow(smooth_gray(20, 30), "PNG"), ""),
        (b"all is well", "no picture that can be read"),
        (by_pillow(smooth_gray(20, 30), "PNG")[:-100], "no picture that can be read"),
        (by_pillow(smooth_gray(30, 20), "PNG"), "has 20 x 30 px, the photograph 30 x 20"),
    ],
)
def test_there_stores_whole_pictures_of_the_size_sent(answer: bytes, said: str) -> None:
    class Careless:
        async def colorize(self, _: bytes, **__: object) -> Answer:
            return Answer(answer, "image/png")

    there = There(Careless(), {}, "png")  # type: ignore[arg-type]
    if said:
        with pytest.raises(ClientError, match=said) as caught:
            asyncio.run(there(GRAY_30_20))
        assert caught.value.type == "bad-answer"
    else:
        assert asyncio.run(there(GRAY_30_20)).data == answer
        assert asyncio.run(there(b"a format that is read there alone")).data == answer


@pytest.mark.parametrize(
    ("done", "total", "elapsed_s", "said"),
    [
        (1, 3, 2.0, "2.0 s each, 4 s left"),
        (4, 104, 2.0, "2.0 a second, 50 s left"),
        (1, 101, 1.0, "1.0 s each, 1 min 40 s left"),
        (2, 2002, 20.0, "10.0 s each, 5 h 33 min left"),
        (3, 3, 0.0, "3000.0 a second, 0 s left"),
    ],
)
def test_the_pace_is_said_in_words(done: int, total: int, elapsed_s: float, said: str) -> None:
    assert pace(done, total, elapsed_s) == said


def tell(report: Report) -> None:
    with report:
        report(Outcome(Path("s"), Path("t"), "skipped"))
        report(Outcome(Path("a"), Path("b"), "colored", 1.23456, scene="beach"))
        report(Outcome(Path("c"), Path("d"), "failed", 0.5, problem="broken-picture", reason="Broken."))


def test_the_report_counts(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(5)
    tell(report)
    assert report.counts == {"colored": 1, "skipped": 1, "failed": 1}
    assert (report.left, [failure.source.name for failure in report.failures]) == (3, ["c"])
    assert report.summary("full") == {"colored": 1, "skipped": 1, "failed": 1, "left": 3, "stopped": "full"}
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert [line.partition(";")[0] for line in lines] == ["[1/5] a: colored", "[2/5] c: failed"]


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    tell(Report(2, as_json=True, quiet=True))
    captured = capsys.readouterr()
    assert captured.err == ""
    assert [json.loads(line) for line in captured.out.splitlines()] == [
        {"source": "s", "target": "t", "status": "skipped"},
        {"source": "a", "target": "b", "status": "colored", "seconds": 1.235, "scene": "beach"},
        {
            "source": "c",
            "target": "d",
            "status": "failed",
            "seconds": 0.5,
            "problem": "broken-picture",
            "reason": "Broken.",
        },
    ]


def test_a_terminal_sees_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    screen = io.StringIO()
    tell(Report(5, console=Console(file=screen, force_terminal=True, width=100)))
    assert "2/5" in screen.getvalue()
    assert " left" in screen.getvalue()
    assert "[1/5]" not in capsys.readouterr().err


def test_names_in_no_known_encoding_can_be_shown() -> None:
    assert shown(Path(os.fsdecode(b"b\xe4r.jpg"))) == "b\N{REPLACEMENT CHARACTER}r.jpg"
