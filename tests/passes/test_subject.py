import re
from dataclasses import replace

import pytest
import torch

from spion_bench.block_pattern import BlockPattern
from spion_bench.model.attention import (
    Attention,
    Capabilities,
    SpionAttention,
    UnavailableError,
    UnsupportedError,
)
from spion_bench.passes import attention as attention_module
from spion_bench.passes import subject as subject_module
from spion_bench.passes.gate.oracle import GateResult
from spion_bench.passes.session import Job
from spion_bench.passes.subject import MissingDataError, check_support, prepare_subject
from spion_bench.records.names import UsageError
from spion_bench.tasks.image.fashion_mnist import FILES
from tests.cells import gate_errors, tiny_cell, tiny_job


def test_synthetic_patterns_have_the_methods_budget(tmp_path):
    job = tiny_job(tmp_path, "speed", "spion_cf", model={"layers": 2})
    subject = prepare_subject(job)
    # 8 block rows, quantile 0.9: index 56.7 of 64 values, so 7 blocks beside the diagonal
    assert [pattern.nnzb for pattern in subject.patterns] == [15, 15]
    info = subject.describe().pattern
    assert (info.source, info.block_size, info.length) == ("synthetic band+stripes", 32, 256)
    assert info.density == [15 / 64] * 2


def test_dense_methods_have_no_pattern(tmp_path):
    subject = prepare_subject(tiny_job(tmp_path, "speed", "dense_sdpa"))
    assert subject.patterns is None
    assert subject.describe().pattern is None
    assert subject.cell.method.arguments == {}
    assert subject.describe().attention.caveats


def test_data_and_method_are_described(tmp_path):
    subject = prepare_subject(tiny_job(tmp_path, "speed", "spion_cf"))
    task = subject.describe().task
    assert (task.source, task.length, task.n_train, task.stand_in) == ("digits", 256, 64, True)
    assert subject.cell.method.variant == "CF"
    assert subject.settings.spion.quantile == 0.9


def test_gate_uses_every_different_pattern_once(tmp_path, monkeypatch):
    subject = prepare_subject(tiny_job(tmp_path, "speed", "spion_cf"))
    full, diagonal = BlockPattern.full(256, 32), BlockPattern.band(256, 32, 0)
    subject = replace(subject, patterns=[full, diagonal, full])
    checked = []

    def check(attention, shape, pattern, pruned, **options):
        checked.append((pattern, pruned))  # the original compares the attention with it
        return original(attention, shape, pattern, pruned, **options)

    original = subject_module.check_attention
    monkeypatch.setattr(subject_module, "check_attention", check)
    assert subject.check().reason is None
    assert checked == [(full, "zero_logit"), (diagonal, "zero_logit")]


def test_a_failure_with_one_pattern_fails_the_gate(tmp_path, monkeypatch):
    subject = prepare_subject(tiny_job(tmp_path, "speed", "spion_cf"))
    full, diagonal = BlockPattern.full(256, 32), BlockPattern.band(256, 32, 0)
    subject = replace(subject, patterns=[full, diagonal])
    errors = gate_errors(out=1.0, dq=1.0, dk=1.0, dv=1.0)

    def check(attention, shape, pattern, pruned, **options):
        return GateResult(errors, "dq is off" if pattern == diagonal else None)

    monkeypatch.setattr(subject_module, "check_attention", check)
    assert subject.check().reason == "dq is off"


@pytest.mark.parametrize("name", ["bigbird", "longformer@matched", "spion+strided", "reformer"])
def test_other_methods_are_checked_by_their_own_mask_or_properties(tmp_path, name):
    subject = prepare_subject(tiny_job(tmp_path, "gate", name, model={"layers": 2}))
    result = subject.check()
    assert result.reason is None
    found = {error.name for error in result.errors}
    assert ("weights_sum" in found) == (name == "reformer")
    assert ("out" in found) == (name != "reformer")
    assert subject.describe().attention.exact == (name != "reformer")
    assert subject.cell.method.arguments


def test_every_layer_with_a_mask_of_its_own_is_checked(tmp_path, monkeypatch):
    subject = prepare_subject(tiny_job(tmp_path, "gate", "bigbird", model={"layers": 2}))
    masks = []

    def check(attention, shape, **options):
        masks.append(attention.token_mask(1280, shape.heads))
        return GateResult(gate_errors(out=0.0), None)

    monkeypatch.setattr(subject_module, "check_own_mask", check)
    subject.check()
    assert len(masks) == 2
    assert not torch.equal(*masks)


def test_missing_data_says_how_to_get_it(tmp_path):
    job = tiny_job(tmp_path, "speed", data_dir=str(tmp_path), options={"source": "cifar10"})
    with pytest.raises(MissingDataError, match=re.escape("cifar-10-binary.tar.gz")):
        prepare_subject(job)


def test_damaged_data_are_said_not_raised(tmp_path):
    (tmp_path / "fashion-mnist").mkdir()
    for name in FILES:
        (tmp_path / "fashion-mnist" / name).write_bytes(b"\x1f\x8bnothing")
    options = {"source": "fashion-mnist"}
    with pytest.raises(MissingDataError, match=r"cannot be read as a gzip file.*download"):
        prepare_subject(tiny_job(tmp_path, "speed", data_dir=str(tmp_path), options=options))


def test_cuda_without_a_device_is_unsupported(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UnavailableError, match="no CUDA device"):
        prepare_subject(tiny_job(tmp_path, "speed", device="cuda"))


def test_a_method_without_cuda_is_unsupported_there(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    cell = tiny_cell("speed", device="cuda")
    without = cell.method.model_copy(update={"devices": ("cpu",)})
    job = Job(cell=cell.model_copy(update={"method": without}), out=str(tmp_path))
    with pytest.raises(UnsupportedError, match=r"spion_cf does not run on cuda.*runs on cpu"):
        prepare_subject(job)


@pytest.mark.parametrize(
    ("capabilities", "message"),
    [
        (Capabilities(devices=("cuda",)), "does not run on cpu"),
        (Capabilities(dtypes=(torch.float64,)), "does not accept float32"),
        (Capabilities(backward=False), "has no backward pass"),
        (Capabilities(forward_only_devices=("cpu",)), "no backward pass on cpu"),
        (Capabilities(min_length=512), "at least 512 tokens, got 256"),
    ],
)
def test_what_a_method_cannot_do_is_unsupported(capabilities, message):
    class Limited(Attention):
        pass

    Limited.capabilities = capabilities
    with pytest.raises(UnsupportedError, match=message):
        check_support(tiny_cell("speed", "dense_sdpa"), Limited())


def test_a_method_says_in_its_own_words_why_it_cannot_run():
    class Limited(Attention):
        capabilities = Capabilities(devices=("cuda",))

        def refusal(self, device):
            return f"the library knows no {device}"

    with pytest.raises(UnsupportedError, match="runs on cuda; the library knows no cpu"):
        check_support(tiny_cell("speed", "dense_sdpa"), Limited())


def test_what_the_kernels_do_not_take_is_unsupported():
    cell = tiny_cell("speed", "spion_cf", spion={"block_size": 8}, device="cuda")
    with pytest.raises(UnsupportedError, match=r"spion_cf: expected blocks of 16, .* got 8"):
        check_support(cell, SpionAttention("zero_logit"))


def test_a_method_without_backward_pass_is_still_gated_forward(tmp_path, monkeypatch):
    class ForwardOnly(SpionAttention):
        capabilities = Capabilities(forward_only_devices=("cpu",))

        def forward(self, q, k, v, key_padding_mask=None):
            assert not q.requires_grad
            return super().forward(q, k, v, key_padding_mask)

        def details(self):
            return {"operator": "some kernel"}

    monkeypatch.setattr(attention_module, "load_object", lambda name: ForwardOnly)
    subject = prepare_subject(tiny_job(tmp_path, "gate", "spion_cf", model={"layers": 1}))
    result = subject.check()
    assert result.reason is None
    assert [error.name for error in result.errors] == ["out"]
    assert subject.describe().attention.chosen == {"operator": "some kernel"}


def test_wrong_settings_are_named(tmp_path):
    with pytest.raises(UsageError, match="spion: block_sise"):
        tiny_job(tmp_path, "speed", spion={"block_sise": 8})


@pytest.mark.parametrize("blocks", ["window", "random"])
def test_a_methods_blocks_may_lie_elsewhere_but_are_as_many(tmp_path, blocks):
    own = prepare_subject(tiny_job(tmp_path, "speed", "spion_cf"))
    other = prepare_subject(tiny_job(tmp_path, "speed", f"spion_cf@{blocks}"))
    assert [p.nnzb for p in other.patterns] == [p.nnzb for p in own.patterns]
    assert other.patterns != own.patterns
    assert other.pattern_source.startswith(f"{blocks}, as many blocks as in: synthetic")
