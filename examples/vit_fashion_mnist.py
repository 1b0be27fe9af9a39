"""A small ViT on Fashion-MNIST, a pixel a token: dense attention against SPION."""

import torch
from comparison import arguments, classifier, compare
from transformers import ViTConfig, ViTForImageClassification

from spion_bench import sparsify
from spion_bench.tasks.loading import load_task

SIDE = 32
options = arguments(__doc__, steps=200)
data = load_task("image", data_dir=options.data, options={"source": "fashion-mnist"})


def make():
    config = ViTConfig(
        image_size=SIDE, patch_size=1, num_channels=1, hidden_size=64, num_hidden_layers=2,
        num_attention_heads=2, intermediate_size=128, num_labels=10,
    )  # fmt: skip
    return ViTForImageClassification(config)


def convert(model, steps):
    return sparsify(model, switch=steps // 4, block_size=32, quantile=0.9)


def batch_of(split, rows):
    pixels = torch.from_numpy(split.inputs[rows]).float().view(-1, 1, SIDE, SIDE) / 127.5 - 1
    return {"pixel_values": pixels, "labels": torch.from_numpy(split.labels[rows])}


compare(classifier(make, convert, data, batch_of, tested=500), options)
