"""What the kernels of other projects share: a fixed pattern, a GPU, and reasons to refuse."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from baselines.shared.third_party import load_optional
from spion_bench.block_pattern import BlockPattern
from spion_bench.model.attention import Attention, Capabilities, UnsupportedError

HALF = (torch.bfloat16, torch.float16)


class Inputs(NamedTuple):
    """What a package's kernel may refuse.

    Attributes:
        capability: The GPU's compute capability.
        dtype: Of q, k and v.
        head_dim: Width of a head D.
        block_size: Tokens in a block.
        trains: Whether a backward pass is to follow.
    """

    capability: tuple[int, int]
    dtype: torch.dtype
    head_dim: int
    block_size: int
    trains: bool


class Peer(Attention):
    """Attention over a fixed block pattern, the same for all heads, by a package's kernel.

    Args:
        pruned: What a pruned score counts as; these kernels know ``"minus_inf"`` only.
        pattern: The kept blocks.

    Raises:
        UnsupportedError: If the package does not compute such attention.
        UnavailableError: If it is not installed.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(devices=("cuda",), dtypes=HALF)
    package: ClassVar[str]
    extra: ClassVar[str]

    def __init__(self, pruned: str, pattern: BlockPattern | None) -> None:
        super().__init__()
        name = type(self).__name__
        if pattern is None or pattern.groups > 1:
            raise UnsupportedError(f"{name}: expected one pattern for all heads, got {pattern}")
        if pruned != "minus_inf":
            raise UnsupportedError(f"{name}: expected pruned='minus_inf', got {pruned!r}")
        self.pattern = pattern
        self._prepared: dict[tuple[Any, ...], Any] = {}
        self._library = load_optional(self.package, extra=self.extra)

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, key_padding_mask: Tensor | None = None
    ) -> Tensor:
        """Return attention over the kept blocks, ``[B, H, L, D]``.

        Raises:
            UnsupportedError: If there is padding, or the kernels do not take these inputs here.
        """
        name = type(self).__name__
        if key_padding_mask is not None:
            raise UnsupportedError(f"{name}: expected no padding; its kernels have no token mask")
        trains = torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v))
        asked = Inputs(capability(q), q.dtype, q.shape[-1], self.pattern.block_size, trains)
        refusal = self.shape_refusal(asked)
        if refusal is not None:
            raise UnsupportedError(f"{name}: {refusal}")
        try:
            return self.attend(q, k, v)
        except NotImplementedError as error:
            raise UnsupportedError(f"{name}: {' '.join(str(error).split())}") from error

    def prepared(self, *key: Any) -> Any:
        """Return what ``prepare`` makes of the pattern for inputs like these, made once."""
        if key not in self._prepared:
            self._prepared[key] = self.prepare(*key)
        return self._prepared[key]

    def prepare(self, *key: Any) -> Any:
        """Make what the package needs of the pattern; no time contains it."""
        raise NotImplementedError(f"{type(self).__name__} must define prepare")

    def shape_refusal(self, asked: Inputs) -> str | None:
        """Return what the package expected instead, or None if it takes such inputs."""
        raise NotImplementedError(f"{type(self).__name__} must define shape_refusal")

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Run the package's kernel on inputs that it takes."""
        raise NotImplementedError(f"{type(self).__name__} must define attend")


def capability(q: Tensor) -> tuple[int, int]:
    """Return the compute capability of the GPU that ``q`` lies on.

    Raises:
        UnsupportedError: If it lies on none.
    """
    if q.device.type != "cuda":
        raise UnsupportedError(f"q: expected a CUDA tensor, got one on {q.device.type}")
    return torch.cuda.get_device_capability(q.device)


def expected(what: str, values: tuple[int, ...], got: int, on: str) -> str | None:
    """Return the sentence that a number is none of those that a kernel takes, or None."""
    if got in values:
        return None
    return f"expected {what} of {' or '.join(map(str, values))} {on}, got {got}"
