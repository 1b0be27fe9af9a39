"""Writes records and artifacts as the harness does, for one made-up machine."""

import hashlib
from datetime import UTC, datetime, timedelta

import numpy as np

from spion_bench.records import (
    Environment,
    MethodInfo,
    Metric,
    Record,
    TaskInfo,
    append_record,
)

START = datetime(2024, 5, 29, 9, 0, tzinfo=UTC)

ENVIRONMENT = Environment(
    machine="Example CPU 9000 x 2",
    git_sha="0123456789abcdef0123456789abcdef01234567",
    git_dirty=True,
    cpu="Example CPU 9000",
    cores=2,
    memory_bytes=8_000_000_000,
    threads=2,
    cpu_capability="AVX2",
    kernel_path="cache/spion_bench_cpu.so",
    load_average=0.5,
    os="Linux 6.1.0",
    python="3.11.7",
    torch="2.13.0+cpu",
    compiler="g++ 12.2.0",
    compiler_flags=["-O3", "-fopenmp"],
)

IMAGE = TaskInfo(
    name="image",
    version="1",
    source="digits",
    source_version="scikit-learn 1.5.0",
    fingerprint="ab" * 32,
    stand_in=True,
    length=1024,
    n_classes=10,
    n_train=1200,
    n_dev=237,
    n_test=360,
    majority_share=0.1028,
)
LISTOPS = IMAGE.model_copy(
    update={
        "name": "listops",
        "source": "LRA generator",
        "source_version": "seed 1",
        "fingerprint": "cd" * 32,
        "stand_in": False,
        "length": 128,
        "n_train": 2000,
        "n_dev": 200,
        "n_test": 200,
        "majority_share": 0.174,
    }
)


def metric(value, unit, *, samples=(), low=None, high=None, modelled=False, up=False):
    return Metric(
        value=value,
        unit=unit,
        lower_is_better=not up,
        samples=list(samples),
        low=low,
        high=high,
        modelled=modelled,
    )


def sampled(centre, unit, *, n=20, spread=0.02, seed=0, up=False):
    samples = np.random.default_rng(seed).normal(centre, spread * centre, n).tolist()
    low, high = np.percentile(samples, [30, 70])
    return metric(float(np.median(samples)), unit, samples=samples, low=low, high=high, up=up)


def method_info(name):
    if name.startswith("spion"):
        parameters = {"variant": name[6:].upper(), "block_size": 8, "pruned": "zero_logit"}
        return MethodInfo(name=name, parameters=parameters)
    caveats = {"dense_eager": ["stores all [B, H, L, L] probabilities"]}
    return MethodInfo(name=name, caveats=caveats.get(name, []))


class RunWriter:
    """Appends records to ``<folder>/records.jsonl``, one minute apart."""

    def __init__(self, folder):
        self.folder = folder
        self.path = folder / "records.jsonl"
        self.n = 0

    def add(self, pass_name, method, *, task=IMAGE, label=None, seed=0, status="ok", **fields):
        label = label or f"{task.name}{task.length}"
        settings = {"label": label, **fields.pop("settings", {}), "busy_s": 1.5 + self.n}
        record = Record(
            cell_key=fields.pop("cell_key", f"{pass_name}-{label}-{method}-s{seed}-0a1b2c3d"),
            pass_name=pass_name,
            profile="smoke",
            task=task,
            method=fields.pop("method_info", None) or method_info(method),
            seed=seed,
            device=fields.pop("device", "cpu"),
            dtype=fields.pop("dtype", "float32"),
            status=status,
            started_at=START + timedelta(minutes=self.n),
            ended_at=START + timedelta(minutes=self.n + 1),
            environment=fields.pop("environment", ENVIRONMENT),
            settings=settings,
            **fields,
        )
        append_record(self.path, record)
        self.n += 1
        return record

    def add_artifact(self, name, arrays):
        """Write an artifact as the harness does and return what its record says about it."""
        path = self.folder / "artifacts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, **arrays)
        return {name: hashlib.sha256(path.read_bytes()).hexdigest()}
