import pytest
import torch

from spion_bench.block_pattern import BlockPattern
from spion_bench.train.checkpoint import CheckpointStore
from spion_bench.train.state import BestWeights, DevPoint, LayerStages, TrainState
from tests.train.tiny import tiny_settings


@pytest.fixture
def state():
    state = TrainState.at_start(2, tiny_settings(transition_mode="per_layer").spion)
    state.monitor.observe([torch.rand(4, 4), torch.rand(4, 4)])
    state.step, state.forced, state.forked_from_prefix = 7, True, True
    state.patterns[1], state.layer_steps[1] = BlockPattern.band(32, 8, 1), 4
    state.stages[1] = LayerStages(torch.rand(4, 4), torch.rand(4, 4), torch.rand(4, 4) > 0.5)
    state.pending = {0: torch.rand(4, 4)}
    state.train_loss, state.lr = [0.1 + 0.2, 1 / 3], [1e-3, 1e-4]
    state.dev = [DevPoint(3, 0.5, 2 / 3)]
    state.best["dense"] = BestWeights(state.dev[0], {"weight": torch.rand(3)})
    state.usage["dense"].wall_s, state.usage["dense"].step_s = 1 / 7, [1 / 7]
    state.usage["dense"].peak_bytes = 2**40 + 1
    return state


def test_nothing_is_lost_in_a_checkpoint(state, tmp_path):
    store = CheckpointStore(tmp_path, {}, every_s=60)
    store.save(state.to_tree())
    loaded = TrainState.at_start(2, tiny_settings(transition_mode="per_layer").spion)
    usage = loaded.usage["dense"]
    loaded.load_tree(store.load())
    for name in ("step", "forced", "forked_from_prefix", "patterns", "layer_steps"):
        assert getattr(loaded, name) == getattr(state, name), name
    for name in ("train_loss", "lr", "dev", "usage"):
        assert getattr(loaded, name) == getattr(state, name), name
    assert loaded.usage["dense"] is usage  # clocks hold on to it
    assert loaded.stages[0] is None
    for name in ("map", "pooled", "mask"):
        assert torch.equal(getattr(loaded.stages[1], name), getattr(state.stages[1], name))
    assert torch.equal(loaded.pending[0], state.pending[0])
    assert loaded.best["dense"].point == state.best["dense"].point
    assert torch.equal(
        loaded.best["dense"].weights["weight"], state.best["dense"].weights["weight"]
    )
    assert loaded.monitor.log == state.monitor.log


def test_phase_is_dense_until_every_layer_is_sparse(state):
    assert (state.phase, state.transition_step) == ("dense", None)
    state.layer_steps[0] = 6
    assert (state.phase, state.transition_step) == ("sparse", 6)


def test_patterns_in_force_after_a_step(state):
    # The evaluation after step 4 still ran without the pattern that was made right after it.
    assert state.patterns_at(4) == [None, None]
    assert state.patterns_at(5) == [None, BlockPattern.band(32, 8, 1)]
