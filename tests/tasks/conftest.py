from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from spion_bench.tasks.image import fashion_mnist


@pytest.fixture(scope="session")
def golden() -> dict[str, Any]:
    document = json.loads((Path(__file__).parents[1] / "data" / "golden.json").read_text())
    return {case["id"]: case for case in document["cases"]}


@pytest.fixture
def no_system_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide data sets that happen to be installed on this machine."""
    monkeypatch.setattr(fashion_mnist, "SYSTEM_FOLDER", tmp_path / "not-installed")
