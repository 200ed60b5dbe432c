"""The recipes of the original systems, narrow enough for tests: same layers, few channels, no downloads."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from training.config import ModelConfig, Recipe
from training.recipes import load_recipe

NAMES = ("scene_context_unet", "seg_scene_context_unet", "zhang", "mleu")
SCENES = 6
CLASSES = 5


def narrow(name: str) -> Recipe:
    """Return a recipe with a narrow network that starts from scratch."""
    recipe = load_recipe(name)
    model = replace(
        recipe.model,
        unet_channels=(4, 8, 8, 8),
        decoder_channels=(8,),
        global_features=8,
        pretrained=False,
        segmentation_classes=CLASSES if recipe.model.segmentation_classes else 0,
    )
    return replace(recipe, model=model)


@contextmanager
def narrow_backbones() -> Iterator[None]:
    """Run the body with one narrow convolution a block of the ECCV16 network, and a small EfficientNet-Lite2."""
    from training.network import encoder

    kept = encoder.VGG_BLOCKS, encoder.LITE2_STAGES
    encoder.VGG_BLOCKS = tuple((width // 16, 1, *rest) for width, _, *rest in encoder.VGG_BLOCKS)
    encoder.LITE2_STAGES = tuple((min(e, 2), k, s, max(c // 16, 4), 1) for e, k, s, c, _ in encoder.LITE2_STAGES)
    try:
        yield
    finally:
        encoder.VGG_BLOCKS, encoder.LITE2_STAGES = kept


def make_batch(config: ModelConfig, *, side: int = 32, count: int = 4) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return pictures that are darker where they are red, one of them gray, one without a scene or labels."""
    rng = np.random.default_rng(0)
    small = side // 4
    red = rng.integers(0, 2, (count, small, small, 1)).astype(np.float32)
    lightness = np.clip(
        70 - 40 * red.repeat(4, axis=1).repeat(4, axis=2) + rng.normal(0, 2, (count, side, side, 1)), 0, 100
    )
    weight = np.ones_like(red)
    weight[0] = 0
    ab = np.concatenate([50 * red, 30 * red, weight], axis=-1)
    scene = rng.dirichlet(np.ones(SCENES), count)
    scene[1] = 0
    targets = {"ab_logits": ab, "ab": ab, "scene_logits": scene.astype(np.float32)}
    if config.segmentation_classes:
        targets["segmentation_logits"] = np.where(red > 0, 3, 1).astype(np.float32)
        targets["segmentation_logits"][1] = -1
    return lightness.astype(np.float32), targets


def train_losses(name: str, *, steps: int) -> dict[str, list[float]]:
    """Train a narrow recipe on one batch; return each head's loss, and their sum, after every step."""
    import keras

    from tests.synthetic_run import make_prior
    from training.network.losses import compile_model
    from training.network.model import build_model
    from training.network.optimization import build_optimizer

    recipe = narrow(name)
    keras.utils.set_random_seed(1)
    model = build_model(recipe.model, scenes=SCENES)
    # The published rates are for days; a few steps need a bolder one.
    compile_model(model, build_optimizer(replace(recipe.optimizer, learning_rate=1e-3)), recipe.loss, make_prior())
    lightness, targets = make_batch(recipe.model)
    losses: dict[str, list[float]] = {}
    for _ in range(steps):
        for head, value in model.train_on_batch(lightness, targets, return_dict=True).items():
            losses.setdefault(head, []).append(float(value))
    return losses
