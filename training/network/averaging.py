"""The moving average of the weights: what is evaluated, previewed and exported."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np


@contextmanager
def averaged_weights(model: keras.Model) -> Iterator[keras.Model]:
    """Run the body with the optimizer's moving average in place of the weights, then put the weights back.

    Early in a run the average still remembers the start, see `training.config.OptimizerConfig.ema`.
    Does nothing when the optimizer keeps no average.

    Args:
        model: compiled; its optimizer has taken at least one step.

    Returns:
        The model.
    """
    if not model.optimizer.use_ema:
        yield model
        return
    variables = model.trainable_variables
    averages = _averages(model)
    kept = [_to_numpy(variable) for variable in variables]
    _assign(variables, averages)
    try:
        yield model
    finally:
        _assign(variables, kept)


def copy_averaged(model: keras.Model, twin: keras.Model) -> None:
    """Put the moving average of a network's weights, and its statistics, into a network of the same shape.

    Args:
        model: compiled; its optimizer has taken at least one step.
        twin: from the same `ModelConfig`.
    """
    kept = model.optimizer.use_ema
    trainable = _averages(model) if kept else [_to_numpy(variable) for variable in model.trainable_variables]
    _assign(twin.trainable_variables, trainable)
    _assign(twin.non_trainable_variables, [_to_numpy(variable) for variable in model.non_trainable_variables])


def _averages(model: keras.Model) -> list[np.ndarray]:
    # Keras offers only the overwriting of the weights; the averages themselves are not public.
    return [_to_numpy(average) for average in model.optimizer._model_variables_moving_average]


def _assign(variables: list[keras.Variable], values: list[np.ndarray]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _to_numpy(variable: keras.Variable) -> np.ndarray:
    # A copy: on CPU some backends hand out a view of the very memory that `assign` then overwrites.
    return np.array(keras.ops.convert_to_numpy(variable.value))
