import json

import numpy as np
import pytest
from click.testing import CliRunner

from spion_bench.cli import main
from spion_bench.report.claims.rules import findings_of
from spion_bench.report.load import load_records
from tests.report.run_writer import IMAGE, RunWriter, metric
from tests.report.sample_run import add_training, layer_arrays
from tests.report.test_evidence import write_run

RIVAL_PEAKS = (
    *(("spion_cf", 90e6), ("bigbird", 99e6)),
    *(("reformer", 120e6), ("longformer@matched", 130e6)),
)


def rounds(centre, unit="ms", *, n=8):
    """Return a metric of one number per round, all within 1 %."""
    values = [centre * (1 + 0.01 * np.sin(i)) for i in range(n)]
    found = metric(float(np.median(values)), unit, samples=values)
    return found.model_copy(update={"round_sizes": [1] * n})


def add_steps(writer, length, **step_ms):
    task = IMAGE.model_copy(update={"length": length})
    for method, value in step_ms.items():
        metrics = {"train_step_ms": rounds(value), "attention_ms": rounds(value)}
        writer.add("speed", method, task=task, metrics=metrics)


def found(writer, rule):
    return findings_of(rule, load_records(writer.folder))


@pytest.fixture
def writer(tmp_path):
    return RunWriter(tmp_path / "run")


def test_a_step_alone_does_not_speak_for_whole_training(writer):
    add_steps(writer, 1024, dense_sdpa=200.0, spion_cf=50.0, reformer=100.0, bigbird=80.0)
    (finding,) = found(writer, "training_speed")
    assert finding.estimate.value == pytest.approx(1.6)
    assert (finding.against, finding.p_value) == ("bigbird", pytest.approx(1 / 256))
    assert "a step was timed" in finding.marks[0]


def test_memory_is_compared_with_the_rival_that_needs_least(writer):
    for method, peak in RIVAL_PEAKS:
        writer.add("memory", method, metrics={"train_step_peak_bytes": rounds(peak, "bytes")})
    (finding,) = found(writer, "memory")
    assert (finding.against, finding.marks) == ("bigbird", ())
    assert finding.estimate.value == pytest.approx(1.1)
    assert finding.p_value == pytest.approx(1 / 256)


def test_two_rivals_do_not_speak_for_all(writer):
    for method, peak in RIVAL_PEAKS[:3]:
        writer.add("memory", method, metrics={"train_step_peak_bytes": rounds(peak, "bytes")})
    (finding,) = found(writer, "memory")
    assert finding.marks == ("only 2 rivals measured",)


def test_growth_compares_the_longest_with_the_shortest(writer):
    for length, dense in ((256, 60.0), (512, 150.0), (1024, 400.0)):
        add_steps(writer, length, dense_sdpa=dense, spion_cf=50.0)
    (finding,) = found(writer, "growth")
    assert finding.estimate.value == pytest.approx(400 / 60)
    assert finding.p_value < 0.01


def test_growth_needs_three_lengths(writer):
    for length in (256, 512):
        add_steps(writer, length, dense_sdpa=60.0, spion_cf=50.0)
    assert found(writer, "growth") == []


def test_quality_is_against_the_best_rival(tmp_path):
    run = write_run(tmp_path, bag=0.6, bigbird=0.7, reformer=0.6, linformer=0.6)
    (finding,) = findings_of("quality", run)
    assert (finding.against, finding.marks) == ("bigbird", ())
    assert finding.estimate.value == pytest.approx(0.05, abs=0.011)


def test_both_variants_are_compared(tmp_path):
    run = write_run(tmp_path, bag=0.6, spion_c=0.5, spion_f=0.74)
    findings = {finding.against: finding for finding in findings_of("filter_and_fill", run)}
    assert set(findings) == {"spion_c", "spion_f"}
    assert findings["spion_c"].estimate.value == pytest.approx(0.25, abs=0.011)
    assert findings["spion_c"].p_value < 0.01 < findings["spion_f"].p_value


def test_accuracies_that_a_shortcut_reaches_do_not_speak(tmp_path):
    run = write_run(tmp_path, bag=0.83, bigbird=0.7)
    (finding,) = findings_of("quality", run)
    assert "not shown to be better than bag" in finding.marks[0]


@pytest.mark.parametrize("is_own", [True, False])
def test_layers_differ_if_seeds_agree_more_than_layers(writer, is_own):
    nb = 16
    for seed in range(3):
        rng = np.random.default_rng(seed)
        kept = []
        for layer in range(2):
            mask = np.eye(nb, dtype=bool)
            mask[:, 3 * layer if is_own else 0] = True  # a stripe of its own, or the same
            mask[rng.integers(nb, size=seed + 1), rng.integers(nb, size=seed + 1)] = True
            kept.append(mask)
        add_training(writer, IMAGE, "spion_cf", seed, accuracy=0.9, transition=100)
        replace_artifact(writer, seed, layer_arrays(kept, rng))
    (finding,) = found(writer, "layers_differ")
    assert (finding.p_value < 0.05) == is_own


def replace_artifact(writer, seed, arrays):
    """Let the last record's artifact hold other layers."""
    lines = writer.path.read_text(encoding="utf-8").splitlines()
    record = json.loads(lines[-1])
    (name,) = record["measurement"]["artifacts"]
    with np.load(writer.folder / "artifacts" / name) as old:
        arrays = {**{k: v for k, v in old.items() if k.startswith("curve")}, **arrays}
    record["measurement"]["artifacts"] = writer.add_artifact(f"own-{seed}.npz", arrays)
    writer.path.write_text("\n".join([*lines[:-1], json.dumps(record)]) + "\n", encoding="utf-8")


def test_the_command_judges_folders_together(writer):
    for method, peak in RIVAL_PEAKS:
        writer.add("memory", method, metrics={"train_step_peak_bytes": rounds(peak, "bytes")})
    result = CliRunner().invoke(main, ["claims", str(writer.folder), "--format", "json"])
    assert result.exit_code == 0, result.output
    by_name = {(entry["id"], entry["form"]): entry for entry in json.loads(result.output)}
    assert by_name["memory", ""]["verdict"] == "not comparable"
    assert by_name["memory", "On this CPU"]["verdict"] == "reproduced"
    assert by_name["memory-sat", "On this CPU"]["verdict"] == "partly"
    assert by_name["growth", ""]["verdict"] == "not run"
    quiet = CliRunner().invoke(main, ["claims", str(writer.folder), "--format", "quiet"])
    assert "memory (On this CPU): reproduced\n" in quiet.output
