"""The gate of methods that are not exact: there is no oracle, but there are properties.

Whatever it leaves out, attention takes weighted sums of values, with weights that the values do not
influence, and that sum to 1 unless the method says otherwise; padding counts nowhere; the same
inputs give the same output; and the global random state does not change. A method that is not exact
is checked for these, and its record says that it is not exact.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from spion_bench.model.attention import Attention
from spion_bench.passes.gate.oracle import BAND_ROUNDINGS, GateResult, GateSetup, draw_inputs
from spion_bench.passes.gate.precision import in_precision
from spion_bench.records import GateError


def check_properties(attention: Attention, setup: GateSetup) -> GateResult:
    """Check the properties of a method that is not exact; see ``check_own_mask``.

    The errors are named ``weights_sum`` (values of 1 give 1, where weights sum to 1), ``repeat``
    (the same call twice), ``padding`` (other contents at padding, if the shape has any) and ``dv``
    (the output is linear in the values, so its gradient is known: ``<dout, A v'> = <dv, v'>``).
    """
    called, setup = in_precision(attention, setup)
    inputs, mask = draw_inputs(setup)
    q, k, v, dout = (x.to(device=setup.device, dtype=setup.dtype) for x in inputs)
    mask = None if mask is None else mask.to(setup.device)
    real = torch.ones_like(q, dtype=torch.bool) if mask is None else mask[:, None, :, None]

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return torch.where(real, called(q, k, v, mask), 0)

    state = torch.get_rng_state()
    out = attend(q, k, v).detach()  # a method may have parameters
    kept_state = torch.equal(state, torch.get_rng_state())
    differences = {"repeat": attend(q, k, v) - out}
    if attention.capabilities.weights_sum_to_one:
        differences["weights_sum"] = torch.where(real, attend(q, k, torch.ones_like(v)) - 1, 0)
    if mask is not None:
        differences["padding"] = attend(*(_other_padding(x, real) for x in (q, k, v))) - out
    scale = float(torch.cat([out.flatten(), out.new_ones(1)]).abs().max())
    budget = BAND_ROUNDINGS * torch.finfo(setup.dtype).eps * scale
    errors = {name: float(x.detach().abs().max()) for name, x in differences.items()}
    budgets = dict.fromkeys(errors, budget)
    failures = [] if kept_state else ["it changes torch's global random state"]
    if not setup.forward_only:
        gradients = _gradients(attend, q, k, v, dout)
        failures += [f"{name} is not finite" for name, x in gradients.items() if not _finite(x)]
        errors["dv"], budgets["dv"] = _transpose_error(attend, q, k, v, dout, gradients["dv"])
    found = [
        GateError(name=name, error=error, budget=budgets[name]) for name, error in errors.items()
    ]
    return GateResult.judge(found, failures)


def _other_padding(x: Tensor, real: Tensor) -> Tensor:
    return torch.where(real, x, 1 - 2 * x)


def _gradients(
    attend: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, dout: Tensor
) -> dict[str, Tensor]:
    """Return dq, dk and dv; a method that shares q and k may leave k out."""
    q, k, v = (x.clone().requires_grad_() for x in (q, k, v))
    out = attend(q, k, v)
    grads = torch.autograd.grad(out, (q, k, v), dout, allow_unused=True)
    named = zip(("dq", "dk", "dv"), grads, (q, k, v), strict=True)
    return {name: torch.zeros_like(x) if grad is None else grad for name, grad, x in named}


def _transpose_error(
    attend: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, dout: Tensor, dv: Tensor
) -> tuple[float, float]:
    """Return ``|<dout, A v'> - <dv, v'>|`` for other values ``v'``, and what is allowed."""
    other = v.roll(1, dims=-1)
    there = (dout * attend(q, k, other).detach()).double()
    back = (dv * other).double()
    # Independent rounding errors: their sum grows as the root of the sum of squares.
    size = float(torch.sqrt(there.square().sum() + back.square().sum()))
    budget = BAND_ROUNDINGS * torch.finfo(v.dtype).eps * size
    return float((there.sum() - back.sum()).abs()), budget


def _finite(x: Tensor) -> bool:
    return bool(torch.isfinite(x).all())
