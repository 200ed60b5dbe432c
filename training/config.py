"""What a run does: frozen dataclasses, one field an option, checked when made."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self

from chroma import signature
from chroma.bins import Q
from training import RecipeError

SCENE_COLUMNS: Final = ("scene", "scene_coarse")
AB_SAMPLINGS: Final = ("area", "nearest")
ENCODERS: Final = ("unet", "vgg", "efficientnet_lite2", "multi_level")
DECODERS: Final = ("skips", "plain", "unet")
TIES: Final = ("lowest_index", "ball_tree")
REGRESSIONS: Final = ("smooth_l1", "mse")
SMOOTHINGS: Final = ("ab", "index")
OPTIMIZERS: Final = ("adamw", "adam", "rmsprop", "sgd")
SCHEDULES: Final = ("cosine", "constant", "step", "cyclic")
DECODES: Final = ("vividness", "argmax", "annealed")


@dataclass(frozen=True)
class DataConfig:
    """Photographs -> samples.

    Attributes:
        crop_px: side of the square network input; a multiple of 32.
        crop_sides: sides of the training input instead, px, multiples of 32: each batch takes one of them by chance, so
            that the network knows things at several sizes. A side listed twice comes twice as often. Validation keeps
            to `crop_px`.
        smallest_crop: random square crops are this share of the short side or more, (0, 1].
        crop_probability: how often a random crop is taken instead of the centered square.
        contrast: L is stretched around 50 by a factor in [1 - contrast, 1 + contrast].
        offset: L is shifted by up to this much, Lab units.
        noise: largest standard deviation of noise added to L, Lab units (a quarter of the samples get some).
        blur_px: largest sigma of a Gaussian blur on L, px (a quarter of the samples get some).
        hue_jitter: the target colors are turned by up to this much, degrees (the original's augmentation; it teaches
            purple grass).
        plates: this share of the training samples show L as an old photograph has it, `training.data.plates`, [0, 1].
        plates_rise: the share rises over so many steps, from a fifth of it; 0 for the same from the start.
        mounts: this share of the training samples show the photograph on a mount, see `training.data.mounts`, [0, 1].
        ab_sampling: how ab comes to a quarter of the size: mean over the area, or one pixel of it (the original's).
        gray_chroma: a picture whose |a| and |b| never exceed this is gray, Lab units.
        mask_gray: gray pictures carry no color loss and do not count in the prior (the original kept them).
        scenes: which label column is the scene head's target.
        scene_top_k: of a scene's class probabilities, this many of the largest are kept and made to sum to 1; 1 is a
            hard label.
        repeat: (data set name, times) pairs: those photographs appear several times an epoch.
        validation_pictures: how many validation photographs are scored after each epoch.
        prior_pictures: the prior is counted on at most this many training photographs.
    """

    crop_px: int = 128
    crop_sides: tuple[int, ...] = ()
    smallest_crop: float = 0.62
    crop_probability: float = 0.7
    contrast: float = 0.15
    offset: float = 6.0
    noise: float = 0.0
    blur_px: float = 0.0
    hue_jitter: float = 0.0
    plates: float = 0.0
    plates_rise: int = 0
    mounts: float = 0.0
    ab_sampling: Literal["area", "nearest"] = "area"
    gray_chroma: float = 5.0
    mask_gray: bool = True
    scenes: Literal["scene", "scene_coarse"] = "scene_coarse"
    scene_top_k: int = 1
    repeat: tuple[tuple[str, int], ...] = ()
    validation_pictures: int = 512
    prior_pictures: int = 30_000

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            RecipeError: an option out of range.
        """
        _require(self.crop_px > 0 and self.crop_px % 32 == 0, f"crop_px must be a multiple of 32, is {self.crop_px}")
        _require(
            all(side > 0 and side % 32 == 0 for side in self.crop_sides),
            f"crop_sides must be multiples of 32, are {self.crop_sides}",
        )
        _require(0 < self.smallest_crop <= 1, f"smallest_crop must be in (0, 1], is {self.smallest_crop}")
        _require(0 <= self.crop_probability <= 1, f"crop_probability must be in [0, 1], is {self.crop_probability}")
        _require(0 <= self.contrast < 1, f"contrast must be in [0, 1), is {self.contrast}")
        lowest = min(self.offset, self.noise, self.blur_px, self.gray_chroma, self.hue_jitter)
        _require(lowest >= 0, "offset, noise, blur_px, gray_chroma and hue_jitter must not be negative")
        _require(self.hue_jitter <= 180, f"hue_jitter must be at most 180 degrees, is {self.hue_jitter}")
        _require(0 <= self.plates <= 1, f"plates must be in [0, 1], is {self.plates}")
        _require(self.plates_rise >= 0, f"plates_rise must not be negative, is {self.plates_rise}")
        _require(0 <= self.mounts <= 1, f"mounts must be in [0, 1], is {self.mounts}")
        _among("ab_sampling", self.ab_sampling, AB_SAMPLINGS)
        _among("scenes", self.scenes, SCENE_COLUMNS)
        _require(self.scene_top_k >= 1, f"scene_top_k must be at least 1, is {self.scene_top_k}")
        _require(all(times >= 1 for _, times in self.repeat), "repeat shows a data set at least once")
        _require(self.validation_pictures > 0, "validation_pictures must be at least 1")
        _require(self.prior_pictures > 0, "prior_pictures must be at least 1")


@dataclass(frozen=True)
class ModelConfig:
    """The network.

    Attributes:
        encoder: `unet` (the original scene-context U-Net) and `vgg` (the ECCV16 network) from scratch;
            `efficientnet_lite2` with ImageNet weights; `multi_level`: its features of every level, pooled and
            concatenated, beside a U-Net from scratch.
        decoder: `skips` joins the encoder's features at every stride, one convolution each; `unet` does so as the
            original: enlarge, convolve, join, convolve twice, and, on the U-Net's way down too, one normalization a
            level, after the last ReLU; `plain` only enlarges (the ECCV16 network).
        scene_fusion: the global context modulates the decoder; without it the scene head feeds nothing back (the
            original).
        segmentation_classes: of the segmentation head, trained where the data has label maps; 0 for no such head.
        pretrained: start the encoder from its published weights, where it has any.
        frozen_stages: how many of the encoder's first stages keep their pretrained weights.
        unet_channels: channels of the U-Net's levels, at strides 1, 2, 4, ...
        decoder_channels: channels of the decoder, from the deepest stride up to stride 4; one entry a stride with
            `skips`, one an enlargement with `plain` and `unet`.
        head_channels: channels of the 1x1 convolution before the heads; 0 for none (the originals).
        regression_channels: channels of the regression head's hidden layer; 0 for one convolution and a tanh, in units
            of 128 (the original).
        global_features: length of the global context vector.
        dropout: on the global context vector, [0, 1).
    """

    encoder: Literal["unet", "vgg", "efficientnet_lite2", "multi_level"] = "efficientnet_lite2"
    decoder: Literal["skips", "plain", "unet"] = "skips"
    scene_fusion: bool = True
    segmentation_classes: int = 0
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
        _among("encoder", self.encoder, ENCODERS)
        _among("decoder", self.decoder, DECODERS)
        _require(3 <= len(self.unet_channels) <= 6, "a U-Net has 3 to 6 levels")
        strides = {"efficientnet_lite2": 4, "vgg": 2}.get(self.encoder, len(self.unet_channels) - 2)
        levels = strides if self.decoder == "skips" else strides - 1
        _require(
            len(self.decoder_channels) == levels,
            f"decoder_channels needs {levels} entries for encoder {self.encoder!r} and decoder {self.decoder!r}, has "
            f"{len(self.decoder_channels)}",
        )
        widths = (*self.unet_channels, *self.decoder_channels, self.global_features)
        _require(min(widths) > 0, "unet_channels, decoder_channels and global_features must be at least 1")
        _require(min(self.head_channels, self.regression_channels) >= 0, "head_channels must not be negative")
        _require(self.segmentation_classes >= 0, "segmentation_classes must not be negative")
        _require(self.frozen_stages >= 0, "frozen_stages must not be negative")
        _require(0 <= self.dropout < 1, f"dropout must be in [0, 1), is {self.dropout}")

    @property
    def heads(self) -> tuple[str, ...]:
        """Return the names of the heads this network has, all of them trained; export drops the segmentation."""
        heads = (signature.AB_LOGITS, signature.AB, signature.SCENE_LOGITS)
        return (*heads, signature.SEGMENTATION_LOGITS) if self.segmentation_classes else heads


@dataclass(frozen=True)
class LossConfig:
    """One loss a head, and their weights in the sum.

    Attributes:
        neighbors: k nearest bins of the soft encoding, 1 to 313.
        sigma: width of the soft encoding's Gaussian, Lab units, > 0.
        ties: which bins win among equally near ones, see `chroma.soft_encoding.build_table`.
        probabilities: the cross-entropy takes the logarithm of clipped probabilities instead of logits (the original;
            a bin below 1e-7 gets no gradient).
        ab_logits: weight of the soft-encoding cross-entropy, >= 0.
        ab: weight of the regression loss, >= 0.
        regression: `smooth_l1`, or `mse`: half the squared error, ab in units of 128 (the original).
        scene_logits: weight of the scene cross-entropy, >= 0.
        segmentation_logits: weight of the segmentation loss, Dice plus cross-entropy, >= 0.
        segmentation_cross_entropy: weight of the cross-entropy inside the segmentation loss, where Dice has 1; 0 for
            Dice alone (the original).
        label_smoothing: of the scene labels, [0, 1).
        rebalance: weigh pixels by how rare their color is (the original behavior; the cause of the red noise).
        rebalance_lambda: share of the uniform distribution in the rebalancing weight, [0, 1].
        rebalance_alpha: exponent of the rebalancing weight, >= 0.
        prior_smoothing: of the prior behind the rebalancing weight: over ab, or over the bins' index (the original;
            neighbors in the list are not neighbors in color).
    """

    neighbors: int = 10
    sigma: float = 5.0
    ties: Literal["lowest_index", "ball_tree"] = "lowest_index"
    probabilities: bool = False
    ab_logits: float = 1.0
    ab: float = 5.0
    regression: Literal["smooth_l1", "mse"] = "smooth_l1"
    scene_logits: float = 0.1
    segmentation_logits: float = 0.5
    segmentation_cross_entropy: float = 1.0
    label_smoothing: float = 0.0
    rebalance: bool = False
    rebalance_lambda: float = 0.5
    rebalance_alpha: float = 1.0
    prior_smoothing: Literal["ab", "index"] = "ab"

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            RecipeError: an option out of range.
        """
        _require(1 <= self.neighbors <= Q, f"neighbors must be in [1, {Q}], is {self.neighbors}")
        _require(self.sigma > 0, f"sigma must be positive, is {self.sigma}")
        _require(0 <= self.rebalance_lambda <= 1, f"rebalance_lambda must be in [0, 1], is {self.rebalance_lambda}")
        _require(self.rebalance_alpha >= 0, f"rebalance_alpha must not be negative, is {self.rebalance_alpha}")
        lowest = min(self.ab_logits, self.ab, self.scene_logits, self.segmentation_logits)
        lowest = min(lowest, self.segmentation_cross_entropy)
        _require(lowest >= 0, "loss weights must not be negative")
        _among("regression", self.regression, REGRESSIONS)
        _require(
            self.prior_smoothing in SMOOTHINGS,
            f"prior_smoothing must be one of {SMOOTHINGS}, is {self.prior_smoothing!r}",
        )
        _require(0 <= self.label_smoothing < 1, f"label_smoothing must be in [0, 1), is {self.label_smoothing}")
        _among("ties", self.ties, TIES)
        _require(self.ties == "lowest_index" or self.neighbors == 5, "the ball tree's ties are stored for 5 neighbors")


@dataclass(frozen=True)
class OptimizerConfig:
    """The optimizer and its schedule.

    Attributes:
        name: which optimizer; all decay weights decoupled from the gradient, `adam` is `adamw` without decay.
        learning_rate: peak, for the decoder and the heads.
        encoder_factor: the encoder learns at this share of the learning rate, >= 0.
        weight_decay: decoupled, on kernels only, times the learning rate, >= 0.
        beta_1: decay of the gradient's mean, [0, 1).
        beta_2: decay of the squared gradient's mean, [0, 1).
        momentum: of SGD, [0, 1).
        clip_norm: global norm of the gradient is clipped to this; None for no clipping.
        schedule: how the learning rate goes on after the warm-up: `cosine` down to 0, or to where `cosine_share` ends
            it; `constant`; `step`: times `step_factor` each `step_epochs`; `cyclic`: a triangle between `cycle_low`
            and the peak.
        cosine_share: of `cosine`, how much of the way from the peak to 0 the run goes, (0, 1]. With 0.6 the rate ends
            at a third of its peak: the run stops early, on a schedule made for a longer one.
        step_factor: of `step`, (0, 1].
        step_epochs: of `step`, > 0.
        cycle_low: lowest learning rate of `cyclic`, > 0.
        cycle_epochs: period of `cyclic`, > 0.
        warmup: share of the run in which the learning rate rises from 0, [0, 1).
        ema: decay of the averaged weights that are evaluated and exported, [0, 1).
    """

    name: Literal["adamw", "adam", "rmsprop", "sgd"] = "adamw"
    learning_rate: float = 1.5e-3
    encoder_factor: float = 0.2
    weight_decay: float = 0.02
    beta_1: float = 0.9
    beta_2: float = 0.99
    momentum: float = 0.9
    clip_norm: float | None = 5.0
    schedule: Literal["cosine", "constant", "step", "cyclic"] = "cosine"
    cosine_share: float = 1.0
    step_factor: float = 0.95
    step_epochs: float = 5.0
    cycle_low: float = 2e-4
    cycle_epochs: float = 8.0
    warmup: float = 0.05
    ema: float = 0.999

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            RecipeError: an option out of range.
        """
        _among("name", self.name, OPTIMIZERS)
        _among("schedule", self.schedule, SCHEDULES)
        _require(self.learning_rate > 0, "learning_rate must be positive")
        _require(self.clip_norm is None or self.clip_norm > 0, "clip_norm must be positive")
        _require(0 <= self.momentum < 1, f"momentum must be in [0, 1), is {self.momentum}")
        _require(0 < self.cosine_share <= 1, f"cosine_share must be in (0, 1], is {self.cosine_share}")
        _require(0 < self.step_factor <= 1, f"step_factor must be in (0, 1], is {self.step_factor}")
        _require(min(self.step_epochs, self.cycle_epochs) > 0, "step_epochs and cycle_epochs must be positive")
        _require(
            self.schedule != "cyclic" or 0 < self.cycle_low <= self.learning_rate,
            f"cycle_low must be positive and at most the learning rate, is {self.cycle_low}",
        )
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
        steps: length of the run instead of epochs; None for so many epochs.
        batch_size: photographs a step.
        seed: of weights, order and augmentation.
        deterministic: make the backend's kernels reproducible (slower); resuming is then bit-exact.
        mixed_precision: compute in bfloat16, keep weights in float32.
        evaluate_every: steps between evaluations; None for one after each epoch.
        size: default inference size of the exported model, px.
        decode: before `calibrate` has chosen a curve: `vividness` for the general curve, `argmax` (the original's v0)
            or `annealed` (its v1, T = 0.38) for the same decode at every vividness.
        data: photographs -> samples.
        model: the network.
        loss: one loss a head.
        optimizer: optimizer and schedule.
    """

    name: str
    epochs: int = 4
    steps: int | None = None
    batch_size: int = 32
    seed: int = 0
    deterministic: bool = False
    mixed_precision: bool = False
    evaluate_every: int | None = None
    size: int = 192
    decode: Literal["vividness", "argmax", "annealed"] = "vividness"
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
        _among("decode", self.decode, DECODES)
        _require(self.steps is None or self.steps > 0, "steps must be at least 1")
        _require(self.evaluate_every is None or self.evaluate_every > 0, "evaluate_every must be at least 1 step")
        _require(self.size > 0 and self.size % 32 == 0, f"size must be a multiple of 32, is {self.size}")
        # A label map would have to go onto the paper too.
        mounted = self.data.mounts > 0 and self.model.segmentation_classes > 0
        _require(not mounted, "mounts and segmentation_classes do not go together: a label map has no paper")

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

    def with_options(self, assignments: Iterable[str]) -> Self:
        """Return the recipe with some options changed.

        Args:
            assignments: ``section.option=value`` or ``option=value`` for the recipe's own; values are JSON, bare words
                are strings: ``loss.rebalance=true``, ``optimizer.name=sgd``, ``model.decoder_channels=[64,64,64,64]``.

        Raises:
            RecipeError: not such an assignment, no such option (the message lists those that there are), or a value of
                another type or out of range.
        """
        fields = json.loads(self.to_json())
        for assignment in assignments:
            path, equals, text = assignment.partition("=")
            section, _, option = path.strip().rpartition(".")
            part = fields if not section else fields.get(section)
            if not equals or not isinstance(part, dict) or option not in part or isinstance(part[option], dict):
                raise RecipeError(f"{assignment!r} is no option=value; options are: {', '.join(_option_names(fields))}")
            try:
                value = json.loads(text)
            except ValueError:
                value = text
            _require_type(path, value, part[option])
            part[option] = value
        return self.from_json(json.dumps(fields))

    def digest(self) -> str:
        """Return a short hash of everything in the recipe; two runs with equal digests do the same."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]


def _tuples(value: Any) -> Any:
    """JSON has lists where the recipe has tuples."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _option_names(fields: dict[str, Any]) -> list[str]:
    """Return the names of all options as `with_options` takes them."""
    own = [name for name, value in fields.items() if not isinstance(value, dict)]
    return own + [f"{section}.{name}" for section, part in fields.items() if isinstance(part, dict) for name in part]


def _require_type(path: str, value: Any, old: Any) -> None:
    """A word where a number belongs would else surface in the middle of the run. None may become a number."""
    kinds = {bool: "true or false", int: "a whole number", float: "a number", str: "a word", list: "a list"}
    if old is None or (value is None and isinstance(old, float)):
        right = value is None or (isinstance(value, int | float) and not isinstance(value, bool))
        kind = "a number"
    else:
        right = type(value) is type(old) or (type(old) is float and type(value) is int)
        kind = kinds[type(old)]
    _require(right, f"{path} must be {kind}, is {value!r}")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise RecipeError(message)


def _among(name: str, value: str, allowed: tuple[str, ...]) -> None:
    _require(value in allowed, f"{name} must be one of {', '.join(allowed)}, is {value!r}")
