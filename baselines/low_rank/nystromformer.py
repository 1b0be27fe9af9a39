"""Nystromformer's attention: landmarks stand for queries and for keys.

Xiong et al., "Nystromformer: A Nystrom-Based Algorithm for Approximating Self-Attention", 2021
(arXiv 2102.03902, sections 3.2 and 3.3). Landmarks are means of runs of neighbouring tokens; the
softmax matrix is the product of queries with key landmarks, the pseudo-inverse of landmarks with
landmarks, and query landmarks with keys. Six steps of the paper's iteration approximate the
inverse. O(L * landmarks) time and memory. Deviations:

- The iteration starts from each matrix's own largest column sum; the authors' code takes one of the
  whole batch by default, so an example's output would depend on the others.
- A length that the landmarks do not divide is filled up with padding; the authors' code has none.
- The optional convolution of the values has one filter for all heads; theirs has one for each.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.shared.numbers import check_at_least
from spion_bench.model.attention import Attention, Capabilities, dense_attention

INVERSE_STEPS = 6


class Nystromformer(Attention):
    """Attention through landmarks; dense attention where every token is one.

    Args:
        landmarks: Landmarks of queries, and of keys.
        filter_size: Tokens of the filter that convolves the values, odd; 0: no convolution.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(exact=False, weights_sum_to_one=False)
    caveats: ClassVar[tuple[str, ...]] = (
        "approximates: the softmax matrix has at most the rank of the landmarks",
        "its weights may be negative, and sum to 1 only as far as the inverse is exact",
    )

    def __init__(self, landmarks: int = 64, filter_size: int = 0) -> None:
        super().__init__()
        check_at_least(1, landmarks=landmarks)
        if filter_size < 0 or (filter_size and filter_size % 2 == 0):
            raise ValueError(f"filter_size: expected 0 or an odd number, got {filter_size}")
        self.landmarks = landmarks
        self.filter = (
            nn.Parameter(torch.randn(filter_size) * filter_size**-0.5) if filter_size else None
        )

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, key_padding_mask: Tensor | None = None
    ) -> Tensor:
        """Return the attention, ``[B, H, L, D]``; a sequence of padding only gives zeros."""
        out = self._attend(q, k, v, key_padding_mask)
        return out if self.filter is None else out + self._convolved(v, key_padding_mask)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, key_padding_mask: Tensor | None) -> Tensor:
        length, head_dim = q.shape[2:]
        if length <= self.landmarks:
            return dense_attention(q, k, v, key_padding_mask)
        missing = -length % self.landmarks
        if missing and key_padding_mask is None:
            key_padding_mask = torch.ones(q.shape[0], length, dtype=torch.bool, device=q.device)
        if key_padding_mask is not None:
            real = key_padding_mask[:, None, :, None]
            q, k = q * real, k * real
        if missing and key_padding_mask is not None:
            q, k, v = (F.pad(x, (0, 0, 0, missing)) for x in (q, k, v))
            key_padding_mask = F.pad(key_padding_mask, (0, missing), value=False)
        q_marks, k_marks = self._landmarks(q), self._landmarks(k)
        scale = head_dim**-0.5
        to_marks = (scale * q @ k_marks.mT).softmax(dim=-1)
        between = (scale * q_marks @ k_marks.mT).softmax(dim=-1)
        summary = dense_attention(q_marks, k, v, key_padding_mask)
        out: Tensor = to_marks @ (pseudo_inverse(between) @ summary)
        return out[:, :, :length]

    def _landmarks(self, x: Tensor) -> Tensor:
        """Return the means of runs of tokens, ``[B, H, landmarks, D]``."""
        return x.reshape(*x.shape[:2], self.landmarks, -1, x.shape[3]).mean(dim=3)

    def _convolved(self, v: Tensor, key_padding_mask: Tensor | None) -> Tensor:
        """Return the values convolved along the sequence, ``[B, H, L, D]``."""
        assert self.filter is not None
        if key_padding_mask is not None:
            v = v * key_padding_mask[:, None, :, None]
        size = self.filter.shape[0]
        lines = v.transpose(2, 3).reshape(-1, 1, v.shape[2])
        out = F.conv1d(lines, self.filter[None, None].to(v.dtype), padding=size // 2)
        return out.view(*v.shape[:2], v.shape[3], v.shape[2]).transpose(2, 3)

    def n_scores(self, length: int, heads: int) -> int:
        """Return the scores of all three products."""
        if length <= self.landmarks:
            return heads * length * length
        return heads * self.landmarks * (2 * length + self.landmarks)


def pseudo_inverse(matrix: Tensor) -> Tensor:
    """Return the approximate pseudo-inverse of ``[..., m, m]`` softmax matrices (section 3.3)."""
    one = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    largest = matrix.sum(dim=-2).amax(dim=-1)[..., None, None]  # row sums are 1
    inverse = matrix.mT / largest
    for _ in range(INVERSE_STEPS):
        product = matrix @ inverse
        inverse = 0.25 * inverse @ (13 * one - product @ (15 * one - product @ (7 * one - product)))
    return inverse
