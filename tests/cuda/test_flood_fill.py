"""The emulated tests of flood_fill, on a GPU."""

from tests.emulation.test_flood_fill import *  # noqa: F403
