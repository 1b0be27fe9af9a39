"""The emulated training run, on a GPU."""

from tests.emulation.test_training import *  # noqa: F403
