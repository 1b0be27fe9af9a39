"""``python -m tests.native.gpu_session``: ask a machine with a GPU everything, part by part.

What is done is not done again: the same command goes on where it stopped. ``nox -s gpu`` installs
what it needs; ``run.sh`` does without nox and without a network.
"""

import argparse
import sys
from pathlib import Path

from tests.native.gpu_session.parts import PARTS
from tests.native.gpu_session.session import Session


def main(arguments: list[str]) -> int:
    """Run the chosen parts; 0 if each ended well or lacks a tool."""
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(
        prog="python -m tests.native.gpu_session",
        description="Ask a machine with a GPU everything; resumable, part by part.",
    )
    parser.add_argument("parts", nargs="*", metavar="part", help=", ".join(names))
    parser.add_argument("--out", type=Path, help="folder of the results")
    parser.add_argument("--seconds", type=float, help="for all parts; the last are left out")
    parser.add_argument("--threads", type=int, default=4, help="CPU threads of what is measured")
    parser.add_argument("--rehearse", action="store_true", help="the same parts on the CPU, tiny")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.parts) - set(names)):
        parser.error(f"expected parts among {', '.join(names)}, got {', '.join(unknown)}")
    chosen = tuple(part for part in PARTS if not options.parts or part.name in options.parts)
    default = Path("results/local") / ("gpu-rehearsal" if options.rehearse else "gpu")
    session = Session(options.out or default, options.rehearse, options.seconds, options.threads)
    try:
        bad = session.run(chosen)
    except KeyboardInterrupt:
        print("Stopped. What ended well is kept; the same command goes on.")
        return 130
    print(f"{len(chosen)} parts, {bad} did not end well; records: {session.published}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
