import itertools

import pytest
import torch

from spion_bench.train import usage as usage_module
from spion_bench.train.usage import PhaseUsage, UsageClock


class FakeMeter:
    """Reports the peaks it is given, one per reset."""

    def __init__(self, peaks):
        self.peaks = list(peaks)
        self.resets = 0

    def reset(self):
        self.resets += 1

    def peak_bytes(self):
        return self.peaks.pop(0)


@pytest.fixture
def ticking(monkeypatch):
    """A clock that advances by 1, 2, 3, ... seconds from one reading to the next."""
    readings = itertools.accumulate(itertools.count(1))
    monkeypatch.setattr(usage_module.time, "perf_counter", lambda: float(next(readings)))


def make(peaks=()):
    usage = {"dense": PhaseUsage(), "pattern": PhaseUsage(), "sparse": PhaseUsage()}
    meter = FakeMeter(peaks)
    return usage, meter, UsageClock(usage, torch.device("cpu"), meter if peaks else None)


def test_steps_patterns_and_validation_are_told_apart(ticking):
    usage, _, clock = make()
    with clock.work("dense", is_step=True):
        pass  # 2 s
    with clock.validation("dense"):
        pass  # 4 s
    with clock.work("dense", is_step=True):
        pass  # 6 s
    with clock.work("pattern"):
        pass  # 8 s
    assert usage["dense"] == PhaseUsage(wall_s=8, validation_s=4, step_s=[2, 6])
    assert usage["dense"].steps == 2
    assert usage["dense"].median_step_ms == 4000
    assert usage["pattern"] == PhaseUsage(wall_s=8)
    assert usage["sparse"].median_step_ms is None


def test_work_that_fails_is_not_counted(ticking):
    usage, _, clock = make()
    with pytest.raises(KeyError), clock.work("dense", is_step=True):
        raise KeyError
    assert usage["dense"] == PhaseUsage()


def test_peak_is_the_highest_of_a_phases_stretches_and_skips_validation():
    usage, meter, clock = make(peaks=[30, 50, 20, 10])
    for _ in range(3):
        with clock.work("dense", is_step=True):
            pass
    assert meter.resets == 1  # one stretch, one reset
    with clock.validation("dense"):
        assert usage["dense"].peak_bytes == 30
    with clock.work("dense", is_step=True):
        pass
    with clock.work("pattern"):
        assert usage["dense"].peak_bytes == 50
    with clock.work("dense", is_step=True):
        assert usage["pattern"].peak_bytes == 20
    clock.pause()
    clock.pause()
    assert usage["dense"].peak_bytes == 50
    assert usage["sparse"].peak_bytes is None


def test_a_peak_that_cannot_be_told_stays_none():
    usage, _, clock = make(peaks=[None])
    with clock.work("sparse", is_step=True):
        pass
    clock.pause()
    assert usage["sparse"].peak_bytes is None
