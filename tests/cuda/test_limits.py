"""The emulated tests of limits, on a GPU."""

from tests.emulation.test_limits import *  # noqa: F403
