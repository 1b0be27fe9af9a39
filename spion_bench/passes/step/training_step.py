"""One whole training step of the suite's classifier: what the speed and memory passes measure."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from spion_bench.model.classifier import Classifier
from spion_bench.passes.step.compiled import compile_encoder
from spion_bench.passes.subject import Subject
from spion_bench.records import Metric
from spion_bench.suite.cases.case import attention_flops
from spion_bench.suite.metrics import single
from spion_bench.train.data import to_batch
from spion_bench.train.phases import update_weights


class NonFiniteStepError(RuntimeError):
    """A training step gave a loss that is not finite."""


class TrainingStep:
    """A model, its optimiser and one batch of the task's training split.

    The batch is drawn with the cell's seed and stays the same: the step's cost does not depend on
    the values, and loading data is not part of it.

    Attributes:
        model: The classifier with the cell's attention; its encoder is compiled where the cell asks
            for it, before anything runs.
        compile_s: The seconds that it took to compile, or None.
        attention_inputs: q, k, v and the output's gradient of one layer, ``[B, H, L, D]``.
    """

    def __init__(self, subject: Subject) -> None:
        cell, self._settings = subject.cell, subject.settings
        self._arithmetic = subject.arithmetic
        self._device = self._arithmetic.device
        torch.manual_seed(cell.seed)
        self.model = Classifier(self._settings.model, subject.make_attention).to(self._device)
        self._scaler = self._arithmetic.scaler()
        self._optimiser = make_optimiser(subject, self.model)
        order = np.random.default_rng(cell.seed).permutation(len(subject.task.train))
        chosen = np.resize(order, self._settings.measure.batch_size)
        self._tokens, self._labels = to_batch(subject.task.train, chosen, self._device)
        self.attention_inputs = self._draw_attention_inputs()
        self._subject = subject
        self.compile_s: float | None = None
        if self._settings.compile != "none":
            self.compile_s = compile_encoder(self.model, self._run_untrained)

    def run(self) -> float:
        """Do one step: forward, loss, backward, clip, AdamW; return the loss (nat) before it.

        Raises:
            NonFiniteStepError: If the loss is not finite.
        """
        loss = self._arithmetic.loss(self.model, self._tokens, self._labels)
        clip = self._settings.train.clip_value
        update_weights(loss, self.model, self._optimiser, self._scaler, clip)
        value = loss.item()  # also waits for the device
        if not math.isfinite(value):
            raise NonFiniteStepError("the loss of a training step is not finite")
        return value

    def compile_metrics(self) -> dict[str, Metric]:
        """Return what compiling took, if it was done."""
        return {} if self.compile_s is None else {"compile_s": single("compile_s", self.compile_s)}

    def forget_gradients(self) -> None:
        """Free the gradients, as they are before a step."""
        self._optimiser.zero_grad(set_to_none=True)

    def run_forward(self) -> None:
        """Do the forward pass alone, without recording it for a backward pass."""
        with torch.no_grad(), self._arithmetic.autocast():
            self.model(self._tokens)
        self._synchronise()

    def run_attention(self) -> None:
        """Do the forward and backward pass of one layer's attention alone."""
        q, k, v, dout = self.attention_inputs
        attention = self.model.attention_layers()[0]
        mask = self._attention_mask()
        # A method may ignore an input, as shared queries and keys do: its gradient is 0.
        with self._arithmetic.autocast():
            out = attention(q, k, v, mask)
        wanted = (q, k, v, *attention.parameters())
        torch.autograd.grad(out, wanted, dout.to(out.dtype), materialize_grads=True)
        self._synchronise()

    def attention_flops(self) -> int:
        """Return the modelled attention operations of one step, all layers together."""
        model, patterns = self._settings.model, self._subject.patterns
        length = self._subject.task.length
        if patterns is None:
            layers = self.model.attention_layers()
            scores = sum(layer.n_scores(length, model.heads) for layer in layers)
        else:
            kept = sum(pattern.nnzb * pattern.block_size**2 for pattern in patterns)
            scores = model.heads * kept
        return attention_flops(
            batch=self._attention_batch(),
            heads=1,  # the scores are those of all heads
            head_dim=model.head_dim,
            scores=scores,
            backward=True,
        )

    def _run_untrained(self) -> None:
        """Run every pass of the model that is measured, without changing its weights."""
        self._arithmetic.loss(self.model, self._tokens, self._labels).backward()  # type: ignore[no-untyped-call]
        self.forget_gradients()
        self.run_forward()

    def _attention_batch(self) -> int:
        return self._tokens.shape[0] * (2 if self._settings.model.two_towers else 1)

    def _draw_attention_inputs(self) -> list[Tensor]:
        model, dtype = self._settings.model, self._arithmetic.dtype
        size = (self._tokens.shape[0], model.heads, self._tokens.shape[-1], model.head_dim)
        q, k, v, dout = (torch.randn(size, dtype=dtype, device=self._device) for _ in range(4))
        return [*(x.requires_grad_() for x in (q, k, v)), dout]

    def _attention_mask(self) -> Tensor | None:
        if not self._settings.model.mask_attention:
            return None
        tokens = self._tokens[:, 0] if self._settings.model.two_towers else self._tokens
        return tokens != 0

    def _synchronise(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def make_optimiser(subject: Subject, model: Classifier) -> torch.optim.Optimizer:
    """Return the AdamW optimiser of the task's training settings."""
    train = subject.settings.train
    return torch.optim.AdamW(
        model.parameters(),
        lr=train.learning_rate,
        betas=(train.adam_beta1, train.adam_beta2),
        eps=train.adam_eps,
        weight_decay=train.weight_decay,
        fused=True,
    )
