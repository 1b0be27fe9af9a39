"""``spion_bench.sparsify``: SPION in a model of one's own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from spion_bench.block_pattern import check_block_size
from spion_bench.conversion import hugging_face, sdpa
from spion_bench.conversion.controller import SpionController, Switch, When, make_pattern
from spion_bench.conversion.layer import SUBMODULE, ConvertedAttention
from spion_bench.literals import Pruned, Selection, TransitionMode, Variant
from spion_bench.pattern.generate import PUBLISHED_FILTER_SIZE
from spion_bench.records.settings import SpionConfig

PUBLISHED_THRESHOLD_PERCENT = 15


def sparsify(
    model: nn.Module,
    *,
    modules: Sequence[str] | None = None,
    switch: Switch = "joint",
    observe_every: int | None = None,
    latest_step: int | None = None,
    variant: Variant = "CF",
    block_size: int = 32,
    quantile: float = 0.96,
    density: float = 0.1,
    filter_size: int = PUBLISHED_FILTER_SIZE,
    selection: Selection = "walk",
    pruned: Pruned = "zero_logit",
    threshold_percent: int = PUBLISHED_THRESHOLD_PERCENT,
) -> SpionController:
    """Convert a model's self-attention in place, and return what takes it through SPION's phases.

    The model trains densely, exactly as before, until its layers turn sparse; then they attend to
    the blocks that their own attention maps singled out. Parameters, their names and the optimiser
    stay as they are. Patterns are in the model's state dict (``<module>.spion.*``): convert a new
    model before you load it, and it is sparse.

    ::

        controller = sparsify(model, observe_every=100, latest_step=2000)
        for batch in loader:
            loss(model(batch)).backward()
            optimizer.step(); optimizer.zero_grad()
            controller.step()

    Args:
        model: A Hugging Face model (encoders through transformers' attention interface), or any
            module that contains ``nn.MultiheadAttention`` (``nn.TransformerEncoder`` does). All
            their self-attention is converted where ``modules`` is None.
        modules: Qualified names, as in ``model.named_modules()``, of the modules to convert: each
            calls ``scaled_dot_product_attention`` once in a forward pass.
        switch: ``"joint"``: all layers turn sparse when every layer's map has settled (the
            published code). ``"per_layer"``: each by itself (the paper's text). A number: all,
            after so many steps. ``"by_hand"``: when ``switch_after_next_step()`` is called.
        observe_every: Steps between two looks at the maps; needed by ``"joint"`` and
            ``"per_layer"``. The third look is the earliest at which a layer may turn sparse.
        latest_step: After this many steps, layers that have not settled turn sparse all the same.
        variant: SPION's ``"C"``, ``"F"`` or ``"CF"``.
        block_size: Rows and columns of a block, in tokens: a power of two from 8 to 128.
        quantile: F and CF: blocks must exceed this quantile of the pooled map.
        density: C: share of the blocks to keep.
        filter_size: C and CF: length of the diagonal filter, odd.
        selection: F and CF: ``"walk"`` or ``"connected"``, see ``generate_pattern``.
        pruned: What a pruned score counts as; ``"zero_logit"`` is the published code,
            ``"minus_inf"`` leaves pruned scores out of the softmax.
        threshold_percent: How much a map may still change for its layer to have settled.

    What the sparse phase cannot do is refused before the dense phase begins: settings here; what
    the model asks of its attention (head width, dtype, device, masks, dropout) at its first forward
    pass, and sequences of different lengths at the first that differs.

    Raises:
        ValueError: If nothing to convert is found, a name is unknown, the model is converted
            already, or the arguments do not fit together.
        pydantic.ValidationError: If a setting is out of range, naming it.
        BuildError: If the kernels cannot be built here; they are built now, if need be.
    """
    _check(switch, observe_every, latest_step, block_size)
    mode: TransitionMode = "per_layer" if switch == "per_layer" else "joint"
    settings = SpionConfig(
        block_size=block_size,
        quantile=quantile,
        density=density,
        filter_size=filter_size,
        transition_threshold_percent=threshold_percent,
        pruned=pruned,
        selection=selection,
        transition_mode=mode,
    )
    found = _modules(model, modules)
    through_interface = modules is None and hugging_face.is_model(model)
    _rehearse(variant, settings)
    layers = {name: ConvertedAttention(name, pruned, block_size) for name in found}
    for name, module in found.items():
        layers[name].to(_device(module))
        layers[name].train(module.training)
        if through_interface:
            module.add_module(SUBMODULE, layers[name])
        else:
            sdpa.convert(module, layers[name])
    if through_interface:
        hugging_face.use_interface(model)
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoder):
            module.use_nested_tensor = False  # else it hands padded batches to its fused path
    return SpionController(layers, variant, settings, When(switch, observe_every, latest_step))


def _rehearse(variant: Variant, settings: SpionConfig) -> None:
    """Make a pattern of a map without features, so that what cannot be done is said now."""
    size = 2 * settings.block_size
    make_pattern(torch.full((size, size), 1 / size), variant, settings)


def _check(
    switch: Switch, observe_every: int | None, latest_step: int | None, block_size: int
) -> None:
    check_block_size(block_size)
    if switch in ("joint", "per_layer"):
        if observe_every is None:
            raise ValueError(
                f"observe_every: expected a number of steps with switch={switch!r}, got None; "
                "for example the steps between two of your evaluations"
            )
    elif observe_every is not None:
        raise ValueError(
            f"observe_every: expected None with switch={switch!r}, got {observe_every}; maps are "
            "observed for the criterion of 'joint' and 'per_layer' alone"
        )
    elif switch != "by_hand" and not _is_number_of_steps(switch):
        raise ValueError(
            "switch: expected 'joint', 'per_layer', 'by_hand' or a number of steps from 1, got "
            f"{switch!r}"
        )
    for name, value in (("observe_every", observe_every), ("latest_step", latest_step)):
        if value is not None and not _is_number_of_steps(value):
            raise ValueError(f"{name}: expected a positive int, a number of steps, got {value!r}")


def _is_number_of_steps(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _modules(model: nn.Module, names: Sequence[str] | None) -> dict[str, nn.Module]:
    if isinstance(names, str):
        raise ValueError(f"modules: expected a list of names, got the text {names!r}")
    every = dict(model.named_modules())
    if names is not None:
        unknown = [name for name in names if name not in every]
        if unknown:
            raise ValueError(f"modules: expected names from named_modules(), got {unknown}")
        found = {name: every[name] for name in names}
    elif hugging_face.is_model(model):
        found = hugging_face.attention_modules(model)
    else:
        decoders = [m for m in every.values() if isinstance(m, nn.TransformerDecoderLayer)]
        cross = [id(decoder.multihead_attn) for decoder in decoders]
        found = {
            name: module
            for name, module in every.items()
            if isinstance(module, nn.MultiheadAttention) and id(module) not in cross
        }
    if not found:
        raise ValueError(
            f"model: found no self-attention in {type(model).__name__} that can be converted by "
            "itself (nn.MultiheadAttention, or a Hugging Face model that is passed itself); name "
            "the modules that call scaled_dot_product_attention in `modules`"
        )
    converted = [name for name, module in found.items() if hasattr(module, SUBMODULE)]
    if converted:
        raise ValueError(f"model: {converted} are converted already; sparsify a model once")
    return found


def _device(module: nn.Module) -> str:
    parameter = next(module.parameters(), None)
    return "cpu" if parameter is None else str(parameter.device)
