"""service.archive.film_tracks: all sound and all text go along, and what MP4 does not hold is named."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from service.archive.film import Filmed, color_film
from service.archive.film_file import FilmOptions
from service.engine.options import Options
from service.engine.session import Session
from tests import films

LINES = ((0.04, "Grüß <i>Gott</i>"), (0.16, "zwei\nZeilen"))


def write(path: Path, *, sounds: tuple[str, ...] = (), texts: tuple[str, ...] = (), title: str = "") -> Path:
    """Write a film of six frames with tracks of sound, each with another language, and of text."""
    with av.open(str(path), "w") as film:
        picture: Any = film.add_stream("libx264", rate=25, options={"crf": "8", "preset": "ultrafast"})
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        tracks: list[Any] = [film.add_stream(codec, rate=48000) for codec in sounds]
        for track, language in zip(tracks, ("deu", "fra", "eng"), strict=False):
            track.layout, track.metadata["language"] = "mono", language
        written = [film.add_mux_stream(codec) for codec in texts]
        for text in written:
            text.time_base, text.metadata["language"] = Fraction(1, 1000), "swe"
        if title:
            film.metadata["title"] = title
            film.set_chapters(
                [
                    {"id": 1, "start": 0, "end": 120, "time_base": Fraction(1, 1000), "metadata": {"title": "Anfang"}},
                    {"id": 2, "start": 120, "end": 240, "time_base": Fraction(1, 1000), "metadata": {"title": "Abend"}},
                ]
            )
        for index in range(6):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 + 10 * index, np.uint8), "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            film.mux(picture.encode(frame))
        film.mux(picture.encode(None))
        for track in tracks:
            for start in range(0, 11520, 1024):
                samples = av.AudioFrame.from_ndarray(films.tone(48000, 1024 / 48000), "s16", "mono")
                samples.sample_rate, samples.pts, samples.time_base = 48000, start, Fraction(1, 48000)
                film.mux(track.encode(samples))
            film.mux(track.encode(None))
        for codec, text in zip(texts, written, strict=True):
            for at_s, line in LINES:
                data = line.encode()
                if codec == "mov_text":
                    data = len(data).to_bytes(2, "big") + data
                elif codec == "ass":
                    data = b"0,0,Default,,0,0,0,," + data.replace(b"\n", b"\\N")
                packet = av.Packet(data)
                packet.stream, packet.time_base, packet.duration = text, Fraction(1, 1000), 80
                packet.pts = packet.dts = round(at_s * 1000)
                film.mux(packet)
    return path


def color(session: Session, source: Path) -> tuple[Path, Filmed]:
    target = source.with_name("answer.part")
    return target, color_film(source, target, session, Options(), FilmOptions(), max_megapixels=1.0)


def lines_of(path: Path) -> list[tuple[float, str]]:
    found = []
    with av.open(str(path)) as film:
        for packet in film.demux(subtitles=0):
            for line in packet.decode() if packet.size else []:
                text = line.dialogue.decode() if isinstance(line, av.subtitles.subtitle.AssSubtitle) else ""
                if text:
                    found.append((round(float(packet.pts * packet.time_base), 3), text))
    return found


@pytest.mark.parametrize(("container", "codec"), [("mp4", "mov_text"), ("mkv", "subrip"), ("mkv", "webvtt")])
def test_text_goes_along_with_its_times(tmp_path: Path, session: Session, container: str, codec: str) -> None:
    source = write(tmp_path / f"a.{container}", texts=(codec,))
    target, done = color(session, source)
    italic = "<i>Gott</i>" if codec == "mov_text" else "{\\i1}Gott"
    assert lines_of(target) == [(0.04, f"Grüß {italic}"), (0.16, "zwei\nZeilen")]
    with av.open(str(target)) as film:
        (track,) = film.streams.subtitles
        assert track.codec_context.name == "mov_text"
        assert track.metadata["language"] == "swe"
    assert [note.split(":")[0] for note in done.notes] == ([] if codec == "mov_text" else ["subtitles encoded again"])


def test_all_sound_goes_along_in_its_order(tmp_path: Path, session: Session) -> None:
    source = write(tmp_path / "a.mkv", sounds=("aac", "pcm_u8", "libopus"), texts=("subrip", "subrip"))
    target, done = color(session, source)
    with av.open(str(target)) as film:
        assert [track.codec_context.name for track in film.streams.audio] == ["aac", "aac", "opus"]
        assert [track.metadata["language"] for track in film.streams.audio] == ["deu", "fra", "eng"]
        assert len(film.streams.subtitles) == 2
    assert sum("sound encoded again" in note for note in done.notes) == 1


def test_titles_and_chapters_go_along(tmp_path: Path, session: Session) -> None:
    source = write(tmp_path / "a.mp4", title="Ein Tag")
    target, done = color(session, source)
    with av.open(str(target)) as film:
        assert film.metadata["title"] == "Ein Tag"
        assert [chapter["metadata"]["title"] for chapter in film.chapters()] == ["Anfang", "Abend"]
    assert done.notes == ()


def test_pictures_of_text_are_named(tmp_path: Path, session: Session) -> None:
    target, done = color(session, write(tmp_path / "a.mkv", texts=("dvd_subtitle",)))
    assert done.notes == ("left out: subtitles, dvdsub",)
    with av.open(str(target)) as film:
        assert not film.streams.subtitles


@pytest.mark.parametrize("container", ["avi", "mkv"])
@pytest.mark.parametrize(("speakers", "layout"), [(1, "mono"), (2, "stereo"), (4, "4.0"), (6, "5.1"), (10, "stereo")])
def test_samples_of_several_speakers_go_along(
    tmp_path: Path, session: Session, container: str, speakers: int, layout: str
) -> None:
    path = tmp_path / f"a.{container}"
    with av.open(str(path), "w") as film:
        picture: Any = film.add_stream("mpeg4", rate=25)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        track: Any = film.add_stream("pcm_s16le", rate=48000)
        track.layout = f"{speakers}C" if speakers > 8 else layout
        for index in range(4):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8), "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            film.mux(picture.encode(frame))
        film.mux(picture.encode(None))
        samples = av.AudioFrame(format="s16", layout=track.layout, samples=7680)
        samples.planes[0].update(bytes(samples.planes[0].buffer_size))
        samples.sample_rate, samples.pts, samples.time_base = 48000, 0, Fraction(1, 48000)
        film.mux(track.encode(samples))
        film.mux(track.encode(None))
    target, done = color(session, path)
    with av.open(str(target)) as film:
        (heard,) = film.streams.audio
        assert heard.codec_context.name == ("aac" if speakers > 8 else "pcm_s16le")
        assert heard.layout.nb_channels == min(speakers, 6 if speakers <= 8 else 2)
        assert sum(frame.samples for frame in film.decode(audio=0)) == pytest.approx(7680, abs=1100)
    assert len(done.notes) == (speakers > 8)


@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_s24le", "aac"])
def test_sound_that_pauses_stays_in_time(tmp_path: Path, session: Session, codec: str) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as film:
        picture: Any = film.add_stream("ffv1", rate=25)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "gray"
        track: Any = film.add_stream(codec, rate=48000)
        track.layout = "stereo"
        for index in range(80):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64), 90, np.uint8), "gray")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            film.mux(picture.encode(frame))
        film.mux(picture.encode(None))
        packets = []
        for start in range(0, 8 * 1024, 1024):
            level = 0 if start < 4096 else 20000
            shape = (2, 1024) if codec == "aac" else (1, 2048)
            data = np.full(shape, level / 32768, np.float32) if codec == "aac" else np.full(shape, level, np.int16)
            if codec == "pcm_s24le":
                data = data.astype(np.int32) << 16
            name = {"aac": "fltp", "pcm_s16le": "s16", "pcm_s24le": "s32"}[codec]
            samples = av.AudioFrame.from_ndarray(data, name, "stereo")
            samples.sample_rate, samples.pts, samples.time_base = 48000, start, Fraction(1, 48000)
            packets += track.encode(samples)
        packets += track.encode(None)
        for packet in packets:
            if packet.pts >= round(Fraction(4096, 48000) / packet.time_base):
                packet.pts = packet.dts = packet.pts + round(Fraction(5, 2) / packet.time_base)
            film.mux(packet)
    target, done = color(session, path)
    with av.open(str(target)) as film:
        assert film.streams.audio[0].codec_context.name == codec
        loud = [frame.time for frame in film.decode(audio=0) if np.abs(frame.to_ndarray().astype(float)).mean() > 0.1]
    assert loud[0] == pytest.approx(2.5 + 4096 / 48000, abs=0.05)
    assert done.notes == ()
