"""Exact attention through xFormers' memory-efficient operators, dense or in a local window.

Rabe and Staats, "Self-attention Does Not Need O(n^2) Memory", 2021 (arXiv 2112.05682), in the
kernels that ``xformers.ops.memory_efficient_attention`` of xFormers 0.0.35 chooses from: cutlass,
FlashAttention 2 and 3. All of them need a CUDA device. xFormers has no block-sparse mask: this
is a yardstick of speed and not a sparse competitor.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from baselines.shared.band import window_mask
from baselines.shared.third_party import load_optional, rng_fence
from spion_bench.model.attention import Attention, Capabilities, UnsupportedError

# Added to the scores of padded keys. Finite: a sequence of padding only gives no NaN. Within
# float16. Its weight next to any real key is exp(-30000) = 0 in every dtype.
PADDING_SCORE = -30_000.0


class XformersFmha(Attention):
    """Exact dense attention; xFormers picks the operator, which ``details`` names."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        devices=("cuda",), dtypes=(torch.float32, torch.bfloat16, torch.float16)
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "dense: a yardstick of speed; xFormers has no block-sparse mask",
        "float32 runs on its cutlass kernels only, which need compute capability 9.0 or less",
    )
    operators: ClassVar[set[str]] = set()

    def __init__(self) -> None:
        super().__init__()
        self._fmha = load_optional("xformers.ops.fmha", extra="xformers")

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, key_padding_mask: Tensor | None = None
    ) -> Tensor:
        """Return dense attention, ``[B, H, L, D]``; a sequence of padding only gives zeros.

        Raises:
            UnsupportedError: If xFormers has no operator for these inputs, with its own reason.
        """
        bias = None if key_padding_mask is None else padding_bias(q, key_padding_mask)
        out = self.attend(q, k, v, bias)
        if key_padding_mask is None:
            return out
        return out.masked_fill(~key_padding_mask.any(dim=1)[:, None, None, None], 0)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, bias: Any) -> Tensor:
        """Run xFormers on ``q k v`` and a bias that it knows; remember which operator ran."""
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))  # it takes [B, L, H, D], any strides
        inputs = self._fmha.Inputs(query=q, key=k, value=v, attn_bias=bias)
        needs_gradient = any(x.requires_grad for x in (q, k, v))
        try:
            forward = self._fmha._dispatch_fw(inputs, needs_gradient)
            backward = self._fmha._dispatch_bw(inputs, None) if needs_gradient else None
        except NotImplementedError as error:
            raise UnsupportedError(" ".join(str(error).split())) from error
        self.operators.update(label(op.NAME) for op in (forward, backward) if op is not None)
        with rng_fence():
            out: Tensor = self._fmha.memory_efficient_attention(
                q, k, v, attn_bias=bias, op=(forward, backward)
            )
        return out.transpose(1, 2)

    def refusal(self, device: str) -> str | None:
        """Return xFormers' own reason why it cannot run on a device type."""
        q = torch.zeros(1, 1, 8, 8, dtype=self.capabilities.dtypes[0], device=device)
        try:
            self.attend(q, q, q, self.example_bias())
        except UnsupportedError as error:
            return str(error)
        return None

    def example_bias(self) -> Any:
        """Return the bias of a sequence without padding."""
        return None

    def details(self) -> dict[str, str]:
        """Return the operators that ran in this process."""
        return {"operator": ", ".join(sorted(self.operators))} if self.operators else {}


class XformersWindow(XformersFmha):
    """Exact attention to a local window, computed in 16 bits whatever the inputs are.

    Args:
        window: Tokens of the window, half on either side, and the token itself
            besides; even.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        devices=("cuda",),
        dtypes=(torch.bfloat16, torch.float16, torch.float32),
        computes_in=torch.bfloat16,
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "computes in bfloat16: the window exists in FlashAttention kernels only, which have no "
        "float32",
        "cannot mask padding: its kernels take a window or a mask, not both",
    )

    def __init__(self, window: int = 512) -> None:
        super().__init__()
        if window < 2 or window % 2:
            raise ValueError(f"window: expected an even number of at least 2, got {window}")
        self.window = window

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, key_padding_mask: Tensor | None = None
    ) -> Tensor:
        """Return window attention, ``[B, H, L, D]``, in the inputs' dtype.

        Raises:
            UnsupportedError: If there is padding, or xFormers has no operator for these inputs.
        """
        if key_padding_mask is not None:
            raise UnsupportedError(
                "xFormers has no operator with a window and a padding mask; use sequences without "
                "padding"
            )
        half = torch.bfloat16 if q.dtype == torch.float32 else q.dtype
        return self.attend(q.to(half), k.to(half), v.to(half), self.example_bias()).to(q.dtype)

    def token_mask(self, length: int, heads: int) -> Tensor:
        """Return the band of the window, bool ``[L, L]``."""
        return window_mask(length, self.window // 2)

    def example_bias(self) -> Any:
        """Return the window."""
        side = self.window // 2
        return self._fmha.attn_bias.LocalAttentionFromBottomRightMask(side, side)


def label(operator: str) -> str:
    """Return an operator's name, saying so where xFormers hands over to torch's own kernel.

    Builds without its own kernels do; xFormers ends the names of these operators in ``-pt``.
    """
    return f"{operator} (PyTorch's)" if operator.endswith("-pt") else operator


def padding_bias(q: Tensor, key_padding_mask: Tensor) -> Tensor:
    """Return the mask, bool ``[B, L]``, as a bias ``[B, H, L, L]`` that stores ``B * L``."""
    batch, heads, length, _ = q.shape
    bias = q.new_zeros(batch, length).masked_fill(~key_padding_mask, PADDING_SCORE)
    return bias[:, None, None, :].expand(batch, heads, length, length)
