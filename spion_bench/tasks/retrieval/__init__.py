"""The retrieval task: are two documents, each read byte by byte, related?

The published data is pairs of papers of the ACL Anthology Network (AAN), of which one cites the
other or not (Long Range Arena). Where it is missing, pairs of pieces of source files, from the same
file or not, stand in for it, and are labelled as a stand-in. Both documents run through the same
encoder; how the head combines them is the configuration's decision (``pair_features``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spion_bench.tasks.retrieval import aan
from spion_bench.tasks.retrieval.loader import RetrievalOptions, load
from spion_bench.tasks.shared import corpus
from spion_bench.tasks.shared.byte_encoding import VOCABULARY
from spion_bench.tasks.shortcuts import MAJORITY, counts, regression
from spion_bench.tasks.task import TaskSpec

_count = counts(VOCABULARY)


def _count_first(inputs: NDArray[Any]) -> NDArray[np.float64]:
    return _count(inputs[:, 0])


def _count_second(inputs: NDArray[Any]) -> NDArray[np.float64]:
    return _count(inputs[:, 1])


def _count_both(inputs: NDArray[Any]) -> NDArray[np.float64]:
    return np.concatenate([_count_first(inputs), _count_second(inputs)], axis=1)


_SHORTCUTS = (
    MAJORITY,
    regression("first_histogram", "byte counts of the first document alone", _count_first),
    regression("second_histogram", "byte counts of the second document alone", _count_second),
    regression("histograms", "byte counts of both documents", _count_both),
)

SPEC = TaskSpec("retrieval", RetrievalOptions, load, (aan.SOURCE, corpus.SOURCE), _SHORTCUTS)
