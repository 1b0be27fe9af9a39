"""The encoder under ``torch.compile``: compiled before anything is measured, checked, or refused.

One graph from token ids to the pooled vector, forward and backward; the head, the loss and the
optimiser stay as they are. The seed of dropout is an input of the graph, so it compiles once.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from spion_bench.model.attention import UnavailableError, UnsupportedError
from spion_bench.model.classifier import Classifier
from spion_bench.passes.gate.oracle import BAND_ROUNDINGS, GateResult
from spion_bench.passes.subject import Subject
from spion_bench.records import GateError
from spion_bench.train.data import to_batch

BACKEND = "inductor"
CHECKED_EXAMPLES = 2
SEED = "L['seed']"  # as the tracer calls that argument


def compile_encoder(model: Classifier, run: Callable[[], object], backend: str = BACKEND) -> float:
    """Replace the encoder's computation with a compiled one, and run it until it is compiled.

    Args:
        model: The model to change.
        run: Runs all that is going to be measured, so all of it is compiled.
        backend: What compiles the graphs.

    Returns:
        The seconds that it took.

    Raises:
        UnsupportedError: If the encoder is not one graph.
        UnavailableError: If the graph could not be compiled here.
    """
    from torch._dynamo.exc import BackendCompilerFailed, TorchDynamoException

    start = time.perf_counter()
    encoder = model.encoder
    compiled = torch.compile(encoder._encode, fullgraph=True, backend=backend)
    encoder._encode = compiled  # type: ignore[method-assign]
    try:
        # A number that is not said to vary is compiled into the graph, and each other one anew.
        with torch.compiler.config.patch(dynamic_sources=SEED):  # type: ignore[attr-defined]
            run()
    except BackendCompilerFailed as error:
        problem = _sentence("compiling the encoder failed", error.inner_exception)
        raise UnavailableError(problem) from error
    except TorchDynamoException as error:
        raise UnsupportedError(_sentence("the encoder is not one graph", error)) from error
    return time.perf_counter() - start


def check_compiled(subject: Subject, backend: str = BACKEND) -> GateResult:
    """Compare the compiled model with itself uncompiled, on two training examples.

    By the rule of all gates: logits and gradients may be off from a float64 model by twice as much
    as those of the uncompiled model are, plus a band of roundings. All three drop the same.

    Raises:
        UnsupportedError: If the method is not computed in float64, or not compiled.
    """
    if torch.float64 not in subject.example.capabilities.dtypes:
        raise UnsupportedError(
            f"{subject.cell.method.name} is not computed in float64, by which a compiled model is "
            "checked; choose compile = 'none'"
        )
    plain, compiled = _model(subject), _model(subject)
    plain.to(subject.arithmetic.device)
    compiled.to(subject.arithmetic.device)
    compile_encoder(compiled, lambda: _results(compiled, subject, is_exact=False), backend)
    exact = _results(_model(subject).double(), subject, is_exact=True)
    rounded = _results(plain, subject, is_exact=False)
    measured = _results(compiled, subject, is_exact=False)
    dtype = subject.arithmetic.dtype
    roundings = BAND_ROUNDINGS * torch.finfo(torch.float32).eps
    if dtype != torch.float32:
        roundings += torch.finfo(dtype).eps
    errors = []
    for name, want in exact.items():
        budget = 2 * _distance(rounded[name], want) + roundings * float(want.abs().max())
        error = _distance(measured[name], want)
        errors.append(GateError(name=name, error=error, budget=budget))
    return GateResult.judge(errors)


def joined(first: GateResult, second: GateResult) -> GateResult:
    """Return both results as one."""
    reasons = [result.reason for result in (first, second) if result.reason]
    return GateResult([*first.errors, *second.errors], "; ".join(reasons) or None)


def _model(subject: Subject) -> Classifier:
    torch.manual_seed(subject.cell.seed)
    return Classifier(subject.settings.model, subject.make_attention)


def _results(model: Classifier, subject: Subject, *, is_exact: bool) -> dict[str, Tensor]:
    """Return logits and all gradients of one training batch, float64 on the CPU."""
    arithmetic = subject.arithmetic
    device = torch.device("cpu") if is_exact else arithmetic.device
    tokens, labels = to_batch(subject.task.train, slice(0, CHECKED_EXAMPLES), device)
    torch.manual_seed(subject.cell.seed)
    if is_exact:
        logits = model(tokens)
    else:
        with arithmetic.autocast():
            logits = model(tokens)
    loss = F.cross_entropy(logits if is_exact else logits.float(), labels)
    found = torch.autograd.grad(loss, list(model.parameters()), materialize_grads=True)
    gradients = torch.cat([gradient.flatten() for gradient in found])
    both = {"compiled_logits": logits, "compiled_gradients": gradients}
    return {name: x.detach().to(device="cpu", dtype=torch.float64) for name, x in both.items()}


def _distance(x: Tensor, y: Tensor) -> float:
    return float((x - y).abs().max())


def _sentence(what: str, error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"torch.compile: {what}: {type(error).__name__}: {lines[0] if lines else 'no reason'}"
