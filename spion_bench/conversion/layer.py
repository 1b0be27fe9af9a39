"""The attention of a converted layer: what the model called before, then block-sparse attention."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from spion_bench.literals import Pruned
from spion_bench.model.attention import SpionAttention
from spion_bench.ops import block_attention

SUBMODULE = "spion"
T = TypeVar("T")


class ConvertedAttention(SpionAttention):
    """Lives in the converted module as ``module.spion``; holds the pattern, see ``PATTERN_STATE``.

    Without a pattern the model's own attention runs, unchanged. With one, the kept blocks are
    attended to, with the model's own scale, key padding and attention dropout.

    Attributes:
        name: The converted module's qualified name in the model.
    """

    def __init__(self, name: str, pruned: Pruned) -> None:
        super().__init__(pruned)
        self.name = name

    @property
    def needs_heads(self) -> bool:
        """Whether this forward pass needs ``q k v``, or the model's own attention will do."""
        return self.pattern is not None or self._is_watched

    @property
    def _is_watched(self) -> bool:
        return self._watching and self.training and self.pattern is None

    def attend(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        dense: Callable[[], T],
        join: Callable[[Tensor], T],
        key_padding_mask: Tensor | None,
        scale: float | None,
        dropout_p: float,
        causal: bool,
    ) -> T:
        """Attend as the layer's phase demands.

        Args:
            q: ``[B, H, L, D]``.
            k: ``[B, Hk, L, D]``; Hk divides H (grouped-query attention).
            v: Like ``k``.
            dense: Does the model's own attention of this call.
            join: Makes of the sparse output, ``[B, H, L, D]``, what ``dense`` would return.
            key_padding_mask: bool ``[B, L]``, True = real token.
            scale: Factor of the scores; ``1 / sqrt(D)`` where None.
            dropout_p: Drop probability of the attention probabilities; 0 in evaluation.
            causal: Whether queries see no key after them.

        Raises:
            ValueError: If queries and keys are not of one sequence, or longer than the pattern.
        """
        if q.shape[2] != k.shape[2]:
            raise ValueError(
                f"{self.name}: expected as many keys as queries, {q.shape[2]}, got {k.shape[2]}; "
                "SPION sparsifies self-attention over whole sequences: leave cross-attention out "
                "of `modules`, and generate without a cache"
            )
        self.causal = causal
        if self._is_watched:
            self._watching = False
            self._watched = (_scaled(q, scale), _widened(k), key_padding_mask)
        if self.pattern is None:
            return dense()
        # Drawn on the host from torch's own generator: reproducible by torch.manual_seed.
        seed = int(torch.randint(2**31, ())) if dropout_p > 0 else None
        out = block_attention(
            q,
            k,
            v,
            self.pattern,
            pruned=self.pruned,
            causal=causal,
            key_padding_mask=key_padding_mask,
            scale=scale,
            dropout_p=dropout_p,
            dropout_seed=seed,
        )
        return join(out)

    def take_map(self) -> Tensor:
        """Return the watched forward pass's map, in float32 at least; see ``SpionAttention``.

        Raises:
            RuntimeError: If the layer was not called in training mode since it was watched.
        """
        if self._watched is None:
            raise RuntimeError(
                f"{self.name}: no forward pass in training mode since the last step(); call step() "
                "after every optimiser step of the converted model"
            )
        return super().take_map()


def _widened(x: Tensor) -> Tensor:
    """Return ``x`` without its history, in float32 where it has 16 bits: maps are averages."""
    x = x.detach()
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _scaled(q: Tensor, scale: float | None) -> Tensor:
    """Return queries whose scores under the usual scale are those of ``q`` under ``scale``."""
    q = _widened(q)
    return q if scale is None else q * (scale * math.sqrt(q.shape[3]))
