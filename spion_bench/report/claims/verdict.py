"""How a claim is judged: findings of several settings, adjusted for their number, one verdict."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from spion_bench.records.statistics import Estimate
from spion_bench.report.claims.claim import Claim
from spion_bench.report.claims.significance import holm
from spion_bench.report.words import format_quantity, join_words, plural

Verdict = Literal["reproduced", "partly", "not reproduced", "not comparable", "not run"]

CPU_FORM: Final = "On this CPU"

LEVEL: Final = 0.05
"""Chance of calling any true null of a claim's settings significant (Holm)."""


@dataclass(frozen=True)
class Finding:
    """What one setting says about a claim.

    Attributes:
        setting: Label of the setting.
        device: Where it was measured.
        estimate: The number that the rule looks at, with its interval.
        unit: Its unit: ``times``, ``points`` or ``ratio``.
        null: Its value if the claim says nothing true: 1 for ratios, 0 for differences.
        p_value: One-sided chance of such a number if it were ``null``; 1 where no test is possible.
        against: What it was compared with.
        marks: Why it may not speak for the claim; empty if it may.
    """

    setting: str
    device: str
    estimate: Estimate
    unit: str
    null: float
    p_value: float
    against: str
    marks: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """The number with its interval, what it is against, and where."""
        e = self.estimate
        text, interval = format_quantity(e.value, self.unit, e.low, e.high)
        number = f"{text} {interval}" if interval else text
        return f"{number} on {self.setting}, against {self.against}"


@dataclass(frozen=True)
class Judgement:
    """A claim's verdict in one form: that of the device it was made on, or the CPU's.

    Attributes:
        claim: The claim.
        form: ``""`` as it was made, or ``CPU_FORM`` of a claim about a GPU.
        verdict: The verdict.
        reason: Why, in one sentence.
        short: The reason in a few words.
        leading: The finding that decided, None if there was none.
        findings: All findings, those that may not speak last.
    """

    claim: Claim
    form: str
    verdict: Verdict
    reason: str
    short: str = ""
    leading: Finding | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def title(self) -> str:
        """The claim in plain words, and in which form."""
        return f"{self.form}: {self.claim.title}" if self.form else self.claim.title


def judge(claim: Claim, findings: Sequence[Finding]) -> list[Judgement]:
    """Return the verdict of a claim, and of its CPU form where it was made on a GPU.

    A claim that names a number is *reproduced* if the setting where most was found excludes "no
    difference" and its interval reaches the number, and *partly* reproduced if some setting
    excludes "no difference". One that names none is *reproduced* if every setting excludes "no
    difference" and *partly* if some do. All settings together are adjusted for their number (Holm).
    """
    if not claim.device:
        return [_judge(claim, "", findings)]
    there = [finding for finding in findings if finding.device == claim.device]
    on_cpu = [finding for finding in findings if finding.device == "cpu"]
    judgements = [_judge(claim, "", there)]
    if on_cpu:
        if not there:
            reason = "The claim is about a GPU; these records are of a CPU, see the CPU form."
            judgements = [Judgement(claim, "", "not comparable", reason, "made on a GPU")]
        judgements.append(_judge(claim, CPU_FORM, on_cpu))
    return judgements


def _judge(claim: Claim, form: str, findings: Sequence[Finding]) -> Judgement:
    speaking = [finding for finding in findings if not finding.marks]
    ordered = (*speaking, *(finding for finding in findings if finding.marks))
    if not findings:
        reason = f"It needs {claim.needs}."
        return Judgement(claim, form, "not run", reason, "its cells were not run")
    if not speaking:
        marks = list(dict.fromkeys(mark for finding in findings for mark in finding.marks))
        most = max(findings, key=lambda finding: finding.estimate.value)
        reason = f"No number may speak for it: {join_words(marks)}. Not counted: {most.shown}."
        return Judgement(claim, form, "not run", reason, _few_words(marks), None, ordered)
    adjusted = holm([finding.p_value for finding in speaking])
    shown = [f for f, p in zip(speaking, adjusted, strict=True) if p < LEVEL]
    best = max(speaking, key=lambda finding: finding.estimate.value)
    count = f"{len(shown)} of {plural(len(speaking), 'setting')}"
    beyond = f"beyond {best.null:g} in {count}"
    adjusting = f" (Holm over {len(speaking)})" if len(speaking) > 1 else ""
    if claim.reach is None:
        is_full, wanted = len(shown) == len(speaking), ""
    else:
        high = best.estimate.high if best.estimate.high is not None else best.estimate.value
        is_full = best in shown and high >= claim.reach
        wanted = f"; claimed: up to {format_quantity(claim.reach, best.unit)[0]}"
    verdict: Verdict = "reproduced" if is_full else "partly" if shown else "not reproduced"
    reason = f"At most {best.shown}; {beyond}{adjusting}{wanted}."
    return Judgement(claim, form, verdict, reason, beyond, best, ordered)


def _few_words(marks: Sequence[str]) -> str:
    first = re.split("[:;]", marks[0])[0]
    return f"{first}, and {len(marks) - 1} more" if len(marks) > 1 else first
