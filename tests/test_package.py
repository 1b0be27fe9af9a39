import subprocess
import sys
import tomllib

import pytest

import spion_bench
from spion_bench.block_pattern import BlockPattern
from spion_bench.ops.block_attention import block_attention
from tests import ROOT


def test_version_is_that_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert spion_bench.__version__ == project["version"]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {spion_bench.__version__}\n" in citation


def test_every_folder_of_modules_is_in_the_wheel():
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    folders = [
        p.parent for name in ("spion_bench", "baselines") for p in (ROOT / name).rglob("*.py")
    ]
    found = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert set(setuptools["packages"]) - set(setuptools["package-dir"]) == found


def test_a_checkout_that_converts_line_ends_holds_the_same_files(tmp_path):
    if not (ROOT / ".git").exists():
        pytest.skip("no git checkout")
    converting = ("-c", "core.autocrlf=true", "-c", "core.eol=crlf")
    command = ["git", *converting, "checkout-index", "--all", f"--prefix={tmp_path}/"]
    subprocess.run(command, cwd=ROOT, check=True)
    texts = [p for p in tmp_path.rglob("*") if p.is_file() and p.suffix not in (".npz", ".png")]
    assert tmp_path / ".ci" / "run" in texts
    assert not [path for path in texts if b"\r" in path.read_bytes()]


def test_public_names_resolve():
    assert spion_bench.BlockPattern is BlockPattern
    assert spion_bench.block_attention is block_attention
    for name in spion_bench.__all__:
        assert name in dir(spion_bench)
        assert getattr(spion_bench, name).__name__ == name


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = spion_bench.nothing


def test_importing_the_package_needs_no_torch():
    script = "import sys, spion_bench, spion_bench.records; print('torch' in sys.modules)"
    out = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "False"
