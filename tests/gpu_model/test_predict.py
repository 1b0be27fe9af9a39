from __future__ import annotations

from itertools import pairwise

import pytest

from spion_bench.gpu_model.devices import A100, GPUS, H100, HALF, PRECISIONS, TF32, TF32X3
from spion_bench.gpu_model.predict import (
    METHODS,
    PASSES,
    RESIDENT_BLOCKS,
    Prediction,
    predict,
)
from spion_bench.gpu_model.work import WARP_COUNTS, WORK
from spion_bench.records import KernelShape
from tests.native.cuda_resources import Kernel, read_table

# Shapes whose limits were computed by hand: four tensors of 256 * 1024 * 32 halves are 67.1 MB.
IMAGE = KernelShape(batch=128, heads=2, length=1024, head_dim=32, block_size=32, n_blocks=64)
LISTOPS = KernelShape(batch=256, heads=2, length=2048, head_dim=32, block_size=64, n_blocks=48)
RETRIEVAL = KernelShape(batch=32, heads=2, length=4096, head_dim=32, block_size=64, n_blocks=104)
CLOSE = 0.03  # hand-computed figures have two or three digits and leave out the log-sum-exp


def changed(shape, **fields):
    return shape.model_copy(update=fields)


def floors(gpu, method, precision, shape):
    """Return each limit's floor in µs, forward and backward."""
    both = [predict(gpu, method, pass_, precision, shape).floors for pass_ in PASSES]
    return {name: tuple(1e6 * each[name] for each in both) for name in both[0]}


def every_prediction() -> list[Prediction]:
    return [
        predict(gpu, method, pass_, precision, shape)
        for gpu in GPUS.values()
        for method, pass_ in WORK
        for precision in PRECISIONS.values()
        for shape in (IMAGE, LISTOPS, RETRIEVAL, changed(IMAGE, batch=1, n_blocks=32))
    ]


def test_peaks_follow_from_clock_and_sms():
    assert A100.half_flops_s == pytest.approx(312e12, rel=1e-3)
    assert H100.half_flops_s == pytest.approx(989e12, rel=1e-3)
    assert A100.half_flops_s * TF32.relative_rate == pytest.approx(156e12, rel=1e-3)


@pytest.mark.parametrize(
    ("shape", "precision", "a100", "h100"),
    [
        (IMAGE, HALF, (33, 74), (20, 45)),
        (LISTOPS, HALF, (132, 296), (80, 180)),
        (RETRIEVAL, HALF, (33, 74), (20, 45)),
        (IMAGE, TF32, (66, 148), (40, 90)),
        (LISTOPS, TF32X3, (263, 592), (160, 360)),
    ],
)
def test_fused_moves_4_tensors_forward_and_9_backward(shape, precision, a100, h100):
    for gpu, expected in ((A100, a100), (H100, h100)):
        found = floors(gpu, "block_attention", precision, shape)["HBM"]
        assert found == pytest.approx(expected, rel=0.04)


@pytest.mark.parametrize(
    ("shape", "precision", "expected"),
    [
        (IMAGE, HALF, (99, 181)),
        (LISTOPS, HALF, (527, 954)),
        (RETRIEVAL, HALF, (140, 253)),
        (IMAGE, TF32, (197, 362)),
        (LISTOPS, TF32, (1053, 1909)),
    ],
)
def test_the_pipeline_also_moves_scores_4_times_forward_and_7_backward(shape, precision, expected):
    found = floors(A100, "pipeline", precision, shape)["HBM"]
    assert found == pytest.approx(expected, rel=CLOSE)


@pytest.mark.parametrize(
    ("shape", "half", "tf32", "tf32x3", "exps"),
    [
        (IMAGE, (6.9, 24), (14, 48), (41, 145), 7),
        (LISTOPS, (41, 145), (83, 289), (248, 867), 41),
        (RETRIEVAL, (11, 39), (22, 78), (67, 235), 11),
    ],
)
def test_tensor_cores_and_exponentials_by_hand(shape, half, tf32, tf32x3, exps):
    for precision, expected in ((HALF, half), (TF32, tf32), (TF32X3, tf32x3)):
        found = floors(A100, "block_attention", precision, shape)
        assert found["tensor cores"] == pytest.approx(expected, rel=CLOSE)
        assert found["exponentials"] == pytest.approx((exps, 2 * exps), rel=CLOSE)


@pytest.mark.parametrize(
    ("part", "shape", "us"),
    [
        ("forward", IMAGE, 23),
        ("dq", IMAGE, 19),
        ("dkv", IMAGE, 22),
        ("forward", LISTOPS, 93),
        ("dq", LISTOPS, 86),
        ("dkv", LISTOPS, 99),
        ("forward", RETRIEVAL, 24),
    ],
)
def test_issue_slots_by_hand(part, shape, us):
    count = WARP_COUNTS[part, shape.block_size].of(shape, HALF)
    assert 1e6 * count / A100.issue_s == pytest.approx(us, rel=CLOSE)


def test_dense_times_are_the_published_rates_times_the_scores():
    forward, backward = (predict(A100, "dense_sdpa", p, HALF, IMAGE).expected_s for p in PASSES)
    scores = 256 * 1024 * 1024
    assert forward == pytest.approx(0.88e-12 * scores + 5e-6)
    assert forward + backward == pytest.approx(3.6e-12 * scores + 20e-6)


def test_expected_memory_time_by_hand():
    fused = predict(H100, "block_attention", "forward", TF32, IMAGE)
    n_bytes = 4 * 256 * 1024 * 32 * 4 + 4 * 256 * 1024
    assert fused.expected_s == pytest.approx(n_bytes / (0.85 * 3.35e12) + 5e-6)
    assert fused.expected_limit == fused.floor_limit == "HBM"
    assert fused.high_s == pytest.approx(1.3 * n_bytes / (0.85 * 3.35e12) + 5e-6)


def test_a_full_pattern_costs_what_dense_attention_costs():
    full = changed(IMAGE, n_blocks=IMAGE.nb**2)
    flops = {key: sum(x.flops for x in work(full, HALF)) for key, work in WORK.items()}
    exps = {key: sum(x.exps for x in work(full, HALF)) for key, work in WORK.items()}
    assert full.density == 1
    for method in ("pipeline", "block_attention"):
        assert flops[method, "forward"] == flops["dense_sdpa", "forward"] == 4 * 32 * 2**28
    assert flops["dense_sdpa", "backward"] == 10 * 32 * 2**28
    assert flops["pipeline", "backward"] == 8 * 32 * 2**28  # S is stored as P
    assert flops["block_attention", "backward"] == 14 * 32 * 2**28  # S and dP twice
    assert exps["block_attention", "forward"] == exps["dense_sdpa", "forward"] == 2**28


@pytest.mark.parametrize(("method", "pass_"), WORK)
def test_more_blocks_take_longer_and_dense_does_not_care(method, pass_):
    times = [
        predict(A100, method, pass_, HALF, changed(LISTOPS, n_blocks=n))
        for n in (32, 64, 256, 1024)
    ]
    for less, more in pairwise(times):
        if method == "dense_sdpa":
            assert less == more
        else:
            assert less.expected_s < more.expected_s
            assert all(less.floors[name] <= more.floors[name] for name in less.floors)


@pytest.mark.parametrize(("method", "pass_"), WORK)
def test_work_is_proportional_to_the_batch(method, pass_):
    once, twice = (WORK[method, pass_](changed(IMAGE, batch=b), TF32) for b in (4, 8))
    for quantity in ("flops", "hbm_bytes", "l2_bytes", "exps", "instructions"):
        total = sum(getattr(launch, quantity) for launch in once)
        assert sum(getattr(launch, quantity) for launch in twice) == pytest.approx(2 * total)


def test_floors_are_below_ranges_and_ranges_hold_the_expected_time():
    for row in every_prediction():
        assert 0 < row.floor_s <= row.low_s <= row.expected_s <= row.high_s
        assert max(row.floors.values()) <= row.floor_s


@pytest.mark.parametrize("method", METHODS)
def test_tiny_work_waits_for_launches(method):
    tiny = KernelShape(batch=1, heads=1, length=128, head_dim=32, block_size=32, n_blocks=4)
    for pass_ in PASSES:
        row = predict(H100, method, pass_, HALF, tiny)
        assert row.floor_s == pytest.approx(2e-6 * row.n_launches)
        assert row.floor_limit == row.expected_limit == "launches"


def test_each_device_memory_byte_also_passes_the_second_cache():
    for row in every_prediction():
        assert all(launch.l2_bytes >= 0.999 * launch.hbm_bytes for launch in row.launches)


def test_waves_by_hand():
    row = predict(A100, "block_attention", "forward", HALF, IMAGE)
    assert row.waves == pytest.approx(256 * 32 / (14 * 108))
    assert row.idle_tail == pytest.approx(1 - row.waves / 6)
    assert predict(A100, "pipeline", "forward", HALF, IMAGE).idle_tail is None


@pytest.mark.parametrize(("arch", "shared_kib"), [("sm_80", 164), ("sm_90", 228)])
def test_resident_blocks_follow_from_the_compiled_kernels(arch, shared_kib):
    compiled = read_table()[arch]
    names = {"16bit": ("F16", "BF16"), "tf32": ("TF32",), "3xtf32": ("TF32x3",)}
    for (pass_, precision, side), resident in RESIDENT_BLOCKS.items():
        size = PRECISIONS[precision].element_bytes
        tiles = 5 if pass_ == "forward" else 6  # of side * 32 elements
        shared = tiles * side * 32 * size + (16 * side if pass_ == "backward" else 0) + 1024
        has_one_tile = (pass_, precision) == ("backward", "16bit")
        warps = side // (16 if has_one_tile else 32)  # of one tile of 16 rows, or two
        for name in names[precision]:
            registers = compiled[Kernel(pass_, name, 32, side, False)].registers
            by_registers = 65536 // (-(-32 * registers // 256) * 256 * warps)
            fit = min(by_registers, shared_kib * 1024 // shared, 64 // warps, 32)
            assert resident[arch] == fit, (arch, pass_, name, side)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_blocks": 1025}, "n_blocks: expected 0 to 1024, got 1025"),
        ({"n_blocks": None}, "n_blocks: expected 0 to 1024, got None"),
        ({"length": 1000}, "length: expected a multiple of block_size 32, got 1000"),
    ],
)
def test_impossible_shapes_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        predict(A100, "block_attention", "forward", HALF, changed(IMAGE, **change))


def test_unknown_methods_are_refused():
    with pytest.raises(ValueError, match="got flex forward"):
        predict(A100, "flex", "forward", HALF, IMAGE)
