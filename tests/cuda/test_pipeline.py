"""The pipeline's emulated tests, on a GPU."""

from tests.emulation.test_pipeline import *  # noqa: F403
from tests.emulation.test_pipeline import _tf32_setting  # noqa: F401
