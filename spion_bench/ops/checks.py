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


def check_pattern(name: str, x: Tensor, pattern: BlockPattern) -> None:
    """Raise unless ``pattern`` fits ``x: [B, H, L, D]`` in length and device."""
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
    _check_pattern_device(name, x, pattern)


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
    if not math.isfinite(scale):
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
    if seed is not None and not 0 <= seed < 2**63:
        raise ValueError(f"dropout_seed: expected 0 <= dropout_seed < 2**63, got {seed}")
