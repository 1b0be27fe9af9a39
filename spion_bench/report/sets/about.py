"""The tables of what sets are, and of what each says about the published claims."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from spion_bench.report.claims.table import judgements
from spion_bench.report.claims.verdict import Judgement
from spion_bench.report.load import provenance
from spion_bench.report.parts import Column, Entry, Table
from spion_bench.report.sets.read import ComparedSet, Sets
from spion_bench.report.words import join_words


def sets_table(sets: Sets) -> Table:
    """Return what each set is: where and when it was measured, with what; differences first."""
    facts = [_facts(one) for one in sets.each]
    names = sorted(facts[0], key=lambda name: len({each[name] for each in facts}) == 1)
    return Table.of(
        names,
        [
            Column.text("fact", "What", lambda name: name),
            *(
                Column.text(one.name.lower(), one.name, own.__getitem__)
                for one, own in zip(sets.each, facts, strict=True)
            ),
            Column.text("differs", "Differs", lambda name: _says_whether(name, facts)),
        ],
        key="sets",
        title="The sets",
        caption="A set is what one folder holds of one machine. Its other facts: Environment.",
        provenance=provenance(sets.together.outcomes),
    )


def _says_whether(name: str, facts: Sequence[dict[str, str]]) -> str:
    return "yes" if len({each[name] for each in facts}) > 1 else "no"


def _facts(one: ComparedSet) -> dict[str, str]:
    outcomes = one.run.outcomes
    where = [outcome.record.environment for outcome in outcomes]
    cpu, instructions, gpu = one.machine
    ok = sum(outcome.is_ok for outcome in outcomes)

    def several(values: Sequence[str]) -> str:
        return join_words(sorted(set(values)))

    return {
        "Folder": one.source,
        "CPU and cores": cpu,
        "Instruction set": instructions or "unknown",
        "GPU": gpu or "none",
        "Threads": several([str(each.threads) for each in where]),
        "Code": several([(each.git_sha or "unknown")[:10] for each in where]),
        "PyTorch": several([each.torch for each in where]),
        "System": several([each.os for each in where]),
        "Profiles": several([outcome.cell.profile for outcome in outcomes]),
        "Cells with numbers": f"{ok} of {len(outcomes)}",
        "Measured until (UTC)": f"{max(o.record.ended_at for o in outcomes):%Y-%m-%d %H:%M}",
    }


def claims_by_set(sets: Sets) -> Table:
    """Return the verdict on every claim, a column per set; each set is judged by itself."""
    # Of a claim with a CPU form that form counts: as made it is not comparable.
    found = [{judged.claim.id: judged for judged in judgements([one.run])} for one in sets.each]
    claims = {key: judged for by_id in found for key, judged in by_id.items()}

    def verdict(judgement: Judgement, place: int) -> Entry:
        own = found[place][judgement.claim.id]
        return Entry.of_text(own.verdict, "; ".join(filter(None, (own.form, own.short))))

    return Table.of(
        list(claims.values()),
        [
            Column.text("claim", "Claim", lambda judgement: judgement.claim.title),
            *(
                Column.text(one.name.lower(), one.name, partial(verdict, place=place))
                for place, one in enumerate(sets.each)
            ),
        ],
        key="claims-by-set",
        title="Published claims, set by set",
        caption="Each set is judged by its own records alone, by the rules of results/claims.toml.",
        provenance=provenance(sets.together.outcomes),
    )
