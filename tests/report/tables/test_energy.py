import pytest

from spion_bench.records import GpuReadings, Spread
from spion_bench.report.load import load_records
from spion_bench.report.page import build_page
from spion_bench.report.tables.energy import energy_sentence, energy_tables, gpu_table
from spion_bench.report.tables.summary import summary_tables
from tests.report.reading import plain, rows_of
from tests.report.run_writer import IMAGE, RunWriter, metric

GPU = GpuReadings(
    readings=40,
    sm_clock_mhz=Spread(lowest=1380, median=1395, highest=1410),
    temperature_c=Spread(lowest=61, median=61, highest=61),
    throttle_reasons=["sw_power_cap"],
    throttled=3,
    problems={"power_w": "NVML: Insufficient Permissions"},
)
ON_GPU = {"device": "cuda"}


@pytest.fixture
def load(tmp_path):
    """Write cells with a function and return them as a report reads them."""

    def load(write):
        write(RunWriter(tmp_path / "run"))
        return load_records(tmp_path / "run")

    return load


def add_energy(writer):
    for method, joules in (("dense_sdpa", 4.0), ("spion_cf", 2.0)):
        metrics = {
            "step_joules": metric(joules, "J"),
            "sequence_joules": metric(joules / 8, "J"),
            "power_w": metric(90.0, "W"),
        }
        writer.add(
            "energy", method, task=IMAGE, metrics=metrics, energy_method="a counter", gpu=GPU
        )


def test_joules_stand_beside_the_saving_and_how_they_were_counted(load):
    run = load(add_energy)
    [table] = energy_tables(run)
    rows = rows_of(table)
    assert plain(rows["spion_cf"]["step_joules"].text) == "2.00 J"
    assert rows["spion_cf"]["energy_saving"].value == pytest.approx(2.0)
    assert "step_dram_joules" not in rows["spion_cf"]  # no such counter
    assert table.caption.startswith("By a counter.")
    assert energy_sentence(run) == "Energy has a section of its own."
    assert {"energy", "turns"} <= {section.key for section in build_page(run).sections}


def test_energy_that_was_not_measured_says_why(load, sample):
    assert energy_sentence(sample) == "Energy was not measured: this run has no energy cell."

    def write(writer):
        writer.add("energy", "dense_sdpa", status="unsupported", reason="no counter here")

    run = load(write)
    assert energy_sentence(run) == "Energy was not measured: no counter here."
    assert energy_tables(run) == []


def test_the_gpus_state_is_shown_with_what_could_not_be_read(load, sample):
    row = rows_of(gpu_table(load(add_energy)), "method")["spion_cf",]
    assert row["sm_clock_mhz"].text == "1395 (1380 to 1410)"
    assert row["sm_clock_mhz"].note == "throttled in 3 of 40 readings: sw_power_cap"
    assert row["temperature_c"].text == "61"
    assert (row["power_w"].flag, row["power_w"].note) == (
        "missing",
        "NVML: Insufficient Permissions",
    )
    assert gpu_table(sample) is None


def test_memory_has_two_columns_on_a_gpu_and_one_on_the_cpu(load, sample):
    unseen = GpuReadings(problems={"process_peak_bytes": "in a container"})

    def write(writer):
        peaks = {"train_step_peak_bytes": metric(1e8, "bytes")}
        both = {**peaks, "process_peak_bytes": metric(5e8, "bytes")}
        writer.add("memory", "dense_sdpa", task=IMAGE, metrics=both, gpu=GPU, cell=ON_GPU)
        writer.add("memory", "spion_cf", task=IMAGE, metrics=peaks, gpu=unseen, cell=ON_GPU)

    [table] = summary_tables(load(write))
    rows = rows_of(table)
    assert rows["dense_sdpa"]["train_step_peak_bytes"].value == pytest.approx(1e8)
    assert rows["dense_sdpa"]["process_peak_bytes"].value == pytest.approx(5e8)
    seen = rows["spion_cf"]["process_peak_bytes"]
    assert (seen.flag, seen.note) == ("missing", "in a container")
    for table in summary_tables(sample):
        assert "process_peak_bytes" not in [column.key for column in table.columns]
        assert not any("process" in note for note in table.notes)
