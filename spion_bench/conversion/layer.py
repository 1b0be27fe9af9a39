"""The attention of a converted layer: what the model called before, then block-sparse attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from spion_bench.literals import Pruned
from spion_bench.model.attention import SpionAttention
from spion_bench.ops import attention_map, block_attention

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
        self._scale: float | None = None

    @property
    def needs_heads(self) -> bool:
        """Whether this forward pass needs ``q k v``, or the model's own attention will do."""
        return self.pattern is not None or self._is_watched

    @property
    def _is_watched(self) -> bool:
        return self._watching and self.training

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
    ) -> T:
        """Attend as the layer's phase demands.

        Args:
            q: ``[B, H, L, D]``.
            k: Like ``q``.
            v: Like ``q``.
            dense: Does the model's own attention of this call.
            join: Makes of the sparse output, ``[B, H, L, D]``, what ``dense`` would return.
            key_padding_mask: bool ``[B, L]``, True = real token.
            scale: Factor of the scores; ``1 / sqrt(D)`` where None.
            dropout_p: Drop probability of the attention probabilities; 0 in evaluation.

        Raises:
            ValueError: If queries and keys differ in shape.
        """
        if q.shape != k.shape:
            raise ValueError(
                f"{self.name}: expected keys shaped like the queries, {list(q.shape)}, got "
                f"{list(k.shape)}; SPION sparsifies self-attention: leave this module out of "
                "`modules`"
            )
        if self._is_watched:
            self._watching = False
            self._watched = (q.detach(), k.detach(), key_padding_mask)
            self._scale = scale
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
        (q, k, mask), self._watched = self._watched, None
        if q.dtype in (torch.float16, torch.bfloat16):
            q, k = q.float(), k.float()
        return attention_map(q, k, key_padding_mask=mask, scale=self._scale)
