"""Needs a Docker engine: images are built, and containers run, for real. `make test-docker` collects this folder."""

from collections.abc import Callable, Iterator

import pytest

from tests.docker.engine import Project, why_no_engine

MISSING = "No Docker engine: {why}. NOTHING WAS TESTED. Start one and call `make test-docker` again."


@pytest.fixture(scope="session", autouse=True)
def engine() -> None:
    """Skip, and say so, where no engine answers."""
    if why := why_no_engine():
        pytest.skip(MISSING.format(why=why))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the very end what nobody must overlook."""
    if why := why_no_engine():
        terminalreporter.write_line(MISSING.format(why=why), red=True, bold=True)


@pytest.fixture(scope="session")
def build(engine: None) -> Callable[..., None]:
    """Builds the image of a profile, once for each tag and its extras; the rest comes from its cache."""
    del engine
    built: set[tuple[str, frozenset[tuple[str, object]]]] = set()

    def once(profile: str, **variables: object) -> None:
        key = (profile, frozenset(variables.items()))
        if key not in built:
            Project(**variables).compose("--profile", profile, "build")
            built.add(key)

    return once


@pytest.fixture
def start(build: Callable[..., None]) -> Iterator[Callable[..., Project]]:
    """Starts the service with the given settings; what was started is gone after the test."""
    started: list[Project] = []

    def up(**variables: object) -> Project:
        build("cpu", **{name: value for name, value in variables.items() if name in ("tag", "extras")})
        started.append(Project(**variables))
        started[-1].up()
        return started[-1]

    yield up
    for project in started:
        project.down()


@pytest.fixture(scope="module")
def project(build: Callable[..., None]) -> Iterator[Project]:
    """The running service, as `docker compose up` starts it."""
    build("cpu")
    made = Project()
    try:
        made.up()
        yield made
    finally:
        made.down()
