"""The pipeline's emulated tests, on a GPU."""

from tests.emulation.test_pipeline import *  # noqa: F403
