"""One side of a comparison, as a process: today's benchmarks in front of any commit's package.

Run as a script, with ``PYTHONPATH`` naming the package's folder. It imports nothing of spion_bench
but that package, which may be old; the benchmarks and the clock come from files that are named.
A request is a line of JSON, and so is its answer.
"""

from __future__ import annotations

import inspect
import itertools
import json
import os
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module, util
from pathlib import Path
from types import ModuleType
from typing import Any

PREFIX = "time_"


def load(name: str, path: Path) -> ModuleType:
    """Import a module or package from where it lies, under a name of its own."""
    places = [str(path.parent)] if path.name == "__init__.py" else None
    spec = util.spec_from_file_location(name, path, submodule_search_locations=places)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path}: no Python module")
    module = util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def timed_calls(folder: Path) -> dict[str, tuple[type, str, tuple[str, ...]]]:
    """Return every timed benchmark: its case -> class, method and parameters.

    A case is called by what is timed and its parameters, such as ``step/image/spion_cf``.
    """
    load(folder.name, folder / "__init__.py")
    found = {}
    for path in sorted(folder.glob("bench_*.py")):
        module = import_module(f"{folder.name}.{path.stem}")
        for _, kind in inspect.getmembers(module, inspect.isclass):
            methods = [name for name in vars(kind) if name.startswith(PREFIX)]
            for method in methods if kind.__module__ == module.__name__ else ():
                for parameters in itertools.product(*getattr(kind, "params", ())):
                    case = "/".join((method.removeprefix(PREFIX), *parameters))
                    found[case] = kind, method, parameters
    return found


def take_turn(
    request: dict[str, Any],
    calls: dict[str, Any],
    clock: ModuleType,
    prepared: dict[str, Callable[[], object]],
) -> dict[str, Any]:
    """Warm a case up and time it; ``prepared`` keeps the last one that was set up."""
    case = request["case"]
    kind, method, parameters = calls[case]
    try:
        if case not in prepared:
            prepared.clear()
            benchmark = kind()
            benchmark.setup(*parameters)
            prepared[case] = partial(getattr(benchmark, method), *parameters)
        call = prepared[case]
        clock.warm_up(call, seconds=request["warmup_s"])
        samples = clock.sample_ms(
            call, seconds=request["seconds"], min_samples=request["min_samples"]
        )
    except Exception as error:  # of the package under test, whatever it is
        return {"problem": f"{type(error).__name__}: {error}"}
    return {"samples_ms": samples}


def main() -> None:
    """Say what was loaded, then answer every request until the pipe closes."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer
    benchmarks, clock_file = Path(sys.argv[1]), Path(sys.argv[2])
    clock = load("clock", clock_file)
    import torch

    import spion_bench

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    calls = timed_calls(benchmarks)
    package = str(Path(str(spion_bench.__file__)).resolve().parents[1])
    ready = {"package": package, "torch": torch.__version__, "cases": list(calls)}
    print(json.dumps(ready), file=answers, flush=True)
    prepared: dict[str, Callable[[], object]] = {}
    for line in sys.stdin:
        answer = take_turn(json.loads(line), calls, clock, prepared)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
