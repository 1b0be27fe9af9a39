"""A small causal model of NumPy's source code, character by character: dense against SPION."""

import torch
import torch.nn.functional as F
from comparison import Run, arguments, show
from torch import nn

from spion_bench import sparsify
from spion_bench.tasks.shared.corpus import read_corpus

LENGTH, BATCH, WIDTH, HEADS = 512, 8, 64, 2


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(-1, (3, HEADS, -1)).transpose(1, 3).unbind(2)
        return self.out(
            F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        )


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = Attention()
        self.norms = nn.ModuleList([nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)])
        self.mlp = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)
        )

    def forward(self, x):
        x = x + self.attention(self.norms[0](x))
        return x + self.mlp(self.norms[1](x))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.token, self.position = nn.Embedding(256, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.blocks = nn.Sequential(Block(), Block())
        self.head = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 256))

    def forward(self, tokens):
        return self.head(self.blocks(self.token(tokens) + self.position.weight))


def loss_of(model, text, starts):
    rows = torch.stack([text[start : start + LENGTH + 1] for start in starts]).long()
    return F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())


def train(name, text, held_out, steps):
    torch.manual_seed(0)
    model, controller = Model(), None
    if name == "SPION":
        names = [f"blocks.{index}.attention" for index in range(2)]
        controller = sparsify(
            model, modules=names, switch=steps // 3, block_size=16, quantile=0.9, pruned="minus_inf"
        )
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    run, generator = Run(name), torch.Generator().manual_seed(1)

    def step():
        starts = torch.randint(len(text) - LENGTH, (BATCH,), generator=generator)
        optimizer.zero_grad()
        loss_of(model, text, starts).backward()
        optimizer.step()

    for _ in range(steps):
        run.timed(step, counts=controller is None or controller.phase == "sparse")
        if controller is not None:
            controller.step()
    model.eval()
    with torch.no_grad():
        run.score = float(loss_of(model, held_out, range(0, 32 * LENGTH, LENGTH)))
    return run, controller


if __name__ == "__main__":
    options = arguments(__doc__, steps=300)
    files = read_corpus(("numpy",))
    parts = [b"".join(f.content for f in files if f.split == split) for split in ("train", "test")]
    text, held_out = (torch.frombuffer(bytearray(part), dtype=torch.uint8) for part in parts)
    dense, _ = train("dense", text, held_out, options.steps)
    sparse, controller = train("SPION", text, held_out, options.steps)
    show("loss", dense, sparse, controller, options.out)
