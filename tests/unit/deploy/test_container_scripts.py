"""What the containers run, without containers: the supervisor of the service, steps of training, the health check."""

import importlib.util
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]
PATIENCE_S = 60
"""The machine may be busy with other things."""
KEEP = """
import importlib.util, os, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("serve", sys.argv[1])
serve = importlib.util.module_from_spec(spec)
spec.loader.exec_module(serve)
fake = [sys.executable, "-S", "-c", {fake!r}, sys.argv[3]]
attempt = [sys.executable, "-S", "-c", {attempt!r}]
quick = dict(watch_s=0.05, retry_s=0.1, try_s={try_s!r}, end_s=0.5)
sys.exit(serve.Supervisor(Path(sys.argv[2]), serve=fake, attempt=attempt, **quick).run())
"""
ATTEMPT = "import sys; sys.exit(3 if b'broken' in open(sys.argv[1], 'rb').read() else 0)"
WAITING = """
import os, signal, sys
with open(sys.argv[1], "a") as log: log.write(os.environ.get("PHOTOCHROM_MODEL", "shipped") + chr(10))
signal.pause()
"""


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "docker" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


class Kept:
    """A supervisor in a process of its own, over a service that only writes down which model it was given."""

    def __init__(self, folder: Path, fake: str = WAITING, attempt: str = ATTEMPT, *, try_s: float = PATIENCE_S) -> None:
        self.model, self.log, self.said = folder / "model.onnx", folder / "log", folder / "said"
        with self.said.open("wb") as stream:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-c", KEEP.format(fake=fake, attempt=attempt, try_s=try_s)),
                    *(ROOT / "docker" / "serve.py", self.model, self.log),
                ],
                stderr=stream,
            )

    def put(self, data: bytes) -> None:
        """Put a model there as export does, in one piece."""
        beside = self.model.with_suffix(".new")
        beside.write_bytes(data)
        beside.replace(self.model)

    def served(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def end(self) -> int:
        self.process.terminate()
        return self.process.wait(PATIENCE_S)

    def says(self, text: str) -> bool:
        return text in self.said.read_text()


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    made = Kept(tmp_path)
    yield made
    made.end()


def test_a_new_model_is_served_and_a_broken_one_is_not(kept: Kept) -> None:
    until(lambda: kept.served() == ["shipped"])
    kept.put(b"a model")
    until(lambda: kept.served() == ["shipped", str(kept.model)])
    kept.put(b"a broken one")
    until(lambda: kept.says("does not work: the one before is served on"))
    kept.put(b"another model")
    until(lambda: len(kept.served()) == 3)
    assert kept.process.poll() is None


def test_a_trial_that_was_killed_says_nothing_of_the_model(tmp_path: Path) -> None:
    """As for want of memory: it is tried again."""
    killed_once = (
        "import os, pathlib, signal, sys\n"
        f"mark = pathlib.Path({str(tmp_path / 'tried')!r})\n"
        "if not mark.exists(): mark.touch(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    kept = Kept(tmp_path, attempt=killed_once)
    until(lambda: kept.served() == ["shipped"])
    kept.put(b"a model")
    until(lambda: kept.served() == ["shipped", str(kept.model)])
    assert kept.says("ended with -9: it is tried again")
    assert not kept.says("does not work")
    kept.end()


def test_a_trial_that_never_ends_holds_nothing_up(tmp_path: Path) -> None:
    kept = Kept(tmp_path, attempt="import signal; signal.pause()", try_s=0.5)
    until(lambda: kept.served() == ["shipped"])
    kept.put(b"a model")
    until(lambda: kept.says("ended with -9: it is tried again"))
    assert kept.served() == ["shipped"]
    assert kept.end() == 0


def test_a_service_that_does_not_end_is_killed(tmp_path: Path) -> None:
    deaf = "import os, signal\nif 'PHOTOCHROM_MODEL' not in os.environ: signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    kept = Kept(tmp_path, deaf + WAITING)
    until(lambda: kept.served() == ["shipped"])
    kept.put(b"a model")
    until(lambda: kept.served() == ["shipped", str(kept.model)])
    assert kept.says("it hangs, and is killed")
    kept.end()


def test_a_stopped_service_has_ended_well(kept: Kept) -> None:
    until(lambda: kept.served() == ["shipped"])
    assert kept.end() == 0


@pytest.mark.parametrize(("data", "served"), [(b"a model", "model.onnx"), (b"a broken one", "shipped")])
def test_the_model_that_is_there_at_the_start_is_served_if_it_works(tmp_path: Path, data: bytes, served: str) -> None:
    (tmp_path / "model.onnx").write_bytes(data)
    kept = Kept(tmp_path)
    until(lambda: bool(kept.served()))
    kept.end()
    assert Path(kept.served()[0]).name == served


@pytest.mark.parametrize(("end", "status"), [("sys.exit(3)", 3), ("os.kill(os.getpid(), 9)", 137)])
def test_a_service_that_ends_by_itself_ends_the_container(tmp_path: Path, end: str, status: int) -> None:
    assert Kept(tmp_path, f"import os, sys; {end}").process.wait(PATIENCE_S) == status


def test_the_real_attempt_refuses_what_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    result = subprocess.run(
        [*load("serve").TRY, tmp_path / "model.onnx"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert result.returncode == load("serve").BROKEN
    assert "model.onnx is not an ONNX model" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """docker/train.py, which leaves pytest's signals alone."""
    train = load("train")
    monkeypatch.setattr(train.signal, "signal", lambda *_: None)
    return train


def test_training_prepares_runs_calibrates_and_exports(steps: ModuleType) -> None:
    folders = {"photos": Path("/photos"), "work": Path("/work"), "models": Path("/models")}
    commands = [" ".join(command[2:]) for command in steps.steps("tiny", ["--epochs", "1"], **folders)]
    assert commands == [
        "-m training.cli prepare /photos /work/shards --recipe tiny",
        "-m training.cli run tiny --data /work/shards --run /work/runs/tiny --epochs 1",
        "-m training.cli calibrate /work/runs/tiny --data /work/shards",
        "-m export /work/runs/tiny --out /models/model.onnx",
    ]


def test_a_step_that_fails_is_the_last(steps: ModuleType, tmp_path: Path) -> None:
    def python(text: str) -> list[str]:
        return [sys.executable, "-S", "-c", text]

    after = tmp_path / "after"
    failing = [python("pass"), python("import sys; sys.exit(4)"), python(f"open({str(after)!r}, 'w')")]
    assert steps.Steps().run(iter(failing)) == 4
    assert not after.exists()
    assert steps.Steps().run(iter(failing[::2])) == 0
    assert after.exists()


def test_a_signal_reaches_the_step_and_ends_the_rest(steps: ModuleType) -> None:
    made = steps.Steps()
    waiting = [sys.executable, "-S", "-c", "import signal; signal.pause()"]
    timer = threading.Timer(0.2, lambda: made.stop(signal.SIGTERM, None))
    timer.start()
    assert made.run(iter([waiting, ["/nonexistent/never/run"]])) == 128 + signal.SIGTERM
    timer.join()


@pytest.mark.parametrize("words", [[], ["--epochs", "1"]])
def test_training_needs_a_recipe(
    steps: ModuleType, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", *words])
    assert steps.main() == 2
    assert "RECIPE" in capsys.readouterr().err


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_health_is_what_readiness_says(
    status: int, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health/ready" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        monkeypatch.setenv("PHOTOCHROM_PORT", str(server.server_port))
        assert load("health").main() == code
    assert ("503" in capsys.readouterr().err) == (code == 1)
    assert load("health").main() == 1  # Nobody listens any more.
