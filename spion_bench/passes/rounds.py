"""What a session keeps of its rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from spion_bench.records import Metric
from spion_bench.suite.metrics import sampled


class RoundSamples:
    """Every sample that a session took, by metric, round by round."""

    def __init__(self) -> None:
        self._rounds: list[dict[str, list[float]]] = []

    def add(self, samples: Mapping[str, Sequence[float]]) -> None:
        """Keep the samples of a round."""
        self._rounds.append({name: list(taken) for name, taken in samples.items()})

    def forget_last(self) -> None:
        """Forget the last round, which is to be taken again."""
        self._rounds.pop()

    def last(self) -> dict[str, float]:
        """Return the last round's number of each metric, the median of its samples."""
        return {name: float(np.median(taken)) for name, taken in self._rounds[-1].items()}

    def samples(self, name: str) -> list[float]:
        """Return every sample of a metric."""
        return [sample for taken in self._rounds for sample in taken[name]]

    def sizes(self, name: str) -> list[int]:
        """Return how many samples of a metric each round took."""
        return [len(taken[name]) for taken in self._rounds]

    def metrics(self) -> dict[str, Metric]:
        """Return every metric with its samples."""
        names = self._rounds[0] if self._rounds else ()
        return {name: sampled(name, self.samples(name), self.sizes(name)) for name in names}
