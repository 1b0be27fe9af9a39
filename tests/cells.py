"""Cells, records and environments for the tests of the harness."""

from spion_bench.records import Environment, MethodInfo, Metric, Record, TaskInfo, now
from spion_bench.run.messages import Job
from spion_bench.suite.plan import Machine, expand
from spion_bench.suite.profile import load_profile

TINY = load_profile("tiny")
ENVIRONMENT = Environment(
    machine="Test CPU x 2",
    git_sha=None,
    git_dirty=None,
    cpu="Test CPU",
    cores=2,
    memory_bytes=1,
    threads=2,
    cpu_capability=None,
    kernel_path=None,
    load_average=None,
    os="Test",
    python="3",
    torch="2",
    compiler=None,
)


def tiny_cells(pass_name=None, method=None, **changes):
    """Return the cells of the tiny profile, of one pass and method if given, changed as asked."""
    cells = [
        cell.model_copy(update=changes)
        for cell in expand(TINY, Machine("cpu", threads=2))
        if pass_name in (None, cell.pass_name) and method in (None, cell.method)
    ]
    assert cells
    return cells


def tiny_cell(pass_name, method="spion_cf", **changes):
    """Return one cell of the tiny profile, changed as asked."""
    return tiny_cells(pass_name, method, **changes)[0]


def tiny_job(tmp_path, pass_name, method="spion_cf", **changes):
    """Return the job of one cell of the tiny profile."""
    return Job(cell=tiny_cell(pass_name, method, **changes), out=str(tmp_path))


def method_job(tmp_path, pass_name, method, **changes):
    """Return the job of a tiny cell with a method that the tiny profile does not have."""
    cell = tiny_cell(pass_name, **changes).model_copy(update={"method": method})
    return Job(cell=cell, out=str(tmp_path))


def record_of(cell, status="ok", *, reason=None, **fields):
    """Return a record of ``cell``."""
    return Record(
        cell_key=cell.key,
        pass_name=cell.pass_name,
        profile=cell.profile,
        method=MethodInfo(name=cell.method),
        seed=cell.seed,
        device=cell.device,
        dtype="float32",
        status=status,
        reason=reason,
        started_at=now(),
        ended_at=now(),
        environment=ENVIRONMENT,
        **{"task": None, "settings": {"label": cell.label}, **fields},
    )


def task_info(length=256):
    """Return the description of some data of the image task."""
    return TaskInfo(
        name="image",
        version="1",
        source="digits",
        source_version="1",
        fingerprint="0",
        stand_in=True,
        length=length,
        n_classes=10,
        n_train=64,
        n_dev=32,
        n_test=32,
        majority_share=0.1,
    )


def metric(value, unit="ms", **fields):
    """Return a metric."""
    return Metric(value=value, unit=unit, lower_is_better=True, **fields)
