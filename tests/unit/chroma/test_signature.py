"""The stamp: JSON there and back, and strangers refused."""

import json
from dataclasses import replace
from typing import Any

import pytest

from chroma import signature
from chroma.bins import BINS_SHA256, Q
from chroma.decoding import Knobs, VividnessCurve
from chroma.signature import SignatureError, Stamp

CURVE = VividnessCurve(
    ((0.0, Knobs(1.0, 0.0, 1.0, 1.0)), (0.5, Knobs(0.38, 1.0, 5.0, 1.2)), (1.0, Knobs(0.38, 1.0, 8.0, 1.25)))
)


@pytest.fixture
def stamp() -> Stamp:
    return Stamp(
        run_id="20261101-first-light",
        recipe="first_light",
        created="2026-11-23",
        prior=tuple([1 / Q] * Q),
        vividness_curve=CURVE,
        scenes=("beach", "café"),
        size=192,
        license="research only",
        parameters=6_590_000,
        scores={"psnr": 22.1, "per_mode": {"calm": 22.8}},
        tolerances={"ab": 1e-3},
    )


def changed(stamp: Stamp, **fields: Any) -> str:
    return json.dumps(json.loads(stamp.to_json()) | fields)


def test_json_there_and_back_is_the_same_stamp(stamp: Stamp) -> None:
    assert Stamp.from_json(stamp.to_json()) == stamp


def test_a_stamp_from_before_precision_is_of_a_float32_file(stamp: Stamp) -> None:
    fields = json.loads(replace(stamp, precision="int8").to_json())
    assert fields.pop("precision") == "int8"
    assert Stamp.from_json(json.dumps(fields)) == stamp


def test_json_is_stable_and_complete(stamp: Stamp) -> None:
    fields = json.loads(stamp.to_json())
    assert list(fields) == sorted(fields)
    assert fields["signature_version"] == 1
    assert fields["bins_sha256"] == BINS_SHA256
    assert fields["vividness_curve"][1] == [0.5, 0.38, 1.0, 5.0, 1.2]
    assert len(fields["prior"]) == 313
    assert "café" in stamp.to_json()


def test_another_version_is_refused_with_advice(stamp: Stamp) -> None:
    with pytest.raises(SignatureError, match=r"version 2, this program speaks 1: export the model again"):
        Stamp.from_json(changed(stamp, signature_version=2))


def test_other_bins_are_refused(stamp: Stamp) -> None:
    with pytest.raises(SignatureError, match="other ab bins"):
        Stamp.from_json(changed(stamp, bins_sha256="0" * 64))


@pytest.mark.parametrize(
    "prior",
    [[1.0], [1 / Q] * (Q - 1), [2 / Q] * Q, [0.0] * Q, [-1.0, 2.0] + [0.0] * (Q - 2), [float("nan")] * Q, None, "x"],
)
def test_a_broken_prior_is_refused(stamp: Stamp, prior: Any) -> None:
    with pytest.raises(SignatureError):
        Stamp.from_json(changed(stamp, prior=prior))


@pytest.mark.parametrize("size", [0, -32, 100, "large", None])
def test_a_size_that_the_network_cannot_take_is_refused(stamp: Stamp, size: Any) -> None:
    with pytest.raises(SignatureError):
        Stamp.from_json(changed(stamp, size=size))


@pytest.mark.parametrize(
    "curve", [[], [[0, 1, 0, 1, 1]], [[0, 1, 0, 1], [1, 1, 0, 1]], [[0, 0, 0, 1, 1], [1, 1, 0, 1, 1]], None, 3]
)
def test_a_broken_curve_is_refused(stamp: Stamp, curve: Any) -> None:
    with pytest.raises(SignatureError):
        Stamp.from_json(changed(stamp, vividness_curve=curve))


@pytest.mark.parametrize("text", ["", "{", "null", "3", "[]", "{}", '{"prior": []}', '"stamp"'])
def test_what_is_no_stamp_is_refused(text: str) -> None:
    with pytest.raises(SignatureError, match="cannot be read"):
        Stamp.from_json(text)


def test_a_missing_and_an_unknown_field_are_refused(stamp: Stamp) -> None:
    fields = json.loads(stamp.to_json())
    del fields["recipe"]
    with pytest.raises(SignatureError, match="recipe"):
        Stamp.from_json(json.dumps(fields))
    with pytest.raises(SignatureError, match="mood"):
        Stamp.from_json(changed(stamp, mood="good"))


def test_construction_checks_like_reading(stamp: Stamp) -> None:
    with pytest.raises(SignatureError):
        replace(stamp, signature_version=99)


def test_names_survive_both_frameworks() -> None:
    """ONNX sorts outputs and TensorFlow lowercases argument names: ours are sorted, lower case and distinct."""
    names = signature.INPUT_NAMES + signature.OUTPUT_NAMES
    assert len(set(names)) == len(names)
    assert all(name == name.lower() and name.isidentifier() for name in names)
    assert sorted(signature.OUTPUT_NAMES) == list(signature.OUTPUT_NAMES)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("run_id", 7),
        ("license", None),
        ("size", 256.0),
        ("size", True),
        ("parameters", "many"),
        ("scores", []),
        ("tolerances", {"ab": "small"}),
        ("precision", 32),
    ],
)
def test_a_value_of_another_type_is_refused(stamp: Stamp, name: str, value: Any) -> None:
    fields = json.loads(stamp.to_json()) | {name: value}
    with pytest.raises(SignatureError, match=name):
        Stamp.from_json(json.dumps(fields))
