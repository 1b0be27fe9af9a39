"""What can be answered without attention: predictors that learn in seconds from fixed features.

A task on which one of them is as good as a trained Transformer does not measure attention. Each
is a function of two splits; the classifiers are scikit-learn's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from spion_bench.tasks.task import Split

Predict = Callable[["Split", "Split"], NDArray[np.int64]]
Features = Callable[[NDArray[Any]], NDArray[np.float64]]

_ITERATIONS = 200  # of the logistic regression's solver; more changes no accuracy by a point
_SEED = 0


@dataclass(frozen=True)
class Shortcut:
    """A predictor that needs no attention.

    Attributes:
        name: What records and reports call it.
        summary: One line.
        predict: Learns from the first split, and returns its labels, int64 ``[N]``, of the second.
    """

    name: str
    summary: str
    predict: Predict


def _largest_class(train: Split, test: Split) -> NDArray[np.int64]:
    return np.full(len(test), np.bincount(train.labels).argmax(), dtype=np.int64)


MAJORITY = Shortcut("majority", "always the largest class of the training examples", _largest_class)


def regression(name: str, summary: str, features: Features) -> Shortcut:
    """Return logistic regression on standardised features.

    Args:
        name: See ``Shortcut``, as for ``summary``.
        summary: See ``name``.
        features: Maps inputs, ``[N, L]`` or ``[N, 2, L]``, to float64 ``[N, F]``.
    """

    def predict(train: Split, test: Split) -> NDArray[np.int64]:
        return _regress(features(train.inputs), train.labels, features(test.inputs))

    return Shortcut(name, summary, predict)


def first_token(name: str, summary: str) -> Shortcut:
    """Return the most frequent label of the examples that begin with the same token."""

    def predict(train: Split, test: Split) -> NDArray[np.int64]:
        n_tokens = 1 + max(int(train.inputs[:, 0].max()), int(test.inputs[:, 0].max()))
        counts = np.zeros((n_tokens, int(train.labels.max()) + 1), dtype=np.int64)
        np.add.at(counts, (train.inputs[:, 0], train.labels), 1)
        counts[counts.sum(axis=1) == 0] = counts.sum(axis=0)
        found: NDArray[np.int64] = counts.argmax(axis=1)[test.inputs[:, 0]]
        return found

    return Shortcut(name, summary, predict)


def by_first_token(name: str, summary: str, features: Features) -> Shortcut:
    """Return one logistic regression for each first token: it and the features interact."""

    def predict(train: Split, test: Split) -> NDArray[np.int64]:
        found = _largest_class(train, test)
        for token in np.unique(test.inputs[:, 0]):
            known, asked = train.inputs[:, 0] == token, test.inputs[:, 0] == token
            if known.any():
                found[asked] = _regress(
                    features(train.inputs[known]),
                    train.labels[known],
                    features(test.inputs[asked]),
                )
        return found

    return Shortcut(name, summary, predict)


def counts(n_tokens: int) -> Features:
    """Return the function that counts each token of ``[N, L]`` or ``[N, 2, L]``; 0 is padding."""

    def count(inputs: NDArray[Any]) -> NDArray[np.float64]:
        flat = inputs.reshape(len(inputs), -1)
        rows = np.repeat(np.arange(len(flat)), flat.shape[1])
        cells = rows * n_tokens + flat.ravel()
        found = np.bincount(cells, minlength=len(flat) * n_tokens).reshape(len(flat), n_tokens)
        return found[:, 1:].astype(np.float64)

    return count


def values(inputs: NDArray[Any]) -> NDArray[np.float64]:
    """Return the tokens themselves, such as the grey values of a picture."""
    return inputs.reshape(len(inputs), -1).astype(np.float64)


def _regress(
    known: NDArray[np.float64], labels: NDArray[np.int64], asked: NDArray[np.float64]
) -> NDArray[np.int64]:
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(labels)) == 1:
        return np.full(len(asked), labels[0], dtype=np.int64)
    mean, spread = known.mean(axis=0), known.std(axis=0)
    spread[spread == 0] = 1.0
    model = LogisticRegression(max_iter=_ITERATIONS, random_state=_SEED)
    with np.errstate(all="ignore"):
        model.fit((known - mean) / spread, labels)
    found: NDArray[np.int64] = model.predict((asked - mean) / spread).astype(np.int64)
    return found
