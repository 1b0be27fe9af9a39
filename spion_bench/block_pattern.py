"""The block-sparsity pattern of one attention layer.

A pattern keeps whole ``block_size`` x ``block_size`` blocks of an ``[L, L]`` score matrix. It is
stored as in torch's block-sparse row format (BSR): ``crow_indices`` and ``col_indices``, so
``torch.sparse_bsr_tensor`` is an independent check of the format. One pattern serves a layer: all
batch items and all heads share it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spion_bench.records.files import replace_file
from spion_bench.records.quote import quote

MIN_BLOCK_SIZE = 8
MAX_BLOCK_SIZE = 128


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
    """Which blocks of an ``[L, L]`` score matrix exist.

    Attributes:
        block_size: Rows and columns of a block, in tokens; a power of two from 8 to 128.
        crow_indices: int32 ``[nb + 1]``; block row r owns ``col_indices[crow[r]:crow[r + 1]]``.
        col_indices: int32 ``[nnzb]``; block columns, strictly ascending within a row.
        t_crow_indices: int32 ``[nb + 1]``; the same list by block column (the transpose).
        t_row_indices: int32 ``[nnzb]``; block rows, ascending within a column.
        t_tile_indices: int32 ``[nnzb]``; position in ``col_indices`` of each transposed entry.

    The three ``t_`` tensors are derived. A pattern is immutable, holds contiguous copies of the
    tensors it is given, and is validated on construction: ValueError names the tensor that is
    wrong, what was expected and what came.
    """

    block_size: int
    crow_indices: Tensor
    col_indices: Tensor
    t_crow_indices: Tensor = field(init=False, repr=False)
    t_row_indices: Tensor = field(init=False, repr=False)
    t_tile_indices: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_block_size(self.block_size)
        _check_indices(self.crow_indices, self.col_indices)
        for name in ("crow_indices", "col_indices"):
            own = getattr(self, name).detach().clone(memory_format=torch.contiguous_format)
            object.__setattr__(self, name, own)
        t_crow, t_row, t_tile = _transpose(self.crow_indices, self.col_indices)
        object.__setattr__(self, "t_crow_indices", t_crow)
        object.__setattr__(self, "t_row_indices", t_row)
        object.__setattr__(self, "t_tile_indices", t_tile)

    @classmethod
    def from_mask(cls, mask: Tensor, block_size: int) -> BlockPattern:
        """Build the pattern that keeps block (r, c) where ``mask[r, c]`` is true.

        Args:
            mask: ``[nb, nb]``, bool or any number type (non-zero means keep).
            block_size: Rows and columns of a block, in tokens.

        Raises:
            ValueError: If ``mask`` is not square and two-dimensional, or is empty.
        """
        if mask.ndim != 2 or mask.shape[0] != mask.shape[1] or mask.shape[0] == 0:
            raise ValueError(f"mask: expected a square [nb, nb] matrix, got {list(mask.shape)}")
        kept = mask != 0
        counts = kept.sum(dim=1, dtype=torch.int32)
        crow = torch.zeros(mask.shape[0] + 1, dtype=torch.int32, device=mask.device)
        crow[1:] = counts.cumsum(0)
        return cls(block_size, crow, kept.nonzero()[:, 1].to(torch.int32))

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
        """Block rows (and block columns): ``length // block_size``."""
        return self.crow_indices.shape[0] - 1

    @property
    def nnzb(self) -> int:
        """Number of kept blocks."""
        return self.col_indices.shape[0]

    @property
    def length(self) -> int:
        """Sequence length in tokens."""
        return self.nb * self.block_size

    @property
    def density(self) -> float:
        """Kept blocks divided by all blocks."""
        return self.nnzb / (self.nb * self.nb)

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
        """Return the pattern as bool ``[nb, nb]``."""
        mask = torch.zeros(self.nb, self.nb, dtype=torch.bool, device=self.device)
        mask[self.row_indices().long(), self.col_indices.long()] = True
        return mask

    def to_token_mask(self) -> Tensor:
        """Return the pattern as bool ``[L, L]``: the nearest upsampling of ``to_mask()``."""
        by_row = self.to_mask().repeat_interleave(self.block_size, dim=0)
        return by_row.repeat_interleave(self.block_size, dim=1)

    def row_indices(self) -> Tensor:
        """Return the block row of every kept block, int32 ``[nnzb]``."""
        rows = torch.arange(self.nb, dtype=torch.int32, device=self.device)
        return rows.repeat_interleave(self.crow_indices.diff().long(), output_size=self.nnzb)

    def transpose(self) -> BlockPattern:
        """Return the pattern with rows and columns exchanged."""
        return BlockPattern(self.block_size, self.t_crow_indices, self.t_row_indices)

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
        """Write the pattern as JSON (``block_size``, ``crow_indices``, ``col_indices``).

        The file is replaced atomically: it holds its old content or all of the new.

        Raises:
            OSError: If it cannot be written.
        """
        stored = {
            "block_size": self.block_size,
            "crow_indices": self.crow_indices.tolist(),
            "col_indices": self.col_indices.tolist(),
        }
        replace_file(Path(path), f"{json.dumps(stored)}\n".encode())

    @classmethod
    def load(cls, path: Path | str) -> BlockPattern:
        """Read a pattern written by ``save``.

        Raises:
            ValueError: If the file is not a pattern, naming the file and the reason.
        """
        try:
            stored: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
            crow = torch.tensor(stored["crow_indices"], dtype=torch.int32)
            col = torch.tensor(stored["col_indices"], dtype=torch.int32)
            return cls(int(stored["block_size"]), crow, col)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"{path}: not a saved BlockPattern ({error})") from error

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BlockPattern):
            return NotImplemented
        return (
            self.block_size == other.block_size
            and torch.equal(self.crow_indices.cpu(), other.crow_indices.cpu())
            and torch.equal(self.col_indices.cpu(), other.col_indices.cpu())
        )

    def __hash__(self) -> int:
        return hash((self.block_size, tuple(self.crow_indices.tolist()), self.nnzb))

    def __repr__(self) -> str:
        return (
            f"BlockPattern(length={self.length}, block_size={self.block_size}, "
            f"nnzb={self.nnzb}, density={self.density:.4f})"
        )


def _block_rows(length: int, block_size: int) -> int:
    check_block_size(block_size)
    if length <= 0 or length % block_size:
        raise ValueError(
            f"length: expected a positive multiple of block_size={block_size}, got {length}; "
            "pad the sequence or choose another block size"
        )
    return length // block_size


def _check_indices(crow: Tensor, col: Tensor) -> None:
    for name, tensor in (("crow_indices", crow), ("col_indices", col)):
        if tensor.dtype != torch.int32 or tensor.ndim != 1:
            raise ValueError(
                f"{name}: expected a one-dimensional int32 tensor, "
                f"got {tensor.dtype} with shape {list(tensor.shape)}"
            )
    if crow.device != col.device:
        raise ValueError(
            f"col_indices: expected device {crow.device} as crow_indices, got {col.device}"
        )
    nb = crow.shape[0] - 1
    if nb < 1:
        raise ValueError("crow_indices: expected at least one block row, got an empty pattern")
    counts = crow.long().diff()  # in int32 a fall by more than 2^31 would wrap to a rise
    if int(crow[0]) != 0 or int(crow[-1]) != col.shape[0] or bool((counts < 0).any()):
        found = quote(crow.tolist(), 4)
        raise ValueError(
            f"crow_indices: expected to rise from 0 to nnzb={col.shape[0]}, got {found}"
        )
    if col.numel() and (int(col.min()) < 0 or int(col.max()) >= nb):
        raise ValueError(
            f"col_indices: expected values from 0 to {nb - 1}, "
            f"got {int(col.min())} to {int(col.max())}"
        )
    rows = torch.arange(nb, device=crow.device).repeat_interleave(counts)
    flat = rows * nb + col
    if bool((flat.diff() <= 0).any()):
        raise ValueError("col_indices: expected strictly ascending columns within each block row")


def _transpose(crow: Tensor, col: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    nb = crow.shape[0] - 1
    rows = torch.arange(nb, dtype=torch.int32, device=crow.device)
    rows = rows.repeat_interleave(crow.diff().long())
    tiles = torch.argsort(col, stable=True)  # entries come row by row, so rows stay ascending
    t_crow = torch.zeros_like(crow)
    t_crow[1:] = torch.bincount(col.long(), minlength=nb).cumsum(0)
    return t_crow, rows[tiles], tiles.to(torch.int32)
