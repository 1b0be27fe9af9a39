"""The guide "Add a baseline", followed to the letter on a copy of the sources.

Two files are added and none is changed; list, plan, gate, measurement and report have to find the
method. Everything runs as the user's commands do, in processes of the copy.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

ENTRY = '''"""A throw-away family."""

from spion_bench.suite.method import Argument, Method

METHODS = (
    Method(
        "throw_away",
        "every token attends to those before it in its group",
        "baselines.new.grouped:Grouped",
        family="sparse",
        role="rival",
        native="PyTorch",
        arguments={"group": Argument(16, "ours")},
    ),
)
'''

MODULE = '''"""Attention inside groups of tokens; a throw-away."""

from typing import ClassVar

import torch
from torch import Tensor

from spion_bench.model.attention import Attention, Capabilities


class Grouped(Attention):
    """Exact attention inside groups of ``group`` tokens."""

    capabilities: ClassVar[Capabilities] = Capabilities()
    caveats: ClassVar[tuple[str, ...]] = ("a dense product under a mask",)

    def __init__(self, group: int) -> None:
        super().__init__()
        self.group = group

    def forward(self, q, k, v, key_padding_mask=None) -> Tensor:
        kept = self.token_mask(q.shape[2], q.shape[1])[None, None]
        if key_padding_mask is not None:
            kept = kept & ~key_padding_mask[:, None, None, :]
        scores = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~kept, float("-inf"))
        return torch.softmax(scores, -1).masked_fill(~kept, 0.0) @ v

    def token_mask(self, length: int, heads: int) -> Tensor:
        group = torch.arange(length) // self.group
        return group[:, None] == group[None, :]
'''

PROFILE = """name = "guide"
description = "the new method next to a known one"

[[cells]]
passes = ["speed"]
task = "image"
options = { source = "digits", length = 256, n_train = 16, n_dev = 8, n_test = 8 }
methods = ["dense_sdpa", "throw_away"]
model = { layers = 1 }
measure = { batch_size = 2, rounds = 2, warmup_s = 0.0, round_s = 0.0, min_samples = 2 }
timeout_s = 120
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the sources with the new baseline in it."""
    root = tmp_path_factory.mktemp("copy")
    for name in ("spion_bench", "baselines", "csrc", "results/published"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "results" / "claims.toml", root / "results")
    family = root / "baselines" / "new"
    family.mkdir()
    (family / "__init__.py").write_text(ENTRY)
    (family / "grouped.py").write_text(MODULE)
    (root / "guide.toml").write_text(PROFILE)
    return root


def command(copy, *arguments):
    """Return what a command of the copy prints."""
    done = subprocess.run(
        [sys.executable, "-m", "spion_bench", *arguments],
        capture_output=True,
        text=True,
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy), "COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_list_and_plan_name_the_new_method(copy):
    assert "throw_away" in command(copy, "list")
    assert "throw_away" in command(copy, "plan", "--profile", "guide.toml")


def test_the_new_method_is_gated_timed_and_reported(copy):
    command(copy, "run", "--profile", "guide.toml", "--out", "records", "--report-dir", "report")
    lines = [
        json.loads(line)
        for path in sorted((copy / "records").glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    found = {
        line["cell"]["pass_name"]: line["measurement"]
        for line in lines
        if line["cell"]["method"]["name"] == "throw_away"
    }
    assert {name: measured["status"] for name, measured in found.items()} == {
        "gate": "ok",
        "speed": "ok",
    }
    errors = [error for error in found["gate"]["gate"] if error["budget"] is not None]
    assert errors
    assert all(error["error"] <= error["budget"] for error in errors)
    page = (copy / "report" / "index.html").read_text()
    assert "throw_away" in page
