import pytest

from spion_bench.records import Metric, TransitionInfo, Turn
from spion_bench.records.ratios import attention_cost, four_ratios, speed_turns
from tests.cells import record_of, tiny_cell

# Milliseconds of a step and of attention alone.
COSTS = {
    "dense_sdpa": (100.0, 60.0),
    "no_attention": (40.0, 1.0),
    "spion_cf": (50.0, 5.0),
    "spion_cf@window": (48.0, 4.0),
    "sliding_window": (90.0, 40.0),
    "sliding_window@matched": (70.0, 20.0),
    "spion+bigbird_block": (60.0, 8.0),
    "spion+strided": (65.0, 7.0),
}


def timed(value):
    drift = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7]
    return Metric(
        value=value,
        unit="ms",
        lower_is_better=True,
        samples=[value * d for d in drift],
        round_sizes=[1] * 8,
    )


BATCH_SIZE = tiny_cell("accuracy").batch_size


def turn_of(names=tuple(COSTS), marks=(), batch_size=BATCH_SIZE):
    turn = Turn(methods=list(names), rounds=8, baseline="dense_sdpa", marks=list(marks))
    return [
        record_of(
            tiny_cell("speed", name, batch_size=batch_size),
            metrics={"train_step_ms": timed(COSTS[name][0]), "attention_ms": timed(COSTS[name][1])},
            turn=turn,
        )
        for name in names
    ]


def trained(share=0.5, is_spion=True):
    found = TransitionInfo(
        step=5, reason="forced", layer_steps=[5], sparse_step_share=share, is_spion=is_spion
    )
    cost = Metric(value=0.1, unit="s", lower_is_better=True)
    return record_of(tiny_cell("accuracy"), transition=found, metrics={"pattern_wall_s": cost})


def shown(comparisons, measure):
    return {
        each.kind: (each.against, pytest.approx(each.ratio.value, rel=1e-3))
        for each in comparisons
        if each.measure == measure
    }


def test_each_ratio_is_against_the_closest_of_its_kind():
    found = four_ratios(turn_of())
    assert shown(found, "train_step_ms") == {
        "fastest": ("sliding_window@matched", 1.4),
        "origin": ("sliding_window", 1.8),
        "pattern": ("spion+bigbird_block", 1.2),
        "blocks": ("spion_cf@window", 0.96),
    }
    assert shown(found, "attention_ms") == {
        "fastest": ("sliding_window@matched", 4.0),
        "origin": ("sliding_window", 8.0),
        "pattern": ("spion+strided", 1.4),
        "blocks": ("spion_cf@window", 0.8),
    }
    assert shown(found, "training") == {}
    assert all(each.ratio.basis.startswith("paired over 8 rounds") for each in found)


def test_whole_training_counts_dense_steps_patterns_and_sparse_steps():
    found = shown(four_ratios(turn_of(), [trained()]), "training")
    # 10 steps, half of them dense; the drift of a round scales steps, not the pattern's 100 ms.
    assert found["fastest"] == ("sliding_window@matched", 700 * 1.35 / (5 * 150 * 1.35 + 100))
    assert found["blocks"][0] == "spion_cf@window"
    never = shown(four_ratios(turn_of(), [trained(share=0.0)]), "training")
    assert never["fastest"][1] == 700 * 1.35 / (10 * 100 * 1.35 + 100)


def test_whole_training_needs_steps_of_its_batch_size_and_runs_that_are_spion():
    assert shown(four_ratios(turn_of(batch_size=BATCH_SIZE + 1), [trained()]), "training") == {}
    assert shown(four_ratios(turn_of(), [trained(is_spion=False)]), "training") == {}


def test_a_rival_that_was_timed_later_is_not_compared():
    first = turn_of(("dense_sdpa", "spion_cf", "sliding_window"))
    later = turn_of(("dense_sdpa", "sliding_window@matched"))
    found = shown(four_ratios([*first, later[1]]), "train_step_ms")
    assert found["fastest"] == ("sliding_window", 1.8)


def test_what_attention_costs_is_over_the_same_model_without():
    assert attention_cost(turn_of(), "spion_cf").value == pytest.approx(1.25)
    assert attention_cost(turn_of(("dense_sdpa", "spion_cf")), "spion_cf") is None


def test_a_marked_turn_marks_its_ratios():
    assert {each.marks for each in four_ratios(turn_of(marks=["busy"]))} == {("busy",)}


def test_without_spion_there_is_nothing_to_compare():
    assert four_ratios(turn_of(("dense_sdpa", "sliding_window"))) == []


def test_turns_are_told_apart():
    other = [
        r.model_copy(update={"cell": r.cell.model_copy(update={"label": "x"})}) for r in turn_of()
    ]
    assert [len(turn) for turn in speed_turns([*turn_of(), *other, trained()])] == [8, 8]
