"""Every example runs, a few steps of it, as its user would start it."""

import os
import subprocess
import sys

import pytest

from spion_bench.tasks.image.fashion_mnist import find_fashion_mnist
from tests import ROOT

pytest.importorskip("transformers")
FOLDER = ROOT / "examples"
SHORT = {"vit_fashion_mnist": 8, "bert_source_code": 8, "character_model": 9}


@pytest.mark.parametrize("name", SHORT)
def test_an_example_compares_dense_with_sparse_and_draws_the_patterns(name, tmp_path):
    if name == "vit_fashion_mnist" and find_fashion_mnist(None) is None:
        pytest.skip("Fashion-MNIST is not installed (Debian: dataset-fashion-mnist)")
    picture = tmp_path / "patterns.png"
    command = [sys.executable, FOLDER / f"{name}.py", "--steps", str(SHORT[name]), "--out", picture]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for expected in ("dense", "SPION", "of the blocks, sparse from step"):
        assert expected in done.stdout
    assert picture.stat().st_size > 5000


def test_every_example_is_tested():
    scripts = {path.stem for path in FOLDER.glob("*.py")} - {"comparison", "method_pictures"}
    assert scripts == set(SHORT)
