"""Locality-sensitive hashing: Reformer."""

from spion_bench.suite.method import Argument, Method

METHODS = (
    Method(
        "reformer",
        "Reformer: LSH attention, two rounds, chunks of 64 tokens",
        "baselines.lsh.reformer:Reformer",
        family="hashing",
        role="rival",
        native="PyTorch",
        # Skyformer's. Long Range Arena hashes once, into 10 buckets of a tenth of the tokens each.
        arguments={"chunk": Argument(64, "skyformer"), "n_hashes": Argument(2, "skyformer")},
        takes_layer=True,
    ),
)
