"""Films as cameras, scanners and cutters write them come out as light as they are, frame by frame, upright, in time."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from service.archive.film import Filmed, color_film
from service.archive.film_check import inspect
from service.archive.film_fields import Deinterlacer
from service.archive.film_file import FilmOptions, FilmReader, Shown, UnsupportedFilm, open_film, picture_of
from service.archive.film_pixels import film_gray
from service.engine.options import Options
from service.engine.session import Session
from tests.film_sources import (
    FULL,
    LIMITED,
    Source,
    as_fields,
    combs,
    cut,
    flash_and_tone,
    frame_of,
    lightness_of_answer,
    lightness_put_in,
    pattern,
    set_matrix,
    walking_bar,
    with_sound,
)
from tests.films import write_film

SOURCES = (
    Source("gray.mkv", "ffv1", "gray", FULL, is_said=False),
    Source("gray, full.mkv", "ffv1", "gray", FULL),
    Source("gray, limited.mkv", "ffv1", "gray"),
    Source("gray of 10 bits, full.mkv", "ffv1", "gray10le", FULL),
    Source("gray of 10 bits, limited.mkv", "ffv1", "gray10le"),
    Source("gray of 16 bits.mkv", "ffv1", "gray16le", FULL),
    Source("HEVC gray.mp4", "libx265", "gray", is_said=False),
    Source("HEVC gray, limited.mp4", "libx265", "gray"),
    Source("HEVC gray, full.mp4", "libx265", "gray", FULL),
    Source("HEVC gray of 10 bits.mp4", "libx265", "gray10le"),
    Source("H.264 gray.mp4", "libx264", "gray"),
    Source("H.264.mp4", "libx264", "yuv420p", is_said=False),
    Source("H.264, full.mp4", "libx264", "yuvj420p", FULL),
    Source("H.264 of 10 bits.mp4", "libx264", "yuv420p10le"),
    Source("H.264 of 10 bits, full.mp4", "libx264", "yuv420p10le", FULL),
    Source("packed.avi", "rawvideo", "uyvy422"),
    Source("color, BT.601.mkv", "ffv1", "yuv444p", colorspace=6),
    Source("color, BT.601, full.mkv", "ffv1", "yuv444p", FULL, colorspace=5),
    Source("color, BT.709.mkv", "ffv1", "yuv444p", colorspace=1),
    Source("color, BT.709 of 10 bits.mkv", "ffv1", "yuv444p10le", colorspace=1),
    Source("color, BT.2020 of 10 bits.mkv", "ffv1", "yuv444p10le", colorspace=9),
    Source("interlaced.mkv", "ffv1", "yuv420p", is_interlaced=True),
    Source("interlaced gray, limited.mkv", "ffv1", "gray", is_interlaced=True),
    Source("interlaced gray of 10 bits, limited.mkv", "ffv1", "gray10le", is_interlaced=True),
    Source("interlaced gray of 10 bits, full.mkv", "ffv1", "gray10le", FULL, is_interlaced=True),
)


def films_gray(count: int) -> list[np.ndarray]:
    return [np.full((48, 64, 3), 20 + 10 * index, np.uint8) for index in range(count)]


def color(session: Session, source: Path, **how: Any) -> tuple[Path, Filmed]:
    target = source.with_name("answer.part")
    options = Options(vividness=0.0, saturation=0.0)
    return target, color_film(source, target, session, options, FilmOptions(**{"crf": 0, **how}), max_megapixels=1.0)


def worst(session: Session, source: Path, wanted: list[np.ndarray], **how: Any) -> float:
    """Return by how much L is off at most."""
    target, done = color(session, source, **how)
    found = lightness_of_answer(target)
    assert len(found) == len(wanted) == done.frames
    assert found[0].shape == wanted[0].shape[:2]
    return max(float(np.abs(one - lightness_put_in(other)).max()) for one, other in zip(found, wanted, strict=True))


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_every_source_comes_out_as_light_as_it_is(tmp_path: Path, session: Session, source: Source) -> None:
    assert worst(session, source.write(tmp_path), source.pictures(4)) < 0.5


@pytest.mark.parametrize(
    ("codec", "pixel_format"),
    [("ffv1", "bgr0"), ("ffv1", "gbrp10le"), ("png", "rgb24"), ("png", "rgb48be"), ("png", "ya8"), ("qtrle", "argb")],
)
def test_films_of_rgb_come_out_as_light_as_they_are(
    tmp_path: Path, session: Session, codec: str, pixel_format: str
) -> None:
    path = tmp_path / "a.mov"
    is_deep = pixel_format in ("gbrp10le", "rgb48be")
    top, dtype, plain = (65535, np.uint16, "rgb48le") if is_deep else (255, np.uint8, "rgb24")
    levels = np.round(top * pattern()).astype(dtype)[..., None].repeat(3, axis=2)
    with av.open(str(path.with_suffix(".mkv") if codec == "ffv1" else path), "w") as film:
        picture: Any = film.add_stream(codec, rate=25)
        picture.width, picture.height, picture.pix_fmt = 64, 48, pixel_format
        for index in range(2):
            frame = av.VideoFrame.from_ndarray(levels, plain).reformat(format=pixel_format)
            frame.pts, frame.time_base = index, Fraction(1, 25)
            film.mux(picture.encode(frame))
        film.mux(picture.encode(None))
        path = Path(film.name)
    assert worst(session, path, [pattern()] * 2) < 0.5


@pytest.mark.parametrize("pixel_format", ["uyvy422", "gray", "gray10le", "yuv420p10le"])
@pytest.mark.parametrize("color_range", [LIMITED, FULL])
def test_fields_of_any_format_keep_their_levels(pixel_format: str, color_range: int) -> None:
    picture = pattern()[16:17].repeat(48, axis=0)
    fields = Deinterlacer()
    frames = [frame_of(picture, pixel_format, color_range) for _ in range(3)]
    whole = [each for frame in as_fields(iter(frames)) for each in fields.frames_of(frame)] + fields.rest()
    assert len(whole) == 3
    for frame in whole:
        assert np.abs(film_gray(frame, 48, 64).lightness()[..., 0] - lightness_put_in(picture)).max() < 0.3
    assert fields.rest() == []


DEEP = tuple(source for source in SOURCES if source.pixel_format.endswith("le"))


@pytest.mark.parametrize("source", DEEP, ids=lambda source: source.name)
def test_ten_bits_are_written_when_asked_for(tmp_path: Path, session: Session, source: Source) -> None:
    assert worst(session, source.write(tmp_path), source.pictures(4), depth=10) < 0.15


def test_ten_bits_hold_more_levels_than_eight(tmp_path: Path, session: Session) -> None:
    source = Source("a.mkv", "ffv1", "gray16le", FULL)
    path = source.write(tmp_path)
    levels = {depth: len(np.unique(lightness_of_answer(color(session, path, depth=depth)[0])[0])) for depth in (8, 10)}
    assert levels[10] > 60 > 40 > 0
    assert worst(session, path, source.pictures(4), depth=10) < 0.5 * worst(session, path, source.pictures(4))


ORIENTATIONS = {
    (1, 0, 0, 1): lambda rows: rows,
    (-1, 0, 0, 1): lambda rows: rows[:, ::-1],
    (1, 0, 0, -1): lambda rows: rows[::-1],
    (-1, 0, 0, -1): lambda rows: rows[::-1, ::-1],
    (0, 1, 1, 0): lambda rows: rows.T,
    (0, 1, -1, 0): lambda rows: np.rot90(rows, -1),
    (0, -1, 1, 0): lambda rows: np.rot90(rows),
    (0, -1, -1, 0): lambda rows: rows[::-1, ::-1].T,
}
"""What a display matrix does, by its a, b, c, d: x' = a x + c y, y' = b x + d y."""


@pytest.mark.parametrize("matrix", ORIENTATIONS, ids=str)
def test_turned_and_mirrored_films_come_out_upright(
    tmp_path: Path, session: Session, matrix: tuple[int, int, int, int]
) -> None:
    source = Source("a.mp4", "libx264", "yuv420p")
    path = source.write(tmp_path, count=2)
    set_matrix(path, matrix)
    assert worst(session, path, [ORIENTATIONS[matrix](picture) for picture in source.pictures(2)]) < 0.5
    with av.open(str(tmp_path / "answer.part")) as film:
        assert "DISPLAYMATRIX" not in next(film.decode(video=0)).side_data


@pytest.mark.parametrize(("first", "count"), [(15, 85), (3, 5), (30, 10)])
def test_what_an_edit_list_hides_stays_hidden(tmp_path: Path, session: Session, first: int, count: int) -> None:
    source = Source("a.mp4", "libx264", "yuv420p", options={"g": "100", "x264opts": "bframes=2"})
    path = source.write(tmp_path, count=first + count + 2)
    cut(path, first_s=first / 25, length_s=count / 25)
    assert worst(session, path, source.pictures(first + count + 2)[first:-2]) < 0.5


@pytest.mark.parametrize("sound", ["aac", "pcm_s16le"])
@pytest.mark.parametrize("bframes", [0, 3])
def test_sound_stays_in_time_with_what_an_edit_list_leaves(
    tmp_path: Path, session: Session, sound: str, bframes: int
) -> None:
    path = with_sound(tmp_path / "a.mov", sound=sound, flash=30, count=50, bframes=bframes)
    cut(path, first_s=0.6, length_s=1.2)
    assert flash_and_tone(path) == pytest.approx((30, 0.6, 0.6), abs=0.012)
    target, done = color(session, path)
    assert flash_and_tone(target) == pytest.approx((30, 0.6, 0.6), abs=0.012)
    assert done.notes == ()


@pytest.mark.parametrize(
    ("source", "matrix", "depth"),
    [
        (Source("a.mov", "libx265", "gray10le"), (0, -1, -1, 0), 10),
        (Source("a.mp4", "libx265", "gray", FULL), (-1, 0, 0, 1), 8),
        (Source("a.mp4", "libx264", "yuv420p10le", FULL), (0, 1, 1, 0), 10),
        (Source("a.mov", "libx264", "yuv420p", is_said=False), (0, 1, -1, 0), 8),
    ],
    ids=lambda value: value.pixel_format if isinstance(value, Source) else str(value),
)
def test_all_of_it_together(
    tmp_path: Path, session: Session, source: Source, matrix: tuple[int, int, int, int], depth: int
) -> None:
    path = source.write(tmp_path, count=14, sounds=2)
    set_matrix(path, matrix)
    cut(path, first_s=3 / 25, length_s=8 / 25)
    wanted = [ORIENTATIONS[matrix](picture) for picture in source.pictures(14)[3:11]]
    assert worst(session, path, wanted, depth=depth) < 0.5
    with av.open(str(tmp_path / "answer.part")) as film:
        assert len(film.streams.audio) == 2
        assert sum(frame.samples for frame in film.decode(audio=0)) / 48000 == pytest.approx(8 / 25, abs=0.03)


def test_a_recording_whose_clock_starts_late_starts_at_once(tmp_path: Path, session: Session) -> None:
    path = with_sound(tmp_path / "a.ts", sound="mp2", flash=10, count=20, delay_s=5 * 3600)
    target, _ = color(session, path)
    with av.open(str(target)) as film:
        assert next(film.decode(video=0)).time < 0.1
    frames, light, tone = flash_and_tone(target)
    assert frames == 20
    assert light == pytest.approx(tone, abs=0.03)
    assert light == pytest.approx(0.4, abs=0.1)


def test_rows_of_two_moments_become_one(tmp_path: Path, session: Session) -> None:
    path = walking_bar(tmp_path / "a.mkv", count=6)
    found = {whole: lightness_of_answer(color(session, path, deinterlace=whole)[0]) for whole in (True, False)}
    assert len(found[True]) == len(found[False]) == 6
    assert combs(found[False][2]) > 1 > 0.1 > combs(found[True][2])


def test_frames_that_are_whole_stay_as_they_are_among_others(tmp_path: Path) -> None:
    source = Source("a.mkv", "ffv1", "yuv420p")
    path = source.write(tmp_path)
    assert not inspect(path, max_megapixels=1).is_interlaced
    assert inspect(walking_bar(tmp_path / "b.mkv", count=3), max_megapixels=1).is_interlaced
    film = inspect(path, max_megapixels=1)
    with open_film(path) as container:
        reader = FilmReader(container, picture_of(container, 1), replace(film, is_interlaced=True), deinterlace=True)
        frames = [read for read in reader.read([]) if isinstance(read, Shown)]
    assert [frame.at_s for frame in frames] == [Fraction(index, 25) for index in range(4)]
    for frame, picture in zip(frames, source.pictures(4), strict=True):
        assert np.abs(frame.gray.lightness()[..., 0] - lightness_put_in(picture)).max() < 0.3


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_a_day_between_two_frames_is_refused_in_words_of_ours(tmp_path: Path, session: Session, suffix: str) -> None:
    times = [0, 40, 86_400_000, 86_400_040]
    path = write_film(tmp_path / f"a.{suffix}", films_gray(4), times=times)
    with pytest.raises(UnsupportedFilm, match=r"after 0\.0 s no frame comes for 24\.0 hours"):
        color(session, path)
    assert not (tmp_path / "answer.part").exists()


@pytest.mark.parametrize(("hours", "is_fine"), [(2, True), (4, False)])
def test_silence_may_last_while_mp4_can_count(tmp_path: Path, session: Session, hours: int, is_fine: bool) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as film:
        picture: Any = film.add_stream("ffv1", rate=25)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "gray"
        track: Any = film.add_stream("mp2", rate=48000)
        track.layout = "mono"
        film.mux(picture.encode(frame_of(pattern(), "gray", FULL)))
        film.mux(picture.encode(None))
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 2 * 1152), np.int16), "s16", "mono")
        samples.sample_rate, samples.pts, samples.time_base = 48000, 0, Fraction(1, 48000)
        first, second = [*track.encode(samples), *track.encode(None)]
        film.mux(first)
        second.pts = second.dts = second.pts + round(hours * 3600 / second.time_base)
        film.mux(second)
    if is_fine:
        target, _ = color(session, path)
        with av.open(str(target)) as film:
            assert [round(frame.time) for frame in film.decode(audio=0)][-1] == hours * 3600
    else:
        with pytest.raises(UnsupportedFilm, match=r"no sound comes for 4\.0 hours"):
            color(session, path)


def test_frames_an_hour_apart_are_a_film(tmp_path: Path, session: Session) -> None:
    times = [0, 40, 3_500_000, 7_000_000, 10_500_000]
    options = {"crf": "1", "bf": "2", "b_strategy": "0"}
    path = write_film(tmp_path / "a.mkv", films_gray(5), times=times, options=options)
    target, _ = color(session, path)
    with av.open(str(target)) as film:
        assert [round(frame.time * 1000) for frame in film.decode(video=0)] == times


def test_uneven_times_with_frames_out_of_order_are_kept(tmp_path: Path, session: Session) -> None:
    times = [0, 40, 80, 600, 640, 680, 720, 1200]
    options = {"crf": "1", "bf": "3", "b_strategy": "0"}
    path = write_film(tmp_path / "a.mp4", films_gray(8), times=times, options=options)
    target, _ = color(session, path)
    with av.open(str(target)) as film:
        assert [round(frame.time * 1000) for frame in film.decode(video=0)] == times
    assert float(inspect(path, max_megapixels=1).rate) == pytest.approx(7 / 1.2, rel=0.01)


def test_a_clock_too_fine_for_mp4_becomes_coarser(tmp_path: Path, session: Session) -> None:
    path = write_film(
        tmp_path / "a.mov", films_gray(3), times=[0, 40, 200_000], muxer={"video_track_timescale": "10000000"}
    )
    target, _ = color(session, path)
    with av.open(str(target)) as film:
        assert [round(frame.time * 1000) for frame in film.decode(video=0)] == [0, 40, 200_000]
