"""A records folder as a run leaves it, with made-up but plausible numbers.

Image at L = 256 (accuracy, three seeds), image at L = 1024 (gate, speed, memory, five methods),
ListOps (one seed, not SPION), kernel cases at L = 4096, and one cell for every status.
"""

import numpy as np

from spion_bench.records import KernelShape, PatternInfo, TransitionInfo
from tests.report.run_writer import IMAGE, LISTOPS, RunWriter, gate_errors, metric, sampled

METHODS = ("dense_sdpa", "dense_eager", "spion_c", "spion_f", "spion_cf")
STEPS = 400


def write_sample_run(folder):
    """Write the whole sample run, failures and a damaged line included."""
    writer = RunWriter(folder)
    add_image_accuracy(writer)
    add_listops(writer)
    add_image_costs(writer)
    add_kernels(writer)
    add_failures(writer)
    with writer.path.open("ab") as file:
        file.write(b'{"schema_version": 2, "cell": {"key": "torn-of')
    return writer


def add_image_accuracy(writer):
    task = IMAGE.model_copy(update={"length": 256})
    for seed in range(3):
        add_training(writer, task, "dense_sdpa", seed, accuracy=0.945 + 0.004 * seed)
        add_training(
            writer,
            task,
            "spion_cf",
            seed,
            accuracy=0.931 + 0.006 * seed,
            transition=160 + 20 * seed,
        )


def add_listops(writer):
    add_training(writer, LISTOPS, "dense_sdpa", 0, accuracy=0.385)
    add_training(writer, LISTOPS, "spion_cf", 0, accuracy=0.39, transition=320)


def add_training(writer, task, method, seed, *, accuracy, transition=None):
    rng = np.random.default_rng(100 * seed + task.length)
    metrics = {
        "test_accuracy": metric(
            accuracy, "ratio", low=accuracy - 0.024, high=accuracy + 0.019, up=True
        ),
        "dev_accuracy": metric(
            accuracy + 0.01, "ratio", low=accuracy - 0.02, high=accuracy + 0.03, up=True
        ),
        "final_train_loss": metric(0.11 + 0.01 * seed, "nat"),
        "dense_wall_s": metric(seed + (38.0 if transition is None else 21.0), "s"),
        "dense_peak_bytes": metric(231e6, "bytes"),
        "dense_step_ms": metric(104.0 + seed, "ms"),
        "total_wall_s": metric(seed + (38.0 if transition is None else 30.531 + seed), "s"),
    }
    fields = {}
    arrays = curve_arrays(rng, accuracy, transition)
    if transition is not None:
        nb = task.length // 8
        kept = [pattern_mask(nb, rng) for _ in range(2)]
        metrics |= {
            "pattern_wall_s": metric(0.031, "s"),
            "pattern_peak_bytes": metric(12e6, "bytes"),
            "sparse_wall_s": metric(9.5 + seed, "s"),
            "sparse_peak_bytes": metric(88e6, "bytes"),
            "sparse_step_ms": metric(61.0 + seed, "ms"),
        }
        arrays |= layer_arrays(kept, rng)
        share = 1 - transition / STEPS
        fields["pattern"] = pattern_info(kept, 8, "trained in this cell")
        fields["transition"] = TransitionInfo(
            step=transition,
            reason="criterion" if seed else "forced",
            layer_steps=[transition, transition],
            sparse_step_share=share,
            is_spion=share >= 0.4,
        )
    name = f"accuracy-{task.name}{task.length}-{method}-s{seed}-0a1b2c3d.npz"
    writer.add(
        "accuracy",
        method,
        task=task,
        seed=seed,
        metrics=metrics,
        artifacts=writer.add_artifact(name, arrays),
        cell={"batch_size": 32},
        extra={"steps": STEPS, "recipe": "corrected"},
        deviations=[f"train.steps is {STEPS} instead of 35000", "gradients are cleared (B9.4)"],
        **fields,
    )


def curve_arrays(rng, accuracy, transition):
    step = np.arange(1, STEPS + 1)
    loss = 2.25 * np.exp(-step / 90) + 0.12 + rng.normal(0, 0.05, STEPS).clip(-0.1, 0.2)
    dev_step = np.arange(20, STEPS + 1, 20)
    dev = accuracy - (accuracy - 0.12) * np.exp(-dev_step / 70)
    if transition is not None:
        dev = dev - 0.06 * np.exp(-(dev_step - transition) / 25) * (dev_step >= transition)
    return {
        "curve_step": step,
        "curve_phase": (step > (transition or STEPS)).astype(np.int8),
        "curve_train_loss": loss,
        "curve_dev_step": dev_step,
        "curve_dev_accuracy": dev,
        "curve_dev_loss": 1 - dev,
    }


def pattern_mask(nb, rng):
    """Keep the diagonal, a few neighbours and one stripe, about 6 to 9 % of the blocks."""
    kept = np.eye(nb, dtype=bool)
    rows = rng.choice(nb - 1, nb // 3, replace=False)
    kept[rows, rows + 1] = True
    kept[nb // 2 :, rng.integers(nb // 4)] = True
    return kept


def layer_arrays(kept, rng):
    arrays = {"block_size": np.array(8)}
    for i, mask in enumerate(kept):
        nb = len(mask)
        scores = rng.normal(0, 0.7, (8 * nb, 8 * nb)) + 2.5 * np.kron(mask, np.ones((8, 8)))
        attention = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        pooled = attention.reshape(nb, 8, nb, 8).mean((1, 3)) * 31
        selected = mask & ~(np.eye(nb, dtype=bool) & (np.arange(nb) % 3 == 0))
        arrays[f"layer{i}_map"] = attention.astype(np.float32)
        arrays[f"layer{i}_pooled"] = pooled.astype(np.float32)
        arrays[f"layer{i}_mask"] = selected
        arrays[f"layer{i}_crow_indices"] = np.r_[0, mask.sum(1).cumsum()].astype(np.int32)
        arrays[f"layer{i}_col_indices"] = mask.nonzero()[1].astype(np.int32)
    return arrays


def pattern_info(kept, block_size, source):
    return PatternInfo(
        source=source,
        block_size=block_size,
        length=len(kept[0]) * block_size,
        nnzb=[int(mask.sum()) for mask in kept],
        density=[float(mask.mean()) for mask in kept],
    )


STEP_MS = dict(zip(METHODS, (212.0, 348.0, 118.0, 109.0, 112.0), strict=True))
PEAK_BYTES = dict(zip(METHODS, (142e6, 611e6, 98e6, 97e6, 97e6), strict=True))


def add_image_costs(writer):
    kept = [pattern_mask(32, np.random.default_rng(i)) for i in range(2)]
    source = "accuracy cell accuracy-image1024-spion_cf-s0-0a1b2c3d"
    for place, method in enumerate(METHODS):
        is_spion = method.startswith("spion")
        fields = {"pattern": pattern_info(kept, 32, source)} if is_spion else {}
        errors = {"out": 2.1e-7, "dq": 3.3e-7, "dk": 4.0e-7, "dv": 1.2e-6}
        gate = gate_errors(**{name: (error, 20 * error) for name, error in errors.items()})
        writer.add("gate", method, gate=gate, **fields)
        writer.add(
            "speed",
            method,
            metrics={
                "train_step_ms": sampled(STEP_MS[method], "ms", seed=place),
                "forward_ms": sampled(STEP_MS[method] / 3, "ms", seed=place + 10),
                "attention_ms": sampled(STEP_MS[method] - 80, "ms", seed=place + 20),
                "attention_flops_per_step": metric(
                    3.7e9 * (0.07 if is_spion else 1), "FLOP", modelled=True
                ),
            },
            cell={"batch_size": 8},
            **fields,
        )
        writer.add(
            "memory",
            method,
            metrics={
                "train_step_peak_bytes": metric(
                    PEAK_BYTES[method], "bytes", samples=[PEAK_BYTES[method]]
                ),
                "parameters": metric(136_842, "count"),
                "model_bytes": metric(547_368, "bytes"),
            },
            **fields,
        )


def add_kernels(writer):
    kept = [pattern_mask(64, np.random.default_rng(5))]
    full = [np.ones((64, 64), dtype=bool)]
    shape = KernelShape(batch=1, heads=2, length=4096, head_dim=32, block_size=64)
    for place, (method, forward_ms) in enumerate(
        (("dense_sdpa", 96.0), ("block_attention", 6.1), ("pipeline", 9.8))
    ):
        is_dense = method == "dense_sdpa"
        pattern = pattern_info(
            full if is_dense else kept, 64, "every block" if is_dense else "synthetic band+stripes"
        )
        writer.add_kernel(
            method,
            shape=shape,
            metrics={
                "forward_ms": sampled(forward_ms, "ms", seed=place),
                "forward_backward_ms": sampled(3.4 * forward_ms, "ms", seed=place + 5),
                "flops_rate_gflops": sampled(41.0, "GFLOP/s", seed=place + 9, up=True),
            },
            pattern=pattern,
            gate=gate_errors(out=(1e-6, 1e-5)),
        )
    for method, name, value in (
        ("generate_pattern", "generate_pattern_ms", 31.0),
        ("flood_fill", "walk_ms", 0.021),
        ("python_walk", "walk_ms", 3.2),
    ):
        writer.add_kernel(
            method,
            case="pattern_4096",
            shape=shape.model_copy(update={"heads": 1}),
            metrics={name: sampled(value, "ms")},
        )


FAILURES = {
    "oom": "asked for 4.3 GB of 2 GB",
    "timeout": "still busy after 600 s",
    "crash": "signal 11 in the worker; see logs/worker.log",
    "unsupported": "dense_eager cannot run on <cuda> | here",
    "gate_failed": "dq is off by 0.3, the limit is 1e-5",
    "nan": "training loss is NaN at step 17",
    "skipped": "the data folder has no CIFAR-10",
}


def add_failures(writer):
    """One cell per status other than ok, and one that failed first and worked when run again."""
    task = IMAGE.model_copy(update={"length": 4096})
    for status, reason in FAILURES.items():
        pass_name = {"gate_failed": "gate", "nan": "accuracy"}.get(status, "speed")
        writer.add(
            pass_name,
            "dense_eager",
            status=status,
            reason=reason,
            key=f"{pass_name}-image4096-dense_eager-{status}",
            task=task,
            is_loaded=False,
        )
    for status, reason in (("crash", "signal 9"), ("ok", None)):
        writer.add(
            "memory",
            "dense_sdpa",
            seed=7,
            status=status,
            reason=reason,
            task=IMAGE.model_copy(update={"length": 2048}),
        )
