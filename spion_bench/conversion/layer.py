"""The attention of a converted layer: what the model called before, then block-sparse attention."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from spion_bench.block_pattern import BlockPattern
from spion_bench.literals import Pruned
from spion_bench.model.attention import SpionAttention
from spion_bench.ops import block_attention
from spion_bench.ops.registration import with_contiguous_rows

SUBMODULE = "spion"
T = TypeVar("T")


class Call(NamedTuple):
    """What attention is asked for, without the model's own way to compute it.

    Attributes:
        q: ``[B, H, L, D]``.
        k: ``[B, Hk, L, D]``; Hk divides H (grouped-query attention).
        v: Like ``k``.
        key_padding_mask: bool ``[B, L]``, True = real token, or None.
        scale: Factor of the scores; ``1 / sqrt(D)`` where None.
        dropout_p: Drop probability of the attention probabilities; 0 in evaluation.
        causal: Whether queries see no key after them.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    key_padding_mask: Tensor | None
    scale: float | None
    dropout_p: float
    causal: bool


class ConvertedAttention(SpionAttention):
    """Lives in the converted module as ``module.spion``; holds the pattern, see ``PATTERN_STATE``.

    Without a pattern the model's own attention runs, unchanged. With one, the kept blocks are
    attended to, with the model's own scale, key padding and attention dropout.

    The first forward pass, in training and in evaluation, is *rehearsed*: block-sparse attention is
    computed once, with the diagonal for a pattern. So what the sparse phase cannot do is refused
    before the dense phase begins, by the operator itself.

    Attributes:
        name: The converted module's qualified name in the model.
        length: Tokens of the sequences of training in the dense phase, of which maps are made; None
            before the first.
    """

    def __init__(self, name: str, pruned: Pruned, block_size: int) -> None:
        super().__init__(pruned)
        self.name = name
        self.length: int | None = None
        self._size = block_size
        self._rehearsed: tuple[bool, ...] = ()  # whether it was in training
        self._unrehearsed: Call | None = None

    @property
    def needs_heads(self) -> bool:
        """Whether this forward pass needs ``q k v``, or the model's own attention will do."""
        return self.pattern is not None or self._is_watched or self._is_to_be_rehearsed

    @property
    def _is_watched(self) -> bool:
        return self._watching and self.training and self.pattern is None

    @property
    def _is_to_be_rehearsed(self) -> bool:
        is_new = self.pattern is None and self.training not in self._rehearsed
        return is_new and not torch.compiler.is_exporting()

    def attend(self, call: Call, *, dense: Callable[[], T], join: Callable[[Tensor], T]) -> T:
        """Attend as the layer's phase demands.

        Args:
            call: What is asked for.
            dense: Does the model's own attention of this call.
            join: Makes of the sparse output, ``[B, H, L, D]``, what ``dense`` would return.

        Raises:
            ValueError: If block-sparse attention cannot do this, in either phase; or if queries and
                keys are not of one sequence of the length that the maps are made of.
        """
        if call.q.ndim != 4:
            raise ValueError(
                f"{self.name}: expected q [B, H, L, D], got shape {list(call.q.shape)}; give "
                "scaled_dot_product_attention a dimension of batch and one of heads"
            )
        self.check_lengths(call.q.shape[2], call.k.shape[2])
        self.causal = call.causal
        if self._is_watched:
            self._watching = False
            self._watched = (_scaled(call), _widened(call.k), call.key_padding_mask)
        if self.pattern is None:
            if self._is_to_be_rehearsed:
                self._note(call)
            return dense()
        # Drawn on the host from torch's own generator: reproducible by torch.manual_seed.
        seed = int(torch.randint(2**31, ())) if call.dropout_p > 0 else None
        return join(self._sparse(call, self.pattern, seed))

    def check_lengths(self, length: int, key_length: int) -> None:
        """Look at every forward pass, also where the model's own attention will do.

        Raises:
            ValueError: If queries and keys are not of one sequence, if no pattern of this training
                will serve its length, or if the layer is a copy that ends with the step.
        """
        if getattr(self, "_is_replica", False):
            raise ValueError(
                f"{self.name}: nn.DataParallel copies the model at every step, and the maps of a "
                "copy are lost; use DistributedDataParallel (torchrun), or one device"
            )
        if length != key_length:
            raise ValueError(
                f"{self.name}: expected as many keys as queries, {length}, got {key_length}; "
                "SPION sparsifies self-attention over whole sequences: leave cross-attention out "
                "of `modules`, and generate without a cache"
            )
        if self.pattern is not None:
            return
        if self.length is None:
            if self.training:
                self.length = length
        elif length > self.length or (self.training and length < self.length):
            expected = f"{self.length}" if self.training else f"at most {self.length}"
            raise ValueError(
                f"{self.name}: expected sequences of {expected} tokens as in the first training "
                f"step, got {length}; a pattern is made for one length: pad all sequences of "
                "training to the longest"
            )

    def check_used(self) -> None:
        """Look at a dense layer after an optimiser step; rehearse what a compiled model left.

        Raises:
            RuntimeError: If the layer has never been called in training mode.
            ValueError: If block-sparse attention cannot do what the layer is called for.
        """
        if self.length is None:
            raise self._unused()
        call, self._unrehearsed = self._unrehearsed, None
        if call is not None:
            self._rehearse(call)

    def take_map(self) -> Tensor:
        """Return the watched forward pass's map, in float32 at least; see ``SpionAttention``.

        Raises:
            RuntimeError: If the layer was not called in training mode since it was watched.
        """
        if self._watched is None:
            raise self._unused()
        return super().take_map()

    def _unused(self) -> RuntimeError:
        return RuntimeError(
            f"{self.name}: no forward pass in training mode since the last step(); call step() "
            "after every optimiser step of the converted model, the very one that is trained"
        )

    def _sparse(self, call: Call, pattern: BlockPattern, seed: int | None) -> Tensor:
        q, k, v = (with_contiguous_rows(x) for x in call[:3])
        return block_attention(
            q,
            k,
            v,
            pattern,
            pruned=self.pruned,
            causal=call.causal,
            key_padding_mask=call.key_padding_mask,
            scale=call.scale,
            dropout_p=call.dropout_p,
            dropout_seed=seed,
        )

    def _note(self, call: Call) -> None:
        self._rehearsed = (*self._rehearsed, self.training)
        q, k, v = (x.detach() for x in call[:3])
        call = call._replace(q=q, k=k, v=v)
        if torch.compiler.is_compiling():
            # A pattern is made from values, which would break the graph; see ``check_used``.
            self._unrehearsed = call
        else:
            self._rehearse(call)

    @torch.no_grad()
    def _rehearse(self, call: Call) -> None:
        nb = -(-call.q.shape[2] // self._size)
        diagonal = torch.eye(nb, dtype=torch.bool, device=call.q.device)
        try:
            self._sparse(call, BlockPattern.from_mask(diagonal, self._size), seed=0)
        except ValueError as error:
            raise ValueError(f"{self.name}: the sparse phase cannot do this: {error}") from error


def _widened(x: Tensor) -> Tensor:
    """Return ``x`` without its history, in float32 where it has 16 bits: maps are averages."""
    x = with_contiguous_rows(x.detach())
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _scaled(call: Call) -> Tensor:
    """Return queries whose scores under the usual scale are those of the call."""
    q = _widened(call.q)
    return q if call.scale is None else q * (call.scale * math.sqrt(q.shape[3]))
