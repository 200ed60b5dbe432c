"""One run on all devices of one or several processes, through `keras.distribution` on JAX.

Every process runs the same program on its share of each batch; the devices compute as one. A mean over the batch is
one over the whole batch, in the losses and in batch normalization alike, so that the weights are those of a single
device with the same batch, up to rounding. Process 0 alone evaluates and touches the run folder; the others get prior
and weights from it.
"""

import io
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from training import DistributionError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cluster:
    """Which processes train together.

    Attributes:
        processes: how many, >= 1.
        index: of this one, from 0.
        coordinator: host:port at which process 0 can be reached; not needed for one process.
    """

    processes: int = 1
    index: int = 0
    coordinator: str | None = None

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            DistributionError: they do not fit together.
        """
        if self.processes < 1 or not 0 <= self.index < self.processes:
            raise DistributionError(
                f"--process-index must be in [0, {self.processes - 1}] for --processes {self.processes}"
            )
        host, _, port = (self.coordinator or "").rpartition(":")
        if self.processes > 1 and not (host and port.isdecimal()):
            raise DistributionError("several processes need --coordinator HOST:PORT, at which process 0 can be reached")


@dataclass(frozen=True)
class Team:
    """The processes of a run that have found each other.

    Attributes:
        processes: how many.
        index: of this one.
        devices: how many they have together.
    """

    processes: int
    index: int
    devices: int

    def from_first(self, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """Let process 0 make arrays and give them to all.

        Args:
            make: called in process 0 only.

        Returns:
            The arrays, in every process.

        Raises:
            DistributionError: in the others, when process 0 could not.
        """
        if self.index == 0:
            try:
                arrays = make()
            except BaseException:
                self._broadcast(b"")  # else the others would wait for ever
                raise
            data = io.BytesIO()
            np.savez(data, **arrays)
            self._broadcast(data.getvalue())
            return arrays
        data = io.BytesIO(self._broadcast(None))
        if not data.getbuffer().nbytes:
            raise DistributionError("process 0 stopped before the first step: see what it says")
        with np.load(data) as file:
            return dict(file)

    def _broadcast(self, data: bytes | None) -> bytes:
        """Return the bytes of process 0."""
        if self.processes == 1:
            return data or b""
        from jax.experimental.multihost_utils import broadcast_one_to_all

        length = int(broadcast_one_to_all(np.array(len(data or b""), np.int32)))
        own = np.frombuffer(data, np.uint8) if data else np.zeros(length, np.uint8)
        return np.asarray(broadcast_one_to_all(own)).astype(np.uint8).tobytes()


def join(cluster: Cluster, *, batch_size: int) -> Team:
    """Find the other processes, and make Keras train on all devices from here on.

    Must come before anything is computed in this process.

    Args:
        cluster: which processes.
        batch_size: photographs a step, of all processes together.

    Raises:
        DistributionError: the backend is not JAX, the processes do not find each other, or the batch cannot be shared
            out evenly.
    """
    import keras

    backend = keras.backend.backend()
    if backend != "jax":
        raise DistributionError(f"several devices need KERAS_BACKEND=jax, it is {backend}: see docs/training.md")
    import jax

    if cluster.processes > 1:
        try:
            jax.config.update("jax_cpu_collectives_implementation", "gloo")
            jax.distributed.initialize(cluster.coordinator, cluster.processes, cluster.index)
        except (RuntimeError, ValueError) as error:
            raise DistributionError(f"no connection through {cluster.coordinator}: {error}") from error
    team = Team(jax.process_count(), jax.process_index(), jax.device_count())
    if batch_size % team.devices:
        raise DistributionError(
            f"batch_size {batch_size} cannot be shared evenly among {team.devices} devices: --set batch_size=N"
        )
    log.info("process %d of %d, %d devices together", team.index, team.processes, team.devices)
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    return team


@contextmanager
def one_device() -> Iterator[None]:
    """Let Keras compute on this process's first device for the length of the body."""
    import keras

    whole = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(whole)
