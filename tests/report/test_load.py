import numpy as np
import pytest

from spion_bench.records import append_record
from spion_bench.report.groups import groups
from spion_bench.report.load import load_records
from tests.cells import record_of, tiny_cell
from tests.report.run_writer import ENVIRONMENT, IMAGE, RunWriter, metric
from tests.report.sample_run import add_image_accuracy


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist; run `spion-bench run`"):
        load_records(tmp_path / "nowhere")


def test_folder_without_records(tmp_path):
    with pytest.raises(ValueError, match=r"at least one record in .*found none; run `spion-bench"):
        load_records(tmp_path)


def test_folder_with_damaged_lines_only(tmp_path):
    (tmp_path / "records.jsonl").write_text("{}\n")
    with pytest.raises(ValueError, match=r"1 damaged lines \(records.jsonl:1: not a record"):
        load_records(tmp_path)


def test_last_outcome_of_a_cell_counts_and_damage_is_named(sample):
    retried = [o for o in sample.outcomes if o.cell.seed == 7]
    assert [o.measured.status for o in retried] == ["ok"]
    assert sample.n_replaced == 1
    assert len(sample.problems) == 1
    assert sample.problems[0].startswith("records.jsonl:39: not a record, skipped")
    assert sample.files == {"records.jsonl": 38}


def test_a_single_file_can_be_read(sample_dir):
    assert len(load_records(sample_dir / "records.jsonl").outcomes) == 37


def test_artifact_arrays(sample):
    spion = next(o for o in sample.ok("accuracy") if o.method.name == "spion_cf")
    assert len(spion.artifact.layers) == 2
    assert [int(layer.kept.sum()) for layer in spion.artifact.layers] == spion.measured.pattern.nnzb
    assert not spion.artifact.curve.sparse[159]
    assert spion.artifact.curve.sparse[160]
    dense = next(o for o in sample.ok("accuracy") if o.method.name == "dense_sdpa")
    assert dense.artifact.layers == ()


def damage_content(path):
    path.write_bytes(path.read_bytes() + b"x")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (damage_content, "its sha256 is not the recorded one"),
        (lambda path: path.unlink(), "FileNotFoundError"),
    ],
)
def test_damaged_artifact_is_named_and_the_record_kept(tmp_path, damage, reason):
    add_image_accuracy(RunWriter(tmp_path))
    damage(next((tmp_path / "artifacts").glob("*spion_cf-s0*")))
    run = load_records(tmp_path)
    assert len(run.outcomes) == 6
    assert sum(outcome.artifact is not None for outcome in run.outcomes) == 5
    assert len(run.problems) == 1
    assert reason in run.problems[0]
    assert "spion_cf-s0" in run.problems[0]


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"curve_step": np.arange(3)}, "is missing"),
        ({"curve_step": np.array([{}], dtype=object)}, "an array of dtype object"),
    ],
)
def test_artifact_with_missing_or_pickled_arrays(tmp_path, arrays, reason):
    writer = RunWriter(tmp_path)
    writer.add("accuracy", "dense_sdpa", artifacts=writer.add_artifact("a.npz", arrays))
    assert reason in load_records(tmp_path).problems[0]


def test_an_artifact_name_cannot_leave_its_folder(tmp_path):
    writer = RunWriter(tmp_path)
    writer.add("accuracy", "dense_sdpa", artifacts=writer.add_artifact("a.npz", {}))
    writer.add("speed", "dense_sdpa")
    writer.path.write_text(writer.path.read_text().replace('"a.npz"', '"../../a.npz"'))
    run = load_records(tmp_path)
    assert [outcome.pass_name for outcome in run.outcomes] == ["speed"]
    assert "records.jsonl:1: not a record" in run.problems[0]


def test_a_failed_cell_belongs_to_the_setting_of_its_task_and_length(tmp_path):
    writer = RunWriter(tmp_path)
    writer.add("speed", "dense_sdpa", metrics={"train_step_ms": metric(1.0, "ms")})
    writer.add("speed", "spion_cf", is_loaded=False, status="crash", reason="boom")
    run = load_records(tmp_path)
    assert list(run.settings.values()) == ["image, L\u00a0=\u00a01024"]


def test_settings_that_differ_in_machine_are_told_apart(tmp_path):
    for name in ("one", "two"):
        environment = ENVIRONMENT.model_copy(update={"machine": f"machine {name}"})
        RunWriter(tmp_path / name).add("speed", "dense_sdpa", task=IMAGE, environment=environment)
    labels = list(load_records(tmp_path).settings.values())
    assert len(labels) == 2
    assert "machine one, one/records.jsonl" in labels[0]
    assert "machine two, two/records.jsonl" in labels[1]


def add_steps(writer, ms, **changes):
    times = {"train_step_ms": metric(ms, "ms", samples=[ms])}
    writer.add("speed", "dense_sdpa", metrics=times, **changes)


def one_step_each(folder):
    """Return each setting's label with its median step."""
    found = groups(load_records(folder), ("speed",))
    return {
        group.label: group.methods["dense_sdpa"].metric("speed", "train_step_ms").value
        for group in found
    }


def test_other_threads_are_another_setting(tmp_path):
    writer = RunWriter(tmp_path)
    add_steps(writer, 10.0)
    add_steps(writer, 20.0, key="one", cell={"threads": 1})
    name = "image, L\u00a0=\u00a01024"
    assert one_step_each(tmp_path) == {f"{name}, 1 thread": 20.0, f"{name}, 2 threads": 10.0}


def test_other_code_is_another_setting(tmp_path):
    writer = RunWriter(tmp_path)
    edited = ENVIRONMENT.model_copy(update={"git_sha": "f" * 40, "git_dirty": False})
    add_steps(writer, 10.0)
    add_steps(writer, 20.0, key="after", cell={"code": "edited"}, environment=edited)
    name = "image, L\u00a0=\u00a01024"
    assert one_step_each(tmp_path) == {
        f"{name}, commit 0123456789 with changes, torch 2.13.0+cpu": 10.0,
        f"{name}, commit ffffffffff, torch 2.13.0+cpu": 20.0,
    }


def test_other_commits_are_one_setting_while_no_cell_was_measured_twice(tmp_path):
    writer = RunWriter(tmp_path)
    add_steps(writer, 10.0)
    edited = ENVIRONMENT.model_copy(update={"git_sha": "f" * 40})
    writer.add("speed", "spion_cf", cell={"code": "edited"}, environment=edited)
    assert len(load_records(tmp_path).settings) == 1


def test_another_recipe_is_another_setting_and_so_is_an_unknown_one(tmp_path):
    cell = tiny_cell("speed", "dense_sdpa")
    recipes = ("corrected", "published")
    settings = [cell.settings.model_copy(update={"recipe": recipe}) for recipe in recipes]
    for key, known in enumerate((*settings, None)):
        asked = cell.model_copy(update={"key": str(key), "settings": known})
        append_record(
            tmp_path / "records.jsonl", record_of(asked, metrics={"x": metric(1.0, "ms")})
        )
    labels = load_records(tmp_path).settings.values()
    assert [label.rpartition(", ")[2] for label in labels] == [
        "recipe corrected",
        "recipe published",
        "settings not recorded",
    ]
