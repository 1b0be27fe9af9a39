"""What a turn of a kernel's loop needs, by hand for some tiles."""

from dataclasses import astuple, replace

from tests.native.cuda_needs import needed_loops
from tests.native.cuda_resources import Kernel

FORWARD = Kernel("forward", "F16", 32, 64, dropout=False)
BACKWARD = Kernel("backward", "BF16", 32, 64, dropout=False)


def needs(kernel, **changes):
    """Return the counts that each loop of a kernel may have, without what is 0 for all."""
    return [
        sorted(astuple(loop)[1:6] for loop in x) for x in needed_loops(replace(kernel, **changes))
    ]


def test_needs_follow_from_the_tiles():
    # 64 x 64 scores of 32 columns: 32 x 64 x 32 per warp and product, m16n8k16 each.
    assert needs(FORWARD) == [[(64, 16, 8, 68, 1)]]
    # 32 of the 64 columns at a time.
    assert needs(BACKWARD) == [[(24, 12, 4, 16, 2)], [(32, 16, 5, 16, 1)]]
    # A lane reads the padding of 64 keys at 32 a time, forward with dropout too: 16 rows then.
    assert needs(FORWARD, padded=True) == [[(64, 16, 8, 68, 3)]]
    assert needs(FORWARD, dropout=True) == [[(32, 16, 4, 34, 3)]]
    # Kept bits: of two rows, and of a column in eight with the place of its tile.
    assert needs(BACKWARD, dropout=True) == [[(24, 12, 4, 16, 4)], [(32, 16, 5, 16, 10)]]
    # m16n8k8 twice as often, at three times the work for 3xTF32; V is not loaded as matrices.
    assert needs(FORWARD, precision="TF32x3") == [[(384, 16, 16, 68, 1)]]
    assert needs(BACKWARD, precision="TF32") == [[(96, 32, 16, 32, 2)], [(128, 32, 17, 32, 1)]]
    further = {"padded": True, "dropout": True, "reaches": True}
    assert needs(FORWARD, **further) == needs(FORWARD, dropout=True)


def test_left_operands_that_are_read_again_may_be_a_loop():
    # Eight steps of 4 products and a load of the left operand, or four of them in a loop; P V.
    wide = {"precision": "TF32", "width": 64, "rows": 16}
    assert needs(FORWARD, **wide) == [[(24, 8, 16, 10, 1), (32, 16, 16, 10, 1)]]
    # Backward there are two such products, whose loops are unrolled or not, each on its own.
    rows, columns = needs(BACKWARD, **wide)
    assert [count[0] for count in rows] == [32, 40, 48]
    assert [count[0] for count in columns] == [48, 56, 64]
    # 16 columns at a time, 32 rows a step: two tensors of 32 x 128 values by 64 threads.
    rows, columns = needs(BACKWARD, precision="TF32x3", width=128, rows=32)
    assert rows[0] == (144, 16, 32, 8, 2)
    assert columns[0] == (240, 16, 33, 8, 1)


def test_needs_of_the_pipeline():
    # S = q k^T of 32 keys in registers: 4 x 4 m16n8k8, and 32 x 64 values of 4 bytes by 64 threads.
    assert needs(Kernel("sddmm", "F16", 64, 32, dropout=False)) == [[(16, 8, 4, 0, 1)]]
    # The scores of 32 keys are a left operand in two loads, and copied as well: two a thread.
    assert needs(Kernel("spmm", "F16", 64, 32, dropout=False)) == [[(16, 10, 6, 0, 1)]]
    assert needs(Kernel("spmm_transposed", "F16", 64, 32, dropout=False)) == [[(16, 10, 6, 0, 2)]]
    assert needs(Kernel("spmm", "TF32x3", 32, 64, dropout=False)) == [
        [(48, 0, 12, 0, 1), (96, 0, 12, 0, 1)]
    ]
    # Eight scores of a lane are one load or two; the padding of 64 keys is two.
    assert needs(Kernel("softmax", "F16", 0, 64, dropout=False)) == [
        [(0, 0, 0, 9, 4)],
        [(0, 0, 0, 8, 4)],
    ]
    assert (
        needs(Kernel("softmax_backward", "TF32", 0, 64, dropout=False)) == [[(0, 0, 0, 0, 4)]] * 2
    )
    assert needs(Kernel("dropout", "F32", 0, 64, dropout=False)) == [[(0, 0, 0, 0, 3)]]
