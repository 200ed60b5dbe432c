"""Fits the network of `chroma.region_network`: used by `benchmarks/regions.py FOLDER --fit OUT.npz`, needs TensorFlow.

First the directions of the posterior's logits in which things differ most from what is around them (Fisher's
discriminant), then the U-Net, in rounds: each knows the clicks that correct the mistakes of the network before it, the
first one those of the network that is shipped.

References:
    Xu and others, "Deep Interactive Object Selection", CVPR 2016; Mahadevan, Voigtlaender, Leibe, "Iteratively Trained
    Interactive Segmentation", BMVC 2018 (clicks where the error is largest, from the network as it is).
"""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import chroma.region_network
from benchmarks.region_fit.clicks import Thing, click, next_click
from chroma.region_network import LEVELS, MOST, at_half
from chroma.regions import Ground, Mark, features_of, grow, likeness_of

DIRECTIONS = 24
WIDTHS = (8, 20, 36, 56)
"""Channels of each level."""
BATCH = 8
PASSES = 19
"""How often a round sees each thing, after one, two or three clicks."""
RATE = 1.5e-3
OFF_CENTER = 0.35
"""How often the first click is not at the center: people do not aim at it."""


def fit(things: list[Thing], out: Path, rounds: int) -> None:
    """Fit to things whose grids have the same size, standing or lying, and write the network's arrays."""
    random = np.random.default_rng(0)
    arrays = find_directions(things)
    before, things = things, [with_seen(thing, arrays) for thing in things]
    states: list[tuple[Thing, np.ndarray, np.ndarray]] = []
    for number in range(rounds):
        pairs = zip(things, before, strict=True)
        states += [state for thing, known in pairs for state in states_of(thing, known.ground, random)]
        arrays |= train(states, arrays, len(things), random)
        np.savez_compressed(out, **{name: np.asarray(value, np.float16) for name, value in arrays.items()})
        chroma.region_network.MODEL_FILE = str(out.resolve())
        chroma.region_network.load_model.cache_clear()
        before = things
        print(f"round {number + 1}: {len(states)} states", flush=True, file=sys.stderr)  # noqa: T201


def find_directions(things: Sequence[Thing]) -> dict[str, np.ndarray]:
    """Return `directions` (Q, D) and `offset` (D,); sources, named before `__`, count by the root of their things."""
    from scipy.linalg import eigh

    sources = Counter(thing.name.split("__")[0] for thing in things)
    bins = things[0].logits.shape[-1]
    within, between, total = np.zeros((bins, bins)), np.zeros((bins, bins)), np.zeros((bins, bins))
    mean, weights = np.zeros(bins), 0.0
    for thing in things:
        shape = thing.logits.shape[:2]
        flat = thing.logits.reshape(-1, bins).astype(np.float32)
        flat -= flat.mean(axis=-1, keepdims=True)
        around = cv2.dilate(thing.mask.astype(np.uint8), np.ones((41, 41), np.uint8))
        inside, beside = (
            cv2.resize(np.asarray(place, np.float32), shape[::-1], interpolation=cv2.INTER_AREA).reshape(-1)
            for place in (thing.mask, around)
        )
        inner, outer = flat[inside > 0.7], flat[(inside < 0.1) & (beside > 0.5)]
        if min(len(inner), len(outer)) < 20:
            continue
        weight = sources[thing.name.split("__")[0]] ** -0.5
        difference, centered = inner.mean(axis=0) - outer.mean(axis=0), inner - inner.mean(axis=0)
        between += weight * np.outer(difference, difference)
        within += weight * centered.T @ centered / len(inner)
        total += weight * flat.T @ flat / len(flat)
        mean += weight * flat.mean(axis=0)
        weights += weight
    mean, total = mean / weights, total / weights - np.outer(mean, mean) / weights**2
    _, vectors = eigh(between, within + 0.02 * np.trace(within) / bins * np.eye(bins))
    directions = vectors[:, : -DIRECTIONS - 1 : -1]
    directions = directions / np.sqrt(np.einsum("ij,ik,kj->j", directions, total, directions))
    return {"directions": directions.astype(np.float32), "offset": (-mean @ directions).astype(np.float32)}


def with_seen(thing: Thing, arrays: dict[str, np.ndarray]) -> Thing:
    """Return a thing whose ground was seen along new directions."""
    flat = thing.logits.reshape(-1, thing.logits.shape[-1]).astype(np.float32)
    seen = (flat - flat.mean(axis=-1, keepdims=True)) @ arrays["directions"] + arrays["offset"]
    seen = np.clip(seen, -MOST, MOST)
    shape = thing.ground.L.shape
    seen = at_half(seen.reshape(*thing.logits.shape[:2], -1), (shape[0], shape[1]))
    return replace(thing, ground=replace(thing.ground, seen=seen))


def states_of(thing: Thing, before: Ground, random: np.random.Generator) -> list[tuple[Thing, np.ndarray, np.ndarray]]:
    """Return a thing with its features and likeness after one, two and three clicks.

    Args:
        thing: with the ground to learn from.
        before: the same ground as the network takes it whose mistakes are corrected.
        random: moves some first clicks off the center.
    """
    mark: Mark | None = click(thing.mask, takes_away=False)
    if random.random() < OFF_CENTER:
        inner = cv2.distanceTransform(np.pad(thing.mask.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
        row, column = random.choice(np.argwhere(inner > 0.4 * inner.max()))
        mark = Mark((((column + 0.5) / inner.shape[1], (row + 0.5) / inner.shape[0]),), 0.0)
    marks: list[Mark] = []
    states = []
    for _ in range(3):
        if mark is None:
            break
        marks.append(mark)
        told = features_of(thing.ground, marks).astype(np.float16), likeness_of(thing.ground, marks).astype(np.float16)
        states.append((thing, *told))
        mark = next_click(thing.mask, grow(before, marks) > 0.5)
    return states


def build() -> Any:
    """Return the U-Net that `chroma.region_network.judge` runs, in Keras, with logits of any size."""
    import keras
    from keras import layers

    def convolve(channels: int, side: int, name: str) -> Any:
        return layers.Conv2D(
            channels, side, padding="same", activation="relu", kernel_initializer="he_normal", name=name
        )

    near, seen = keras.Input((None, None, 30)), keras.Input((None, None, DIRECTIONS + 2))
    values = convolve(WIDTHS[0], 3, "down0")(convolve(WIDTHS[0], 1, "enter")(near))
    kept = [values]
    for level in range(1, LEVELS):
        values = layers.AveragePooling2D(2)(values)
        if level == 1:
            values = layers.Concatenate()([values, seen])
        values = convolve(WIDTHS[level], 3, f"again{level}")(convolve(WIDTHS[level], 3, f"down{level}")(values))
        kept.append(values)
    for level in reversed(range(LEVELS - 1)):
        values = layers.UpSampling2D(2)(convolve(WIDTHS[level], 1, f"narrow{level}")(values))
        values = convolve(WIDTHS[level], 3, f"up{level}")(layers.Concatenate()([values, kept[level]]))
    return keras.Model([near, seen], layers.Conv2D(1, 1, name="leave")(values))


def loss_of(truth: Any, logits: Any) -> Any:
    """Return cross-entropy plus half of one minus the soft intersection over union, a mean over things."""
    from keras import ops

    share = ops.sigmoid(logits)
    shared = ops.sum(share * truth, axis=(1, 2, 3))
    union = ops.sum(share + truth - share * truth, axis=(1, 2, 3))
    entropy = ops.mean(ops.softplus(logits) - truth * logits, axis=(1, 2, 3))
    return ops.mean(entropy + 0.5 * (1 - shared / (union + 1)))


def train(
    states: list[tuple[Thing, np.ndarray, np.ndarray]], before: dict[str, np.ndarray], count: int, random: Any
) -> dict[str, np.ndarray]:
    """Train the network, from where it was, and return its arrays."""
    import keras

    if "mean" not in before:
        sample = np.concatenate([told[::7, ::7].reshape(-1, told.shape[-1]) for _, told, _ in states[::20]])
        sample = sample.astype(np.float32)
        before = before | {"mean": sample.mean(axis=0), "deviation": sample.std(axis=0) + 1e-2}
    network = build()
    for layer in network.layers:
        if f"{layer.name}_kernel" in before:
            layer.set_weights([before[f"{layer.name}_kernel"], before[f"{layer.name}_bias"]])
    steps = max(1, PASSES * count // BATCH)
    rate = keras.optimizers.schedules.CosineDecay(0.0, steps, warmup_target=RATE, warmup_steps=min(100, steps // 4))
    network.compile(keras.optimizers.AdamW(rate, weight_decay=1e-3, clipnorm=1.0), loss=loss_of)
    lying = [state for state in states if state[1].shape[0] <= state[1].shape[1]]
    standing = [state for state in states if state[1].shape[0] > state[1].shape[1]]
    for _ in range(steps):
        group = lying if random.random() * len(states) < len(lying) else standing
        chosen = [group[number] for number in random.integers(len(group), size=BATCH)]
        near = (np.stack([told for _, told, _ in chosen]).astype(np.float32) - before["mean"]) / before["deviation"]
        seen = np.stack([np.concatenate([thing.ground.seen, like], axis=-1) for thing, _, like in chosen])
        truth = np.stack([thing.mask for thing, _, _ in chosen])[..., None].astype(np.float32)
        if random.random() < 0.5:
            near, seen, truth = near[:, :, ::-1], seen[:, :, ::-1], truth[:, :, ::-1]
        network.train_on_batch([near, seen], truth)
    arrays = {"mean": before["mean"], "deviation": before["deviation"]}
    for layer in network.layers:
        if layer.weights:
            arrays[f"{layer.name}_kernel"], arrays[f"{layer.name}_bias"] = layer.get_weights()
    return arrays
