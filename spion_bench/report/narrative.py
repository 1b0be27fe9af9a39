"""The opening of a report in plain words: what was run, on what, and what came out."""

from __future__ import annotations

import math

from spion_bench.records import PassName
from spion_bench.records.ratios import CHAMPION, MEASURES
from spion_bench.records.statistics import Estimate, geometric_mean, mean_over_seeds
from spion_bench.report.entries import (
    PEAK,
    STEP,
    SUMMARY_PASSES,
    accuracy_entry,
    density_entry,
    sparse_share_entry,
)
from spion_bench.report.evidence.of_group import evidence_of, may_compare
from spion_bench.report.evidence.worth import worth_sentence
from spion_bench.report.groups import Group, MethodCells, chance_note, groups
from spion_bench.report.kernels.cases import KernelCase, kernel_cases
from spion_bench.report.kernels.points import BOTH, FUSED, is_sweep
from spion_bench.report.layout import Headline
from spion_bench.report.load import RecordSet
from spion_bench.report.methods import BASELINE, ordered
from spion_bench.report.parts import Entry
from spion_bench.report.tables.ratios import ratios_of, together
from spion_bench.report.words import format_percent, format_quantity, join_words, plural


def lede(run: RecordSet) -> list[str]:
    """Return the opening paragraphs."""
    paragraphs = [_what_was_run(run), _what_came_out(run), _what_is_missing(run)]
    return [text for text in paragraphs if text]


def worth_sentences(run: RecordSet) -> list[str]:
    """Say what the learned pattern is worth, wherever accuracies measure attention."""
    return [
        f"On {group.label}, {sentence}"
        for group in groups(run, ("accuracy",))
        if (sentence := worth_sentence(group)) is not None and may_compare(group)
    ]


def _what_was_run(run: RecordSet) -> str:
    names = ordered(o.method for o in run.outcomes if o.pass_name not in ("kernel", "shortcuts"))
    n_shortcuts = len({o.method.name for o in run.outcomes if o.pass_name == "shortcuts"})
    cases = kernel_cases(run)
    parts = []
    if names:
        parts.append(f"{plural(len(names), 'attention method')} ({join_words(names)})")
        beside = f", beside {plural(n_shortcuts, 'shortcut')}," if n_shortcuts else ""
        parts[0] += f"{beside} on {_tasks(run)}"
    if cases:
        parts.append(plural(len(cases), "kernel case"))
    n_swept = len({(o.file, o.cell.label) for o in run.outcomes if is_sweep(o)})
    if n_swept:
        parts.append(plural(n_swept, "case") + " of kernel sweeps")
    profiles = join_words(sorted({o.cell.profile for o in run.outcomes}))
    return f"Profile {profiles} ran {join_words(parts)}, on {_machines(run)}."


def _tasks(run: RecordSet) -> str:
    lengths: dict[str, set[int]] = {}
    for outcome in run.outcomes:
        task = outcome.task
        if task is not None:
            mark = ", a stand-in" if task.stand_in and task.source != "stand-in" else ""
            lengths.setdefault(f"{task.name} ({task.source}{mark})", set()).add(task.length)
    texts = [
        f"{name} at L\u00a0=\u00a0{join_words([str(length) for length in sorted(found)])}"
        for name, found in lengths.items()
    ]
    return join_words(texts) if texts else "no task"


def _machines(run: RecordSet) -> str:
    # A cell that was skipped used no threads.
    ran = [o for o in run.outcomes if o.is_ok] or list(run.outcomes)
    found: dict[tuple[str, str], set[int]] = {}
    for outcome in ran:
        environment = outcome.record.environment
        machine = (environment.cpu, environment.gpu or "no GPU")
        found.setdefault(machine, set()).add(environment.threads)
    texts = []
    for (cpu, gpu), threads in found.items():
        *fewer, most = sorted(threads)
        counts = join_words([*(str(count) for count in fewer), plural(most, "thread")])
        texts.append(f"{cpu} ({counts}, {gpu})")
    return join_words(texts)


def _what_came_out(run: RecordSet) -> str:
    sentences = []
    for group in groups(run, SUMMARY_PASSES):
        if group.spion and group.baseline is not None:
            sentences += _accuracy_sentence(group, group.baseline, group.spion[-1])
            sentences += _cost_sentence(group, group.spion[-1])
    for case in kernel_cases(run):
        sentences += _kernel_sentence(case)
    return " ".join(sentences)


def accuracy_difference(baseline: MethodCells, cells: MethodCells) -> Estimate | None:
    """Return the mean difference in test accuracy from the baseline, paired by seed.

    Runs that are "not SPION" take no part. None if no seed has both.
    """
    pairs = [
        {
            outcome.cell.seed: outcome.measured.metrics["test_accuracy"].value
            for outcome in side.proven()
            if "test_accuracy" in outcome.measured.metrics
        }
        for side in (baseline, cells)
    ]
    seeds = sorted(pairs[0].keys() & pairs[1].keys())
    if not seeds:
        return None
    return mean_over_seeds([pairs[1][s] - pairs[0][s] for s in seeds], "paired seed")


def _accuracy_sentence(group: Group, baseline: MethodCells, cells: MethodCells) -> list[str]:
    difference = accuracy_difference(baseline, cells)
    if difference is None:
        return []
    if not may_compare(group):
        evidence = evidence_of(group)
        return [f"On {group.label}: {evidence.sentence}"] if evidence else []
    own, dense = accuracy_entry(cells), accuracy_entry(baseline)
    points = _shown(Entry.estimate(difference, "points"))
    return [
        f"On {group.label}, {cells.method} reached {_shown(own)} test accuracy and {BASELINE} "
        f"{_shown(dense)}, a difference of {points} ({difference.basis}), with "
        f"{density_entry(group, cells).text} of the blocks kept and "
        f"{sparse_share_entry(cells).text} of the steps sparse. {chance_note(group)}"
    ]


def _cost_sentence(group: Group, cells: MethodCells) -> list[str]:
    speedup, saving = STEP.ratio(group, cells), PEAK.ratio(group, cells, verdict=False)
    parts = []
    if speedup.value is not None and not _is_marked(group, cells, "speed"):
        parts.append(
            f"a training step with {cells.method} ran {_shown(speedup)} as fast as with "
            f"{BASELINE} ({speedup.note})"
        )
    if saving.value is not None and not _is_marked(group, cells, "memory"):
        parts.append(f"the peak memory of {BASELINE} was {_shown(saving)} as high")
    return [f"On {group.label}, {join_words(parts)}."] if parts else []


def _is_marked(group: Group, cells: MethodCells, pass_name: PassName) -> bool:
    return any(each is not None and each.marks(pass_name) for each in (cells, group.baseline))


def _kernel_sentence(case: KernelCase) -> list[str]:
    method = main_kernel(case)
    if method is None or case.methods[method].marks("kernel"):
        return []
    return [
        f"In kernel case {case.name}, {method} ran forward and backward "
        f"{_shown(case.speedup(method, BOTH))} as fast as {BASELINE}{_density_text(case, method)}."
    ]


def main_kernel(case: KernelCase) -> str | None:
    """Return the implementation that speaks for the suite in an attention case, or None.

    It is named beforehand: the fastest one would be chosen by its noise.
    """
    names = sorted(case.methods, key=lambda name: name != FUSED) if case.is_attention else []
    with_number = [name for name in names if case.speedup(name, BOTH).value is not None]
    return with_number[0] if with_number else None


def _density_text(case: KernelCase, method: str) -> str:
    for outcome in case.methods[method].ok("kernel"):
        pattern = outcome.measured.pattern
        if pattern is not None:
            return f", with {format_percent(pattern.density[0])} of the blocks kept"
    return ""


def _what_is_missing(run: RecordSet) -> str:
    total = len(run.outcomes)
    ok = sum(outcome.is_ok for outcome in run.outcomes)
    sentences = [f"Of {plural(total, 'cell')}, {ok} gave numbers."]
    if total > ok:
        sentences.append(
            f"{plural(total - ok, 'cell')} gave none; the section Statuses lists the reasons."
        )
    marked = sum(bool(o.measured.turn and o.measured.turn.marks) for o in run.outcomes if o.is_ok)
    if marked:
        sentences.append(
            f"The numbers of {plural(marked, 'cell')} are marked and take no part in these "
            "headlines; the table of turns says why."
        )
    if run.problems:
        sentences.append(f"{plural(len(run.problems), 'stored item')} could not be read.")
    if any(o.measured.task and o.measured.task.stand_in for o in run.outcomes):
        sentences.append("Accuracies on stand-in data say nothing about the published accuracies.")
    if all(outcome.cell.device == "cpu" for outcome in run.outcomes):
        sentences.append("CPU times neither confirm nor refute the published GPU times.")
    return " ".join(sentences)


def headlines(run: RecordSet) -> list[Headline]:
    """Return the few numbers that a reader looks for first."""
    found: list[Headline] = []
    compared = [group for group in groups(run, SUMMARY_PASSES) if group.spion]
    pairs = [(group, group.spion[-1]) for group in compared]
    for group, cells in pairs:
        found += _accuracy_headline(group, cells)
    for group, cells in pairs:
        label = f"Training step, {cells.method} against {BASELINE}"
        if not cells.marks("speed"):
            found += _headline(label, STEP.ratio(group, cells), group.label)
    found += _rival_headlines(run)
    for case in kernel_cases(run):
        method = main_kernel(case)
        if method is not None and not case.methods[method].marks("kernel"):
            entry = case.speedup(method, BOTH)
            label = f"Attention kernel, forward + backward, {method} against {BASELINE}"
            found += _headline(label, entry, f"{case.name}{_density_text(case, method)}")
    for group, cells in pairs:
        label = f"Peak memory of a step, {BASELINE} against {cells.method}"
        if cells.marks("memory"):
            continue
        found += _headline(label, PEAK.ratio(group, cells), group.label)
    ok = sum(outcome.is_ok for outcome in run.outcomes)
    total = len(run.outcomes)
    basis = "all" if ok == total else "reasons under Statuses"
    found.append(Headline("Cells with numbers", f"{ok} of {total}", "", basis))
    return found


def _rival_headlines(run: RecordSet) -> list[Headline]:
    """Return the ratio to the fastest rival, whole training first; all four stand in its basis."""
    found = []
    for group in groups(run, ("speed", "accuracy")):
        ratios = ratios_of(group)
        for ratio in ratios:
            if ratio.kind == "fastest" and not ratio.marks:
                name = (
                    f"{MEASURES[ratio.measure].capitalize()}, {CHAMPION} against the fastest rival"
                )
                basis = f"{group.label}; {together(ratios, ratio.measure)}"
                found += _headline(name, Entry.estimate(ratio.ratio, "times"), basis)
    return found


def _accuracy_headline(group: Group, cells: MethodCells) -> list[Headline]:
    difference = accuracy_difference(group.baseline, cells) if group.baseline else None
    if difference is None or not may_compare(group):
        return []
    label = f"Test accuracy, {cells.method} minus {BASELINE}"
    return _headline(
        label, Entry.estimate(difference, "points"), f"{group.label}; {difference.basis}"
    )


def _headline(label: str, entry: Entry, basis: str) -> list[Headline]:
    return [] if entry.value is None else [Headline(label, entry.text, entry.interval, basis)]


def overview_items(run: RecordSet) -> list[str]:
    """Return the geometric mean of each method's step speed-up where several settings have one."""
    compared = groups(run, SUMMARY_PASSES)
    infos = [cells.info for group in compared for cells in group.methods.values()]
    items = []
    for name in ordered(infos):
        there = [g for g in compared if name in g.methods and not g.methods[name].marks("speed")]
        entries = [STEP.ratio(group, group.methods[name]) for group in there]
        found = [e.value for e in entries if isinstance(e.value, float) and 0 < e.value < math.inf]
        if len(found) > 1:
            mean, low, high = (
                format_quantity(value, "times")[0]
                for value in (geometric_mean(found), min(found), max(found))
            )
            items.append(
                f"{name}: {mean} geometric mean of the training-step speed-up over {len(found)} "
                f"settings, from {low} to {high}."
            )
    return items


def _shown(entry: Entry) -> str:
    return f"{entry.text} {entry.interval}" if entry.interval else entry.text
