import itertools
import json
import math
from pathlib import Path

import pytest
import torch

from spion_bench.pattern.transition import TransitionMonitor, change_percent

GOLDEN = Path(__file__).parents[1] / "data" / "golden.json"
CASES = [
    case
    for case in json.loads(GOLDEN.read_text(encoding="utf-8"))["cases"]
    if case["group"] == "transition"
]
SNAPSHOT_CASES = [case for case in CASES if "snapshots" in case["inputs"]]
SERIES_CASES = [case for case in CASES if "distances" in case["inputs"]]


def drifting(*positions: float) -> list[torch.Tensor]:
    """One layer's maps, one per evaluation, that differ in one cell only."""
    return [torch.tensor([[0.0, 0.0], [0.0, position]]) for position in positions]


SETTLES_AT_3 = drifting(0, 10, 10)  # distances 10, 10: change 0
SETTLES_AT_5 = drifting(0, 10, 30, 31, 32)  # distances 10, 30, 1, 1: changes 200, 96.7, 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("mode", ["joint", "per_layer"])
@pytest.mark.parametrize("case", SNAPSHOT_CASES, ids=[case["id"] for case in SNAPSHOT_CASES])
def test_golden_snapshots(case, mode, dtype):
    threshold = case["inputs"]["threshold_percent"]
    monitor = TransitionMonitor(1, mode=mode, threshold_percent=threshold)
    # Rounding the maps to float32 moves a distance of 0.06 by 1e-7: 2e-4 percent.
    tolerance = case["tolerance"] if dtype == torch.float64 else 5e-4
    for maps, expected in zip(case["inputs"]["snapshots"], case["expected"]["log"], strict=True):
        newly = monitor.observe([torch.tensor(layer, dtype=dtype) for layer in maps])
        entry = monitor.log[-1]
        assert newly == [expected["transition"]]
        assert entry["evaluation"] == expected["evaluation"]
        for name in ("distance", "change_percent"):
            wanted = [None] if expected[name] is None else expected[name]
            assert entry[name] == pytest.approx(wanted, abs=tolerance)
    assert monitor.settled == [True]
    assert len(monitor.log) == case["expected"]["transition_at_evaluation"]


@pytest.mark.parametrize("case", SERIES_CASES, ids=[case["id"] for case in SERIES_CASES])
def test_golden_series_of_distances(case):
    distances = case["inputs"]["distances"]
    changes = [change_percent(*pair) for pair in itertools.pairwise(distances)]
    expected = case["expected"]["change_percent"][1:]
    assert changes == pytest.approx(expected, abs=case["tolerance"])


@pytest.mark.parametrize("case", SERIES_CASES, ids=[case["id"] for case in SERIES_CASES])
def test_golden_series_through_the_monitor(case):
    distances = case["inputs"]["distances"]
    # From evaluation 3 on the reference is the previous map, before it is the first one.
    positions = [0.0, distances[0], distances[1]]
    for distance in distances[2:]:
        positions.append(positions[-1] + distance)
    monitor = TransitionMonitor(1, threshold_percent=case["inputs"]["threshold_percent"])
    settled_at = None
    for index, current in enumerate(drifting(*positions)):
        if monitor.observe([current.double()]) == [True]:
            settled_at = index - 1  # evaluation 2, at index 1, records distance 0
            break
    assert settled_at == case["expected"]["transition_index"]


def test_change_after_a_zero_distance():
    assert change_percent(0.0, 0.0) == 0.0
    assert change_percent(0.0, 1e-9) == math.inf


def test_maps_that_never_change_settle_at_the_third_evaluation():
    monitor = TransitionMonitor(2)
    same = torch.eye(3)
    assert [monitor.observe([same, same]) for _ in range(3)] == [[False] * 2] * 2 + [[True] * 2]


def test_an_infinite_change_does_not_pass():
    monitor = TransitionMonitor(1)
    for current in drifting(1, 1, 2):
        assert monitor.observe([current]) == [False]
    assert monitor.log[-1]["change_percent"] == [math.inf]


@pytest.mark.parametrize(
    ("last", "settles"), [(1.149, True), (1.151, False), (0.851, True), (0.849, False)]
)
def test_the_published_threshold_is_fifteen_percent_up_or_down(last, settles):
    monitor = TransitionMonitor(1)
    newly = [monitor.observe([current.double()]) for current in drifting(0, 1, last)]
    assert newly[-1] == [settles]


def test_a_fractional_threshold_sees_the_whole_percents_only():
    for last, settles in ((1.1599, True), (1.1601, False)):  # 15 and 16 whole percents
        monitor = TransitionMonitor(1, threshold_percent=15.5)
        newly = [monitor.observe([current.double()]) for current in drifting(0, 1, last)]
        assert newly[-1] == [settles]


def test_joint_mode_waits_until_all_layers_pass_at_the_same_evaluation():
    early = drifting(0, 10, 10, 30, 70)  # changes: 0, 100, 100
    late = SETTLES_AT_5  # changes: 200, 96.7, 0
    monitor = TransitionMonitor(2, mode="joint")
    for maps in zip(early, late, strict=True):
        assert monitor.observe(maps) == [False, False]
    assert monitor.settled == [False, False]
    # Both layers now move as far as they did before: 40 and 1.
    assert monitor.observe([*drifting(110), *drifting(33)]) == [True, True]
    assert monitor.settled == [True, True]


def test_layers_settle_on_their_own_in_per_layer_mode():
    monitor = TransitionMonitor(2, mode="per_layer")
    newly = []
    for evaluation, late in enumerate(SETTLES_AT_5):
        early = SETTLES_AT_3[evaluation] if evaluation < 3 else None
        newly.append(monitor.observe([early, late]))
    assert newly == [[False, False]] * 2 + [[True, False], [False, False], [False, True]]
    assert monitor.settled == [True, True]
    assert monitor.log[3]["distance"] == [None, 1.0]
    assert monitor.log[4]["change_percent"] == [None, 0.0]


def test_distance_is_summed_in_float64():
    # Squares of 1e-4 next to one of 1: in float32 the small ones would drift or vanish.
    first = torch.zeros(1000, 1000)
    second = torch.full((1000, 1000), 1e-4)
    second[0, 0] = 1.0
    monitor = TransitionMonitor(1)
    monitor.observe([first])
    monitor.observe([second])
    exact = math.sqrt(1.0 + (1000 * 1000 - 1) * float(torch.tensor(1e-4)) ** 2)
    assert monitor.log[-1]["distance"] == pytest.approx([exact], rel=1e-12)


@pytest.mark.parametrize("mode", ["joint", "per_layer"])
@pytest.mark.parametrize("saved_after", range(6))
def test_a_restored_monitor_goes_on_as_if_never_stopped(mode, saved_after):
    # The first layer has an infinite change at evaluation 3 and settles at evaluation 5.
    first = drifting(1, 1, 2, 3, 4, 5)
    second = drifting(0, 10, 30, 31, 33, 35)
    straight = TransitionMonitor(2, mode=mode)
    stopped = TransitionMonitor(2, mode=mode)
    for evaluation, maps in enumerate(zip(first, second, strict=True)):
        if evaluation == saved_after:
            tensors, values = stopped.state_dict()
            values = json.loads(json.dumps(values, allow_nan=False))
            stopped = TransitionMonitor(2, mode=mode)
            stopped.load_state_dict(tensors, values)
            assert stopped.log == straight.log
        due = [
            None if settled else current
            for settled, current in zip(straight.settled, maps, strict=True)
        ]
        assert stopped.observe(due) == straight.observe(due)
        assert stopped.settled == straight.settled
        assert stopped.log == straight.log
    assert straight.settled[0]


def test_state_of_other_settings_is_refused():
    tensors, values = TransitionMonitor(2, mode="joint").state_dict()
    with pytest.raises(ValueError, match=r"mode: expected 'per_layer', got a state .*'joint'"):
        TransitionMonitor(2, mode="per_layer").load_state_dict(tensors, values)
    with pytest.raises(ValueError, match="n_layers: expected 3"):
        TransitionMonitor(3).load_state_dict(tensors, values)


def test_maps_with_gradient_are_kept_without_it():
    monitor = TransitionMonitor(1)
    monitor.observe([torch.eye(2).requires_grad_()])
    tensors, _ = monitor.state_dict()
    assert not tensors["reference.0"].requires_grad


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_map_that_is_not_finite_is_refused_and_changes_nothing(value):
    monitor = TransitionMonitor(2)
    monitor.observe([torch.eye(2), torch.eye(2)])
    before = json.dumps(monitor.state_dict()[1])
    broken = torch.full((2, 2), value)
    with pytest.raises(ValueError, match=r"maps\[1\]: expected finite numbers, got NaN"):
        monitor.observe([torch.eye(2), broken])
    assert json.dumps(monitor.state_dict()[1]) == before
    assert torch.equal(monitor.state_dict()[0]["reference.0"], torch.eye(2))


def test_errors_name_the_wrong_map():
    monitor = TransitionMonitor(2, mode="per_layer")
    with pytest.raises(ValueError, match="maps: expected 2 maps, one per layer, got 1"):
        monitor.observe([torch.eye(2)])
    with pytest.raises(ValueError, match=r"maps\[1\]: expected a map, got None"):
        monitor.observe([torch.eye(2), None])
    monitor.observe([torch.eye(2), torch.eye(2)])
    with pytest.raises(ValueError, match=r"maps\[0\]: expected shape \[2, 2\].*got \[3, 3\]"):
        monitor.observe([torch.eye(3), torch.eye(2)])
    for late in (10.0, 30.0):
        monitor.observe([torch.eye(2), *drifting(late)])
    assert monitor.settled == [True, False]
    with pytest.raises(ValueError, match=r"maps\[0\]: expected None, the layer has settled"):
        monitor.observe([torch.eye(2), torch.eye(2)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_layers": 0}, "n_layers: expected at least 1, got 0"),
        ({"n_layers": 1, "mode": "all"}, "mode: expected 'joint' or 'per_layer', got 'all'"),
        ({"n_layers": 1, "threshold_percent": 0}, "threshold_percent: expected a positive number"),
        ({"n_layers": 1, "threshold_percent": math.nan}, "threshold_percent: expected a positive"),
    ],
)
def test_settings_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        TransitionMonitor(**arguments)
