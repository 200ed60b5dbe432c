"""service.settings: the environment in, typed values out, and every setting in the documentation."""

import math
from pathlib import Path

import pytest
from pydantic import ValidationError

from service.settings import ENV_PREFIX, Settings, pixels_of, settings_table

DOCUMENT = Path(__file__).parents[3] / "docs" / "operating.md"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"{ENV_PREFIX}{name.upper()}", raising=False)


def test_defaults_are_safe() -> None:
    settings = Settings()
    assert (settings.host, settings.port, settings.device, settings.model) == ("127.0.0.1", 8000, "auto", None)
    assert (settings.max_upload_bytes, settings.max_megapixels) == (640_000_000, 100)


def test_the_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "HOST": "0.0.0.0",
        "PORT": "81",
        "MODEL": "/m.onnx",
        "DEVICE": "cuda",
        "DEADLINE_S": "2.5",
    }.items():
        monkeypatch.setenv(ENV_PREFIX + name, value)
    settings = Settings()
    assert (settings.host, settings.port, settings.model) == ("0.0.0.0", 81, Path("/m.onnx"))
    assert (settings.device, settings.deadline_s) == ("cuda", 2.5)


def test_an_empty_variable_means_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHOTOCHROM_MODEL", "")
    monkeypatch.setenv("PHOTOCHROM_PORT", "")
    assert (Settings().model, Settings().port) == (None, 8000)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "70000"),
        ("PORT", "x"),
        ("DEVICE", "tpu"),
        ("DEADLINE_S", "0"),
        ("MAX_MEGAPIXELS", "-1"),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_nonsense_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(ENV_PREFIX + name, value)
    with pytest.raises(ValidationError):
        Settings()


@pytest.mark.parametrize("name", [name for name, field in Settings.model_fields.items() if field.annotation is float])
@pytest.mark.parametrize("value", ["inf", "-inf", "nan"])
def test_every_number_is_finite(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(ENV_PREFIX + name.upper(), value)
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert [error["loc"] for error in caught.value.errors()] == [(name,)]


def test_a_fraction_of_a_pixel_is_a_pixel() -> None:
    assert int(4.1 * 1e6) == 4_099_999
    assert math.ceil(2.007 * 1e6) == 2_007_001
    assert Settings(max_megapixels=4.1).max_pixels == 4_100_000
    assert Settings(max_megapixels=2.007).max_pixels == 2_007_000
    assert Settings(max_megapixels=2.0070001).max_pixels == 2_007_001
    assert 2**40 < Settings(max_megapixels=1e308).max_pixels < 2**63


def test_thousands_of_pixels_are_no_fraction() -> None:
    assert [pixels_of(thousands / 1000) for thousands in range(100_001)] == [*range(0, 100_000_001, 1000)]


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]


def test_the_document_holds_the_table_of_the_class() -> None:
    assert settings_table() in DOCUMENT.read_text()
    assert all(field.description for field in Settings.model_fields.values())
