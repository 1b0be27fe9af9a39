"""``python -m tests.slurm``: a plan on a real Slurm of one node, disturbed in every way.

Starts munged, slurmctld and slurmd on loopback (root; Debian's slurm-wlm and munge), prints the
figures, writes them to ``--out`` and fails if one of them is not 0.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.slurm.campaign import FAILURES, Campaign
from tests.slurm.cluster import Cluster, why_not
from tests.survival.ending import as_json, conclude


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.slurm")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    options = parser.parse_args()
    if (reason := why_not()) is not None:
        sys.exit(f"not run: {reason}")
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as daemons,
        tempfile.TemporaryDirectory() as folder,
        Cluster(daemons) as cluster,
    ):
        campaign = Campaign(cluster, Path(folder), options.seed)
        refusal = campaign.refuse()
        campaign.reference()
        for _ in range(options.rounds):
            campaign.round()
            print(json.dumps(as_json(campaign.figures)), file=sys.stderr, flush=True)
        version = cluster.say("scontrol", "--version").strip()
    if not campaign.figures.disturbances:
        sys.exit("nothing was disturbed, so this proves nothing")
    about = {
        "cluster": version,
        "seed": options.seed,
        "seconds": round(time.monotonic() - began, 1),
        "refusal": refusal,
    }
    conclude(about, campaign.figures, FAILURES, options.out)


if __name__ == "__main__":
    main()
