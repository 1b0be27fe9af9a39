"""Locality-sensitive hashing: Reformer."""

from functools import partial

from spion_bench.suite.method import Argument, Method

_reformer = partial(
    Method,
    factory="baselines.lsh.reformer:Reformer",
    family="hashing",
    role="rival",
    native="PyTorch",
    takes_layer=True,
)

METHODS = (
    _reformer(
        "reformer",
        "Reformer: LSH attention, two rounds, chunks of 64 tokens",
        arguments={"chunk": Argument(64, "skyformer"), "n_hashes": Argument(2, "skyformer")},
    ),
    _reformer(
        "reformer@lra",
        "Reformer as in the Long Range Arena: one round, chunks of a tenth of the tokens",
        # 10 buckets of a tenth of the tokens each.
        arguments={
            "chunk": Argument("tenth", "lra", of_spion=True),
            "n_hashes": Argument(1, "lra"),
        },
    ),
)
