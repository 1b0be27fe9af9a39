"""A sparse layer in DistributedDataParallel: two processes, gloo."""

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from spion_bench.block_pattern import BlockPattern
from spion_bench.model.attention import SpionAttention
from spion_bench.native import library

WORLD = 2


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.project = nn.Linear(8, 8)
        self.attention = SpionAttention("zero_logit", BlockPattern.band(32, 8, 1), causal=True)

    def forward(self, x):
        x = self.project(x)
        return self.attention(x, x, x)


def gradient(layer, x):
    layer(x).square().mean().backward()
    return [parameter.grad for parameter in layer.parameters()]


def batch():
    return torch.randn(2 * WORLD, 2, 29, 8, generator=torch.Generator().manual_seed(1))


def work(rank, store, results):
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=WORLD)
    layer = DistributedDataParallel(Layer())
    torch.save(gradient(layer, batch().chunk(WORLD)[rank]), f"{results}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_have_the_gradient_of_the_whole_batch(tmp_path):
    library.load()  # once, before two processes would
    mp.spawn(work, (tmp_path / "store", tmp_path), nprocs=WORLD)
    expected = gradient(Layer(), batch())
    for rank in range(WORLD):
        got = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        torch.testing.assert_close(got, expected)
