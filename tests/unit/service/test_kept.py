"""service.engine.kept: bounded by bytes and age, the least recently used first, each for its own key alone."""

import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from chroma.bins import Q
from service.engine.kept import ID_BYTES, KEPT_OUTPUTS, KeptPicture, KeptPictures, Posterior, from_half, to_half
from service.errors import PictureNotKept, TooLargeToKeep
from service.pictures.header import Header
from service.pictures.lightness import Lightness, store_lightness

HEADER = Header("PNG", 8, 8, "L", 1, wide=False, icc_profile=None)


def make(data_bytes: int = 1000, *, ready: Lightness | None = None) -> KeptPicture:
    heads = dict(zip(KEPT_OUTPUTS, (np.ones((2, 2, Q)), np.ones((2, 2, 2)), np.ones(3)), strict=True))
    heads = {name: head.astype(np.float32) for name, head in heads.items()}
    posterior = Posterior.of(heads, np.ones((8, 8, 1), np.float32))
    return KeptPicture(bytes(data_bytes), HEADER, "d", None, posterior, np.ones(Q), 0.5, ready)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def cache(pictures: float, **changes: Any) -> KeptPictures:
    """A cache with room for so many pictures."""
    return KeptPictures(max_bytes=int(pictures * make().nbytes), **{"max_age_s": 60, **changes})


def test_the_least_recently_used_goes_first() -> None:
    evicted: list[str] = []
    kept = cache(3.5, on_evict=evicted.append)
    first, second, third = (kept.put(make(), "").id for _ in range(3))
    assert len({first, second, third}) == 3
    kept.get(first, "")
    fourth = kept.put(make(), "").id
    assert evicted == ["room"]
    for there in (first, third, fourth):
        assert kept.get(there, "").id == there
    with pytest.raises(PictureNotKept, match="post it again"):
        kept.get(second, "")
    assert (len(kept), kept.kept_bytes) == (3, 3 * make().nbytes)


def test_a_large_one_pushes_out_several() -> None:
    kept = cache(4)
    for _ in range(4):
        kept.put(make(), "")
    large = kept.put(make(1000 + 2 * make().nbytes), "")
    assert len(kept) == 2
    assert kept.kept_bytes <= kept.max_bytes
    assert kept.get(large.id, "") is large


def test_a_profile_counts_as_what_it_takes_in_memory() -> None:
    picture = make()
    profiled = replace(picture, header=replace(HEADER, icc_profile=bytes(5000)))
    assert profiled.nbytes == picture.nbytes + 5000


def test_what_is_larger_than_the_room_is_refused_and_pushes_nothing_out() -> None:
    kept = cache(2)
    there = kept.put(make(), "").id
    with pytest.raises(TooLargeToKeep) as caught:
        kept.put(make(kept.max_bytes), "")
    assert caught.value.facts == {"limit": kept.max_bytes, "unit": "bytes"}
    assert kept.get(there, "").id == there


def test_age_counts_from_the_last_use() -> None:
    clock, evicted = Clock(), list[str]()
    kept = cache(9, clock=clock, on_evict=evicted.append)
    used, unused = kept.put(make(), "").id, kept.put(make(), "").id
    clock.now += 40
    kept.get(used, "")
    clock.now += 40
    kept.expire()
    assert (len(kept), evicted) == (1, ["age"])
    with pytest.raises(PictureNotKept):
        kept.get(unused, "")
    assert kept.get(used, "").id == used
    clock.now += 60
    with pytest.raises(PictureNotKept):
        kept.get(used, "")
    assert (len(kept), kept.kept_bytes) == (0, 0)


def test_a_picture_belongs_to_its_key() -> None:
    looked: list[bool] = []
    kept = cache(9, on_lookup=looked.append)
    id = kept.put(make(), "key-one").id
    for owner in ("key-two", ""):
        with pytest.raises(PictureNotKept):
            kept.get(id, owner)
        with pytest.raises(PictureNotKept):
            kept.remove(id, owner)
    assert kept.get(id, "key-one").owner == "key-one"
    assert looked == [False] * 4 + [True]
    kept.remove(id, "key-one")
    with pytest.raises(PictureNotKept):
        kept.remove(id, "key-one")
    assert (len(kept), kept.kept_bytes) == (0, 0)


def test_ids_cannot_be_guessed() -> None:
    kept = cache(99)
    ids = {kept.put(make(), "").id for _ in range(50)}
    assert len(ids) == 50
    assert all(len(id) >= ID_BYTES * 8 / 6 and id.replace("-", "").replace("_", "").isalnum() for id in ids)


def test_nothing_is_kept_where_there_is_no_room() -> None:
    kept = KeptPictures(max_bytes=0, max_age_s=60)
    for act in (kept.check_on, lambda: kept.put(make(), ""), lambda: kept.get("x", "")):
        with pytest.raises(PictureNotKept, match="keeps no pictures"):
            act()


def test_pixels_are_kept_only_while_they_are_small() -> None:
    ready = Lightness(store_lightness(np.ones((100, 100), np.uint8)), np.ones((100, 100), np.uint8), is_deep=False)
    picture = make(ready=ready)
    assert picture.nbytes == make().nbytes + 20_000
    roomy, tight = (KeptPictures(max_bytes=room * picture.nbytes, max_age_s=60) for room in (8, 7))
    assert roomy.put(picture, "").ready is ready
    assert tight.put(picture, "").ready is None


def test_a_posterior_comes_back_as_it_was() -> None:
    rng = np.random.default_rng(1)
    shapes = ((4, 5, Q), (4, 5, 2), (3,))
    heads = {name: rng.normal(0, 5, shape).astype(np.float32) for name, shape in zip(KEPT_OUTPUTS, shapes, strict=True)}
    posterior = Posterior.of(heads, np.zeros((16, 20, 1), np.float32))
    again = posterior.heads()
    assert {name: head.dtype for name, head in again.items()} == {
        name: np.float16 if name == "ab_logits" else np.float32 for name in KEPT_OUTPUTS
    }
    np.testing.assert_allclose(again["ab_logits"], heads["ab_logits"], atol=0.01)
    np.testing.assert_array_equal(again["ab"], heads["ab"])
    np.testing.assert_array_equal(again["scene_logits"], heads["scene_logits"])
    assert posterior.nbytes == 4 * 5 * (Q * 2 + 8) + 12 + 16 * 20 * 4
    assert not any(np.shares_memory(again[name], heads[name]) for name in heads)


def test_logits_that_16_bits_cannot_hold_stay_finite() -> None:
    heads = {
        name: np.full(shape, 1e9, np.float32)
        for name, shape in zip(KEPT_OUTPUTS, ((1, 1, Q), (1, 1, 2), (3,)), strict=True)
    }
    assert np.isfinite(Posterior.of(heads, np.zeros((4, 4, 1), np.float32)).heads()["ab_logits"]).all()


def test_sixteen_bits_are_rounded_as_numpy_rounds() -> None:
    rng = np.random.default_rng(2)
    usual = rng.normal(0, 8, 4000).astype(np.float32)
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    finite = halves[np.isfinite(halves)].astype(np.float32)
    between = (finite[:-1] + finite[1:]) / 2  # Where it counts which of two numbers is taken.
    for logits in (usual, finite[np.abs(finite) <= 6e4], between[np.abs(between) < 6e4]):
        rows = logits[: len(logits) // 10 * 10].reshape(2, -1, 5)
        np.testing.assert_array_equal(to_half(rows), rows.astype(np.float16))
        np.testing.assert_array_equal(from_half(to_half(rows)), rows.astype(np.float16).astype(np.float32))
        np.testing.assert_array_equal(to_half(rows[:, ::3, ::2]), rows[:, ::3, ::2].astype(np.float16))
        assert from_half(rows) is rows
    assert to_half(to_half(rows)).dtype == np.float16
    assert np.isnan(to_half(np.full((1, 2), np.nan, np.float32))).all()


def test_many_threads_at_once_lose_no_count() -> None:
    kept = cache(5.5)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(200):
                id = kept.put(make(), "k").id
                for act in (kept.get, kept.remove):
                    try:
                        act(id, "k")
                    except PictureNotKept:
                        continue
        except BaseException as error:  # To be told of in the thread of the test.
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert kept.kept_bytes == len(kept) * make().nbytes
    assert kept.kept_bytes <= kept.max_bytes
