from itertools import count

import pytest

from spion_bench.records import GpuRound
from spion_bench.records.paired import StoppingRule
from spion_bench.run.messages import Measured
from spion_bench.run.rounds import Rounds

TIMES = {"dense": 100.0, "again": 100.0, "spion": 40.0, "rival": 50.0}


class Machine:
    """Plays a load per round; the last one stays."""

    cpus = 2

    def __init__(self, *loads):
        self.loads = list(loads)

    def start(self):
        pass

    def stop(self):
        return self.loads.pop(0) if len(self.loads) > 1 else self.loads[0]


def rounds_of(sampler=None, **rule):
    rule = StoppingRule(**{"most_rounds": 12, **rule})
    subjects = ("dense", "spion", "rival")
    return Rounds(subjects, "dense", "again", rule, sampler or Machine(0.0))


FAST = GpuRound(sm_clock_mhz=1410, throttle_reasons=[])


def ask_of(change=lambda subject, number, time: time, gpu=lambda subject, number, repeats: None):
    """Return a double of the workers, and the list of what they were asked."""
    asked = []

    def ask(subject, number, repeats):
        asked.append((subject, number, repeats))
        time = change(subject, number, TIMES[subject] * (1 + 0.1 * number))
        if time is None:
            return None
        return Measured(values={"step": time}, gpu=gpu(subject, number, repeats))

    return ask, asked


def test_steady_subjects_need_eight_rounds_and_all_take_part_in_each():
    rounds = rounds_of()
    ask, asked = ask_of()
    rounds.take(ask, seed=3)
    assert rounds.count == 8
    for number in range(1, 9):
        assert sorted(who for who, when, _ in asked if when == number) == sorted(TIMES)
    firsts = {asked[i][0] for i in range(0, len(asked), 4)}
    assert len(firsts) > 1  # the order is fresh
    assert rounds.aa()["step"].value == pytest.approx(1)
    assert rounds.marks() == []


def test_noisy_subjects_get_more_rounds_up_to_the_bound():
    noise = count()

    def shaky(subject, number, time):
        return time * (1 + 0.5 * (next(noise) % 7) / 7) if subject == "rival" else time

    rounds = rounds_of()
    rounds.take(ask_of(shaky)[0], seed=0)
    assert rounds.count == 12


def test_a_disturbed_round_is_taken_again_and_replaced():
    machine = Machine(0.0, 0.5, 0.0)
    rounds = rounds_of(machine)
    ask, asked = ask_of()
    rounds.take(ask, seed=0)
    assert rounds.count == 8
    assert len(asked) == 4 * 9
    assert {number for _, number, repeats in asked if repeats} == {2}
    assert rounds.load().repeated == [0.5]
    assert rounds.load().others == [0.0] * 8
    assert rounds.marks() == []


def test_a_machine_that_stays_busy_marks_its_numbers():
    rounds = rounds_of(Machine(0.5))
    ask, asked = ask_of()
    rounds.take(ask, seed=0)
    assert len(asked) == 4 * (8 + 4)  # four repeats at most
    assert rounds.load().repeated == [0.5] * 4
    assert rounds.marks() == ["other processes used up to 0.50 of 2 cores in 8 of 8 rounds"]


def test_an_a_a_ratio_that_is_off_marks_the_turn():
    rounds = rounds_of()
    rounds.take(ask_of(lambda who, n, time: time * 1.08 if who == "again" else time)[0], seed=0)
    assert rounds.aa()["step"].value == pytest.approx(1.08)
    assert rounds.marks() == ["the A/A ratio of step is 1.080, off by over 5 %"]


def test_the_others_go_on_when_the_baseline_is_gone():
    rounds = rounds_of()
    rounds.take(ask_of(lambda who, n, time: None if who == "dense" and n > 2 else time)[0], seed=0)
    assert rounds.count == 8
    assert rounds.aa() == {}
    assert rounds.marks() == ["there is no A/A ratio: the baseline did not run twice"]


def test_without_subjects_there_are_no_more_rounds():
    rounds = rounds_of()
    ask, asked = ask_of(lambda who, n, time: None)
    rounds.take(ask, seed=0)
    assert len(asked) == 4


def test_a_load_that_cannot_be_read_is_a_mark():
    rounds = rounds_of(Machine(None))
    rounds.take(ask_of()[0], seed=0)
    assert rounds.load() is None
    assert rounds.marks() == ["the load of other processes could not be read"]


def test_memory_does_not_depend_on_the_load():
    rounds = rounds_of()
    rounds.sampler = None
    rounds.take(ask_of()[0], seed=0)
    assert (rounds.load(), rounds.marks()) == (None, [])


def test_a_round_in_which_the_gpu_was_slowed_down_is_taken_again():
    power = GpuRound(sm_clock_mhz=1410, throttle_reasons=["sw_power_cap"])
    slower = GpuRound(sm_clock_mhz=1300, throttle_reasons=[])

    def gpu(subject, number, repeats):
        first = not repeats and subject == "spion"
        return {2: power, 3: slower}.get(number, FAST) if first else FAST

    rounds = rounds_of()
    ask, asked = ask_of(gpu=gpu)
    rounds.take(ask, seed=0)
    assert {number for _, number, repeats in asked if repeats} == {2, 3}
    assert (rounds.count, rounds.gpu_repeats, rounds.marks()) == (8, 2, [])
    assert rounds.load().repeated == []


def test_a_gpu_that_stays_slowed_down_marks_the_turn():
    rounds = rounds_of()
    power = GpuRound(sm_clock_mhz=1200, throttle_reasons=["sw_power_cap"])
    ask, asked = ask_of(gpu=lambda who, number, repeats: power if who == "rival" else FAST)
    rounds.take(ask, seed=0)
    assert len(asked) == 4 * (8 + 4)
    assert rounds.gpu_repeats == 4
    assert rounds.marks() == [
        "the GPU was slowed down in 8 of 32 measurements: sw_power_cap",
    ]


def test_subjects_with_clocks_of_their_own_are_not_slowed_down():
    rounds = rounds_of()
    clocks = {"dense": 1200, "again": 1200, "spion": 1980, "rival": 1600}
    rounds.take(
        ask_of(gpu=lambda who, n, r: GpuRound(sm_clock_mhz=clocks[who], throttle_reasons=[]))[0],
        seed=0,
    )
    assert (rounds.gpu_repeats, rounds.marks()) == (0, [])


def test_a_first_round_that_was_slower_than_the_others_is_seen_in_the_end():
    rounds = rounds_of()
    slow = GpuRound(sm_clock_mhz=1000, throttle_reasons=[])
    rounds.take(ask_of(gpu=lambda who, number, r: slow if number == 1 else FAST)[0], seed=0)
    assert rounds.marks() == [
        "the GPU was slowed down in 4 of 32 measurements, its clock was lower than in others"
    ]


def test_a_gpu_whose_clocks_are_unknown_is_a_mark_and_no_reason_to_repeat():
    rounds = rounds_of()
    rounds.take(ask_of(gpu=lambda who, number, repeats: GpuRound())[0], seed=0)
    assert rounds.gpu_repeats == 0
    assert rounds.marks() == ["the GPU's clocks could not be read in 32 of 32 measurements"]


def test_memory_does_not_depend_on_the_gpus_clocks():
    rounds = rounds_of()
    rounds.sampler = None
    power = GpuRound(sm_clock_mhz=1200, throttle_reasons=["sw_power_cap"])
    rounds.take(ask_of(gpu=lambda who, number, repeats: power)[0], seed=0)
    assert (rounds.gpu_repeats, rounds.marks()) == (0, [])


class Clock:
    """A clock that the subjects move on."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_rounds_end_before_time_is_up_and_what_was_taken_is_kept():
    rounds = rounds_of(limit_s=65.0)
    rounds.clock = Clock()

    def slow(subject, number, time):
        rounds.clock.now += 20.0 if subject == "rival" else 1.0
        rounds.clock.now += 44.0 if number == 1 else 0.0  # compiles
        return time

    rounds.take(ask_of(slow)[0], seed=0)
    assert rounds.count == 4
    assert rounds.aa()["step"].samples == [1.0] * 4
    assert rounds.marks() == [
        "time limit: no round after the first 4 fitted",
        "4 rounds, fewer than 8",
    ]


def test_a_slow_subject_that_is_gone_does_not_end_the_rounds():
    rounds = rounds_of(limit_s=65.0)
    rounds.clock = Clock()

    def slow(subject, number, time):
        rounds.clock.now += 60.0 if subject == "rival" else 1.0
        return None if subject == "rival" else time

    rounds.take(ask_of(slow)[0], seed=0)
    assert rounds.count == 8
    assert rounds.marks() == []


def test_a_disturbed_round_is_not_taken_again_without_time_for_it():
    rounds = rounds_of(Machine(0.5), limit_s=9.0)
    rounds.clock = Clock()

    def slow(subject, number, time):
        rounds.clock.now += 10.0
        return time

    rounds.take(ask_of(slow)[0], seed=0)
    assert (rounds.count, rounds.load().repeated) == (1, [])
    assert rounds.marks()[0] == "time limit: no round after the first 1 fitted"
