"""A small BERT that tells NumPy's source code from SciPy's, byte by byte: dense against SPION."""

import torch
from comparison import arguments, classifier, compare
from transformers import BertConfig, BertForSequenceClassification

from spion_bench import sparsify
from spion_bench.tasks.loading import load_task

options = arguments(__doc__, steps=150, length=1024)
source = {"source": "stand-in", "length": options.length}
data = load_task("text", data_dir=options.data, options=source)


def make():
    config = BertConfig(
        vocab_size=512, max_position_embeddings=options.length, hidden_size=64,
        num_hidden_layers=2, num_attention_heads=2, intermediate_size=128, num_labels=2,
    )  # fmt: skip
    return BertForSequenceClassification(config)


def convert(model, steps):
    return sparsify(model, observe_every=10, latest_step=steps // 2, block_size=32, quantile=0.9)


def batch_of(split, rows):
    ids = torch.from_numpy(split.inputs[rows]).long()
    labels = torch.from_numpy(split.labels[rows])
    return {"input_ids": ids, "attention_mask": (ids != 0).long(), "labels": labels}


compare(classifier(make, convert, data, batch_of, tested=400), options)
