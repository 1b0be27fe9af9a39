"""How the suite runs Hugging Face's attention modules: as they are, on the suite's q, k and v.

The modules project their input to q, k and v themselves. The suite's encoder has done that
already, with the same number of parameters for every method, so here each projection is exchanged
for a stand-in without parameters that returns the suite's tensor. Everything after the projections
is the library's own code.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from baselines.shared.third_party import rng_fence
from spion_bench.model.attention import Attention

EXTRA = "hf"


class Given(nn.Module):
    """Stands where a module has a projection: returns the tensor it holds, once, and lets it go."""

    def __init__(self, tensor: Tensor) -> None:
        super().__init__()
        self._held: Tensor | None = tensor

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Return the tensor; ``hidden_states`` is what the projection would have projected."""
        held, self._held = self._held, None
        assert held is not None, "each projection is used once in a forward pass"
        return held


class HuggingFaceAttention(Attention):
    """Base of the ``*_hf`` methods; subclasses build the module and call it.

    The module is built at the first forward pass, when the number of heads, their width and the
    length are known, and again if one of them changes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.module: Any = None
        self._built_for: tuple[int, int, int] | None = None

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, key_padding_mask: Tensor | None = None
    ) -> Tensor:
        """Return the module's attention, ``[B, H, L, D]``.

        Raises:
            UnsupportedError: If the module cannot compute this length, with the reason.
        """
        heads, length, head_dim = q.shape[1:]
        self.check_length(length)
        with rng_fence():
            if self._built_for != (heads, length, head_dim):
                module = self.build(heads, length, head_dim)
                self.module = module.train(self.training).to(q.device)
                self._built_for = (heads, length, head_dim)
            out = self.attend(merge_heads(q), merge_heads(k), merge_heads(v), key_padding_mask)
        return out.reshape(*out.shape[:2], heads, head_dim).transpose(1, 2)

    def check_length(self, length: int) -> None:
        """Raise UnsupportedError if the module cannot compute sequences of ``length``."""
        raise NotImplementedError(f"{type(self).__name__} must define check_length")

    def build(self, heads: int, length: int, head_dim: int) -> nn.Module:
        """Return the library's module, without parameters of its own."""
        raise NotImplementedError(f"{type(self).__name__} must define build")

    def attend(self, q: Tensor, k: Tensor, v: Tensor, key_padding_mask: Tensor | None) -> Tensor:
        """Call the module on ``q k v`` of shape ``[B, L, H * D]``; return the same shape."""
        raise NotImplementedError(f"{type(self).__name__} must define attend")


def merge_heads(x: Tensor) -> Tensor:
    """Return ``[B, H, L, D]`` as ``[B, L, H * D]``, a view of what the encoder split."""
    return x.transpose(1, 2).flatten(2)
