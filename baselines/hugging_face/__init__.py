"""Attention modules of Hugging Face's transformers, as they are (extra ``hf``)."""

from spion_bench.suite.method import Argument, Method

METHODS = (
    Method(
        "longformer_hf",
        "Hugging Face's Longformer attention: a window of 512 tokens",
        "baselines.hugging_face.longformer:LongformerHF",
        family="sparse",
        role="rival",
        native="transformers",
        requires=("transformers",),
        # The library's models make a token global only where they are asked to; Long Range Arena
        # makes none.
        arguments={"window": Argument(512, "hf"), "n_global": Argument(0, "lra")},
    ),
    Method(
        "bigbird_hf",
        "Hugging Face's BigBird attention: window, global and random blocks",
        "baselines.hugging_face.bigbird:BigBirdHF",
        family="sparse",
        role="rival",
        native="transformers",
        requires=("transformers",),
        arguments={"block_size": Argument(64, "hf"), "n_random": Argument(3, "hf")},
        takes_layer=True,
    ),
    Method(
        "reformer_hf",
        "Hugging Face's Reformer attention: LSH, queries serve as keys",
        "baselines.hugging_face.reformer:ReformerHF",
        family="hashing",
        role="rival",
        native="transformers",
        requires=("transformers",),
        # The library's default is one round; Skyformer runs its module with two.
        arguments={"chunk": Argument(64, "hf"), "n_hashes": Argument(2, "skyformer")},
        takes_layer=True,
    ),
)
