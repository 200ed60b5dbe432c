"""service.commands.measuring: every stage of every run is counted once, and the caveats are said."""

import os

import pytest

from service.commands import measuring as bench
from service.commands.measuring import STAGES, caveats, make_photograph, measure
from service.engine.options import Options
from service.engine.session import Session
from service.pictures.probe import probe


def test_each_size_gets_its_runs(session: Session) -> None:
    calls: list[None] = []
    small, large = measure(session, Options(), [0.01, 0.04], 3, done=lambda: calls.append(None))
    assert len(calls) == 2 * (3 + 1)
    for result, megapixels in ((small, 0.01), (large, 0.04)):
        assert result.megapixels == megapixels
        assert len(result.seconds) == 3
        assert tuple(result.stage_s) == STAGES
        told = result.to_dict()
        assert 0 < told["fastest_s"] <= told["median_s"] <= told["slowest_s"]
        assert told["runs"] == 3


def test_the_first_run_does_not_count(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = iter([100.0, 1.0, 2.0, 9.0])
    monkeypatch.setattr(bench, "_time", lambda *_: dict.fromkeys(STAGES, next(taken) / len(STAGES)))
    result = measure(session, Options(), [0.01], 3, done=lambda: None)[0]
    assert result.seconds == pytest.approx((1, 2, 9))
    assert result.median_s == pytest.approx(2)


@pytest.mark.parametrize("megapixels", [0.0001, 0.1, 1.5])
def test_the_photograph_has_the_size_asked_for(megapixels: float) -> None:
    data = make_photograph(megapixels)
    header = probe(data, max_megapixels=10)
    assert header.megapixels == pytest.approx(megapixels, rel=0.05)
    assert header.mode == "L"
    assert data == make_photograph(megapixels)


def test_a_busy_machine_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (0.1, 9.0, 9.0))
    assert not any("Load average" in sentence for sentence in caveats(2))
    monkeypatch.setattr(os, "getloadavg", lambda: (1.9, 0.0, 0.0))
    assert any("Load average 1.9 on 2" in sentence for sentence in caveats(2))
