"""The averaged attention map's emulated tests, on a GPU."""

from tests.emulation.test_attention_map import *  # noqa: F403
from tests.emulation.test_attention_map import (  # noqa: F401
    _emulated,
    _nan_in_uninitialised_memory,
    _tf32_setting,
)
