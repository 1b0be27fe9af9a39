"""The claims of a report: what each says, its verdict and the number behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any, Final, get_args

from spion_bench.report.claims.claim import RuleName, read_claims
from spion_bench.report.claims.rules import findings_of
from spion_bench.report.claims.verdict import CPU_FORM, Finding, Judgement, Verdict, judge
from spion_bench.report.load import RecordSet, provenance
from spion_bench.report.parts import Column, Entry, Flag, Table
from spion_bench.report.words import join_words, plural

_FLAGS: Final[dict[Verdict, Flag]] = {
    "reproduced": "good",
    "partly": "warning",
    "not reproduced": "warning",
    "not comparable": "absent",
    "not run": "missing",
}
_SECTIONS: Final[dict[RuleName, str]] = {
    "training_speed": "rivals",
    "quality": "accuracy",
    "memory": "summary",
    "growth": "growth",
    "layers_differ": "patterns",
    "filter_and_fill": "accuracy",
}
"""Which section of the page shows the evidence."""


def judgements(runs: Iterable[RecordSet]) -> list[Judgement]:
    """Return the verdict of every claim, in the order of the file; CPU forms follow theirs."""
    found = list(runs)
    return [
        judgement
        for claim in read_claims()
        for judgement in judge(claim, [f for run in found for f in findings_of(claim.rule, run)])
    ]


def in_one_sentence(found: Sequence[Judgement]) -> str:
    """Return how many claims have which verdict; CPU forms are counted by themselves."""
    sentences = []
    for form, where in (("", "as claimed"), (CPU_FORM, "in their form for this CPU")):
        counts = Counter(judgement.verdict for judgement in found if judgement.form == form)
        parts = [f"{counts[verdict]} {verdict}" for verdict in get_args(Verdict) if counts[verdict]]
        if parts:
            sentences.append(f"{plural(counts.total(), 'claim')} {where}: {join_words(parts)}.")
    return f"Does SPION do what is claimed for it, here? {' '.join(sentences)}"


def claim_table(found: Sequence[Judgement], run: RecordSet) -> Table:
    """Return every claim with its verdict, its number and the reason.

    A claim that is not comparable is shown in its CPU form alone, which says so.
    """
    shown = [judgement for judgement in found if judgement.verdict != "not comparable"]
    return Table.of(
        shown,
        [
            Column.text("claim", "Claim", _claim_entry),
            Column.text("verdict", "Verdict", lambda j: Entry.of_text(j.verdict, flag=_flag(j))),
            Column("found", "Found here", _found_entry),
            Column.text("reason", "Why", lambda j: j.reason),
        ],
        key="claims",
        title="What was claimed for SPION, and what was found here",
        caption=(
            "Claims and verdict rules were written before measuring (results/claims.toml). "
            "\u201cUp to\u201d is reproduced if the interval of the setting where most was found "
            "reaches the number. Settings are adjusted for their number (Holm). Marked numbers and "
            "the best of fewer than three rivals do not speak. \u201cOn this CPU\u201d: the claim "
            "is about a GPU, so as claimed it is not comparable."
        ),
        provenance=provenance(run.outcomes),
    )


def as_data(judgement: Judgement) -> dict[str, Any]:
    """Return a judgement for a program to read."""
    return {
        "id": judgement.claim.id,
        "title": judgement.claim.title,
        "source": judgement.claim.source,
        "reach": judgement.claim.reach,
        "form": judgement.form,
        "verdict": judgement.verdict,
        "reason": judgement.reason,
        "findings": [asdict(finding) for finding in judgement.findings],
    }


def _flag(judgement: Judgement) -> Flag:
    return _FLAGS[judgement.verdict]


def _claim_entry(judgement: Judgement) -> Entry:
    claim = judgement.claim
    words = f"\u201c{claim.quote}\u201d; " if claim.quote else ""
    return Entry.of_text(judgement.title, note=f"{words}{claim.source}")


def _found_entry(judgement: Judgement) -> Entry:
    finding: Finding | None = judgement.leading
    if finding is None:
        return Entry.absent(judgement.reason)
    entry = Entry.estimate(finding.estimate, finding.unit, note=finding.estimate.basis)
    return replace(entry, link=_SECTIONS[judgement.claim.rule])
