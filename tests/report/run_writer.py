"""Writes records and artifacts as a run does, for one made-up machine."""

import hashlib
from datetime import UTC, datetime, timedelta

import numpy as np

from spion_bench.records import (
    AttentionInfo,
    Environment,
    GateError,
    KernelCell,
    KernelShape,
    Measurement,
    MethodInfo,
    Metric,
    Record,
    TaskCell,
    append_record,
)
from tests.cells import task_info

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

IMAGE = task_info(1024).model_copy(
    update={
        "source_version": "scikit-learn 1.5.0",
        "fingerprint": "ab" * 32,
        "n_train": 1200,
        "n_dev": 237,
        "n_test": 360,
        "majority_share": 0.1028,
    }
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

# Name -> family, role, variant. Names that are not here are rivals.
FACTS = {
    "dense_sdpa": ("dense", "reference", None),
    "dense_eager": ("dense", "reference", None),
    "dense_sdpa_forward": ("dense", "reference", None),
    "dense_xformers": ("dense", "reference", None),
    "spion_c": ("spion", "subject", "C"),
    "spion_f": ("spion", "subject", "F"),
    "spion_cf": ("spion", "subject", "CF"),
    "flex": ("spion", "isolates", "CF"),
    "longformer@matched": ("sparse", "rival", None),
    "spion+bigbird_block": ("sparse", "isolates", None),
    "reformer": ("hashing", "rival", None),
    "block_attention": ("spion", "subject", None),
    "block_attention_float32": ("spion", "subject", None),
    "pipeline": ("spion", "subject", None),
    "flex_forward": ("spion", "isolates", None),
    "csr_pipeline": ("spion", "isolates", None),
    "generate_pattern": ("operator", "subject", None),
    "pattern_from_qk": ("operator", "subject", None),
    "flood_fill": ("operator", "subject", None),
    "python_walk": ("operator", "reference", None),
    "sgemm": ("limit", "limit", None),
    "memory_copy": ("limit", "limit", None),
}
CAVEATS = {"dense_eager": ["stores all [B, H, L, L] probabilities"]}


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


def gate_errors(**errors):
    """Return gate errors; a pair is an error and the largest allowed one."""
    pairs = {name: e if isinstance(e, tuple) else (e, None) for name, e in errors.items()}
    return [GateError(name=n, error=error, budget=budget) for n, (error, budget) in pairs.items()]


def method_info(name, **fields):
    family, role, variant = FACTS.get(name, ("sparse", "rival", None))
    facts = {"family": family, "role": role, "variant": variant, "base": name.partition("@")[0]}
    if role == "subject" and variant:
        facts["arguments"] = {"block_size": 8, "pruned": "zero_logit"}
    return MethodInfo(**{"name": name, **facts, **fields})


class RunWriter:
    """Appends records to ``<folder>/records.jsonl``, one minute apart."""

    def __init__(self, folder):
        self.folder = folder
        self.path = folder / "records.jsonl"
        self.n = 0

    def add(self, pass_name, method, *, task=IMAGE, is_loaded=True, cell=None, **fields):
        """Add a task's cell; ``cell`` changes what was asked, ``fields`` what was measured.

        A cell that ``is_loaded`` is false failed before it loaded its data.
        """
        label = f"{task.name}{task.length}"
        asked = {"task": task.name, "length": task.length, "label": label, **(cell or {})}
        if is_loaded:
            fields["task"] = task
        return self._add(TaskCell, pass_name, method, asked, fields)

    def add_kernel(self, method, *, case="attention_4096", shape=None, cell=None, **fields):
        """Add a kernel case's cell."""
        shape = shape or KernelShape(batch=1, heads=2, length=4096, head_dim=32, block_size=64)
        asked = {"case": case, "label": case, "shape": shape, **(cell or {})}
        return self._add(KernelCell, "kernel", method, asked, fields)

    def _add(self, kind, pass_name, method, asked, fields):
        info = method_info(method) if isinstance(method, str) else method
        environment = fields.pop("environment", ENVIRONMENT)
        seed = fields.pop("seed", 0)
        key = f"{pass_name}-{asked['label']}-{info.name}-s{seed}-0a1b2c3d"
        common = {
            "key": fields.pop("key", key),
            "pass_name": pass_name,
            "profile": "smoke",
            "method": info,
            "seed": seed,
            "device": "cpu",
            "dtype": "float32",
            "threads": environment.threads,
            "timeout_s": 600.0,
            "code": "0123456789abcdef",
        }
        measured = {"status": "ok", "busy_s": 1.5 + self.n, **fields}
        if measured["status"] == "ok":
            measured.setdefault("attention", AttentionInfo(caveats=CAVEATS.get(info.name, [])))
        record = Record(
            cell=kind(**{**common, **asked}),
            measurement=Measurement(**measured),
            environment=environment,
            started_at=START + timedelta(minutes=self.n),
            ended_at=START + timedelta(minutes=self.n + 1),
        )
        append_record(self.path, record)
        self.n += 1
        return record

    def add_artifact(self, name, arrays):
        """Write an artifact and return what its record says about it."""
        path = self.folder / "artifacts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, **arrays)
        return {name: hashlib.sha256(path.read_bytes()).hexdigest()}
