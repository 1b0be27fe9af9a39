"""A method as the gate calls it in a precision: as in training, under autocast."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from spion_bench.model.attention import Attention
from spion_bench.passes.gate.oracle import AttentionFunction, GateSetup
from spion_bench.train.precision import Arithmetic


def in_precision(
    attention: AttentionFunction | Attention, setup: GateSetup
) -> tuple[AttentionFunction, GateSetup]:
    """Return ``attention`` as a model calls it in ``setup.precision``, and what it is held to.

    The setup's dtype becomes the one by which errors are judged. TF32 has as many bits as float16,
    so it is judged as that; the range of its inputs is then not tested.
    """
    arithmetic = Arithmetic(setup.precision, torch.device(setup.device))

    def attend(q: Tensor, k: Tensor, v: Tensor, key_padding_mask: Tensor | None) -> Tensor:
        dtype = q.dtype
        with arithmetic.autocast():
            q, k, v = (x.to(arithmetic.dtype) for x in (q, k, v))
            out: Tensor = attention(q, k, v, key_padding_mask)
        return out.to(dtype)

    judged = torch.float16 if setup.precision == "tf32" else arithmetic.dtype
    return attend, replace(setup, dtype=judged)
