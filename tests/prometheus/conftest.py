"""Needs Prometheus and promtool, of Debian's package `prometheus`. `make test-prometheus` collects this folder."""

import shutil

import pytest

TOOLS = ("promtool", "prometheus")


def _missing() -> str:
    names = [name for name in TOOLS if shutil.which(name) is None]
    return (
        f"Not installed: {' and '.join(names)} (Debian: apt-get install prometheus). NOTHING WAS TESTED."
        if names
        else ""
    )


@pytest.fixture(scope="session", autouse=True)
def tools() -> None:
    """Skip, and say so, where they are not installed."""
    if missing := _missing():
        pytest.skip(missing)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the very end what nobody must overlook."""
    if missing := _missing():
        terminalreporter.write_line(missing, red=True, bold=True)
