"""service.logs: log lines hold together, and what a terminal would obey is written out."""

import json
import logging
from collections.abc import Iterator

import pytest

from service.logs import JsonFormatter, TextFormatter, configure_logging, printable, request_id


def record(message: str = "hello %s", *args: object, **facts: object) -> logging.LogRecord:
    made = logging.LogRecord("service.test", logging.WARNING, __file__, 1, message, args or ("you",), None)
    if facts:
        made.facts = facts
    return made


@pytest.fixture
def named_request() -> Iterator[None]:
    token = request_id.set("abc")
    yield
    request_id.reset(token)


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


@pytest.mark.usefixtures("named_request")
def test_json_lines_are_objects() -> None:
    made = record("bad\nnews for %s", "you", path="/a\nb", status=404)
    entry = json.loads(JsonFormatter().format(made))
    assert (entry["level"], entry["logger"], entry["request_id"]) == ("warning", "service.test", "abc")
    assert (entry["message"], entry["path"], entry["status"]) == ("bad\nnews for you", "/a\nb", 404)
    assert entry["time"].endswith("Z")
    assert "\n" not in JsonFormatter().format(made)


def test_json_lines_hold_the_traceback() -> None:
    made = record()
    try:
        raise ValueError("inside")
    except ValueError as error:
        made.exc_info = (type(error), error, error.__traceback__)
    assert "ValueError: inside" in json.loads(JsonFormatter().format(made))["traceback"]
    assert "ValueError: inside" in TextFormatter().format(made)


@pytest.mark.usefixtures("named_request")
def test_text_lines_cannot_be_forged() -> None:
    line = TextFormatter().format(record(path="/a\n12:00:00 error forged"))
    assert "\n" not in line
    assert line.endswith("[abc]")
    assert "warning hello you" in line


def test_logging_is_configured_in_one_place(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        configure_logging(level="info", log_format="json")
        logging.getLogger("service.x").info("shown")
        logging.getLogger("service.x").debug("hidden")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    lines = capsys.readouterr().err.splitlines()
    assert [json.loads(line)["message"] for line in lines] == ["shown"]
