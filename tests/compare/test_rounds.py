"""Rounds on clocks that the tests make: no time of this machine is looked at."""

from pathlib import Path

import numpy as np
import pytest

from spion_bench.compare.rounds import AGAIN, measure
from spion_bench.compare.sides import Side, SideError, choose_cases
from spion_bench.compare.verdict import RULE
from spion_bench.records.names import UsageError

BASE, HEAD = Side("BASE", Path("base")), Side("HEAD", Path("head"))


class Machine:
    """Starts workers whose times are `true` times, noise of the process and noise of the turn."""

    def __init__(self, slowdown, noise=0.01, seed=0):
        self.slowdown = slowdown
        self.noise = noise
        self.random = np.random.default_rng(seed)
        self.started = []
        self.running = 0

    def __call__(self, side, threads):
        self.started.append(side.name)
        self.running += 1
        return FakeWorker(self, self.slowdown if side.name == HEAD.name else 1.0)


class Load:
    """Says which of the rounds were disturbed."""

    cpus = 2

    def __init__(self, *disturbed):
        self.disturbed = disturbed
        self.count = -1

    def start(self):
        self.count += 1

    def stop(self):
        return 1.0 if self.count in self.disturbed else 0.0


def run(machine, cases=("case",), load=None):
    return measure(BASE, [HEAD], cases, threads=2, start=machine, sampler=load or Load())


class FakeWorker:
    def __init__(self, machine, factor):
        self.machine = machine
        self.factor = factor * np.exp(machine.random.normal(0, machine.noise))

    def wait_ready(self):
        return {}

    def turn(self, request):
        if request["case"] == "broken" and self.factor > 1.5:
            return {"problem": "ValueError: no"}
        noise = self.machine.random.normal(0, self.machine.noise, size=3)
        return {"samples_ms": list(10 * self.factor * np.exp(noise))}

    def end(self):
        self.machine.running -= 1


def verdict(slowdown, **options):
    measured = run(Machine(slowdown, **options))
    (found,) = measured.compare("BASE", "HEAD")
    return found


@pytest.mark.parametrize(
    ("slowdown", "expected"), [(1.15, "SLOWER"), (2.0, "SLOWER"), (0.8, "FASTER"), (1.0, "SAME")]
)
def test_what_is_slower_is_found(slowdown, expected):
    found = verdict(slowdown)
    assert found.verdict == expected
    assert found.ratio.low < slowdown < found.ratio.high
    assert found.base_ms == pytest.approx(10, rel=0.05)
    assert found.head_ms == pytest.approx(10 * slowdown, rel=0.05)


def test_identical_sides_are_hardly_ever_told_apart():
    wrong = [verdict(1.0, seed=seed).verdict in ("SLOWER", "FASTER") for seed in range(20)]
    assert sum(wrong) <= 1


def test_every_round_starts_new_workers_of_which_base_has_two():
    machine = Machine(1.0, noise=1e-4)
    measured = run(machine)
    assert measured.rounds == RULE.least_rounds
    assert machine.started == ["BASE", AGAIN, "HEAD"] * measured.rounds
    assert machine.running == 0
    assert {len(values) for values in measured.values["case"].values()} == {measured.rounds}


class Slowing:
    """A worker whose turns take 10, 20, 40 ms and so on."""

    def __init__(self):
        self.turns = 0

    def wait_ready(self):
        return {}

    def turn(self, request):
        self.turns += 1
        return {"samples_ms": [10 * 2 ** (self.turns - 1)]}

    def end(self):
        pass


def test_a_round_is_the_geometric_mean_of_its_turns():
    started = []

    def start(side, threads):
        started.append(Slowing())
        return started[-1]

    measured = run(start)
    # 10 + 20 + ... + 320 ms, until each side was timed for 0.6 s.
    assert {worker.turns for worker in started} == {6}
    for values in measured.values["case"].values():
        assert values == pytest.approx([10 * 2**2.5] * measured.rounds)


def test_noise_takes_more_rounds_up_to_the_bound():
    measured = run(Machine(1.0, noise=0.5))
    assert measured.rounds == RULE.most_rounds
    assert measured.compare("BASE", "HEAD")[0].verdict == "UNCLEAR"


def test_a_case_that_one_side_cannot_run_is_named_and_the_others_go_on():
    measured = run(Machine(2.0), ["broken", "case"])
    assert measured.problems == {"broken": "HEAD: ValueError: no"}
    assert [one.case for one in measured.compare("BASE", "HEAD")] == ["case"]


def test_disturbed_rounds_are_taken_again_up_to_a_bound():
    measured = run(Machine(1.0, noise=1e-4), load=Load(2))
    assert (measured.repeated, measured.disturbed) == ({"case": 1}, {})
    assert len(measured.values["case"]["HEAD"]) == RULE.least_rounds
    measured = run(Machine(1.0, noise=1e-4), load=Load(*range(100)))
    assert measured.repeated == {"case": RULE.most_repeats}
    assert measured.disturbed == {"case": RULE.least_rounds}


def test_workers_end_when_one_does_not_start():
    machine = Machine(1.0)

    def start(side, threads):
        if side is HEAD:
            raise SideError("HEAD: no")
        return machine(side, threads)

    with pytest.raises(SideError):
        measure(BASE, [HEAD], ["case"], threads=2, start=start)
    assert machine.running == 0


def test_cases_are_chosen_by_name_or_pattern():
    known = ["step/image/dense", "step/image/spion_cf", "forward/a"]
    assert choose_cases(("forward/a", "step/*/spion_cf"), known) == [known[1], known[2]]
    with pytest.raises(UsageError, match="--cases backward"):
        choose_cases(("forward/*", "backward"), known)
