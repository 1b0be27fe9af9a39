"""The pipeline's operators' emulated tests, on a GPU."""

from tests.emulation.test_pipeline_operators import *  # noqa: F403
