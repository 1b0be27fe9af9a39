import pytest

from spion_bench.records import Turn
from spion_bench.report.load import load_records
from spion_bench.report.narrative import headlines
from spion_bench.report.page import build_page
from spion_bench.report.tables.ratios import ratio_tables, turn_table
from spion_bench.report.tables.rivals import rival_tables
from tests.report.reading import plain, rows_of, titled
from tests.report.run_writer import IMAGE, RunWriter, metric, sampled

# Milliseconds of a step and of attention, and modelled operations of attention.
COSTS = {
    "dense_sdpa": (100.0, 60.0, 1000),
    "spion_cf": (50.0, 5.0, 50),
    "longformer": (200.0, 40.0, 500),
    "bigbird_hf": (75.0, 45.0, 400),
    "longformer@matched": (70.0, 20.0, 60),
    "spion+bigbird_block": (60.0, 8.0, 400),
    "flex": (45.0, 4.0, 50),
}


@pytest.fixture
def run_of(tmp_path):
    def run_of(write):
        writer = RunWriter(tmp_path)
        write(writer)
        return load_records(tmp_path)

    return run_of


def add_speed(writer, method, *, task=IMAGE, scale=1.0, **fields):
    step, attention, flops = COSTS[method]
    metrics = {
        "train_step_ms": sampled(step * scale, "ms", seed=len(method)),
        "attention_ms": sampled(attention * scale, "ms", seed=len(method) + 1),
        "attention_flops_per_step": metric(flops, "FLOP", modelled=True),
    }
    writer.add("speed", method, task=task, metrics=metrics, cell={"batch_size": 4}, **fields)


def write_speeds(writer):
    for method in COSTS:
        add_speed(writer, method)
    writer.add("speed", "reformer", status="unsupported", reason="not here")


def test_the_fastest_rival_is_named_at_any_setting(run_of):
    table = titled(rival_tables(run_of(write_speeds)), "image, L = 1024: rivals")
    rows = rows_of(table)
    assert set(rows) == {"spion_cf", "longformer", "longformer@matched", "bigbird_hf", "reformer"}
    assert rows["longformer"]["train_step_lead"].value == pytest.approx(4.0, rel=0.05)
    assert rows["longformer"]["train_step_lead"].note == "faster"
    assert rows["bigbird_hf"]["attention_lead"].value == pytest.approx(9.0, rel=0.05)
    assert rows["longformer"]["scores_kept_ratio"].value == 0.5
    assert rows["longformer"]["scores_kept_ratio"].flag == "modelled"
    assert rows["reformer"]["train_step_lead"].flag == "missing"
    assert rows["reformer"]["train_step_lead"].note == "unsupported: not here"
    step, attention = (plain(note) for note in table.notes)
    assert step.startswith("Fastest rival, training step: longformer@matched; spion_cf is 1.")
    assert attention.startswith("Fastest rival, attention alone: longformer@matched; ")
    assert "Batch: 4 per step" in table.caption


def test_what_isolates_a_cause_is_no_rival(run_of):
    run = run_of(write_speeds)
    rows = rows_of(titled(rival_tables(run), "image, L = 1024: SPION's kernel"))
    assert set(rows) == {"spion_cf", "spion+bigbird_block", "flex"}
    assert rows["flex"]["train_step_lead"].value < 1
    assert rows["flex"]["train_step_lead"].note == "slower"
    found = {headline.label: headline for headline in headlines(run)}
    best = found["Training step, spion_cf against the fastest rival"]
    basis = plain(best.basis)  # the four ratios stand together
    assert basis.startswith("image, L = 1024; fastest rival, whatever its setting: 1.4")
    assert "same kernel, as many blocks in a window: not measured" in basis


def test_without_spion_cf_there_is_nothing_to_compare(run_of):
    run = run_of(lambda writer: add_speed(writer, "longformer"))
    assert rival_tables(run) == []
    assert "rivals" not in {section.key for section in build_page(run).sections}


def test_marked_numbers_are_shown_as_marked_and_are_in_no_headline(run_of):
    turn = {"methods": list(COSTS), "rounds": 8, "baseline": "dense_sdpa", "marks": ["it was busy"]}

    def write(writer):
        for method, (step, attention, _) in COSTS.items():
            times = {"train_step_ms": step, "attention_ms": attention}
            metrics = {name: sampled(value, "ms") for name, value in times.items()}
            writer.add("speed", method, task=IMAGE, metrics=metrics, turn=Turn(**turn))

    run = run_of(write)
    labels = [headline.label for headline in headlines(run)]
    assert labels == ["Cells with numbers"]
    rows = rows_of(titled(rival_tables(run), "image, L = 1024: rivals"))
    assert rows["longformer"]["train_step_lead"].note.endswith("marked")
    ratios = rows_of(titled(ratio_tables(run), "image, L = 1024: the four ratios"))
    assert all(row["train_step_ms_ratio"].flag in ("warning", "missing") for row in ratios.values())
    assert (
        "it was busy" in ratios["fastest rival, whatever its setting"]["train_step_ms_ratio"].note
    )
    turns = turn_table(run)
    assert "it was busy" in str(turns.rows)
