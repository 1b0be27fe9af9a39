"""The emulated tests of block_dropout, on a GPU."""

from tests.emulation.test_block_dropout import *  # noqa: F403
