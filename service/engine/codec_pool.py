"""One bounded pool of threads for decoding, composing and encoding."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import ParamSpec, TypeVar

from service.machine import give_way

P = ParamSpec("P")
T = TypeVar("T")


class CodecPool:
    """Runs blocking work for the event loop."""

    def __init__(self, threads: int) -> None:
        """Start without any thread.

        Args:
            threads: how many there may be.
        """
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="codec", initializer=give_way)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run blocking work; when cancelled, return only once its thread has stopped.

        A thread cannot be interrupted, and as long as it runs its pixels are in memory and must stay admitted.
        """
        future = self._pool.submit(work, *args, **kwargs)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if not future.cancelled():
                with suppress(Exception):  # Nobody waits for it.
                    await asyncio.wrap_future(future)
            raise

    def start(self, work: Callable[[], object]) -> None:
        """Have work done that nobody waits for."""
        self._pool.submit(work)

    def close(self) -> None:
        """Finish what is under way, then stop the threads."""
        self._pool.shutdown()
