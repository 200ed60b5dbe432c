"""service.archive.film: films in, films out, with their sound, their times and their size."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from fractions import Fraction
from operator import attrgetter
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from chroma.flicker import flicker
from chroma.lab import rgb_u8_to_lab
from service.archive import film as film_module
from service.archive.film import Filmed, color_film
from service.archive.film_check import inspect
from service.archive.film_file import BrokenFilm, FilmOptions, NoFilmSupport, UnsupportedFilm, is_supported
from service.engine.options import Options
from service.engine.session import Session
from service.errors import PictureTooLarge
from tests import films
from tests.films import write_film

SIZE = (48, 64)
COFFEE, CAT, _ = (films.photograph(path) for path in films.PHOTOGRAPHS)


def scene(rgb: np.ndarray = COFFEE, count: int = 6, size: tuple[int, int] = SIZE) -> Iterator[np.ndarray]:
    return films.gray(films.camera(rgb, count, size=size))


def still(rgb: np.ndarray, count: int) -> Iterator[np.ndarray]:
    return films.gray(films.camera(rgb, count, size=SIZE, pan=(0.01, 0.0), zoom=1.0))


def color(session: Session, source: Path, how: FilmOptions | None = None, **options: Any) -> tuple[Path, Filmed]:
    target = source.with_name("answer.part")
    done = color_film(source, target, session, Options(**options), how or FilmOptions(), max_megapixels=1.0)
    return target, done


def times(path: Path) -> list[float]:
    with av.open(str(path)) as film:
        return [round(float(frame.pts * frame.time_base), 3) for frame in film.decode(video=0)]


def chroma_of(frames: list[np.ndarray]) -> float:
    return float(np.mean([np.hypot(*np.moveaxis(rgb_u8_to_lab(rgb)[..., 1:], -1, 0)).mean() for rgb in frames]))


def test_a_film_becomes_a_color_film_of_the_same_length_and_light(tmp_path: Path, session: Session) -> None:
    source = write_film(tmp_path / "a.mp4", scene())
    seen: list[tuple[int, int]] = []
    target = tmp_path / "b.mp4"
    done = color_film(
        source,
        target,
        session,
        Options(),
        FilmOptions(crf=4, every=1),
        max_megapixels=1.0,
        progress=lambda count, total: seen.append((count, total)),
    )
    before, after = films.read_film(source), films.read_film(target)
    assert (done.frames, done.inferences, done.cuts, done.notes) == (6, 6, 0, ())
    assert seen == [(count, 0) for count in range(1, 7)] + [(count, 6) for count in range(1, 7)]
    assert times(target) == times(source)
    assert [frame.shape for frame in after] == [(48, 64, 3)] * 6
    assert chroma_of(after) > 10 > 2 > chroma_of(before)
    L_before, L_after = (np.stack([rgb_u8_to_lab(rgb)[..., 0] for rgb in frames]) for frames in (before, after))
    assert np.abs(L_before - L_after).mean() < 2
    with av.open(str(target)) as film:
        context = film.streams.video[0].codec_context
        assert (context.name, context.pix_fmt, context.color_range, context.colorspace) == ("h264", "yuv420p", 1, 1)


def packets_of_sound(path: Path) -> list[bytes]:
    with av.open(str(path)) as film:
        return [bytes(packet) for packet in film.demux(audio=0) if packet.size]


@pytest.mark.parametrize(("container", "codec"), [("mp4", "aac"), ("mkv", "libopus"), ("mpg", "mp2")])
def test_sound_is_copied_bit_by_bit(tmp_path: Path, session: Session, container: str, codec: str) -> None:
    picture = "mpeg2video" if container == "mpg" else "libx264"
    source = write_film(tmp_path / f"a.{container}", scene(), codec=picture, audio=codec, seconds=0.25, rate=25)
    target, done = color(session, source)
    assert packets_of_sound(target) == packets_of_sound(source)
    assert len(packets_of_sound(target)) > 5
    assert not done.notes


def test_sound_that_mp4_does_not_hold_is_encoded_again_and_said(tmp_path: Path, session: Session) -> None:
    source = write_film(tmp_path / "a.avi", scene(), codec="mpeg4", audio="pcm_u8", seconds=0.25)
    target, done = color(session, source)
    assert "AAC" in done.notes[0]
    with av.open(str(target)) as film:
        heard = np.concatenate([frame.to_ndarray()[0] for frame in film.decode(audio=0)])
        assert film.streams.audio[0].codec_context.name == "aac"
        assert film.streams.audio[0].rate == 48000
    spectrum = np.abs(np.fft.rfft(heard))
    assert spectrum.argmax() * 48000 / len(heard) == pytest.approx(440, abs=8)
    assert len(heard) / 48000 == pytest.approx(0.25, abs=0.05)


def test_uneven_times_are_kept(tmp_path: Path, session: Session) -> None:
    shown_at = [0, 40, 200, 210, 700, 1000]
    source = write_film(tmp_path / "a.mkv", scene(), times=shown_at)
    target, _ = color(session, source)
    assert times(target) == [moment / 1000 for moment in shown_at]


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_the_answer_is_upright(tmp_path: Path, session: Session, rotation: int) -> None:
    dark_left = np.repeat(np.linspace(20, 240, 64, dtype=np.uint8)[None, :, None], 48, axis=0).repeat(3, axis=2)
    source = write_film(tmp_path / "a.mp4", [dark_left] * 2, rotation=rotation)
    target, _ = color(session, source)
    got = films.read_film(target)[0].mean(axis=2)
    # The display matrix turns counterclockwise, as numpy does.
    wanted = np.rot90(dark_left, rotation // 90).mean(axis=2)
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).mean() < 12
    with av.open(str(target)) as film:
        assert next(film.decode(video=0)).rotation == 0


def test_odd_sides_are_padded_by_one(tmp_path: Path, session: Session) -> None:
    source = write_film(tmp_path / "a.mkv", scene(size=(47, 63)), codec="ffv1", pixel_format="bgr0")
    target, _ = color(session, source)
    frames = films.read_film(target)
    assert frames[0].shape == (48, 64, 3)
    assert np.abs(frames[0][46].astype(int) - frames[0][47]).mean() < 6


@pytest.mark.parametrize("pixel_format", ["yuv420p10le", "yuv444p", "gray"])
def test_other_pixels_are_read(tmp_path: Path, session: Session, pixel_format: str) -> None:
    options = {"crf": "4", "preset": "ultrafast"}
    source = write_film(tmp_path / "a.mkv", scene(), pixel_format=pixel_format, options=options)
    target, done = color(session, source)
    assert done.frames == 6
    assert chroma_of(films.read_film(target)) > 10


def test_color_of_the_source_does_not_count(tmp_path: Path, session: Session) -> None:
    options = {"crf": "0", "preset": "ultrafast"}
    frames = list(films.camera(COFFEE, 2, size=SIZE))
    colored = write_film(tmp_path / "color.mkv", frames, codec="ffv1", pixel_format="bgr0", options={})
    grayed = write_film(tmp_path / "gray.mkv", films.gray(frames), codec="ffv1", pixel_format="bgr0", options={})
    one, other = (films.read_film(color(session, source, FilmOptions(crf=1))[0]) for source in (colored, grayed))
    assert options
    assert np.abs(one[1].astype(int) - other[1]).mean() < 2


def test_an_average_flickers_less_and_a_cut_carries_nothing_over(tmp_path: Path, session: Session) -> None:
    def shaky() -> Iterator[np.ndarray]:
        yield from films.aged(scene(COFFEE, 10), grain=8, pumping=0.1)
        yield from films.aged(scene(CAT, 6), grain=8, pumping=0.1)

    source = write_film(tmp_path / "a.mp4", shaky())
    results = {}
    for memory_s in (0.0, 0.5):
        target, done = color(session, source, FilmOptions(crf=4, memory_s=memory_s))
        results[memory_s] = films.read_film(target)
        assert done.cuts == 1
    single, ours = (flicker((rgb_u8_to_lab(rgb) for rgb in results[memory_s]), cuts=[10]) for memory_s in (0.0, 0.5))
    assert ours < 0.7 * single
    first_after = [rgb_u8_to_lab(results[memory_s][10])[..., 1:] for memory_s in (0.0, 0.5)]
    assert np.abs(first_after[0] - first_after[1]).mean() < 1.5


def test_the_network_seldom_looks_at_black(tmp_path: Path, session: Session) -> None:
    def leader() -> Iterator[np.ndarray]:
        yield from [np.zeros((*SIZE, 3), np.uint8)] * 20
        yield from scene(COFFEE, 2)

    _, done = color(session, write_film(tmp_path / "a.mp4", leader()))
    assert (done.frames, done.cuts) == (22, 1)
    assert done.inferences <= 5


def test_the_network_looks_at_every_third_frame_and_at_each_cut(tmp_path: Path, session: Session) -> None:
    source = write_film(tmp_path / "a.mp4", [*still(COFFEE, 7), *still(CAT, 3)])
    _, done = color(session, source, FilmOptions(every=3))
    assert (done.frames, done.inferences) == (10, 4)


def test_the_network_looks_seldom_where_nothing_is_new_and_often_where_much_is(
    tmp_path: Path, session: Session
) -> None:
    calm = write_film(tmp_path / "calm.mp4", still(COFFEE, 27))
    fast = write_film(tmp_path / "fast.mp4", films.gray(films.camera(CAT, 27, size=SIZE, pan=(0.9, 0.0), zoom=1.0)))
    assert color(session, calm)[1].inferences == 3  # The first frame, and half a second after half a second.
    assert color(session, fast)[1].inferences >= 6
    assert color(session, calm, FilmOptions(memory_s=0))[1].inferences == 27


def test_the_same_film_gives_the_same_bytes_whatever_the_timing(
    tmp_path: Path, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [*still(COFFEE, 7), *scene(CAT, 6)]
    source = write_film(tmp_path / "a.mkv", frames, audio="libopus", seconds=0.5, subtitles=True)
    as_it_comes = color(session, source)[0].read_bytes()
    monkeypatch.setattr("service.archive.film.WAITING", 1)
    assert color(session, source)[0].read_bytes() == as_it_comes


@pytest.mark.parametrize(
    ("how", "blocks", "blue_and_red"),
    [
        (FilmOptions(), "0x3:0x3", -2),
        (FilmOptions(preset="medium"), "0x3:0x113", -2),
        (FilmOptions(crf=0), "0x3:0x113", 0),
    ],
    ids=["default", "medium", "lossless"],
)
def test_the_quickest_preset_divides_no_moving_block_and_spends_on_color_what_others_do(
    tmp_path: Path, session: Session, how: FilmOptions, blocks: str, blue_and_red: int
) -> None:
    """x264 writes its settings into the film."""
    source = write_film(tmp_path / "a.mp4", scene(count=2, size=(256, 320)))
    settings = color(session, source, how)[0].read_bytes()
    assert f" analyse={blocks} ".encode() in settings
    assert f" chroma_qp_offset={blue_and_red} ".encode() in settings
    assert b" sliced_threads=0 " in settings


@pytest.mark.parametrize(
    "stage", ["FilmReader._shown", "FilmColorist._look", "FilmWriter.compose", "FilmWriter.encode"]
)
def test_whatever_stage_fails_the_others_end(
    tmp_path: Path, session: Session, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    source = write_film(tmp_path / "a.mp4", scene(count=12))
    whole, calls = attrgetter(stage)(film_module), []

    def fail(*arguments: Any, **more: Any) -> Any:
        calls.append(arguments)
        if len(calls) > 5:
            raise OSError(28, "No space left on device")
        return whole(*arguments, **more)

    monkeypatch.setattr(f"service.archive.film.{stage}", fail)
    with pytest.raises(OSError, match="No space left"):
        color(session, source, FilmOptions(every=1))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("film ")]


@pytest.mark.parametrize("mode", ["regression", "fused", "argmax"])
def test_every_mode_works(tmp_path: Path, session: Session, mode: str) -> None:
    target, _ = color(session, write_film(tmp_path / "a.mp4", scene(count=2)), mode=mode)
    assert chroma_of(films.read_film(target)) > 5


@pytest.mark.parametrize("mode", ["annealed", "regression", "fused", "argmax"])
def test_a_film_has_the_warm_look_as_well(tmp_path: Path, session: Session, mode: str) -> None:
    source = write_film(tmp_path / "a.mp4", scene())
    plain, warm = (
        np.mean(
            [rgb_u8_to_lab(frame)[..., 2].mean() for frame in films.read_film(color(session, source, **options)[0])]
        )
        for options in ({"mode": mode}, {"mode": mode, "look": "warm"})
    )
    assert warm > plain + 0.2


def test_a_film_has_the_looks_of_a_time_as_well(tmp_path: Path, session: Session) -> None:
    source = write_film(tmp_path / "a.mp4", scene())
    plain, golden, blue = (
        np.mean(
            [rgb_u8_to_lab(frame)[..., 2].mean() for frame in films.read_film(color(session, source, look=look)[0])]
        )
        for look in ("natural", "photochrom", "transparency")
    )
    assert golden > plain + 0.2
    assert blue < plain - 0.2


def test_no_film_is_no_film(tmp_path: Path, session: Session) -> None:
    text = tmp_path / "a.mp4"
    text.write_text("Dear diary, ...")
    (tmp_path / "list.mp4").write_text(f"ffconcat version 1.0\nfile '{tmp_path}/real.mkv'\n")
    (tmp_path / "playlist.mp4").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nreal.mkv\n#EXT-X-ENDLIST\n")
    write_film(tmp_path / "real.mkv", scene(count=2))
    (tmp_path / "empty.mp4").write_bytes(b"")
    for name in ("a.mp4", "list.mp4", "playlist.mp4", "empty.mp4"):
        with pytest.raises(UnsupportedFilm):
            color(session, tmp_path / name)
    sound = tmp_path / "sound.mp4"
    with av.open(str(sound), "w") as film:
        stream = film.add_stream("aac", rate=48000)
        samples = av.AudioFrame.from_ndarray(films.tone(48000, 0.1), "s16", "mono")
        samples.sample_rate, samples.time_base = 48000, Fraction(1, 48000)
        film.mux(stream.encode(samples))
        film.mux(stream.encode(None))
    with pytest.raises(UnsupportedFilm, match="no picture"):
        color(session, sound)
    with pytest.raises(FileNotFoundError):
        color(session, tmp_path / "gone.mp4")


@pytest.mark.parametrize(("name", "muxer"), [("a.mp4", {"movflags": "+faststart"}), ("a.mkv", {})])
@pytest.mark.parametrize("share", [0.3, 0.8])
def test_what_is_cut_off_is_refused_before_the_work(
    tmp_path: Path, session: Session, name: str, muxer: dict[str, str], share: float
) -> None:
    noise = (np.random.default_rng(i).integers(0, 255, (48, 64, 3), np.uint8) for i in range(24))
    source = write_film(tmp_path / name, noise, muxer=muxer)
    assert inspect(source, max_megapixels=1.0).frames == 24
    data = source.read_bytes()
    source.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(BrokenFilm, match=r"cut off|no frame"):
        color(session, source)
    assert not source.with_name("answer.part").exists()


def test_an_mp4_without_its_end_has_no_index(tmp_path: Path, session: Session) -> None:
    source = write_film(tmp_path / "a.mp4", scene())
    os.truncate(source, source.stat().st_size // 2)
    with pytest.raises(UnsupportedFilm):
        color(session, source)


def test_damage_in_the_middle_is_lived_with_and_much_of_it_is_not(tmp_path: Path, session: Session) -> None:
    source = write_film(tmp_path / "a.mov", scene(count=24), codec="png", pixel_format="rgb24")
    whole = source.read_bytes()
    starts = [at for at in range(len(whole)) if whole.startswith(b"\x89PNG", at)]
    for hits, is_fine in ((1, True), (12, False)):
        damaged = bytearray(whole)
        for at in starts[5 : 5 + hits]:
            damaged[at : at + 300] = bytes(300)
        source.write_bytes(damaged)
        if is_fine:
            _, done = color(session, source)
            assert done.frames == 23
            assert done.notes == ("damaged: 1 of 24 packets, whose frames are missing",)
            source.with_name("answer.part").unlink()
        else:
            with pytest.raises(BrokenFilm, match="12 of 24 frames cannot be decoded"):
                color(session, source)
            assert not source.with_name("answer.part").exists(), "judged before the coloring"


def test_no_frame_is_no_film(tmp_path: Path, session: Session) -> None:
    source = tmp_path / "a.mkv"
    with av.open(str(source), "w") as film:
        stream = film.add_stream("libx264", rate=24)
        stream.width, stream.height = 64, 48
        film.start_encoding()
    with pytest.raises((BrokenFilm, UnsupportedFilm)):
        color(session, source)


def test_large_frames_are_refused(tmp_path: Path, session: Session) -> None:
    source = write_film(tmp_path / "a.mp4", scene(count=1))
    with pytest.raises(PictureTooLarge, match="megapixels"):
        color_film(source, tmp_path / "b", session, Options(), FilmOptions(), max_megapixels=0.001)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("max_megapixels", [1717, 1718, 1e12, 1e303, 1.7e308])
def test_whatever_the_limit_a_small_film_is_within_it(tmp_path: Path, max_megapixels: float) -> None:
    source = write_film(tmp_path / "a.mp4", scene(count=2))
    assert inspect(source, max_megapixels=max_megapixels).frames == 2


def test_a_film_that_grows_on_its_way_is_not_let(tmp_path: Path, session: Session) -> None:
    small, large = (
        write_film(tmp_path / f"{size[0]}.ts", scene(count=6, size=size), codec="mpeg2video", rate=25)
        for size in (SIZE, (480, 640))
    )
    both = tmp_path / "both.ts"
    both.write_bytes(small.read_bytes() + large.read_bytes())
    with pytest.raises(BrokenFilm, match="cannot be decoded"):
        color_film(both, tmp_path / "b", session, Options(), FilmOptions(), max_megapixels=0.1)
    done = color_film(both, tmp_path / "b", session, Options(), FilmOptions(), max_megapixels=1.0)
    assert done.frames >= 11  # The parser may join the last packet of the one to the first of the other.
    assert {frame.shape for frame in films.read_film(tmp_path / "b")} == {(48, 64, 3)}


def test_one_frame_is_a_film(tmp_path: Path, session: Session) -> None:
    target, done = color(session, write_film(tmp_path / "a.mp4", scene(count=1)))
    assert done.frames == 1
    assert len(films.read_film(target)) == 1


def test_without_pyav_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert not is_supported()
    with pytest.raises(NoFilmSupport, match=r"requirements/video\.txt"):
        inspect(tmp_path / "a.mp4", max_megapixels=1.0)


def test_what_mp4_refuses_at_its_end_is_known_before_the_coloring(
    tmp_path: Path, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "a.mkv"
    with av.open(str(source), "w") as film:
        picture: Any = film.add_stream("ffv1", rate=25)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "gray"
        sound: Any = film.add_stream("pcm_s16le", rate=48000)
        sound.layout = "stereo"
        frame = av.VideoFrame.from_ndarray(np.full((48, 64), 90, np.uint8), "gray")
        film.mux([*picture.encode(frame), *picture.encode(None)])
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 2048), np.int16), "s16", "stereo")
        samples.sample_rate = 48000
        film.mux([*sound.encode(samples), *sound.encode(None)])
    assert color(session, source)[1].notes == ()
    monkeypatch.setattr("service.archive.film_tracks.LAYOUTS", {2: "2 channels"})  # Which MP4 does not take.
    monkeypatch.setattr("service.archive.film.FilmColorist.color", None)
    with pytest.raises(UnsupportedFilm, match="fits into no MP4"):
        color(session, source)


def test_a_codec_never_waits_for_python(tmp_path: Path) -> None:
    source = write_film(tmp_path / "a.mp4", scene(count=2))
    av.logging.set_level(av.logging.PANIC)
    assert inspect(source, max_megapixels=1.0).frames == 2
    # Else an error in a thread of the decoder, handed on while the decoder is closed, stops both for ever.
    assert av.logging.get_level() is None


def test_importing_does_not_import_pyav() -> None:
    script = "import sys, service.commands, service.archive.film, service.http.app; sys.exit('av' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
