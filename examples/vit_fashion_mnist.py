"""A small ViT on Fashion-MNIST, a pixel a token: dense attention against SPION."""

import torch
from comparison import Run, arguments, show
from transformers import ViTConfig, ViTForImageClassification

from spion_bench import sparsify
from spion_bench.tasks.loading import load_task

BATCH = 8
CONFIG = ViTConfig(
    image_size=32, patch_size=1, num_channels=1, hidden_size=64, num_hidden_layers=2,
    num_attention_heads=2, intermediate_size=128, num_labels=10,
)  # fmt: skip


def pixels(split, rows):
    images = torch.from_numpy(split.inputs[rows]).float().view(-1, 1, 32, 32)
    return {"pixel_values": images / 127.5 - 1, "labels": torch.from_numpy(split.labels[rows])}


def train(name, data, steps):
    torch.manual_seed(0)
    model = ViTForImageClassification(CONFIG)
    controller = sparsify(model, switch=steps // 4, block_size=32, quantile=0.9)
    if name == "dense":
        controller = None
        model.set_attn_implementation("sdpa")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    run, generator = Run(name), torch.Generator().manual_seed(1)

    def step():
        rows = torch.randint(len(data.train), (BATCH,), generator=generator).numpy()
        optimizer.zero_grad()
        model(**pixels(data.train, rows)).loss.backward()
        optimizer.step()

    for _ in range(steps):
        run.timed(step, counts=controller is None or controller.phase == "sparse")
        if controller is not None:
            controller.step()
    model.eval()
    with torch.no_grad():
        batches = [pixels(data.test, slice(i, i + 50)) for i in range(0, 500, 50)]
        right = [(model(**b).logits.argmax(1) == b["labels"]).float().mean() for b in batches]
    run.score = float(torch.stack(right).mean())
    return run, controller


if __name__ == "__main__":
    options = arguments(__doc__, steps=200)
    data = load_task("image", data_dir=options.data, options={"source": "fashion-mnist"})
    dense, _ = train("dense", data, options.steps)
    sparse, controller = train("SPION", data, options.steps)
    show("accuracy", dense, sparse, controller, options.out)
