import pytest
import torch

from spion_bench.train.checkpoint import CheckpointError
from tests.conversion.models import batch, converted, encoder, train

NAMES = ["layers.0.self_attn", "layers.1.self_attn"]


def test_all_layers_turn_sparse_after_the_given_step():
    model, controller = converted(switch=3)
    assert train(model, controller, 5) == [[], [], NAMES, [], []]
    assert controller.phase == "sparse"
    assert controller.layer_steps == dict.fromkeys(NAMES, 3)
    assert list(controller.stages) == list(controller.patterns) == NAMES


def test_settled_maps_end_the_dense_phase_at_the_third_observation():
    model, controller = converted(switch="joint", observe_every=2, threshold_percent=10**9)
    assert train(model, controller, 7) == [[], [], [], [], [], NAMES, []]
    assert [entry["evaluation"] for entry in controller.log] == [1, 2, 3]


def test_layers_can_turn_sparse_one_by_one():
    model, controller = converted(switch="per_layer", observe_every=1, latest_step=6)
    with torch.no_grad():  # constant maps: this layer settles at once, the other is disturbed
        model.layers[0].self_attn.in_proj_weight.zero_()
        model.layers[0].self_attn.in_proj_bias.zero_()
    turned, optimizer_steps = [], 6
    for step in range(optimizer_steps):
        with torch.no_grad():
            model.layers[1].self_attn.in_proj_weight.mul_(1.0 + step)
        model(batch()[0])
        turned.append(controller.step())
        if step == 3:
            assert controller.phase == "mixed"
    assert turned[2] == NAMES[:1]
    assert turned[5] == NAMES[1:]


def test_latest_step_turns_layers_sparse_that_have_not_settled():
    model, controller = converted(switch="joint", observe_every=50, latest_step=2)
    assert train(model, controller, 3) == [[], NAMES, []]


def test_by_hand_the_next_step_is_watched():
    model, controller = converted(switch="by_hand")
    assert train(model, controller, 2) == [[], []]
    controller.switch_after_next_step()
    assert train(model, controller, 2) == [NAMES, []]


def test_evaluation_between_two_steps_is_not_watched():
    model, controller = converted(switch=1)
    x, _ = batch()
    model.eval()
    with torch.no_grad():
        model(2 * x)
    model.train()
    train(model, controller, 1)
    other, expected = converted(switch=1)
    train(other, expected, 1)
    assert controller.patterns == expected.patterns


def test_a_step_without_a_forward_pass_is_an_error():
    _, controller = converted(switch=1)
    with pytest.raises(RuntimeError, match=r"layers.0.self_attn: no forward pass in training mode"):
        controller.step()


@pytest.mark.parametrize("saved_at", [3, 6])
def test_a_resumed_training_is_the_undisturbed_one_to_the_bit(saved_at, tmp_path):
    when = {"switch": "joint", "observe_every": 2, "latest_step": 5}
    model, controller = converted(**when)
    train(model, controller, saved_at)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    controller.save(tmp_path / "spion")
    train(model, controller, 8 - saved_at)

    resumed, again = converted(**when)
    resumed.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    again.load(tmp_path / "spion")
    train(resumed, again, 8 - saved_at)
    assert again.phase == "sparse"
    assert again.layer_steps == controller.layer_steps == dict.fromkeys(NAMES, 5)
    assert again.log == controller.log
    for name, value in model.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value)


def test_a_checkpoint_says_what_is_missing():
    model, controller = converted()
    train(model, controller, 2)
    with pytest.raises(
        RuntimeError, match=r"Unexpected key.*layers.0.self_attn.spion.crow_indices"
    ):
        encoder().load_state_dict(model.state_dict())
    with pytest.raises(RuntimeError, match=r"Missing key.*layers.0.self_attn.spion.crow_indices"):
        model.load_state_dict(encoder().state_dict())
    _, dense = converted()
    with pytest.raises(ValueError, match="load the model's state dict of the same moment"):
        dense.load_state_dict(controller.state_dict())


def test_what_is_no_state_is_refused():
    _, controller = converted()
    with pytest.raises(ValueError, match="got one without layer_steps, maps, monitor, requested"):
        controller.load_state_dict({"steps": 3})
    assert controller.steps == 0


def test_a_map_that_is_not_finite_is_no_pattern():
    model, controller = converted(switch=1)
    with torch.no_grad():
        model.layers[0].self_attn.in_proj_weight.fill_(float("nan"))
    with pytest.raises(ValueError, match="NaN or infinity"):
        train(model, controller, 1)


def test_a_folder_without_state_or_of_other_layers_is_refused(tmp_path):
    _, controller = converted()
    with pytest.raises(CheckpointError, match="of a training without SPION"):
        controller.load(tmp_path)
    _, one = converted(modules=NAMES[:1])
    one.save(tmp_path)
    with pytest.raises(CheckpointError, match=r"different: layers"):
        controller.load(tmp_path)


def test_a_request_survives_a_resume():
    model, controller = converted(switch="by_hand")
    train(model, controller, 1)
    controller.switch_after_next_step()
    resumed, again = converted(switch="by_hand")
    again.load_state_dict(controller.state_dict())
    assert train(resumed, again, 1) == [NAMES]
