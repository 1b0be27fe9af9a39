"""Drawing many Pathfinder pictures, on all processors.

Workers are plain Python processes (``python -m spion_bench.tasks.pathfinder``) that write bytes to
a pipe: they can be started from any program, also from one that runs threads. A picture is the same
whichever worker draws it.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from spion_bench.tasks.pathfinder.dashes import published_scene
from spion_bench.tasks.pathfinder.generator import draw_picture
from spion_bench.tasks.task import SourceSpec, Split

_MIN_SHARE = 200  # fewer pictures than this are not worth a process
_WORKER = "spion_bench.tasks.pathfinder"
_PROJECT = Path(__file__).parents[3]


def draw_split(
    side: int, dashes: int, seed: int, numbers: range, *, processes: int | None = None
) -> Split:
    """Draw pictures by number.

    Args:
        side: Rows and columns of a picture: 32, 64, 128 or 256.
        dashes: Dashes of a target snake.
        seed: Seed of the pictures.
        numbers: Numbers of the pictures, consecutive.
        processes: How many to use; None: one per processor, fewer for few pictures.

    Returns:
        Grey values int16 ``[N, side * side]`` row by row, and labels.

    Raises:
        RuntimeError: If a worker fails; it quotes the end of its error output.
    """
    if processes is None:
        processes = min(_processors(), max(1, len(numbers) // _MIN_SHARE))
    bounds = np.linspace(numbers.start, numbers.stop, processes + 1).astype(np.int64).tolist()
    shares = [range(a, b) for a, b in itertools.pairwise(bounds)]
    if processes == 1:
        parts = [b"".join(picture_records(side, dashes, seed, numbers))]
    else:
        with ThreadPoolExecutor(processes) as pool:
            parts = list(pool.map(lambda share: _run_worker(side, dashes, seed, share), shares))
    pixels = np.empty((len(numbers), side * side), np.int16)
    labels = np.empty(len(numbers), np.int64)
    for share, part in zip(shares, parts, strict=True):
        rows = slice(share.start - numbers.start, share.stop - numbers.start)
        records = np.frombuffer(part, np.uint8).reshape(len(share), 1 + side * side)
        labels[rows], pixels[rows] = records[:, 0], records[:, 1:]
    return Split(pixels, labels)


def picture_records(side: int, dashes: int, seed: int, numbers: range) -> Iterator[bytes]:
    """Yield each picture as its label and its grey values, one byte each."""
    scene = published_scene(side, dashes)
    for number in numbers:
        pixels, label = draw_picture(scene, seed, number)
        yield bytes([label]) + pixels.tobytes()


def _run_worker(side: int, dashes: int, seed: int, share: range) -> bytes:
    arguments = (str(n) for n in (side, dashes, seed, share.start, share.stop))
    paths = [str(_PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-P", "-m", _WORKER, *arguments],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    if done.returncode:
        last = done.stderr.decode(errors="replace")[-500:]
        raise RuntimeError(f"a process that draws pictures ended with {done.returncode}: {last}")
    return done.stdout


def _processors() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


SOURCE = SourceSpec.always("generated", "drawn with a seed", stand_in=True)
