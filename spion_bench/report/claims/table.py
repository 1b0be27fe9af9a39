"""The claims of a report: what each says, its verdict and the number behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any, Final

from spion_bench.report.claims.claim import RuleName, read_claims
from spion_bench.report.claims.rules import findings_of
from spion_bench.report.claims.verdict import Finding, Judgement, Verdict, judge
from spion_bench.report.layout import ClaimLine
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

QUESTION: Final = "Does SPION do what its paper says, here?"


def judgements(runs: Iterable[RecordSet]) -> list[Judgement]:
    """Return the verdict of every claim, in the order of the file; CPU forms follow theirs."""
    found = list(runs)
    return [
        judgement
        for claim in read_claims()
        for judgement in judge(claim, [f for run in found for f in findings_of(claim.rule, run)])
    ]


def in_one_sentence(found: Sequence[Judgement]) -> str:
    """Return the answer to ``QUESTION``: how many claims have which verdict.

    Of a claim with a CPU form that form counts, because the other one is not comparable.
    """
    last = {judgement.claim.id: judgement for judgement in found}
    counts = Counter(judgement.verdict for judgement in last.values())
    is_on_cpu = any(j.form and j.verdict != "not run" for j in last.values())
    held, missed = counts["reproduced"] + counts["partly"], counts["not reproduced"]
    unknown = len(last) - held - missed
    if held and not missed and unknown > held:
        begin = "Too little was measured to say"
    elif held:
        begin = "In part" if missed else "Yes, as far as measured"
    else:
        begin = "No, as far as measured" if missed else "These records cannot say"
    parts = [
        f"{count} {verb}"
        for count, verb in (
            (counts["reproduced"], "reproduced"),
            (counts["partly"], "reproduced in part"),
            (missed, "not reproduced"),
            (unknown, "not judged"),
        )
        if count
    ]
    where = ", on this CPU" if is_on_cpu else ""
    return f"{begin}{where}: of {plural(len(last), 'claim')}, {join_words(parts)}."


def claim_lines(found: Sequence[Judgement]) -> tuple[ClaimLine, ...]:
    """Return every claim as one line with what stands behind it, CPU forms instead of theirs."""
    return tuple(map(_line, _shown(found)))


def _shown(found: Sequence[Judgement]) -> list[Judgement]:
    return [judgement for judgement in found if judgement.verdict != "not comparable"]


def _line(judgement: Judgement) -> ClaimLine:
    claim = judgement.claim
    findings = [f"{finding.shown}{_marks_text(finding)}" for finding in judgement.findings]
    details = {
        "Form": _form_text(judgement),
        "Claimed": " ".join(
            filter(None, (f"\u201c{claim.quote}\u201d" * bool(claim.quote), claim.source))
        ),
        "Means here": claim.means,
        "Why": judgement.reason,
        "Found": "; ".join(findings),
    }
    return ClaimLine(
        key=f"claim-{claim.id}",
        title=claim.title,
        form=judgement.form,
        verdict=Entry.of_text(judgement.verdict, flag=_flag(judgement)),
        found=_found_entry(judgement),
        reason=judgement.short,
        details={name: text for name, text in details.items() if text},
        link=_SECTIONS[claim.rule] if judgement.findings else "",
    )


def _form_text(judgement: Judgement) -> str:
    if not judgement.form:
        return ""
    return (
        "on this CPU; as claimed, on a GPU, these records are not comparable"
        if all(finding.device == "cpu" for finding in judgement.findings)
        else "on this CPU"
    )


def _marks_text(finding: Finding) -> str:
    return f" (not counted: {join_words(list(finding.marks))})" if finding.marks else ""


def claim_table(found: Sequence[Judgement], run: RecordSet) -> Table:
    """Return every claim with its verdict, its number and the reason.

    A claim that is not comparable is shown in its CPU form alone, which says so.
    """
    return Table.of(
        _shown(found),
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
    if finding is None and judgement.findings:
        most = max(judgement.findings, key=lambda found: found.estimate.value)
        return Entry.estimate(most.estimate, most.unit, note="not counted", flag="greyed")
    if finding is None:
        return Entry.absent(judgement.reason)
    entry = Entry.estimate(finding.estimate, finding.unit, note=finding.estimate.basis)
    return replace(entry, link=_SECTIONS[judgement.claim.rule])
