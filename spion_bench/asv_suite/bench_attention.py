"""Attention over the kept blocks: the fused operator forward and backward, and the pipeline."""

from __future__ import annotations

import torch

from spion_bench import block_attention

from .cases import ATTENTION
from .inputs import attention_inputs, attention_pattern


class Attention:
    """``block_attention`` at four shapes."""

    params = (list(ATTENTION),)
    param_names = ("case",)

    def setup(self, case: str) -> None:
        """Draw the inputs, and run forward once for the backward pass."""
        shape = ATTENTION[case]
        self.q, self.k, self.v, self.dout = attention_inputs(shape)
        self.pattern = attention_pattern(shape)
        q, k, v = self.leaves = [x.clone().requires_grad_() for x in (self.q, self.k, self.v)]
        self.out = block_attention(q, k, v, self.pattern, pruned="minus_inf")

    def time_forward(self, case: str) -> None:
        """Time the forward pass."""
        block_attention(self.q, self.k, self.v, self.pattern, pruned="minus_inf")

    def time_backward(self, case: str) -> None:
        """Time the backward pass alone."""
        torch.autograd.grad(self.out, self.leaves, self.dout, retain_graph=True)


class Pipeline:
    """The paper's pipeline of SDDMM, softmax and SpMM."""

    params = (["attention_4096"],)
    param_names = ("case",)

    def setup(self, case: str) -> None:
        """Draw the inputs."""
        shape = ATTENTION[case]
        *self.leaves, self.dout = attention_inputs(shape)
        self.pattern = attention_pattern(shape)
        for leaf in self.leaves:
            leaf.requires_grad_()

    def time_pipeline(self, case: str) -> None:
        """Time a forward and a backward pass."""
        q, k, v = self.leaves
        out = block_attention(q, k, v, self.pattern, pruned="minus_inf", implementation="pipeline")
        torch.autograd.grad(out, self.leaves, self.dout)
