"""The emulated tests from map to pattern, on a GPU."""

from tests.emulation.test_pattern import *  # noqa: F403
