import numpy as np
import pytest

from spion_bench.records.artifacts import Curve
from spion_bench.report.course.times import (
    StepTimes,
    final_accuracy,
    time_to,
    timed_run,
    training_speedup,
)


def curve(n_dense=4, n_sparse=0, accuracy=(0.2, 0.5)):
    """Return a run that is evaluated every two steps."""
    n = n_dense + n_sparse
    return Curve(
        step=np.arange(1, n + 1),
        sparse=np.arange(n) >= n_dense,
        train_loss=np.zeros(n),
        dev_step=2 * np.arange(1, len(accuracy) + 1),
        dev_accuracy=np.array(accuracy),
        dev_loss=np.zeros(len(accuracy)),
    )


def test_a_dense_step_takes_dense_time():
    run = timed_run(curve(), StepTimes(500.0, None, ""))
    assert run.seconds.tolist() == [1.0, 2.0]
    assert run.total_s == 2.0


def test_patterns_come_before_the_first_sparse_step_and_cost_their_own_time():
    times = StepTimes(500.0, 250.0, "")
    run = timed_run(curve(2, 2), times, pattern_s=3.0)
    assert run.seconds.tolist() == [1.0, 4.5]  # an evaluation at the switch is before the patterns
    assert run.total_s == 4.5
    with pytest.raises(ValueError, match="times: expected sparse_ms"):
        timed_run(curve(2, 2), StepTimes(500.0, None, ""))


def test_the_first_evaluation_that_is_good_enough_counts():
    run = timed_run(curve(6, accuracy=(0.45, 0.5, 0.4)), StepTimes(500.0, None, ""))
    assert run.reached(0.45) == 1.0
    assert run.reached(0.46) == 2.0
    assert run.reached(0.6) is None


def test_time_to_shares_of_denses_final_accuracy():
    times = StepTimes(500.0, None, "")
    slow = timed_run(curve(6, accuracy=(0.3, 0.91, 0.96)), times)
    fast = timed_run(curve(6, accuracy=(0.93, 0.96, 0.99)), times)
    assert final_accuracy([slow, fast]) == pytest.approx(0.975)
    assert final_accuracy([slow, timed_run(curve(accuracy=()), times)]) is None
    at_90, at_95, at_99 = time_to([slow, fast], final=1.0)
    assert (at_90.share, at_90.target, at_90.n_seeds) == (0.9, 0.9, 2)
    assert (at_90.seconds.value, at_90.seconds.n) == (1.5, 2)
    assert at_95.seconds.value == 2.5
    assert (at_99.seconds, at_99.n_reached, at_99.n_seeds) == (None, 1, 2)
    assert time_to([], final=1.0)[0].seconds is None


def test_whole_trainings_are_compared_seed_by_seed():
    dense = {seed: timed_run(curve(), StepTimes(400.0, None, "")) for seed in (0, 1, 5)}
    other = {seed: timed_run(curve(2, 2), StepTimes(400.0, 200.0, ""), seed) for seed in (0, 1)}
    found = training_speedup(dense, other)
    assert found.value == pytest.approx((1.6 / 1.2 + 1.6 / 2.2) / 2)
    assert found.n == 2
    assert training_speedup(dense, {}) is None
