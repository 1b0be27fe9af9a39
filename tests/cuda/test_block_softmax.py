"""The emulated tests of block_softmax, on a GPU."""

from tests.emulation.test_block_softmax import *  # noqa: F403
