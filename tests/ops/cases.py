"""Shapes and patterns that the block operators are tested on, each for a reason."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from spion_bench.block_pattern import BlockPattern

IMPLEMENTATIONS = ["fused", "pipeline"]
PRUNED = ["minus_inf", "zero_logit"]

GOLDEN = Path(__file__).parents[1] / "data" / "golden.json"


def golden(case_id: str) -> dict[str, Any]:
    """Return one case of the golden values."""
    cases = json.loads(GOLDEN.read_text(encoding="utf-8"))["cases"]
    (case,) = [case for case in cases if case["id"] == case_id]
    return case


def random_pattern(nb: int, block_size: int, density: float, seed: int = 0) -> BlockPattern:
    """Keep the diagonal and random blocks, about ``density`` of all."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(nb, nb, generator=generator) < density
    return BlockPattern.from_mask(mask | torch.eye(nb, dtype=torch.bool), block_size)


def holes(nb: int, block_size: int) -> BlockPattern:
    """Keep random blocks, but nothing in the second block row and the last block column."""
    mask = random_pattern(nb, block_size, 0.5).to_mask()
    mask[1] = False
    mask[:, -1] = False
    return BlockPattern.from_mask(mask, block_size)


def as_strided_views(x: torch.Tensor) -> torch.Tensor:
    """Return the values of ``x: [B, H, L, D]`` as the transposed view a model produces."""
    return x.transpose(1, 2).contiguous().transpose(1, 2)


def as_packed_slice(x: torch.Tensor) -> torch.Tensor:
    """Return the values of ``x`` as a slice of a packed qkv projection, ``[B, L, 3, H, D]``."""
    packed = x.new_full((x.shape[0], x.shape[2], 3, x.shape[1], x.shape[3]), float("nan"))
    packed[:, :, 1] = x.transpose(1, 2)
    return packed[:, :, 1].transpose(1, 2)


def as_expanded(x: torch.Tensor) -> torch.Tensor:
    """Return the first batch item and head of ``x`` for all of them, with strides of 0."""
    return x[:1, :1].expand(x.shape)


@dataclass(frozen=True)
class Case:
    """One shape: ``[batch, heads, pattern.length, width]`` and the layout of q, k and v.

    ``kv_heads`` and ``lengths`` (of queries and of keys) where they differ from that.
    """

    pattern: BlockPattern
    batch: int = 2
    heads: int = 2
    width: int = 16
    layout: Callable[[torch.Tensor], torch.Tensor] = torch.Tensor.contiguous
    kv_heads: int | None = None
    lengths: tuple[int, int] | None = None

    def _lengths(self) -> tuple[int, int]:
        return self.lengths or (self.pattern.length, self.pattern.key_length)

    def padding_and_dropout(self, p: float = 0.3, seed: int = 2**40 + 17) -> dict[str, Any]:
        """Return the arguments of ``block_attention`` that mask keys and drop probabilities."""
        return {"key_padding_mask": self.key_padding_mask(), "dropout_p": p, "dropout_seed": seed}

    def inputs(self, dtype: torch.dtype, seed: int = 0) -> tuple[torch.Tensor, ...]:
        """Return q, k, v in float64 values rounded to ``dtype``."""
        generator = torch.Generator().manual_seed(seed)
        n_queries, n_keys = self._lengths()
        queries = (self.batch, self.heads, n_queries, self.width)
        keys = (self.batch, self.kv_heads or self.heads, n_keys, self.width)
        return tuple(
            self.layout(torch.randn(shape, generator=generator).to(dtype))
            for shape in (queries, keys, keys)
        )

    def key_padding_mask(self) -> torch.Tensor:
        """Return a mask with whole blocks, single tokens and one example of padding only."""
        generator = torch.Generator().manual_seed(1)
        mask = torch.rand(self.batch, self._lengths()[1], generator=generator) > 0.3
        if self.batch > 0:
            mask[0, -self.pattern.block_size :] = False
            mask[-1] = False
        return mask


CASES = {
    "one_block": Case(BlockPattern.full(8, 8)),  # L = S: the smallest sequence there is
    "three_blocks": Case(random_pattern(3, 16, 0.5)),  # L = 3S: an odd number of block rows
    "width_1": Case(random_pattern(4, 16, 0.4), width=1),  # narrower than any vector
    "width_5": Case(random_pattern(4, 16, 0.4), width=5),  # odd: no vector length divides it
    "width_80": Case(random_pattern(4, 16, 0.4), width=80),  # several vectors, no power of two
    "width_256": Case(random_pattern(3, 8, 0.4), width=256),  # the widest head
    "block_8": Case(random_pattern(9, 8, 0.3), width=32),  # half of an AVX-512 vector of floats
    "block_32": Case(random_pattern(5, 32, 0.3), batch=1, width=32),  # the image task's block
    "block_64": Case(random_pattern(3, 64, 0.3), batch=1, width=32),  # the text task's block
    "block_128": Case(random_pattern(2, 128, 0.4), batch=1, width=8),  # the largest block
    "holes": Case(holes(6, 8)),  # an empty row and an empty column
    "empty": Case(BlockPattern.from_mask(torch.zeros(3, 3), 16)),  # nothing kept at all
    "full": Case(BlockPattern.full(64, 16)),  # nothing pruned: dense attention
    "one_head": Case(random_pattern(12, 8, 0.3), batch=1, heads=1),  # split along the rows only
    "many_heads": Case(random_pattern(4, 8, 0.5), batch=5, heads=8),  # split along the heads only
    "transposed": Case(random_pattern(4, 16, 0.4), layout=as_strided_views),
    "packed": Case(random_pattern(4, 16, 0.4), layout=as_packed_slice, heads=3),
    "expanded": Case(random_pattern(4, 16, 0.4), layout=as_expanded),
    "no_batch": Case(random_pattern(4, 16, 0.4), batch=0),  # the end of an uneven data set
}


def per_group(groups: int, nb: int, block_size: int) -> BlockPattern:
    """Keep random blocks, others for each group, and in the last group next to nothing."""
    masks = [random_pattern(nb, block_size, 0.4, seed).to_mask() for seed in range(groups)]
    masks[-1] = torch.zeros_like(masks[-1])
    masks[-1][0, -1] = True
    return BlockPattern.from_mask(torch.stack(masks), block_size)


def rectangle(nb: int, nb_keys: int, block_size: int) -> BlockPattern:
    """Keep random blocks of a rectangle, and nothing in its second row."""
    mask = torch.rand(nb, nb_keys, generator=torch.Generator().manual_seed(3)) < 0.5
    mask[1] = False
    return BlockPattern.from_mask(mask, block_size)


# What only the fused operator takes; also with causal=True where a sequence attends to itself.
REACH = {
    "square": Case(random_pattern(5, 16, 0.4), width=32),
    "no_diagonal": Case(holes(5, 16), width=5),  # zeros differ from row to row of a block
    "two_tiles": Case(random_pattern(2, 128, 0.6), batch=1, width=16),  # two tiles by two steps
    "ragged": Case(random_pattern(4, 16, 0.4), lengths=(61, 61), layout=as_strided_views),
    "ragged_block_32": Case(BlockPattern.full(96, 32), lengths=(65, 65), width=32),
    "shorter": Case(random_pattern(7, 16, 0.4), lengths=(48, 48), width=32),
    "one_token": Case(random_pattern(3, 16, 0.4), lengths=(1, 1)),
    "per_head": Case(per_group(4, 4, 16), heads=4, width=32),
    "per_group": Case(per_group(2, 5, 16), heads=4, width=16, lengths=(70, 70)),
    "grouped_queries": Case(random_pattern(4, 16, 0.4), heads=6, kv_heads=2, width=32),
    "one_kv_head": Case(per_group(2, 3, 16), heads=4, kv_heads=1, layout=as_strided_views),
    "groups_share_kv": Case(per_group(4, 4, 16), heads=4, kv_heads=2, lengths=(55, 55)),
    "few_keys": Case(rectangle(6, 3, 16), width=32),
    "many_keys": Case(rectangle(2, 7, 16), heads=4, kv_heads=2, lengths=(30, 100), width=32),
    "many_keys_in_chunks": Case(rectangle(20, 40, 8), batch=1, heads=1, lengths=(153, 317)),
}


def is_square(case: Case) -> bool:
    """Return whether the case's sequence may attend to itself causally."""
    n_queries, n_keys = case.lengths or (case.pattern.length, case.pattern.key_length)
    return n_queries == n_keys
