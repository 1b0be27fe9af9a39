"""``run`` with several workers or processes; the rest of it is tested in ``test_main``."""

import pytest
from click.testing import CliRunner

from spion_bench.cli import main
from spion_bench.measure.machine import available_cores
from spion_bench.records.store import Store


def run(out, *options):
    arguments = ["run", "--profile", "tiny", "--no-report", "--out", out, *options]
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_more_workers_than_cores_are_refused_before_anything_is_written(tmp_path):
    cores = available_cores()
    result = run(tmp_path / "out", "--workers", 2, "--threads", cores)
    assert result.exit_code == 2
    said = " ".join(result.output.split())
    assert f"need {2 * cores} cores, and here are {cores}; ask for --workers 1" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.skipif(available_cores() < 2, reason="two workers need two cores")
def test_gates_run_side_by_side(tmp_path):
    result = run(tmp_path, "--workers", 2, "--threads", 1, "--pass", "gate")
    assert result.exit_code == 0, result.output
    first, second = Store(tmp_path).records
    assert {one.measurement.extra["side_by_side"] for one in (first, second)} == {2}
    assert first.started_at < second.ended_at
    assert second.started_at < first.ended_at


@pytest.mark.slow
@pytest.mark.skipif(available_cores() < 2, reason="two processes need two cores")
def test_two_processes_train_a_cell(tmp_path):
    shared = ("--processes-per-cell", 2, "--pass", "accuracy", "--method", "spion_cf")
    result = run(tmp_path, *shared, "--threads", available_cores())
    assert result.exit_code == 2
    assert f"2 processes with {available_cores()} threads each" in result.output
    result = run(tmp_path, *shared)  # the cores are shared
    assert result.exit_code == 0, result.output
    prefix, accuracy = Store(tmp_path).records
    assert [prefix.cell.pass_name, accuracy.cell.pass_name] == ["prefix", "accuracy"]
    assert {one.cell.processes for one in (prefix, accuracy)} == {2}
    assert {one.cell.threads for one in (prefix, accuracy)} == {available_cores() // 2}
