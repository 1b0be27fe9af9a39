"""``python -m tests.survival``: does anything stored suffer when runs are killed?

Prints the figures, writes them to ``--out`` and fails if one of them is not 0. With ``--real``,
workers measure; else they only pretend, which takes a fraction of a second.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from spion_bench.measure.checkout import read_checkout
from spion_bench.suite.influence import PACKAGE
from tests.survival.campaign import FAILURES, Campaign, as_json


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
    checkout = read_checkout(PACKAGE)
    found = {
        "workers": "real" if options.real else "pretending",
        "seed": options.seed,
        "seconds": round(time.monotonic() - began, 1),
        "git_sha": checkout.sha,
        "git_dirty": checkout.dirty,
        **as_json(campaign.figures),
    }
    text = json.dumps(found, indent=2)
    print(text)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n", encoding="utf-8")
    if not campaign.figures.disturbed_at_work:
        sys.exit("no run was disturbed before it ended, so this proves nothing")
    if bad := [name for name in FAILURES if found[name]]:
        sys.exit(f"not 0: {', '.join(bad)}")


if __name__ == "__main__":
    main()
