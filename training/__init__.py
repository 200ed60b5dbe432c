"""Training: photographs -> a multi-head Keras 3 network that turns L into ab.

Runs on any Keras 3 backend (``KERAS_BACKEND=tensorflow``, ``torch`` or ``jax``); reading data needs none of them.

Errors:
    TrainingError
        RecipeError          the recipe's options do not fit together, or there is no such recipe
        DataError            the photographs cannot be found or read
        PrepareError         `prepare` cannot write, or its folder holds something else
        CheckpointError      a checkpoint is broken, or belongs to another recipe
        RunFolderError       a file of the run folder cannot be written or read, or another process holds the folder
        DistributionError    the processes of a distributed run do not fit together
        NonFiniteLossError   a head's loss, or a weight, is NaN or infinite
"""


class TrainingError(Exception):
    """Something went wrong in training that the user can fix."""


class RecipeError(TrainingError):
    """The recipe's options do not fit together, or there is no such recipe."""


class DataError(TrainingError):
    """The photographs cannot be found or read."""


class PrepareError(TrainingError):
    """`prepare` cannot write, or its folder holds something else."""


class CheckpointError(TrainingError):
    """A checkpoint is broken, or belongs to another recipe."""


class RunFolderError(TrainingError):
    """A file of the run folder cannot be written or read, or another process holds the folder."""


class DistributionError(TrainingError):
    """The processes of a distributed run do not fit together."""


class NonFiniteLossError(TrainingError):
    """A head's loss, or a weight, is NaN or infinite."""
