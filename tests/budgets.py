"""How far a kernel may be from the float64 oracle, by dtype, each bound with its reason.

The budget of a result is derived from data: twice the error that the plain PyTorch reference makes
in the kernel's own dtype, plus a rounding band relative to the largest value. Both errors are
maxima over the tensor. The factor 2 allows another order of summation; the band keeps a
reference that happens to be exact from demanding exactness.
"""

import math

import torch

# In units of the dtype's epsilon times the largest absolute value of the oracle.
ROUNDING_BAND = {
    # A score of size 10 carries an absolute error of about 10 eps into exp; sums of up to a few
    # hundred terms add a few more.
    torch.float32: 16.0,
    # Here the oracle has the kernel's own precision: the reference's error is 0 and the band has to
    # cover both sides' rounding.
    torch.float64: 32.0,
    # Everything between the inputs and the results is float32; results are rounded once, and the
    # backward pass starts from the rounded output.
    torch.bfloat16: 2.0,
    torch.float16: 2.0,
}
# In the same units, for scores of size 1; larger scores than the band was made for grow it. The
# backward pass takes exp(score - lse) again, and an error of that exponent is a relative error of
# the probability. Five roundings, each of at most eps / 2 of a score or of a log-sum-exp, which is
# as large: the scaled query and the sum; lse as it is stored, and two of its change of base. The
# reference keeps its probabilities, so its own error does not contain the last three. In float64
# both sides round. That the excess is rounding shows where the same kernels run in float64: it
# shrinks by 2^29 as eps does.
SCORE_BAND = {torch.float32: 2.5, torch.float64: 5.0}


def assert_within_budget(name, got, reference, oracle, *, largest_score=0.0):
    """Compare a kernel's result with the oracle.

    ``reference`` is the reference's result in the dtype of ``got``, ``oracle`` its float64 result.
    Infinities and NaN must be at the same places in ``got`` and ``oracle``.
    """
    assert got.shape == oracle.shape, f"{name}: shape {got.shape}, expected {oracle.shape}"
    assert got.dtype == reference.dtype, f"{name}: dtype {got.dtype}, expected {reference.dtype}"
    finite = oracle.isfinite()
    torch.testing.assert_close(
        got[~finite].double(), oracle[~finite], rtol=0, atol=0, equal_nan=True, msg=f"{name}: inf"
    )
    if not finite.any():
        return
    expected = oracle[finite]
    error = (got[finite].double() - expected).abs().max().item()
    reference_error = (reference[finite].double() - expected).abs().max().item()
    units = max(ROUNDING_BAND[got.dtype], SCORE_BAND.get(got.dtype, 0.0) * largest_score)
    band = units * torch.finfo(got.dtype).eps * expected.abs().max().item()
    budget = 2 * reference_error + band
    assert not math.isnan(error), f"{name}: NaN where the oracle is finite"
    assert error <= budget, (
        f"{name}: error {error:.3g} exceeds {budget:.3g} "
        f"(2 x the reference's {reference_error:.3g} + {band:.3g})"
    )
