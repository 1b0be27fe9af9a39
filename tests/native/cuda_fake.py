"""``python -m tests.native.cuda_fake [method ...]``: every method on fake CUDA tensors, no GPU.

Needs a CUDA build of torch for the backward passes (``nox -s cuda_fake``); the tests do the forward
passes with any build. For each method of the registry, on its own as the gate and the timing of
attention call it, and in a classifier as training does, dense and with SPION's patterns:

- every tensor is on the GPU, in forward and backward pass, and so are the gradients of all weights
- what the method keeps for later passes is on the GPU
- a second forward pass neither makes nor reads a tensor on the host

For SPION's methods the attention map and the stages of pattern generation follow.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.flex_attention import AuxOutput

from baselines.block.patterned import PatternedAttention
from baselines.flex import attention as flex
from spion_bench.model.attention import Attention, SpionAttention, UnavailableError
from spion_bench.model.classifier import Classifier
from spion_bench.model.encoder import Encoder
from spion_bench.ops import average_pool, diagonal_conv, flood_fill
from spion_bench.passes.attention import attention_maker
from spion_bench.passes.synthetic import band_and_stripes
from spion_bench.pattern.generate import top_k_blocks
from spion_bench.suite.method import Method
from spion_bench.suite.methods import METHODS
from spion_bench.tasks import load_config
from tests.native.fake_tensors import CUDA, HostWatch, backward, fake_cuda, held_tensors, on_cuda

TO = nn.Module.to
# A length that every method accepts; the other sizes only have to be small.
LENGTH = 1024
CONFIG = load_config("image")
MODEL = CONFIG.model.model_copy(update={"layers": 1, "max_length": LENGTH})
# As they are: they make masks on the host in every pass.
THIRD_PARTY = ("transformers",)
# Counts the padding on the host in every pass (a caveat of the method), so it is run without any.
READS_PADDING = ("reformer_hf",)


def check_method(method: Method, dtype: torch.dtype, *, with_gradients: bool) -> list[str]:
    """Return what is wrong with a method on a GPU.

    Args:
        method: The method.
        dtype: Of q, k and v; the classifier's weights are float32 in any case.
        with_gradients: Whether this build of torch records gradients of fake CUDA tensors.

    Raises:
        UnavailableError: If a package is missing.
    """
    info = method.info(CONFIG.spion, LENGTH)
    padded = method.name not in READS_PADDING
    model = MODEL.model_copy(update={"mask_attention": padded})
    patterns = [band_and_stripes(LENGTH, CONFIG.spion.block_size, 40)]
    problems = []
    for state in (patterns, None) if method.variant else (None,):
        make = attention_maker(info, CONFIG.spion, state)
        where = "" if state is None else "with a pattern: "
        with fake_cuda(), _as_on_a_gpu(), torch.set_grad_enabled(with_gradients):
            found = _alone(make(0), dtype, padded, method.native in THIRD_PARTY)
            found += _in_a_model(Classifier(model, make))
        problems += [f"{where}{problem}" for problem in found]
    return problems


def _alone(
    attention: Attention, dtype: torch.dtype, padded: bool, is_third_party: bool
) -> list[str]:
    attention = _ready(attention)
    size = (2, MODEL.heads, LENGTH, MODEL.head_dim)
    leaves = [torch.empty(size, dtype=dtype, device=CUDA).requires_grad_() for _ in range(3)]
    mask = torch.ones(2, LENGTH, dtype=torch.bool, device=CUDA)
    problems = []
    for key_padding_mask in (None, mask) if padded else (None,):
        out = attention(*leaves, key_padding_mask)
        with HostWatch() as watch:
            out = attention(*leaves, key_padding_mask)
        if watch.found and not is_third_party:
            problems.append(f"the second forward pass is on the host in {sorted(set(watch.found))}")
        problems += _differences("output", out, leaves[0])
        problems += _gradient_problems(out, leaves)
    kept = [tensor for tensor in held_tensors(attention) if tensor.device != CUDA]
    return [*problems, *(f"keeps {list(tensor.shape)} on {tensor.device}" for tensor in kept)]


def _in_a_model(model: Classifier) -> list[str]:
    for layer in model.encoder.layers:
        layer.attention = _ready(layer.attention)
    model.to(CUDA)
    tokens = torch.ones(2, LENGTH, dtype=torch.int64, device=CUDA)
    attention = model.attention_layers()[0]
    watches = isinstance(attention, SpionAttention) and attention.pattern is None
    if watches:
        attention.watch()
    loss = F.cross_entropy(model(tokens), tokens[:, 0])
    problems = _gradient_problems(loss, list(model.parameters()))
    if watches:
        problems += _pattern_problems(attention.take_map())
    return problems


def _pattern_problems(attention_map: Tensor) -> list[str]:
    """Check the stages of pattern generation; what chooses by values has no fake values to see."""
    pooled = average_pool(diagonal_conv(attention_map, 31), CONFIG.spion.block_size)
    stages = {
        "attention map": attention_map,
        "pooled map": pooled,
        "flood fill": flood_fill(pooled, 0.5),
        "largest blocks": top_k_blocks(pooled, 0.1),
    }
    return [f"{name} is on {x.device}" for name, x in stages.items() if x.device != CUDA]


def _differences(name: str, found: Tensor, expected: Tensor) -> list[str]:
    def facts(x: Tensor) -> tuple[object, ...]:
        return tuple(x.shape), x.dtype, x.device

    if facts(found) == facts(expected):
        return []
    return [f"{name}: expected {facts(expected)}, got {facts(found)}"]


def _gradient_problems(out: Tensor, leaves: list[Tensor]) -> list[str]:
    if not torch.is_grad_enabled():
        return []
    gradients = backward(out, torch.ones_like(out))
    problems = []
    for leaf in leaves:
        if leaf in gradients:  # a method may ignore an input
            problems += _differences("gradient", gradients[leaf], leaf)
    return problems if gradients else ["no gradient arrives"]


def _ready(attention: Attention) -> Attention:
    """Move the attention to the GPU; block patterns are made before, as they need values."""
    if isinstance(attention, PatternedAttention):
        with torch.utils._python_dispatch._disable_current_modes(), torch.no_grad():
            q = torch.zeros(1, MODEL.heads, LENGTH, MODEL.head_dim)
            attention(q, q, q)
        return on_cuda(attention)
    return attention.to(CUDA)


def _moved(module: nn.Module, device: torch.device) -> nn.Module:
    """Move a module by its own ``to``; its weights by hand: a real one cannot become a fake one."""
    weights = [(part, part._parameters) for part in module.modules()]
    for part, _ in weights:
        part._parameters = {}
    TO(module, device)
    for part, own in weights:
        part._parameters = on_cuda(own)
    return module


@contextmanager
def _as_on_a_gpu() -> Iterator[None]:
    """Compute FlexAttention by the formula, without compiling; SDPA too where torch has no CUDA."""

    def sdpa(
        q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0
    ) -> Tensor:
        scores = q @ k.mT
        return (scores if attn_mask is None else scores.masked_fill(~attn_mask, 0)) @ v

    def flex_attention(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Any:
        batch, heads, rows = (torch.arange(n, device=q.device) for n in q.shape[:3])
        places = batch[:, None, None, None], heads[:, None, None], rows[:, None], rows
        scores = q @ k.mT
        if options["score_mod"] is not None:
            scores = options["score_mod"](scores, *places).to(q.dtype)
        scores = scores * options["block_mask"].mask_mod(*places)
        lse = scores.float().logsumexp(dim=-1)
        return (scores @ v, AuxOutput(lse=lse)) if "return_aux" in options else scores @ v

    with (
        mock.patch.object(nn.Module, "to", _moved),
        mock.patch.object(Encoder, "_draw_seed", return_value=1),  # a fake draw has no value
        mock.patch.object(flex, "compiled", return_value=flex.attend),
        mock.patch.object(flex, "flex_attention", flex_attention),
        mock.patch.object(F, "scaled_dot_product_attention", sdpa)
        if torch.version.cuda is None
        else nullcontext(),
    ):
        yield


def main(arguments: list[str]) -> int:
    """Check the named methods, or all; 0 if all is well."""
    parser = argparse.ArgumentParser(description="Run every method on fake CUDA tensors.")
    parser.add_argument("methods", nargs="*", default=list(METHODS), metavar="method")
    if torch.version.cuda is None:
        print(f"torch {torch.__version__} is built without CUDA: it records no gradients")
        return 1
    failed = 0
    for name in parser.parse_args(arguments).methods:
        for dtype in (torch.float32, torch.float16):
            try:
                problems = check_method(METHODS[name], dtype, with_gradients=True)
            except UnavailableError as error:
                print(f"{name}: not checked: {error}")
                break
            failed += bool(problems)
            short = str(dtype).removeprefix("torch.")
            print(f"{name} {short}: {'; '.join(problems) or 'ok'}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
