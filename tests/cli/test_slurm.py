"""``run`` and ``plan`` with ``--executor slurm``, with submitit's executor on this machine."""

import pytest
from click.testing import CliRunner

from spion_bench.cli import main
from spion_bench.records.store import Store
from spion_bench.run.executors import slurm


def invoke(*arguments):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    return result, " ".join(result.output.split())


@pytest.fixture
def submitted(monkeypatch):
    """Record what would be submitted."""
    calls = []

    def submit(parts, options, folder, settings, **resources):
        calls.append((parts, options, folder, settings, resources))
        return []

    monkeypatch.setattr(slurm, "submit", submit)
    return calls


def test_plan_prints_the_jobs():
    result, said = invoke("plan", "--profile", "tiny", "--executor", "slurm", "--threads", 1)
    assert result.exit_code == 0, result.output
    assert "3 jobs" in said
    for name in ("image-seed0", "image-speed-memory", "kernels-kernel"):
        assert name in said
    assert "alone on a node, after the others" in said
    assert "of 15 cells to do; of others nothing is known" in said


def test_a_run_is_handed_over_and_says_how_to_collect(tmp_path, submitted):
    cluster = tmp_path / "cluster.toml"
    cluster.write_text('partition = "gpu"\n', encoding="utf-8")
    out = tmp_path / "out"
    result, said = invoke(
        *("run", "--profile", "tiny", "--executor", "slurm", "--slurm", cluster),
        *("--threads", 1, "--method", "spion_cf", "--data-dir", tmp_path, "--out", out),
    )
    assert result.exit_code == 0, result.output
    [(parts, options, folder, settings, resources)] = submitted
    assert parts[0].name == "image-seed0"
    assert folder == tmp_path / "out-parts"
    assert settings.partition == "gpu"
    assert resources == {"threads": 1, "gpus": 0}
    assert options == (
        *("--threads", "1", "--profile", "tiny", "--method", "spion_cf", "--device", "cpu"),
        *("--data-dir", str(tmp_path)),
    )
    assert f"spion-bench merge {folder} --out {out}" in said
    assert not out.exists()


def test_a_job_has_what_all_processes_of_a_cell_need(tmp_path, submitted):
    result, _ = invoke(
        *("run", "--profile", "tiny", "--executor", "slurm", "--threads", 3),
        *("--processes-per-cell", 2, "--out", tmp_path / "out"),
    )
    assert result.exit_code == 0, result.output
    [(_, options, _, _, resources)] = submitted
    assert resources == {"threads": 6, "gpus": 0}
    assert options[options.index("--processes-per-cell") + 1] == "2"
    assert options[options.index("--threads") + 1] == "3"


def test_wrong_settings_are_a_usage_error(tmp_path):
    cluster = tmp_path / "cluster.toml"
    cluster.write_text("hours = -1\n", encoding="utf-8")
    options = ("--executor", "slurm", "--slurm", cluster, "--out", tmp_path / "out")
    result, said = invoke("run", "--profile", "tiny", *options)
    assert result.exit_code == 2
    assert "hours" in said


@pytest.mark.slow
def test_jobs_of_this_machine_are_awaited_collected_and_kept(tmp_path):
    cluster = tmp_path / "cluster.toml"
    cluster.write_text('cluster = "local"\n', encoding="utf-8")
    out = tmp_path / "out"
    command = (
        *(
            "run",
            "--profile",
            "tiny",
            "--method",
            "dense_sdpa",
            "--pass",
            "gate",
            "--threads",
            1,
            "--no-report",
        ),
        *("--executor", "slurm", "--slurm", cluster, "--wait", "--out", out),
    )
    result, _ = invoke(*command)
    assert result.exit_code == 0, result.output
    first = Store(out).records
    assert {record.cell.pass_name for record in first} == {"gate"}
    result, said = invoke(*command)
    assert result.exit_code == 0, result.output
    assert "0 records and 0 artifacts added" in said
    assert Store(out).records == first
