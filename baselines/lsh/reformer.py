"""Reformer's attention: locality-sensitive hashing brings similar tokens together.

Kitaev et al., "Reformer: The Efficient Transformer", 2020 (arXiv 2001.04451, section 2). Queries
and keys are one tensor. In each round every token is hashed, the tokens are sorted by bucket, and
chunks of the sorted order attend to themselves and to the chunk before; rounds are combined by the
logarithms of their denominators. ``block_gather`` computes the chunks: O(rounds * L) memory, and a
sort. As in the published code a key is scaled to length 1, the score of a token with itself is
lowered by 1e5, so a token sees itself only if it sees nothing else, and a key met in several
rounds counts in each. Deviations:

- The suite has a projection for q and one for k; the shared tensor is (q + k) / sqrt(2), as large
  as either. Both projections train, but their sum is all that matters: the method has the suite's
  parameter count and ``E * H * D`` fewer degrees of freedom in each layer than the others.
- Nothing is causal. The chunk before the first is the last one of the same round; the published
  code takes the last one of the round before.
- Hashes are drawn once per layer, from seed and layer, and stay the same at every step, in
  training and in evaluation; the paper draws new ones in every pass. The global random state is
  not touched.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from baselines.shared.block_gather import Gather, gathered_attention, head_mask, pad_length, split
from baselines.shared.numbers import check_at_least
from spion_bench.model.attention import Attention, Capabilities

SELF_BIAS = -1e5
EPS = 1e-6  # in a key's mean square, as in the published code


class Reformer(Attention):
    """LSH attention; exact, but for the self rule, where a sequence has at most two chunks.

    Args:
        chunk: Tokens in a chunk of the sorted order.
        n_hashes: Rounds of hashing.
        seed: Seed of the hashes.
        layer: Number of the layer, which draws hashes of its own.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(exact=False)
    caveats: ClassVar[tuple[str, ...]] = (
        "approximates: tokens that no round brings together do not see each other",
        "queries and keys are one tensor, (q + k) / sqrt(2): the suite's parameter count, fewer "
        "degrees of freedom; a token sees itself only if it sees nothing else",
        "hashes are fixed by seed and layer; the paper draws new ones in every pass",
        "plain PyTorch: chunks of sorted tokens; scores are computed twice to save memory",
    )

    def __init__(self, chunk: int = 64, n_hashes: int = 2, seed: int = 0, layer: int = 0) -> None:
        super().__init__()
        check_at_least(1, chunk=chunk, n_hashes=n_hashes)
        self.chunk = chunk
        self.n_hashes = n_hashes
        self._seed = 1009 * seed + layer
        self._rotations: dict[tuple[Any, ...], list[Tensor]] = {}
        self._gathers: dict[tuple[int, torch.device], Gather] = {}

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, key_padding_mask: Tensor | None = None
    ) -> Tensor:
        """Return the attention, ``[B, H, L, D]``; a row that meets only padding gives 0."""
        heads, length = q.shape[1:3]
        shared = pad_length(((q + k) * 0.5**0.5).flatten(0, 1), self.chunk)
        v = pad_length(v.flatten(0, 1), self.chunk)
        mask = head_mask(key_padding_mask, heads)
        if mask is None and shared.shape[1] > length:
            mask = torch.ones(shared.shape[0], length, dtype=torch.bool, device=q.device)
        if mask is not None:
            mask = pad_length(mask, self.chunk)
        order = sort_by_bucket(self.buckets(shared.detach(), heads), mask)
        out, lse = self._attend_sorted(shared, v, mask, order)
        weights = lse.softmax(dim=1)[..., None]  # float32 for 16 bits, as sums are
        return split((weights * out).sum(dim=1)[:, :length].to(q.dtype), 0, heads)

    def buckets(self, shared: Tensor, heads: int) -> Tensor:
        """Hash ``[B * H, L, D]`` to bucket numbers, int64 ``[B * H, rounds, L]``."""
        x = split(shared, 0, heads)
        found, factor = torch.zeros((), dtype=torch.int64, device=x.device), 1
        for rotation in self._rotate(heads, x):
            turned = torch.einsum("bhld,hrdn->bhrln", x, rotation)
            found = found + factor * torch.cat([turned, -turned], dim=-1).argmax(dim=-1)
            factor *= 2 * rotation.shape[-1]
        return found.flatten(0, 1)

    def _rotate(self, heads: int, x: Tensor) -> list[Tensor]:
        """Return the random rotations, ``[H, rounds, D, n / 2]`` per factor n of the buckets."""
        length, head_dim = x.shape[2:]
        key = (heads, length, head_dim, x.dtype, x.device)
        if key not in self._rotations:
            generator = torch.Generator().manual_seed(self._seed)
            sizes = [(heads, self.n_hashes, head_dim, n // 2) for n in self.factors(length)]
            drawn = [torch.randn(size, generator=generator) for size in sizes]
            self._rotations[key] = [rotation.to(x) for rotation in drawn]
        return self._rotations[key]

    def factors(self, length: int) -> list[int]:
        """Return the number of buckets, ``2 L / chunk`` rounded up to a power of 2, or two factors.

        Two hashes of fewer buckets each replace one of more buckets than a chunk has tokens, as in
        the published code: their cost grows with the root of the number of buckets.
        """
        power = max(1, math.ceil(math.log2(2 * length / self.chunk)))
        if 2**power <= self.chunk or power < 2:
            return [2**power]
        return [2 ** (power // 2), 2 ** (power - power // 2)]

    def _attend_sorted(
        self, shared: Tensor, v: Tensor, mask: Tensor | None, order: _Order
    ) -> tuple[Tensor, Tensor]:
        """Return each round's output, ``[B * H, rounds, L, D]``, and its logarithm."""
        norm = torch.rsqrt(shared.square().mean(dim=-1, keepdim=True) + EPS)
        keys = shared * norm * shared.shape[-1] ** -0.5
        sorted_mask = None
        if mask is not None:
            sorted_mask = mask[:, None].expand(order.forward.shape).gather(2, order.forward)
            sorted_mask = sorted_mask.flatten(0, 1)
        out, lse = gathered_attention(
            permute(shared, order).flatten(0, 1),
            permute(keys, order).flatten(0, 1),
            permute(v, order).flatten(0, 1),
            self._gather(shared.shape[1] // self.chunk, v.device),
            sorted_mask,
            1.0,
        )
        back = order.inverse()
        n_rounds = order.forward.shape[1]
        out = split(permute(out, back).squeeze(1), 0, n_rounds)
        return out, split(lse.gather(1, back.forward.squeeze(1)), 0, n_rounds)

    def _gather(self, n_chunks: int, device: torch.device) -> Gather:
        """Return which chunks each chunk sees; made once, as a GPU would wait for the copy."""
        key = (n_chunks, device)
        if key not in self._gathers:
            self._gathers[key] = chunk_gather(n_chunks, self.chunk).to(device)
        return self._gathers[key]

    def n_scores(self, length: int, heads: int) -> int:
        """Return the scores of all chunks and rounds, all heads together."""
        return heads * lsh_scores(length, chunk=self.chunk, n_hashes=self.n_hashes)


def lsh_scores(length: int, *, chunk: int, n_hashes: int) -> int:
    """Return one head's scores: in every round each chunk sees itself and the one before it."""
    n_chunks = -(-length // chunk)
    return n_hashes * n_chunks * min(2, n_chunks) * chunk**2


@dataclass(frozen=True)
class _Order:
    """Permutations of ``L`` rows: int64 ``[N, rounds, L]``, and their inverses."""

    forward: Tensor
    backward: Tensor

    def inverse(self) -> _Order:
        """Return what undoes them, for ``[N * rounds, L, ...]``: one round each."""
        return _Order(self.backward.flatten(0, 1)[:, None], self.forward.flatten(0, 1)[:, None])


def sort_by_bucket(buckets: Tensor, mask: Tensor | None) -> _Order:
    """Return the order by bucket, then by position; padding comes last."""
    if mask is not None:
        buckets = buckets.masked_fill(~mask[:, None], torch.iinfo(buckets.dtype).max)
    order = buckets.argsort(dim=-1, stable=True)
    places = torch.arange(order.shape[-1], device=order.device).expand_as(order)
    return _Order(order, torch.empty_like(order).scatter_(-1, order, places))


def chunk_gather(n_chunks: int, chunk: int) -> Gather:
    """Let each chunk see the one before it and itself, itself last and its diagonal lowered."""
    own = torch.arange(n_chunks)
    columns = own[:, None] if n_chunks == 1 else torch.stack([(own - 1) % n_chunks, own], dim=1)
    bias = torch.zeros(chunk, columns.shape[1] * chunk)
    bias[:, -chunk:].fill_diagonal_(SELF_BIAS)
    return Gather(chunk, columns, bias=bias)


def permute(x: Tensor, order: _Order) -> Tensor:
    """Order the rows of ``x`` in each round: ``[N, L, D]`` to ``[N, rounds, L, D]``."""
    permuted: Tensor = _Permute.apply(x, order.forward, order.backward)  # type: ignore[no-untyped-call]
    return permuted


class _Permute(torch.autograd.Function):
    """A gather whose gradient is a gather too, as it is for permutations: no scattered sums."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(inverse)
        starts = torch.arange(x.shape[0], device=x.device)[:, None, None] * x.shape[1]
        rows = x.flatten(0, 1).index_select(0, (order + starts).flatten())
        return rows.view(*order.shape, x.shape[2])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (inverse,) = ctx.saved_tensors
        n, rounds, length, width = grad.shape
        starts = torch.arange(n * rounds, device=grad.device).view(n, rounds, 1) * length
        rows = grad.flatten(0, 2).index_select(0, (inverse + starts).flatten())
        return rows.view(n, rounds, length, width).sum(dim=1), None, None
