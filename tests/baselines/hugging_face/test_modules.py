import importlib.util
import math
import random

import numpy as np
import pytest
import torch

from baselines.block.bigbird import BigBird
from baselines.block.spion_kernel import SpionKernel
from baselines.hugging_face.bigbird import BigBirdHF
from baselines.hugging_face.longformer import LongformerHF
from baselines.hugging_face.reformer import ReformerHF
from baselines.shared.third_party import load_optional
from spion_bench.block_pattern import BlockPattern
from spion_bench.model.attention import UnavailableError, UnsupportedError

needs_transformers = pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None,
    reason="transformers is not installed; pip install 'spion_bench[hf]'",
)
LENGTH = 128
MAKERS = {
    "longformer": lambda: LongformerHF(window=16, n_global=2),
    "bigbird": lambda: BigBirdHF(block_size=8, n_random=2, layer=1),
    "reformer": lambda: ReformerHF(chunk=16, n_hashes=2),
}
every_method = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def inputs(length=LENGTH):
    return [torch.randn(2, 3, length, 8, requires_grad=True) for _ in "qkv"]


@pytest.fixture
def padding():
    return torch.arange(LENGTH) < torch.tensor([[LENGTH], [90]])


def masked_attention(q, k, v, keep):
    """Attend to the keys of ``keep`` (broadcastable to ``[B, H, L, L]``), in float64."""
    scores = (q.double() @ k.double().mT / math.sqrt(q.shape[-1])).masked_fill(~keep, -math.inf)
    return scores.softmax(-1) @ v.double()


def window_and_global(window, n_global):
    place = torch.arange(LENGTH)
    keep = (place[:, None] - place).abs() <= window // 2
    keep[:n_global] = True
    keep[:, :n_global] = True
    return keep


def kept_blocks(attention, q, k, v):
    """Return the bool ``[B, H, L, L]`` mask of what a BigBird module attends to."""
    kept = []
    attention(q, k, v)
    hook = attention.module.register_forward_hook(lambda _, given, out: kept.append(out[1] > 0))
    attention(q, k, v)
    hook.remove()
    return kept[0]


@needs_transformers
@pytest.mark.parametrize("n_global", [0, 3])
@pytest.mark.parametrize("is_padded", [False, True])
def test_longformer_is_exact_over_its_mask(padding, n_global, is_padded):
    mask = padding if is_padded else None
    q, k, v = inputs()
    out = LongformerHF(window=16, n_global=n_global)(q, k, v, mask)
    keep = window_and_global(16, n_global)
    if is_padded:
        # Rows of padding are 0 in the module; here they attend to themselves, then are cleared.
        keep = keep & padding[:, None, None, :] | torch.eye(LENGTH, dtype=torch.bool)
    expected = masked_attention(q, k, v, keep)
    if is_padded:
        expected = expected * padding[:, None, :, None]
    torch.testing.assert_close(out, expected.float())
    weight = torch.randn_like(out)
    found = torch.autograd.grad(out, (q, k, v), weight)
    wanted = torch.autograd.grad(expected, (q, k, v), weight.double())
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@needs_transformers
def test_bigbird_is_exact_over_its_blocks_in_training(padding):
    q, k, v = inputs()
    attention = BigBirdHF(block_size=8, n_random=2, layer=3)
    keep = kept_blocks(attention, q, k, v)
    torch.testing.assert_close(attention(q, k, v), masked_attention(q, k, v, keep).float())
    padded = masked_attention(q, k, v, keep & padding[:, None, None, :]) * padding[:, None, :, None]
    torch.testing.assert_close(attention(q, k, v, padding), padded.float())
    blocks = keep[0, 0, ::8, ::8]
    assert blocks[[0, -1]].all()
    assert blocks[:, [0, -1]].all()
    middle = blocks[2:-2].sum(dim=1)
    assert middle.tolist() == [3 + 2 + 2] * len(middle)  # window, global, random
    assert attention.n_scores(LENGTH, heads=3) == keep[0].sum()


@needs_transformers
@pytest.mark.parametrize(
    "ours",
    [BigBird(block_size=8), SpionKernel("bigbird_block", block_size=8)],
    ids=["bigbird", "spion@bigbird_block"],
)
def test_bigbird_trained_on_its_blocks_is_our_function(ours, padding):
    q, k, v = inputs()
    attention = BigBirdHF(block_size=8, n_random=2, layer=3)
    keep = kept_blocks(attention, q, k, v)
    theirs = attention(q, k, v, padding)
    found = []
    for head in range(q.shape[1]):  # the module draws blocks per head, a BlockPattern has one set
        pattern = BlockPattern.from_mask(keep[0, head, ::8, ::8], block_size=8)
        one = [x[:, head : head + 1] for x in (q, k, v)]
        found.append(ours.attend(*one, padding, pattern))
    out = torch.cat(found, dim=1) * padding[:, None, :, None]
    torch.testing.assert_close(out, theirs)
    weight = torch.randn_like(out)
    torch.testing.assert_close(
        torch.autograd.grad(out, (q, k, v), weight),
        torch.autograd.grad(theirs, (q, k, v), weight),
        rtol=1e-4,
        atol=1e-5,
    )


@needs_transformers
def test_bigbird_evaluates_another_function_than_it_trains():
    q, k, v = inputs()
    attention = BigBirdHF(block_size=8, n_random=2)
    trained = attention(q, k, v)
    blocks = kept_blocks(attention, q, k, v).sum()
    evaluated = attention.eval()(q, k, v)
    assert (trained - evaluated).detach().abs().max() > 0.05
    assert kept_blocks(attention, q, k, v).sum() < blocks


@needs_transformers
def test_bigbird_layers_draw_their_own_blocks_and_keep_them():
    q, k, v = inputs()
    first, same, other = (BigBirdHF(block_size=8, n_random=2, layer=n)(q, k, v) for n in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@needs_transformers
def test_reformer_with_two_chunks_is_full_attention_of_shared_queries_and_keys():
    q, k, v = inputs(32)  # a chunk sees the one before it, which with two chunks is everything
    out = ReformerHF(chunk=16, n_hashes=1)(q, k, v)
    keys = q.double() * torch.rsqrt(q.double().square().mean(-1, keepdim=True) + 1e-6)
    own = torch.eye(32, dtype=torch.bool)  # a token sees itself only if it sees nothing else
    torch.testing.assert_close(out, masked_attention(q, keys, v, ~own).float())


@needs_transformers
def test_reformer_counts_the_scores_of_two_chunks_per_round():
    assert ReformerHF(chunk=16, n_hashes=3).n_scores(LENGTH, heads=2) == 2 * 3 * LENGTH * 2 * 16


@needs_transformers
def test_reformer_ignores_k():
    q, k, v = inputs()
    attention = ReformerHF(chunk=16)
    assert torch.equal(attention(q, k, v), attention(q, v, v))


@needs_transformers
def test_reformer_hashes_are_fixed_per_layer():
    q, k, v = inputs()
    first, same, other = (ReformerHF(chunk=16, layer=n)(q, k, v) for n in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@needs_transformers
@every_method
def test_random_states_are_left_alone(make, padding):
    def states():
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()

    q, k, v = inputs()
    attention = make()
    for mask in (None, padding):
        before = states()
        attention(q, k, v, mask)
        assert states() == before


@needs_transformers
def test_without_the_fence_random_states_would_change():
    q, k, v = inputs()
    bigbird, reformer = MAKERS["bigbird"](), MAKERS["reformer"]()
    numpy_before, torch_before = np.random.get_state()[1].tolist(), torch.get_rng_state()
    for attention in (bigbird, reformer):
        attention(q, k, v)  # builds the module
        merged = [x.transpose(1, 2).flatten(2) for x in (q, k, v)]
        attention.attend(*merged, None)
    assert np.random.get_state()[1].tolist() != numpy_before
    assert not torch.equal(torch.get_rng_state(), torch_before)


@needs_transformers
@every_method
def test_no_parameters_beyond_the_suites(make, padding):
    attention = make()
    q, k, v = inputs()
    before = [x.detach().clone() for x in (q, k, v)]
    attention(q, k, v, padding)
    assert not list(attention.parameters())
    assert not attention.state_dict()
    assert all(torch.equal(x, old) for x, old in zip((q, k, v), before, strict=True))


@needs_transformers
@every_method
def test_another_shape_builds_another_module(make):
    attention = make()
    attention(*inputs())
    longer = inputs(2 * LENGTH)
    torch.testing.assert_close(attention(*longer), make()(*longer))


@needs_transformers
@pytest.mark.parametrize(
    ("make", "length", "message"),
    [
        (MAKERS["longformer"], 72, "multiple of the window of 16 tokens, got 72"),
        (MAKERS["bigbird"], 72, "above 72 tokens, got 72"),
        (MAKERS["bigbird"], 100, "multiple of the block size"),
        (MAKERS["reformer"], 16, "above one chunk, got 16"),
        (MAKERS["reformer"], 40, "chunks of 16 tokens"),
    ],
)
def test_lengths_that_a_module_cannot_compute_are_unsupported(make, length, message):
    with pytest.raises(UnsupportedError, match=message):
        make()(*inputs(length))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LongformerHF(window=7), "window: expected an even number"),
        (lambda: LongformerHF(n_global=-1), "n_global: expected at least 0"),
        (lambda: BigBirdHF(block_size=0), "block_size: expected at least 1"),
        (lambda: BigBirdHF(n_random=0), "n_random: expected at least 1"),
        (lambda: ReformerHF(chunk=0), "chunk: expected at least 1"),
        (lambda: ReformerHF(n_hashes=0), "n_hashes: expected at least 1"),
    ],
)
def test_wrong_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_missing_package_names_its_extra():
    with pytest.raises(UnavailableError, match=r"pip install 'spion_bench\[hf\]'"):
        load_optional("no_such_package.module", extra="hf")


@pytest.mark.parametrize("method", [LongformerHF, BigBirdHF, ReformerHF])
def test_defects_are_caveats(method):
    assert "replaced by the suite's q, k and v" in method.caveats[0]
    assert len(method.caveats) >= 4
