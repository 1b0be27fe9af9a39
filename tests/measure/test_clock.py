from collections import Counter
from itertools import islice

import pytest

from spion_bench.measure.clock import MAX_SAMPLES, round_orders, sample_ms, warm_up


class FakeClock:
    """A clock that moves only when work is done."""

    def __init__(self, durations_s):
        self.now = 100.0
        self.calls = 0
        self._durations = durations_s

    def __call__(self):
        return self.now

    def work(self):
        self.now += self._durations[min(self.calls, len(self._durations) - 1)]
        self.calls += 1


def test_warm_up_repeats_until_the_time_is_over():
    clock = FakeClock([0.3])
    assert warm_up(clock.work, seconds=1.0, clock=clock) == 4
    assert clock.calls == 4


def test_warm_up_of_no_time_still_runs_once():
    clock = FakeClock([0.3])
    assert warm_up(clock.work, seconds=0.0, clock=clock) == 1


def test_samples_are_single_calls_in_milliseconds_in_order():
    clock = FakeClock([0.002, 0.003, 0.005])
    samples = sample_ms(clock.work, seconds=0.0, min_samples=3, clock=clock)
    assert samples == pytest.approx([2.0, 3.0, 5.0])


def test_sampling_goes_on_until_the_time_is_over():
    clock = FakeClock([0.25])
    assert len(sample_ms(clock.work, seconds=1.0, min_samples=1, clock=clock)) == 4


def test_slow_calls_still_give_the_fewest_samples():
    clock = FakeClock([10.0])
    assert len(sample_ms(clock.work, seconds=1.0, min_samples=3, clock=clock)) == 3


def test_a_turn_ends_after_enough_samples():
    clock = FakeClock([1e-6])
    assert len(sample_ms(clock.work, seconds=1.0, min_samples=1, clock=clock)) == MAX_SAMPLES


def test_every_round_has_every_name_once():
    orders = islice(round_orders(["b", "a", "c"], seed=1), 20)
    assert all(sorted(order) == ["a", "b", "c"] for order in orders)


def test_orders_are_random_but_seeded_and_independent_of_the_given_order():
    def orders(names, seed):
        return list(islice(round_orders(names, seed=seed), 40))

    assert orders("abcd", 1) == orders("dcba", 1)
    assert orders("abcd", 1) != orders("abcd", 2)
    assert len(Counter(order[0] for order in orders("abcd", 1))) == 4  # each goes first at times
