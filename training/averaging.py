"""The moving average of the weights: what is evaluated, previewed and exported."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np


@contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """Run the body with the optimizer's moving average in place of the weights, then put the weights back.

    Early in a run the average still remembers the start, see `training.config.OptimizerConfig.ema`.
    Does nothing when the optimizer keeps no average.

    Args:
        model: compiled; its optimizer has taken at least one step.
    """
    if not model.optimizer.use_ema:
        yield
        return
    variables = model.trainable_variables
    # Keras offers only the overwriting of the weights; the averages themselves are not public.
    averages = [_to_numpy(average) for average in model.optimizer._model_variables_moving_average]
    kept = [_to_numpy(variable) for variable in variables]
    _assign(variables, averages)
    try:
        yield
    finally:
        _assign(variables, kept)


def _assign(variables: list[keras.Variable], values: list[np.ndarray]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _to_numpy(variable: keras.Variable) -> np.ndarray:
    # A copy: on CPU some backends hand out a view of the very memory that `assign` then overwrites.
    return np.array(keras.ops.convert_to_numpy(variable.value))
