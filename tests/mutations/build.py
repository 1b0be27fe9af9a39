"""``python -m tests.mutations.build OBJECTS``: build the kernels of the project in this folder.

``spion_bench.build`` compiles every source anew. Here the object files stay in ``OBJECTS``, so
that ninja compiles only what a mutation reaches. The library goes where ``kernels.load()`` of this
very project looks for it; should it not be found there, that builds its own. Prints its path.
"""

import shutil
import sys
import time
from pathlib import Path

from torch.utils import cpp_extension

from spion_bench import build as builder
from spion_bench import kernels


def build(objects: Path) -> Path:
    """Compile what has changed, link, and return the library inside the cache folder."""
    started = time.perf_counter()
    sources = kernels.source_dir()
    with builder._ninja_on_path():
        cpp_extension.load(
            name=kernels.LIBRARY,
            sources=[str(file) for file in builder._files(sources, builder.CPU.compiled)],
            extra_cflags=list(builder.CXX_FLAGS),
            extra_ldflags=list(builder.LINKER_FLAGS),
            build_directory=str(objects),
            with_cuda=False,
            is_python_module=False,
        )
    key = builder._build_key(sources, builder._compiler_version())
    folder = kernels.cache_root() / f"{kernels.LIBRARY}-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / f"{kernels.LIBRARY}.so"
    shutil.copy(objects / library.name, library)
    builder._write_complete(folder, library, time.perf_counter() - started)
    return library


if __name__ == "__main__":
    print(build(Path(sys.argv[1])))
