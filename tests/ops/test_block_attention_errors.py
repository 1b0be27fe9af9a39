import math
import re

import pytest
import torch

from spion_bench.block_pattern import BlockPattern
from spion_bench.ops import block_attention

BLOCKS = BlockPattern.band(128, 64, 0)
GOOD = torch.zeros(2, 2, 128, 16)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"q": GOOD.bfloat16(), "implementation": "pipeline"},
            "q: expected float32 or float64, got bfloat16; cast it, e.g. q.float()",
        ),
        (
            {"k": GOOD.long()},
            "k: expected float32 or float64 or bfloat16 or float16, got int64; cast it",
        ),
        ({"k": GOOD.half()}, "k: expected torch.float32 as q, got torch.float16"),
        ({"k": GOOD.double()}, "k: expected torch.float32 as q, got torch.float64; cast it"),
        ({"v": GOOD[:, :, :64]}, "v: expected shape [2, 2, 128, 16] as k, got [2, 2, 64, 16]"),
        ({"q": GOOD[0]}, "q: expected [B, H, L, D], got 3 dimensions with shape [2, 128, 16]"),
        (
            {"q": torch.zeros(2, 2, 16, 128).mT},
            "q: expected a contiguous last dimension, got stride 128; call q.contiguous()",
        ),
        (
            dict.fromkeys("qkv", torch.zeros(1, 1, 128, 257)),
            "q: expected a head width D from 1 to 256 on CPU, got 257",
        ),
        (
            dict.fromkeys("qkv", torch.zeros(1, 1, 100, 16)) | {"implementation": "pipeline"},
            "q: length 100 is not a multiple of the block size 64: pad to 128",
        ),
        (
            dict.fromkeys("qkv", torch.zeros(1, 1, 256, 16)),
            "q: expected a length up to the pattern's, 128, got 256; build",
        ),
        (dict.fromkeys("qkv", GOOD.to("meta")), "q: expected a CPU or CUDA tensor, got one"),
        ({"pattern": BLOCKS.to("cpu"), "pruned": "none"}, 'pruned: expected "minus_inf" or "zero'),
        ({"implementation": "dense"}, 'implementation: expected "fused" or "pipeline", got '),
        (
            {"key_padding_mask": torch.ones(2, 128)},
            "key_padding_mask: expected bool (True = real token), got torch.float32; compare",
        ),
        (
            {"key_padding_mask": torch.ones(2, 64, dtype=torch.bool)},
            "key_padding_mask: expected shape [B=2, L=128], got [2, 64]",
        ),
        (
            {"key_padding_mask": torch.ones(2, 128, dtype=torch.bool, device="meta")},
            "key_padding_mask: expected device cpu, got meta",
        ),
        ({"scale": math.inf}, "scale: expected a finite number, got inf"),
        ({"dropout_p": 1.0, "dropout_seed": 1}, "dropout_p: expected 0 <= dropout_p <= 0.99998"),
        ({"dropout_p": -0.1, "dropout_seed": 1}, "dropout_p: expected 0 <= dropout_p"),
        ({"dropout_p": 0.1}, "dropout_seed: expected an integer because dropout_p is 0.1, got"),
        ({"dropout_seed": -1}, "dropout_seed: expected 0 <= dropout_seed < 2**63, got -1"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    arguments = {"q": GOOD, "k": GOOD, "v": GOOD, "pattern": BLOCKS, "pruned": "minus_inf"}
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        block_attention(**(arguments | change))


def test_pruned_has_no_default():
    with pytest.raises(TypeError, match="pruned"):
        block_attention(GOOD, GOOD, GOOD, BLOCKS)
