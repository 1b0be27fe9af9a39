"""``python -m tests.survival``: does anything stored suffer when runs are killed?

Prints the figures, writes them to ``--out`` and fails if one of them is not 0. With ``--real``,
workers measure; else they only pretend, which takes a fraction of a second.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.survival.campaign import FAILURES, Campaign
from tests.survival.ending import conclude


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.survival")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--real", action="store_true", help="let the workers measure")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        campaign = Campaign(Path(folder), options.seed, is_real=options.real)
        for _ in range(options.rounds):
            campaign.round()
        campaign.close()
    if not campaign.figures.disturbed_at_work:
        sys.exit("no run was disturbed before it ended, so this proves nothing")
    about = {
        "workers": "real" if options.real else "pretending",
        "seed": options.seed,
        "seconds": round(time.monotonic() - began, 1),
    }
    conclude(about, campaign.figures, FAILURES, options.out)


if __name__ == "__main__":
    main()
