"""Every example runs, a few steps of it, as its user would start it."""

import importlib.util
import os
import re
import subprocess
import sys

import pytest

from spion_bench.tasks.image.fashion_mnist import find_fashion_mnist
from tests import ROOT

FOLDER = ROOT / "examples"
NOT_COMPARISONS = {"comparison", "method_pictures"}
SHORT = {
    "vit_fashion_mnist": ("--steps", "8"),
    "bert_source_code": ("--steps", "8", "--length", "256"),
    "character_model": ("--steps", "9", "--length", "128"),
}
ROW = r"\n{} +\d\.\d{{3}} +\d+\.\d ms +(\d+ MiB|not measured)\n"


SLOW = {"vit_fashion_mnist"}  # its sequences are as long as a picture has pixels


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in SHORT]
)
def test_an_example_compares_dense_with_sparse_and_draws_the_patterns(name, tmp_path):
    if name != "character_model" and importlib.util.find_spec("transformers") is None:
        pytest.skip("transformers is not installed; nox -s own_model")
    if name == "vit_fashion_mnist" and find_fashion_mnist(None) is None:
        pytest.skip("Fashion-MNIST is not installed (Debian: dataset-fashion-mnist)")
    picture = tmp_path / "patterns.png"
    done = subprocess.run(
        [sys.executable, FOLDER / f"{name}.py", *SHORT[name], "--out", picture],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.search(ROW.format("dense"), done.stdout), done.stdout
    assert re.search(ROW.format("SPION"), done.stdout), done.stdout
    assert done.stdout.count("of the blocks, sparse from step") == 2  # layers
    assert picture.stat().st_size > 5000


def test_every_example_is_tested_and_short():
    scripts = {path.stem: path for path in FOLDER.glob("*.py")}
    assert set(scripts) - NOT_COMPARISONS == set(SHORT)
    for name in SHORT:
        lines = scripts[name].read_text(encoding="utf-8").splitlines()
        assert sum(bool(line.strip()) for line in lines) < 60, name
