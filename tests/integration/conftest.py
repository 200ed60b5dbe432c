"""What starts programs that train, once for all of a test run's files."""

from collections.abc import Callable, Iterator

import pytest

from tests.starter import Starter


@pytest.fixture(scope="session")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Starter]]:
    """Gives what starts programs under a backend; made when it is first asked for."""
    made: dict[str, Starter] = {}

    def of(backend: str) -> Starter:
        if backend not in made or not made[backend].is_running:
            made[backend] = Starter(backend, tmp_path_factory.mktemp(backend))
        return made[backend]

    yield of
    for each in made.values():
        if each.is_running:
            each.close()
