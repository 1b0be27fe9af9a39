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
        arguments={"chunk": Argument(64, "skyformer"), "n_hashes": Argument(2, "skyformer")},
        takes_layer=True,
    ),
    Method(
        "reformer@lra",
        "Reformer as in the Long Range Arena: one round, chunks of a tenth of the tokens",
        "baselines.lsh.reformer:Reformer",
        family="hashing",
        role="rival",
        native="PyTorch",
        # 10 buckets of a tenth of the tokens each.
        arguments={
            "chunk": Argument("tenth", "lra", of_spion=True),
            "n_hashes": Argument(1, "lra"),
        },
        takes_layer=True,
    ),
)
