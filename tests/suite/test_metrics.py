from spion_bench.suite.metrics import KINDS, sampled, single


def test_sampled_metric_keeps_samples_median_and_interval():
    metric = sampled("train_step_ms", [3.0, 1.0, 2.0])
    assert metric.value == 2.0
    assert metric.samples == [3.0, 1.0, 2.0]
    assert 1.0 <= metric.low <= metric.high <= 3.0
    assert (metric.unit, metric.lower_is_better, metric.modelled) == ("ms", True, False)


def test_single_metric_has_bounds_only_if_given():
    metric = single("test_accuracy", 0.9, low=0.8, high=0.95)
    assert (metric.low, metric.high, metric.lower_is_better) == (0.8, 0.95, False)
    assert single("parameters", 5).low is None


def test_only_operation_counts_and_times_of_the_gpu_model_are_modelled():
    assert {name for name, kind in KINDS.items() if kind.modelled} == {
        "attention_flops_per_step",
        *("forward_expected_ms", "backward_expected_ms", "forward_floor_ms", "backward_floor_ms"),
    }


def test_units_end_the_names():
    ends = {"ms": "_ms", "s": "_s", "bytes": "_bytes"}
    for name, kind in KINDS.items():
        if kind.unit in ends:
            assert name.endswith(ends[kind.unit])
