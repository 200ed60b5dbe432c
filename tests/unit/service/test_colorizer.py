"""service.engine.colorizer: any size, the question's own L, each mode its own formula."""

from dataclasses import asdict, replace

import numpy as np
import onnxruntime as ort
import pytest

from chroma.bins import load_centers
from chroma.compose import compose_u8
from chroma.decoding import argmax_ab, fuse
from chroma.framing import network_size, resize_lightness
from chroma.lab import L_STEPS, gray_to_lightness, rgb_u8_to_lab, rgb_u8_to_lightness
from chroma.modes import MODES, Mode
from chroma.signature import LIGHTNESS, OUTPUT_NAMES
from chroma.tone import stretch_tones
from service.engine import colorizer
from service.engine.colorizer import as_kept, colorize, finish, knobs_of, prepare
from service.engine.options import Options, Tone
from service.engine.session import Session
from service.pictures import png, tiff_writer
from service.pictures.answer_formats import BY_ROWS, LOSSLESS, OutputFormat
from service.pictures.decode import Picture
from service.pictures.encode import encode
from service.pictures.levels import to_depth
from service.pictures.lightness import lightness_of
from tests import onnx_factory
from tests.pictures import levels, smooth_gray

TONES: tuple[Tone, ...] = ("auto", "off")


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 7), (17, 3000), (3000, 17), (33, 63), (257, 255)])
@pytest.mark.parametrize("mode", MODES)
def test_any_size_keeps_its_size(session: Session, size: tuple[int, int], mode: Mode) -> None:
    colored = colorize(Picture(smooth_gray(*size)), Options(mode=mode), session)
    assert colored.rgb.shape == (*size, 3)
    assert colored.rgb.dtype == np.uint8


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("vividness", [0.0, 0.5, 1.0])
def test_lightness_is_that_of_the_question(session: Session, mode: Mode, vividness: float) -> None:
    gray = smooth_gray(120, 160)
    rgb = colorize(Picture(gray), Options(mode=mode, vividness=vividness), session).rgb
    change = np.abs(rgb_u8_to_lightness(rgb) - gray_to_lightness(gray))
    assert change.mean() <= 0.3
    assert np.percentile(change, 99) <= 1.0
    assert np.abs(rgb_u8_to_lab(rgb)[..., 1:]).max() > 5  # It is no gray picture.


def test_sixteen_bits_stay_sixteen(session: Session) -> None:
    deep = smooth_gray(40, 60, dtype=np.uint16)
    colored = colorize(Picture(deep), Options(saturation=0), session)
    assert colored.rgb.dtype == np.uint16
    assert np.abs(colored.rgb.astype(int) - deep[..., None].astype(int)).max() <= 1
    assert len(np.unique(colored.rgb)) > 600
    shallow = colorize(Picture(deep), Options(), session, deep=False)
    assert shallow.rgb.dtype == np.uint8


def test_without_saturation_gray_stays_gray(session: Session) -> None:
    gray = levels(50, 70)
    for mode in MODES:
        rgb = colorize(Picture(gray), Options(mode=mode, saturation=0), session).rgb
        np.testing.assert_array_equal(rgb, np.dstack([gray] * 3))


@pytest.mark.parametrize("saturation", [1e-45, 1e-60, 1e-302])
def test_a_saturation_too_small_for_32_bits_is_none(session: Session, saturation: float) -> None:
    gray = levels(50, 70)
    for mode in MODES:
        prepared = prepare(Picture(gray), Options(mode=mode, saturation=saturation), session.stamp)
        [heads] = session.run([prepared.query])
        rgb = finish(prepared, as_kept(heads), session.stamp, variant=6).rgb
        np.testing.assert_array_equal(rgb, np.dstack([gray] * 3))


STORED_L = 0.6 * 100 / L_STEPS
"""Half a step, and float32."""


def test_color_is_reduced_to_its_lightness(session: Session) -> None:
    rgb = levels(40, 50, 3)
    prepared = prepare(Picture(rgb), Options(), session.stamp)
    np.testing.assert_allclose(prepared.L[:], rgb_u8_to_lightness(rgb), atol=STORED_L)
    deep = prepare(Picture(rgb.astype(np.uint16) * 257), Options(), session.stamp)
    np.testing.assert_allclose(deep.L[:], prepared.L[:], atol=1e-3)


@pytest.mark.parametrize("workers", [1, 3])
def test_lightness_in_strips_is_that_of_the_whole(
    session: Session, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    gray = levels(40, 50)
    monkeypatch.setattr("service.pictures.lightness.STRIP_PIXELS", 120)
    prepared = prepare(Picture(gray), Options(), session.stamp, workers=workers)
    np.testing.assert_array_equal(prepared.L[:], gray_to_lightness(gray))


def test_each_mode_is_its_formula(session: Session) -> None:
    gray = smooth_gray(96, 128)
    L = lightness_of(gray)
    knobs = onnx_factory.CURVE.at(0.8)
    knobs = replace(knobs, temperature=0.7, gain=knobs.gain * 1.5)
    seen = resize_lightness(L, network_size(96, 128, 96))
    feeds = {LIGHTNESS: seen[None]} | {name: np.full(1, value, np.float32) for name, value in asdict(knobs).items()}
    graph = ort.InferenceSession(session.path, providers=["CPUExecutionProvider"])
    outputs = graph.run(list(OUTPUT_NAMES), feeds)
    heads = {name: output[0] for name, output in zip(OUTPUT_NAMES, outputs, strict=True)}
    gain = np.float32(knobs.gain / onnx_factory.CURVE.at(0.5).gain)  # the guard does not touch these heads
    expected = {
        "annealed": heads["ab_decoded"],
        "regression": heads["ab"] * gain,
        "fused": fuse(heads["ab_decoded"], heads["ab"] * gain, heads["spread"]),
        "argmax": argmax_ab(as_kept(heads)["ab_logits"], load_centers()) * gain,
    }
    pictures = []
    for mode in MODES:
        options = Options(mode=mode, vividness=0.8, temperature=0.7, saturation=1.5, size=96)
        pictures.append(colorize(Picture(gray), options, session).rgb)
        # The posterior is rounded to 16 bits first: now and then that is the next step of 8 bits.
        apart = np.abs(pictures[-1].astype(int) - compose_u8(L, expected[mode]))
        assert apart.max() <= (mode != "regression")
        assert apart.mean() < 0.01
    assert len({picture.tobytes() for picture in pictures}) == len(MODES)


def test_knobs_come_from_the_models_curve(session: Session) -> None:
    assert knobs_of(Options(vividness=0.5), session.stamp) == onnx_factory.CURVE.at(0.5)
    knobs = knobs_of(Options(vividness=1.0, temperature=0.2, saturation=2.0), session.stamp)
    assert (knobs.temperature, knobs.tau, knobs.cap, knobs.gain) == (0.2, 1.0, 8.0, 2.6)


def test_size_is_the_models_own_unless_asked(session: Session) -> None:
    picture = Picture(smooth_gray(200, 200))
    assert prepare(picture, Options(), session.stamp).query.lightness.shape == (64, 64, 1)
    assert prepare(picture, Options(size=128), session.stamp).query.lightness.shape == (128, 128, 1)


def test_the_network_sees_a_faded_picture_stretched_unless_told_not_to(session: Session) -> None:
    faded = 90 + smooth_gray(100, 120) // 4
    L = lightness_of(faded)
    as_it_is = resize_lightness(L, network_size(100, 120, session.stamp.size))
    stretched = prepare(Picture(faded), Options(), session.stamp)
    untouched = prepare(Picture(faded), Options(tone="off"), session.stamp)
    clear = prepare(Picture(smooth_gray(100, 120)), Options(), session.stamp)
    assert (stretched.is_stretched, untouched.is_stretched, clear.is_stretched) == (True, False, False)
    np.testing.assert_array_equal(untouched.query.lightness, as_it_is)
    np.testing.assert_array_equal(stretched.query.lightness, stretch_tones(as_it_is)[0])
    assert stretched.query.lightness.std() > 2 * as_it_is.std()
    for prepared in (stretched, untouched):
        np.testing.assert_array_equal(prepared.L[:], L)


def test_a_faded_picture_keeps_its_lightness(session: Session) -> None:
    faded = 90 + smooth_gray(100, 120) // 4
    auto, off = (colorize(Picture(faded), Options(tone=tone), session).rgb for tone in TONES)
    assert not np.array_equal(auto, off)
    for rgb in (auto, off):
        assert np.abs(rgb_u8_to_lightness(rgb) - gray_to_lightness(faded)).mean() <= 0.3


def test_whatever_is_asked_for_the_network_is_asked_the_same(session: Session) -> None:
    """So that pictures share a batch, and what is kept serves every question."""
    for mode in MODES:
        query = prepare(Picture(levels(8, 8)), Options(mode=mode), session.stamp).query
        assert set(query.outputs) == {"ab_logits", "ab", "scene_logits"}


def test_the_scene_is_named(session: Session) -> None:
    assert colorize(Picture(np.full((8, 8), 255, np.uint8)), Options(), session).scene == "café"
    assert colorize(Picture(np.zeros((8, 8), np.uint8)), Options(), session).scene == "indoor"


@pytest.mark.parametrize("enlargement", ["bilinear", "guided"])
def test_workers_change_nothing(session: Session, enlargement: str) -> None:
    picture = Picture(smooth_gray(300, 400))
    options = Options(enlargement=enlargement)  # type: ignore[arg-type]
    prepared = prepare(picture, options, session.stamp)
    heads = as_kept(session.run([prepared.query])[0])
    one, three = (finish(prepared, heads, session.stamp, workers=workers).rgb for workers in (1, 3))
    np.testing.assert_array_equal(one, three)
    plain = colorize(picture, Options(), session).rgb
    assert np.array_equal(one, plain) == (enlargement == "bilinear")


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("with_alpha", [False, True])
@pytest.mark.parametrize("output_format", ["png", "tiff", "jpeg", "webp"])
def test_an_answer_of_rows_is_that_of_the_whole(
    session: Session, monkeypatch: pytest.MonkeyPatch, output_format: OutputFormat, with_alpha: bool, deep: bool
) -> None:
    deep = deep and output_format in LOSSLESS
    monkeypatch.setattr(png, "STRIP_BYTES", 5000)
    monkeypatch.setattr(tiff_writer, "STRIP_BYTES", 5000)
    gray = smooth_gray(140, 90)
    alpha = to_depth(gray[::-1].copy(), deep=deep) if with_alpha else None
    colored = colorize(Picture(gray), Options(), session, deep=deep)
    whole = encode(colored.rgb, alpha, output_format)
    assert encode(colored.rows, alpha, output_format, workers=3) == whole
    assert colored.pixels_for(output_format) is colored.rgb
    monkeypatch.setattr(colorizer, "LARGE_PIXELS", 0)
    # What is composed already is not composed again, row by row.
    assert colored.pixels_for(output_format) is colored.rgb
    fresh = colorize(Picture(gray), Options(), session, deep=deep)
    assert (fresh.pixels_for(output_format) is fresh.rows) == (output_format in BY_ROWS)
