"""The attention protocol: what every method of the suite looks like to the encoder.

The same encoder, projections, heads and parameter count serve every method, so only
attention differs. A method is a module that maps ``q k v`` to the attention output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spion_bench.block_pattern import BlockPattern
from spion_bench.literals import Implementation, Pruned
from spion_bench.ops import attention_map, block_attention


class UnsupportedError(RuntimeError):
    """The method or the machine cannot do what the cell asks; the message says why."""


class UnavailableError(UnsupportedError):
    """This machine lacks what the cell needs: a package, a device, a compiler, a permission.

    Unlike other UnsupportedErrors, it may not occur again at the next try.
    """


FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Capabilities:
    """What a method can do; the harness records anything else as ``unsupported``.

    Attributes:
        devices: Device types it runs on.
        dtypes: Input dtypes it accepts.
        backward: Whether it can train.
        forward_only_devices: Device types on which it has no backward pass even so.
        min_length: Shortest sequence it accepts.
        exact: Whether it computes softmax attention over its mask without approximation.
        weights_sum_to_one: Whether the weights of each row sum to 1, as those of a softmax do.
        padded_rows: Whether rows of padding have an output as other rows do; where not, only the
            rows of real tokens are compared with the oracle.
        computes_in: The dtype it computes in whatever its inputs are, or None: in theirs.
    """

    devices: tuple[str, ...] = ("cpu", "cuda")
    dtypes: tuple[torch.dtype, ...] = FLOATS
    backward: bool = True
    forward_only_devices: tuple[str, ...] = ()
    min_length: int = 1
    exact: bool = True
    weights_sum_to_one: bool = True
    padded_rows: bool = True
    computes_in: torch.dtype | None = None

    def trains_on(self, device: str) -> bool:
        """Return whether the method has a backward pass on that device type."""
        return self.backward and device not in self.forward_only_devices


class Attention(nn.Module):
    """Base of every attention method.

    ``forward(q, k, v, key_padding_mask)`` takes ``q k v: [B, H, L, D]`` and an optional bool
    ``[B, L]`` mask (True = real token) and returns ``[B, H, L, D]``. Subclasses set
    ``capabilities`` and ``caveats``; caveats are printed next to the method's numbers.
    """

    capabilities: ClassVar[Capabilities] = Capabilities()
    caveats: ClassVar[tuple[str, ...]] = ()

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, key_padding_mask: Tensor | None = None
    ) -> Tensor:
        """Return the attention output, ``[B, H, L, D]``."""
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    def refusal(self, device: str) -> str | None:
        """Return the method's own reason why it cannot run on a device type, if it has one."""
        return None

    def details(self) -> dict[str, str]:
        """Return what the method chose by itself while it ran, for the record."""
        return {}

    def token_mask(self, length: int, heads: int) -> Tensor | None:
        """Return which keys (columns) each query (row) attends to; None: every query to all.

        The gate holds an exact method to this mask.

        Args:
            length: Sequence length L in tokens.
            heads: Number of heads H.

        Returns:
            bool ``[L, L]``, or ``[H, L, L]`` where heads differ, or None.
        """
        return None

    def n_scores(self, length: int, heads: int) -> int:
        """Return the scores that one sequence needs, all heads together."""
        mask = self.token_mask(length, heads)
        if mask is None:
            return heads * length * length
        return int(mask.sum()) * (1 if mask.ndim == 3 else heads)


def dense_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    key_padding_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """Exact dense attention through ``scaled_dot_product_attention``; padded keys get weight 0.

    Heads of ``k`` and ``v`` may be fewer, as in ``block_attention``.
    """
    mask = None if key_padding_mask is None else key_padding_mask[:, None, None, :]
    n_before = k.shape[2] - q.shape[2]  # keys of a cache: the last query sees the last key
    if causal and (mask is not None or n_before):
        seen = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).tril(n_before)
        mask = seen if mask is None else mask & seen
    return F.scaled_dot_product_attention(
        q,
        k,
        v,
        attn_mask=mask,
        dropout_p=dropout_p,
        is_causal=causal and mask is None,
        scale=scale,
        enable_gqa=q.shape[1] != k.shape[1],
    )


def _causal_map(q: Tensor, k: Tensor, key_padding_mask: Tensor | None) -> Tensor:
    """Return what ``attention_map`` does where keys after their query do not exist, ``[L, L]``."""
    batch, heads, length, _ = q.shape
    total = q.new_zeros(length, length)
    unit_values = torch.eye(length, dtype=q.dtype, device=q.device)[None, None]
    for b in range(batch):  # one matrix at a time
        mask = None if key_padding_mask is None else key_padding_mask[b : b + 1]
        for h in range(heads):
            one = q[b, h][None, None], k[b, h][None, None], unit_values
            total += dense_attention(*one, mask, causal=True)[0, 0]
    return total / (batch * heads)


# The buffers in which a layer's pattern is moved, saved and loaded; None in the dense phase.
PATTERN_STATE = ("block_size", "crow_indices", "col_indices")
# More of them, None as well where the pattern is square or one for all heads.
SHAPE_STATE = ("groups", "nb_keys")


class SpionAttention(Attention):
    """SPION's attention: dense until it is given a pattern, block-sparse afterwards.

    The pattern is state of the module, see ``PATTERN_STATE``: it follows ``.to()``, and a state
    dict of a sparse layer makes the layer that loads it sparse. A state dict without a pattern,
    loaded into a sparse layer, lacks these keys: ``load_state_dict`` raises, or returns them where
    it is not strict, and the layer keeps its pattern.

    Keys and values may have fewer heads than queries, sequences be shorter than the pattern, and
    patterns differ between groups of heads, as in ``ops.block_attention``.

    Attributes:
        pruned: What a pruned score counts as, ``"zero_logit"`` (the published code: a score of 0
            in the denominator) or ``"minus_inf"``.
        implementation: ``"fused"`` or ``"pipeline"``, see ``ops.block_attention``.
        causal: Whether queries see no key after them, in either phase. Blocks above the diagonal
            are left out of a pattern that the layer is given.
    """

    block_size: Tensor | None
    crow_indices: Tensor | None
    col_indices: Tensor | None
    groups: Tensor | None
    nb_keys: Tensor | None
    _place: Tensor

    def __init__(
        self,
        pruned: Pruned,
        pattern: BlockPattern | None = None,
        implementation: Implementation = "fused",
        causal: bool = False,
    ) -> None:
        super().__init__()
        self.pruned: Pruned = pruned
        self.implementation: Implementation = implementation
        self.causal = causal
        for name in PATTERN_STATE + SHAPE_STATE:
            self.register_buffer(name, None)
        # Nothing is stored in it; it knows where the module lies.
        self.register_buffer("_place", torch.empty(0), persistent=False)
        self.pattern = pattern
        self._watching = False
        self._watched: tuple[Tensor, Tensor, Tensor | None] | None = None

    @property
    def pattern(self) -> BlockPattern | None:
        """The layer's pattern, or None in the dense phase."""
        return self._pattern

    @pattern.setter
    def pattern(self, pattern: BlockPattern | None) -> None:
        if pattern is not None and self.causal:
            pattern = pattern.lower_triangle()
        self._pattern = pattern
        for name in PATTERN_STATE + SHAPE_STATE:
            setattr(self, name, None)
        if pattern is None:
            return

        def number(value: int) -> Tensor:
            return torch.tensor(value, device=pattern.device)

        self.crow_indices, self.col_indices = pattern.crow_indices, pattern.col_indices
        self.block_size = number(pattern.block_size)
        self.groups = number(pattern.groups) if pattern.groups > 1 else None
        self.nb_keys = number(pattern.nb_keys) if pattern.nb_keys != pattern.nb else None

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self.pattern is not None:
            self.pattern = self.pattern.to(self._place.device)
        return self

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Tensor], prefix: str, *arguments: Any
    ) -> None:
        found = [state_dict.get(f"{prefix}{name}") for name in PATTERN_STATE]
        if all(value is not None for value in found):
            size, crow, col = found
            groups = int(state_dict.get(f"{prefix}groups", 1))
            nb_keys = int(state_dict.get(f"{prefix}nb_keys", 0))
            try:
                pattern = BlockPattern(int(size), crow, col, groups, nb_keys)  # type: ignore[arg-type]
                self.pattern = pattern.to(self._place.device)
            except ValueError as error:
                error_messages = arguments[-1]
                error_messages.append(f"{prefix}pattern: {error}")
                return
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    def watch(self) -> None:
        """Make the next forward pass keep what its attention map is computed from."""
        self._watching = True

    def take_map(self) -> Tensor:
        """Return the watched forward pass's attention map, averaged over batch and heads, once.

        The ``[L, L]`` map is computed here rather than in the forward pass, so its cost can be
        separated from that of a training step.

        Raises:
            RuntimeError: If no forward pass was watched since the last call.
        """
        if self._watched is None:
            raise RuntimeError("no forward pass was watched; call watch() before the forward")
        (q, k, key_padding_mask), self._watched = self._watched, None
        if q.dtype in (torch.bfloat16, torch.float16):  # under autocast
            q, k = q.float(), k.float()
        k = k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)
        if self.causal:
            return _causal_map(q, k, key_padding_mask)
        return attention_map(q, k, key_padding_mask=key_padding_mask)

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, key_padding_mask: Tensor | None = None
    ) -> Tensor:
        """Attend densely without a pattern, over the kept blocks with one."""
        if self._watching:
            self._watching = False
            # For two-tower tasks the encoder runs twice; the first document's map is used, as in
            # the published code.
            self._watched = (q.detach(), k.detach(), key_padding_mask)
        if self.pattern is None:
            return dense_attention(q, k, v, key_padding_mask, causal=self.causal)
        return block_attention(
            q,
            k,
            v,
            self.pattern,
            pruned=self.pruned,
            causal=self.causal,
            key_padding_mask=key_padding_mask,
            implementation=self.implementation,
        )
