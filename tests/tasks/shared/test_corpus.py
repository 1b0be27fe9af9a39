from __future__ import annotations

import numpy as np
import pytest

from spion_bench.tasks.shared import corpus
from spion_bench.tasks.shared.corpus import corpus_version, read_corpus


def test_version_names_packages_and_hashes_every_file(monkeypatch: pytest.MonkeyPatch) -> None:
    files = read_corpus(("numpy",))
    version = corpus_version(("numpy",))
    assert version.startswith(f"numpy {np.__version__}; sha256 of the files ")
    monkeypatch.setattr(corpus, "read_corpus", lambda packages: files[1:])
    assert corpus_version(("numpy",)) != version


def test_package_that_is_not_installed_is_named() -> None:
    message = r"package absent_package, which is not installed; run `pip install absent_package`"
    with pytest.raises(FileNotFoundError, match=message):
        read_corpus(("absent_package",))
