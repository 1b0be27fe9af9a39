"""The emulated tests of average_pool, on a GPU."""

from tests.emulation.test_average_pool import *  # noqa: F403
