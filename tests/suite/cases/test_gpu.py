import re
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner

from spion_bench.cli import main
from spion_bench.gpu_model.devices import A100, H100, HALF, PRECISIONS
from spion_bench.gpu_model.predict import METHODS
from spion_bench.gpu_model.tables import model_rows
from spion_bench.native import use_backend
from spion_bench.passes.kernel.attention import check_implementation
from spion_bench.passes.kernel.implementations import prepare
from spion_bench.passes.kernel.modelled import modelled_metrics
from spion_bench.records.store import Store
from spion_bench.suite.cases.gpu import GPU_CASES, GPU_IMPLEMENTATIONS
from spion_bench.suite.cases.peers import PEER_CASES
from spion_bench.suite.cases.shapes import same_shapes, task_shapes
from spion_bench.suite.implementations import find_implementation
from spion_bench.suite.plan import Machine, expand
from spion_bench.suite.profile import load_profile

CASES = {case.name: case for case in GPU_CASES}
ON_GPU = (*GPU_CASES, *PEER_CASES)


def test_the_cases_are_the_table_of_the_model():
    assert len(GPU_CASES) == len(PRECISIONS) * len(same_shapes())
    for case in GPU_CASES:
        for task in case.tasks:
            assert case.shape == task_shapes()[task]
    dtypes = {(case.precision, case.dtype, case.tf32) for case in GPU_CASES}
    assert dtypes == {
        ("16bit", "float16", False),
        ("tf32", "float32", True),
        ("3xtf32", "float32", False),
    }
    assert {case.precision for case in GPU_CASES} == PRECISIONS.keys()
    assert set(METHODS) <= set(GPU_IMPLEMENTATIONS)


def test_a_run_on_a_gpu_measures_every_case_and_implementation_of_it_once_and_nothing_else():
    cells = expand(load_profile("kernels"), Machine("cuda", threads=2))
    planned = sorted((cell.case, cell.method.name) for cell in cells)
    assert planned == sorted((case.name, i) for case in ON_GPU for i in case.implementations)
    assert {cell.device for cell in cells} == {"cuda"}


def test_metrics_of_the_model_are_its_rows():
    case = CASES["gpu_listops_16bit"]
    found = modelled_metrics(case, "pipeline", H100.driver_name)
    rows = model_rows(HALF, [H100])
    for pass_ in ("forward", "backward"):
        row = rows["H100", "listops", "pipeline", pass_]
        expected, floor = found[f"{pass_}_expected_ms"], found[f"{pass_}_floor_ms"]
        times = (floor.value, expected.low, expected.value, expected.high)
        seconds = (row.floor_s, row.low_s, row.expected_s, row.high_s)
        assert times == pytest.approx([1e3 * s for s in seconds])
    assert all(metric.modelled for metric in found.values())


def test_what_is_not_modelled_has_no_metrics():
    case = CASES["gpu_image_tf32"]
    assert modelled_metrics(case, "flex", A100.driver_name) == {}
    assert modelled_metrics(case, "pipeline", "NVIDIA A100 80GB PCIe") == {}
    assert modelled_metrics(replace(case, precision=""), "pipeline", A100.driver_name) == {}


def test_passes_are_those_of_a_training_step():
    case = replace(CASES["gpu_image_3xtf32"], batch=2, length=128, density=0.2)
    fused = find_implementation("block_attention")
    passes = prepare(fused, case, 0)
    assert passes.calls.keys() == {"forward_ms", "backward_ms"}
    out = passes.calls["forward_ms"]()
    assert out.requires_grad
    passes.setups["backward_ms"]()
    got = passes.calls["backward_ms"]()
    both = prepare(fused, replace(case, measures="time"), 0)
    torch.testing.assert_close(got, both.calls["forward_backward_ms"]())
    with pytest.raises(IndexError):  # each backward pass needs a forward pass of its own
        passes.calls["backward_ms"]()


@pytest.mark.usefixtures("tf32_setting")
@pytest.mark.parametrize("implementation", ["block_attention", "pipeline"])
@pytest.mark.parametrize("name", ["16bit", "tf32", "3xtf32"])
def test_the_gate_opens_for_the_cuda_kernels_on_the_emulator(name, implementation):
    case = replace(CASES[f"gpu_image_{name}"], batch=2, length=256)
    torch.set_float32_matmul_precision("high" if case.tf32 else "highest")
    with use_backend("emulated"):
        assert check_implementation(find_implementation(implementation), case, 0).reason is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_every_cell_says_so_and_there_is_no_number(tmp_path):
    options = ["--profile", "kernels", "--device", "cuda", "--out", str(tmp_path / "out")]
    report = tmp_path / "report"
    result = CliRunner().invoke(main, ["run", *options, "--report-dir", str(report)])
    assert result.exit_code == 0, result.output
    records = Store(tmp_path / "out").records
    assert len(records) == sum(len(case.implementations) for case in ON_GPU) == 108
    outcomes = [record.measurement for record in records]
    assert {(o.status, o.is_final) for o in outcomes} == {("unsupported", False)}
    assert all(o.reason.startswith("no GPU") and not o.metrics for o in outcomes)
    page = (report / "kernels.md").read_text("utf-8")
    assert "0 of 108 cells gave numbers" in page.replace("\u202f", " ")
    assert not re.search(r"\d (ms|µs|s) ", page)
