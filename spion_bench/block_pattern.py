"""The block-sparsity pattern of one attention layer.

A pattern keeps whole ``block_size`` x ``block_size`` blocks of a ``[Lq, Lk]`` score matrix. It is
stored as in torch's block-sparse row format (BSR): ``crow_indices`` and ``col_indices``, so
``torch.sparse_bsr_tensor`` is an independent check of the format. One pattern serves a layer: all
batch items share it, and so do all heads, or the heads of a group where groups differ.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spion_bench.block_lists import check_columns, check_integers, check_tensors
from spion_bench.records.files import replace_file
from spion_bench.records.quote import shorten

MIN_BLOCK_SIZE = 8
MAX_BLOCK_SIZE = 128
MAX_LENGTH = 2**31 - 1


def check_block_size(block_size: int) -> None:
    """Raise ValueError unless ``block_size`` is a power of two from 8 to 128."""
    is_power_of_two = block_size > 0 and block_size & (block_size - 1) == 0
    if not (MIN_BLOCK_SIZE <= block_size <= MAX_BLOCK_SIZE and is_power_of_two):
        raise ValueError(
            f"block_size: expected a power of two from {MIN_BLOCK_SIZE} to {MAX_BLOCK_SIZE}, "
            f"got {block_size}; choose 8, 16, 32, 64 or 128"
        )


@dataclass(frozen=True, eq=False)
class BlockPattern:
    """Which blocks of a ``[Lq, Lk]`` score matrix exist.

    Attributes:
        block_size: Rows and columns of a block, in tokens; a power of two from 8 to 128.
        crow_indices: int32 ``[groups * nb + 1]``; block row r of group g owns
            ``col_indices[crow[i]:crow[i + 1]]`` with ``i = g * nb + r``.
        col_indices: int32 ``[nnzb]``; block columns, strictly ascending within a row.
        groups: Patterns in the list; the heads of a layer are split into as many equal runs.
        nb_keys: Block columns; as many as block rows unless given.
        t_crow_indices: int32 ``[groups * nb_keys + 1]``; the same list by block column (the
            transpose).
        t_row_indices: int32 ``[nnzb]``; block rows, ascending within a column.
        t_tile_indices: int32 ``[nnzb]``; position in ``col_indices`` of each transposed entry.

    The three ``t_`` tensors are derived. A pattern is immutable, holds contiguous copies of the
    tensors it is given, and is validated on construction: ValueError names the tensor that is
    wrong, what was expected and what came.
    """

    block_size: int
    crow_indices: Tensor
    col_indices: Tensor
    groups: int = 1
    nb_keys: int = 0  # given as 0: square
    t_crow_indices: Tensor = field(init=False, repr=False)
    t_row_indices: Tensor = field(init=False, repr=False)
    t_tile_indices: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_block_size(self.block_size)
        check_tensors(self.crow_indices, self.col_indices)
        for name in ("crow_indices", "col_indices"):
            own = getattr(self, name).detach().clone(memory_format=torch.contiguous_format)
            object.__setattr__(self, name, own)
        n_rows = self.crow_indices.shape[0] - 1
        if self.groups < 1 or n_rows % self.groups:
            raise ValueError(
                f"groups: expected a divisor of the {n_rows} block rows, got {self.groups}"
            )
        longest = MAX_LENGTH // self.block_size
        if not 0 <= self.nb_keys <= longest:
            raise ValueError(f"nb_keys: expected at most {longest}, got {self.nb_keys}")
        if self.nb_keys == 0:
            object.__setattr__(self, "nb_keys", self.nb)
        rows = self._all_rows()
        check_columns(self.col_indices, rows, self.nb_keys)
        t_crow, t_row, t_tile = self._transposed(rows)
        object.__setattr__(self, "t_crow_indices", t_crow)
        object.__setattr__(self, "t_row_indices", t_row)
        object.__setattr__(self, "t_tile_indices", t_tile)

    @classmethod
    def from_mask(cls, mask: Tensor, block_size: int) -> BlockPattern:
        """Build the pattern that keeps block (r, c) where ``mask[r, c]`` is true.

        Args:
            mask: ``[nb, nb_keys]``, or ``[groups, nb, nb_keys]`` for a pattern per group of heads;
                bool or any number type (non-zero means keep).
            block_size: Rows and columns of a block, in tokens.

        Raises:
            ValueError: If ``mask`` has other dimensions, or is empty.
        """
        if mask.ndim not in (2, 3) or mask.numel() == 0:
            raise ValueError(
                "mask: expected [nb, nb_keys] or [groups, nb, nb_keys], none of them 0, "
                f"got {list(mask.shape)}"
            )
        groups, nb_keys = 1 if mask.ndim == 2 else mask.shape[0], mask.shape[-1]
        kept = (mask != 0).reshape(-1, nb_keys)
        counts = kept.sum(dim=1, dtype=torch.int32)
        crow = torch.zeros(kept.shape[0] + 1, dtype=torch.int32, device=mask.device)
        crow[1:] = counts.cumsum(0)
        return cls(block_size, crow, kept.nonzero()[:, 1].to(torch.int32), groups, nb_keys)

    @classmethod
    def full(cls, length: int, block_size: int) -> BlockPattern:
        """Keep every block: block-sparse attention then equals dense attention."""
        nb = _block_rows(length, block_size)
        return cls.from_mask(torch.ones(nb, nb, dtype=torch.bool), block_size)

    @classmethod
    def band(cls, length: int, block_size: int, width: int) -> BlockPattern:
        """Keep the blocks whose row and column differ by at most ``width`` (0: the diagonal)."""
        nb = _block_rows(length, block_size)
        index = torch.arange(nb)
        return cls.from_mask((index[:, None] - index[None, :]).abs() <= width, block_size)

    @property
    def nb(self) -> int:
        """Block rows of a group: ``length // block_size``."""
        return (self.crow_indices.shape[0] - 1) // self.groups

    @property
    def nnzb(self) -> int:
        """Number of kept blocks, of all groups together."""
        return self.col_indices.shape[0]

    @property
    def length(self) -> int:
        """Length of the queries' sequence in tokens."""
        return self.nb * self.block_size

    @property
    def key_length(self) -> int:
        """Length of the keys' sequence in tokens."""
        return self.nb_keys * self.block_size

    @property
    def density(self) -> float:
        """Kept blocks divided by all blocks."""
        return self.nnzb / (self.groups * self.nb * self.nb_keys)

    @property
    def index_tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """The five index tensors, in the order in which operators take them."""
        by_column = (self.t_crow_indices, self.t_row_indices, self.t_tile_indices)
        return self.crow_indices, self.col_indices, *by_column

    @property
    def device(self) -> torch.device:
        """Where the index tensors live."""
        return self.col_indices.device

    def to_mask(self) -> Tensor:
        """Return the pattern as bool ``[nb, nb_keys]``, ``[groups, ...]`` of several groups."""
        mask = torch.zeros(self.groups * self.nb, self.nb_keys, device=self.device).bool()
        mask[self._all_rows(), self.col_indices.long()] = True
        return mask if self.groups == 1 else mask.view(self.groups, self.nb, self.nb_keys)

    def to_token_mask(self) -> Tensor:
        """Return ``to_mask()`` for tokens, bool ``[..., Lq, Lk]``: its nearest upsampling."""
        by_row = self.to_mask().repeat_interleave(self.block_size, dim=-2)
        return by_row.repeat_interleave(self.block_size, dim=-1)

    def row_indices(self) -> Tensor:
        """Return the block row of every kept block within its group, int32 ``[nnzb]``."""
        return (self._all_rows() % self.nb).to(torch.int32)

    def transpose(self) -> BlockPattern:
        """Return the pattern with rows and columns exchanged."""
        by_column = self.t_crow_indices, self.t_row_indices
        return BlockPattern(self.block_size, *by_column, self.groups, self.nb)

    def lower_triangle(self) -> BlockPattern:
        """Return the pattern without blocks above the diagonal, in which causal scores are not."""
        return BlockPattern.from_mask(self.to_mask().tril(), self.block_size)

    def to(self, device: torch.device | str) -> BlockPattern:
        """Return the pattern on ``device``; the same object if it is already there."""
        if torch.empty(0, device=device).device == self.device:
            return self
        # The copy is as valid as the original; checking it again would wait for the device.
        moved = object.__new__(BlockPattern)
        for word in fields(BlockPattern):
            value = getattr(self, word.name)
            moved_value = value.to(device) if isinstance(value, Tensor) else value
            object.__setattr__(moved, word.name, moved_value)
        return moved

    def save(self, path: Path | str) -> None:
        """Write the pattern as JSON: ``block_size``, ``crow_indices``, ``col_indices``.

        ``groups`` and ``nb_keys`` are there only where they differ from one square pattern.

        The file is replaced atomically: it holds its old content or all of the new.

        Raises:
            OSError: If it cannot be written.
        """
        stored: dict[str, Any] = {
            "block_size": self.block_size,
            "crow_indices": self.crow_indices.tolist(),
            "col_indices": self.col_indices.tolist(),
        }
        if self.groups > 1:
            stored["groups"] = self.groups
        if self.nb_keys != self.nb:
            stored["nb_keys"] = self.nb_keys
        replace_file(Path(path), f"{json.dumps(stored)}\n".encode())

    @classmethod
    def load(cls, path: Path | str) -> BlockPattern:
        """Read a pattern written by ``save``.

        Raises:
            ValueError: If the file is not a pattern, naming the file and the reason.
        """
        try:
            stored: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
            numbers = {"groups": 1, "nb_keys": 0} | stored
            lists = [
                check_integers(name, numbers[name]) for name in ("crow_indices", "col_indices")
            ]
            shape = [
                check_integers(n, [numbers[n]])[0] for n in ("block_size", "groups", "nb_keys")
            ]
            crow, col = (torch.tensor(values, dtype=torch.int32) for values in lists)
            return cls(shape[0], crow, col, *shape[1:])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            problem = shorten(str(error))
            raise ValueError(f"{path}: not a saved BlockPattern ({problem})") from error

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BlockPattern):
            return NotImplemented
        return (
            (self.block_size, self.groups, self.nb_keys)
            == (other.block_size, other.groups, other.nb_keys)
            and torch.equal(self.crow_indices.cpu(), other.crow_indices.cpu())
            and torch.equal(self.col_indices.cpu(), other.col_indices.cpu())
        )

    def __hash__(self) -> int:
        return hash((self.block_size, tuple(self.crow_indices.tolist()), self.nnzb))

    def __repr__(self) -> str:
        keys = "" if self.nb_keys == self.nb else f"key_length={self.key_length}, "
        groups = "" if self.groups == 1 else f"groups={self.groups}, "
        return (
            f"BlockPattern(length={self.length}, {keys}{groups}block_size={self.block_size}, "
            f"nnzb={self.nnzb}, density={self.density:.4f})"
        )

    def _all_rows(self) -> Tensor:
        """Return where every kept block's row is in ``crow_indices``, int64 ``[nnzb]``."""
        rows = torch.arange(self.crow_indices.shape[0] - 1, device=self.device)
        return rows.repeat_interleave(self.crow_indices.diff().long(), output_size=self.nnzb)

    def _transposed(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the three ``t_`` tensors; ``rows`` as ``_all_rows`` returns them."""
        n_columns = self.groups * self.nb_keys
        columns = rows // self.nb * self.nb_keys + self.col_indices
        tiles = torch.argsort(columns, stable=True)  # entries come by row, so rows stay ascending
        t_crow = torch.zeros(n_columns + 1, dtype=torch.int32, device=self.device)
        t_crow[1:] = torch.bincount(columns, minlength=n_columns).cumsum(0)
        return t_crow, (rows % self.nb)[tiles].to(torch.int32), tiles.to(torch.int32)


def _block_rows(length: int, block_size: int) -> int:
    check_block_size(block_size)
    if length <= 0 or length % block_size:
        raise ValueError(
            f"length: expected a positive multiple of block_size={block_size}, got {length}; "
            "pad the sequence or choose another block size"
        )
    return length // block_size
