"""The committed records stay readable; those of schema 1 with everything that they say."""

import json
import math
from pathlib import Path

import pytest

from spion_bench.records import KernelCell, TaskCell, read_records
from spion_bench.records.schema1 import Schema1Reader

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "results" / "records").rglob("records.jsonl"))
OF_SCHEMA_1 = [
    file for file in FILES if json.loads(file.read_bytes().splitlines()[0])["schema_version"] == 1
]

ENVIRONMENT = {
    "machine": "Test CPU x 2",
    "git_sha": None,
    "git_dirty": None,
    "cpu": "Test CPU",
    "cores": 2,
    "memory_bytes": 1,
    "threads": 2,
    "cpu_capability": None,
    "kernel_path": None,
    "load_average": None,
    "os": "Test",
    "python": "3",
    "torch": "2",
    "compiler": None,
    "gpu_throttle_reasons": None,
}
SHAPE = {"B": 1, "H": 8, "L": 4096, "D": 64, "block_size": 64}


def old(pass_name="speed", method="dense_sdpa", **fields):
    """Return a line of schema 1."""
    document = {
        "schema_version": 1,
        "cell_key": f"{pass_name}-{method}",
        "pass_name": pass_name,
        "profile": "smoke",
        "task": None,
        "method": {"name": method, "parameters": {}, "exact": True, "caveats": []},
        "seed": 0,
        "device": "cpu",
        "dtype": "float32",
        "status": "ok",
        "reason": None,
        "metrics": {},
        "gate_errors": {},
        "pattern": None,
        "transition": None,
        "settings": {"label": "image1024"},
        "deviations": [],
        "artifacts": {},
        "started_at": "2024-05-29T09:00:00Z",
        "ended_at": "2024-05-29T09:01:00Z",
        "environment": ENVIRONMENT,
        **fields,
    }
    return json.dumps(document).encode()


def read(*lines):
    reader = Schema1Reader(lines)
    return [reader.read(line) for line in lines]


def kernel(method, settings=None, **fields):
    settings = {"label": "sweep_L4096", **({} if settings is None else settings)}
    return old("kernel", method, settings=settings, **fields)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_every_committed_line_is_read(file):
    records, problems = read_records(file)
    assert problems == []
    assert len(records) == len(file.read_bytes().splitlines())


@pytest.mark.parametrize("file", OF_SCHEMA_1, ids=lambda file: file.parent.name)
def test_no_number_of_schema_1_is_lost(file):
    lines = [json.loads(line) for line in file.read_bytes().splitlines()]
    for record, line in zip(read_records(file)[0], lines, strict=True):
        assert record.key == line["cell_key"]
        assert record.measurement.status == line["status"]
        numbers = {name: metric.value for name, metric in record.measurement.metrics.items()}
        assert numbers == {name: metric["value"] for name, metric in line["metrics"].items()}


def test_there_are_committed_records_of_both_schemas():
    assert len(OF_SCHEMA_1) == 6
    assert len(FILES) > 6


def test_no_committed_method_is_unknown():
    methods = {
        (record.cell.method.name, record.cell.method.family, record.cell.method.role)
        for file in FILES
        for record in read_records(file)[0]
    }
    assert ("longformer@window128", "sparse", "rival") in methods
    assert ("reformer", "hashing", "rival") in methods
    assert ("flex_forward", "spion", "isolates") in methods
    assert len({name for name, _, _ in methods}) == len(methods)


def test_a_task_cell_says_its_task_and_length_even_if_it_failed():
    [record] = read(old(status="crash", settings={"label": "listops512", "batch_size": 4}))
    assert isinstance(record.cell, TaskCell)
    assert (record.cell.task, record.cell.length) == ("listops", 512)
    assert (record.cell.batch_size, record.cell.settings) == (4, None)


def test_a_failed_kernel_cell_takes_the_shape_of_its_case():
    pattern = {"source": "x", "block_size": 64, "length": 4096, "nnzb": [164], "density": [0.04]}
    told = {**SHAPE, "sweeps": "length heads", "tasks": "text, retrieval", "products": "3xTF32"}
    records = read(
        kernel("pipeline", status="timeout", reason="still busy"),
        kernel("block_attention", told, pattern=pattern),
    )
    for record in records:
        assert isinstance(record.cell, KernelCell)
        assert (record.cell.shape.length, record.cell.shape.n_blocks) == (4096, 164)
        assert record.cell.sweeps == ("length", "heads")
        assert record.cell.tasks == ("text", "retrieval")
        assert record.cell.precision == "3xTF32"


def test_a_kernel_cell_of_no_known_shape_is_refused():
    with pytest.raises(ValueError, match="no cell of the file states the shape"):
        read(kernel("pipeline", status="crash"))


def test_the_width_of_a_token_window_is_an_argument():
    [record] = read(kernel("sliding_window", {**SHAPE, "window": 82}))
    assert record.cell.method.arguments == {"window": 164}
    assert "window" not in record.measurement.extra


@pytest.mark.parametrize(
    ("name", "variant"), [("spion_c", "C"), ("spion_cf", "CF"), ("bigbird", None)]
)
def test_a_failed_cell_knows_its_variant(name, variant):
    [record] = read(old(method=name, status="crash"))
    assert record.cell.method.variant == variant


def test_a_method_of_a_user_is_a_rival():
    [record] = read(old(method="mine@small"))
    info = record.cell.method
    assert (info.family, info.role, info.base) == ("sparse", "rival", "mine")


def test_what_an_attention_says_of_itself_is_unknown_where_it_was_not_built():
    method = {"name": "reformer", "parameters": {"chunk": 64}, "exact": False, "caveats": ["c"]}
    built = json.dumps(json.loads(old(status="oom")) | {"method": method}).encode()
    failed, ok, built = read(old(status="crash"), old(), built)
    assert failed.measurement.attention is None
    assert ok.measurement.attention.exact
    assert not built.measurement.attention.exact


def test_null_was_nan():
    step = {"value": None, "unit": "ms", "lower_is_better": True, "samples": [1.0, None]}
    errors = {"out": None, "out_budget": 1e-5, "dq": 1e-7}
    [record] = read(old(metrics={"train_step_ms": step}, gate_errors=errors))
    metric = record.measurement.metrics["train_step_ms"]
    assert math.isnan(metric.value)
    assert math.isnan(metric.samples[1])
    out, dq = record.measurement.gate
    assert (out.name, math.isnan(out.error), out.budget, out.is_within) == (
        "out",
        True,
        1e-5,
        False,
    )
    assert (dq.name, dq.budget, dq.is_within) == ("dq", None, True)


def test_observations_leave_the_bag():
    told = {
        "label": "image1024",
        "measured_in_turns_with": "dense_sdpa, spion_cf",
        "rounds": 5,
        "memory_method": "peak",
        "isolation": "warm",
        "busy_s": 2.5,
        "sm_clock_mhz_before": 1410,
        "sm_clock_mhz_after": 1395,
        "sm_clock_mhz_lowest": 1380,
        "memory_clock_mhz_after": 1593,
        "throttle_reasons": "sw_power_cap",
        "l2": "cold, warm",
        "l2_bytes": 1,
        "flush_bytes": 2,
        "host_bound": "forward_ms backward_ms",
        "sdpa_backend": "flash",
        "warmup_s": 0.3,
    }
    [record] = read(old(settings=told))
    measured = record.measurement
    assert (measured.turn.methods, measured.turn.rounds) == (["dense_sdpa", "spion_cf"], 5)
    assert (measured.memory_method, measured.isolation, measured.busy_s) == ("peak", "warm", 2.5)
    assert measured.gpu.sm_clock_mhz.lowest == 1380
    assert (measured.gpu.throttle_reasons, measured.gpu.throttled) == (["sw_power_cap"], None)
    assert measured.cuda_timing.host_bound == ["forward_ms", "backward_ms"]
    assert measured.attention.chosen == {"sdpa_backend": "flash"}
    assert measured.extra == {"warmup_s": 0.3}


def test_clocks_that_could_not_be_read_say_why():
    [record] = read(old(settings={"label": "image1024", "clocks_not_read": "no NVML"}))
    assert record.measurement.gpu.problem == "no NVML"


def test_lines_of_other_schemas_are_not_read_here():
    assert read(b'{"schema_version": 2}', b"no json", b"")[0] is None


def test_a_line_that_only_says_that_it_is_of_schema_1_is_refused():
    with pytest.raises(ValueError, match="schema 1"):
        read(b'{"schema_version": 1}')


def test_a_damaged_line_does_not_hide_the_others(tmp_path):
    path = tmp_path / "records.jsonl"
    odd = b'{"schema_version": 1, "settings": []}'
    path.write_bytes(
        b"\n".join([b'{"schema_version": 1}', odd, old(), b'{"schema_version": 1, "c'])
    )
    records, problems = read_records(path)
    assert [record.key for record in records] == ["speed-dense_sdpa"]
    assert len(problems) == 3
