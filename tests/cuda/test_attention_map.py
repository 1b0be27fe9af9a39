"""The averaged attention map's emulated tests, on a GPU."""

from tests.emulation.test_attention_map import *  # noqa: F403
