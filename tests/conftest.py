"""Sets up pytest: shape checks in `chroma`, quiet frameworks, hypothesis, markers for optional backends."""

import importlib.util
import logging
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

# Before any framework is imported: TensorFlow's C++ side logs to stderr otherwise, and Keras picks its backend once.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# JAX compiles every step of miniatures that take ten: twice as fast where the compiler does not try hard.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true --xla_cpu_multi_thread_eigen=false",
)
# Miniatures leave threads nothing to share: waking and waiting for them took a quarter of the processor time.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A service that changes over to what it finds faster here would answer in two ways in the middle of a test.
os.environ.setdefault("PHOTOCHROM_PRECISION", "float32")

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

from tests.starter import Starter

# Every shape and dtype annotation in `chroma` is checked on every call, in tests only.
install_import_hook("chroma", "beartype.beartype")

# No deadline: the machine is shared, and a slow example is not a wrong one. CI repeats the same examples every time.
settings.register_profile("photochrom", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("photochrom")

LONG = ("bench", "e2e", "integration")
"""Folders whose files take long."""

OPTIONAL_BACKENDS = ("torch", "jax")
"""Markers that are also the name of the package the test needs."""


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Take back what a command has set up: its handler would write to the closed output of its own test."""
    root = logging.getLogger()
    level = root.level
    yield
    root.handlers[:] = [handler for handler in root.handlers if type(handler) is not logging.StreamHandler]
    root.setLevel(level)


@pytest.fixture(scope="session")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Starter]]:
    """Gives what starts programs under a backend, once for all of a test run's files; made when first asked for."""
    made: dict[str, Starter] = {}

    def of(backend: str) -> Starter:
        if backend not in made or not made[backend].is_running:
            made[backend] = Starter(backend, tmp_path_factory.mktemp(backend))
        return made[backend]

    yield of
    for each in made.values():
        if each.is_running:
            each.close()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give one process all files that start programs, so that every backend is imported once for them."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class OneStarter(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file: str = super()._split_scope(nodeid)
            if file not in known:
                known[file] = "starter" if "starter: " in (config.rootpath / file).read_text("utf-8") else file
            return known[file]

    known: dict[str, str] = {}
    return OneStarter(config, log)


def pytest_configure() -> None:
    """Let Ctrl-C be tested where it is ignored, as in the background of a shell's script: children inherit that."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite-golden", action="store_true", help="write the golden files again; review the diff")


@pytest.fixture
def rewrite_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be written instead of compared."""
    return bool(request.config.getoption("--rewrite-golden"))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a backend that is not installed, by name, so that the report shows it; order what is random.

    A file that takes minutes must not be the last to start: the other processes would have nothing left to do.
    """
    items.sort(key=lambda item: item.path.parent.name not in LONG)
    for name in OPTIONAL_BACKENDS:
        if importlib.util.find_spec(name) is None:
            for item in items:
                if item.get_closest_marker(name):
                    item.add_marker(pytest.mark.skip(reason=f"{name} is not installed (see `make torch`)"))
