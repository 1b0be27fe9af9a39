"""Adding a task is adding one folder: one more in a copy of the package shows up everywhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "spion_bench"
DECLARATION = '''
"""The parity task: is the number of ones even?"""

from pathlib import Path

import numpy as np

from spion_bench.datasets.data_set import DataFile, DataSet
from spion_bench.records.settings import Settings
from spion_bench.tasks.task import (
    DataSource, SourceSpec, Split, TaskSpec, TaskSplits, splits_sha256
)


class ParityOptions(Settings):
    length: int = 16
    n: int = 5


def load(data_dir, options):
    bits = np.random.default_rng(0).integers(0, 2, (options.n, options.length)).astype(np.int16)
    split = Split(bits, bits.sum(axis=1, dtype=np.int64) % 2)
    source = DataSource("generated", "1", splits_sha256(split), True, "random bits")
    return TaskSplits(split, split, split, source)


BITS = DataSet("bits", (DataFile("bits.txt", "https://example.org/bits.txt"),), "page", "none")

SPEC = TaskSpec(
    name="parity",
    options=ParityOptions,
    read=load,
    sources=(
        SourceSpec(
            name="file",
            stand_in=False,
            find=lambda data_dir: None,
            how_to_get="put bits.txt into {folder}",
            raw_files=("bits.txt",),
            data_sets=(BITS,),
        ),
        SourceSpec(name="generated", stand_in=True, find=lambda data_dir: "drawn"),
    ),
)
'''
QUESTIONS = """
import json, sys
from pathlib import Path

from spion_bench.cli.examine import examine_data
from spion_bench.tasks import (
    data_sets, load_config, load_task, prepare_task, task_names
)
from spion_bench.tasks.registry import readers_of

folder = Path(sys.argv[1])
options = {"n": 7}
prepare_task("parity", folder, options)
data = load_task("parity", data_dir=folder, options=options)
try:
    load_task("parity", options={"lenght": 8})
except ValueError as error:
    refusal = str(error)
print(json.dumps({
    "names": task_names(),
    "config": load_config("parity").name,
    "examples": [len(data.train), data.length],
    "description": data.source.description,
    "refusal": refusal,
    "readers": readers_of(data_sets()["bits"]),
    "findings": {f.what: [f.verdict, f.detail, f.remedy] for f in examine_data(folder)},
}))
"""


@pytest.fixture
def with_parity(tmp_path: Path) -> Path:
    """Return a folder to import a copy of the package from that has one task more."""
    copy = tmp_path / "copy" / "spion_bench"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    folder = copy / "tasks" / "parity"
    folder.mkdir()
    (folder / "__init__.py").write_text(DECLARATION)
    config = (PACKAGE / "tasks" / "listops" / "config.toml").read_text()
    (folder / "config.toml").write_text(config.replace('name = "listops"', 'name = "parity"'))
    return copy.parent


def test_a_new_folder_is_a_new_task(with_parity: Path, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    done = subprocess.run(
        [sys.executable, "-P", "-c", QUESTIONS, str(data_dir)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(with_parity)},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["names"] == ["image", "listops", "parity", "pathfinder", "retrieval", "text"]
    assert found["config"] == "parity"
    assert found["examples"] == [7, 16]
    assert found["description"].startswith("random bits; ids ")
    assert "; mapped from prepared/parity-" in found["description"]
    assert "unknown parity option 'lenght': did you mean 'length'" in found["refusal"]
    assert found["readers"] == ["parity"]
    remedy = f"put bits.txt into {data_dir}"
    assert found["findings"]["data: parity, file"] == ["limited", "not here", remedy]
    assert found["findings"]["data: parity, generated"][:2] == ["ok", "drawn (a stand-in)"]
