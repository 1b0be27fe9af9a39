import pytest
import torch
from torch import nn

from spion_bench import sparsify
from tests.conversion.models import HEADS, LENGTH, SETTINGS, WIDTH

WHEN = {"observe_every": 2, "latest_step": 6}


def examples():
    """Return equal examples: where in an epoch Lightning resumes is its own affair."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(LENGTH, WIDTH, generator=generator)] * 24


@pytest.mark.parametrize("saved_at", [5, 8])
def test_a_trainer_turns_a_model_sparse_and_resumes_to_the_bit(saved_at, tmp_path):
    transformers = pytest.importorskip("transformers")
    from spion_bench.conversion.for_trainer import SpionTrainerCallback

    config = transformers.BertConfig(
        vocab_size=100, hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=HEADS
    )
    generator = torch.Generator().manual_seed(0)
    data = [
        {"input_ids": torch.randint(5, 90, (LENGTH,), generator=generator), "labels": index % 2}
        for index in range(40)
    ]
    arguments = transformers.TrainingArguments(
        str(tmp_path),
        max_steps=10,
        per_device_train_batch_size=4,
        save_steps=1,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    ends = []
    for resumed in (None, str(tmp_path / f"checkpoint-{saved_at}")):
        torch.manual_seed(0)
        model = transformers.BertForSequenceClassification(config)
        controller = sparsify(model, **SETTINGS, **WHEN)
        callback = SpionTrainerCallback(controller)
        trainer = transformers.Trainer(model, arguments, train_dataset=data, callbacks=[callback])
        trainer.train(resume_from_checkpoint=resumed)
        assert (controller.phase, controller.steps) == ("sparse", 10)
        assert set(controller.layer_steps.values()) == {6}
        ends.append(model.state_dict())
    for name, value in ends[0].items():
        assert torch.equal(ends[1][name], value), name


# Lightning asks torch for a class that torch has renamed, warns of resuming within an epoch, and
# where Slurm is installed of not being run by it.
@pytest.mark.filterwarnings("ignore:The `srun` command is available on your system")
@pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated")
@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before")
@pytest.mark.parametrize("saved_at", [5, 8])
def test_lightning_turns_a_model_sparse_and_resumes_to_the_bit(saved_at, tmp_path):
    lightning = pytest.importorskip("lightning.pytorch")
    from spion_bench.conversion.for_lightning import SpionLightningCallback

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            layer = nn.TransformerEncoderLayer(WIDTH, HEADS, WIDTH, 0.0, batch_first=True)
            self.model = nn.TransformerEncoder(layer, 2)

        def training_step(self, batch, index):
            return self.model(batch).square().mean()

        def configure_optimizers(self):
            return torch.optim.AdamW(self.parameters(), lr=1e-3)

    def fit(steps, resumed=None):
        module = Module()
        controller = sparsify(module.model, **SETTINGS, **WHEN)
        trainer = lightning.Trainer(
            max_steps=steps,
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            callbacks=[SpionLightningCallback(controller)],
            default_root_dir=tmp_path,
            accumulate_grad_batches=2,
        )
        loader = torch.utils.data.DataLoader(examples(), batch_size=1)
        trainer.fit(module, loader, ckpt_path=resumed, weights_only=True)
        return module, controller, trainer

    _, _, trainer = fit(saved_at)
    trainer.save_checkpoint(tmp_path / "saved.ckpt")
    straight, expected, _ = fit(10)
    module, controller, _ = fit(10, tmp_path / "saved.ckpt")
    assert (controller.phase, controller.steps) == ("sparse", 10)
    assert controller.layer_steps == expected.layer_steps
    for name, value in straight.state_dict().items():
        assert torch.equal(module.state_dict()[name], value), name
