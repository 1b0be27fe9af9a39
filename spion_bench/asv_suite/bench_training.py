"""A training step's time and peak memory, and the error after a short training."""

from __future__ import annotations

import ctypes
from pathlib import Path

import torch
from sklearn.datasets import load_digits

from .cases import STEPS
from .training import Step, train_spion

ATTENTIONS = ["spion_cf", "dense"]
MALLOC_OPTIONS = {-3: 65536, -1: 0, -8: 1}  # mmap threshold, trim threshold, arenas: free at once

DIGITS = {  # handwritten digits, 16 x 16 pixels one after the other
    **{"layers": 2, "embedding_dim": 64, "hidden_dim": 128, "heads": 2, "head_dim": 32},
    **{"dropout": 0.1, "vocab_size": 32, "max_length": 256, "n_classes": 10},
    **{"two_towers": False, "mask_attention": False, "mask_pooling": True},
}
N_TRAIN = 1200


class TrainingStep:
    """Time of a training step at the tasks' shapes."""

    params = (list(STEPS), ATTENTIONS)
    param_names = ("shape", "attention")

    def setup(self, shape: str, attention: str) -> None:
        """Make the model and a batch."""
        self.step = Step(STEPS[shape], attention)

    def time_step(self, shape: str, attention: str) -> None:
        """Time one step."""
        self.step.run()


class Memory:
    """Peak memory of a training step above what the process holds before it."""

    params = (ATTENTIONS,)
    param_names = ("attention",)
    timeout = 600
    unit = "bytes"

    def setup(self, attention: str) -> None:
        """Make malloc return memory at once, then the model; do a step to warm up."""
        if not Path("/proc/self/clear_refs").exists():
            raise NotImplementedError("peak memory needs Linux: /proc/self/clear_refs")
        self.libc = ctypes.CDLL(None)
        for option, value in MALLOC_OPTIONS.items():
            self.libc.mallopt(option, value)
        self.step = Step(STEPS["retrieval"], attention)
        self.step.run()

    def track_step_peak_bytes(self, attention: str) -> int:
        """Return the peak of one step at the retrieval shape."""
        self.step.forget_gradients()
        self.libc.malloc_trim(0)
        before = _status_bytes("VmRSS")
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # lowers the peak to it
        self.step.run()
        return _status_bytes("VmHWM") - before


class Error:
    """Share of test digits that SPION-CF gets wrong after a training of about two minutes."""

    timeout = 1200
    unit = "share"
    steps = 600

    def track_test_error(self) -> float:
        """Return the error: asv takes a higher value for a worse one."""
        digits = load_digits()
        small = torch.tensor(digits.images, dtype=torch.int64).clamp(max=16) + 1
        tokens = small.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2).flatten(1)
        labels = torch.tensor(digits.target, dtype=torch.int64)
        model = train_spion(
            DIGITS,
            tokens[:N_TRAIN],
            labels[:N_TRAIN],
            steps=self.steps,
            batch=32,
            block_size=32,
            quantile=0.9,
        )
        with torch.no_grad():
            predicted = model(tokens[N_TRAIN:]).argmax(dim=1)
        return float((predicted != labels[N_TRAIN:]).double().mean())


def _status_bytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))
