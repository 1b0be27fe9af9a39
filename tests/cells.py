"""Cells, jobs and records of the tiny profile."""

import numpy as np

from spion_bench.passes.session import Job
from spion_bench.records import (
    Environment,
    GateError,
    Measurement,
    Metric,
    Record,
    TaskInfo,
    now,
)
from spion_bench.records.artifacts import Artifact, Curve
from spion_bench.suite.plan import Machine, expand
from spion_bench.suite.profile import CellGroup, load_profile

TINY = load_profile("tiny")
MACHINE = Machine("cpu", threads=2)
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


CURVE = Curve(
    step=np.arange(1, 4),
    sparse=np.array([False, False, True]),
    train_loss=np.array([2.0, np.nan, 1.0]),
    dev_step=np.array([2]),
    dev_accuracy=np.array([0.5]),
    dev_loss=np.array([1.5]),
)
ARTIFACT = Artifact(CURVE)


def tiny_cells(pass_name=None, method=None, **changes):
    """Return the cells of the tiny profile, of one pass and method if given.

    Changes that ``CellGroup`` has (``model``, ``train``, ``options``, ...) go through the plan;
    others replace fields of the cells.
    """
    asked = {name: value for name, value in changes.items() if name in CellGroup.model_fields}
    groups = [
        CellGroup.model_validate({**group.model_dump(), **asked}) if group.task else group
        for group in TINY.cells
    ]
    profile = TINY.model_copy(update={"cells": tuple(groups)})
    replaced = {name: value for name, value in changes.items() if name not in asked}
    cells = [
        cell.model_copy(update=replaced)
        for cell in expand(profile, MACHINE)
        if pass_name in (None, cell.pass_name) and method in (None, cell.method.name)
    ]
    assert cells
    return cells


def tiny_cell(pass_name, method="spion_cf", **changes):
    """Return one cell of the tiny profile, changed as asked; the method may be any."""
    if method not in ("spion_cf", "dense_sdpa") and pass_name != "kernel":
        changes = {"methods": (method,), **changes}
    if pass_name == "steps":
        changes = {"passes": ("steps",), **changes}
    return tiny_cells(pass_name, method, **changes)[0]


def tiny_job(tmp_path, pass_name, method="spion_cf", *, check_first=False, **changes):
    """Return the job of one cell."""
    cell = tiny_cell(pass_name, method, **changes)
    return Job(cell=cell, out=str(tmp_path), check_first=check_first)


def measure(session):
    """Do what a worker does with a session whose gate is open."""
    session.measure()
    return session.result()


def ignore(event):
    """Take an event and do nothing."""


def measurement(status="ok", reason=None, **fields):
    """Return a measurement."""
    return Measurement(status=status, reason=reason, **fields)


def record_of(cell, status="ok", *, reason=None, **fields):
    """Return a record of ``cell``; the fields are the measurement's."""
    return Record(
        cell=cell,
        measurement=measurement(status, reason, **fields),
        environment=ENVIRONMENT,
        started_at=now(),
        ended_at=now(),
    )


def gate_errors(**errors):
    """Return errors by name, each with a budget of 1."""
    return [GateError(name=name, error=error, budget=1.0) for name, error in errors.items()]


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
