"""The emulated tests of block_sddmm, on a GPU."""

from tests.emulation.test_block_sddmm import *  # noqa: F403
