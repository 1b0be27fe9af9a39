"""How a campaign ends: its figures as JSON, on the terminal and in a file, and a verdict."""

import json
import sys

from spion_bench.measure.checkout import read_checkout
from spion_bench.suite.influence import PACKAGE


def as_json(figures):
    """Return the figures as JSON has them."""
    return {**vars(figures), "disturbances": dict(sorted(figures.disturbances.items()))}


def conclude(about, figures, failures, out):
    """Print the figures with the commit, write them to a file, and fail if they are bad.

    Args:
        about: What else the file says.
        figures: What the campaign found.
        failures: The figures that must be 0.
        out: The file, or None.
    """
    checkout = read_checkout(PACKAGE)
    found = {**about, "git_sha": checkout.sha, "git_dirty": checkout.dirty, **as_json(figures)}
    text = json.dumps(found, indent=2)
    print(text)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n", encoding="utf-8")
    if bad := [name for name in failures if found[name]]:
        sys.exit(f"not 0: {', '.join(bad)}")
