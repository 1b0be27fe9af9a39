import re
from dataclasses import replace

import pytest
import torch

from spion_bench.block_pattern import BlockPattern
from spion_bench.harness import subject as subject_module
from spion_bench.harness.gate import GateResult
from spion_bench.harness.names import UsageError
from spion_bench.harness.registry import find_method
from spion_bench.harness.subject import (
    MissingDataError,
    UnsupportedError,
    check_support,
    prepare_subject,
)
from spion_bench.model.attention import Attention, Capabilities
from tests.harness.helpers import tiny_cell, tiny_job


def test_synthetic_patterns_have_the_methods_budget(tmp_path):
    job = tiny_job(tmp_path, "speed", "spion_cf", model={"layers": 2})
    subject = prepare_subject(job)
    # 8 block rows, quantile 0.9: index 56.7 of 64 values, so 7 blocks beside the diagonal
    assert [pattern.nnzb for pattern in subject.patterns] == [15, 15]
    info = subject.pattern_info()
    assert (info.source, info.block_size, info.length) == ("synthetic band+stripes", 32, 256)
    assert info.density == [15 / 64] * 2


def test_dense_methods_have_no_pattern(tmp_path):
    subject = prepare_subject(tiny_job(tmp_path, "speed", "dense_sdpa"))
    assert subject.patterns is None
    assert subject.pattern_info() is None
    assert subject.method_info().parameters == {}
    assert subject.method_info().caveats


def test_data_and_method_are_described(tmp_path):
    subject = prepare_subject(tiny_job(tmp_path, "speed", "spion_cf"))
    task = subject.task_info()
    assert (task.source, task.length, task.n_train, task.stand_in) == ("digits", 256, 64, True)
    method = subject.method_info()
    assert method.parameters["variant"] == "CF"
    assert method.parameters["quantile"] == 0.9


def test_gate_uses_every_different_pattern_once(tmp_path, monkeypatch):
    subject = prepare_subject(tiny_job(tmp_path, "speed", "spion_cf"))
    full, diagonal = BlockPattern.full(256, 32), BlockPattern.band(256, 32, 0)
    subject = replace(subject, patterns=[full, diagonal, full])
    checked = []

    def check(attention, shape, pattern, pruned, *, device):
        checked.append((attention.pattern, pattern, pruned))
        return original(attention, shape, pattern, pruned, device=device)

    original = subject_module.check_attention
    monkeypatch.setattr(subject_module, "check_attention", check)
    assert subject.check().reason is None
    assert checked == [(full, full, "zero_logit"), (diagonal, diagonal, "zero_logit")]


def test_a_failure_with_one_pattern_fails_the_gate(tmp_path, monkeypatch):
    subject = prepare_subject(tiny_job(tmp_path, "speed", "spion_cf"))
    full, diagonal = BlockPattern.full(256, 32), BlockPattern.band(256, 32, 0)
    subject = replace(subject, patterns=[full, diagonal])
    errors = {f"{n}{s}": 1.0 for n in ("out", "dq", "dk", "dv") for s in ("", "_budget")}

    def check(attention, shape, pattern, pruned, *, device):
        return GateResult(errors, "dq is off" if pattern == diagonal else None)

    monkeypatch.setattr(subject_module, "check_attention", check)
    assert subject.check().reason == "dq is off"


def test_missing_data_says_how_to_get_it(tmp_path):
    job = tiny_job(tmp_path, "speed", data_dir=str(tmp_path), options={"source": "cifar10"})
    with pytest.raises(MissingDataError, match=re.escape("cifar-10-binary.tar.gz")):
        prepare_subject(job)


def test_cuda_without_a_device_is_unsupported(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UnsupportedError, match="no CUDA device"):
        prepare_subject(tiny_job(tmp_path, "speed", device="cuda"))


def test_a_method_without_cuda_is_unsupported_there(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(UnsupportedError, match=r"spion_cf does not run on cuda.*runs on cpu"):
        prepare_subject(tiny_job(tmp_path, "speed", device="cuda"))


@pytest.mark.parametrize(
    ("capabilities", "message"),
    [
        (Capabilities(devices=("cuda",)), "does not run on cpu"),
        (Capabilities(dtypes=(torch.float64,)), "does not accept float32"),
        (Capabilities(backward=False), "has no backward pass"),
        (Capabilities(min_length=512), "at least 512 tokens, got 256"),
    ],
)
def test_what_a_method_cannot_do_is_unsupported(capabilities, message):
    class Limited(Attention):
        pass

    Limited.capabilities = capabilities
    with pytest.raises(UnsupportedError, match=message):
        check_support(tiny_cell("speed"), find_method("dense_sdpa"), Limited(), 256)


def test_wrong_settings_are_named(tmp_path):
    with pytest.raises(UsageError, match="spion: block_sise"):
        prepare_subject(tiny_job(tmp_path, "speed", spion={"block_sise": 8}))
