"""Films for the tests and the benchmark, made on the spot: no freely licensed one is at hand.

Photographs are panned and zoomed over, with what a camera and a projector add: grain, light that pumps, a shadow that
walks by. Cuts, flashes, fades, a tone as sound; then written by PyAV in any container.
"""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from chroma.lab import rgb_u8_to_lightness

ROOT = Path(__file__).parents[1]
PHOTOGRAPHS = (ROOT / "tests/data/coffee.jpg", ROOT / "tests/data/chelsea.png", ROOT / "tests/data/astronaut.jpg")


def photograph(path: Path) -> np.ndarray:
    """Read a photograph, sRGB, uint8, (H, W, 3)."""
    return np.ascontiguousarray(cv2.imread(str(path), cv2.IMREAD_COLOR)[..., ::-1])


def camera(
    rgb: np.ndarray,
    count: int,
    *,
    size: tuple[int, int],
    pan: tuple[float, float] = (0.1, 0.05),
    zoom: float = 1.1,
) -> Iterator[np.ndarray]:
    """Yield `count` frames (height, width) of a camera that moves slowly over a photograph.

    Args:
        rgb: the photograph, uint8, (H, W, 3).
        count: frames.
        size: (height, width) of the frames, px.
        pan: how far the middle moves over all frames, as shares of the photograph (x, y).
        zoom: magnification of the last frame against the first.
    """
    height, width = size
    H, W = rgb.shape[:2]
    for index in range(count):
        t = index / max(count - 1, 1)
        # The crop fills 0.8 of what fits, so that there is room to move.
        scale = 0.8 * min(W / width, H / height) / zoom**t
        x, y = W * (0.5 + pan[0] * (t - 0.5)), H * (0.5 + pan[1] * (t - 0.5))
        matrix = np.float64([[scale, 0, x - scale * width / 2], [0, scale, y - scale * height / 2]])
        flags = (cv2.INTER_AREA if scale > 1.5 else cv2.INTER_LINEAR) | cv2.WARP_INVERSE_MAP
        yield cv2.warpAffine(rgb, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)


def gray(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Take the color out: gray of the same L, uint8, (H, W, 3)."""
    for rgb in frames:
        luminance = rgb_u8_to_lightness(rgb)[..., 0]
        linear = np.where(luminance > 8, ((luminance + 16) / 116) ** 3, luminance / 903.3)
        level = np.where(linear > 0.0031308, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055, 12.92 * linear)
        yield np.repeat(np.round(255 * np.clip(level, 0, 1)).astype(np.uint8)[..., None], 3, axis=2)


def aged(
    frames: Iterable[np.ndarray], *, grain: float = 4.0, pumping: float = 0.04, seed: int = 0
) -> Iterator[np.ndarray]:
    """Add grain (standard deviation, levels of 255) and light that pumps (standard deviation of a factor)."""
    rng = np.random.default_rng(seed)
    for rgb in frames:
        light = 1 + pumping * rng.standard_normal()
        noise = grain * rng.standard_normal(rgb.shape[:2])[..., None]
        yield np.clip(rgb * light + noise, 0, 255).round().astype(np.uint8)


def with_walker(frames: Iterable[np.ndarray], count: int) -> Iterator[np.ndarray]:
    """Let a dark figure with a light stripe walk through the picture from left to right."""
    for index, rgb in enumerate(frames):
        height, width = rgb.shape[:2]
        x = round(width * (-0.15 + 1.3 * index / max(count - 1, 1)))
        half, top = max(width // 16, 1), height // 3
        figure = rgb.copy()
        cv2.rectangle(figure, (x - half, top), (x + half, height), (45, 45, 45), -1)
        cv2.rectangle(figure, (x - half, top + height // 6), (x + half, top + height // 4), (200, 200, 200), -1)
        yield figure


def tone(rate: int, seconds: float, *, channels: int = 1) -> np.ndarray:
    """Return a sine tone of 440 Hz, int16, (channels, samples)."""
    wave = np.sin(2 * np.pi * 440 * np.arange(int(rate * seconds)) / rate)
    return np.repeat((8000 * wave).astype(np.int16)[None], channels, axis=0)


def write_film(
    path: Path,
    frames: Iterable[np.ndarray],
    *,
    rate: int = 24,
    times: Sequence[int] | None = None,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    audio: str | None = None,
    seconds: float = 0.0,
    subtitles: bool = False,
    rotation: int = 0,
    options: dict[str, str] | None = None,
    muxer: dict[str, str] | None = None,
) -> Path:
    """Write a film.

    Args:
        path: where; the suffix chooses the container.
        frames: sRGB, uint8, (H, W, 3).
        rate: frames a second.
        times: presentation times of the frames in 1/1000 s; None lets them follow the rate.
        codec: of the picture.
        pixel_format: such as `yuv420p10le`.
        audio: codec of a tone that goes along; None for none.
        seconds: how long the tone is.
        subtitles: whether an empty track of subtitles goes along.
        rotation: degrees in the display matrix.
        options: of the picture's codec.
        muxer: options of the container.

    Returns:
        The path.
    """
    options = {"crf": "8", "preset": "ultrafast"} if options is None and codec == "libx264" else options or {}
    with av.open(str(path), "w", options=muxer or {}) as film:
        picture = film.add_stream(codec, rate=rate, options=options)
        base = Fraction(1, 1000) if times is not None else Fraction(1, rate)
        picture.time_base = picture.codec_context.time_base = base
        picture.pix_fmt = pixel_format
        if rotation:
            picture.set_display_rotation(rotation)
        sound = None
        if audio is not None:
            sound = film.add_stream(audio, rate=48000)
            sound.layout = "mono"
        if subtitles:
            film.add_mux_stream("subrip" if path.suffix == ".mkv" else "mov_text")
        begun = False
        for index, rgb in enumerate(frames):
            if not begun:
                picture.height, picture.width = rgb.shape[:2]
                begun = True
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), "rgb24")
            frame.pts, frame.time_base = (times[index] if times is not None else index), base
            film.mux(picture.encode(frame))
        if begun:
            film.mux(picture.encode())
        if sound is not None:
            for start in range(0, int(48000 * seconds), 1024):
                piece = tone(48000, seconds)[:, start : start + 1024]
                samples = av.AudioFrame.from_ndarray(np.ascontiguousarray(piece), "s16", "mono")
                samples.sample_rate, samples.pts, samples.time_base = 48000, start, Fraction(1, 48000)
                film.mux(sound.encode(samples))
            film.mux(sound.encode(None))
    return path


def read_film(path: Path) -> list[np.ndarray]:
    """Return the frames of a film as they are stored, sRGB, uint8, (H, W, 3) each."""
    with av.open(str(path)) as film:
        return [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
