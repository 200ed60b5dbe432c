"""Log lines with request ids, for machines and for people, and words from elsewhere made fit for a terminal."""

import json
import logging
import time
from contextvars import ContextVar
from typing import Any

request_id: ContextVar[str] = ContextVar("request_id", default="-")
"""Id of the request that the current task works for."""


def printable(text: str) -> str:
    """Return a text whose control characters are written out: a terminal would obey them."""
    return text if text.isprintable() else "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


class JsonFormatter(logging.Formatter):
    """One JSON object a line; the fields of a record's ``extra={"facts": {...}}`` stand beside the message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON text."""
        entry: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": request_id.get(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """The same for people: time, level, message, request id, facts."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line, and a traceback below it when there is one."""
        # As JSON values, so that a line feed in a path cannot start a line of its own.
        facts = " ".join(f"{name}={json.dumps(value)}" for name, value in getattr(record, "facts", {}).items())
        message = printable(record.getMessage())
        parts = (self.formatTime(record, "%H:%M:%S"), record.levelname.lower(), message, facts)
        line = " ".join(part for part in parts if part)
        line += "" if request_id.get() == "-" else f" [{request_id.get()}]"
        return line + (f"\n{self.formatException(record.exc_info)}" if record.exc_info else "")


def configure_logging(*, level: str, log_format: str) -> None:
    """Send every log line of the process to stderr in one format; for programs, never for imports.

    Args:
        level: least important level to log.
        log_format: `json` or `text`.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
