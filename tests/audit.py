"""``python -m tests.audit``: are the pinned versions free of known vulnerabilities?

Asks through pip-audit about every line of ``constraints.txt``. What the database does not answer
for, or all of it where it cannot be reached, is "not checked" and never called clean. The exit
status is 1 if a vulnerability is known, else 0.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COMMAND = ("-m", "pip_audit", "--no-deps", "--disable-pip", "--format", "json")
OPTIONS = ("--progress-spinner", "off", "--requirement", "constraints.txt")


def judge(stdout: str, stderr: str) -> tuple[int, list[str]]:
    """Return the exit status and what to print, from pip-audit's output."""
    try:
        packages = json.loads(stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        reason = stderr.strip().splitlines()[-1:] or ["pip-audit said nothing"]
        return 0, [f"not checked: unreachable ({reason[0]})"]
    found = [(package, flaw) for package in packages for flaw in package.get("vulns", ())]
    lines = [
        f"VULNERABLE: {package['name']} {package['version']}: {flaw['id']}, "
        f"fixed in {', '.join(flaw['fix_versions']) or 'no version'}"
        for package, flaw in found
    ]
    skipped = [package for package in packages if "skip_reason" in package]
    if skipped:
        lines.append(f"not checked: {len(skipped)} packages, e.g. {skipped[0]['skip_reason']}")
    lines.append(f"{len(packages) - len(skipped)} packages checked, {len(found)} vulnerabilities")
    return (1 if found else 0), lines


def main() -> int:
    done = subprocess.run(
        [sys.executable, *COMMAND, *OPTIONS], cwd=ROOT, capture_output=True, text=True, check=False
    )
    status, lines = judge(done.stdout, done.stderr)
    print("\n".join(lines))
    return status


if __name__ == "__main__":
    sys.exit(main())
