"""The pattern operators' emulated tests, on a GPU."""

from tests.emulation.test_pattern import *  # noqa: F403
