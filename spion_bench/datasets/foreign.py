"""What other systems add to folders and archives, and no data set holds."""

from __future__ import annotations

from pathlib import PurePosixPath

_NAMES = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})


def is_foreign(path: str) -> bool:
    """Whether a file, by its path or name, was added by macOS or Windows.

    macOS writes a second file ``._x`` for a file ``x`` where it cannot keep its own attributes, and
    a folder ``__MACOSX`` of them into archives.
    """
    parts = PurePosixPath(path).parts
    name = parts[-1] if parts else ""
    return name.startswith("._") or name in _NAMES or "__MACOSX" in parts
