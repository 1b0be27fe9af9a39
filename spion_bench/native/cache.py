"""The folder of built libraries: where it is, whether others could put code there, emptying it.

A library in it is loaded and run without a question, so it counts only where no other account can
write: as ssh does with keys, every folder on the way must belong to the user or to root.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from spion_bench.native.error import BuildError
from spion_bench.records.files import locked

VARIABLE = "SPION_BENCH_CACHE"
_OURS = re.compile(r"spion_bench(_cuda|_emulated)?-[0-9a-f]{16}(\.lock|\.log)?")


def cache_root() -> Path:
    """Return the folder of built libraries: ``$SPION_BENCH_CACHE`` or ``~/.cache/spion_bench``.

    Raises:
        BuildError: If neither the variable nor a home folder is there.
    """
    try:
        configured = os.environ.get(VARIABLE)
        return Path(configured).expanduser() if configured else Path.home() / ".cache/spion_bench"
    except RuntimeError as error:  # no HOME, and an account that the system does not know
        raise BuildError(
            f"no place for built kernels: this account has no home folder ({error}); set "
            f"{VARIABLE} to a folder of your own"
        ) from error


def check_private(path: Path) -> None:
    """Raise BuildError if another account but root could put a file in the place of ``path``.

    Links are followed: the folders that hold them are looked at, and those that they lead to.
    """
    absolute = Path(os.path.abspath(path))
    for place in {absolute, *absolute.parents, path.resolve(), *path.resolve().parents}:
        if problem := _foreign_hand(place):
            raise BuildError(
                f"{place}: {problem}, so the kernels in {path} may be foreign and are not loaded; "
                f"change it, or set {VARIABLE} to a folder that only you can write to"
            )


def _foreign_hand(path: Path) -> str | None:
    found = path.stat()
    if found.st_uid not in (os.geteuid(), 0):
        return f"belongs to user {found.st_uid}"
    # In a sticky folder such as /tmp others may add files, not replace ours.
    if stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX:
        return None
    if found.st_mode & stat.S_IWOTH:
        return "everybody can write there"
    if found.st_mode & stat.S_IWGRP and not _is_own_group(found.st_gid):
        return f"group {found.st_gid} can write there"
    return None


def _is_own_group(gid: int) -> bool:
    """Whether a group is root's, or the one that a user has alone, called as the user is."""
    if gid == 0:
        return True
    try:
        return grp.getgrgid(gid).gr_name == pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return False


def clean(root: Path) -> Iterator[tuple[Path, int]]:
    """Remove what this package built in ``root``; yield each path and the bytes it took.

    What another process is building or waiting for is left where it is, and so is any other file.
    """
    names = sorted(path.name for path in root.iterdir()) if root.is_dir() else []
    for name in names:
        if not _OURS.fullmatch(name) or name.endswith(".lock"):
            continue
        path = root / name
        try:
            with locked(root / f"{name.removesuffix('.log')}.lock", _refuse):
                size = sum(file.lstat().st_size for file in [path, *path.rglob("*")])
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        except BlockingIOError:
            continue
        yield path, size
    for lock in root.glob("*.lock"):
        if _OURS.fullmatch(lock.name) and not lock.with_suffix("").exists():
            lock.unlink()


def _refuse(holder: str) -> None:
    raise BlockingIOError(holder)
