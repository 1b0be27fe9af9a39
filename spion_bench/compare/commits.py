"""The commits of a checkout, each unpacked into a folder of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from spion_bench.measure.checkout import GitError, git
from spion_bench.records.names import UsageError


def find_repository(start: Path) -> Path:
    """Return the root of the checkout of spion_bench around a folder.

    Raises:
        UsageError: If there is no git, no checkout, or one of another project.
    """
    root = Path(_git(start, "rev-parse", "--show-toplevel"))
    if not (root / "spion_bench" / "__init__.py").is_file():
        raise UsageError(f"{root}: expected a checkout of spion_bench, to compare commits of")
    return root


def resolve(root: Path, name: str) -> str:
    """Return the full hash of a commit.

    Raises:
        UsageError: If the checkout has no such commit.
    """
    try:
        return _git(root, "rev-parse", "--verify", "--quiet", name + "^{commit}")
    except UsageError as error:
        raise UsageError(
            f"{name!r}: neither a commit of {root} nor a folder of records; a shallow clone has "
            "only its last commits (git fetch --unshallow)"
        ) from error


@contextmanager
def worktrees(root: Path, commits: tuple[str, ...]) -> Iterator[list[Path]]:
    """Check commits out into temporary folders, which are removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="spion-compare-") as folder:
        paths = []
        try:
            for number, commit in enumerate(commits):
                path = Path(folder, str(number))
                _git(root, "worktree", "add", "--quiet", "--detach", str(path), commit)
                paths.append(path)
            yield paths
        finally:
            for path in paths:
                with suppress(UsageError):  # the next is removed all the same
                    _git(root, "worktree", "remove", "--force", str(path))
            _git(root, "worktree", "prune")


def _git(folder: Path, *arguments: str) -> str:
    try:
        return git(folder, *arguments, timeout_s=None)  # a large checkout takes its time
    except GitError as error:
        raise UsageError(f"{error}; comparing commits needs git, records need none") from error
