"""What a run does: frozen dataclasses, one field an option, checked when made."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from chroma.bins import Q
from training import RecipeError


@dataclass(frozen=True)
class DataConfig:
    """Photographs -> samples.

    Attributes:
        crop_px: side of the square network input; a multiple of 32.
        smallest_crop: random square crops are this share of the short side or more, (0, 1].
        crop_probability: how often a random crop is taken instead of the centered square.
        contrast: L is stretched around 50 by a factor in [1 - contrast, 1 + contrast].
        offset: L is shifted by up to this much, Lab units.
        noise: largest standard deviation of noise added to L, Lab units (a quarter of the samples get some).
        blur_px: largest sigma of a Gaussian blur on L, px (a quarter of the samples get some).
        gray_chroma: a picture whose |a| and |b| never exceed this is gray and carries no color loss, Lab units.
        scenes: which label column is the scene head's target.
        repeat: (data set name, times) pairs: those photographs appear several times an epoch.
        validation_pictures: how many validation photographs are scored after each epoch.
        prior_pictures: the prior is counted on at most this many training photographs.
    """

    crop_px: int = 128
    smallest_crop: float = 0.62
    crop_probability: float = 0.7
    contrast: float = 0.15
    offset: float = 6.0
    noise: float = 0.0
    blur_px: float = 0.0
    gray_chroma: float = 5.0
    scenes: Literal["scene", "scene_coarse"] = "scene_coarse"
    repeat: tuple[tuple[str, int], ...] = ()
    validation_pictures: int = 512
    prior_pictures: int = 30_000

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            RecipeError: an option out of range.
        """
        _require(self.crop_px > 0 and self.crop_px % 32 == 0, f"crop_px must be a multiple of 32, is {self.crop_px}")
        _require(0 < self.smallest_crop <= 1, f"smallest_crop must be in (0, 1], is {self.smallest_crop}")
        _require(0 <= self.crop_probability <= 1, f"crop_probability must be in [0, 1], is {self.crop_probability}")
        _require(0 <= self.contrast < 1, f"contrast must be in [0, 1), is {self.contrast}")
        lowest = min(self.offset, self.noise, self.blur_px, self.gray_chroma)
        _require(lowest >= 0, "offset, noise, blur_px and gray_chroma must not be negative")
        _require(all(times >= 1 for _, times in self.repeat), "repeat shows a data set at least once")
        _require(self.validation_pictures > 0, "validation_pictures must be at least 1")
        _require(self.prior_pictures > 0, "prior_pictures must be at least 1")


@dataclass(frozen=True)
class ModelConfig:
    """The network.

    Attributes:
        encoder: `unet` from scratch, or `efficientnet_lite2` with ImageNet weights.
        pretrained: start the encoder from its published weights, where it has any.
        frozen_stages: how many of the encoder's first stages keep their pretrained weights.
        unet_channels: channels of the U-Net's levels, at strides 1, 2, 4, ...
        decoder_channels: channels of the decoder, from the deepest stride up to stride 4.
        head_channels: channels of the feature that the classification head reads.
        regression_channels: channels of the regression head's hidden layer.
        global_features: length of the global context vector.
        dropout: on the global context vector, [0, 1).
    """

    encoder: Literal["unet", "efficientnet_lite2"] = "efficientnet_lite2"
    pretrained: bool = True
    frozen_stages: int = 2
    unet_channels: tuple[int, ...] = (64, 128, 256, 512, 1024)
    decoder_channels: tuple[int, ...] = (256, 256, 192, 192)
    head_channels: int = 256
    regression_channels: int = 64
    global_features: int = 256
    dropout: float = 0.2

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            RecipeError: an option out of range.
        """
        levels = len(self.unet_channels) - 2 if self.encoder == "unet" else 4
        _require(3 <= len(self.unet_channels) <= 6, "a U-Net has 3 to 6 levels")
        _require(
            len(self.decoder_channels) == levels,
            f"decoder_channels needs {levels} entries for this encoder, has {len(self.decoder_channels)}",
        )
        _require(self.frozen_stages >= 0, "frozen_stages must not be negative")
        _require(0 <= self.dropout < 1, f"dropout must be in [0, 1), is {self.dropout}")


@dataclass(frozen=True)
class LossConfig:
    """One loss a head, and their weights in the sum.

    Attributes:
        neighbors: k nearest bins of the soft encoding, 1 to 313.
        sigma: width of the soft encoding's Gaussian, Lab units, > 0.
        ties: which bins win among equally near ones, see `chroma.soft_encoding.build_table`.
        ab_logits: weight of the soft-encoding cross-entropy, >= 0.
        ab: weight of the regression loss, >= 0.
        scene_logits: weight of the scene cross-entropy, >= 0.
        label_smoothing: of the scene labels, [0, 1).
        rebalance: weigh pixels by how rare their color is (the original behavior; the cause of the red noise).
        rebalance_lambda: share of the uniform distribution in the rebalancing weight, [0, 1].
        rebalance_alpha: exponent of the rebalancing weight, >= 0.
    """

    neighbors: int = 10
    sigma: float = 5.0
    ties: Literal["lowest_index", "ball_tree"] = "lowest_index"
    ab_logits: float = 1.0
    ab: float = 5.0
    scene_logits: float = 0.1
    label_smoothing: float = 0.0
    rebalance: bool = False
    rebalance_lambda: float = 0.5
    rebalance_alpha: float = 1.0

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            RecipeError: an option out of range.
        """
        _require(1 <= self.neighbors <= Q, f"neighbors must be in [1, {Q}], is {self.neighbors}")
        _require(self.sigma > 0, f"sigma must be positive, is {self.sigma}")
        _require(0 <= self.rebalance_lambda <= 1, f"rebalance_lambda must be in [0, 1], is {self.rebalance_lambda}")
        _require(self.rebalance_alpha >= 0, f"rebalance_alpha must not be negative, is {self.rebalance_alpha}")
        _require(min(self.ab_logits, self.ab, self.scene_logits) >= 0, "loss weights must not be negative")
        _require(0 <= self.label_smoothing < 1, f"label_smoothing must be in [0, 1), is {self.label_smoothing}")
        _require(self.ties == "lowest_index" or self.neighbors == 5, "the ball tree's ties are stored for 5 neighbors")


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW and its schedule.

    Attributes:
        learning_rate: peak, for the decoder and the heads.
        encoder_factor: the encoder learns at this share of the learning rate, >= 0.
        weight_decay: decoupled, on kernels only, times the learning rate, >= 0.
        beta_1: decay of the gradient's mean, [0, 1).
        beta_2: decay of the squared gradient's mean, [0, 1).
        clip_norm: global norm of the gradient is clipped to this.
        schedule: how the learning rate goes down.
        warmup: share of the run in which the learning rate rises from 0, [0, 1).
        ema: decay of the averaged weights that are evaluated and exported, [0, 1).
    """

    learning_rate: float = 1.5e-3
    encoder_factor: float = 0.2
    weight_decay: float = 0.02
    beta_1: float = 0.9
    beta_2: float = 0.99
    clip_norm: float = 5.0
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: float = 0.05
    ema: float = 0.999

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            RecipeError: an option out of range.
        """
        _require(self.learning_rate > 0 and self.clip_norm > 0, "learning_rate and clip_norm must be positive")
        _require(
            self.encoder_factor >= 0 and self.weight_decay >= 0, "encoder_factor and weight_decay must not be negative"
        )
        _require(0 <= self.beta_1 < 1 and 0 <= self.beta_2 < 1, "beta_1 and beta_2 must be in [0, 1)")
        _require(0 <= self.warmup < 1 and 0 <= self.ema < 1, "warmup and ema must be in [0, 1)")


@dataclass(frozen=True)
class Recipe:
    """A named configuration: everything that decides what comes out of a run.

    Attributes:
        name: how the run is called on the command line.
        epochs: passes over the training split.
        batch_size: photographs a step.
        seed: of weights, order and augmentation.
        deterministic: make the backend's kernels reproducible (slower); resuming is then bit-exact.
        mixed_precision: compute in bfloat16, keep weights in float32.
        size: default inference size of the exported model, px.
        data: photographs -> samples.
        model: the network.
        loss: one loss a head.
        optimizer: AdamW and its schedule.
    """

    name: str
    epochs: int = 4
    batch_size: int = 32
    seed: int = 0
    deterministic: bool = False
    mixed_precision: bool = False
    size: int = 192
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            RecipeError: an option out of range.
        """
        _require(self.epochs > 0 and self.batch_size > 0, "epochs and batch_size must be at least 1")
        _require(self.size > 0 and self.size % 32 == 0, f"size must be a multiple of 32, is {self.size}")

    def to_json(self) -> str:
        """Return the recipe as indented JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` gives.

        Raises:
            RecipeError: not JSON, or an unknown or missing option.
        """
        parts = {"data": DataConfig, "model": ModelConfig, "loss": LossConfig, "optimizer": OptimizerConfig}
        try:
            fields = json.loads(text)
            for name, part in parts.items():
                fields[name] = part(**{key: _tuples(value) for key, value in fields[name].items()})
            return cls(**fields)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RecipeError(f"not a recipe: {error}") from error

    def digest(self) -> str:
        """Return a short hash of everything in the recipe; two runs with equal digests do the same."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]


def _tuples(value: Any) -> Any:
    """JSON has lists where the recipe has tuples."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise RecipeError(message)
