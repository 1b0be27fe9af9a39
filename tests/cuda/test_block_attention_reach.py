"""The fused operator's emulated tests of causal patterns, head groups and lengths, on a GPU."""

from tests.emulation.test_block_attention_reach import *  # noqa: F403
