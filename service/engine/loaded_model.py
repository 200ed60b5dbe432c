"""A model that answers: its session, the thread that runs it, and what makes answers of its outputs."""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from chroma.gamut import gamut_table
from service.engine.batcher import Batcher, batch_sizes_up_to
from service.engine.codec_pool import CodecPool
from service.engine.colorizer import colorize
from service.engine.making import Maker
from service.engine.options import Options
from service.engine.precision import open_session
from service.engine.session import Session, shipped_model
from service.machine import give_way
from service.pictures.decode import Picture
from service.settings import Settings
from service.telemetry import Metrics


class LoadedModel:
    """One model, warmed up; requests under way keep theirs when another one is taken up.

    Attributes:
        session: the model.
        max_batch: most pictures in one inference.
        batcher: its inference thread.
        maker: makes the answers of what it says.
        users: how many requests are under way with it.
        identity: what its answers depend on beside their recipes: program, file, runtime, precision.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        codecs: CodecPool,
        session: Session | None = None,
        *,
        version: str,
        free_threads: Callable[[], int],
    ) -> None:
        """Load the file, run it once for real, start its thread.

        Args:
            settings: the operator's.
            metrics: where to count.
            codecs: where answers are made.
            session: the model, where it is loaded already; None reads the file.
            version: of this program; part of every entity tag.
            free_threads: how many threads a picture may take now.

        Raises:
            StartupError: the model or the device does not work; the text says why.
        """
        if session is None:
            with ThreadPoolExecutor(1, initializer=give_way) as loader:  # A runtime's own threads inherit it.
                loading = loader.submit(
                    open_session,
                    settings.model or shipped_model(),
                    device=settings.device,
                    threads=settings.threads,
                    precision=settings.precision,
                )
                gamut_table()  # Takes a sixth of a second, which the runtime takes longer for.
                session = loading.result()
        self.session = session
        self.max_batch = settings.max_batch or self.session.default_batch
        self.session.warm_up(batch_sizes_up_to(self.max_batch))
        # The first composition makes tables of its own.
        colorize(Picture(np.zeros((1, 1), np.uint8)), Options(), self.session)
        self.batcher = Batcher(
            self.session.run,
            max_batch=self.max_batch,
            max_queue=self.session.threads + 2 * self.max_batch,
            on_batch=metrics.batch_size.observe,
        )
        self.maker = Maker(
            self.session.stamp,
            codecs,
            free_threads=free_threads,
            max_answer_bytes=settings.max_answer_bytes,
            on_picture=metrics.output_bytes.observe,
        )
        self.users = 0
        self.identity = f"{version} {session.digest} {session.provider} {session.runtime.name} {session.precision}"

    def tag(self, recipe: str) -> str:
        """Return the entity tag of what the model makes by a recipe."""
        return tag_of(self.identity, recipe)

    def close(self) -> None:
        """Answer what waits, then stop the thread."""
        self.batcher.close()


def tag_of(identity: str, recipe: str) -> str:
    """Return the entity tag of what a model of this `LoadedModel.identity` makes by a recipe."""
    return hashlib.sha256(f"{identity} {recipe}".encode()).hexdigest()[:32]
