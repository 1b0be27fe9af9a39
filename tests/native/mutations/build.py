"""``python -m tests.native.mutations.build LIBRARY OBJECTS``: build a library of this project.

``native.build`` compiles every source anew. Here the object files stay in ``OBJECTS``, so
that ninja compiles only what a mutation reaches. The library, one of ``LIBRARIES``, goes where the
loader of this very project looks for it; should it not be found there, that builds its own. Prints
its path.
"""

import shutil
import sys
import time
from pathlib import Path

import torch
from torch.utils import cpp_extension

from spion_bench.native import build as builder
from spion_bench.native.cache import cache_root
from spion_bench.native.library import source_dir
from tests.native.mutations.libraries import LIBRARIES, Compilation


def build(library: Compilation, objects: Path) -> Path:
    """Compile what has changed, link, and return the library inside the cache folder."""
    started = time.perf_counter()
    sources, recipe = source_dir(), library.compiled
    torch.ops.load_library = lambda path: None  # this process only builds
    with builder._ninja_on_path():
        cpp_extension.load(
            name=library.name,
            sources=[str(file) for file in builder._files(sources, recipe.compiled)],
            extra_cflags=list(recipe.cxx_flags),
            extra_ldflags=[*builder.LINKER_FLAGS, *recipe.cxx_flags],  # sanitizers add libraries
            build_directory=str(objects),
            with_cuda=False,
            is_python_module=False,
        )
    key = builder._build_key(sources, builder._compiler_version(), library.wanted)
    folder = cache_root() / f"{library.name}-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{library.name}.so"
    shutil.copy(objects / file.name, file)
    builder._write_complete(folder, file, time.perf_counter() - started)
    return file


if __name__ == "__main__":
    print(build(LIBRARIES[sys.argv[1]], Path(sys.argv[2])))
