"""The page of a comparison: its first screen, a section per number, and where all comes from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from spion_bench.report.catalogue.facts import record_facts
from spion_bench.report.layout import FirstScreen, Page, Section
from spion_bench.report.sections.origins import check_sections, origin_sections
from spion_bench.report.sets.about import claims_by_set, sets_table
from spion_bench.report.sets.compared import Compared, Difference, Shown
from spion_bench.report.sets.figure import difference_figure
from spion_bench.report.sets.lines import Line, lines_of
from spion_bench.report.sets.read import Sets
from spion_bench.report.sets.tables import apart_table, first_table, number_table
from spion_bench.report.words import format_quantity, join_words, plural

_MOST_IN_SENTENCE: Final = 2


def build_comparison(sets: Sets, stamp: str) -> Page:
    """Return the page of sets side by side."""
    lines = lines_of(sets)
    names = [one.name for one in sets.each]
    return Page(
        title=f"SPION benchmark: {join_words(names)} side by side",
        stamp=stamp,
        first=FirstScreen(
            question=f"What differs between {join_words(names)}?",
            answer=" ".join(_answers(sets, lines)),
            lines=(),
            table=first_table(sets, lines),
            picture=difference_figure(sets, lines),
        ),
        lede=(),
        headlines=(),
        sections=tuple(_sections(sets, lines)),
        methods=tuple(sets.together.looks),
        records=record_facts(sets.together, sets.together.outcomes),
    )


def _answers(sets: Sets, lines: Mapping[Compared, Sequence[Line]]) -> list[str]:
    found = []
    for place, one in enumerate(sets.others):
        judged = {
            number: [d for line in those if (d := line.differences[place]) and d.verdict]
            for number, those in lines.items()
        }
        with_any = {number: those for number, those in judged.items() if those}
        found.append(_answer(sets.first.name, one.name, with_any))
    return found


def _answer(base: str, head: str, judged: Mapping[Compared, Sequence[Difference]]) -> str:
    """Return what differs between two sets in few words."""
    pair = f"{base} and {head}"
    counts = Counter(one.verdict for those in judged.values() for one in those)
    total = sum(counts.values())
    if not total:
        return f"{pair} have no number in common that can be compared."
    clear = [_clearly(number, those) for number, those in judged.items()]
    said = [text for text in clear if text]
    same, unclear = counts["same"], counts["unclear"]
    rest = [f"{same} are the same"] * bool(same) + [f"{unclear} are unclear"] * bool(unclear)
    numbers = f"of {plural(total, 'number')} that {pair} measured alike"
    if not said:
        return f"Nothing clearly: {numbers}, {join_words(rest)}."
    more = len(said) - _MOST_IN_SENTENCE
    shown = said[:_MOST_IN_SENTENCE]
    left = f"; and {plural(more, 'other kind')} of number" if more > 0 else ""
    differ = counts["more"] + counts["less"]
    return (
        f"{numbers[:1].upper()}{numbers[1:]}, {join_words([f'{differ} differ clearly', *rest])}. "
        f"{head} against {base}: {'; '.join(shown)}{left}."
    )


def _clearly(number: Compared, found: Sequence[Difference]) -> str:
    """Return how many numbers of a kind clearly differ, and from where to where they reach."""
    parts = []
    for verdict in ("more", "less"):
        estimates = [d.estimate for d in found if d.verdict == verdict and d.estimate]
        if not estimates:
            continue
        values = [one.value for one in estimates]
        low, high = (format_quantity(end, number.unit)[0] for end in (min(values), max(values)))
        reach = low if low == high else f"{low} to {high}"
        parts.append(f"{number.word(verdict)} in {len(values)} of {len(found)} ({reach})")
    label = number.label[:1].lower() + number.label[1:]
    return f"{label} {join_words(parts)}" if parts else ""


def _sections(sets: Sets, lines: Mapping[Compared, Sequence[Line]]) -> list[Section]:
    base = sets.first.name
    by_section: dict[Shown, list[Line]] = {}
    for number, those in lines.items():
        by_section.setdefault(number.section, []).extend(those)
    numbers = [
        Section(
            f"sets-{section.key}".replace("_", "-"),
            section.title,
            f"{section.says} Ratios and differences are over {base}.",
            blocks=(number_table(sets, section, those),),
        )
        for section, those in by_section.items()
    ]
    apart = apart_table(sets, lines)
    together = sets.together
    return [
        Section(
            "sets",
            "What is compared",
            "Which folder, machine and code each set is; nothing is pooled across machines.",
            blocks=(sets_table(sets),),
        ),
        Section(
            "claims-by-set",
            "Published claims",
            "What each set by itself says about the published claims.",
            blocks=(claims_by_set(sets),),
        ),
        *numbers,
        Section(
            "apart",
            "What is not compared",
            "Which numbers stand side by side only, and why.",
            () if apart else ("Everything that a set holds is compared.",),
            (apart,) if apart else (),
        ),
        *check_sections(together),
        *origin_sections(together),
    ]
