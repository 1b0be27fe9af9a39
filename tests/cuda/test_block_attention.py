"""The fused operator's emulated tests, on a GPU."""

from tests.emulation.test_block_attention import *  # noqa: F403
