"""A worker that only pretends to measure, in a fraction of a second and without torch.

It speaks to its runner as the real one does, trains in steps of which each leaves a checkpoint,
goes on from a checkpoint or from its parent's artifact, and leaves an artifact. Its numbers depend
on every step, so a step that was lost or done twice shows.
"""

import hashlib
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from spion_bench.records import Measurement, Metric
from spion_bench.records.artifacts import Artifact, Curve, write_artifact
from spion_bench.records.files import file_digest, replace_file
from spion_bench.run import messages
from spion_bench.run.channel import Channel

STEPS = 30
STEP_S = 0.01


def train(job, channel):
    """Return the metrics and the artifacts of a cell that trains."""
    cell, out = job.cell, Path(job.out)
    is_prefix = cell.pass_name == "prefix"
    folder = out / ("artifacts" if is_prefix else "checkpoints") / cell.key
    checkpoint = folder / "state.json"
    parent = None if cell.parent is None else out / "artifacts" / cell.parent / "state.json"
    found = next((path for path in (checkpoint, parent) if path and path.exists()), None)
    if parent is not None and found is None:
        raise FileNotFoundError(f"{parent}: no parent to continue")
    step, state = json.loads(found.read_text()) if found else (0, "")
    last = STEPS if is_prefix else 2 * STEPS
    folder.mkdir(parents=True, exist_ok=True)
    while step < last:
        time.sleep(STEP_S)
        step, state = step + 1, hashlib.sha256(f"{state}{step}{cell.seed}".encode()).hexdigest()
        replace_file(checkpoint, json.dumps([step, state]).encode())
        channel.send(messages.Progress(phase="dense", step=step, total_steps=last))
    loss = int(state[:8], 16) / 2**32
    metrics = {"final_train_loss": Metric(value=loss, unit="nat", lower_is_better=True)}
    if is_prefix:
        return metrics, {f"{cell.key}/state.json": file_digest(checkpoint)}
    numbers = np.array([loss])
    curve = Curve(np.array([last]), np.array([False]), numbers, np.array([last]), numbers, numbers)
    path = out / "artifacts" / f"{cell.key}.npz"
    return metrics, {path.name: write_artifact(path, Artifact(curve))}


def measure(job, channel):
    """Return what one cell gives."""
    channel.send(messages.Started(code=job.cell.code, package=__name__))
    metrics, artifacts = {}, {}
    if job.cell.pass_name in ("prefix", "accuracy"):
        metrics, artifacts = train(job, channel)
    elif job.cell.pass_name != "gate":
        channel.send(messages.Ready())
        while isinstance(channel.receive(), messages.RoundRequest):
            time.sleep(STEP_S)
            channel.send(messages.Measured(values={"train_step_ms": 1.0}))
        metrics = {"train_step_ms": Metric(value=1.0, unit="ms", lower_is_better=True)}
    return Measurement(status="ok", metrics=metrics, artifacts=artifacts)


def main():
    """Serve jobs until none is left."""
    with (
        open(0, "rb", buffering=0, closefd=False) as requests,
        os.fdopen(int(sys.argv[1]), "w", encoding="utf-8") as events,
    ):
        channel = Channel(requests, events)
        while isinstance(request := channel.receive(), messages.JobRequest):
            channel.send(messages.Result(measurement=measure(request.job, channel)))
