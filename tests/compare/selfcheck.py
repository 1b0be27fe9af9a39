"""Does `spion-bench compare` find what is slower, and nothing else? `nox -s compare_selfcheck`.

Twenty comparisons of one case of this checkout with itself, with itself slowed down by 5 and by
15 % (the call is followed by waiting for that share of its time), as three HEADs beside one BASE.
The result is three records; the exit code is 1 if a promise is broken.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from spion_bench.compare.rounds import measure
from spion_bench.compare.sides import BENCHMARKS, Side
from spion_bench.compare.verdict import RULE, Compared
from spion_bench.measure.environment import capture
from spion_bench.measure.machine import available_cores
from spion_bench.records import (
    Environment,
    KernelCell,
    Measurement,
    Metric,
    Record,
    append_record,
    now,
)
from spion_bench.records.paired import StoppingRule
from spion_bench.suite.cases import find_case
from spion_bench.suite.implementations import find_implementation
from spion_bench.suite.influence import code_hash
from tests import ROOT

CASE = "forward/attention_1024"
RUNS = 20
OUT = Path("results/local/compare_selfcheck")
SLOWED = """

import time


def slowed(call):
    def run(self, case):
        start = time.perf_counter()
        call(self, case)
        until = time.perf_counter() + {share} * (time.perf_counter() - start)
        while time.perf_counter() < until:
            pass

    return run


Attention.time_forward = slowed(Attention.time_forward)
"""


@dataclass(frozen=True)
class Promise:
    """What twenty comparisons of one slowdown must give."""

    slowdown: float
    least_slower: int = 0
    most_changed: int = RUNS

    def is_kept(self, verdicts: list[str]) -> bool:
        """Return whether the verdicts are as promised, in proportion if there are fewer."""
        slower = verdicts.count("SLOWER")
        changed = slower + verdicts.count("FASTER")
        enough = slower >= self.least_slower * len(verdicts) / RUNS
        return enough and changed <= self.most_changed


PROMISES = (
    Promise(0.0, most_changed=1),
    Promise(0.05, least_slower=15),
    Promise(0.15, least_slower=20),
)


def slowed_side(folder: Path, share: float) -> Side:
    """Return this checkout with benchmarks whose forward pass takes longer by a share."""
    name = f"slower_by_{share * 100:.0f}_percent"
    shutil.copytree(BENCHMARKS, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    with (folder / name / "bench_attention.py").open("a", encoding="utf-8") as file:
        file.write(SLOWED.format(share=share))
    return Side(name, ROOT, folder / name)


def main(arguments: list[str]) -> int:
    """Run the comparisons and store what they gave."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help="comparisons of each slowdown")
    parser.add_argument("--most-rounds", type=int, default=RULE.most_rounds)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(arguments)
    threads = available_cores()
    rule = StoppingRule(
        RULE.least_rounds, options.most_rounds, half_width=RULE.half_width, level=RULE.level
    )
    started = now()
    found: dict[float, list[Compared]] = {promise.slowdown: [] for promise in PROMISES}
    base = Side("BASE", ROOT)
    base.build(threads)
    environment = capture(threads=threads)
    with tempfile.TemporaryDirectory() as folder:
        heads = {share: slowed_side(Path(folder), share) for share in found}
        for run in range(options.runs):
            measured = measure(
                base, list(heads.values()), [CASE], threads=threads, seed=run, rule=rule
            )
            for share, head in heads.items():
                found[share] += measured.compare(base.name, head.name)
            said = {f"{share:.0%}": compared[-1].verdict for share, compared in found.items()}
            print(f"run {run + 1}: {measured.rounds} rounds, {said}", flush=True)
    kept = True
    for promise in PROMISES:
        compared = found[promise.slowdown]
        verdicts = [one.verdict for one in compared]
        is_kept = promise.is_kept(list(verdicts))
        kept &= is_kept
        append_record(
            options.out / "records.jsonl",
            record_of(promise.slowdown, compared, is_kept, environment, started, threads),
        )
        counts = {verdict: verdicts.count(verdict) for verdict in dict.fromkeys(verdicts)}
        print(f"slower by {promise.slowdown:.0%}: {counts}", "" if is_kept else "BROKEN PROMISE")
    print(f"Records: {options.out / 'records.jsonl'}")
    return 0 if kept else 1


def record_of(
    slowdown: float,
    compared: list[Compared],
    is_kept: bool,
    environment: Environment,
    started: datetime,
    threads: int,
) -> Record:
    """Return the record of all comparisons with one slowdown."""
    name = CASE.split("/")[1]
    case = find_case(name)
    implementation = find_implementation("block_attention")
    method = implementation.info(case)
    arguments = {**method.arguments, "slowdown": slowdown}
    code = code_hash(("spion_bench.ops.block_attention",), None, "cpu")
    cell = KernelCell(
        key=f"compare-{name}-slowdown{slowdown}-{code}",
        pass_name="compare",
        profile="compare_selfcheck",
        label=CASE,
        method=method.model_copy(update={"arguments": arguments}),
        seed=0,
        device="cpu",
        dtype=case.dtype,
        threads=threads,
        timeout_s=0.0,
        code=code,
        **case.cell_fields(),
    )
    verdicts = [one.verdict for one in compared]
    ratios = [one.ratio.value for one in compared]
    metrics = {
        verdict.lower(): Metric(
            value=float(verdicts.count(verdict)), unit="count", lower_is_better=False
        )
        for verdict in ("SLOWER", "FASTER", "SAME", "UNCLEAR")
    }
    metrics["ratio"] = Metric(
        value=statistics.median(ratios), unit="ratio", lower_is_better=True, samples=ratios
    )
    return Record(
        cell=cell,
        measurement=Measurement(
            status="ok" if is_kept else "gate_failed",
            reason=None if is_kept else "compare does not tell as often as it promises",
            metrics=metrics,
        ),
        environment=environment,
        started_at=started,
        ended_at=now(),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
