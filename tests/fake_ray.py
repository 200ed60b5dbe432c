"""Stands in for Ray where a test wants no cluster: its workers are objects of this process.

Only what `service.archive.cluster` calls is here, and fails as Ray's own client does.
"""

import asyncio
from collections.abc import Awaitable, Callable
from types import ModuleType, SimpleNamespace
from typing import Any


class RayError(Exception):
    """Root of what goes wrong with workers."""


class RayTaskError(RayError):
    """What a worker's work failed with."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class FakeRay(ModuleType):
    """The module `ray`, connected to a cluster of so many processors.

    Attributes:
        answers: by the name of a worker's method what it does with its arguments; the first one is the worker's number.
        at_remote: called before every `.remote()` with the method's name, `start_worker` for a new worker; may raise.
        workers: how many were started.
        killed: the numbers of those that were stopped.
        is_shut_down: whether the driver has gone.
    """

    def __init__(
        self,
        cpus: int,
        answers: dict[str, Callable[..., Awaitable[object]]],
        at_remote: Callable[[str], None] = lambda _: None,
    ) -> None:
        super().__init__("ray")
        self.exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)
        self.answers, self.at_remote = answers, at_remote
        self.workers = 0
        self.killed: list[int] = []
        self.is_shut_down = False
        self._cpus = cpus

    def init(self, **_: object) -> None:
        """Connect."""

    def shutdown(self) -> None:
        """Leave."""
        self.is_shut_down = True

    def cluster_resources(self) -> dict[str, float]:
        """Return what the cluster has."""
        return {"CPU": float(self._cpus)}

    def put(self, value: object) -> object:
        """Keep an object in the cluster."""
        return value

    def kill(self, worker: Any) -> None:
        """End a worker."""
        self.killed.append(worker.number)

    def remote(self, _: type) -> Any:
        """Return what starts workers of a class, whatever the options."""
        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=self._start_worker))

    def _start_worker(self) -> SimpleNamespace:
        self.at_remote("start_worker")
        self.workers += 1
        number = self.workers
        methods = {name: self._method(name, number) for name in ("load", "ping", "color")}
        return SimpleNamespace(number=number, **methods)

    def _method(self, name: str, number: int) -> SimpleNamespace:
        def remote(*given: object) -> Awaitable[object]:
            self.at_remote(name)
            return self.answers.get(name, _at_once)(number, *given)

        return SimpleNamespace(remote=remote)


async def _at_once(*_: object) -> None:
    await asyncio.sleep(0)
