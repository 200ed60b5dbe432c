"""photochrom: a picture in whatever form, the same colors as over HTTP, and a line where an extra is missing."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import photochrom
from photochrom import Colorizer
from photochrom.programs import photochrom as program
from service.engine.colorizer import colorize
from service.engine.options import Options
from service.engine.session import Session
from service.errors import BrokenPicture, ModelError, PictureTooLarge, PrecisionError
from service.pictures.decode import Picture
from tests import onnx_factory
from tests.pictures import by_opencv, by_pillow, smooth_gray

GRAY = smooth_gray(48, 64)
PNG = by_pillow(GRAY, "PNG")


@pytest.fixture(scope="module")
def color(model_path: Path) -> Colorizer:
    return Colorizer(model_path, device="cpu", threads=1)


@pytest.fixture(scope="module")
def expected(model_path: Path) -> np.ndarray:
    return colorize(Picture(GRAY), Options(vividness=0.8), Session(model_path, device="cpu", threads=1)).rgb


@pytest.mark.parametrize("form", ["path", "text", "bytes", "pillow", "array", "one channel", "three channels"])
def test_every_form_of_a_picture_gives_the_same_colors(
    color: Colorizer, expected: np.ndarray, form: str, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    given: dict[str, Any] = {
        "path": tmp_path / "a.png",
        "text": str(tmp_path / "a.png"),
        "bytes": PNG,
        "pillow": Image.fromarray(GRAY),
        "array": GRAY,
        "one channel": GRAY[..., None],
        "three channels": np.dstack([GRAY] * 3),
    }
    np.testing.assert_array_equal(color(given[form], vividness=0.8).rgb, expected)


def test_a_model_is_computed_in_what_its_file_holds(tmp_path: Path) -> None:
    path = onnx_factory.write_model(tmp_path / "model.int8.onnx", precision="int8")
    assert Colorizer(path, device="cpu", threads=1)(PNG).rgb.shape == (48, 64, 3)
    with pytest.raises(PrecisionError, match="holds the network in int8"):
        Colorizer(path, device="cpu", threads=1, precision="float32")


def test_what_comes_out_is_an_array_a_file_and_a_pillow_image(color: Colorizer, tmp_path: Path) -> None:
    made = color(PNG)
    assert np.asarray(made).shape == (48, 64, 3)
    assert np.asarray(made, np.float32).dtype == np.float32
    np.testing.assert_array_equal(np.asarray(made.to_pillow()), made.rgb)
    for name, kind in (("a.png", "PNG"), ("b.jpg", "JPEG"), ("c.jpeg", "JPEG"), ("d.webp", "WEBP")):
        made.save(tmp_path / name)
        with Image.open(tmp_path / name) as image:
            assert image.format == kind
            assert image.size == (64, 48)
    with pytest.raises(ValueError, match=r"should end with \.jpeg, \.jpg, \.png, \.tif, \.tiff, \.webp"):
        made.save(tmp_path / "e.gif")


def test_sixteen_bits_and_opacity_stay(color: Colorizer) -> None:
    deep = (GRAY.astype(np.uint16) * 257)[..., None]
    alpha = np.full((48, 64, 1), 30_000, np.uint16)
    made = color(np.dstack([deep, deep, deep, alpha]))
    assert made.rgb.dtype == np.uint16
    assert made.alpha is not None
    assert (made.alpha == 30_000).all()
    assert made.to_pillow().mode == "RGBA"
    assert color(by_opencv(deep[..., 0], ".png")).rgb.dtype == np.uint16


def test_captions_go_over(color: Colorizer, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "Grandmother, 1912"
    color(by_pillow(GRAY, "JPEG", exif=exif)).save(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.getexif()[0x010E] == "Grandmother, 1912"


def test_a_reference_is_followed(color: Colorizer) -> None:
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = np.arange(32, dtype=np.uint8) * 7
    assert not np.array_equal(color(PNG, reference=red, reference_strength=1.0).rgb, color(PNG).rgb)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"vividness": 2}, "vividness: Input should be less than or equal to 1"),
        ({"vividnes": 1}, "vividnes: Extra inputs are not permitted"),
        ({"variants": 2}, "no option variants"),
        ({"format": "jpeg"}, "no option format"),
    ],
)
def test_options_that_cannot_be_are_told(color: Colorizer, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        color(PNG, **options)


@pytest.mark.parametrize("picture", [np.zeros((4, 4)), np.zeros((4, 4, 2), np.uint8), np.zeros(5, np.uint8), 7])
def test_what_is_no_picture_is_told(color: Colorizer, picture: Any) -> None:
    with pytest.raises(TypeError, match="not"):
        color(picture)


def test_files_fail_as_they_do_over_http(color: Colorizer, model_path: Path, tmp_path: Path) -> None:
    with pytest.raises(BrokenPicture):
        color(PNG[:60])
    with pytest.raises(PictureTooLarge):
        Colorizer(model_path, device="cpu", max_megapixels=0.001)(PNG)
    with pytest.raises(FileNotFoundError):
        color(tmp_path / "nothing.png")
    with pytest.raises(ModelError):
        photochrom.load(str(tmp_path / "nothing.onnx"))


def test_a_model_is_opened_once(model_path: Path) -> None:
    assert photochrom.load(str(model_path)) is photochrom.load(str(model_path))


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import photochrom, sys; sys.exit(bool({'numpy', 'cv2', 'httpx2', 'service'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert set(photochrom.__all__) <= set(dir(photochrom))
    with pytest.raises(AttributeError, match="nobody"):
        photochrom.nobody  # noqa: B018 - that it raises is the point


@pytest.mark.parametrize(
    ("hidden", "code", "said"),
    [
        ("httpx2", "from photochrom import Client", "photochrom.Client needs httpx2, which is not installed: pip"),
        ("onnxruntime", "from photochrom import load", "pip install 'photochrom[service]'"),
        ("typer", "from photochrom.programs import photochrom; photochrom()", "photochrom: photochrom needs typer"),
        ("typer", "from photochrom.programs import photochrom_export; photochrom_export()", "photochrom[export]"),
    ],
)
def test_what_an_extra_lacks_is_said_in_a_line(hidden: str, code: str, said: str) -> None:
    hide = f"import sys; sys.modules[{hidden!r}] = None\n"
    done = subprocess.run([sys.executable, "-c", hide + code], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert said in done.stderr.splitlines()[-1]


def test_the_program_is_the_command_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["photochrom", "--help"])
    with pytest.raises(SystemExit) as ended:
        program()
    assert ended.value.code == 0
    assert "colorize" in capsys.readouterr().out
