"""Argument checks shared by the operators' Python interfaces.

Every message names the argument, what was expected, what came and how to fix it. The checks look
only at shapes, dtypes, devices and strides, never at values, so they cost no synchronisation and
vanish under ``torch.compile``. The C++ sides check again what would read out of bounds.
"""

from __future__ import annotations

import math
from typing import get_args

import torch
from torch import Tensor

from spion_bench.block_pattern import BlockPattern
from spion_bench.literals import Implementation, Pruned
from spion_bench.native import library

PRUNED = get_args(Pruned)
IMPLEMENTATIONS = get_args(Implementation)
# A dropout probability is rounded to a multiple of 1 / 65536; at 1 nothing would be left to scale.
MAX_DROPOUT_P = 65535 / 65536


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise unless ``value`` is one of ``choices``."""
    if value not in choices:
        expected = " or ".join(f'"{choice}"' for choice in choices)
        raise ValueError(f"{name}: expected {expected}, got {value!r}")


def check_device(name: str, x: Tensor) -> None:
    """Raise unless there are kernels for the device of ``x``; loads those for CUDA.

    Raises:
        ValueError: If ``x`` is neither on the CPU nor on a CUDA device.
        BuildError: If the CUDA kernels cannot be built here.
    """
    if x.device.type == "cuda":
        library.load("cuda")
    elif x.device.type != "cpu":
        raise ValueError(
            f"{name}: expected a CPU or CUDA tensor, got one on {x.device}; "
            f"there are no other kernels, so move it, e.g. {name}.cpu()"
        )


def check_float(name: str, x: Tensor, dtypes: tuple[torch.dtype, ...]) -> None:
    """Raise unless ``x`` is of ``dtypes`` on the CPU or CUDA; autocast casts the other floats."""
    check_device(name, x)
    if x.dtype in dtypes:
        return
    if not (x.is_floating_point() and torch.is_autocast_enabled(x.device.type)):
        expected = " or ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
        dtype = str(x.dtype).removeprefix("torch.")
        raise ValueError(f"{name}: expected {expected}, got {dtype}; cast it, e.g. {name}.float()")


def check_heads(name: str, x: Tensor, dtypes: tuple[torch.dtype, ...]) -> None:
    """Raise unless ``x`` is ``[B, H, L, D]`` of ``dtypes``, contiguous in D, within the limits."""
    check_float(name, x, dtypes)
    if x.ndim != 4:
        raise ValueError(
            f"{name}: expected [B, H, L, D], got {x.ndim} dimensions with shape {list(x.shape)}"
        )
    _check_limits(name, x, head_dim=x.shape[3])
    if x.shape[3] > 1 and x.stride(3) != 1:
        raise ValueError(
            f"{name}: expected a contiguous last dimension, got stride {x.stride(3)}; "
            f"call {name}.contiguous()"
        )


def check_like(name: str, x: Tensor, like_name: str, like: Tensor) -> None:
    """Raise unless ``x`` has the shape, the dtype and the device of ``like``."""
    if x.shape != like.shape:
        raise ValueError(
            f"{name}: expected shape {list(like.shape)} as {like_name}, got {list(x.shape)}"
        )
    check_same_kind(name, x, like_name, like)


def check_same_kind(name: str, x: Tensor, like_name: str, like: Tensor) -> None:
    """Raise unless ``x`` has the dtype and the device of ``like``; autocast makes dtypes equal."""
    if x.device != like.device:
        raise ValueError(f"{name}: expected device {like.device} as {like_name}, got {x.device}")
    if x.dtype != like.dtype and not torch.is_autocast_enabled(x.device.type):
        raise ValueError(
            f"{name}: expected {like.dtype} as {like_name}, got {x.dtype}; "
            f"cast it, e.g. {name}.to({like_name}.dtype)"
        )


def check_attention(q: Tensor, k: Tensor, v: Tensor, pattern: BlockPattern, causal: bool) -> None:
    """Raise unless q, k, v of the right dimensions fit each other and ``pattern``."""
    batch, heads, length, width = q.shape
    if k.shape[0] != batch or k.shape[3] != width:
        raise ValueError(
            f"k: expected [B={batch}, Hk, Lk, D={width}] as q {list(q.shape)}, got {list(k.shape)}"
        )
    if v.shape != k.shape:
        raise ValueError(f"v: expected shape {list(k.shape)} as k, got {list(v.shape)}")
    if heads != k.shape[1] and (k.shape[1] == 0 or heads % k.shape[1]):
        raise ValueError(
            f"k: expected a number of heads that divides the {heads} of q, got {k.shape[1]}"
        )
    if heads % pattern.groups:
        raise ValueError(
            f"pattern: expected a number of groups that divides the {heads} heads of q, "
            f"got {pattern.groups}"
        )
    for name, x, longest in (("q", q, pattern.length), ("k", k, pattern.key_length)):
        if x.shape[2] > longest:
            raise ValueError(
                f"{name}: expected a length up to the pattern's, {longest}, got {x.shape[2]}; "
                "build the pattern for the longest sequence, shorter ones use a part of it"
            )
    if causal and length != k.shape[2]:
        raise ValueError(
            f"causal: expected as many keys as queries, got {k.shape[2]} keys and {length} queries"
        )
    _check_limits("q", q, block_size=pattern.block_size)
    _check_pattern_device("q", q, pattern)


def check_plain(q: Tensor, k: Tensor, pattern: BlockPattern, causal: bool) -> None:
    """Raise for what the pipeline lacks: all but plain self-attention."""
    if causal or q.shape != k.shape or pattern.groups > 1 or pattern.nb_keys != pattern.nb:
        raise ValueError(
            'implementation: expected "fused" for causal attention, for keys of other heads or '
            'another length than the queries, and for patterns of head groups, got "pipeline"'
        )
    check_pattern("q", q, pattern)


def check_pattern(name: str, x: Tensor, pattern: BlockPattern) -> None:
    """Raise unless ``pattern`` is square, one for all heads, and fits ``x: [B, H, L, D]``."""
    length, block_size = x.shape[2], pattern.block_size
    if length % block_size:
        padded = -(-length // block_size) * block_size
        raise ValueError(
            f"{name}: length {length} is not a multiple of the block size {block_size}: "
            f"pad to {padded}"
        )
    if length != pattern.length:
        raise ValueError(
            f"{name}: expected length {pattern.length} as the pattern "
            f"({pattern.nb} blocks of {block_size}), got {length}; "
            "pad the sequence or build the pattern for this length"
        )
    _check_limits(name, x, block_size=block_size)
    _check_square(pattern)
    _check_pattern_device(name, x, pattern)


def check_tiles(
    name: str, x: Tensor, pattern: BlockPattern, dtypes: tuple[torch.dtype, ...]
) -> None:
    """Raise unless ``x`` holds one contiguous tile per kept block: ``[B, H, nnzb, S, S]``."""
    check_float(name, x, dtypes)
    tile = (pattern.nnzb, pattern.block_size, pattern.block_size)
    if x.ndim != 5 or tuple(x.shape[2:]) != tile:
        raise ValueError(
            f"{name}: expected [B, H, nnzb={tile[0]}, S={tile[1]}, S={tile[2]}] as the pattern, "
            f"got {list(x.shape)}"
        )
    if not x.is_contiguous():
        raise ValueError(
            f"{name}: expected contiguous tiles, got strides {list(x.stride())}; "
            f"call {name}.contiguous()"
        )
    _check_limits(name, x, block_size=pattern.block_size)
    _check_square(pattern)
    _check_pattern_device(name, x, pattern)


def _check_square(pattern: BlockPattern) -> None:
    if pattern.groups > 1 or pattern.nb_keys != pattern.nb:
        raise ValueError(
            f"pattern: expected a square one for all heads, got {pattern}; "
            "only the fused block_attention takes others"
        )


def _check_limits(
    name: str, x: Tensor, *, head_dim: int = 1, block_size: int | None = None
) -> None:
    """Raise unless the kernels take ``x: [B, H, ...]`` and blocks of that size."""
    limits = library.limits(x.device)
    batch_heads = x.shape[0] * x.shape[1]
    refusal = limits.refusal(head_dim=head_dim, batch_heads=batch_heads, block_size=block_size)
    if refusal is not None:
        raise ValueError(f"{name}: {refusal}")


def _check_pattern_device(name: str, x: Tensor, pattern: BlockPattern) -> None:
    if pattern.device != x.device:
        raise ValueError(
            f"pattern: expected device {x.device} as {name}, got {pattern.device}; "
            f"move it, e.g. pattern.to({name}.device)"
        )


def check_key_padding_mask(mask: Tensor | None, batch: int, length: int, like: Tensor) -> None:
    """Raise unless ``mask`` is None or bool ``[batch, length]`` on the device of ``like``."""
    if mask is None:
        return
    if mask.dtype != torch.bool:
        raise ValueError(
            f"key_padding_mask: expected bool (True = real token), got {mask.dtype}; "
            "compare first, e.g. key_padding_mask=(tokens != 0)"
        )
    if tuple(mask.shape) != (batch, length):
        raise ValueError(
            f"key_padding_mask: expected shape [B={batch}, L={length}], got {list(mask.shape)}"
        )
    if mask.device != like.device:
        raise ValueError(f"key_padding_mask: expected device {like.device}, got {mask.device}")


def check_scale(scale: float) -> None:
    """Raise unless ``scale`` is finite."""
    if not -math.inf < scale < math.inf:  # torch.compile cannot trace math.isfinite
        raise ValueError(f"scale: expected a finite number, got {scale}; the default is 1/sqrt(D)")


def check_dropout(p: float, seed: int | None) -> None:
    """Raise unless ``p`` is a usable probability and, where it drops anything, has a seed."""
    if not 0.0 <= p <= MAX_DROPOUT_P:
        raise ValueError(f"dropout_p: expected 0 <= dropout_p <= {MAX_DROPOUT_P}, got {p}")
    if p > 0.0 and seed is None:
        raise ValueError(
            f"dropout_seed: expected an integer because dropout_p is {p}, got None; "
            "draw a new one per step, e.g. from a torch.Generator"
        )
    if seed is not None and not 0 <= seed <= 2**63 - 1:
        raise ValueError(f"dropout_seed: expected 0 <= dropout_seed < 2**63, got {seed}")
