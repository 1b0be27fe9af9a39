"""What the audit says of pip-audit's answers: found, clean, and not checked are three things."""

import json

from tests.audit import judge

CLEAN = {"name": "a", "version": "1", "vulns": []}
BAD = {"name": "b", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]}
SKIPPED = {"name": "c", "skip_reason": "c (4) not found"}


def judged(*packages):
    return judge(json.dumps({"dependencies": packages}), "")


def test_a_known_vulnerability_is_red():
    status, lines = judged(CLEAN, BAD)
    assert status == 1
    assert lines == [
        "VULNERABLE: b 2: CVE-1, fixed in 3",
        "2 packages checked, 1 vulnerabilities",
    ]


def test_what_was_not_checked_is_not_called_clean():
    assert judged(CLEAN, SKIPPED) == (
        0,
        ["not checked: 1 packages, e.g. c (4) not found", "1 packages checked, 0 vulnerabilities"],
    )
    assert judge("", "Traceback\nConnectionError: no route\n") == (
        0,
        ["not checked: unreachable (ConnectionError: no route)"],
    )
