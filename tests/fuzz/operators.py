"""Operators by both doors: ``torch.ops`` with anything, the Python faces with what they allow."""

from random import Random

import torch

from spion_bench.block_pattern import BlockPattern
from spion_bench.native import library
from spion_bench.ops import block_attention, reference
from tests.budgets import assert_within_budget
from tests.ops.index_cases import CALLS, WILD

_NUMBERS = (0, 1, -1, 7, 8, 16, 24, 256, 2**31, 2**62, -(2**63))
_REALS = (0.0, 1.0, -1.0, 0.5, 65535.5 / 65536, float("nan"), float("inf"), 1e308)
_OTHERS = (
    torch.Tensor.double,
    torch.Tensor.half,
    torch.Tensor.long,
    lambda x: x[:0],
    lambda x: x[..., :-1],
    lambda x: x[..., ::2],
    lambda x: x.transpose(-1, -2),
    lambda x: x[None],
    lambda x: x.expand(2, *x.shape[1:]),
    lambda x: x[:1, :1].expand(x.shape),
    lambda x: torch.full_like(x, float("nan")),
    lambda x: torch.full_like(x, float("-inf")),
    lambda x: x.to("meta"),
)


def by_torch(random: Random) -> None:
    """Call an operator with one to three wrong arguments: it answers or raises."""
    torch.manual_seed(random.randrange(2**31))
    name = random.choice(sorted(CALLS))
    call = dict(CALLS[name])
    for word in random.sample(sorted(call), random.randint(1, 3)):
        call[word] = _changed(call[word], word, random)
    try:
        results = library.operator(name)(**call)
    except (RuntimeError, ValueError, TypeError, IndexError):
        return
    for result in [results] if isinstance(results, torch.Tensor) else results:
        if not result.is_meta:
            result.double().sum().item()  # reads every element


def _changed(value: object, word: str, random: Random) -> object:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return random.choice(_NUMBERS)
    if isinstance(value, float):
        return random.choice(_REALS)
    if value is None:  # a key padding mask
        shape = random.choice(((1, 48), (2, 48), (1, 47), (48,), (0, 48)))
        return torch.rand(shape) > random.random()
    assert isinstance(value, torch.Tensor)
    if word.endswith("_indices"):
        if random.random() < 0.5:
            return random.choice(sorted(WILD.items()))[1](value)
        changed = value.clone()
        changed[random.randrange(len(changed))] = random.choice((-1, 0, 1, 2, 3, 4, 2**31 - 1))
        return changed
    return random.choice(_OTHERS)(value)


def by_face(random: Random) -> None:
    """Compare block attention on a random valid problem with its definition in float64."""
    torch.manual_seed(random.randrange(2**31))
    nb, size = random.randint(1, 6), random.choice((8, 16, 32))
    pattern = BlockPattern.from_mask(torch.rand(nb, nb) < random.random(), size)
    shape = (random.randint(1, 3), random.randint(1, 3), nb * size, random.randint(1, 40))
    q, k, v = (torch.randn(shape) * random.choice((1.0, 10.0)) for _ in range(3))
    mask = torch.rand(shape[0], shape[2]) < random.random() if random.random() < 0.5 else None
    options = {
        "pruned": random.choice(("minus_inf", "zero_logit")),
        "key_padding_mask": mask,
        "scale": random.choice((0.1, 1.0, -0.5, 0.0)),
    }
    low = reference.block_attention(q, k, v, pattern, **options)[0]
    exact = reference.block_attention(q.double(), k.double(), v.double(), pattern, **options)[0]
    for implementation in ("fused", "pipeline"):
        got = block_attention(q, k, v, pattern, implementation=implementation, **options)
        assert_within_budget(implementation, got, low, exact)
