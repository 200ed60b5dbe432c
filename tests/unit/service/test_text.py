"""service.text: what a terminal would obey is written out."""

import pytest

from service.text import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Straße 1905.jpg", "Straße 1905.jpg"),
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        ("", ""),
    ],
)
def test_control_characters_are_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown
