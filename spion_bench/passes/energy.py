"""The energy pass: joules of a training step and of a sequence, by counters of the hardware.

Methods take turns in fresh order, each for at least five seconds a round, so that none always
runs on the hottest GPU. Idle power is not subtracted: a machine that waits costs too.
"""

from __future__ import annotations

from spion_bench.measure.clock import warm_up
from spion_bench.measure.energy import WINDOW_S, EnergyError, energy_meter, measure_energy
from spion_bench.model.attention import UnavailableError
from spion_bench.passes.session import Job, OnProgress, RoundSamples
from spion_bench.passes.step.session import StepSession
from spion_bench.passes.step.training_step import TrainingStep
from spion_bench.records import Measurement


class EnergySession(StepSession):
    """A method made ready on a task; ``measure`` takes one round.

    Raises:
        UnavailableError: If this machine does not count energy, or not for this account.
    """

    def __init__(self, job: Job, on_progress: OnProgress) -> None:
        try:
            self._meter = energy_meter(job.cell.device)
        except EnergyError as error:
            raise UnavailableError(str(error)) from error
        super().__init__(job, on_progress)
        self._step = TrainingStep(self._subject)
        self.rounds = RoundSamples()

    def measure(self) -> None:
        """Count the joules of one window.

        Raises:
            UnavailableError: If the counter fails meanwhile.
        """
        measure = self._subject.settings.measure
        warm_up(self._step.run, seconds=measure.warmup_s)
        seconds = max(WINDOW_S, measure.round_s)
        try:
            used = measure_energy(self._step.run, self._meter, seconds=seconds)
        except EnergyError as error:
            raise UnavailableError(str(error)) from error
        of_step = used.joules["main"] / used.count
        found = {
            "step_joules": [of_step],
            "sequence_joules": [of_step / measure.batch_size],
            "power_w": [used.joules["main"] / used.seconds],
        }
        if "dram" in used.joules:
            found["step_dram_joules"] = [used.joules["dram"] / used.count]
        self.rounds.add(found)

    def result(self) -> Measurement:
        """Return what was measured."""
        found = {
            "metrics": {**self.rounds.metrics(), **self._step.compile_metrics()},
            "energy_method": self._meter.method,
        }
        return self.describe().model_copy(update=found)
