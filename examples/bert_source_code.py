"""A small BERT that tells NumPy's source code from SciPy's, byte by byte: dense against SPION."""

import torch
from comparison import Run, arguments, show
from transformers import BertConfig, BertForSequenceClassification

from spion_bench import sparsify
from spion_bench.tasks.loading import load_task

LENGTH, BATCH = 1024, 8
WANTED = {"source": "stand-in", "length": LENGTH}
CONFIG = BertConfig(
    vocab_size=512, max_position_embeddings=LENGTH, hidden_size=64, num_hidden_layers=2,
    num_attention_heads=2, intermediate_size=128, num_labels=2,
)  # fmt: skip


def tokens(split, rows):
    ids = torch.from_numpy(split.inputs[rows]).long()
    mask = (ids != 0).long()
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "labels": torch.from_numpy(split.labels[rows]),
    }


def train(name, data, steps):
    torch.manual_seed(0)
    model = BertForSequenceClassification(CONFIG)
    controller = None
    if name == "SPION":
        controller = sparsify(
            model, observe_every=10, latest_step=steps // 2, block_size=32, quantile=0.9
        )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    run, generator = Run(name), torch.Generator().manual_seed(1)

    def step():
        rows = torch.randint(len(data.train), (BATCH,), generator=generator).numpy()
        optimizer.zero_grad()
        model(**tokens(data.train, rows)).loss.backward()
        optimizer.step()

    for _ in range(steps):
        run.timed(step, counts=controller is None or controller.phase == "sparse")
        if controller is not None:
            controller.step()
    model.eval()
    with torch.no_grad():
        batches = [tokens(data.test, slice(i, i + 50)) for i in range(0, 400, 50)]
        right = [(model(**b).logits.argmax(1) == b["labels"]).float().mean() for b in batches]
    run.score = float(torch.stack(right).mean())
    return run, controller


if __name__ == "__main__":
    options = arguments(__doc__, steps=150)
    data = load_task("text", data_dir=options.data, options=WANTED)
    dense, _ = train("dense", data, options.steps)
    sparse, controller = train("SPION", data, options.steps)
    show("accuracy", dense, sparse, controller, options.out)
