"""SPION's attention on PyTorch's FlexAttention: the same pattern, a different kernel.

FlexAttention compiles attention over a block mask: Dong et al., "Flex Attention: A Programming
Model for Generating Optimized Attention Kernels", 2024 (arXiv 2412.05496). Training is SPION's:
dense until there is a pattern, then the kept blocks only. A comparison with ``spion_cf``
compares kernels and nothing else.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import ClassVar, cast

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import (
    AuxRequest,
    BlockMask,
    FlexKernelOptions,
    flex_attention,
)

from spion_bench.block_pattern import BlockPattern
from spion_bench.model.attention import Capabilities, SpionAttention, UnsupportedError

Tiles = dict[str, int]  # by the names of FlexKernelOptions, with a prefix for the pass
Attend = Callable[[Tensor, Tensor, Tensor, BlockMask, Tensor | None, Tensor | None, Tiles], Tensor]
# The smallest forward tile among those that torch's autotuning tries, in tokens.
SMALLEST_TRIED = 64


class Flex(SpionAttention):
    """Block-sparse attention through compiled FlexAttention; the first call on a shape compiles.

    On the CPU it has no backward pass and no ``pruned="zero_logit"``: the compiled CPU kernel
    returns no log-sum-exp. UnsupportedError says so, or why the compiler failed.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        dtypes=(torch.float32, torch.bfloat16, torch.float16), forward_only_devices=("cpu",)
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "compiles for every new shape, in seconds to minutes; times do not contain it",
        "its GPU kernels need blocks of at least 16 tokens",
        "zero_logit rescales the output by the log-sum-exp, one more pass over the output",
    )
    _prepared: tuple[BlockPattern, BlockMask, Tensor] | None = None
    _tiles: Tiles | None = None

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, key_padding_mask: Tensor | None = None
    ) -> Tensor:
        """Attend densely without a pattern, over the kept blocks with one.

        Raises:
            UnsupportedError: If FlexAttention cannot do it on this device.
        """
        if self.pattern is None:
            return super().forward(q, k, v, key_padding_mask)
        if q.device.type == "cpu":
            self._check_cpu(q, k, v)
            # It refuses leaves on the CPU even where no gradient is recorded.
            q, k, v = q.detach(), k.detach(), v.detach()
        block_mask, n_pruned = self._prepare(q.device)
        counts = n_pruned if self.pruned == "zero_logit" else None
        try:
            tiles = kernel_options(self.pattern.block_size, q.device.type)
            self._tiles = None if q.device.type == "cpu" else tiles
            attend = compiled(q.device.type)
            return attend(q, k, v, block_mask, key_padding_mask, counts, tiles)
        except (torch.OutOfMemoryError, torch.AcceleratorError):
            raise
        except RuntimeError as error:
            first_line = str(error).strip().partition("\n")[0]
            raise UnsupportedError(f"compiled flex_attention: {first_line}") from error

    def details(self) -> dict[str, str]:
        """Return how the GPU kernels' tiles were chosen, once they ran."""
        if self._tiles is None:
            return {}
        if "fwd_BLOCK_M" not in self._tiles:
            return {"tiles": "autotuned"}
        rows, columns = self._tiles["fwd_BLOCK_M"], self._tiles["fwd_BLOCK_N"]
        return {"tiles": f"forward {rows} x {columns}, backward autotuned"}

    def _check_cpu(self, *inputs: Tensor) -> None:
        if torch.is_grad_enabled() and any(x.requires_grad for x in inputs):
            raise UnsupportedError(
                f"FlexAttention of torch {torch.__version__} has no backward pass on the CPU; "
                "train on cuda, or compute without gradients"
            )
        if self.pruned == "zero_logit":
            raise UnsupportedError(
                f"FlexAttention of torch {torch.__version__} returns no log-sum-exp on the CPU, "
                "which pruned='zero_logit' needs; choose pruned='minus_inf' or cuda"
            )

    def _prepare(self, device: torch.device) -> tuple[BlockMask, Tensor]:
        """Return the pattern's mask and pruned counts, made once: it stays for many steps."""
        assert self.pattern is not None
        prepared = self._prepared
        if prepared is None or prepared[0] is not self.pattern or prepared[2].device != device:
            pattern = self.pattern.to(device)
            block_mask = flex_block_mask(pattern, lists_only=device.type == "cpu")
            self._prepared = prepared = (self.pattern, block_mask, pruned_counts(pattern))
        return prepared[1:]


def flex_block_mask(pattern: BlockPattern, *, lists_only: bool = False) -> BlockMask:
    """Return ``pattern`` as FlexAttention's mask: every kept block is a full one.

    No block is a partial one, so GPU kernels test no score one by one. ``mask_mod`` states
    the pattern once more, because some backends (eager execution, FLASH) go by ``mask_mod`` alone
    and would take a mask without one for dense attention (pytorch issue 188322).

    Args:
        pattern: The pattern.
        lists_only: Leave ``mask_mod`` out. The compiled CPU kernel goes by the lists, and would
            test the scores of full blocks too.
    """
    nb, size = pattern.nb, pattern.block_size
    rows = pattern.row_indices().long()
    places = torch.arange(pattern.nnzb, device=pattern.device) - pattern.crow_indices[rows]
    indices = torch.zeros(nb, nb, dtype=torch.int32, device=pattern.device)
    indices[rows, places] = pattern.col_indices
    counts = pattern.crow_indices.diff()
    kept = pattern.to_mask()

    def is_kept(b: Tensor, h: Tensor, q_index: Tensor, k_index: Tensor) -> Tensor:
        return kept[q_index // size, k_index // size]

    return BlockMask.from_kv_blocks(
        torch.zeros_like(counts)[None, None],
        torch.zeros_like(indices)[None, None],
        counts[None, None],
        indices[None, None],
        BLOCK_SIZE=size,
        mask_mod=None if lists_only else is_kept,
    )


def pruned_counts(pattern: BlockPattern) -> Tensor:
    """Return how many columns each row of ``pattern`` does not keep, float32 ``[L]``."""
    kept = pattern.crow_indices.diff().repeat_interleave(pattern.block_size) * pattern.block_size
    return (pattern.length - kept).float()


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    block_mask: BlockMask,
    key_padding_mask: Tensor | None,
    n_pruned: Tensor | None,
    options: Tiles,
) -> Tensor:
    """Return attention over ``block_mask``; what ``compiled`` compiles.

    Args:
        q: ``[B, H, L, D]``.
        k: Like ``q``.
        v: Like ``q``.
        block_mask: The pattern.
        key_padding_mask: bool ``[B, L]``, True = real token, or None.
        n_pruned: float32 ``[L]``: how many scores of 0 each denominator gets in addition, or None.
        options: See ``kernel_options``.
    """
    score_mod = None
    if key_padding_mask is not None:

        def without_padding(
            score: Tensor, b: Tensor, h: Tensor, q_index: Tensor, k_index: Tensor
        ) -> Tensor:
            return torch.where(key_padding_mask[b, k_index], score, -math.inf)

        score_mod = without_padding
    if n_pruned is None:
        return flex_attention(
            q,
            k,
            v,
            score_mod=score_mod,
            block_mask=block_mask,
            kernel_options=cast(FlexKernelOptions, options),
        )
    out, aux = flex_attention(
        q,
        k,
        v,
        score_mod=score_mod,
        block_mask=block_mask,
        kernel_options=cast(FlexKernelOptions, options),
        return_aux=AuxRequest(lse=True),
    )
    assert aux.lse is not None
    # exp(lse) / (exp(lse) + n): the share that the kept scores have in the longer denominator.
    return (out * torch.sigmoid(aux.lse - n_pruned.log())[..., None]).to(q.dtype)


def kernel_options(block_size: int, device: str) -> Tiles:
    """Return the tiles of the forward kernel where autotuning tries none that divides a block.

    Without them the compiler refuses blocks of 16 and 32 tokens on a GPU. The backward kernel's
    tiles cannot be given: torch leaves out those of its own that do not divide a block.
    """
    if device == "cpu" or block_size >= SMALLEST_TRIED:
        return {}
    return {"fwd_BLOCK_M": block_size, "fwd_BLOCK_N": block_size}


@functools.cache
def compiled(device: str) -> Attend:
    """Return ``attend`` compiled, one for all layers; it never falls back to eager execution.

    On a GPU the compiler times its tiles and keeps the fastest. Without that the backward kernel
    has one tile, for float32 of 16 x 16 tokens.
    """
    mode = None if device == "cpu" else "max-autotune-no-cudagraphs"
    return cast(Attend, torch.compile(attend, dynamic=False, fullgraph=True, mode=mode))
