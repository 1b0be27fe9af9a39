"""The two controls: no attention, and attention that cannot choose.

A task on which they do as well as dense attention does not measure attention. The time of a step
with ``NoAttention`` is the floor of every method's: all that the model does besides.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from spion_bench.model.attention import Attention, Capabilities


class NoAttention(Attention):
    """Zeros, whatever the inputs. Projections are still computed, forward and backward."""

    capabilities: ClassVar[Capabilities] = Capabilities(exact=False, weights_sum_to_one=False)
    caveats: ClassVar[tuple[str, ...]] = ("a control: tokens do not see each other",)

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, key_padding_mask: Tensor | None = None
    ) -> Tensor:
        """Return zeros, ``[B, H, L, D]``, whose gradients are zeros."""
        out: Tensor = _Zeros.apply(q, k, v)  # type: ignore[no-untyped-call]
        return out

    def n_scores(self, length: int, heads: int) -> int:
        """Return 0."""
        return 0


class MeanAttention(Attention):
    """The mean of the values of all real tokens, the same for every token."""

    capabilities: ClassVar[Capabilities] = Capabilities(exact=False)
    caveats: ClassVar[tuple[str, ...]] = ("a control: every token sees all others alike",)

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, key_padding_mask: Tensor | None = None
    ) -> Tensor:
        """Return the mean, ``[B, H, L, D]``; a sequence of padding only gives zeros."""
        if key_padding_mask is None:
            return v.mean(dim=2, keepdim=True).expand_as(v)
        real = key_padding_mask[:, None, :, None]
        total = v.masked_fill(~real, 0).sum(dim=2, keepdim=True, dtype=_summed_in(v.dtype))
        mean = total / real.sum(dim=2, keepdim=True).clamp(min=1)
        return mean.to(v.dtype).expand_as(v)

    def n_scores(self, length: int, heads: int) -> int:
        """Return 0: there are no scores."""
        return 0


def _summed_in(dtype: torch.dtype) -> torch.dtype:
    """Return a dtype that holds the sum of a long sequence."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


class _Zeros(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return torch.zeros_like(v)

    @staticmethod
    def backward(ctx: Any, dout: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        zeros = torch.zeros_like(dout)
        return zeros, zeros, zeros
