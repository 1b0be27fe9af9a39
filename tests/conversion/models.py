"""A small encoder of the user's own, and how to train it."""

import torch
from torch import nn

from spion_bench import sparsify

LENGTH, WIDTH, HEADS = 64, 32, 4
SETTINGS = {"block_size": 8, "quantile": 0.8}


def encoder(dropout=0.0):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(
        WIDTH, HEADS, 2 * WIDTH, dropout, batch_first=True, activation="gelu"
    )
    return nn.TransformerEncoder(layer, 2)


def batch():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(3, LENGTH, WIDTH, generator=generator)
    padding = torch.zeros(3, LENGTH, dtype=torch.bool)
    padding[0, 50:] = True
    return x, padding


def converted(dropout=0.0, **settings):
    model = encoder(dropout)
    return model, sparsify(model, **{**SETTINGS, "switch": 2, **settings})


def train(model, controller, steps):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    x, padding = batch()
    turned = []
    for _ in range(steps):
        optimizer.zero_grad()
        model(x, src_key_padding_mask=padding).square().mean().backward()
        optimizer.step()
        turned.append(controller.step())
    return turned
