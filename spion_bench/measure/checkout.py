"""Which commit the running code is, and what of it no commit holds."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

GIT_TIMEOUT_S = 10.0
SOURCES = ("spion_bench", "baselines", "csrc")
# A hook of git runs with these set; they would lead to the repository of the hook.
_OF_A_HOOK = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
)


@dataclass(frozen=True)
class Checkout:
    """The state of a git checkout.

    Attributes:
        sha: Its commit; None if unknown.
        dirty: Whether the code is another than the commit's: tracked files were changed, or sources
            are untracked; None if unknown.
        untracked: Untracked sources, relative to the checkout.
        problem: Why git does not say the commit of a checkout, or None.
    """

    sha: str | None = None
    dirty: bool | None = None
    untracked: tuple[str, ...] = ()
    problem: str | None = None


def read_checkout(package: Path) -> Checkout:
    """Return the state of the checkout whose sources ``package`` belongs to.

    Nothing is known of a package that is not part of a checkout, for instance an installed one.
    """
    try:
        top = git(package, "rev-parse", "--show-toplevel")
    except GitError as error:
        is_inside = any((folder / ".git").exists() for folder in package.resolve().parents)
        return Checkout(problem=str(error) if is_inside else None)
    try:
        git(package, "ls-files", "--error-unmatch", "__init__.py")
    except GitError:
        return Checkout()
    try:
        sha = git(package, "rev-parse", "HEAD")
        root = Path(top)
        status = git(root, "status", "--porcelain", "-z", "--untracked-files=no")
        folders = [folder for folder in (package.name, *SOURCES) if (root / folder).is_dir()]
        listed = git(root, "ls-files", "-z", "--others", "--exclude-standard", "--", *folders)
    except GitError as error:
        return Checkout(problem=str(error))
    untracked = tuple(sorted(name for name in listed.split("\0") if name))
    return Checkout(sha, bool(status or untracked), untracked)


class GitError(RuntimeError):
    """git is missing, or refused a command; the message is its own."""


def git(folder: Path, *arguments: str, timeout_s: float | None = GIT_TIMEOUT_S) -> str:
    """Return what a command of git says in a folder's own repository, in English.

    Raises:
        GitError: If git is missing, refuses the command, or takes longer than ``timeout_s``.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _OF_A_HOOK}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
            env={**environment, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GitError(f"git: {error}") from error
    if done.returncode != 0:
        raise GitError(f"git: {done.stderr.strip().partition(chr(10))[0] or done.returncode}")
    return done.stdout.strip()
