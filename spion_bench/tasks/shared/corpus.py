"""Real text that is always available: the Python sources of two packages that the suite needs.

It stands in where a task's published text is missing. SciPy is installed because scikit-learn needs
it, and both packages are installed under their own names. Files are found without importing the
packages. What is in them depends on the versions installed, so every use states a fingerprint.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from spion_bench.tasks.task import SourceSpec

PACKAGES = ("numpy", "scipy")
PIECE_BYTES = 1000
_FOLDS = 10
_SPLIT_OF_FOLD = {0: "test", 1: "test", 2: "dev"}  # all others are train

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class SourceFile:
    """One Python file.

    Attributes:
        package: The package that it belongs to.
        path: Relative to the folder that holds the package, with ``/``.
        content: Its bytes.
    """

    package: str
    path: str
    content: bytes

    @property
    def split(self) -> str:
        """``"train"``, ``"dev"`` or ``"test"``, by a hash of the path: a file is in one only."""
        fold = int.from_bytes(hashlib.sha256(self.path.encode()).digest()[:4], "big") % _FOLDS
        return _SPLIT_OF_FOLD.get(fold, "train")

    def pieces(self) -> list[bytes]:
        """Return the file's consecutive pieces of 1000 bytes; a shorter rest is left out."""
        starts = range(0, len(self.content) - PIECE_BYTES + 1, PIECE_BYTES)
        return [self.content[start : start + PIECE_BYTES] for start in starts]


@lru_cache(maxsize=4)
def read_corpus(packages: tuple[str, ...]) -> tuple[SourceFile, ...]:
    """Return all Python files of the packages, sorted by path.

    Raises:
        FileNotFoundError: If a package is not installed.
    """
    files = []
    for package in packages:
        folder = _folder_of(package)
        files += [
            SourceFile(package, path.relative_to(folder.parent).as_posix(), path.read_bytes())
            for path in folder.rglob("*.py")
        ]
    return tuple(sorted(files, key=lambda file: file.path))


def corpus_version(packages: tuple[str, ...]) -> str:
    """Return the packages' versions, and a sha256 over all paths and contents."""
    digest = hashlib.sha256()
    for file in read_corpus(packages):
        content = hashlib.sha256(file.content).hexdigest()
        digest.update(f"{file.path} {content}\n".encode())
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    return f"{versions}; sha256 of the files {digest.hexdigest()}"


def shuffled(items: Sequence[_Item], draw: Callable[[], float]) -> list[_Item]:
    """Return the items in an order that depends only on the numbers drawn."""
    # Python guarantees the sequence of random() for a seed, but not that of shuffle().
    keys = [draw() for _ in items]
    return [items[i] for i in sorted(range(len(items)), key=keys.__getitem__)]


def sequence_of(*parts: object) -> Callable[[], float]:
    """Return a sequence of random numbers in [0, 1) that depends only on the parts."""
    return random.Random(" ".join(map(str, parts))).random


def find_corpus(data_dir: Path | None) -> str | None:
    """Say where the files are; None if a package is not installed."""
    is_there = all(importlib.util.find_spec(package) for package in PACKAGES)
    return f"pieces of the installed sources of {' and '.join(PACKAGES)}" if is_there else None


def _folder_of(package: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError(
            f"source 'stand-in' reads the files of the package {package}, which is not installed; "
            f"run `pip install {package}`"
        )
    return Path(found.submodule_search_locations[0])


SOURCE = SourceSpec(
    name="stand-in",
    stand_in=True,
    find=find_corpus,
    how_to_get=f"run `pip install {' '.join(PACKAGES)}`",
)
"""The source of every task that this text stands in for."""
