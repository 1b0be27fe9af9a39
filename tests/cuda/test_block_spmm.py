"""The emulated tests of block_spmm, on a GPU."""

from tests.emulation.test_block_spmm import *  # noqa: F403
