"""Operators by both doors: ``torch.ops`` with anything, the Python faces with what they allow."""

from random import Random

import torch

from spion_bench.block_pattern import BlockPattern
from spion_bench.native import library
from tests.ops.cases import Case
from tests.ops.index_cases import CALLS, WILD
from tests.ops.oracle import compare_attention

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
    """Compare block attention and its gradients on a random valid problem with float64."""
    seed = random.randrange(2**31)
    torch.manual_seed(seed)
    size, batch = random.choice((8, 16, 32)), random.randint(1, 3)
    n_rows, n_columns = random.randint(1, 6), random.randint(1, 6)
    groups, kv_heads, repeats = (random.randint(1, 2) for _ in range(3))
    is_plain, is_causal = random.random() < 0.4, random.random() < 0.3
    if is_plain or is_causal:
        n_columns = n_rows
    if is_plain:
        groups = repeats = 1
    longest = (n_rows * size, n_columns * size)
    lengths = longest if is_plain else tuple(random.randint(1, length) for length in longest)
    if is_causal and not is_plain:
        lengths = (lengths[0], lengths[0])
    kept = torch.rand(groups, n_rows, n_columns) < random.random()
    case = Case(
        BlockPattern.from_mask(kept, size),
        batch=batch,
        heads=groups * kv_heads * repeats,
        width=random.randint(1, 40),
        kv_heads=groups * kv_heads,
        lengths=lengths,
    )
    dropout = {"dropout_p": 0.3, "dropout_seed": random.randrange(2**63)}
    options = {
        "pruned": random.choice(("minus_inf", "zero_logit")),
        "key_padding_mask": torch.rand(batch, lengths[1]) < random.random(),
        "scale": random.choice((None, 0.1, -0.5, 0.0, 10.0, -30.0)),
        **(dropout if random.random() < 0.5 else {}),
    }
    if is_plain:
        compare_attention(case, torch.float32, "pipeline", **options)
    options["causal"] = is_causal
    compare_attention(case, random.choice((torch.float32, torch.float64)), "fused", **options)
