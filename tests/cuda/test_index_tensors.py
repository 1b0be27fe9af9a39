"""The emulated tests of index tensors, on a GPU."""

from tests.emulation.test_index_tensors import *  # noqa: F403
