"""Optimizers with groups, and the learning rate over a run."""

import math
from typing import Any

import keras
from keras import ops

from training.config import OptimizerConfig


class Grouped(keras.optimizers.Optimizer):
    """What our optimizers add to Keras' own: decoupled weight decay on kernels, and a slower rate for the encoder.

    Both factors are applied variable by variable: a gradient scaled down would change nothing where the optimizer
    divides it out.

    The moving average of the weights warms up: after t steps its decay is at most (1 + t) / (10 + t). A fixed decay of
    0.999 would still hold 39 % of the random start after 900 steps.

    References:
        Loshchilov, Hutter, "Decoupled Weight Decay Regularization", ICLR 2019.
    """

    def __init__(self, *, kernel_decay: float = 0.0, encoder_factor: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kernel_decay = kernel_decay
        self.encoder_factor = encoder_factor

    @property
    def ema_momentum(self) -> Any:
        """Return the decay of the moving average at the current step; a tensor once the optimizer is built."""
        if not self.built:
            return self._largest_ema_momentum
        steps = ops.cast(self.iterations, "float32")
        return ops.minimum(self._largest_ema_momentum, (1 + steps) / (10 + steps))

    @ema_momentum.setter
    def ema_momentum(self, largest: float) -> None:
        self._largest_ema_momentum = largest

    def build(self, variables: list[Any]) -> None:
        """Note each variable's share of the learning rate and of the decay, then make the slots."""
        self._rates = [self.encoder_factor if v.path.startswith("encoder_") else 1.0 for v in variables]
        self._decays = [self.kernel_decay if len(v.shape) > 1 else 0.0 for v in variables]
        super().build(variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Decay a kernel, then take the optimizer's own step, both at this variable's own rate."""
        # TensorFlow hands over its own variables, which do not know their path: go by position, as Keras' Adam does.
        position = self._get_variable_index(variable)
        rate = ops.cast(learning_rate, variable.dtype) * self._rates[position]
        if self._decays[position]:
            self.assign_sub(variable, variable * (rate * self._decays[position]))
        super().update_step(gradient, variable, rate)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        own = {"kernel_decay": self.kernel_decay, "encoder_factor": self.encoder_factor}
        return super().get_config() | own | {"ema_momentum": self._largest_ema_momentum}


@keras.saving.register_keras_serializable("photochrom")
class GroupedAdamW(Grouped, keras.optimizers.Adam):
    """Adam in groups; with decay, AdamW."""


@keras.saving.register_keras_serializable("photochrom")
class GroupedRMSprop(Grouped, keras.optimizers.RMSprop):
    """RMSprop in groups."""


@keras.saving.register_keras_serializable("photochrom")
class GroupedSGD(Grouped, keras.optimizers.SGD):
    """Stochastic gradient descent with momentum, in groups."""


def build_optimizer(config: OptimizerConfig) -> Grouped:
    """Return the recipe's optimizer; it also keeps the moving average of the weights."""
    shared: dict[str, Any] = {
        "learning_rate": config.learning_rate,
        "global_clipnorm": config.clip_norm,
        "use_ema": config.ema > 0,
        "ema_momentum": config.ema or 0.99,
        "kernel_decay": 0.0 if config.name == "adam" else config.weight_decay,
        "encoder_factor": config.encoder_factor,
    }
    if config.name == "rmsprop":
        return GroupedRMSprop(**shared)
    if config.name == "sgd":
        return GroupedSGD(momentum=config.momentum, **shared)
    return GroupedAdamW(beta_1=config.beta_1, beta_2=config.beta_2, **shared)


def learning_rate_at(config: OptimizerConfig, progress: float, epoch: float) -> float:
    """Return the learning rate at a point of the run.

    Args:
        config: peak, warm-up and schedule.
        progress: how much of the run is done, [0, 1].
        epoch: epochs done, with the fraction of the current one, >= 0.

    References:
        Loshchilov, Hutter, "SGDR", ICLR 2017 (cosine). Smith, "Cyclical Learning Rates for Training Neural Networks",
        WACV 2017 (triangle).
    """
    if progress < config.warmup:
        return config.learning_rate * max(progress / config.warmup, 1e-3)
    match config.schedule:
        case "constant":
            return config.learning_rate
        case "step":
            return config.learning_rate * config.step_factor ** math.floor(epoch / config.step_epochs)
        case "cyclic":
            place = epoch / config.cycle_epochs % 1
            return config.cycle_low + (config.learning_rate - config.cycle_low) * (1 - abs(2 * place - 1))
        case "cosine":
            done = (min(progress, 1.0) - config.warmup) / (1 - config.warmup)
            return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done * config.cosine_share))
