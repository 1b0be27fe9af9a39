"""A small causal model of NumPy's source code, character by character: dense against SPION."""

import torch
import torch.nn.functional as F
from comparison import BATCH, Example, arguments, compare
from torch import nn

from spion_bench import sparsify
from spion_bench.tasks.shared.corpus import read_corpus

WIDTH, HEADS, LAYERS = 64, 2, 2
options = arguments(__doc__, steps=300, length=512)
files = read_corpus(("numpy",))
parts = [b"".join(f.content for f in files if f.split == split) for split in ("train", "test")]
text, held_out = (torch.frombuffer(bytearray(part), dtype=torch.uint8) for part in parts)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(-1, (3, HEADS, -1)).transpose(1, 3).unbind(2)
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(out.transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention, self.norm = Attention(), nn.LayerNorm(WIDTH)
        widths = nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.LayerNorm(WIDTH), *widths)

    def forward(self, x):
        x = x + self.attention(self.norm(x))
        return x + self.mlp(x)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.token, self.place = (nn.Embedding(n, WIDTH) for n in (256, options.length))
        self.blocks = nn.Sequential(*[Block() for _ in range(LAYERS)])
        self.head = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 256))

    def forward(self, tokens):
        return self.head(self.blocks(self.token(tokens) + self.place.weight))


def convert(model, steps):
    names = [f"blocks.{index}.attention" for index in range(LAYERS)]
    when = {"switch": steps // 3}
    return sparsify(model, modules=names, **when, block_size=16, quantile=0.9, pruned="minus_inf")


def loss_at(model, text, starts):
    rows = torch.stack([text[start : start + options.length + 1] for start in starts]).long()
    return F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())


def loss(model, generator):
    starts = torch.randint(len(text) - options.length, (BATCH,), generator=generator)
    return loss_at(model, text, starts)


def test(model):
    return float(loss_at(model, held_out, range(0, 32 * options.length, options.length)))


compare(Example("loss", Model, convert, loss, test, learning_rate=2e-3), options)
