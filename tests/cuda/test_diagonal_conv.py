"""The emulated tests of diagonal_conv, on a GPU."""

from tests.emulation.test_diagonal_conv import *  # noqa: F403
