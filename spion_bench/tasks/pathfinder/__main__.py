"""A worker that draws Pathfinder pictures; see ``spion_bench.tasks.pathfinder.workers``.

Arguments: side, dashes, seed, number of the first picture, and of the one after the last.
"""

from __future__ import annotations

import sys

from spion_bench.tasks.pathfinder.workers import picture_records


def main() -> None:
    """Write each picture's label and grey values, one byte each, to the standard output."""
    side, dashes, seed, start, stop = map(int, sys.argv[1:])
    for record in picture_records(side, dashes, seed, range(start, stop)):
        sys.stdout.buffer.write(record)


if __name__ == "__main__":
    main()
