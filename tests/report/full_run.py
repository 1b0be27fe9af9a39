"""A run as a study leaves it: controls, shortcuts, rivals, turns with their load; made-up numbers.

ListOps measures attention; image does not, and its times were disturbed. Every length is a setting
of about 80 records, so a run can be made as large as a test needs.
"""

import numpy as np

from spion_bench.records import Load, MethodInfo, TransitionInfo, Turn
from spion_bench.records.paired import aa_metric
from spion_bench.tasks import load_spec
from tests.report.run_writer import IMAGE, LISTOPS, RunWriter, metric
from tests.report.sample_run import curve_arrays
from tests.report.tables.test_origins import SETTINGS as PUBLISHED

BATCH = 8
TIMES = ("train_step_ms", "attention_ms")
_TRAIN = PUBLISHED.train.model_copy(update={"steps": 400, "latest_transition_step": 200})
SETTINGS = PUBLISHED.model_copy(update={"train": _TRAIN})
SEEDS = 3

# Name -> accuracy on ListOps, milliseconds of a step and of attention alone, megabytes.
NUMBERS = {
    "dense_sdpa": (0.80, 100.0, 60.0, 220.0),
    "no_attention": (0.50, 40.0, 1.0, 60.0),
    "mean_attention": (0.55, 42.0, 2.0, 61.0),
    "spion_c": (0.74, 52.0, 6.0, 92.0),
    "spion_f": (0.75, 51.0, 6.0, 92.0),
    "spion_cf": (0.77, 50.0, 5.0, 90.0),
    "spion_cf@window": (0.70, 48.0, 4.0, 90.0),
    "sliding_window": (0.66, 90.0, 40.0, 130.0),
    "sliding_window@matched": (0.62, 70.0, 20.0, 110.0),
    "bigbird": (0.72, 84.0, 33.0, 140.0),
    "reformer": (0.60, 95.0, 45.0, 150.0),
    "spion+bigbird_block": (0.71, 60.0, 8.0, 95.0),
}
_LEARNED = ("spion_c", "spion_f", "spion_cf", "spion_cf@window")
_SPION = {"family": "spion", "base": "spion_cf", "native": "block_attention"}
_FACTS = {
    "dense_sdpa": {"family": "dense", "role": "reference"},
    "no_attention": {"family": "control", "role": "control"},
    "mean_attention": {"family": "control", "role": "control"},
    "spion_c": {"family": "spion", "role": "subject", "variant": "C"},
    "spion_f": {"family": "spion", "role": "subject", "variant": "F"},
    "spion_cf": {**_SPION, "role": "subject", "variant": "CF"},
    "spion_cf@window": {**_SPION, "role": "isolates", "variant": "CF", "blocks": "window"},
    "spion+bigbird_block": {"family": "sparse", "role": "isolates", "native": "block_attention"},
    "sliding_window": {"origins": {"window": "lra"}},
    "reformer": {"family": "hashing"},
}


def info_of(name):
    facts = {"family": "sparse", "role": "rival", "base": name.partition("@")[0]}
    return MethodInfo(name=name, **{**facts, **_FACTS.get(name, {})})


def write_full_run(
    folder, *, tasks=(LISTOPS, IMAGE), lengths=(128,), seeds=SEEDS, rename=str, **fields
):
    """Write every pass of all methods for each task and length; return the folder.

    ``rename`` changes the methods' names, ``fields`` go into every record.
    """
    writer = RunWriter(folder)
    for task in tasks:
        for length in lengths:
            here = task.model_copy(update={"length": length, "stand_in": task is IMAGE})
            _write_setting(writer, here, seeds, rename, fields)
    return folder


def _write_setting(writer, task, seeds, rename, fields):
    is_image = task.name == "image"
    for name in NUMBERS:
        for seed in range(seeds):
            accuracy = 0.85 if is_image else NUMBERS[name][0]
            accuracy += 0.01 * ((seed + len(name)) % 3)
            _train(writer, task, _named(name, rename), name, accuracy, seed, fields)
    for shortcut in load_spec(task.name).shortcuts:
        _train(writer, task, shortcut.name, "", 0.9 if is_image else 0.4, 0, fields)
    load = Load(cpus=2, others=[0.4 if is_image else 0.02] * 8, repeated=[0.9] * is_image)
    marks = ["other processes used 0.4 of 2 CPUs"] if is_image else []
    turn = Turn(
        methods=[rename(name) for name in NUMBERS],
        rounds=8,
        baseline="dense_sdpa",
        aa={name: aa_metric(_rounds(1.004, "ratio").samples, [1.0] * 8) for name in TIMES},
        load=load,
        marks=marks,
    )
    for name, (_, step, attention, megabytes) in NUMBERS.items():
        grown = task.length / 128 if name.startswith("spion") else (task.length / 128) ** 1.5
        times = zip(TIMES, (step, attention), strict=True)
        metrics = {key: _rounds(value * grown, "ms") for key, value in times}
        asked = {"batch_size": BATCH, "settings": SETTINGS}
        method = _named(name, rename)
        writer.add("speed", method, task=task, turn=turn, metrics=metrics, cell=asked, **fields)
        peak = {"train_step_peak_bytes": _rounds(megabytes * 1e6 * grown, "bytes", n=3)}
        writer.add("memory", method, task=task, metrics=peak, cell=asked, **fields)


def _named(name, rename):
    return info_of(name).model_copy(update={"name": rename(name)})


def _rounds(centre, unit, *, n=8):
    """Return a metric of one number per round, 1 % apart."""
    values = (centre * np.random.default_rng(round(centre)).normal(1, 0.01, n)).tolist()
    found = metric(float(np.median(values)), unit, samples=values)
    return found.model_copy(update={"round_sizes": [1] * n})


def _train(writer, task, method, name, accuracy, seed, fields):
    correct = np.arange(task.n_test) < accuracy * task.n_test
    metrics = {"test_accuracy": metric(float(correct.mean()), "ratio", up=True)}
    observed = {}
    if name in _LEARNED:
        metrics["pattern_wall_s"] = metric(0.3, "s")
        reason = "criterion" if seed else "forced"
        observed["transition"] = TransitionInfo(
            step=200, reason=reason, layer_steps=[200], sparse_step_share=0.5, is_spion=True
        )
    arrays = curve_arrays(np.random.default_rng(seed), accuracy, None) | {"test_correct": correct}
    kind = "accuracy" if name else "shortcuts"
    shown = name or method
    file = f"{kind}-{task.name}{task.length}-{shown}-s{seed}.npz"
    writer.add(
        kind,
        method,
        task=task,
        seed=seed,
        metrics=metrics,
        artifacts=writer.add_artifact(file, arrays),
        cell={"batch_size": BATCH, "settings": SETTINGS},
        **observed,
        **fields,
    )
