"""Use the package once, which compiles its CPU kernels unless they are cached; run as a script."""

import torch

from spion_bench import BlockPattern, block_attention

if __name__ == "__main__":
    x = torch.zeros(1, 1, 16, 8)
    block_attention(x, x, x, BlockPattern.full(16, 8), pruned="minus_inf")
