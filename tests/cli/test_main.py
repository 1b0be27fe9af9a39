import errno
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from click.testing import CliRunner

from spion_bench.cli import main
from spion_bench.measure.memory import clear_refs_problem
from spion_bench.native.library import BuildError
from spion_bench.records.store import Store


def invoke(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory):
    """The tiny profile, run end to end: child processes, records, report."""
    folder = tmp_path_factory.mktemp("tiny")
    options = ["--profile", "tiny", "--threads", 2, "--out", folder / "out"]
    result = invoke("run", *options, "--report-dir", folder / "report")
    return folder, options, result


@pytest.mark.slow
class TestEndToEnd:
    def test_every_cell_has_a_record_and_all_are_well(self, tiny_run):
        folder, _, result = tiny_run
        assert result.exit_code == 0, result.output
        statuses = {}
        for record in Store(folder / "out").records:
            statuses.setdefault(record.cell.pass_name, []).append(record.measurement.status)
        memory = "ok" if clear_refs_problem() is None else "unsupported"
        assert statuses == {
            "gate": ["ok"] * 2,
            "prefix": ["ok"],
            "accuracy": ["ok"] * 2,
            "speed": ["ok"] * 2,
            "memory": [memory] * 2,
            "kernel": ["ok"] * 6,
        }

    def test_records_say_where_they_come_from(self, tiny_run):
        folder, _, _ = tiny_run
        for record in Store(folder / "out").records:
            assert record.environment.torch == torch.__version__
            assert record.environment.threads == 2
            assert record.cell.label
            if record.cell.pass_name != "kernel":
                assert record.measurement.task.source == "digits"
                assert record.measurement.task.stand_in

    def test_speed_uses_the_learned_pattern_and_gates_it(self, tiny_run):
        folder, _, _ = tiny_run
        records = Store(folder / "out").records
        by_name = {(r.cell.pass_name, r.cell.method.name): r for r in records}
        accuracy, speed = by_name["accuracy", "spion_cf"], by_name["speed", "spion_cf"]
        assert speed.measurement.pattern.source == f"accuracy cell {accuracy.key}"
        assert speed.measurement.pattern.nnzb == accuracy.measurement.pattern.nnzb
        assert all(error.is_within for error in speed.measurement.gate)
        assert speed.measurement.gate
        gate = by_name["gate", "spion_cf"].measurement
        assert gate.pattern.source == "synthetic band+stripes"

    def test_forks_name_their_parent(self, tiny_run):
        folder, _, _ = tiny_run
        records = {r.key: r for r in Store(folder / "out").records}
        forks = [r for r in records.values() if r.cell.pass_name == "accuracy"]
        assert {records[fork.cell.parent].cell.pass_name for fork in forks} == {"prefix"}

    def test_summary_and_report(self, tiny_run):
        folder, _, result = tiny_run
        assert "15 cells: 15 ok" in result.output
        assert str(folder / "report" / "index.html") in result.output
        assert "spion_cf" in (folder / "report" / "index.html").read_text()

    def test_running_again_measures_nothing(self, tiny_run):
        folder, options, _ = tiny_run
        before = (folder / "out" / "records.jsonl").read_bytes()
        result = invoke("run", *options, "--no-report")
        assert result.exit_code == 0
        assert "15 cells, 15 of them already measured" in result.output
        assert "Report:" not in result.output
        assert (folder / "out" / "records.jsonl").read_bytes() == before

    def test_plan_knows_what_is_measured_and_how_long_the_rest_takes(self, tiny_run):
        _, options, _ = tiny_run
        result = invoke("plan", *options)
        assert result.output.count("measured") == 15
        assert "Estimated time left: 0 s" in result.output
        again = invoke("plan", *options[:2], "--threads", 1, *options[4:])
        assert again.output.count("to do") == 15
        assert "unknown" not in again.output

    def test_report_alone(self, tiny_run, tmp_path):
        folder, _, _ = tiny_run
        result = invoke("report", folder / "out", "--report-dir", tmp_path)
        assert result.exit_code == 0
        assert (tmp_path / "report.md").exists()

    def test_ctrl_c_stops_the_workers_and_says_how_to_go_on(self, tmp_path):
        command = [sys.executable, "-u", "-m", "spion_bench", "run", "--profile", "tiny"]
        run = subprocess.Popen(
            [*command, "--out", tmp_path, "--no-report"], stdout=subprocess.PIPE, text=True
        )
        with run:
            for line in run.stdout:
                if line.startswith("start"):
                    break
            while not (children := children_of(run.pid)):
                time.sleep(0.01)
            run.send_signal(signal.SIGINT)
            rest = run.stdout.read()
        assert run.returncode == 130
        assert "the same command (without --fresh) continues" in rest
        assert len(children) == 1
        assert not any(is_running(pid) for pid in children)

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
    def test_cuda_without_a_gpu_is_honestly_unsupported(self, tmp_path):
        options = ["--profile", "tiny", "--pass", "gate", "--method", "dense_sdpa"]
        result = invoke("run", *options, "--device", "cuda", "--out", tmp_path, "--no-report")
        assert result.exit_code == 0
        (record,) = Store(tmp_path).records
        assert record.measurement.status == "unsupported"
        assert not record.measurement.is_final
        assert "no CUDA device" in record.measurement.reason

    def test_missing_data_is_skipped_with_the_way_to_get_it(self, tmp_path):
        profile = tmp_path / "mine.toml"
        profile.write_text(
            'name = "mine"\ndescription = ""\n[[cells]]\npasses = ["gate"]\ntask = "image"\n'
            'options = { source = "cifar10" }\nmethods = ["dense_sdpa"]\n'
        )
        result = invoke("run", "--profile", profile, "--out", tmp_path / "out", "--no-report")
        assert result.exit_code == 1
        (record,) = Store(tmp_path / "out").records
        assert record.measurement.status == "skipped"
        assert "cifar-10-binary.tar.gz" in record.measurement.reason


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(child) for child in file.read().split()]


def is_running(pid):
    return os.path.exists(f"/proc/{pid}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--profile", "smok"], "did you mean 'smoke'"),
        (["--method", "spion_fc"], "unknown method 'spion_fc'"),
        (["--task", "imge"], "did you mean 'image'"),
        (["--pass", "speeed"], "did you mean 'speed'"),
        (["--seeds", "one"], "expected seeds like 0,1,2 or 0-4, got 'one'"),
        (["--seeds", "4-0"], "expected seeds like 0,1,2 or 0-4, got '4-0'"),
        (["--seeds", "0-4-9"], "expected seeds like 0,1,2 or 0-4, got '0-4-9'"),
        (["--seeds", "-1"], "expected seeds like 0,1,2 or 0-4, got '-1'"),
        (["--seeds", "0-999999"], "expected at most 1000 seeds"),
        (["--task", "text"], "has no cell of task text; these profiles have: calibrate, matrix"),
        (["--task", "image", "--pass", "kernel"], "no cell of profile smoke matches"),
        (["--device", "tpu"], "'tpu' is not one of"),
        (["--threads", "0"], "0 is not in the range"),
        (["--data-dir", "/no/such/folder"], "does not exist"),
    ],
)
@pytest.mark.parametrize("command", ["plan", "run"])
def test_wrong_usage_ends_with_code_2_and_the_reason(command, arguments, message, tmp_path):
    result = invoke(command, *arguments, "--out", tmp_path)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("0,2", {0, 2}), ("1-2", {1, 2}), ("0-1,2", {0, 1, 2}), ("0-4", {0, 1, 2, 3, 4})],
)
def test_seeds_are_lists_and_ranges(text, seeds, tmp_path):
    chosen = ["--pass", "accuracy", "--task", "image", "--seeds", text]
    result = invoke("plan", *chosen, "--out", tmp_path)
    found = {seed for seed in range(9) if f"dense_sdpa-s{seed}-" in result.output}
    assert found == seeds


def test_plan_shows_what_was_added_and_its_budgets(tmp_path):
    asked = ["--task", "image", "--method", "reformer", "--out", tmp_path / "out"]
    lines = invoke("plan", *asked).output.splitlines()
    assert lines[0].startswith("note: method reformer is not in profile smoke; it has")
    assert "accuracy image256: 400 steps with batches of 48, at most 600 s a cell" in lines
    assert any(line.startswith("speed image1024: at least ") for line in lines)


def test_plan_of_a_new_folder_measures_nothing(tmp_path):
    result = invoke("plan", "--profile", "tiny", "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert result.output.count("to do") == 15
    assert "15 cells of unknown duration" in result.output
    assert not (tmp_path / "out").exists()


def test_a_name_that_no_file_system_takes_is_one_sentence(tmp_path):
    result = invoke("plan", "--profile", "tiny", "--out", tmp_path / ("a" * 300))
    assert result.exit_code == 1
    assert result.output.startswith("Error: [Errno 36] File name too long")


def test_damaged_records_are_pointed_out(tmp_path):
    (tmp_path / "records.jsonl").write_text("{half\n")
    result = invoke("plan", "--profile", "tiny", "--out", tmp_path)
    assert "records.jsonl:1: not a record, skipped" in result.output


def test_list_names_everything():
    result = invoke("list")
    assert result.exit_code == 0
    for name in ("listops", "spion_cf", "accuracy", "smoke", "attention_4096"):
        assert name in result.output


COMMANDS = ("", *main.commands)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command):
    result = invoke(*command.split(), "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_examples_are_not_folded():
    lines = invoke("run", "--help").output.splitlines()
    assert "    spion-bench run" in lines
    assert "    spion-bench run --profile my_profile.toml --out results/local/mine" in lines


def test_python_m_is_the_same_command():
    answer = subprocess.run(
        [sys.executable, "-m", "spion_bench", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.startswith("spion-bench, version")


TINY_GATE = ["run", "--profile", "tiny", "--pass", "gate", "--no-report", "--out"]


def test_a_folder_in_use_is_refused(tmp_path):
    with Store(tmp_path).locked():
        result = invoke(*TINY_GATE, tmp_path)
    assert result.exit_code == 1
    assert "another run is writing here" in result.output


def test_without_kernels_there_is_one_clear_sentence(tmp_path, monkeypatch):
    def fail(**arguments):
        raise BuildError("no C++ compiler: install one")

    monkeypatch.setattr("spion_bench.measure.environment.capture", fail)
    result = invoke(*TINY_GATE, tmp_path)
    assert result.exit_code == 1
    assert result.output.strip().endswith("Error: no C++ compiler: install one")


def test_a_full_disk_ends_the_run_with_the_way_to_go_on(tmp_path, monkeypatch):
    def full(*arguments, **more):
        raise OSError(errno.ENOSPC, "could not store the record; free some space")

    monkeypatch.setattr("spion_bench.run.runner.Runner.run", full)
    result = invoke(*TINY_GATE, tmp_path)
    assert result.exit_code == 1
    assert "free some space" in result.output


def test_a_report_without_records_is_an_error(tmp_path):
    result = invoke("report", tmp_path)
    assert result.exit_code == 1
    assert "the report was not written" in result.output


def test_tables_are_not_folded_in_pipes(tmp_path):
    result = invoke("plan", "--profile", "tiny", "--out", tmp_path)
    assert "kernel-pattern_256-generate_pattern-s0-" in result.output
