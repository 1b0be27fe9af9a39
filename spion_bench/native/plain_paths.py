"""Plain names for the folders that torch writes into command lines and into ninja's files.

torch quotes some of their paths and not others: a space cuts the linker's path to torch's libraries
in two, and ``$`` begins a variable of ninja's.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch.utils import cpp_extension

_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")


@contextmanager
def plain_paths(sources: Path) -> Iterator[Path]:
    """Yield ``sources`` under a plain path, and let torch know its own folder by one.

    Where both paths are plain already, nothing is done; else they are links in a temporary folder.

    Raises:
        OSError: If there is no temporary folder with a plain path.
    """
    torch_dir = Path(cpp_extension.TORCH_LIB_PATH).parent
    if all(_PLAIN.fullmatch(str(path)) for path in (sources, torch_dir)):
        yield sources
        return
    # S108: the folder made there has a name that cannot be guessed, and is its maker's alone.
    candidates = (tempfile.gettempdir(), "/tmp")  # noqa: S108
    places = [path for path in candidates if _PLAIN.fullmatch(path)]
    if not places:
        raise OSError(f"TMPDIR: expected a path of plain letters, got {tempfile.gettempdir()}")
    with tempfile.TemporaryDirectory(prefix="spion-bench-", dir=places[0]) as name:
        links = {"torch": torch_dir, "sources": sources}
        for link, target in links.items():
            Path(name, link).symlink_to(target.resolve(), target_is_directory=True)
        before = cpp_extension._TORCH_PATH, cpp_extension.TORCH_LIB_PATH
        cpp_extension._TORCH_PATH = f"{name}/torch"
        cpp_extension.TORCH_LIB_PATH = f"{name}/torch/lib"
        try:
            yield Path(name, "sources")
        finally:
            cpp_extension._TORCH_PATH, cpp_extension.TORCH_LIB_PATH = before
