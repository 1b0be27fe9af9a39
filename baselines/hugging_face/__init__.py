"""Attention modules of Hugging Face's transformers, as they are (extra ``hf``)."""

from functools import partial

from spion_bench.suite.method import Argument, Method

_module = partial(Method, role="rival", native="transformers", requires=("transformers",))

METHODS = (
    _module(
        "longformer_hf",
        "Hugging Face's Longformer attention: a window of 512 tokens",
        "baselines.hugging_face.longformer:LongformerHF",
        family="sparse",
        # The library's models make a token global only where they are asked to; Long Range Arena
        # makes none.
        arguments={"window": Argument(512, "hf"), "n_global": Argument(0, "lra")},
    ),
    _module(
        "bigbird_hf",
        "Hugging Face's BigBird attention: window, global and random blocks",
        "baselines.hugging_face.bigbird:BigBirdHF",
        family="sparse",
        arguments={"block_size": Argument(64, "hf"), "n_random": Argument(3, "hf")},
        takes_layer=True,
    ),
    _module(
        "reformer_hf",
        "Hugging Face's Reformer attention: LSH, queries serve as keys",
        "baselines.hugging_face.reformer:ReformerHF",
        family="hashing",
        # The library's default is one round; Skyformer runs its module with two.
        arguments={"chunk": Argument(64, "hf"), "n_hashes": Argument(2, "skyformer")},
        takes_layer=True,
    ),
)
