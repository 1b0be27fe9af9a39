"""The split of the image sources that come with a training and a test part only."""

from __future__ import annotations

from spion_bench.tasks.task import Split


def nine_to_one(examples: Split) -> tuple[Split, Split]:
    """Split into the first nine tenths and the rest."""
    n_train = len(examples) * 9 // 10
    rest = Split(examples.inputs[n_train:], examples.labels[n_train:])
    return examples.first(n_train), rest
